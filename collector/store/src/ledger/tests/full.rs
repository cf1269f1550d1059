//! The database's disk is full, and later has room again.

use std::fs;

use domain::incident::PROSE_BYTES_MAX;
use tests::disk::SmallDisk;

use crate::database::DatabaseError;
use crate::ledger::{Ledger, LedgerError};
use crate::testing::{declare, entry, sqlite_url};

#[tokio::test(flavor = "multi_thread")]
async fn append_succeeds_once_the_full_disk_has_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(folder.path(), 8 << 20) else {
        return;
    };
    let ledger = Ledger::open(&sqlite_url(&folder))
        .await
        .expect("there is room for a database");
    let id = declare(&ledger, "INC-1").await;
    let ballast = disk.fill();
    let large = vec![entry(&"x".repeat(PROSE_BYTES_MAX)); 64]; // 1 MiB
    let journal = ledger.journal(&id);
    for attempt in 0..5 {
        let refused = journal.append_at(1, &large, &[]).await;
        assert!(
            matches!(
                refused,
                Err(LedgerError::Database(DatabaseError::StorageFull { .. }))
            ),
            "{attempt}: {refused:?}"
        );
    }
    fs::remove_file(ballast).expect("it is there");
    journal
        .append_at(1, &large, &[])
        .await
        .expect("there is room");
    let written = journal.entries_after(1).await.expect("a database");
    assert_eq!(written.len(), 64);
    ledger.close().await;
}
