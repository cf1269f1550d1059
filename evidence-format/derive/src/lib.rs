//! Turns records of evidence into events, objects and edges. Pure: no clock, no I/O, no randomness.
//!
//! A record is one segment of an item: an element of a page, a line of a log. A [`Deriver`] reads
//! the records of one provider. Everything that it returns is hostile text, since whoever acted
//! chose parts of it; it is bounded here, and shown safely by whoever shows it.

mod argo_cd;
mod auth0;
mod azure_activity;
mod cloudtrail;
#[cfg(test)]
mod corpora;
mod edge;
mod element;
mod entra;
mod event;
pub mod github;
mod gitlab;
#[cfg(test)]
mod golden;
mod google_cloud;
mod google_workspace;
mod host;
mod http_log;
pub mod investigation;
pub mod json;
mod keycloak;
pub mod kubernetes;
mod line;
mod object;
pub mod ocsf;
mod okta;
pub mod published_hosts;
mod reader;
mod registry;
pub mod text;
pub mod trail;
mod vault;
pub mod xml;

pub use edge::{EdgeRelation, ObjectEdge};
pub use event::{ActivityCategory, ActivityEvent, ActivityOutcome};
pub use line::DerivedLine;
pub use object::{EntityKind, EntityRef, ObservedObject};
pub use reader::{ItemReader, LineVisitor, RECORD_BYTES_MAX};

use serde::{Deserialize, Serialize};

use evidence_format::time::Timestamp;

/// A record, and where it was found.
#[derive(Debug, Clone, Copy)]
pub struct RecordContext<'r> {
    /// Which endpoint gave it: `github:listWorkflowRuns`, `cloudtrail:LookupEvents`. It decides
    /// which [`Deriver`] reads the record. Files of a host: `host:file`, `host:procfs`.
    pub endpoint: &'r str,
    /// The URI of the request, without credentials. Parts of it may be needed to know whose record
    /// this is: `/users/00u1/roles`.
    pub uri: &'r str,
    /// Status of the HTTP response, from 200 to 299; 0 if the record is not from one.
    pub status: u16,
    /// When the response was received, or the file was read.
    pub captured_at: Timestamp,
    /// When the host booted whose file this is, if the item says so.
    pub booted_at: Option<Timestamp>,
    /// Number of the user as whom the process runs whose folder in `/proc` holds the file, if the
    /// process's `status` is before it in the item.
    pub process_uid: Option<u32>,
    /// Account, organization or cluster of the item's source, if it has one.
    pub account: Option<&'r str>,
    /// The body before the first record, at most [`FRAME_BYTES_MAX`] of it: the elements of a list
    /// in Kubernetes do not say what they are, the list does.
    pub frame: &'r [u8],
    /// Offset of the record in the body or file.
    pub offset: u64,
    /// The body directly before the record, at most [`PRECEDING_BYTES_MAX`] of it. Files are cut by
    /// size: a row or paragraph may have begun in the record before, and belongs to the record in
    /// which it ends.
    pub preceding: &'r [u8],
    /// The record's bytes, with the separator that follows them.
    pub bytes: &'r [u8],
}

/// Longest [`RecordContext::frame`].
pub const FRAME_BYTES_MAX: usize = 4096;

/// Longest [`RecordContext::preceding`].
pub const PRECEDING_BYTES_MAX: usize = 4096;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Derivation {
    Event(Box<ActivityEvent>),
    Object(ObservedObject),
    Edge(ObjectEdge),
}

impl Derivation {
    fn bound(&mut self) {
        match self {
            Self::Event(event) => event.bound(),
            Self::Object(object) => object.bound(),
            Self::Edge(edge) => edge.bound(),
        }
    }
}

/// Reads the records of one provider.
pub trait Deriver: Sync {
    /// Name of the provider, and the part of endpoints before the colon: `github`.
    fn name(&self) -> &'static str;

    /// Raised whenever the same record gives another line.
    fn version(&self) -> u32;

    /// False for records that never give a line, of which it is no news that they are too long to be
    /// read.
    fn reads(&self, _record: &RecordContext<'_>) -> bool {
        true
    }

    /// Reads whole bodies of `endpoint` that the format cannot cut into records, since they are
    /// compressed or in XML; `None` if it can.
    fn decoder(&self, _endpoint: &str) -> Option<BodyDecoder> {
        None
    }

    /// Calls `visit` for everything that the record says, in a fixed order. A record that should be
    /// an event and cannot be read becomes an event that says so, never silence.
    fn derive(&self, record: &RecordContext<'_>, visit: &mut dyn FnMut(Derivation));
}

/// Calls a function with each record of a whole body, as JSON. An error says why there are no more.
pub type BodyDecoder = fn(&[u8], &mut dyn FnMut(&[u8])) -> Result<(), String>;

/// All derivers.
pub static ALL: &[&dyn Deriver] = &[
    &argo_cd::ArgoCdDeriver,
    &auth0::Auth0Deriver,
    &azure_activity::AzureActivityDeriver,
    &cloudtrail::CloudTrailDeriver,
    &entra::EntraDeriver,
    &github::GitHubDeriver,
    &gitlab::GitLabDeriver,
    &google_cloud::GoogleCloudDeriver,
    &google_workspace::GoogleWorkspaceDeriver,
    &host::HostDeriver,
    &http_log::HttpLogDeriver,
    &keycloak::KeycloakDeriver,
    &kubernetes::KubernetesDeriver,
    &okta::OktaDeriver,
    &registry::RegistryDeriver,
    &vault::VaultDeriver,
];

/// The deriver for records of `endpoint`; `None` if there is none.
#[must_use]
pub fn deriver_of(endpoint: &str) -> Option<&'static dyn Deriver> {
    let (name, _) = endpoint.split_once(':')?;
    ALL.iter().copied().find(|deriver| deriver.name() == name)
}

/// Calls `visit` for everything that `record` says, with all texts bounded. Does nothing if no
/// deriver knows the endpoint.
pub fn derive_record(record: &RecordContext<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(deriver) = deriver_of(record.endpoint) else {
        return;
    };
    deriver.derive(record, &mut |mut derivation| {
        derivation.bound();
        visit(derivation);
    });
}
