//! Attachments: large ones, unsuitable ones, and a file that shrinks while it is read.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use evidence_format::digest::{Digest, Hasher};
use serde_json::Value;
use tests::{audit, scratch};

use crate::{TestStore, path_of, text_of, work_files};

/// The size of an attachment that is larger than the memory limit.
const LARGE_BYTES: u64 = 200 << 20;
/// The memory limit of attaching. An idle debug build of `exhibit` needs half of it.
const RESIDENT_KIB_MAX: u64 = 100 * 1024;

fn digest_of(file: &Path) -> Digest {
    let (mut file, mut hasher, mut buffer) = (
        File::open(file).expect("the scratch file is accessible"),
        Hasher::new(),
        vec![0; 1 << 20],
    );
    loop {
        match file
            .read(&mut buffer)
            .expect("the scratch file is accessible")
        {
            0 => return hasher.finish(),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Writes zeros, with a counter in each KiB.
fn write_large(out: &mut dyn Write) {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    for number in 0..LARGE_BYTES / 1024 {
        let mut block = [0; 1024];
        block[..8].copy_from_slice(&number.to_be_bytes());
        out.write_all(&block).expect("the reader is open");
    }
    out.flush().expect("the reader is open");
}

#[test]
fn attaches_large_files_in_constant_memory() {
    let (store, source) = (TestStore::new(), scratch());
    let id = store.declare();
    let file = source.path().join("disk image.bin");
    write_large(&mut File::create(&file).expect("the scratch folder is writable"));
    let sha256 = digest_of(&file);
    let name = file.to_str().expect("UTF-8");
    for arguments in [&[&id, name][..], &[&id, "-", "--name", "memory.bin"]] {
        let is_piped = arguments[1] == "-";
        let (receipt, peak_kib) = store.attach(arguments, |stdin| {
            if is_piped {
                write_large(stdin)
            }
        });
        let attached = (
            receipt["sha256"].as_str(),
            receipt["bytes"].as_u64(),
            receipt["gaps"].as_u64(),
        );
        assert_eq!(
            attached,
            (
                Some(sha256.to_string().as_str()),
                Some(LARGE_BYTES),
                Some(0)
            )
        );
        report(&format!(
            "{arguments:?}: {LARGE_BYTES} bytes in {peak_kib} KiB of memory"
        ));
        assert!(
            (1..RESIDENT_KIB_MAX).contains(&peak_kib),
            "{arguments:?}: {peak_kib} KiB"
        );
        let (extracted, _folder) = store.extracted(&receipt);
        assert_eq!(digest_of(&extracted), sha256);
    }
    let attached = store.lines(&["timeline", &id, "--kind", "evidence.attached"]);
    let bundles = store.lines(&["bundles", &id]);
    assert_eq!(attached.len(), 2);
    for (row, bundle) in attached.iter().zip(&bundles) {
        assert_eq!(row["evidence"]["bundle"], bundle["id"]);
        assert!(
            text_of(&row["summary"]).contains(&sha256.to_string()),
            "{row}"
        );
    }
    assert!(text_of(&attached[0]["summary"]).starts_with("attached disk image.bin ("));
    assert_eq!(work_files(store.path()), ["sealing.lock"]);
}

#[expect(clippy::print_stderr, reason = "shows the measured memory")]
fn report(text: &str) {
    eprintln!("{text}");
}

#[test]
fn rejects_unattachable_files_with_a_remedy() {
    let (store, source) = (TestStore::new(), scratch());
    let id = store.declare();
    let refused = |path: &str| store.fails(1, &["attach", &id, path]);
    assert!(
        refused("/nowhere/at/all")
            .contains("cannot open /nowhere/at/all: No such file or directory")
    );
    assert!(refused("/tmp").contains("is a folder: pack it and attach that"));
    assert!(refused("/dev/null").contains("is not a file: "));
    assert!(refused("/proc/self/mem").contains("nothing of /proc/"));
    let refused = store.fails(1, &["attach", "INC-9", "/etc/hostname"]);
    assert!(
        refused.contains("there is no incident INC-9: ")
            && refused.contains("`exhibit status` lists them"),
        "{refused}"
    );
    assert_eq!(store.lines(&["bundles", &id]).len(), 0);
    assert_eq!(
        store.lines(&["timeline", &id]).len(),
        1,
        "nothing but the declaration"
    );

    let empty = source.path().join("empty");
    File::create(&empty).expect("the scratch folder is writable");
    let (receipt, _) = store.attach(&[&id, empty.to_str().expect("UTF-8")], |_| {});
    assert_eq!(
        (receipt["bytes"].as_u64(), receipt["sha256"].as_str()),
        (Some(0), Some(&*Digest::of(b"").to_string()))
    );
    let (receipt, _) = store.attach(&[&id, "-", "--name", "../../a/b.json"], |stdin| {
        stdin.write_all(b"{}").expect("the program reads")
    });
    assert_eq!(receipt["name"], "../../a/b.json");
    assert_eq!(
        fs::read(store.extracted(&receipt).0).expect("extracted"),
        b"{}"
    );
}

#[test]
fn shrinking_file_is_attached_with_a_gap() {
    let (store, source) = (TestStore::new(), scratch());
    let id = store.declare();
    let file = source.path().join("log");
    File::create(&file).expect("the scratch folder is writable");
    // If the file is truncated too late, after it was read, a larger one is tried.
    for size in [32 << 20, LARGE_BYTES, 8 * LARGE_BYTES] {
        let open = File::options()
            .write(true)
            .open(&file)
            .expect("the scratch file is accessible");
        open.set_len(size).expect("the scratch file is accessible");
        let mut command = store.exhibit(&["attach", &id, file.to_str().expect("UTF-8"), "--json"]);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        while child.try_wait().expect("a child process").is_none()
            && !has_begun_reading(store.path())
        {
            thread::sleep(Duration::from_millis(1));
        }
        open.set_len(2 << 20)
            .expect("the scratch file is accessible");
        let output = child.wait_with_output().expect("the program exits");
        let receipt: Value = serde_json::from_slice(&output.stdout).expect("a receipt");
        if receipt["gaps"] == 0 {
            continue;
        }
        let bytes = receipt["bytes"].as_u64().expect("a number");
        assert!(bytes < size, "{receipt}");
        let (bundle, key) = (path_of(&receipt["bundle"]), path_of(&receipt["publicKey"]));
        assert_eq!(audit(&bundle, &key), 4, "sound but incomplete");
        return;
    }
    panic!("no file was truncated while it was being read");
}

/// True if the draft has a part of the file `log`.
fn has_begun_reading(store: &Path) -> bool {
    let Ok(folders) = fs::read_dir(store.join("work")) else {
        return false;
    };
    let layers = folders
        .flatten()
        .map(|folder| folder.path().join("draft.unfinished/log.warc.zst"));
    layers
        .filter_map(|layer| fs::metadata(layer).ok())
        .any(|layer| layer.len() > 0)
}
