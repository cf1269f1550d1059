//! Golden file, and that syncs are those that the cluster's own objects tell of.

use crate::golden;

#[test]
fn records_match_the_golden_file() {
    golden::check("argo_cd");
}
