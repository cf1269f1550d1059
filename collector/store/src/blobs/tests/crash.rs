//! The folder backend under strace: killed at each write, and the order of its writes.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};

use tests::skipped;

use super::{BlobKind, file, pattern};
use crate::blobs::BlobError;
use crate::blobs::tests::folder::open;

/// Holds the folder if this process is the writer that a test kills.
const WRITER_FOLDER: &str = "EXHIBIT_TEST_WRITER_FOLDER";

/// System calls that change the disk.
const WRITES: &str = "openat,mkdir,mkdirat,write,link,linkat,unlink,unlinkat,fsync,fdatasync,copy_file_range,sendfile";

const KEY: &str = "a/b/key";

#[tokio::test]
async fn this_program_puts_an_object() {
    let Some(folder) = std::env::var_os(WRITER_FOLDER) else {
        return;
    };
    let blobs = open(&Path::new(&folder).join("blobs"))
        .await
        .expect("own folder");
    blobs
        .put_file(KEY, &Path::new(&folder).join("file"), BlobKind::Sealed)
        .await
        .expect("it is new, or the same");
}

/// Runs this test program under strace as a writer of one object; `None` if strace is not
/// installed.
fn put_under_strace(folder: &Path, arguments: &[&str]) -> Option<ExitStatus> {
    let mut command = Command::new("strace");
    command
        .args(["--follow-forks", "--quiet=all"])
        .args(arguments)
        .arg(std::env::current_exe().expect("a program"));
    command.args([
        "--exact",
        "blobs::tests::crash::this_program_puts_an_object",
    ]);
    match command.env(WRITER_FOLDER, folder).output() {
        Ok(output) => Some(output.status),
        Err(_) => {
            skipped("there is no strace");
            None
        }
    }
}

#[tokio::test]
async fn kill_at_any_write_leaves_whole_object_or_none() {
    let bytes = pattern(3_000_000);
    let (mut kills, mut n) = (0, 1);
    loop {
        let folder = tempfile::tempdir().expect("a folder");
        file(&folder, &bytes);
        let kill = format!("--inject={WRITES}:signal=SIGKILL:when={n}");
        let Some(status) = put_under_strace(
            folder.path(),
            &["--output=/dev/null", &format!("--trace={WRITES}"), &kill],
        ) else {
            return;
        };
        let blobs = open(&folder.path().join("blobs"))
            .await
            .expect("what is left can be opened");
        match blobs.get(KEY).await {
            Ok(found) => assert!(
                found == bytes,
                "killed at write {n}: an object that is not whole"
            ),
            Err(BlobError::NotFound { .. }) => assert!(
                !status.success(),
                "killed at write {n}: acknowledged and lost"
            ),
            Err(error) => panic!("killed at write {n}: {error:?}"),
        }
        let unfinished = fs::read_dir(folder.path().join("blobs/.unfinished"))
            .expect("own folder")
            .count();
        assert_eq!(
            unfinished, 0,
            "killed at write {n}: what is unfinished is swept"
        );
        blobs
            .put(KEY, bytes.clone())
            .await
            .expect("it is absent, or the same");
        if status.success() {
            break;
        }
        (kills, n) = (kills + 1, n + 1 + n / 20); // each of the first, then ever wider steps
    }
    assert!(kills > 10, "{kills} kills: were the writes seen at all?");
}

#[test]
fn syncs_bytes_before_name_and_name_before_return() {
    let folder = tempfile::tempdir().expect("a folder");
    file(&folder, b"bytes");
    let log = folder.path().join("log");
    let output = format!("--output={}", log.display());
    if put_under_strace(
        folder.path(),
        &[
            "--decode-fds=path",
            "--trace=link,linkat,fsync,fdatasync",
            &output,
        ],
    )
    .is_none()
    {
        return;
    }
    let root = folder
        .path()
        .join("blobs")
        .canonicalize()
        .expect("it was made")
        .display()
        .to_string();
    let log = fs::read_to_string(log).expect("strace writes it");
    let calls: Vec<_> = log.lines().filter(|line| line.contains("= 0")).collect();
    let link = calls
        .iter()
        .position(|call| call.contains("link") && call.contains("a/b/key"))
        .expect("it is named");
    let synced = |calls: &[&str], path: &str| {
        calls
            .iter()
            .any(|call| call.contains("sync(") && call.contains(&format!("<{path}")))
    };
    assert!(
        synced(&calls[..link], &format!("{root}/.unfinished/")),
        "the bytes, before they have a name: {log}"
    );
    for path in ["/a/b>", "/a>", ">"] {
        assert!(
            synced(&calls[link..], &format!("{root}{path}")),
            "{path}, after: {log}"
        );
    }
    let above = folder
        .path()
        .canonicalize()
        .expect("own folder")
        .display()
        .to_string();
    assert!(
        synced(&calls[..link], &format!("{above}>")),
        "the store's own folder, when it was made: {log}"
    );
}
