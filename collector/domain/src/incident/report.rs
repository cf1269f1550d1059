//! The initial report of an incident, and what it may affect.

use std::fmt;
use std::str::FromStr;

use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::text::{Line, Name, Prose};

/// Systems that one report names. A report about more of them can say so in its impact.
pub const SYSTEMS_MAX: usize = 256;

/// The runbook's initial report. `null` members are not known yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InitialReport {
    pub reported_by: Option<Name>,
    pub reported_at: Option<Timestamp>,
    /// At most 256 systems.
    #[serde(default)]
    pub affected_systems: Vec<Name>,
    pub suspected_impact: Option<Line>,
    pub current_evidence: Option<Prose>,
}

impl InitialReport {
    /// Those of the runbook's five points that the report lacks.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let points = [
            ("who reported", self.reported_by.is_some()),
            ("when", self.reported_at.is_some()),
            ("affected systems", !self.affected_systems.is_empty()),
            ("suspected impact", self.suspected_impact.is_some()),
            ("current evidence", self.current_evidence.is_some()),
        ];
        points
            .into_iter()
            .filter(|(_, given)| !given)
            .map(|(what, _)| what)
            .collect()
    }
}

/// An answer that may not be known yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImpactAnswer {
    /// It is or may be affected.
    Yes,
    /// It is not affected.
    No,
    /// Nobody has answered.
    #[default]
    Unknown,
}

/// Whether customer data, production availability or privileged access may be affected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PotentialImpact {
    #[serde(default)]
    pub customer_data: ImpactAnswer,
    #[serde(default)]
    pub production_availability: ImpactAnswer,
    #[serde(default)]
    pub privileged_access: ImpactAnswer,
}

impl PotentialImpact {
    /// Each question and its answer, in the runbook's order.
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
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// A text is neither yes, no nor unknown.
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
    fn report_lists_missing_points_and_rejects_unknown_field() {
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
    fn missing_answers_are_unknown() {
        let affects: PotentialImpact =
            serde_json::from_str(r#"{"customerData":"yes"}"#).expect("an answer");
        assert_eq!(
            affects.to_string(),
            "customer data yes, production availability unknown, privileged access unknown"
        );
        assert!("maybe".parse::<ImpactAnswer>().is_err());
    }
}
