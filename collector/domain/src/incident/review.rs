//! The runbook's prompts for the post-incident review.

use std::fmt;
use std::str::FromStr;

use evidence_format::serde_as_text;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::checklist::{ParseChecklistError, unknown};
use super::text::{Line, Name};

/// A question that the post-incident review answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReviewPrompt {
    FirstSignal,
    Triage,
    Controls,
    Assumptions,
    MissingEvidence,
    PlatformDefaults,
}

impl ReviewPrompt {
    /// All, as the runbook lists them.
    pub const ALL: [Self; 6] = [
        Self::FirstSignal,
        Self::Triage,
        Self::Controls,
        Self::Assumptions,
        Self::MissingEvidence,
        Self::PlatformDefaults,
    ];

    /// For commands and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FirstSignal => "first-signal",
            Self::Triage => "triage",
            Self::Controls => "controls",
            Self::Assumptions => "assumptions",
            Self::MissingEvidence => "missing-evidence",
            Self::PlatformDefaults => "platform-defaults",
        }
    }

    /// The runbook's words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::FirstSignal => "What signal first identified the incident?",
            Self::Triage => "What made triage faster or slower?",
            Self::Controls => "Which controls worked as designed?",
            Self::Assumptions => "Which assumptions were wrong?",
            Self::MissingEvidence => "What evidence was missing?",
            Self::PlatformDefaults => {
                "What prevention or detection improvement belongs in platform defaults?"
            }
        }
    }
}

impl FromStr for ReviewPrompt {
    type Err = ParseChecklistError;

    fn from_str(text: &str) -> Result<Self, ParseChecklistError> {
        let known = Self::ALL.into_iter().find(|prompt| prompt.as_str() == text);
        known.ok_or_else(|| unknown("review prompt", text, &Self::ALL.map(Self::as_str)))
    }
}

impl fmt::Display for ReviewPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

serde_as_text!(ReviewPrompt);

/// The answer to a prompt of the review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewAnswer {
    pub text: Line,
    pub by: Name,
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_those_of_the_runbook() {
        let texts = ReviewPrompt::ALL.map(ReviewPrompt::text).join("\n");
        assert_eq!(texts, include_str!("samples/review-prompts.txt").trim_end());
        for prompt in ReviewPrompt::ALL {
            assert_eq!(prompt.to_string().parse(), Ok(prompt));
        }
    }
}
