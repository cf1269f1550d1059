//! A database whose disk is full, and then is not any more.

use std::fs;

use tests::disk::SmallDisk;

use crate::database::DatabaseError;
use crate::ledger::{Ledger, LedgerError};
use crate::testing::{declare, entry, sqlite_url};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_disk_refused_can_be_written_once_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(folder.path(), 8 << 20) else {
        return;
    };
    let ledger = Ledger::open(&sqlite_url(&folder))
        .await
        .expect("there is room for a database");
    let id = declare(&ledger, "INC-1").await;
    let ballast = disk.fill();
    let large = [entry(&"x".repeat(1 << 20))];
    for attempt in 0..5 {
        let refused = ledger.append(&id, 1, &large).await;
        assert!(
            matches!(
                refused,
                Err(LedgerError::Database(DatabaseError::StorageFull { .. }))
            ),
            "{attempt}: {refused:?}"
        );
    }
    fs::remove_file(ballast).expect("it is there");
    ledger.append(&id, 1, &large).await.expect("there is room");
    assert_eq!(ledger.entries(&id, 1).await.expect("a database").len(), 1);
    ledger.close().await;
}
