//! Totals.

use crate::ledger::{Ledger, LedgerTotals, PassState};
use crate::testing::{add_bundle, add_pass};

pub(super) async fn totals_count_everything(ledger: Ledger) {
    let none = [
        PassState::Waiting,
        PassState::Capturing,
        PassState::Sealed,
        PassState::Failed,
    ]
    .map(|state| (state, 0));
    let empty = LedgerTotals {
        passes: none.to_vec(),
        ..LedgerTotals::default()
    };
    assert_eq!(ledger.totals().await.expect("a database"), empty);
    let first = add_pass(&ledger, "INC-1", 0).await;
    let second = add_pass(&ledger, "INC-2", 0).await;
    add_pass(&ledger, "INC-2", 1).await;
    add_bundle(&ledger, &first).await;
    add_bundle(&ledger, &second).await;
    let totals = ledger.totals().await.expect("a database");
    assert_eq!(
        (totals.incidents, totals.bytes, totals.coverages),
        (2, 2000, vec!["{}".to_owned(); 2])
    );
    assert_eq!(
        totals.passes,
        [1, 0, 2, 0]
            .into_iter()
            .zip(none)
            .map(|(n, (state, _))| (state, n))
            .collect::<Vec<_>>()
    );
}
