//! `exhibit trusts` and `exhibit exposure`: what accepts a credential, and what an identity could
//! act on.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::{Args, value_parser};
use evidence_derive::investigation::RightEffects;
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use evidence_format::time::Timestamp;

use super::super::event_filter::check_window;
use super::super::pager::PagedOutput;
use super::super::table::{terminal_width, wrap};
use super::super::times::{parse_time, to_whole_seconds};
use super::super::{GlobalOptions, incident_or_only_open, print_json};
use super::{format_unknown, format_window};
use domain::answers::{
    ActCount, ExposureAnswer, GraphStep, ReachableThing, TrustsAnswer, entity_words,
};
use domain::incident::EvidenceRef;
use evidence_derive::EntityRef;
use pipeline::timeline::TimelineFilter;
use server::answers::EventQuestion;

/// Hex digits of a bundle's id that name it to people.
const BUNDLE_DIGITS: usize = 12;

/// Answers the runbook's question: which systems trust the affected credential or artifact?
///
/// First what somebody who has it can act on, step by step: whose key it is, which roles that one
/// can assume, which repositories, accounts and clusters let them in. Then the other way: who can act
/// on it or as it. Each step names the record that shows it, for `exhibit record`.
#[derive(Args)]
#[command(
    allow_missing_positional = true,
    after_help = "\
Examples:
  exhibit trusts AKIAIOSFODNN7EXAMPLE
  exhibit trusts INC-2026-042 arn:aws:iam::123456789012:role/deploy --depth 6
  exhibit trusts INC-2026-042 ghcr.io/acme/app --json | jq '.trustedBy[].words'"
)]
pub(in super::super) struct TrustsArgs {
    /// Incident id [default: the only open incident]
    incident: Option<IncidentId>,
    /// Public id or name of a credential, identity or artifact; never a secret
    credential: String,
    /// Relations that are followed one after the other [default: 4]
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=10))]
    depth: Option<u32>,
}

/// Answers the runbook's question: what data could the actor read, modify, delete, or export?
///
/// Two lists, which say different things: what the identity could act on, by the rights that records
/// show, with the way there; and what it did, by the events of the window. What it did as a role
/// that it assumed is in the answer for that role. A right whose effect the record does not say is
/// listed all the same.
#[derive(Args)]
#[command(
    allow_missing_positional = true,
    after_help = "\
Examples:
  exhibit exposure alice
  exhibit exposure INC-2026-042 arn:aws:iam::123456789012:role/deploy
  exhibit exposure INC-2026-042 AKIAIOSFODNN7EXAMPLE --since -2d
  exhibit exposure INC-2026-042 alice --json \\
    | jq '.could[] | select(.effects.delete) | .target.id'"
)]
pub(in super::super) struct ExposureArgs {
    /// Incident id [default: the only open incident]
    incident: Option<IncidentId>,
    /// Id or name of a user, role, service account or credential
    identity: String,
    /// Only what it did from this time on, such as 2026-11-23T13:00:00Z or -2h
    #[arg(
        long = "since",
        value_name = "TIME",
        value_parser = parse_time,
        allow_hyphen_values = true
    )]
    from: Option<Timestamp>,
    /// Only what it did before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_hyphen_values = true)]
    until: Option<Timestamp>,
    /// Also what it did before the window of the incident's captures
    #[arg(long, conflicts_with = "from")]
    all: bool,
    /// Relations that are followed one after the other [default: 4]
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=10))]
    depth: Option<u32>,
    /// Most acts that are listed
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=5000))]
    limit: Option<u32>,
}

pub(in super::super) async fn trusts(global: &GlobalOptions, arguments: &TrustsArgs) -> Result<()> {
    let TrustsArgs {
        incident,
        credential,
        depth,
    } = arguments;
    let backend = global.backend().await?;
    let incident = incident_or_only_open(&*backend, incident.as_ref()).await?;
    let answer = backend.trusts(&incident, credential, *depth).await?;
    if global.json {
        return print_json(&answer);
    }
    PagedOutput::for_people(false).print(&format_trusts(&answer))
}

pub(in super::super) async fn exposure(
    global: &GlobalOptions,
    arguments: &ExposureArgs,
) -> Result<()> {
    let ExposureArgs {
        incident,
        identity,
        from,
        until,
        all,
        depth,
        limit,
    } = arguments;
    check_window(*from, *until)?;
    let question = EventQuestion {
        filter: TimelineFilter {
            from: *from,
            until: *until,
            ..TimelineFilter::default()
        },
        all: *all,
        limit: *limit,
        cursor: None,
    };
    let backend = global.backend().await?;
    let incident = incident_or_only_open(&*backend, incident.as_ref()).await?;
    let answer = backend
        .exposure(&incident, identity, question, *depth)
        .await?;
    if global.json {
        return print_json(&answer);
    }
    PagedOutput::for_people(false).print(&format_exposure(&answer))
}

fn format_trusts(answer: &TrustsAnswer) -> String {
    let mut text = format_meaning(&answer.name, &answer.nodes);
    text.push_str("\nWhat accepts it: who has it can act on these\n");
    text.push_str(&format_steps(&answer.trusted_by));
    text.push_str("\nWhat it relies on: these can act on it, or as it\n");
    text.push_str(&format_steps(&answer.relies_on));
    text + &format_unknown(&answer.unknown)
}

/// `alice means user 00u1 in acme.okta.com, …`.
fn format_meaning(name: &str, nodes: &[EntityRef]) -> String {
    let width = terminal_width();
    if nodes.is_empty() {
        return wrap("", &format!("no record names {}", safe(name)), width);
    }
    let meanings: Vec<String> = nodes
        .iter()
        .map(|node| {
            let scope = match &node.scope {
                Some(scope) => format!(" in {}", safe(scope)),
                None => String::new(),
            };
            let id = match &node.name {
                Some(_) => format!(" ({})", safe(&node.id)),
                None => String::new(),
            };
            format!("{}{id}{scope}", safe(&entity_words(node)))
        })
        .collect();
    let meanings = meanings.join(", ");
    wrap("", &format!("{} means {meanings}", safe(name)), width)
}

/// The steps as a tree: below each step those that it leads to.
fn format_steps(steps: &[GraphStep]) -> String {
    if steps.is_empty() {
        return "  nothing that a record shows\n".to_owned();
    }
    let mut children: BTreeMap<Option<u64>, Vec<u64>> = BTreeMap::new();
    for (number, step) in (0..).zip(steps) {
        children.entry(step.parent).or_default().push(number);
    }
    let mut text = String::new();
    // Last in, first out: the steps below one come before its neighbours.
    let mut open: Vec<u64> = children
        .get(&None)
        .into_iter()
        .flatten()
        .rev()
        .copied()
        .collect();
    while let Some(number) = open.pop() {
        let Some(step) = usize::try_from(number).ok().and_then(|n| steps.get(n)) else {
            continue;
        };
        text.push_str(&format_step(step));
        open.extend(children.get(&Some(number)).into_iter().flatten().rev());
    }
    text
}

fn format_step(step: &GraphStep) -> String {
    let gone = if step.gone {
        "; gone in a later pass"
    } else {
        ""
    };
    let line = format!(
        "{} [{} as of {}{gone}]",
        safe(&step.words),
        format_pointer(&step.evidence),
        to_whole_seconds(step.seen_at)
    );
    let start = "  ".repeat(step.depth as usize);
    wrap(&start, &line, terminal_width())
}

/// `3f2a9c0d1e2f/okta-log/15`, as `exhibit record` takes it.
fn format_pointer(evidence: &EvidenceRef) -> String {
    let bundle = evidence.bundle.hex();
    let mut text = bundle[..BUNDLE_DIGITS].to_owned();
    if let Some(item) = &evidence.item {
        text.push_str(&format!("/{}", safe(item.as_str())));
    }
    if let Some(record) = evidence.record {
        text.push_str(&format!("/{record}"));
    }
    text
}

fn format_exposure(answer: &ExposureAnswer) -> String {
    let width = terminal_width();
    let mut text = format_meaning(&answer.name, &answer.nodes);
    text.push_str("\nWhat it could act on, by the rights that records show\n");
    if answer.could.is_empty() {
        text.push_str("  nothing that a record shows\n");
    }
    for thing in &answer.could {
        text.push_str(&format_thing(thing, width));
    }
    let title = format!("What it did, {}", format_window(answer.window));
    text.push_str(&format!("\n{}", wrap("", &title, width)));
    if answer.did.is_empty() {
        text.push_str("  nothing that an event shows\n");
    }
    for act in &answer.did {
        text.push_str(&format_act(act, width));
    }
    let listed = answer.did.len() as u64;
    if listed < answer.acts {
        let more = answer.acts - listed;
        text.push_str(&format!("  and {more} more: use --limit\n"));
    }
    text + &format_unknown(&answer.unknown)
}

fn format_thing(thing: &ReachableThing, width: usize) -> String {
    let RightEffects {
        read,
        modify,
        delete,
    } = thing.effects;
    let words = [(read, "read"), (modify, "modify"), (delete, "delete")];
    let words: Vec<&str> = words
        .into_iter()
        .filter_map(|(has, word)| has.then_some(word))
        .collect();
    let effects = match words.as_slice() {
        [] => "not said".to_owned(),
        words => words.join(", "),
    };
    let mut text = wrap(
        "  ",
        &format!("{}: {effects}", safe(&entity_words(&thing.target))),
        width,
    );
    for step in &thing.path {
        let gone = if step.gone {
            "; gone in a later pass"
        } else {
            ""
        };
        let pointer = format_pointer(&step.evidence);
        let line = format!("{} [{pointer}{gone}]", safe(&step.words));
        text.push_str(&wrap("    ", &line, width));
    }
    text
}

fn format_act(act: &ActCount, width: usize) -> String {
    let target = match &act.target {
        Some(target) => format!(" {}", safe(&entity_words(target))),
        None => String::new(),
    };
    let denied = match act.denied {
        0 => String::new(),
        denied => format!(", {denied} denied"),
    };
    let line = format!(
        "{}{target}: {} done{denied} [{}, first {} {}]",
        safe(&act.action),
        act.succeeded,
        safe(&act.source),
        to_whole_seconds(act.first.time),
        safe(&act.first.line)
    );
    wrap(&format!("  {:<12}  ", act.effect.as_str()), &line, width)
}
