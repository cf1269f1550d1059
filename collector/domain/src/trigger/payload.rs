//! Reads vendors' JSON, in which any member may be absent or of any type, and makes declarations
//! and updates of it.

use std::collections::BTreeSet;

use evidence_format::time::Timestamp;
use serde_json::Value;

use super::{
    HookContext, IncidentTrigger, IncidentUpdate, WebhookError, key, sender_json, severity_words,
};
use crate::hosts::HostSelection;
use crate::incident::{InitialReport, Line, Name, Pivot, PlayName, Prose, Severity};

/// Affected systems that a declaration takes from a delivery; more say nothing specific.
const SYSTEMS_MAX: usize = 32;
/// Pivots of one delivery: each adds a step for every target of every source that can filter by it.
pub(super) const PIVOTS_MAX: usize = 16;
/// Characters of a vendor's text that are processed. A [`Prose`] has no room for more.
const TEXT_CHARS_MAX: usize = 16 * 1024;

/// A value in a JSON document.
#[derive(Clone, Copy)]
pub(super) struct JsonNode<'v>(pub(super) &'v Value);

/// Parses the body of an authentic delivery. serde_json limits its depth.
pub(super) fn parse_object(body: &[u8]) -> Result<Value, WebhookError> {
    sender_json::parse(body)
        .filter(Value::is_object)
        .ok_or(WebhookError::Malformed {
            missing: "JSON object",
        })
}

impl<'v> JsonNode<'v> {
    /// The value at an RFC 6901 pointer; null if absent.
    pub(super) fn at(self, pointer: &str) -> JsonNode<'v> {
        JsonNode(self.0.pointer(pointer).unwrap_or(&Value::Null))
    }

    /// The member `name`, which may contain slashes; null if absent.
    pub(super) fn member(self, name: &str) -> JsonNode<'v> {
        JsonNode(self.0.get(name).unwrap_or(&Value::Null))
    }

    /// The trimmed text at `pointer`, if it is not empty.
    pub(super) fn text(self, pointer: &str) -> Option<&'v str> {
        self.at(pointer)
            .0
            .as_str()
            .map(str::trim)
            .filter(|text| !text.is_empty())
    }

    /// The first text that one of the pointers leads to.
    pub(super) fn first_text(self, pointers: &[&str]) -> Option<&'v str> {
        pointers.iter().find_map(|pointer| self.text(pointer))
    }

    /// The text or whole number at `pointer`, as text: some vendors send `"P3"` or `3` for the same
    /// priority.
    pub(super) fn text_or_number(self, pointer: &str) -> Option<String> {
        let value = self.at(pointer).0;
        let number = value.as_u64().map(|number| number.to_string());
        // Programs without whole numbers write `1.0`.
        let number = number.or_else(|| {
            let number = value.as_f64()?;
            (number >= 0.0 && number.fract() == 0.0).then(|| format!("{number:.0}"))
        });
        self.text(pointer).map(str::to_owned).or(number)
    }

    pub(super) fn name(self, pointer: &str) -> Option<Name> {
        self.text(pointer).map(Name::escaped)
    }

    /// The elements of the list at `pointer`; none if it is no list.
    pub(super) fn list(self, pointer: &str) -> impl Iterator<Item = JsonNode<'v>> {
        self.at(pointer)
            .0
            .as_array()
            .into_iter()
            .flatten()
            .map(JsonNode)
    }

    /// The text at `pointer`, or an error that names what is missing.
    pub(super) fn required_text(
        self,
        pointer: &str,
        missing: &'static str,
    ) -> Result<&'v str, WebhookError> {
        self.text(pointer)
            .ok_or(WebhookError::Malformed { missing })
    }
}

/// Parses an RFC 3339 time with a zone. Go programs write the year 1 for no time.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    let time =
        Timestamp::from_unix_nanoseconds(text.parse::<jiff::Timestamp>().ok()?.as_nanosecond())?;
    (!time.to_string().starts_with("0001-")).then_some(time)
}

/// The identity of a vendor's event.
pub(super) struct VendorEvent<'e> {
    /// The vendor's id of the incident, which may have several parts.
    pub(super) id: &'e [&'e str],
    /// The vendor's id of the event.
    pub(super) delivery: Option<&'e str>,
    /// The vendor's name for the kind of event.
    pub(super) kind: &'e str,
}

/// What a vendor's event says about an incident.
#[derive(Default)]
pub(super) struct IncidentFields<'e> {
    pub(super) title: Option<&'e str>,
    pub(super) severity: Option<String>,
    pub(super) play: Option<PlayName>,
    pub(super) reported_by: Option<Name>,
    pub(super) reported_at: Option<Timestamp>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) systems: Vec<Name>,
    pub(super) impact: Option<Line>,
    pub(super) evidence: Vec<String>,
    pub(super) pivots: Vec<Pivot>,
}

impl HookContext<'_> {
    /// The severity that a vendor's word means, or the configured default.
    pub(super) fn severity(&self, word: Option<&str>) -> Severity {
        word.and_then(|word| self.known_severity(word))
            .unwrap_or(self.config.default_severity.0)
    }

    pub(super) fn known_severity(&self, word: &str) -> Option<Severity> {
        // The operator's words come first: a team's P3 may be a SEV-1.
        let configured = self
            .config
            .severity
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(word))
            .map(|(_, level)| level.0);
        if configured.is_some() {
            return configured;
        }
        severity_words::severity(word)
    }

    /// Of several words for one severity, the one that means the worst. A word that means nothing
    /// counts only if no other means anything.
    pub(super) fn worst_word(&self, words: impl Iterator<Item = String>) -> Option<String> {
        words.min_by_key(|word| {
            let known = self.known_severity(word);
            // The worst severity is the smallest.
            (known.is_none(), known)
        })
    }

    /// Names the event and its exact content. Senders that count from 1 again after a restart use
    /// the same id for another event.
    pub(super) fn delivery_key(&self, event: &VendorEvent<'_>) -> Option<String> {
        let id = event.delivery?;
        Some(key::key(self.vendor, &["delivery", id, &self.body.hex()]))
    }

    /// Caps a time at the delivery's: the vendor's clock may be ahead, and an incident rejects
    /// times in the future.
    fn cap_at_receipt(&self, time: Option<Timestamp>) -> Option<Timestamp> {
        time.map(|time| time.min(self.received_at))
    }

    fn author(&self) -> Name {
        Name::escaped(self.vendor.title())
    }

    /// The declaration that an event makes.
    pub(super) fn trigger(
        &self,
        event: &VendorEvent<'_>,
        fields: IncidentFields<'_>,
    ) -> Box<IncidentTrigger> {
        // The alerts of a group repeat their host and service.
        let mut seen = BTreeSet::new();
        let unique = fields
            .systems
            .into_iter()
            .filter(|system| seen.insert(system.clone()));
        // Joined first: the limit is for the report as a whole.
        let evidence = fields.evidence.join("\n");
        let report = InitialReport {
            reported_by: fields.reported_by.or_else(|| Some(self.author())),
            reported_at: self
                .cap_at_receipt(fields.reported_at)
                .or(Some(self.received_at)),
            affected_systems: unique.take(SYSTEMS_MAX).collect(),
            suspected_impact: fields.impact,
            current_evidence: (!evidence.is_empty()).then(|| Prose::escaped(truncated(&evidence))),
        };
        Box::new(IncidentTrigger {
            key: key::key(self.vendor, event.id),
            content_key: None,
            group: None,
            by: self.author(),
            title: Name::escaped(truncated(fields.title.unwrap_or("untitled"))),
            severity: self.severity(fields.severity.as_deref()),
            play: fields.play.unwrap_or_else(|| self.config.play.clone()),
            report,
            pivots: fields.pivots,
            hosts: HostSelection::default(), // filled in for all vendors alike
            started_at: self.cap_at_receipt(fields.started_at),
            trigger: Line::escaped(&format!(
                "{} webhook {}",
                self.vendor,
                truncated(event.kind)
            )),
        })
    }

    /// An update that only adds a note.
    pub(super) fn update(&self, event: &VendorEvent<'_>, note: &str) -> IncidentUpdate {
        IncidentUpdate {
            key: key::key(self.vendor, event.id),
            delivery_key: self.delivery_key(event),
            by: self.author(),
            note: Prose::escaped(&format!("{}: {}", self.vendor, truncated(note))),
            severity: None,
            has_ended: false,
            group: None,
            declare_if_unknown: None,
        }
    }
}

/// The first [`TEXT_CHARS_MAX`] characters.
pub(super) fn truncated(text: &str) -> &str {
    text.char_indices()
        .nth(TEXT_CHARS_MAX)
        // By characters: a cut inside one would panic.
        .map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::super::samples::{HOOKS, RECEIVED, hook};
    use super::super::{ConfiguredSeverity, Vendor};
    use super::*;

    #[test]
    fn configuration_overrides_known_severity_words() {
        let mut config = HOOKS.section(Vendor::PagerDuty).expect("a sample").clone();
        let of = |config: &_, word: Option<&str>| hook(Vendor::PagerDuty, config).severity(word);
        for (word, severity) in [
            ("P1", Severity::Sev1),
            ("Warning", Severity::Sev3),
            ("SEV-4", Severity::Sev4),
            ("3", Severity::Sev3),
        ] {
            assert_eq!(of(&config, Some(word)), severity, "{word}");
        }
        assert_eq!(
            (of(&config, Some("purple")), of(&config, None)),
            (Severity::Sev2, Severity::Sev2),
            "the default"
        );
        config
            .severity
            .insert("p1".to_owned(), ConfiguredSeverity(Severity::Sev3));
        config.default_severity = ConfiguredSeverity(Severity::Sev4);
        assert_eq!(
            (of(&config, Some("P1")), of(&config, Some("purple"))),
            (Severity::Sev3, Severity::Sev4)
        );
    }

    #[test]
    fn rejects_times_without_zone_and_of_year_one() {
        assert_eq!(
            parse_time("2020-02-06T00:17:58.432911368Z")
                .map(|t| t.to_string())
                .as_deref(),
            Some("2020-02-06T00:17:58.432911368Z")
        );
        assert_eq!(
            parse_time("2020-02-06T01:17:58.250+01:00")
                .map(|t| t.to_string())
                .as_deref(),
            Some("2020-02-06T00:17:58.25Z")
        );
        for none in [
            "0001-01-01T00:00:00Z",
            "2020-02-06T00:17:58",
            "1420452191104",
            "",
            "9999-12-31T23:59:59Z",
        ] {
            assert_eq!(parse_time(none), None, "{none}");
        }
    }

    #[test]
    fn future_times_of_vendor_are_capped() {
        let config = HOOKS.section(Vendor::PagerDuty).expect("a sample");
        let later = parse_time("2199-01-01T00:00:00Z");
        let fields = IncidentFields {
            reported_at: later,
            started_at: later,
            ..IncidentFields::default()
        };
        let trigger = hook(Vendor::PagerDuty, config).trigger(
            &VendorEvent {
                id: &["a"],
                delivery: None,
                kind: "x",
            },
            fields,
        );
        assert_eq!(
            (trigger.started_at, trigger.report.reported_at),
            (Some(*RECEIVED), Some(*RECEIVED))
        );
    }
}
