//! Captures a step of the source from a server of the test, into memory.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use domain::incident::PassKind;
use domain::plan::CaptureStep;
use evidence_format::coverage::Coverage;
use evidence_format::warc;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::super::{Kubernetes, SOURCE, offer_of};
use crate::config::{KubernetesConfig, SourcesConfig};
use crate::context::{CaptureContext, PageSink, PageSinkError};
use crate::coverage::CoverageCounter;
use crate::recorder::{QuotaKey, Recorder, RequestPolicy, RequestRate, Transport};
use crate::rest::{RestSource as _, conformance};
use crate::{Incomplete, RemoteSource as _};

pub(super) fn recorder(stop: CancellationToken) -> Recorder {
    crate::crypto::install_provider();
    let quota = QuotaKey {
        provider: "kubernetes",
        account: String::new(),
        region: String::new(),
        endpoint: "test",
    };
    let policy = RequestPolicy::new(quota, RequestRate::new(1000.0, 1000));
    let transport = Arc::new(Transport::new().expect("a client"));
    Recorder::new(transport, policy, [7; 8], stop)
}

/// Keeps what a step captured, in memory.
#[derive(Default)]
pub(super) struct MemorySink {
    pub(super) warc: Mutex<Vec<u8>>,
    pub(super) cursors: Mutex<Vec<String>>,
}

#[async_trait]
impl PageSink for MemorySink {
    async fn persist(&self, warc: Bytes, cursor: Option<&str>) -> Result<(), PageSinkError> {
        let mut all = self.warc.lock().expect("not poisoned");
        all.extend_from_slice(&warc);
        let mut cursors = self.cursors.lock().expect("not poisoned");
        cursors.push(cursor.unwrap_or_default().to_owned());
        Ok(())
    }
}

/// One record of a response.
pub(super) struct Answer {
    pub(super) endpoint: String,
    pub(super) uri: String,
    pub(super) removed: Option<String>,
    pub(super) status: u16,
    pub(super) body: String,
}

pub(super) struct Captured {
    pub(super) ended: Result<(), Incomplete>,
    pub(super) answers: Vec<Answer>,
    pub(super) warc: Vec<u8>,
    /// In the order in which they were persisted.
    pub(super) cursors: Vec<String>,
    /// As the pipeline counts it.
    pub(super) coverage: Coverage,
}

impl Captured {
    pub(super) fn of<'c>(&'c self, endpoint: &'c str) -> impl Iterator<Item = &'c Answer> {
        self.answers
            .iter()
            .filter(move |answer| answer.endpoint == endpoint)
    }

    /// Different objects in the successful lists of `endpoint`.
    pub(super) fn objects(&self, endpoint: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for answer in self.of(endpoint).filter(|answer| answer.status == 200) {
            let body: Value = serde_json::from_str(&answer.body).expect("JSON");
            for item in body["items"].as_array().expect("items") {
                found.insert(item["metadata"]["uid"].as_str().expect("a uid").to_owned());
            }
        }
        found
    }
}

/// A step to capture; by default all of an offer, in a first pass.
pub(super) struct StepCapture {
    pub(super) offer: &'static str,
    pub(super) pivot: Option<&'static str>,
    pub(super) pass_kind: PassKind,
    pub(super) cursor: Option<String>,
    pub(super) stop: CancellationToken,
    pub(super) contained: CancellationToken,
    pub(super) sink: Arc<MemorySink>,
}

impl StepCapture {
    pub(super) fn of(offer: &'static str) -> Self {
        Self {
            offer,
            pivot: None,
            pass_kind: PassKind::First,
            cursor: None,
            stop: CancellationToken::new(),
            contained: CancellationToken::new(),
            sink: Arc::default(),
        }
    }

    /// Captures from the server at `address`, which speaks HTTP and wants the token `read-only`.
    pub(super) async fn from(
        self,
        address: SocketAddr,
        change: impl FnOnce(&mut KubernetesConfig),
    ) -> Captured {
        let kubeconfig = Kubeconfig::of(address);
        self.with(&kubeconfig.config(change)).await
    }

    pub(super) async fn with(self, config: &Arc<SourcesConfig>) -> Captured {
        let (offer, sink) = (self.offer, self.sink.clone());
        let ended = self.into_sink(config, sink.clone()).await;
        let warc = sink.warc.lock().expect("not poisoned").clone();
        let cursors = sink.cursors.lock().expect("not poisoned").clone();
        let mut counter = CoverageCounter::new(offer, "");
        counter.add(&SOURCE, &warc);
        let mut coverage = Coverage::new();
        counter.fill(&mut coverage, ended.is_ok());
        Captured {
            ended,
            answers: answers(&warc),
            cursors,
            warc,
            coverage,
        }
    }

    pub(super) async fn into_sink(
        self,
        config: &Arc<SourcesConfig>,
        sink: Arc<dyn PageSink>,
    ) -> Result<(), Incomplete> {
        let recorder = recorder(self.stop);
        let request = crate::rest::AccessRequest {
            config,
            recorder: &recorder,
            incident: None,
            pivot: None,
        };
        let mut targets = Kubernetes.targets(&request).await;
        let offer = offer_of(self.offer).expect("an offer").offer;
        let step = CaptureStep {
            target: targets.remove(0).expect("a target"),
            pivot: self.pivot.map(|pivot| pivot.parse().expect("a pivot")),
            asked: None,
            effective: None,
            ..conformance::step(offer)
        };
        let cx = CaptureContext {
            config: config.clone(),
            recorder,
            pass_kind: self.pass_kind,
            contained: self.contained,
            sink,
            ..conformance::context(self.pass_kind, self.cursor, Arc::default())
        };
        SOURCE.capture(&step, &cx).await
    }
}

/// A file that is removed with its owner.
pub(super) struct Kubeconfig(PathBuf);

impl Kubeconfig {
    /// Its current context is the server at `address`, with the token `read-only`.
    pub(super) fn of(address: SocketAddr) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("exhibit-kubeconfig-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: prod\n\
             clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\n\
             contexts: [{{name: prod, context: {{cluster: c, user: u}}}}]\n\
             users: [{{name: u, user: {{token: read-only}}}}]\n",
        );
        std::fs::write(&path, text).expect("writable");
        Self(path)
    }

    pub(super) fn config(&self, change: impl FnOnce(&mut KubernetesConfig)) -> Arc<SourcesConfig> {
        let mut config = SourcesConfig::default();
        config.kubernetes.kubeconfig = Some(self.0.clone());
        change(&mut config.kubernetes);
        Arc::new(config)
    }
}

impl Drop for Kubeconfig {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn answers(bytes: &[u8]) -> Vec<Answer> {
    let records = warc::records(bytes).map(|record| record.expect("WARC"));
    records
        .filter(|record| record.fields.get("WARC-Type") == Some("response"))
        .map(|record| {
            let block = String::from_utf8_lossy(record.block).into_owned();
            let (head, body) = block.split_once("\r\n\r\n").expect("a head");
            let text = |name| record.fields.get(name).unwrap_or_default().to_owned();
            Answer {
                endpoint: text("Exhibit-Endpoint"),
                uri: text("WARC-Target-URI"),
                removed: record.fields.get("Exhibit-Removed").map(str::to_owned),
                status: head[9..12].parse().expect("a status"),
                body: body.to_owned(),
            }
        })
        .collect()
}
