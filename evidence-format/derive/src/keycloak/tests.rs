//! Golden file, and what must hold for each event. There is no public collection of Keycloak's
//! events to hold it against: the fixtures are of our own making.

use serde_json::json;

use crate::golden;

const EVENTS: [&str; 2] = [
    "keycloak:getAdminRealmsEvents",
    "keycloak:getAdminRealmsAdminEvents",
];

#[test]
fn records_match_the_golden_file() {
    golden::check("keycloak");
}

#[test]
fn no_strange_member_costs_an_event_its_line() {
    golden::check_events_survive("keycloak", &EVENTS);
}

/// Pages overlap, and versions before 26 give events no id.
#[test]
fn event_without_an_id_is_the_same_event_on_two_pages() {
    let event = json!({"type": "LOGIN", "time": 1_764_201_600_000_u64, "userId": "u"});
    let other = json!({"type": "LOGIN", "time": 1_764_201_600_001_u64, "userId": "u"});
    let id = |value: &serde_json::Value| golden::events_of(EVENTS[0], value).remove(0).event_id;
    let again = event.clone();
    assert_eq!(id(&event), id(&again));
    assert_ne!(id(&event), id(&other));
}
