//! Captures: what to capture, and the state of each pass.

use std::fmt;

use evidence_format::coverage::TimeWindow;
use evidence_format::id::IncidentId;
use evidence_format::limits::JSON_INTEGER_MAX;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use domain::hosts::{HostLabel, HostSelection, SELECTORS_MAX};
use domain::incident::{CaptureRequest, SourceName};
use protocol::identity::AgentId;
use protocol::selection::{PodName, PodSelection};

/// Bytes of an image's name: the OCI distribution specification allows 255 for a name, and a digest
/// has 71.
const IMAGE_BYTES_MAX: usize = 512;

/// What to capture. The incident's play supplies what is omitted.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaptureOptions {
    /// Start of the window; needs `until`.
    #[serde(default)]
    pub from: Option<Timestamp>,
    /// End of the window, exclusive; needs `from`.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Only these sources.
    #[serde(default)]
    pub sources: Vec<SourceName>,
    /// Only these accounts.
    #[serde(default)]
    pub accounts: Vec<String>,
    /// Only these regions.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Seconds after which the evidence captured so far is sealed. The rest follows as a
    /// supplement.
    #[serde(default)]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub deadline_seconds: Option<u64>,
    /// Hosts that their agents capture, by name, address, instance id of a cloud, or id of the
    /// agent.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Every host with one of these labels, such as `role=web`.
    #[serde(default)]
    pub host_labels: Vec<HostLabel>,
    /// Nodes of Kubernetes that their agents capture.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// On these hosts and nodes, only what belongs to these pods, such as `shop/checkout-7d9f`.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub pods: Vec<PodName>,
    /// The same for containers of these images: a digest (`sha256:…`), or how a name begins.
    #[serde(default)]
    pub images: Vec<String>,
}

/// The options contradict each other or are out of range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CaptureOptionsError {
    #[error("a window needs both `from` and `until`")]
    HalfWindow,
    #[error("the window's `from` must be before its `until`")]
    EmptyWindow,
    #[error("deadlineSeconds is {seconds}, limit is {JSON_INTEGER_MAX}")]
    Deadline { seconds: u64 },
    #[error("hosts, labels, nodes, pods and images are {count}, limit is {SELECTORS_MAX}")]
    TooManyHosts { count: usize },
    #[error(
        "pods and images narrow down what is captured of hosts: name hosts, host labels or nodes too"
    )]
    PodsWithoutHosts,
    #[error("an image has 1 to {IMAGE_BYTES_MAX} bytes, without control characters")]
    Image,
}

impl CaptureOptions {
    /// Validates the options. `deadline_seconds` is the default of their deadline.
    ///
    /// # Errors
    /// See [`CaptureOptionsError`].
    pub fn into_request(
        self,
        deadline_seconds: u64,
    ) -> Result<CaptureRequest, CaptureOptionsError> {
        let window = match (self.from, self.until) {
            (None, None) => None,
            (Some(from), Some(until)) if from < until => Some(TimeWindow { from, until }),
            (Some(_), Some(_)) => return Err(CaptureOptionsError::EmptyWindow),
            // Not completed by a guess, which could capture far more than was meant.
            (Some(_), None) | (None, Some(_)) => return Err(CaptureOptionsError::HalfWindow),
        };
        let seconds = self.deadline_seconds.unwrap_or(deadline_seconds);
        // The deadline is part of the plan, which is sealed as JSON.
        if seconds > JSON_INTEGER_MAX {
            return Err(CaptureOptionsError::Deadline { seconds });
        }
        let hosts = HostSelection {
            hosts: self.hosts,
            labels: self.host_labels,
            nodes: self.nodes,
            only: PodSelection {
                pods: self.pods,
                images: self.images,
            },
        };
        let PodSelection { pods, images } = &hosts.only;
        let count = hosts.len() + pods.len() + images.len();
        if count > SELECTORS_MAX {
            return Err(CaptureOptionsError::TooManyHosts { count });
        }
        if hosts.is_empty() && !hosts.only.is_empty() {
            return Err(CaptureOptionsError::PodsWithoutHosts);
        }
        let is_image = |image: &String| {
            (1..=IMAGE_BYTES_MAX).contains(&image.len()) && !image.contains(char::is_control)
        };
        if !images.iter().all(is_image) {
            return Err(CaptureOptionsError::Image);
        }
        Ok(CaptureRequest {
            hosts,
            hosts_only: false,
            window,
            sources: self.sources,
            accounts: self.accounts,
            regions: self.regions,
            deadline_seconds: seconds,
        })
    }
}

/// The collector has accepted a request to capture, or to stop captures.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CaptureAccepted {
    pub incident: IncidentId,
}

/// One capture of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapturePass {
    /// The source, or `attached`.
    #[schema(value_type = SourceName)]
    pub source: String,
    pub pass: u32,
    pub kind: CaptureKind,
    pub state: CaptureState,
    pub due_at: Timestamp,
    /// Why it produced no bundle; absent unless it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When its worker was lost, if no other one has resumed it; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_off_at: Option<Timestamp>,
    /// When it is tried again after a failure; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

/// The capture of a host by its agent, or of a host that has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostCapture {
    /// The host's name; without an agent, what was asked for, such as `label role=web`.
    pub host: String,
    /// 16 hex digits; absent without an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agent: Option<AgentId>,
    /// The capture request that asked for it, from 1.
    pub request: u32,
    pub state: HostCaptureState,
    /// Bytes of the bundle; absent before it is delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Why it is missing, or what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How far the capture of a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostCaptureState {
    /// Its evidence is missing: the host has no agent, or its agent did not deliver in time.
    Gap,
    /// Its agent does not know of it yet.
    Waiting,
    /// Its agent has the order.
    Told,
    /// Its agent captures.
    Capturing,
    /// Its bundle is verified and stored.
    Delivered,
}

/// Evidence that a capture should have got and did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissingEvidence {
    /// The source, or the pivot that was not searched for.
    pub source: String,
    /// The capture request that asked for it, from 1: the first is that of the declaration.
    pub request: u32,
    pub kind: MissingKind,
    /// In words; may quote the source.
    pub reason: String,
    /// True if the request named the source, or if somebody configured it. False for what nobody
    /// configured, and for single objects that are gaps in a bundle.
    pub is_loss: bool,
}

/// How evidence came to be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MissingKind {
    /// The capture failed.
    Failed,
    /// The source, or a part of it, could not be asked.
    NeverAsked,
    /// A part of the source was not read to its end, such as a region that denies access.
    EndedEarly,
    /// The capture was stopped before it began.
    Stopped,
    /// The process that captured it has gone, or it was not begun: another one has to continue.
    CutOff,
    /// Single objects, which are gaps in the bundle.
    Gaps,
    /// A pivot that no source of the capture can filter by; `source` is the pivot.
    NotSearched,
}

/// The reason for a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CaptureKind {
    /// The incident was declared.
    First,
    /// The rest of a pass that reached its deadline or budget.
    Continuation,
    /// Repeats a capture of a source that delivers late.
    Settle,
    /// A user requested it.
    Again,
}

/// The state of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CaptureState {
    /// Not due, or not started.
    Waiting,
    /// Pages are being fetched.
    Capturing,
    /// Its bundle is committed.
    Sealed,
    /// It ended without a bundle.
    Failed,
}

impl HostCaptureState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Waiting => "waiting",
            Self::Told => "told",
            Self::Capturing => "capturing",
            Self::Delivered => "delivered",
        }
    }
}

impl CaptureKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Continuation => "continuation",
            Self::Settle => "settle",
            Self::Again => "again",
        }
    }
}

impl CaptureState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Capturing => "capturing",
            Self::Sealed => "sealed",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for CaptureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for CaptureState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_half_and_empty_windows() {
        let time = |text: &str| Some(text.parse().expect("a time"));
        let (early, late) = (time("2026-11-23T13:00:00Z"), time("2026-11-23T14:00:00Z"));
        let read = |from, until| {
            CaptureOptions {
                from,
                until,
                ..CaptureOptions::default()
            }
            .into_request(60)
        };
        assert!(read(early, late).expect("a window").window.is_some());
        assert!(read(None, None).expect("the play's").window.is_none());
        assert_eq!(read(early, None), Err(CaptureOptionsError::HalfWindow));
        assert_eq!(read(None, late), Err(CaptureOptionsError::HalfWindow));
        assert_eq!(read(late, early), Err(CaptureOptionsError::EmptyWindow));
        assert_eq!(read(early, early), Err(CaptureOptionsError::EmptyWindow));
    }

    #[test]
    fn pods_are_of_hosts_that_are_named() {
        let of = |hosts: &[&str], images: &[&str]| {
            let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
            let options = CaptureOptions {
                hosts: names(hosts),
                images: names(images),
                pods: vec!["shop/checkout-7d9f".parse().expect("a pod")],
                ..CaptureOptions::default()
            };
            options
                .into_request(60)
                .map(|request| request.hosts.to_string())
        };
        assert_eq!(
            of(&["web-1"], &["sha256:3f"]),
            Ok("host web-1; only of pod shop/checkout-7d9f, image sha256:3f".to_owned())
        );
        assert_eq!(of(&[], &[]), Err(CaptureOptionsError::PodsWithoutHosts));
        assert_eq!(of(&["web-1"], &[""]), Err(CaptureOptionsError::Image));
    }

    #[test]
    fn rejects_deadline_that_no_plan_can_hold() {
        let options = CaptureOptions {
            deadline_seconds: Some(JSON_INTEGER_MAX + 1),
            ..CaptureOptions::default()
        };
        let error = options.into_request(60).expect_err("too large");
        assert_eq!(
            error.to_string(),
            "deadlineSeconds is 9007199254740992, limit is 9007199254740991"
        );
    }
}
