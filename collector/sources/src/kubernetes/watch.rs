//! Watches lists: what changes in them, from the declaration until the incident is contained.
//!
//! The first pass asks only for the versions of the lists, so that its bundle is sealed at once. It
//! ends with these as its cursor, and its continuation watches from them on. Whenever a deadline
//! cuts the watch off, the next continuation resumes after the last change that was persisted, so
//! that nothing is lost between two bundles, nor in a crash.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use domain::incident::PassKind;
use domain::plan::CaptureStep;
use evidence_format::coverage::{EndReason, GapReason};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::table::WATCH_ITEM;
use super::{Kubernetes, offer_of};
use crate::Incomplete;
use crate::context::CaptureContext;
use crate::loop_guard::is_default;
use crate::recorder::{CallError, RecordedPart, Recorder};
use crate::rest::{
    AccessRequest, Endpoint, PageRequest, RequestError, Requester, RestSource as _, WalkRoot,
    root_refused, seed, worst_of,
};

/// Between two watches of a list.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// After the recorder gave up, having tried for minutes.
const RETRY_AFTER_OUTAGE: Duration = Duration::from_secs(30);
/// How often a version is renewed. The server forgets them after 5 to 10 minutes, and a quiet list
/// gives no newer one: bookmarks come only of lists in the server's cache, and events are in none.
const RENEW_AFTER: Duration = Duration::from_secs(120);
/// Until the watch has surely delivered all changes before a renewed version.
const DELIVERED_AFTER: Duration = Duration::from_secs(10);
/// From containment to the end of the watch.
const CONTAINED_AFTER: Duration = Duration::from_secs(2);
/// Status of an API server that has forgotten a version; also the code of a watch's last line.
const EXPIRED: u16 = 410;

/// How far the watches have come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WatchCursor {
    /// The last version that was seen of each list.
    #[serde(rename = "v")]
    versions: BTreeMap<String, String>,
    /// How often the server had forgotten it.
    #[serde(rename = "x", default, skip_serializing_if = "BTreeMap::is_empty")]
    expired: BTreeMap<String, u32>,
    /// Grows with every answer, so that the cursor of a quiet cluster differs from that of one that
    /// nobody answers: the planner schedules another pass only if the cursor has changed.
    #[serde(rename = "a", default, skip_serializing_if = "is_default")]
    answers: u64,
}

/// A step's watches.
struct ListWatches<'c> {
    cx: &'c CaptureContext,
    requester: Requester<'c>,
    cursor: Mutex<WatchCursor>,
}

/// One list that is watched.
struct WatchedList {
    /// Tells its version; its only child watches from that version on.
    list: &'static Endpoint,
    watch: &'static Endpoint,
    /// Placeholders.
    names: BTreeMap<String, String>,
    /// In the cursor.
    key: String,
}

/// How a watch ended that is to go on.
enum WatchEnd {
    /// The server closes each after some minutes; or the connection broke.
    Closed,
    /// The server has forgotten the version.
    Expired,
}

/// Captures the step of the watch.
pub(super) async fn capture(step: &CaptureStep, cx: &CaptureContext) -> Result<(), Incomplete> {
    let unusable = |what: String| Incomplete {
        ended: EndReason::Failed,
        reason: GapReason::Unauthenticated,
        what: format!("{WATCH_ITEM}: {what}"),
    };
    let (recorder, stop) = cx.recorder.with_own_stop();
    let request = AccessRequest {
        config: &cx.config,
        recorder: &recorder,
        incident: Some(&cx.incident),
        pivot: None,
    };
    let offer = offer_of(WATCH_ITEM).expect("in the table").offer;
    let access = Kubernetes.open(&step.target, &request).await;
    let access = access.map_err(unusable)?;
    let roots = Kubernetes.roots(offer, &step.target, &access, &request);
    let lists = roots.await.map_err(unusable)?;
    let mut requester = Requester::new(&Kubernetes, &access, &cx.config, Some(&cx.incident));
    requester.rank = cx.recorder.policy().rank;
    let cursor = cx.cursor.as_deref();
    let cursor = cursor.and_then(|text| serde_json::from_str(text).ok());
    let watches = ListWatches {
        cx,
        requester,
        cursor: Mutex::new(cursor.unwrap_or_default()),
    };
    let lists: Vec<WatchedList> = lists.into_iter().filter_map(WatchedList::new).collect();
    let all = join_all(lists.iter().map(|list| watches.follow(list, &recorder)));
    tokio::pin!(all);
    let ended = tokio::select! {
        ended = &mut all => ended,
        () = delivered(&cx.contained) => {
            stop.cancel(); // what has come is still recorded
            all.await
        }
    };
    let is_end = |incomplete: &Incomplete| {
        cx.contained.is_cancelled() && incomplete.ended == EndReason::Deadline
    };
    let mut incompletes: Vec<Incomplete> = ended.into_iter().filter_map(Result::err).collect();
    incompletes.retain(|incomplete| !is_end(incomplete));
    incompletes.extend(watches.cursor.lock().await.lost());
    worst_of(incompletes)
}

impl ListWatches<'_> {
    /// Watches `list` until it is stopped or refused.
    async fn follow(&self, list: &WatchedList, recorder: &Recorder) -> Result<(), Incomplete> {
        let recorder = recorder.with_own_buffer(seed());
        let followed = self.follow_recorded(list, &recorder).await;
        // what came last, or the request that failed
        self.persist(&recorder, &list.key, None).await?;
        followed
    }

    async fn follow_recorded(
        &self,
        list: &WatchedList,
        recorder: &Recorder,
    ) -> Result<(), Incomplete> {
        loop {
            let known = self.cursor.lock().await.versions.get(&list.key).cloned();
            let version = match known {
                Some(version) => version,
                None => {
                    let version = self.ask_version(list, recorder).await?;
                    let newer = Some(version.clone());
                    self.persist(recorder, &list.key, newer).await?;
                    version
                }
            };
            match self.cx.pass_kind {
                PassKind::Continuation => {}
                PassKind::First | PassKind::Settle => {
                    return Err(Incomplete {
                        ended: EndReason::Deadline,
                        reason: GapReason::Deadline,
                        what: format!("{} goes on in the next pass", list.watch.id),
                    });
                }
            }
            let wait = match self.watch(list, version, recorder).await {
                Ok(WatchEnd::Closed) => RETRY_AFTER,
                Ok(WatchEnd::Expired) => {
                    let mut cursor = self.cursor.lock().await;
                    cursor.versions.remove(&list.key);
                    *cursor.expired.entry(list.key.clone()).or_default() += 1;
                    RETRY_AFTER
                }
                // the changes of an outage come when it is over
                Err(RequestError::Call(CallError::GaveUp { .. })) => RETRY_AFTER_OUTAGE,
                Err(error) => return Err(error.incomplete(list.watch.id)),
            };
            if recorder.until_stopped(sleep(wait)).await.is_none() {
                return Err(Incomplete {
                    ended: EndReason::Deadline,
                    reason: GapReason::Deadline,
                    what: format!("{} was still open", list.watch.id),
                });
            }
        }
    }

    /// Asks for the version of the list as it is now.
    async fn ask_version(
        &self,
        list: &WatchedList,
        recorder: &Recorder,
    ) -> Result<String, Incomplete> {
        let id = list.list.id;
        let request = list.request(list.list, &list.names);
        let nothing = || std::future::ready(Ok(()));
        let sent = self.requester.send(recorder, &request, nothing).await;
        let (response, _) = sent.map_err(|error| error.incomplete(id))?;
        if !response.status().is_success() {
            return Err(root_refused(list.list, response.status()));
        }
        let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let version = body.pointer("/metadata/resourceVersion");
        let version = version.and_then(Value::as_str).ok_or_else(|| Incomplete {
            ended: EndReason::Failed,
            reason: GapReason::Malformed,
            what: format!("{id}: the list has no version"),
        })?;
        Ok(version.to_owned())
    }

    /// Watches until the server ends it. Each part is persisted with the version of its last
    /// change.
    async fn watch(
        &self,
        list: &WatchedList,
        version: String,
        recorder: &Recorder,
    ) -> Result<WatchEnd, RequestError> {
        let mut names = list.names.clone();
        names.insert("version".to_owned(), version);
        let request = list.request(list.watch, &names);
        let on_part = |part: RecordedPart| async move {
            if part.offset == 0 {
                self.cursor.lock().await.answers += 1;
            }
            let seen = last_version(&part.body);
            self.persist(recorder, &list.key, seen).await
        };
        let streamed = tokio::select! {
            streamed = self.requester.stream(recorder, &request, on_part) => streamed?,
            never = self.renew_versions(list, recorder) => match never {},
        };
        let status = streamed.response.status();
        if status.as_u16() == EXPIRED || is_expired(&streamed.last_part) {
            return Ok(WatchEnd::Expired);
        }
        if !status.is_success() {
            let refused = root_refused(list.watch, status);
            return Err(RequestError::Persist(refused));
        }
        self.cursor.lock().await.answers += 1;
        let seen = last_version(&streamed.last_part);
        let persisted = self.persist(recorder, &list.key, seen).await;
        persisted.map_err(RequestError::Persist)?;
        Ok(WatchEnd::Closed)
    }

    /// Keeps the version of a list young while it is watched.
    async fn renew_versions(&self, list: &WatchedList, recorder: &Recorder) -> Infallible {
        loop {
            sleep(RENEW_AFTER).await;
            let Ok(version) = self.ask_version(list, recorder).await else {
                continue;
            };
            sleep(DELIVERED_AFTER).await;
            let mut cursor = self.cursor.lock().await;
            if let Some(known) = cursor.versions.get_mut(&list.key)
                && is_newer(&version, known)
            {
                *known = version;
            }
        }
    }

    /// Persists what `recorder` has buffered, and how far the watch of `key` has come.
    async fn persist(
        &self,
        recorder: &Recorder,
        key: &str,
        version: Option<String>,
    ) -> Result<(), Incomplete> {
        // held until the cursor is durable, so that no later page has an older one
        let mut cursor = self.cursor.lock().await;
        if let Some(version) = version {
            cursor.versions.insert(key.to_owned(), version);
        }
        let text = serde_json::to_string(&*cursor).expect("texts are JSON");
        self.cx.persist(recorder, Some(&text)).await
    }
}

impl WatchCursor {
    /// What changed between a version that the server had forgotten, and the next one.
    fn lost(&self) -> Option<Incomplete> {
        let times = |(key, times): (&String, &u32)| match times {
            1 => key.clone(),
            times => format!("{key} ({times} times)"),
        };
        let lists: Vec<String> = self.expired.iter().map(times).collect();
        (!lists.is_empty()).then(|| Incomplete {
            ended: EndReason::Complete,
            reason: GapReason::Vanished,
            what: format!(
                "the server had forgotten the version to watch from (410), and changes before the \
                 next one are missing: {}",
                lists.join(", ")
            ),
        })
    }
}

impl WatchedList {
    fn new(root: WalkRoot) -> Option<Self> {
        let watch = root.endpoint.children.first()?.endpoint;
        let own = |(name, value): (&str, String)| (name.to_owned(), value);
        let names: BTreeMap<String, String> = root.names.into_iter().map(own).collect();
        let resource = watch.id.trim_start_matches("kubernetes:watch");
        let key = match names.get("namespace") {
            Some(namespace) => format!("{namespace}/{resource}"),
            None => resource.to_owned(),
        };
        Some(Self {
            list: root.endpoint,
            watch,
            names,
            key,
        })
    }

    fn request<'r>(
        &self,
        endpoint: &'static Endpoint,
        names: &'r BTreeMap<String, String>,
    ) -> PageRequest<'r> {
        PageRequest {
            endpoint,
            names,
            path: endpoint.path,
            position: None,
        }
    }
}

/// Waits for containment, and until changes before it have surely come: also where a worker resumes
/// the watch of an incident that was contained meanwhile.
async fn delivered(contained: &CancellationToken) {
    contained.cancelled().await;
    sleep(CONTAINED_AFTER).await;
}

/// Versions are numbers that grow, in all servers that exist; others are never renewed.
fn is_newer(version: &str, known: &str) -> bool {
    let number = |text: &str| text.parse::<u128>().ok();
    number(version)
        .zip(number(known))
        .is_some_and(|(version, known)| version > known)
}

/// The version of the last change in a part of a watch; bookmarks have one, too.
fn last_version(part: &[u8]) -> Option<String> {
    lines_from_last(part).find_map(|line| {
        let version = line.pointer("/object/metadata/resourceVersion")?.as_str()?;
        Some(version.to_owned()).filter(|version| !version.is_empty())
    })
}

/// True if the server ended a watch because it has forgotten its version.
fn is_expired(part: &[u8]) -> bool {
    lines_from_last(part)
        .next()
        .is_some_and(|line| line["type"] == "ERROR" && line["object"]["code"] == EXPIRED)
}

/// The changes in a part, the last one first. A change that is longer than a part is in none.
fn lines_from_last(part: &[u8]) -> impl Iterator<Item = Value> {
    part.rsplit(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
}
