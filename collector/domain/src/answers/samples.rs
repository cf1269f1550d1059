//! Values for the tests of answers.

use evidence_derive::{
    ActivityCategory, ActivityEvent, ActivityOutcome, EdgeRelation, EntityKind, EntityRef,
    ObjectEdge, ocsf,
};
use evidence_format::coverage::EndReason;
use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;

use super::{InvestigatedEvent, ItemState, KnownEdge};
use crate::incident::{EvidenceRef, ItemCoverage};

/// So many seconds after 2026-11-23T13:00:00Z.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_nanoseconds((1_795_438_800 + i128::from(seconds)) * 1_000_000_000)
        .expect("a time of our century")
}

/// An event of AWS by a user with a key.
pub(super) fn event(seconds: i64, action: &str, category: ActivityCategory) -> InvestigatedEvent {
    let user = "arn:aws:iam::123456789012:user/op-one";
    let actor = EntityRef::new(EntityKind::User, user).named(Some("op-one"));
    InvestigatedEvent {
        id: format!("{seconds:032x}"),
        source: "aws_cloudtrail".to_owned(),
        provider: "aws".to_owned(),
        event: ActivityEvent {
            time: at(seconds),
            time_text: at(seconds).to_string(),
            time_assumed_utc: false,
            class: ocsf::API_ACTIVITY,
            activity: ocsf::OTHER,
            category,
            action: action.to_owned(),
            outcome: ActivityOutcome::Success,
            reason: None,
            actor: Some(actor.scoped(Some("123456789012"))),
            through: Vec::new(),
            credential: Some(EntityRef::new(EntityKind::Credential, "AKIA1")),
            targets: Vec::new(),
            address: None,
            user_agent: None,
            event_id: None,
            transaction: None,
            summary: format!("{action} by op-one"),
        },
    }
}

/// A complete item of state.
pub(super) fn item_state(source: &str, item: &str) -> ItemState {
    ItemState {
        source: source.to_owned(),
        bundle: Digest::of(item.as_bytes()),
        sealed_at: at(0),
        item: item.parse().expect("a name"),
        is_complete: true,
        asked: None,
        unreadable: 0,
        coverage: Some(ItemCoverage {
            provider: source.to_owned(),
            api: format!("{source}:api"),
            account: None,
            region: None,
            asked: None,
            effective: None,
            pages: 1,
            events: Some(3),
            ended: EndReason::Complete,
            gaps: Vec::new(),
            provisional_until: None,
        }),
    }
}

pub(super) fn edge(from: EntityRef, relation: EdgeRelation, to: EntityRef) -> ObjectEdge {
    ObjectEdge {
        from,
        relation,
        to,
        condition: None,
    }
}

/// The edge as a record of GitHub shows it.
pub(super) fn known(edge: ObjectEdge) -> KnownEdge {
    KnownEdge {
        edge,
        source: "github".to_owned(),
        evidence: EvidenceRef {
            bundle: Digest::of(b"bundle"),
            item: None,
            record: Some(0),
        },
        seen_at: at(0),
        is_gone: false,
    }
}
