//! Why a token was refused: for the log and the metrics. The client is not told, so that an attacker
//! learns nothing by trying.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use crate::metrics::Metrics;

/// Log lines of one reason within [`LOG_INTERVAL`]. Anybody can send tokens, and must not fill a
/// disk with lines; the metrics count all of them.
const LOG_LINES_MAX: u32 = 10;
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Why a request with a token, or without one, was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenRefusal {
    /// There is no token, or not exactly one.
    Missing,
    /// It is no token of this collector, and there is no identity provider.
    Malformed,
    /// No token has this id.
    Unknown,
    /// The id is known, the secret is not its own: somebody guesses, or it was cut off.
    WrongSecret,
    Revoked,
    Expired,
    /// The identity provider's token was not accepted.
    Issuer,
    /// The token is valid, and its role may not do this.
    Role,
    /// The token is for one incident.
    OneIncident,
}

impl TokenRefusal {
    const COUNT: usize = 9;

    /// The reason in logs and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::WrongSecret => "wrong-secret",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Issuer => "issuer",
            Self::Role => "wrong-role",
            Self::OneIncident => "one-incident",
        }
    }
}

/// Counts refusals and logs some of them.
#[derive(Default)]
pub(crate) struct TokenRefusalLog(Mutex<[LoggedLines; TokenRefusal::COUNT]>);

/// The lines of one reason.
#[derive(Clone, Copy, Default)]
struct LoggedLines {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl TokenRefusalLog {
    /// Counts and logs a refusal. `who` says what is known of the token, and `detail` more of the
    /// reason; neither has a part of a secret.
    pub(crate) fn refuse(&self, metrics: &Metrics, refusal: TokenRefusal, who: &str, detail: &str) {
        let reason = refusal.as_str();
        metrics.count_refused_token(reason);
        let Some(left_out) = self.admit(refusal, Instant::now()) else {
            return;
        };
        warn!(reason, token = who, detail, left_out, "refused a token");
    }

    /// The number of lines that were left out before this one; `None` if this one is left out, too.
    fn admit(&self, refusal: TokenRefusal, now: Instant) -> Option<u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let logged = &mut all[refusal as usize];
        let is_over = logged
            .since
            .is_none_or(|since| now.duration_since(since) >= LOG_INTERVAL);
        if is_over {
            (logged.since, logged.lines) = (Some(now), 0);
        }
        if logged.lines >= LOG_LINES_MAX {
            logged.left_out += 1;
            return None;
        }
        logged.lines += 1;
        Some(std::mem::take(&mut logged.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_fill_the_log() {
        let log = TokenRefusalLog::default();
        let start = Instant::now();
        let admitted = (0..1000).filter(|_| log.admit(TokenRefusal::Unknown, start).is_some());
        assert_eq!(admitted.count(), 10);
        assert_eq!(
            log.admit(TokenRefusal::Expired, start),
            Some(0),
            "another reason"
        );
        let later = start + LOG_INTERVAL;
        assert_eq!(log.admit(TokenRefusal::Unknown, later), Some(990));
        assert_eq!(log.admit(TokenRefusal::Unknown, later), Some(0));
    }
}
