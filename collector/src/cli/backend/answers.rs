//! Converts what a store of this machine says into the types with which a server answers.

use api::{
    BundleCoverage, BundleSummary, CapturePass, CaptureProgress, CreatedToken, EventSummary,
    IncidentDetails, IncidentListItem, PlayDetails, SourceStatus, StreamEvent, TimelineRow,
    TokenInfo, TokenRole,
};
use serde::de::DeserializeOwned;

use domain::incident::{IncidentEvent, IncidentOverview};
use pipeline::PassProgress;
use pipeline::seal::Summary;
use pipeline::timeline::Row;
use server::answers::{Bundle, Full, Happened, Pass, PlayView, SourceView};
use server::token::Secret;
use store::ledger::{self, TokenRow};

pub(super) fn event_summaries(events: &[IncidentEvent]) -> Vec<EventSummary> {
    events.iter().map(EventSummary::from).collect()
}

pub(super) fn list_item(overview: IncidentOverview) -> IncidentListItem {
    let IncidentOverview {
        id,
        name,
        severity,
        status,
        declared_at,
        declared_by,
        play,
        evidence,
        last_seq: _,
        last_entry_at: _,
    } = overview;
    IncidentListItem {
        id,
        name,
        severity,
        status,
        declared_at,
        declared_by,
        play,
        evidence,
    }
}

pub(super) fn details(incident: Full) -> IncidentDetails {
    let Full {
        id,
        view,
        passes,
        under_way,
    } = incident;
    IncidentDetails {
        id,
        view,
        passes: passes.into_iter().map(pass).collect(),
        under_way,
    }
}

fn pass(pass: Pass) -> CapturePass {
    let Pass {
        source,
        pass,
        kind,
        state,
        due_at,
        why,
    } = pass;
    CapturePass {
        source,
        pass,
        kind: word(&kind),
        state: word(&state),
        due_at,
        why,
    }
}

/// The variant that a word of the API names.
fn word<T: DeserializeOwned>(word: &str) -> T {
    serde_json::from_value(word.into()).expect("the server uses the API's words")
}

pub(super) fn bundle(bundle: Bundle) -> BundleSummary {
    let Bundle {
        id,
        incident,
        source,
        pass,
        name,
        sealed_at,
        size,
        coverage,
        doubles,
    } = bundle;
    let Summary {
        items,
        records,
        bytes,
        events,
        missing,
        complete,
        ended,
        provisional_until,
    } = coverage;
    BundleSummary {
        id,
        incident,
        source,
        pass,
        name,
        sealed_at,
        size,
        coverage: BundleCoverage {
            items,
            records,
            bytes,
            events,
            missing,
            complete,
            ended,
            provisional_until,
        },
        duplicate_of: doubles,
    }
}

pub(super) fn timeline_row(row: Row) -> TimelineRow {
    let Row {
        time,
        kind,
        summary,
        by,
        evidence,
    } = row;
    TimelineRow {
        time,
        kind,
        summary,
        by,
        evidence,
    }
}

pub(super) fn stream_event(event: Happened) -> StreamEvent {
    match event {
        Happened::Entry { seq, row } => StreamEvent::JournalEntry {
            seq,
            row: Box::new(timeline_row(*row)),
        },
        Happened::Progress(captures) => StreamEvent::Progress(
            captures
                .into_iter()
                .map(|capture| CaptureProgress {
                    source: capture.source,
                    pass: capture.pass,
                    pages: capture.pages,
                    bytes: capture.bytes,
                })
                .collect(),
        ),
    }
}

pub(super) fn progress(capture: PassProgress) -> CaptureProgress {
    CaptureProgress {
        source: capture.pass.source,
        pass: capture.pass.pass,
        pages: capture.pages,
        bytes: capture.bytes,
    }
}

pub(super) fn play(play: PlayView) -> PlayDetails {
    let PlayView {
        name,
        title,
        window_hours,
        sources,
        absent,
        pivots,
        steps,
    } = play;
    PlayDetails {
        name,
        title,
        window_hours,
        sources,
        absent,
        pivots,
        steps,
    }
}

pub(super) fn source(source: SourceView) -> SourceStatus {
    let SourceView {
        source,
        what,
        state,
        targets,
        problems,
        retention_seconds,
        is_state,
        window_seconds,
    } = source;
    SourceStatus {
        source,
        what,
        state,
        targets,
        problems,
        retention_seconds,
        is_state,
        window_seconds,
    }
}

pub(super) fn created_token(row: TokenRow, secret: &Secret) -> CreatedToken {
    CreatedToken {
        token: secret.text(),
        info: token(row),
    }
}

pub(super) fn token(row: TokenRow) -> TokenInfo {
    let TokenRow {
        id,
        secret_digest: _,
        role,
        label,
        incident,
        created_at,
        expires_at,
        revoked_at,
    } = row;
    TokenInfo {
        id: id.to_string().parse().expect("an id has 16 hex digits"),
        role: match role {
            ledger::TokenRole::Automation => TokenRole::Automation,
            ledger::TokenRole::Owner => TokenRole::Owner,
            ledger::TokenRole::Commander => TokenRole::Commander,
            ledger::TokenRole::Auditor => TokenRole::Auditor,
            ledger::TokenRole::Admin => TokenRole::Admin,
        },
        label,
        incident,
        created_at,
        expires_at,
        revoked_at,
    }
}

pub(super) fn ledger_role(role: TokenRole) -> ledger::TokenRole {
    match role {
        TokenRole::Automation => ledger::TokenRole::Automation,
        TokenRole::Owner => ledger::TokenRole::Owner,
        TokenRole::Commander => ledger::TokenRole::Commander,
        TokenRole::Auditor => ledger::TokenRole::Auditor,
        TokenRole::Admin => ledger::TokenRole::Admin,
    }
}
