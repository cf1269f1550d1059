//! Management events of AWS CloudTrail: elements of LookupEvents' pages, which hold the event as
//! JSON in a string, and events as CloudTrail delivers them to S3, in compressed files.
//!
//! Members are those of "CloudTrail record contents" in the CloudTrail User Guide. Each of them may
//! be missing or of another type; an event has whatever remains.

mod aggregated;
mod arn;
mod classes;
mod details;
mod identity;
mod policies;
mod relations;
mod targets;

use evidence_format::time::Timestamp;
use serde_json::Value;

use crate::json::{bool_at, first_text, list_at, parse_record, text_at, time_at};
use crate::text::shortened;
use crate::trail::{GET_DIGEST_FILE, GET_LOG_FILE, LIST_OBJECTS, LIST_PUBLIC_KEYS};
use crate::{
    ActivityEvent, ActivityOutcome, BodyDecoder, Derivation, Deriver, EntityKind, RecordContext,
    trail,
};
use classes::EventClass;
use identity::Identity;
use targets::Target;

/// Most characters of a name in a summary.
const NAME_CHARS_MAX: usize = 96;
/// Targets that a summary names; the event has more.
const TARGETS_SHOWN: usize = 2;

#[derive(Debug)]
pub(crate) struct CloudTrailDeriver;

impl Deriver for CloudTrailDeriver {
    fn name(&self) -> &'static str {
        "cloudtrail"
    }

    fn version(&self) -> u32 {
        2 // objects and edges of what succeeded
    }

    /// Names of files, digests and keys say nothing about who did what.
    fn reads(&self, record: &RecordContext<'_>) -> bool {
        !matches!(
            record.endpoint,
            LIST_OBJECTS | GET_DIGEST_FILE | LIST_PUBLIC_KEYS
        )
    }

    fn decoder(&self, endpoint: &str) -> Option<BodyDecoder> {
        (endpoint == GET_LOG_FILE).then_some(|body, visit| {
            trail::for_each_event(body, visit).map_err(|error| error.to_string())
        })
    }

    fn derive(&self, record: &RecordContext<'_>, visit: &mut dyn FnMut(Derivation)) {
        if !self.reads(record) {
            return;
        }
        let Some(value) = parse_record(record.bytes) else {
            // An answer in XML is one of STS, which says as whom the requests were made.
            if !record.bytes.trim_ascii_start().starts_with(b"<") {
                visit(event(ActivityEvent::unreadable(record, "not JSON")));
            }
            return;
        };
        // A page without elements of its own is one record.
        if value.get("Events").is_some_and(Value::is_array) {
            for element in list_at(&value, "/Events") {
                derive_element(record, element, visit);
            }
        } else if value.get("GetCallerIdentityResponse").is_none() {
            derive_element(record, &value, visit);
        }
    }
}

fn event(event: ActivityEvent) -> Derivation {
    Derivation::Event(Box::new(event))
}

/// What a record says, from both of its layers.
struct CloudTrailRecord<'v> {
    /// The element of LookupEvents' page; null for an event as delivered to S3.
    element: &'v Value,
    /// The event itself; null if the element's text is missing or unreadable.
    details: &'v Value,
    /// `CreateAccessKey`.
    name: &'v str,
    /// `iam`.
    service: &'v str,
    request: Value,
    response: Value,
}

/// The event of an element, and then what it proves.
fn derive_element(record: &RecordContext<'_>, value: &Value, visit: &mut dyn FnMut(Derivation)) {
    // Without its inner JSON an event still has a name and a time.
    let inner = text_at(value, "/CloudTrailEvent")
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    let (element, details) = match &inner {
        Some(inner) => (value, inner),
        None if value.get("eventName").is_some() => (&Value::Null, value),
        None if aggregated::is_aggregated(value) => (&Value::Null, value),
        None => (value, &Value::Null),
    };
    if aggregated::is_aggregated(details) {
        return visit(event(aggregated::event_of(record, details)));
    }
    let name = text_at(details, "/eventName").or(text_at(element, "/EventName"));
    let Some(name) = name else {
        return visit(event(ActivityEvent::unreadable(
            record,
            "has no event name",
        )));
    };
    let source = text_at(details, "/eventSource").or(text_at(element, "/EventSource"));
    let source = source.unwrap_or_default();
    let element = CloudTrailRecord {
        element,
        details,
        name,
        service: source.strip_suffix(".amazonaws.com").unwrap_or(source),
        request: parameters(details, "/requestParameters"),
        response: parameters(details, "/responseElements"),
    };
    let built = build(record, &element);
    visit(event(built.clone()));
    relations::of(&element, &built, visit);
}

/// Parameters at `pointer`. A few services give them as JSON in a string.
fn parameters(details: &Value, pointer: &str) -> Value {
    match details.pointer(pointer) {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(value) => value.clone(),
        None => Value::Null,
    }
}

fn build(context: &RecordContext<'_>, record: &CloudTrailRecord<'_>) -> ActivityEvent {
    let (element, details) = (record.element, record.details);
    let class = EventClass::of(record);
    let identity = Identity::of(record);
    let targets = targets::of(record);
    let action = if record.service.is_empty() {
        record.name.to_owned()
    } else {
        format!("{}/{}", record.service, record.name)
    };
    let mut event = ActivityEvent::new(context, class.category, &action);
    (event.class, event.activity) = (class.class, class.activity);
    if let Some((time, text)) = time(record) {
        (event.time, event.time_text) = (time, text);
    }
    (event.outcome, event.reason) = outcome(record);
    event.address = text_at(details, "/sourceIPAddress").map(str::to_owned);
    event.user_agent = text_at(details, "/userAgent").map(str::to_owned);
    event.event_id = text_at(details, "/eventID")
        .or(text_at(element, "/EventId"))
        .map(str::to_owned);
    // Events of several accounts about one act share this id; those of one request the other.
    event.transaction = first_text(details, &["/sharedEventID", "/requestID"]).map(str::to_owned);
    event.summary = summary(record, &event, &identity, &targets);
    event.actor = identity.actor;
    event.through = identity.through;
    event.credential = identity.credential;
    event.targets = targets.into_iter().map(|target| target.entity).collect();
    event
}

/// The time of the event, to the second, as text; LookupEvents gives it as a number too.
fn time(record: &CloudTrailRecord<'_>) -> Option<(Timestamp, String)> {
    let text = text_at(record.details, "/eventTime");
    let in_details = text.and_then(|text| {
        // The guide says that it is in UTC, and so where an exporter has dropped the zone.
        let time = Timestamp::parse_lenient(text)
            .or_else(|| Timestamp::parse_lenient(&format!("{text}Z")))?;
        Some((time, text.to_owned()))
    });
    in_details.or_else(|| time_at(record.element, "/EventTime"))
}

/// A failed login has no `errorCode`: the response has a member of the event's name.
fn outcome(record: &CloudTrailRecord<'_>) -> (ActivityOutcome, Option<String>) {
    if record.details.is_null() {
        return (ActivityOutcome::Unknown, None);
    }
    let said = record.response.get(record.name).and_then(Value::as_str);
    let failed = (said == Some("Failure")).then_some("Failure");
    let message = first_text(record.details, &["/errorCode", "/errorMessage"]);
    match message.or(failed) {
        Some(reason) => (ActivityOutcome::Failure, Some(reason.to_owned())),
        None => (ActivityOutcome::Success, None),
    }
}

/// Such as `AttachUserPolicy AdministratorAccess on user x by y (AKIA…) from 203.0.113.7 in
/// us-east-1: AccessDenied`.
fn summary(
    record: &CloudTrailRecord<'_>,
    event: &ActivityEvent,
    identity: &Identity,
    targets: &[Target],
) -> String {
    let mut text = shortened(record.name, NAME_CHARS_MAX);
    text += &objects(record, targets);
    if let Some(detail) = details::of(record) {
        text += &format!(" {}", shortened(&detail, 2 * NAME_CHARS_MAX));
    }
    text += &format!(" by {}", identity.phrase);
    // Services call from an address that is their name.
    let address = event.address.as_deref();
    let address = address.filter(|address| !identity.phrase.contains(address));
    let region = text_at(record.details, "/awsRegion");
    for (preposition, value) in [("from", address), ("in", region)] {
        if let Some(value) = value {
            text += &format!(" {preposition} {}", shortened(value, NAME_CHARS_MAX));
        }
    }
    if let Some(reason) = &event.reason {
        text += &format!(": {}", shortened(reason, NAME_CHARS_MAX));
    }
    text
}

/// The objects that were acted on, with a blank in front.
fn objects(record: &CloudTrailRecord<'_>, targets: &[Target]) -> String {
    let policy = targets
        .iter()
        .find(|target| target.entity.kind == EntityKind::Policy);
    let holder = targets.iter().find(|target| {
        matches!(
            target.entity.kind,
            EntityKind::User | EntityKind::Role | EntityKind::Group
        )
    });
    if let (Some(policy), Some(holder)) = (policy, holder)
        && record.name.contains("Policy")
    {
        let policy = shortened(policy.entity.label(), NAME_CHARS_MAX);
        return format!(" {policy} on {}", holder.phrase());
    }
    // Accounts that something is shared with are part of the details.
    let named: Vec<&Target> = targets
        .iter()
        .filter(|target| {
            target.entity.kind != EntityKind::Account || record.service == "organizations"
        })
        .collect();
    let shown: Vec<String> = named
        .iter()
        .take(TARGETS_SHOWN)
        .map(|target| target.phrase())
        .collect();
    match (shown.is_empty(), named.len().saturating_sub(shown.len())) {
        (true, _) => String::new(),
        (false, 0) => format!(" {}", shown.join(", ")),
        (false, more) => format!(" {} and {more} more", shown.join(", ")),
    }
}

/// Whether the event only reads, as CloudTrail says; `None` where it does not.
fn read_only(record: &CloudTrailRecord<'_>) -> Option<bool> {
    bool_at(record.details, "/readOnly").or_else(|| bool_at(record.element, "/ReadOnly"))
}

#[cfg(test)]
mod tests;
