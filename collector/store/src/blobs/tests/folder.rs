//! The folder backend: leftovers of a crash, invalid folders, a full disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bytes::Bytes;
use tests::disk::SmallDisk;

use super::{BlobError, BlobKind, Blobs, file, passes_every_case, pattern};
use crate::blobs::{BlobsConfig, S3Config};

pub(super) async fn open(folder: &Path) -> Result<Blobs, BlobError> {
    Blobs::open(&BlobsConfig {
        location: folder.display().to_string(),
        s3: S3Config::default(),
        lock: None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn folder_passes_every_case() {
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = open(&folder.path().join("new/blobs"))
        .await
        .expect("it is made");
    passes_every_case(&blobs, "all").await;
    assert_eq!(
        fs::read_dir(folder.path().join("new/blobs/.unfinished"))
            .expect("own folder")
            .count(),
        0,
        "nothing is left"
    );
    let key = blobs
        .list("")
        .await
        .expect("own folder")
        .pop()
        .expect("what the cases have left")
        .key;
    assert_eq!(
        fs::metadata(blobs.locate(&key))
            .expect("it is there")
            .mode()
            & 0o777,
        0o440,
        "nobody writes to it"
    );
    assert!(blobs.list("").await.expect("own folder").len() > 5);
}

#[tokio::test]
async fn removes_unfinished_files_of_killed_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = open(folder.path()).await.expect("own folder");
    first
        .put("a/b", Bytes::from_static(b"whole"))
        .await
        .expect("it is new");
    let (dead, alive) = (
        folder.path().join(".unfinished/dead"),
        folder.path().join(".unfinished/alive"),
    );
    fs::write(&dead, b"hal").expect("own folder");
    let writing = fs::File::create(&alive).expect("own folder");
    writing.lock().expect("nobody else has it");

    let second = open(folder.path()).await.expect("own folder");
    assert!(!dead.exists(), "nobody holds it");
    assert!(alive.exists(), "another process is writing it");
    assert_eq!(second.get("a/b").await.expect("it is there"), "whole");
    assert_eq!(
        second.list("").await.expect("own folder").len(),
        1,
        "what is unfinished is no object"
    );
}

#[tokio::test]
async fn rejects_relative_path_and_file() {
    assert!(matches!(
        open(Path::new("blobs")).await,
        Err(BlobError::Config(_))
    ));
    let folder = tempfile::tempdir().expect("a folder");
    let refused = open(&file(&folder, b"")).await;
    assert!(
        matches!(refused, Err(BlobError::OpenFolder { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn full_disk_is_reported_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(_disk) = SmallDisk::mount(folder.path(), 1 << 20) else {
        return;
    };
    let blobs = open(folder.path())
        .await
        .expect("there is room for a folder");
    blobs
        .put("small", pattern(100_000))
        .await
        .expect("there is room for it");
    let big = file(&tempfile::tempdir().expect("a folder"), &[]).with_file_name("big");
    fs::create_dir_all(big.parent().expect("it is in a folder")).expect("own folder");
    fs::write(&big, pattern(3_000_000)).expect("the other disk has room");
    for refused in [
        blobs.put("large", pattern(3_000_000)).await,
        blobs.put_file("large", &big, BlobKind::Sealed).await,
    ] {
        assert!(
            matches!(refused, Err(BlobError::StorageFull { .. })),
            "{refused:?}"
        );
        assert!(!blobs.exists("large").await.expect("own folder"));
    }
    blobs
        .put("small2", pattern(100_000))
        .await
        .expect("what was not acknowledged takes no room");
    fs::remove_dir_all(big.parent().expect("it is in a folder")).expect("own folder");
}
