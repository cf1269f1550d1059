//! The first item of every bundle: the incident that authorised the capture, and the plan.

use evidence_format::bundle::{BundleError, DraftBundle};
use evidence_format::config::ItemSource;
use evidence_format::coverage::Coverage;
use evidence_format::warc::{RecordType, WarcHeader};

use platform::clock;

/// Name of the item. No source has items of this name.
const ITEM: &str = "incident";

/// The incident and the plan, as they were when the capture began.
#[derive(Debug, Clone)]
pub(crate) struct IncidentContext {
    /// The incident's journal so far, one JSON object per line: the declaration, roles, earlier
    /// captures, each attempt.
    pub(crate) journal: String,
    /// The plan, as JSON.
    pub(crate) plan: String,
    /// The pass of that plan which is captured, as JSON.
    pub(crate) pass: String,
}

impl IncidentContext {
    pub(super) fn write(&self, draft: &mut DraftBundle) -> Result<(), BundleError> {
        let name = ITEM.parse().expect("a valid name");
        let mut item = draft.item(&name)?;
        // URNs, since these records have no location: they are made here.
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
