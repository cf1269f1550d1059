//! What was known when the incident was declared: the initial report, and what may be affected.

use std::fmt;
use std::str::FromStr;

use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::text::{Line, Name, Prose};

/// Systems that one report names: more is a statement about everything, and is written as one line.
pub const SYSTEMS_MAX: usize = 256;

/// The runbook's initial report. What nobody said stays `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InitialReport {
    /// Who reported.
    pub reported_by: Option<Name>,
    /// When.
    pub reported_at: Option<Timestamp>,
    /// Affected systems, at most [`SYSTEMS_MAX`].
    #[serde(default)]
    pub affected_systems: Vec<Name>,
    /// Suspected impact.
    pub suspected_impact: Option<Line>,
    /// Current evidence.
    pub current_evidence: Option<Prose>,
}

impl InitialReport {
    /// What of the runbook's five points is not said.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let said = [
            ("who reported", self.reported_by.is_some()),
            ("when", self.reported_at.is_some()),
            ("affected systems", !self.affected_systems.is_empty()),
            ("suspected impact", self.suspected_impact.is_some()),
            ("current evidence", self.current_evidence.is_some()),
        ];
        said.into_iter()
            .filter(|(_, said)| !said)
            .map(|(what, _)| what)
            .collect()
    }
}

/// An answer that may not be known yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImpactAnswer {
    /// It is, or may be.
    Yes,
    /// It is not.
    No,
    /// Nobody has said.
    #[default]
    Unknown,
}

/// Whether customer data, production availability or privileged access may be affected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PotentialImpact {
    /// Customer data.
    #[serde(default)]
    pub customer_data: ImpactAnswer,
    /// Production availability.
    #[serde(default)]
    pub production_availability: ImpactAnswer,
    /// Privileged access.
    #[serde(default)]
    pub privileged_access: ImpactAnswer,
}

impl PotentialImpact {
    /// Each question with its answer, in the runbook's order.
    #[must_use]
    pub fn answers(&self) -> [(&'static str, ImpactAnswer); 3] {
        [
            ("customer data", self.customer_data),
            ("production availability", self.production_availability),
            ("privileged access", self.privileged_access),
        ]
    }
}

impl ImpactAnswer {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// The text is neither yes, no nor unknown.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the answer is yes, no or unknown")]
pub struct ParseImpactAnswerError;

impl FromStr for ImpactAnswer {
    type Err = ParseImpactAnswerError;

    fn from_str(text: &str) -> Result<Self, ParseImpactAnswerError> {
        [Self::Yes, Self::No, Self::Unknown]
            .into_iter()
            .find(|answer| answer.as_str() == text)
            .ok_or(ParseImpactAnswerError)
    }
}

impl fmt::Display for ImpactAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for PotentialImpact {
    /// `customer data unknown, production availability no, privileged access yes`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers: Vec<String> = self
            .answers()
            .iter()
            .map(|(what, answer)| format!("{what} {answer}"))
            .collect();
        f.write_str(&answers.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_it_lacks() {
        let report = InitialReport {
            reported_by: Some("Ann".parse().expect("a name")),
            ..InitialReport::default()
        };
        assert_eq!(
            report.missing(),
            [
                "when",
                "affected systems",
                "suspected impact",
                "current evidence"
            ]
        );
        assert!(
            serde_json::from_str::<InitialReport>(r#"{"reportedBy":"Ann","reporter":"Ann"}"#)
                .is_err(),
            "unknown field"
        );
    }

    #[test]
    fn what_nobody_said_is_unknown() {
        let affects: PotentialImpact =
            serde_json::from_str(r#"{"customerData":"yes"}"#).expect("an answer");
        assert_eq!(
            affects.to_string(),
            "customer data yes, production availability unknown, privileged access unknown"
        );
        assert!("maybe".parse::<ImpactAnswer>().is_err());
    }
}
