//! Tests of the blob store. Both backends must pass the cases below.

mod crash;
mod folder;

use bytes::Bytes;
use futures::TryStreamExt;
use tempfile::TempDir;

use super::{BlobError, BlobKind, BlobListItem, Blobs};

/// Runs every case on a store that is empty below `prefix`.
pub(super) async fn passes_every_case(blobs: &Blobs, prefix: &str) {
    an_object_is_read_as_it_was_put(blobs, &format!("{prefix}/a")).await;
    an_object_is_never_overwritten(blobs, &format!("{prefix}/b")).await;
    objects_are_listed_by_folder(blobs, &format!("{prefix}/c")).await;
    one_of_many_writers_wins(blobs, &format!("{prefix}/d")).await;
    withdrawn_name_takes_no_late_writer(blobs, &format!("{prefix}/e")).await;
    invalid_keys_are_rejected(blobs).await;
}

async fn an_object_is_read_as_it_was_put(blobs: &Blobs, prefix: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    for (n, bytes) in [
        Bytes::new(),
        Bytes::from_static(b"one"),
        pattern(20 * 1024 * 1024 + 7),
    ]
    .into_iter()
    .enumerate()
    {
        let (put, put_file) = (format!("{prefix}/{n}"), format!("{prefix}/file/{n}"));
        assert!(!blobs.exists(&put).await.expect("a store"));
        blobs.put(&put, bytes.clone()).await.expect("it is new");
        blobs
            .put_file(&put_file, &file(&folder, &bytes), BlobKind::Sealed)
            .await
            .expect("it is new");
        for key in [put, put_file] {
            assert!(blobs.exists(&key).await.expect("a store"));
            assert!(
                blobs.get(&key).await.expect("it is there") == bytes,
                "{key}"
            );
            let reading = blobs.open_read(&key).await.expect("it is there");
            assert_eq!(reading.bytes, bytes.len() as u64);
            let chunks: Vec<_> = reading.chunks.try_collect().await.expect("it is whole");
            assert!(chunks.concat() == bytes, "{key}");
            assert!(blobs.locate(&key).ends_with(&key));
            blobs.delete(&key).await.expect("it is there");
            blobs.delete(&key).await.expect("it is gone");
            assert!(matches!(
                blobs.get(&key).await,
                Err(BlobError::NotFound { .. })
            ));
            assert!(matches!(
                blobs.open_read(&key).await,
                Err(BlobError::NotFound { .. })
            ));
        }
    }
}

async fn an_object_is_never_overwritten(blobs: &Blobs, prefix: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = pattern(9 * 1024 * 1024);
    let mut last_differs = bytes.to_vec();
    last_differs[9 * 1024 * 1024 - 1] ^= 1;
    let others = [
        bytes.slice(1..),
        bytes.slice(..bytes.len() - 1),
        Bytes::new(),
        Bytes::from(last_differs),
    ];
    for key in [format!("{prefix}/put"), format!("{prefix}/put_file")] {
        blobs.put(&key, bytes.clone()).await.expect("it is new");
        for other in &others {
            let refused = blobs.put(&key, other.clone()).await;
            assert!(
                matches!(refused, Err(BlobError::Exists { .. })),
                "{refused:?}"
            );
            let refused = blobs
                .put_file(&key, &file(&folder, other), BlobKind::Sealed)
                .await;
            assert!(
                matches!(refused, Err(BlobError::Exists { .. })),
                "{refused:?}"
            );
        }
        blobs
            .put(&key, bytes.clone())
            .await
            .expect("the same bytes");
        blobs
            .put_file(&key, &file(&folder, &bytes), BlobKind::Sealed)
            .await
            .expect("the same bytes");
        assert!(blobs.get(&key).await.expect("it is there") == bytes);
    }
    let absent = blobs
        .put_file(
            &format!("{prefix}/absent"),
            &folder.path().join("absent"),
            BlobKind::Staged,
        )
        .await;
    assert!(
        matches!(absent, Err(BlobError::ReadFile { .. })),
        "{absent:?}"
    );
}

async fn objects_are_listed_by_folder(blobs: &Blobs, prefix: &str) {
    let keys = ["1/b", "1/a/c", "10/d"].map(|name| format!("{prefix}/{name}"));
    for key in &keys {
        blobs
            .put(key, Bytes::from_static(b"12345"))
            .await
            .expect("it is new");
    }
    let listed = |keys: &[&String]| {
        keys.iter()
            .map(|key| BlobListItem {
                key: (*key).clone(),
                bytes: 5,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        blobs.list(prefix).await.expect("a store"),
        listed(&[&keys[1], &keys[0], &keys[2]])
    );
    assert_eq!(
        blobs.list(&format!("{prefix}/1")).await.expect("a store"),
        listed(&[&keys[1], &keys[0]])
    );
    assert_eq!(
        blobs.list(&format!("{prefix}/1/")).await.expect("a store"),
        listed(&[&keys[1], &keys[0]])
    );
    assert_eq!(
        blobs.list(&format!("{prefix}/2")).await.expect("a store"),
        []
    );
}

async fn withdrawn_name_takes_no_late_writer(blobs: &Blobs, prefix: &str) {
    let (folder, there, absent) = (
        tempfile::tempdir().expect("a folder"),
        format!("{prefix}/there"),
        format!("{prefix}/absent"),
    );
    blobs
        .put(&there, Bytes::from_static(b"12345"))
        .await
        .expect("it is new");
    assert!(!blobs.ensure_absent(&there).await.expect("a store"));
    for _ in 0..2 {
        assert!(
            blobs.ensure_absent(&absent).await.expect("a store"),
            "also when it is asked again"
        );
    }
    if blobs.local_path(&absent).is_some() {
        return assert!(
            !blobs.exists(&absent).await.expect("a store"),
            "on one machine the dead write no more"
        );
    }
    for bytes in [Bytes::from_static(b"late"), pattern(20 * 1024 * 1024)] {
        let late = blobs
            .put_file(&absent, &file(&folder, &bytes), BlobKind::Sealed)
            .await;
        assert!(matches!(late, Err(BlobError::Exists { .. })), "{late:?}");
    }
}

async fn one_of_many_writers_wins(blobs: &Blobs, prefix: &str) {
    let key = format!("{prefix}/key");
    let writers: Vec<_> = (0..8)
        .map(|n: u8| {
            let (blobs, key) = (blobs.clone(), key.clone());
            tokio::spawn(async move {
                blobs
                    .put(&key, Bytes::from(vec![n % 4; 1000]))
                    .await
                    .map(|()| n % 4)
            })
        })
        .collect();
    let mut won = Vec::new();
    for writer in writers {
        match writer.await.expect("no panic") {
            Ok(content) => won.push(content),
            Err(BlobError::Exists { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(won.len(), 2, "two writers have each content");
    assert!(blobs.get(&key).await.expect("it is there") == vec![won[0]; 1000]);
    assert_eq!(won[0], won[1]);
}

async fn invalid_keys_are_rejected(blobs: &Blobs) {
    for key in [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/../b",
        "./a",
        ".unfinished/a",
        ".unfinished",
    ] {
        let refused = blobs.put(key, Bytes::new()).await;
        assert!(
            matches!(refused, Err(BlobError::Key { .. })),
            "{key:?}: {refused:?}"
        );
        assert!(
            matches!(blobs.get(key).await, Err(BlobError::Key { .. })),
            "{key:?}"
        );
    }
}

/// Test content without repeated blocks.
pub(super) fn pattern(bytes: usize) -> Bytes {
    (0..bytes)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect::<Vec<_>>()
        .into()
}

pub(super) fn file(folder: &TempDir, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.path().join("file");
    std::fs::write(&path, bytes).expect("own folder");
    path
}
