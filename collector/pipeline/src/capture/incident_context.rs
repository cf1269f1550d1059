//! The first item of every bundle: under whose authority it was captured, and what was planned.

use evidence_format::bundle::{BundleError, DraftBundle};
use evidence_format::config::ItemSource;
use evidence_format::coverage::Coverage;
use evidence_format::warc::{RecordType, WarcHeader};

use platform::clock;

/// Name of the item. No source makes items of this name.
const ITEM: &str = "incident";

/// What a bundle says before all evidence.
#[derive(Debug, Clone)]
pub struct IncidentContext {
    /// The incident's journal so far, a JSON object a line: the declaration, roles, what was
    /// captured before, each attempt.
    pub journal: String,
    /// The incident's plan, as JSON.
    pub plan: String,
    /// What this pass takes of it, as JSON.
    pub pass: String,
}

impl IncidentContext {
    /// Writes the item.
    pub(super) fn write(&self, draft: &mut DraftBundle) -> Result<(), BundleError> {
        let name = ITEM.parse().expect("a valid name");
        let mut item = draft.item(&name)?;
        let records = [
            ("urn:exhibit:journal", "application/x-ndjson", &self.journal),
            ("urn:exhibit:plan", "application/json", &self.plan),
            ("urn:exhibit:pass", "application/json", &self.pass),
        ];
        for (uri, content_type, block) in records {
            let header = WarcHeader {
                kind: RecordType::Resource,
                target_uri: Some(uri),
                date: clock::now(),
                content_type,
                truncated: None,
                fields: &[],
            };
            item.record(&header, block.as_bytes())?;
        }
        let source = ItemSource {
            provider: "exhibit".to_owned(),
            api: "journal".to_owned(),
            account: None,
            region: None,
            identity: Some(agent::identity::identity()),
            clock: None,
        };
        item.finish(source, Coverage::new(), Vec::new())
    }
}
