//! The agent's two loops: one polls for orders and captures, the other delivers.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evidence_format::safe::safe;
use platform::backoff::Backoff;
use platform::{chain, clock, durable, random_fraction};
use protocol::facts::HostFacts;
use protocol::limits::PAUSE_SECONDS_MAX;
use protocol::path;
use protocol::poll::{CaptureOrder, OrderId, PollAnswer, PollRequest};
use protocol::refusal::RefusalCode;
use protocol::upload::{UploadOffer, UploadState};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::client::GatewayClient;
use super::error::RunError;
use super::facts::{facts, machine_id};
use super::order;
use super::renew::renew;
use super::spool::{Spool, SpoolEntry};
use super::state::{AgentIdentity, AgentState, StateError, write_failed};
use super::tls::Authorities;
use crate::capture::CaptureOptions;

/// Bytes of one request of an upload: they are in memory, of which an agent takes little.
const CHUNK_BYTES: u64 = 1 << 20;
/// Waits after a failure. Spread, so that many agents do not come back at once.
pub const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// Waits of an agent that only a person can help.
const HELPLESS: Duration = Duration::from_secs(120);
/// How often the spool is looked at, if nothing wakes the delivery.
const SPOOL_INTERVAL: Duration = Duration::from_secs(60);

/// The machine id of which the collector was told that this state is a copy there.
const TOLD_OF_COPY: &str = "told-of-copy";

/// How the agent runs.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The state folder.
    pub state: PathBuf,
    /// The agent's own limits, which no order exceeds.
    pub capture: CaptureOptions,
    /// Bytes of bundles that wait for delivery. With more, the agent takes no order.
    pub spool_bytes_max: u64,
}

/// An agent that is enrolled.
pub struct Agent {
    state: AgentState,
    identity: Mutex<AgentIdentity>,
    client: Mutex<GatewayClient>,
    spool: Spool,
    options: RunOptions,
    /// A bundle was put into the spool, or the certificate was renewed.
    deliver: Notify,
}

/// Runs the agent until it is killed. Whatever it was doing, the next start goes on with it.
///
/// # Errors
/// The state cannot be used, or is that of another machine.
pub async fn run(options: RunOptions) -> Result<(), RunError> {
    match Agent::open(options.clone()) {
        Err(RunError::State(error @ StateError::OtherMachine { .. })) => {
            tell_of_copy(&options).await?;
            Err(error.into())
        }
        opened => {
            Arc::new(opened?).run_forever().await;
            Ok(())
        }
    }
}

/// Tells the collector, once, that this state is on another machine: there people see why this host
/// is not captured.
async fn tell_of_copy(options: &RunOptions) -> Result<(), RunError> {
    let state = AgentState::open(&options.state)?;
    let Some(mut identity) = state.identity()? else {
        return Ok(());
    };
    let CaptureOptions { root, logs, .. } = &options.capture;
    let facts = facts(root, logs);
    let (told, own) = (state.path(TOLD_OF_COPY), facts.machine_id.clone());
    let own = own.unwrap_or_default();
    if fs::read_to_string(&told).is_ok_and(|last| last == own) {
        return Ok(()); // a service manager starts it again and again
    }
    // Needs no certificate, which may have expired. It is refused.
    match renew(&state, &mut identity, &facts).await {
        Err(error) if error.code().is_none() => {
            report(&error); // tried again at the next start
            Ok(())
        }
        Ok(()) | Err(_) => {
            let stored = durable::replace(&told, own.as_bytes(), 0o600);
            Ok(stored.map_err(write_failed(&told))?)
        }
    }
}

/// A client with the agent's certificate.
fn client(state: &AgentState, identity: &AgentIdentity) -> Result<GatewayClient, RunError> {
    let credentials = &identity.credentials;
    let authorities = Authorities::Known(credentials.authorities.clone());
    let key = state.tls_key.pem();
    let certificate = Some((credentials.certificate.as_str(), key.as_str()));
    Ok(GatewayClient::new(
        &identity.server,
        &authorities,
        certificate,
    )?)
}

impl Agent {
    /// Opens the state of an agent.
    ///
    /// # Errors
    /// The state cannot be used, or is that of another machine.
    pub fn open(options: RunOptions) -> Result<Self, RunError> {
        let state = AgentState::open(&options.state)?;
        let identity = state.identity()?.ok_or_else(|| StateError::NotEnrolled {
            path: options.state.clone(),
        })?;
        let own = machine_id(&options.capture.root);
        state.check_machine(&identity, own.as_deref())?;
        let spool = Spool::open(state.spool_folder(), options.spool_bytes_max)?;
        spool.clean()?;
        Ok(Self {
            client: Mutex::new(client(&state, &identity)?),
            identity: Mutex::new(identity),
            state,
            spool,
            options,
            deliver: Notify::new(),
        })
    }

    async fn run_forever(self: Arc<Self>) {
        tokio::join!(Arc::clone(&self).poll_forever(), self.deliver_forever());
    }

    async fn poll_forever(self: Arc<Self>) {
        let (mut failures, mut told) = (0, None);
        loop {
            let pause = match self.poll(&mut told).await {
                Ok(pause) => {
                    failures = 0;
                    pause
                }
                Err(error) => {
                    report(&error);
                    told = None; // another collector may answer next, which knows less
                    let pause = self.pause_after(&error, failures).await;
                    failures += 1;
                    pause
                }
            };
            sleep(pause).await;
        }
    }

    /// Polls once, and carries out the order if there is one. Returns how long to wait.
    async fn poll(self: &Arc<Self>, told: &mut Option<HostFacts>) -> Result<Duration, RunError> {
        let facts = self.facts();
        if self.is_renewal_due() {
            self.renew(&facts).await?;
        }
        let entries = self.spool.entries()?;
        let request = PollRequest {
            facts: (told.as_ref() != Some(&facts)).then(|| facts.clone()),
            spool: self.spool.state()?,
            holding: entries.into_iter().map(|entry| entry.order).collect(),
            capturing: None,
        };
        let answer = self.client().poll(&request).await?;
        *told = Some(facts);
        if let Some(order) = answer.order {
            self.carry_out(order).await?;
        }
        let pause = Duration::from_millis(answer.pause_milliseconds);
        Ok(pause.min(Duration::from_secs(PAUSE_SECONDS_MAX)))
    }

    /// Captures what is ordered, and puts the bundle into the spool.
    ///
    /// # Errors
    /// No bundle was sealed.
    pub async fn carry_out(self: &Arc<Self>, order: CaptureOrder) -> Result<(), RunError> {
        let agent = Arc::clone(self);
        let id = order.id.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        let mut captured = tokio::task::spawn_blocking(move || {
            let Self {
                options,
                state,
                spool,
                ..
            } = &*agent;
            order::carry_out(&order, &options.capture, state, spool, &is_stopped)
        });
        let captured = tokio::select! {
            captured = &mut captured => captured,
            () = self.wait_for_stop(&id) => {
                stop.store(true, Ordering::Relaxed);
                captured.await // it seals what it has
            }
        };
        let entry = captured.map_err(|_| RunError::Crashed)??;
        say(&format!("captured for {}: {}", id.incident, entry.bundle));
        self.deliver.notify_one();
        Ok(())
    }

    /// Returns when the collector says that people have stopped the order. Without a collector, it
    /// is carried out.
    async fn wait_for_stop(&self, order: &OrderId) {
        let request = PollRequest {
            capturing: Some(order.clone()),
            ..PollRequest::default()
        };
        let mut failures = 0;
        loop {
            let answer = self.client().poll(&request).await;
            let pause = match answer {
                Ok(PollAnswer {
                    is_stopped: true, ..
                }) => return,
                Ok(answer) => Duration::from_millis(answer.pause_milliseconds),
                Err(_) => {
                    failures += 1;
                    RETRY.equal_jitter(failures, random_fraction())
                }
            };
            sleep(pause).await;
        }
    }

    fn facts(&self) -> HostFacts {
        facts(&self.options.capture.root, &self.options.capture.logs)
    }

    async fn deliver_forever(&self) {
        let mut failures = 0;
        loop {
            match self.deliver_all().await {
                Ok(()) => {
                    failures = 0;
                    tokio::select! {
                        () = self.deliver.notified() => {}
                        () = sleep(SPOOL_INTERVAL) => {}
                    }
                }
                Err(error) => {
                    report(&error);
                    let pause = if error.is_helpless() {
                        HELPLESS
                    } else {
                        // The other loop renews; it wakes this one.
                        RETRY.equal_jitter(failures, random_fraction())
                    };
                    failures += 1;
                    tokio::select! {
                        () = self.deliver.notified() => {}
                        () = sleep(pause) => {}
                    }
                }
            }
        }
    }

    /// Delivers every bundle of the spool.
    ///
    /// # Errors
    /// A bundle cannot be delivered now. Those that the collector rejects for good are moved away.
    pub async fn deliver_all(&self) -> Result<(), RunError> {
        for entry in self.spool.entries()? {
            match self.deliver(&entry).await {
                Ok(()) => {
                    self.spool.remove(&entry)?;
                    say(&format!("delivered {}", entry.bundle));
                }
                Err(error) if error.code().is_some_and(is_final) => {
                    let kept = self.spool.reject(&entry)?;
                    report(&error);
                    say(&format!("the bundle stays in {}", kept.display()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Uploads a bundle from where the collector has it, and commits it.
    async fn deliver(&self, entry: &SpoolEntry) -> Result<(), RunError> {
        let path = self.spool.tar(entry);
        let failed = |cause| RunError::ReadBundle {
            path: path.clone(),
            cause,
        };
        let mut file = File::open(&path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let offer = UploadOffer {
            order: entry.order.clone(),
            bundle: entry.bundle,
            bytes,
        };
        let upload = format!("{}/{}", path::UPLOADS, entry.bundle.hex());
        let mut state: UploadState = self.client().post(path::UPLOADS, &offer).await?;
        while !state.committed {
            if state.received_bytes == bytes {
                state = self
                    .client()
                    .post(&format!("{upload}/commit"), &offer)
                    .await?;
                continue;
            }
            let offset = state.received_bytes.min(bytes);
            file.seek(SeekFrom::Start(offset)).map_err(failed)?;
            let mut chunk = Vec::new();
            let part = (&file).take(CHUNK_BYTES).read_to_end(&mut chunk);
            part.map_err(failed)?;
            let put = format!("{upload}?offset={offset}");
            state = self.client().put(&put, chunk).await?;
        }
        Ok(())
    }

    async fn pause_after(&self, error: &RunError, failures: u32) -> Duration {
        match error.code() {
            Some(RefusalCode::CertificateNeeded) => {
                let facts = self.facts();
                match self.renew(&facts).await {
                    Ok(()) => return Duration::ZERO,
                    Err(error) => report(&error),
                }
            }
            Some(_) if error.is_helpless() => {
                return HELPLESS.mul_f64(0.5 + random_fraction() / 2.0);
            }
            // TLS refuses a certificate that has expired before any request is read.
            None if self.is_certificate_old() => {
                let facts = self.facts();
                if self.renew(&facts).await.is_ok() {
                    return Duration::ZERO;
                }
            }
            Some(_) | None => {}
        }
        RETRY.equal_jitter(failures, random_fraction())
    }

    async fn renew(&self, facts: &HostFacts) -> Result<(), RunError> {
        let mut identity = self.identity().clone();
        let renewed = renew(&self.state, &mut identity, facts).await;
        // Also if it failed: its nonce is stored, and is sent again.
        let client = client(&self.state, &identity);
        *self.identity() = identity;
        renewed?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client?;
        self.deliver.notify_one();
        Ok(())
    }

    fn is_renewal_due(&self) -> bool {
        let identity = self.identity();
        identity.pending.is_some() || identity.renew_at <= clock::now()
    }

    fn is_certificate_old(&self) -> bool {
        self.identity().credentials.expires_at <= clock::now()
    }

    fn identity(&self) -> std::sync::MutexGuard<'_, AgentIdentity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client with the agent's certificate.
    pub fn client(&self) -> GatewayClient {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        client.clone()
    }
}

/// True if the same bundle would be refused again.
fn is_final(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::BundleRejected | RefusalCode::OrderEnded | RefusalCode::TooLarge
    )
}

fn report(error: &RunError) {
    say(&chain(error).to_string());
}

/// To standard error, which a service manager keeps.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "exhibit-agent: {}", safe(text));
}
