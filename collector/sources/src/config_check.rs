//! Checks `[sources]` beyond the form of its sections, before a capture needs it.

use crate::aws_cloudtrail::settings;
use crate::aws_cloudtrail_s3;
use crate::config::{ConfigFindings, SourcesConfig};

/// What is wrong in `config`. Reads the files that it names, and sends nothing.
pub async fn check(config: &SourcesConfig) -> ConfigFindings {
    let mut findings = settings::check(&config.aws_cloudtrail).await;
    findings.faults.extend(aws_cloudtrail_s3::settings::faults(
        &config.aws_cloudtrail_s3,
    ));
    for table in crate::ALL.iter().filter_map(|source| source.table()) {
        let ConfigFindings { faults, warnings } = table.check_instances(config);
        findings.faults.extend(faults);
        findings.warnings.extend(warnings);
    }
    findings
}
