//! The first item of every bundle: the incident that authorised the capture, and the plan.

use evidence_format::bundle::{BundleError, DraftBundle};
use evidence_format::config::ItemSource;
use evidence_format::coverage::Coverage;
use evidence_format::warc::{RecordType, WarcHeader};

use platform::clock;

/// Name of the item. No source has items of this name.
const ITEM: &str = "incident";
/// The same, beside an attached file of that name.
const ITEM_OF_ATTACHMENT: &str = "incident-journal";

const NDJSON: &str = "application/x-ndjson";
const JSON: &str = "application/json";

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

/// What an attachment's bundle says about it. There is neither a plan nor a pass: people brought it.
#[derive(Debug, Clone)]
pub(crate) struct AttachmentContext {
    /// The incident's journal so far, one JSON object per line.
    pub(crate) journal: String,
    /// Who attached what, under which name, as JSON.
    pub(crate) attachment: String,
}

impl AttachmentContext {
    /// Writes the item. A file that is attached may have taken its usual name.
    pub(crate) fn write(&self, draft: &mut DraftBundle) -> Result<(), BundleError> {
        let is_taken = draft.items().iter().any(|item| item.name.as_str() == ITEM);
        let name = if is_taken { ITEM_OF_ATTACHMENT } else { ITEM };
        let records = [
            ("urn:exhibit:journal", NDJSON, self.journal.as_str()),
            ("urn:exhibit:attachment", JSON, &self.attachment),
        ];
        write_item(draft, name, &records)
    }
}

impl IncidentContext {
    pub(super) fn write(&self, draft: &mut DraftBundle) -> Result<(), BundleError> {
        let records = [
            ("urn:exhibit:journal", NDJSON, self.journal.as_str()),
            ("urn:exhibit:plan", JSON, &self.plan),
            ("urn:exhibit:pass", JSON, &self.pass),
        ];
        write_item(draft, ITEM, &records)
    }
}

/// Writes an item of what the collector itself knows. URNs, since these records have no location:
/// they are made here.
fn write_item(
    draft: &mut DraftBundle,
    name: &str,
    records: &[(&str, &str, &str)],
) -> Result<(), BundleError> {
    let name = name.parse().expect("a valid name");
    let mut item = draft.item(&name)?;
    for &(uri, content_type, block) in records {
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
        identity: Some(agent::identity::identity()),
        ..ItemSource::default()
    };
    item.finish(source, Coverage::new(), Vec::new())
}
