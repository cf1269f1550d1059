//! A report as JSON: that of the format's library, and what this program adds.

use evidence_format::verify::{Finding, VerificationReport};
use serde_json::{Value, json};

use crate::servers;
use crate::trust::AuditorTrust;
use crate::verdict::{VerdictWord, headline};

/// The report of the format's library, and what this program adds.
pub(crate) fn report_json(report: &VerificationReport, trust: &AuditorTrust) -> Value {
    let mut value = report.json();
    value["verdict"] = json!(VerdictWord::of(report).as_str().to_lowercase());
    value["headline"] = json!(headline(report));
    let config = report.config.as_ref();
    value["collector"] = json!(config.map(|config| &config.collector));
    value["window"] = json!(config.and_then(|config| config.window));
    value["servers"] = json!(config.map(servers::json));
    let signer = match &report.signer {
        Finding::Ok(proof) => trust.name_of(&proof.key_id()),
        Finding::Failed(_) | Finding::NotChecked(_) => None,
    };
    value["signedByName"] = json!(signer);
    value
}
