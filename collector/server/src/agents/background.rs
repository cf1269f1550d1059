//! Tasks beside the requests: they tell agents of orders, keep the roster fresh, and store contacts.

use std::sync::Arc;
use std::time::Duration;

use platform::{chain, clock};
use tokio::time::sleep;
use tracing::{info, warn};

use super::authority::{AuthorityError, CertificateAuthority};
use super::gateway::AgentsGateway;
use super::roster::RosterEntry;
use crate::listener::ListenerSettings;

/// How often the ledger is asked for orders of other processes, and for changes of agents.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often the ledger is asked for new authorities.
const AUTHORITY_INTERVAL: Duration = Duration::from_secs(5);
/// The certificate of the listener is renewed when the clock has moved so far, in any direction: it
/// may have been set right.
const CERTIFICATE_AGE_MAX: Duration = Duration::from_secs(12 * 3600);
/// How often contacts are stored.
const FLUSH_INTERVAL: Duration = Duration::from_secs(10);
/// How soon contacts are stored that people wait for: who captures, and whose spool is full.
const NEWS_INTERVAL: Duration = Duration::from_millis(500);
/// Agents that are told at once, before the next pause.
const TOLD_AT_ONCE: usize = 20;

/// Runs all tasks until the gateway drains.
pub(super) async fn run(gateway: &AgentsGateway, listener: &ListenerSettings) {
    let drain = &gateway.0.drain;
    tokio::select! {
        () = tell_orders(gateway) => {}
        () = follow_changes(gateway) => {}
        () = store_contacts(gateway) => {}
        () = follow_authority(gateway, listener) => {}
        () = drain.cancelled() => {}
    }
    flush(gateway).await;
}

/// Wakes the polls of agents for which orders wait.
async fn tell_orders(gateway: &AgentsGateway) {
    let mut woken = gateway.0.pipeline.subscribe_to_passes();
    loop {
        woken.borrow_and_update(); // first: what is added from here on wakes this again
        match gateway.0.pipeline.agents_with_orders().await {
            Ok(agents) => tell(gateway, &gateway.0.roster.waiting(&agents)).await,
            Err(error) => warn!(error = %chain(&error), "cannot look for orders of agents"),
        }
        tokio::select! {
            changed = woken.changed() => {
                if changed.is_err() {
                    return; // the pipeline is gone
                }
            }
            () = sleep(LOOK_INTERVAL) => {}
        }
    }
}

/// Through the same bucket as enrolments and renewals: the database is the same.
async fn tell(gateway: &AgentsGateway, agents: &[Arc<RosterEntry>]) {
    for some in agents.chunks(TOLD_AT_ONCE) {
        for entry in some {
            gateway.0.admissions.wait().await;
            entry.wake.notify_waiters();
        }
    }
}

/// Takes over what people have changed: revocations, locks, labels.
async fn follow_changes(gateway: &AgentsGateway) {
    let mut last = None;
    loop {
        match gateway.ledger().agent_changes().await {
            Ok(changes) if last == Some(changes) => {}
            Ok(changes) => match gateway.ledger().agents().await {
                Ok(agents) => {
                    gateway.0.roster.refresh(agents);
                    last = Some(changes);
                }
                Err(error) => warn!(error = %chain(&error), "cannot read the agents"),
            },
            Err(error) => warn!(error = %chain(&error), "cannot look for changes of agents"),
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// Takes over new authorities, and renews the certificate of the listener.
async fn follow_authority(gateway: &AgentsGateway, listener: &ListenerSettings) {
    let mut issued_at = clock::now();
    loop {
        sleep(AUTHORITY_INTERVAL).await;
        let moved = clock::now().unix_nanoseconds() - issued_at.unix_nanoseconds();
        let is_old = moved.unsigned_abs() > CERTIFICATE_AGE_MAX.as_nanos();
        match refresh_authority(gateway, listener, is_old).await {
            Ok(false) => {}
            Ok(true) => {
                issued_at = clock::now();
                info!("has a new certificate for agents");
            }
            Err(error) => warn!(error = %chain(&error), "cannot renew the certificate for agents"),
        }
    }
}

/// True if the listener has a new certificate: because there is a new authority, or in any case if
/// `is_old`.
async fn refresh_authority(
    gateway: &AgentsGateway,
    listener: &ListenerSettings,
    is_old: bool,
) -> Result<bool, AuthorityError> {
    let authority = CertificateAuthority::open(gateway.ledger()).await?;
    if !is_old && !authority.differs_from(&gateway.authority()) {
        return Ok(false);
    }
    listener.set_tls(gateway.tls(&authority)?);
    gateway.set_authority(authority);
    Ok(true)
}

async fn store_contacts(gateway: &AgentsGateway) {
    loop {
        tokio::select! {
            () = sleep(FLUSH_INTERVAL) => {}
            // News of many agents come together.
            () = gateway.0.contact_news.notified() => sleep(NEWS_INTERVAL).await,
        }
        flush(gateway).await;
    }
}

async fn flush(gateway: &AgentsGateway) {
    let contacts = gateway.0.roster.take_contacts();
    if contacts.is_empty() {
        return;
    }
    if let Err(error) = gateway.ledger().touch_agents(&contacts).await {
        warn!(error = %chain(&error), "cannot store the contacts of agents");
    }
}
