//! Severity, status and roles, in the runbook's words.

use std::fmt;
use std::str::FromStr;

use evidence_format::safe::safe;
use evidence_format::serde_as_text;

/// How bad an incident is. Text form: `SEV-1` to `SEV-4`; `1`, `sev1` and `sev-1` parse too. The
/// worst is the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Active or likely customer-impacting compromise.
    Sev1,
    /// High-risk security incident with contained or uncertain impact.
    Sev2,
    /// Security issue requiring coordinated remediation.
    Sev3,
    /// Low-risk issue or policy exception.
    Sev4,
}

/// How far the response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IncidentStatus {
    /// What happened, and what is affected, is being found out.
    Investigating,
    /// The attacker can do no further harm.
    Contained,
    /// Systems are being brought back to a trusted state.
    Recovering,
    /// Every required item of the closure checklist is completed or waived.
    Closed,
}

/// What a person is responsible for in an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IncidentRole {
    /// Owns severity, timeline, decisions, and handoffs.
    IncidentCommander,
    /// Coordinates investigation, containment, eradication, and recovery.
    TechnicalLead,
    /// Manages internal updates, customer drafts, and leadership briefings.
    CommunicationsLead,
    /// Preserves logs, screenshots, tickets, and command history.
    EvidenceOwner,
    /// Decides customer, legal, regulatory, and contractual escalations.
    BusinessOwner,
}

/// A text is no severity, status or role.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a {what}; there are: {known}")]
pub struct ParseKeywordError {
    what: &'static str,
    known: String,
    text: String,
}

impl ParseKeywordError {
    fn new(what: &'static str, known: &[&str], text: &str) -> Self {
        Self {
            what,
            known: known.join(", "),
            // People paste whole documents by mistake; the start shows which one.
            text: safe(&text.chars().take(80).collect::<String>()),
        }
    }
}

impl Severity {
    /// Worst first.
    pub const ALL: [Self; 4] = [Self::Sev1, Self::Sev2, Self::Sev3, Self::Sev4];

    /// As the runbook writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sev1 => "SEV-1",
            Self::Sev2 => "SEV-2",
            Self::Sev3 => "SEV-3",
            Self::Sev4 => "SEV-4",
        }
    }

    /// The runbook's definition.
    #[must_use]
    pub fn definition(self) -> &'static str {
        match self {
            Self::Sev1 => "Active or likely customer-impacting compromise",
            Self::Sev2 => "High-risk security incident with contained or uncertain impact",
            Self::Sev3 => "Security issue requiring coordinated remediation",
            Self::Sev4 => "Low-risk issue or policy exception",
        }
    }

    /// The runbook's examples.
    #[must_use]
    pub fn examples(self) -> &'static str {
        match self {
            Self::Sev1 => {
                "Confirmed data exfiltration, attacker in production, compromised cloud root/admin"
            }
            Self::Sev2 => {
                "Leaked production secret, compromised CI token, exploited internet-facing service"
            }
            Self::Sev3 => "Critical vulnerability with exposure, suspicious access, failed control",
            Self::Sev4 => "Non-production secret, stale access, informational scanner finding",
        }
    }

    /// The runbook's response target.
    #[must_use]
    pub fn response_target(self) -> &'static str {
        match self {
            Self::Sev1 => "Immediate incident command",
            Self::Sev2 => "Same business day",
            Self::Sev3 => "Next business day",
            Self::Sev4 => "Normal backlog",
        }
    }

    /// True if the runbook requires a post-incident review.
    #[must_use]
    pub fn requires_review(self) -> bool {
        // The runbook's closure checklist: "within five business days for SEV-1/SEV-2".
        matches!(self, Self::Sev1 | Self::Sev2)
    }
}

impl FromStr for Severity {
    type Err = ParseKeywordError;

    fn from_str(text: &str) -> Result<Self, ParseKeywordError> {
        let lower = text.trim().to_ascii_lowercase();
        // In chats and on command lines, people shorten `SEV-1` to `sev1` and `1`.
        let digit = lower.strip_prefix("sev").map_or(lower.as_str(), |rest| {
            rest.strip_prefix('-').unwrap_or(rest)
        });
        let known = Self::ALL
            .into_iter()
            .zip(["1", "2", "3", "4"])
            .find(|(_, d)| *d == digit);
        known
            .map(|(s, _)| s)
            .ok_or_else(|| ParseKeywordError::new("severity", &Self::ALL.map(Self::as_str), text))
    }
}

impl IncidentStatus {
    /// In the order of a response.
    pub const ALL: [Self; 4] = [
        Self::Investigating,
        Self::Contained,
        Self::Recovering,
        Self::Closed,
    ];

    /// As the runbook writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Investigating => "Investigating",
            Self::Contained => "Contained",
            Self::Recovering => "Recovering",
            Self::Closed => "Closed",
        }
    }

    /// The statuses that may follow. Forward, steps may be skipped: closing a false alarm must not
    /// force anybody to record that something was contained. Back leads only to Investigating, and
    /// needs a reason.
    #[must_use]
    pub fn allowed_next(self) -> &'static [Self] {
        match self {
            Self::Investigating => &[Self::Contained, Self::Recovering, Self::Closed],
            Self::Contained => &[Self::Recovering, Self::Closed, Self::Investigating],
            Self::Recovering => &[Self::Closed, Self::Investigating],
            Self::Closed => &[Self::Investigating],
        }
    }
}

impl FromStr for IncidentStatus {
    type Err = ParseKeywordError;

    fn from_str(text: &str) -> Result<Self, ParseKeywordError> {
        let known = Self::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(text.trim()));
        known.ok_or_else(|| ParseKeywordError::new("status", &Self::ALL.map(Self::as_str), text))
    }
}

impl IncidentRole {
    /// In the runbook's order.
    pub const ALL: [Self; 5] = [
        Self::IncidentCommander,
        Self::TechnicalLead,
        Self::CommunicationsLead,
        Self::EvidenceOwner,
        Self::BusinessOwner,
    ];

    /// The form in commands and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IncidentCommander => "incident-commander",
            Self::TechnicalLead => "technical-lead",
            Self::CommunicationsLead => "communications-lead",
            Self::EvidenceOwner => "evidence-owner",
            Self::BusinessOwner => "business-owner",
        }
    }

    /// As the runbook writes it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::IncidentCommander => "Incident commander",
            Self::TechnicalLead => "Technical lead",
            Self::CommunicationsLead => "Communications lead",
            Self::EvidenceOwner => "Evidence owner",
            Self::BusinessOwner => "Business owner",
        }
    }

    /// What the runbook makes the role responsible for.
    #[must_use]
    pub fn responsibility(self) -> &'static str {
        match self {
            Self::IncidentCommander => "Owns severity, timeline, decisions, and handoffs",
            Self::TechnicalLead => {
                "Coordinates investigation, containment, eradication, and recovery"
            }
            Self::CommunicationsLead => {
                "Manages internal updates, customer drafts, and leadership briefings"
            }
            Self::EvidenceOwner => "Preserves logs, screenshots, tickets, and command history",
            Self::BusinessOwner => {
                "Decides customer, legal, regulatory, and contractual escalations"
            }
        }
    }
}

impl FromStr for IncidentRole {
    type Err = ParseKeywordError;

    /// Parses `incident-commander`, `Incident commander`, and `commander`.
    fn from_str(text: &str) -> Result<Self, ParseKeywordError> {
        // The runbook's titles have blanks, environment variables underscores.
        let word = text.trim().to_ascii_lowercase().replace([' ', '_'], "-");
        let known = Self::ALL
            .into_iter()
            .find(|role| role.as_str() == word || (word == "commander" && *role == Self::ALL[0]));
        known.ok_or_else(|| ParseKeywordError::new("role", &Self::ALL.map(Self::as_str), text))
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for IncidentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for IncidentRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

serde_as_text!(Severity);
serde_as_text!(IncidentStatus);
serde_as_text!(IncidentRole);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_severities_as_people_type_them() {
        for text in ["SEV-2", "sev-2", "sev2", "Sev2", "2", " 2 "] {
            assert_eq!(text.parse(), Ok(Severity::Sev2), "{text}");
        }
        for bad in ["", "sev", "0", "5", "SEV-5", "sev--2", "22", "sev 2"] {
            assert!(bad.parse::<Severity>().is_err(), "{bad:?}");
        }
        let refused = "high"
            .parse::<Severity>()
            .expect_err("no severity")
            .to_string();
        assert_eq!(
            refused,
            r#""high" is not a severity; there are: SEV-1, SEV-2, SEV-3, SEV-4"#
        );
    }

    #[test]
    fn every_keyword_round_trips() {
        assert!(
            Severity::ALL
                .iter()
                .all(|s| s.to_string().parse() == Ok(*s))
        );
        assert!(
            IncidentStatus::ALL
                .iter()
                .all(|s| s.to_string().parse() == Ok(*s))
        );
        assert!(
            IncidentRole::ALL
                .iter()
                .all(|r| r.to_string().parse() == Ok(*r) && r.title().parse() == Ok(*r))
        );
        assert_eq!("commander".parse(), Ok(IncidentRole::IncidentCommander));
    }

    #[test]
    fn status_advances_or_goes_back_to_investigating() {
        for from in IncidentStatus::ALL {
            for to in IncidentStatus::ALL {
                let expected = match (from, to) {
                    (IncidentStatus::Closed, to) => to == IncidentStatus::Investigating,
                    (from, IncidentStatus::Investigating) => from != IncidentStatus::Investigating,
                    (from, to) => to > from,
                };
                assert_eq!(
                    from.allowed_next().contains(&to),
                    expected,
                    "{from} to {to}"
                );
            }
        }
    }
}
