//! Golden file of records of registries.

use crate::golden;

#[test]
fn records_match_the_golden_file() {
    golden::check("registry");
}
