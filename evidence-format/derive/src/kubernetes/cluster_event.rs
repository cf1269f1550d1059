//! Events of the cluster: what its components report. The API server forgets them after an hour.

use evidence_format::time::Timestamp;
use serde_json::Value;

use super::resource::{Emitter, entity, referred};
use crate::json::{first_text, id_at, text_at, time_at};
use crate::{ActivityCategory, ActivityEvent, ActivityOutcome, EntityKind, EntityRef, ocsf};

/// Derives one event for the first time that it happened, and one for the last if it was repeated:
/// Kubernetes counts repetitions in one object. `value` is an `Event` of either API group, which
/// spell the same members differently.
pub(super) fn derive(value: &Value, emitter: &mut Emitter<'_>) {
    let Some(reason) = text_at(value, "/reason") else {
        emitter.unreadable("has no reason");
        return;
    };
    let Some((first, first_text)) = first_time(
        value,
        &[
            "/eventTime",
            "/firstTimestamp",
            "/deprecatedFirstTimestamp",
            "/lastTimestamp",
            "/deprecatedLastTimestamp",
            "/metadata/creationTimestamp",
        ],
    ) else {
        emitter.unreadable("has no time");
        return;
    };
    let event = read(value, reason, emitter);
    let last = first_time(
        value,
        &[
            "/series/lastObservedTime",
            "/lastTimestamp",
            "/deprecatedLastTimestamp",
        ],
    );
    emitter.event(ActivityEvent {
        time: first,
        time_text: first_text,
        ..event.clone()
    });
    let count = ["/series/count", "/count", "/deprecatedCount"]
        .iter()
        .find_map(|pointer| id_at(value, pointer));
    if let (Some((last, last_text)), Some(count)) = (last, count)
        && last > first
    {
        emitter.event(ActivityEvent {
            time: last,
            time_text: last_text,
            // the count tells a repetition that a later pass sees from this one
            event_id: event.event_id.as_ref().map(|id| format!("{id}/{count}")),
            summary: format!("{} ({count} times by now)", event.summary),
            ..event
        });
    }
}

fn first_time(value: &Value, pointers: &[&str]) -> Option<(Timestamp, String)> {
    pointers.iter().find_map(|pointer| time_at(value, pointer))
}

fn read(value: &Value, reason: &str, emitter: &Emitter<'_>) -> ActivityEvent {
    let scope = emitter.scope();
    let object = value
        .get("involvedObject")
        .or_else(|| value.get("regarding"));
    let regarding = object.and_then(|object| referred(object, None, scope));
    let related = value
        .get("related")
        .and_then(|related| referred(related, None, scope));
    let component = first_text(
        value,
        &[
            "/reportingComponent",
            "/reportingController",
            "/source/component",
            "/deprecatedSource/component",
        ],
    );
    let host = first_text(value, &["/source/host", "/deprecatedSource/host"]);
    let message = first_text(value, &["/message", "/note"]).unwrap_or("");
    let warning = text_at(value, "/type") == Some("Warning");
    let (category, activity) = classify(reason);

    let mut summary = format!("{reason}: {message}");
    if let Some(regarding) = &regarding {
        let kind = object.and_then(|object| text_at(object, "/kind"));
        let kind = kind.unwrap_or("object");
        // ids of other kinds have the kind in them
        let name = if matches!(regarding.kind, EntityKind::Pod | EntityKind::Node) {
            regarding.label().to_owned()
        } else {
            object_name(object)
        };
        summary = format!("{reason} on {kind} {name}: {message}");
    }
    if let Some(component) = component {
        summary = format!("{summary} (by {component})");
    }
    let mut event = ActivityEvent::new(emitter.record, category, reason);
    if let Some(activity) = activity {
        event.class = ocsf::APPLICATION_LIFECYCLE;
        event.activity = activity;
    }
    event.outcome = if warning {
        ActivityOutcome::Failure
    } else {
        ActivityOutcome::Success
    };
    event.reason = warning.then(|| reason.to_owned());
    event.actor = component.map(|component| {
        EntityRef::new(EntityKind::Service, component)
            .named(host.map(|host| format!("{component} on {host}")).as_deref())
            .scoped(scope)
    });
    let node = host.map(|host| entity("Node", None, host, scope));
    event.targets = regarding.into_iter().chain(related).chain(node).collect();
    event.event_id = text_at(value, "/metadata/uid").map(str::to_owned);
    event.summary = summary;
    event
}

fn object_name(object: Option<&Value>) -> String {
    let name = object.and_then(|object| text_at(object, "/name"));
    let namespace = object.and_then(|object| text_at(object, "/namespace"));
    match (namespace, name.unwrap_or("")) {
        (Some(namespace), name) => format!("{namespace}/{name}"),
        (None, name) => name.to_owned(),
    }
}

/// What components of Kubernetes, Argo CD and Flux mean by their reasons, with the activity of
/// OCSF's Application Lifecycle if there is one. Other components choose reasons of their own.
fn classify(reason: &str) -> (ActivityCategory, Option<u8>) {
    use ActivityCategory::{Change, Deployment, Execution, Other};
    match reason {
        "Started" | "Restarted" => (Execution, Some(3)),
        "Killing"
        | "Preempting"
        | "Preempted"
        | "Evicted"
        | "TaintManagerEviction"
        | "OOMKilling"
        | "SystemOOM" => (Execution, Some(4)),
        "Scheduled" | "Pulling" | "Pulled" | "Created" | "SawCompletedJob" | "Completed"
        | "BackOff" | "Failed" => (Execution, None),
        "ScalingReplicaSet"
        | "SuccessfulRescale"
        | "DeploymentRollback"
        | "OperationStarted"
        | "OperationCompleted"
        | "ReconciliationSucceeded"
        | "ReconciliationFailed"
        | "InstallSucceeded"
        | "UpgradeSucceeded"
        | "UpgradeFailed"
        | "RollbackSucceeded" => (Deployment, Some(8)),
        "SuccessfulCreate" | "SuccessfulDelete" | "NoPods" | "ResourceUpdated"
        | "RegisteredNode" | "RemovingNode" | "DeletingNode" | "NodeNotSchedulable"
        | "NodeSchedulable" => (Change, None),
        _ => (Other, None),
    }
}
