//! What a remote source needs while it captures a step.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use evidence_format::coverage::{EndReason, GapReason};
use evidence_format::id::IncidentId;

use super::Incomplete;
use super::config::SourcesConfig;
use super::recorder::{Recorder, is_credential_parameter};
use domain::incident::PassKind;
use platform::chain;
use platform::progress::ProgressCounter;
use tokio_util::sync::CancellationToken;

/// Where a step's pages go. The pipeline implements it over the store, of which sources know
/// nothing.
#[async_trait]
pub trait PageSink: Send + Sync {
    /// Persists `warc` (whole WARC records) together with `cursor`, from which a restart resumes.
    /// Both are durable when this returns; after a crash, either both exist or neither does.
    ///
    /// # Errors
    /// Nothing of this call was persisted.
    async fn persist(&self, warc: Bytes, cursor: Option<&str>) -> Result<(), PageSinkError>;
}

/// A page was not persisted.
#[derive(Debug, thiserror::Error)]
pub enum PageSinkError {
    /// The store failed until the step was stopped. A later pass can capture the rest.
    #[error("the store accepted no page before the step was stopped")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It can never be persisted, for instance because another worker has taken over the pass.
    #[error("cannot persist captured pages")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a remote source needs while it captures a step.
pub struct CaptureContext {
    /// Part of session names and user agents, so that the provider's log tells our requests from
    /// those of others.
    pub incident: IncidentId,
    pub config: Arc<SourcesConfig>,
    /// The HTTP client to use: it records what it sends and receives.
    pub recorder: Recorder,
    /// Where an earlier run of this step stopped: the last cursor given to [`Self::persist`].
    pub cursor: Option<String>,
    /// Bytes before compression after which the step stops.
    pub bytes_max: u64,
    /// Bytes of one object, such as a job's log: what is longer is cut there, and says so.
    pub object_bytes_max: u64,
    /// Why the step is captured: settle passes of some sources ask another question.
    pub pass_kind: PassKind,
    /// Cancelled once the incident is contained: a watch ends then.
    pub contained: CancellationToken,
    /// What this step has captured.
    pub progress: Arc<ProgressCounter>,
    /// What all steps of the pass have captured.
    pub pass_progress: Arc<ProgressCounter>,
    pub sink: Arc<dyn PageSink>,
}

impl CaptureContext {
    /// Persists what `recorder` has buffered, together with the cursor from which a restart
    /// resumes.
    ///
    /// # Errors
    /// [`Incomplete`] if the sink failed, or if the step has now exceeded its byte limit. In the
    /// latter case the page is persisted.
    pub async fn persist(
        &self,
        recorder: &Recorder,
        cursor: Option<&str>,
    ) -> Result<(), Incomplete> {
        let warc = Bytes::from(recorder.take_buffered());
        if warc.is_empty() {
            return Ok(());
        }
        let bytes = warc.len() as u64;
        // Cursors are sealed in the plan of a continuation. One that must not be is dropped, and
        // the page is kept.
        let secrets = recorder.secrets();
        let may_be_sealed = cursor
            .is_none_or(|cursor| is_sealable(cursor) && secrets.masked_text(cursor) == cursor);
        let cursor = cursor.filter(|_| may_be_sealed);
        self.sink.persist(warc, cursor).await.map_err(|error| {
            // a store that is only away leaves a gap that the next pass can fill
            let (ended, reason) = match error {
                PageSinkError::Refused(_) => (EndReason::Deadline, GapReason::Deadline),
                PageSinkError::Failed(_) => (EndReason::Failed, GapReason::Crashed),
            };
            Incomplete {
                ended,
                reason,
                what: chain(&error),
            }
        })?;
        self.progress.add_page(bytes);
        self.pass_progress.add_page(bytes);
        if !may_be_sealed {
            return Err(Incomplete {
                ended: EndReason::Failed,
                reason: GapReason::Crashed,
                what: "the cursor holds a host or a credential: a bug of the source".to_owned(),
            });
        }
        // checked after the page is durable: what has been received is evidence, even over budget
        if self.progress.bytes.load(Ordering::Relaxed) > self.bytes_max {
            let what = format!("more than the plan's {} bytes", self.bytes_max);
            return Err(Incomplete {
                ended: EndReason::Limit,
                reason: GapReason::OverBudget,
                what,
            });
        }
        Ok(())
    }
}

/// True if `cursor` holds neither the address of a host nor a parameter that is a credential.
fn is_sealable(cursor: &str) -> bool {
    let mut parameters = cursor
        .split(['?', '&', '"', '\\'])
        .filter(|piece| piece.contains('='));
    !cursor.contains("://") && !parameters.any(is_credential_parameter)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Mutex;

    use super::*;
    use crate::recorder::{QuotaKey, RequestPolicy, RequestRate, Transport};

    /// What was persisted, and with which cursor.
    #[derive(Default)]
    struct Persisted(Mutex<Vec<(usize, Option<String>)>>);

    #[async_trait]
    impl PageSink for Persisted {
        async fn persist(&self, warc: Bytes, cursor: Option<&str>) -> Result<(), PageSinkError> {
            let mut pages = self.0.lock().expect("no panic");
            pages.push((warc.len(), cursor.map(str::to_owned)));
            Ok(())
        }
    }

    #[tokio::test]
    async fn page_is_kept_without_the_cursor_that_must_not_be_sealed() {
        crate::crypto::install_provider();
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 204 X\r\nconnection: close\r\n\r\n");
            }
        });
        let quota = QuotaKey {
            provider: "test",
            account: String::new(),
            region: String::new(),
            endpoint: "x",
        };
        let policy = RequestPolicy::new(quota, RequestRate::new(1000.0, 100));
        let transport = Arc::new(Transport::new().expect("a client"));
        let recorder = Recorder::new(transport, policy, [7; 8], CancellationToken::new());
        let sink = Arc::new(Persisted::default());
        let cx = CaptureContext {
            incident: "INC-1".parse().expect("an id"),
            config: Arc::default(),
            recorder: recorder.clone(),
            cursor: None,
            bytes_max: u64::MAX,
            object_bytes_max: u64::MAX,
            pass_kind: PassKind::First,
            contained: CancellationToken::new(),
            progress: Arc::default(),
            pass_progress: Arc::default(),
            sink: sink.clone(),
        };
        let mut results = Vec::new();
        for cursor in ["page 2", "https://x.test/?page=3"] {
            let request = http::Request::get(format!("http://{address}/")).body(Bytes::new());
            let answer = recorder.call(request.expect("a request")).await;
            answer.expect("it is answered");
            results.push(cx.persist(&recorder, Some(cursor)).await);
        }
        assert_eq!(results[0], Ok(()));
        let error = results[1].as_ref().expect_err("it holds a host");
        assert_eq!(error.reason, GapReason::Crashed);
        let pages = sink.0.lock().expect("no panic");
        assert!(pages.iter().all(|(bytes, _)| *bytes > 0));
        let cursors: Vec<_> = pages.iter().map(|(_, cursor)| cursor.as_deref()).collect();
        assert_eq!(cursors, [Some("page 2"), None]);
    }

    #[test]
    fn cursor_with_host_or_credential_is_not_sealed() {
        for bad in [
            "https://api.example.com/v1?after=1",
            r#"{"next":"/logs?X-Amz-Signature=ab&after=1"}"#,
            "/logs?after=1&sig=ab",
            "access_token=ab",
        ] {
            assert!(!is_sealable(bad), "{bad}");
        }
        for good in [
            r#"{"slices":[{"from":1,"last":2,"token":"AbC+/sig=","done":false}]}"#,
            "/api/v1/logs?after=16277%2F_1&limit=1000",
            "",
        ] {
            assert!(is_sealable(good), "{good}");
        }
    }
}
