//! Sources that are not captured, and why. The plan and the journal both keep it.

use evidence_format::safe::safe;
use serde::{Deserialize, Serialize};

use super::names::SourceName;

/// A source, or one of its offers, that is not captured.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[schema(as = UnavailableSource)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnavailableSource {
    pub source: SourceName,
    /// The API of the offer; `null` for the whole source.
    pub api: Option<String>,
    pub why: UnavailableReason,
    /// What is missing, in the source's words.
    pub problems: Vec<String>,
}

/// Why a source is not captured.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[schema(as = UnavailableReason)]
#[serde(rename_all = "kebab-case")]
pub enum UnavailableReason {
    /// The play names a source that this version lacks.
    NotInThisVersion,
    /// The source is not configured.
    NotConfigured,
    /// The source does not respond.
    Unavailable,
    /// The source denies read access.
    Refused,
    /// The source has no targets.
    NoTargets,
    /// The scope leaves the source out.
    Scope,
}

impl UnavailableReason {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotInThisVersion => "not available in this version",
            Self::NotConfigured => "not configured",
            Self::Unavailable => "not available now",
            Self::Refused => "refused",
            Self::NoTargets => "nothing to ask",
            Self::Scope => "left out by the scope",
        }
    }

    /// True if somebody set the source up, so that its absence is a loss. What nobody configured,
    /// and what the request left out, is only listed.
    #[must_use]
    pub fn is_loss(self) -> bool {
        match self {
            Self::Unavailable | Self::Refused | Self::NoTargets => true,
            Self::NotInThisVersion | Self::NotConfigured | Self::Scope => false,
        }
    }
}

impl UnavailableSource {
    /// Why it is not captured, in one line that is safe to show.
    #[must_use]
    pub fn reason(&self) -> String {
        let problems = self.problems.iter();
        // Some libraries list their attempts in several lines.
        let words = problems.map(|problem| problem.split_whitespace().collect::<Vec<_>>());
        let problems: Vec<String> = words.map(|words| safe(&words.join(" "))).collect();
        if problems.is_empty() {
            return self.why.as_str().to_owned();
        }
        format!("{}: {}", self.why.as_str(), problems.join("; "))
    }
}

/// The sources that are not captured, those with the same reason together, in the order of their
/// first: each reason with its sources.
pub(crate) fn by_reason(sources: &[UnavailableSource]) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for source in sources {
        let api = source.api.as_ref().map(|api| format!(" ({})", safe(api)));
        let name = format!("{}{}", source.source, api.unwrap_or_default());
        let reason = source.reason();
        match groups.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(name),
            None => groups.push((reason, vec![name])),
        }
    }
    groups
}
