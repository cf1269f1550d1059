//! The long poll: an agent waits for an order.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use protocol::limits::HOLDING_MAX;
use protocol::poll::{OrderId, PollAnswer, PollRequest};
use protocol::refusal::RefusalCode;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::copies::check_machine;
use super::enrollment::check_facts;
use super::gateway::{AgentsGateway, RequestAgent, answer, check_admitted};
use super::refused::Refused;
use super::roster::RosterEntry;

/// The longest pause before the next poll of an agent that waited in vain.
const PAUSE_MILLISECONDS_MAX: f64 = 1_000.0;
/// The longest pause at a shutdown, so that agents come to the next process spread over this time.
const DRAIN_PAUSE_MILLISECONDS_MAX: f64 = 20_000.0;

/// `POST /agents/v1/poll`.
pub(super) async fn poll(
    State(gateway): State<AgentsGateway>,
    RequestAgent(entry): RequestAgent,
    request: Request,
) -> Result<Response, Refused> {
    let request: PollRequest = gateway.document(request).await?;
    if request.holding.len() > HOLDING_MAX {
        let detail = "the agent holds more bundles than the protocol allows";
        return Err(Refused::new(RefusalCode::Malformed, detail));
    }
    let spool = request.capturing.is_none().then_some(request.spool);
    if entry.touch_with(spool, request.capturing.as_ref()) {
        gateway.0.contact_news.notify_one();
    }
    if let Some(order) = &request.capturing {
        return wait_for_stop(&gateway, &entry, order).await;
    }
    if let Some(facts) = &request.facts {
        check_facts(facts)?;
        let known = entry.row();
        check_machine(&gateway, &known, facts).await?;
        if known.facts != *facts {
            gateway.ledger().set_agent_facts(&known.id, facts).await?;
            let mut row = known.as_ref().clone();
            row.facts = facts.clone();
            gateway.0.roster.update(row);
        }
    }
    let _waiting = WaitingPoll::begin(&entry);
    let until = answer_by(&gateway);
    loop {
        // Registered first: what is added after the look wakes it.
        let woken = entry.wake.notified();
        let agent = entry.row();
        check_admitted(&agent)?;
        // Boxed: ten thousand polls wait, and must not keep the room that a look needs.
        let order = Box::pin(gateway.0.pipeline.next_order(&agent, &request.holding));
        if let Some(order) = order.await? {
            gateway.metrics().count_order();
            return Ok(answer(&PollAnswer {
                order: Some(order),
                ..PollAnswer::default()
            }));
        }
        tokio::select! {
            woken = timeout_at(until, woken) => {
                if woken.is_err() {
                    return Ok(nothing(PAUSE_MILLISECONDS_MAX));
                }
            }
            () = gateway.0.drain.cancelled() => {
                return Ok(nothing(DRAIN_PAUSE_MILLISECONDS_MAX));
            }
        }
    }
}

fn nothing(milliseconds_max: f64) -> Response {
    let pause = platform::random_fraction() * milliseconds_max;
    answer(&PollAnswer {
        pause_milliseconds: pause as u64,
        ..PollAnswer::default()
    })
}

/// When a poll is answered at the latest: each at another time.
fn answer_by(gateway: &AgentsGateway) -> Instant {
    let jitter = 0.75 + platform::random_fraction() / 4.0;
    let seconds = f64::from(gateway.0.config.poll_seconds.get()) * jitter;
    Instant::now() + Duration::from_secs_f64(seconds)
}

/// Waits until people have stopped the order that the agent carries out.
async fn wait_for_stop(
    gateway: &AgentsGateway,
    entry: &RosterEntry,
    order: &OrderId,
) -> Result<Response, Refused> {
    if !gateway
        .0
        .pipeline
        .is_order_of(&entry.row().id, order)
        .await?
    {
        let detail = "the agent has no such order";
        return Err(Refused::new(RefusalCode::OrderEnded, detail));
    }
    let stop = gateway.0.stops.watch(&gateway.0.pipeline, order);
    tokio::select! {
        () = stop.stopped() => Ok(answer(&PollAnswer {
            is_stopped: true,
            ..PollAnswer::default()
        })),
        () = sleep_until(answer_by(gateway)) => Ok(nothing(PAUSE_MILLISECONDS_MAX)),
        () = gateway.0.drain.cancelled() => Ok(nothing(DRAIN_PAUSE_MILLISECONDS_MAX)),
    }
}

/// Counts a poll while it waits.
struct WaitingPoll<'e>(&'e RosterEntry);

impl<'e> WaitingPoll<'e> {
    fn begin(entry: &'e RosterEntry) -> Self {
        entry.polls.fetch_add(1, Ordering::Relaxed);
        Self(entry)
    }
}

impl Drop for WaitingPoll<'_> {
    fn drop(&mut self) {
        self.0.polls.fetch_sub(1, Ordering::Relaxed);
    }
}
