//! Keys of agents on other machines: an image that was copied, or a host that was set up anew.

use std::num::NonZeroU32;

use evidence_format::time::Timestamp;
use platform::clock;
use protocol::facts::HostFacts;
use protocol::refusal::RefusalCode;
use store::ledger::{AgentBan, AgentRow};
use tracing::warn;

use super::gateway::AgentsGateway;
use super::refused::Refused;

/// Contacts are stored in batches, and agents pause between polls.
const CONTACT_DELAY_SECONDS_MAX: u32 = 30;

/// Refuses an agent that says it is on another machine than the one where it was enrolled: its key
/// vouches for one machine. The first time, the agent is locked until a person has decided which of
/// the two machines keeps it. After that, a copy on the same machine is refused, and locks nothing.
pub(super) async fn check_machine(
    gateway: &AgentsGateway,
    known: &AgentRow,
    facts: &HostFacts,
) -> Result<(), Refused> {
    if known.facts.machine_id == facts.machine_id {
        return Ok(());
    }
    let name = |id: &Option<String>| id.clone().unwrap_or_else(|| "without an id".to_owned());
    let enrolled = name(&known.facts.machine_id);
    let copy = format!("its key is used on machine {}", name(&facts.machine_id));
    let detail = format!("{copy}, but was enrolled on machine {enrolled}: enrol this machine");
    let refused = Refused::new(RefusalCode::OtherMachine, detail);
    let findings = gateway.ledger().agent_findings(&known.id).await?;
    let mut findings = findings.iter();
    if findings.any(|finding| finding.detail.starts_with(&format!("{copy} "))) {
        return Err(refused);
    }
    let now = clock::now();
    // The one in memory may be old.
    let stored = gateway.ledger().agent(&known.id).await?;
    let seen_at = stored.map_or(known.seen_at, |stored| stored.seen_at);
    let cause = if is_in_contact(seen_at, now, gateway.0.config.poll_seconds) {
        format!("while machine {enrolled}, where it was enrolled, is in contact: a copied image")
    } else {
        format!(
            "and machine {enrolled}, where it was enrolled, is silent since {seen_at}: \
             a host that was set up anew, or a copied image"
        )
    };
    let reason = format!(
        "{copy} ({}), {cause}. Enrol the new machine. Unlock this agent if the old machine \
         keeps it, or else revoke it",
        facts.host
    );
    warn!(agent = %known.id, reason, "an agent was locked");
    let ban = AgentBan {
        at: now,
        reason: reason.clone(),
    };
    gateway.ledger().lock_agent(&known.id, &ban).await?;
    let pipeline = &gateway.0.pipeline;
    pipeline.tell_open_incidents(known, &reason).await?;
    if let Some(row) = gateway.ledger().agent(&known.id).await? {
        gateway.0.roster.update(row).wake.notify_waiters();
    }
    Err(refused)
}

/// True if an agent with this last contact still polls. The contact of a poll that waits is as old
/// as the poll.
fn is_in_contact(seen_at: Timestamp, now: Timestamp, poll_seconds: NonZeroU32) -> bool {
    let seconds_max = i128::from(2 * poll_seconds.get().min(3_600) + CONTACT_DELAY_SECONDS_MAX);
    now.unix_nanoseconds() - seen_at.unix_nanoseconds() <= seconds_max * 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_poll_is_contact_and_a_machine_that_is_gone_is_not() {
        let at = |text| Timestamp::parse_lenient(text).expect("a time");
        let seen_at = at("2026-11-28T06:00:00Z");
        let poll = NonZeroU32::new(120).expect("it is not 0");
        assert!(is_in_contact(seen_at, at("2026-11-28T06:04:30Z"), poll));
        assert!(!is_in_contact(seen_at, at("2026-11-28T06:04:31Z"), poll));
    }
}
