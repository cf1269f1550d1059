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

use crate::{TestStore, left_in, path_of, text_of};

/// Bytes of an attachment that is larger than all memory that attaching may take.
const LARGE_BYTES: u64 = 200 << 20;
/// Resident memory up to which attaching is flat: an idle `exhibit` of a debug build takes half of
/// it.
const RESIDENT_KIB_MAX: u64 = 100 * 1024;

fn digest_of(file: &Path) -> Digest {
    let (mut file, mut hasher, mut buffer) = (
        File::open(file).expect("own file"),
        Hasher::new(),
        vec![0; 1 << 20],
    );
    loop {
        match file.read(&mut buffer).expect("own file") {
            0 => return hasher.finish(),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Zeros, with a counter in each KiB.
fn write_large(out: &mut dyn Write) {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    for number in 0..LARGE_BYTES / 1024 {
        let mut block = [0; 1024];
        block[..8].copy_from_slice(&number.to_be_bytes());
        out.write_all(&block).expect("the reader reads");
    }
    out.flush().expect("the reader reads");
}

#[test]
fn attaches_large_files_in_constant_memory() {
    let (store, source) = (TestStore::new(), scratch());
    let id = store.declare();
    let file = source.path().join("disk image.bin");
    write_large(&mut File::create(&file).expect("own folder"));
    let sha256 = digest_of(&file);
    let name = file.to_str().expect("UTF-8");
    for arguments in [&[&id, name][..], &[&id, "-", "--name", "memory.bin"]] {
        let is_piped = arguments[1] == "-";
        let (receipt, peak_kib) = store.attach(arguments, |stdin| {
            if is_piped {
                write_large(stdin)
            }
        });
        let told = (
            receipt["sha256"].as_str(),
            receipt["bytes"].as_u64(),
            receipt["gaps"].as_u64(),
        );
        assert_eq!(
            told,
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
    assert_eq!(left_in(store.path()), ["sealing.lock"]);
}

#[expect(
    clippy::print_stderr,
    reason = "a number that somebody may want to know"
)]
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
    assert!(refused("/dev/null").contains("is no file"));
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
    File::create(&empty).expect("own folder");
    let (receipt, _) = store.attach(&[&id, empty.to_str().expect("UTF-8")], |_| {});
    assert_eq!(
        (receipt["bytes"].as_u64(), receipt["sha256"].as_str()),
        (Some(0), Some(&*Digest::of(b"").to_string()))
    );
    let (receipt, _) = store.attach(&[&id, "-", "--name", "../../a/b.json"], |stdin| {
        stdin.write_all(b"{}").expect("read")
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
    File::create(&file).expect("own folder");
    // It may be cut too late, when it has been read: then longer ones are tried.
    for size in [32 << 20, LARGE_BYTES, 8 * LARGE_BYTES] {
        let open = File::options().write(true).open(&file).expect("own file");
        open.set_len(size).expect("own file");
        let mut command = store.exhibit(&["attach", &id, file.to_str().expect("UTF-8"), "--json"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        while child.try_wait().expect("our child").is_none() && !is_reading(store.path()) {
            thread::sleep(Duration::from_millis(1));
        }
        open.set_len(2 << 20).expect("own file");
        let output = child.wait_with_output().expect("it ends");
        let receipt: Value = serde_json::from_slice(&output.stdout).expect("a receipt");
        if receipt["gaps"] == 0 {
            continue;
        }
        let bytes = receipt["bytes"].as_u64().expect("a number");
        assert!(bytes < size, "{receipt}");
        let (bundle, key) = (path_of(&receipt["bundle"]), path_of(&receipt["public_key"]));
        assert_eq!(audit(&bundle, &key), 4, "sound but incomplete");
        return;
    }
    panic!("no file was cut while it was read");
}

/// True if something of the file `log` is in the draft of its attachment.
fn is_reading(store: &Path) -> bool {
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
