//! Golden file, and what must hold for each event.

use crate::golden;

/// As the collector makes it of its example.
const PAYMENTS: &str = "http_log:payments?records=/data/events&time=/at&id=/id&action=/event\
    &actor=/user/email&target=/order&address=/client/ip&credential=/api_key_id&outcome=/result\
    &transaction=/request_id&message=/text&category=access";
const LINES: &str = "http_log:shop?time=/@timestamp&actor=/user+name&outcome=/status";

#[test]
fn records_match_the_golden_file() {
    golden::check("http_log");
}

#[test]
fn no_strange_member_costs_an_event_its_line() {
    golden::check_events_survive("http_log", &[PAYMENTS, LINES]);
}

#[test]
fn log_without_times_gives_no_events() {
    let line = b"{\"user\":\"x\"}";
    for endpoint in [
        "http_log:shop?actor=/user",
        "http_log:shop?",
        "http_log:shop",
    ] {
        let lines = golden::derivations_of(endpoint, "https://shop.example/log", line);
        assert!(lines.is_empty(), "{endpoint}: {lines:?}");
    }
}
