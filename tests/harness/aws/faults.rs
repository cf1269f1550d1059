//! Scripted faults. A rule depends only on the number of a request, so that a run can be repeated.

use std::str::FromStr;
use std::time::Duration;

use super::events::{AccountRegion, mix, mix_text};

/// The operations of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the services' own")]
pub enum Operation {
    LookupEvents,
    GetCallerIdentity,
    AssumeRole,
    ListRegions,
}

impl Operation {
    /// Its name in the service's API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LookupEvents => "LookupEvents",
            Self::GetCallerIdentity => "GetCallerIdentity",
            Self::AssumeRole => "AssumeRole",
            Self::ListRegions => "ListRegions",
        }
    }
}

/// A fault and the requests that it applies to. The first rule that matches a request applies.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultRule {
    pub operation: Operation,
    /// `None` matches every account.
    pub account: Option<String>,
    /// `None` matches every region.
    pub region: Option<String>,
    /// Requests are numbered from 1 for each operation and place, including rejected ones.
    pub when: RequestNumbers,
    pub fault: Fault,
}

/// A set of request numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RequestNumbers {
    /// From the first to the second number, inclusive.
    Between(u64, u64),
    /// The multiples of this number.
    Every(u64),
    /// This many per million, chosen by the server's seed.
    Chance(u64),
}

/// A fault that the server can inject.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// `ThrottlingException`, even within the quota.
    Throttle,
    /// A server error, perhaps with `Retry-After`.
    Status(u16, Option<RetryAfter>),
    /// `ExpiredTokenException`.
    ExpiredToken,
    /// `AccessDeniedException`.
    AccessDenied,
    /// `UnrecognizedClientException`, as in a region that the account has not enabled.
    RegionDisabled,
    /// `InvalidNextTokenException`, as if the token had expired.
    InvalidToken,
    /// The connection is closed without a response.
    Close,
    /// The connection is reset without a response.
    Reset,
    /// Only this many bytes of the body are sent, with the `content-length` of all of it. Then the
    /// connection is closed.
    Truncate(u64),
    /// There is no response, and the connection stays open.
    Hang,
    /// The whole body is sent, this many bytes at a time, with a pause in between.
    Trickle(u64, Duration),
    /// The whole response is sent, after a random delay between these two.
    Slow(Duration, Duration),
    /// The body is not JSON.
    Malformed,
    /// Each event's `ReadOnly` is a number, although the API's model has a string. The page counts
    /// as served: providers do change their types.
    Retyped,
    /// From a query's second page on, the page's `NextToken` is the token of the request, so paging
    /// never ends.
    EndlessToken,
    /// The page has at most this many events, and a token for the rest. The page counts as served:
    /// the service does this too.
    Short(u64),
    /// The body is this many blanks.
    Blanks(u64),
}

/// The form of `Retry-After` (RFC 9110 §10.2.3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RetryAfter {
    Seconds(u64),
    /// The date this many seconds from now, by the server's clock.
    Date(u64),
}

impl Fault {
    /// Its name in [`GroundTruth`](super::GroundTruth).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttle => "throttle",
            Self::Status(..) => "status",
            Self::ExpiredToken => "expired",
            Self::AccessDenied => "denied",
            Self::RegionDisabled => "disabled",
            Self::InvalidToken => "token",
            Self::Close => "close",
            Self::Reset => "reset",
            Self::Truncate(_) => "truncate",
            Self::Hang => "hang",
            Self::Trickle(..) => "trickle",
            Self::Slow(..) => "slow",
            Self::Malformed => "malformed",
            Self::Retyped => "retyped",
            Self::EndlessToken => "endless",
            Self::Short(_) => "short",
            Self::Blanks(_) => "blanks",
        }
    }
}

impl FaultRule {
    /// A rule for all lookups. The other methods restrict it.
    #[must_use]
    pub fn lookup(fault: Fault) -> Self {
        Self {
            operation: Operation::LookupEvents,
            account: None,
            region: None,
            when: RequestNumbers::Every(1),
            fault,
        }
    }

    /// Applies the rule to another operation.
    #[must_use]
    pub fn on(self, operation: Operation) -> Self {
        Self { operation, ..self }
    }

    /// Restricts the rule to this account.
    #[must_use]
    pub fn account(self, account: &str) -> Self {
        Self {
            account: Some(account.to_owned()),
            ..self
        }
    }

    /// Restricts the rule to this region.
    #[must_use]
    pub fn region(self, region: &str) -> Self {
        Self {
            region: Some(region.to_owned()),
            ..self
        }
    }

    /// Restricts the rule to this request number.
    #[must_use]
    pub fn at(self, number: u64) -> Self {
        self.between(number, number)
    }

    /// Restricts the rule to these request numbers, both inclusive.
    #[must_use]
    pub fn between(self, first: u64, last: u64) -> Self {
        Self {
            when: RequestNumbers::Between(first, last),
            ..self
        }
    }

    /// Restricts the rule to multiples of this number.
    #[must_use]
    pub fn every(self, number: u64) -> Self {
        Self {
            when: RequestNumbers::Every(number),
            ..self
        }
    }

    /// Restricts the rule to this many random requests per million.
    #[must_use]
    pub fn per_million(self, chance: u64) -> Self {
        Self {
            when: RequestNumbers::Chance(chance),
            ..self
        }
    }

    fn fits(&self, operation: Operation, place: &AccountRegion, number: u64, chance: u64) -> bool {
        let same =
            |ours: &Option<String>, theirs: &str| ours.as_ref().is_none_or(|ours| ours == theirs);
        let now = match self.when {
            RequestNumbers::Between(first, last) => (first..=last).contains(&number),
            RequestNumbers::Every(every) => number.is_multiple_of(every),
            RequestNumbers::Chance(per_million) => chance % 1_000_000 < per_million,
        };
        now && self.operation == operation
            && same(&self.account, &place.account)
            && same(&self.region, &place.region)
    }
}

/// The fault of a request, if a rule matches it.
pub(super) fn fault_for(
    rules: &[FaultRule],
    seed: u64,
    operation: Operation,
    place: &AccountRegion,
    number: u64,
) -> Option<Fault> {
    let base = mix_text(mix_text(seed, &place.account), &place.region);
    for (index, rule) in rules.iter().enumerate() {
        let chance = mix(&[base, operation as u64, number, index as u64]);
        if rule.fits(operation, place, number, chance) {
            return Some(rule.fault);
        }
    }
    None
}

/// Parses a rule for lookups: `[ACCOUNT/]REGION@WHEN=FAULT`.
///
/// `REGION` and `ACCOUNT` may be `*`. `WHEN` is `3`, `3-7`, `3-`, `/10` (every tenth) or `0.5%`.
/// `FAULT` is `throttle`, `500`, `503:2` (Retry-After in seconds), `503:date:2` (as a date),
/// `expired`, `denied`, `disabled`, `token`, `close`, `reset`, `truncate:BYTES`, `hang`,
/// `trickle:BYTES:MS`, `slow:MS:MS`, `malformed`, `retyped`, `endless`, `short:EVENTS` or
/// `blanks:BYTES`.
impl FromStr for FaultRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('=').and_then(|(which, fault)| {
            let (place, when) = which.split_once('@')?;
            let (account, region) = place.split_once('/').unwrap_or(("*", place));
            let (account, region) = (unless_any(account), unless_any(region));
            Some(Self {
                operation: Operation::LookupEvents,
                account,
                region,
                when: when.parse().ok()?,
                fault: fault.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| format!("{text} is not [ACCOUNT/]REGION@WHEN=FAULT"))
    }
}

impl FromStr for RequestNumbers {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parsed = if let Some(every) = text.strip_prefix('/') {
            number(every).filter(|every| *every > 0).map(Self::Every)
        } else if let Some(percent) = text.strip_suffix('%') {
            percent
                .parse::<f64>()
                .ok()
                .map(|percent| Self::Chance((percent * 10_000.0) as u64))
        } else if let Some((first, last)) = text.split_once('-') {
            number(first)
                .zip(if last.is_empty() {
                    Some(u64::MAX)
                } else {
                    number(last)
                })
                .map(|(first, last)| Self::Between(first, last))
        } else {
            number(text).map(|number| Self::Between(number, number))
        };
        parsed.ok_or(())
    }
}

impl FromStr for Fault {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let words: Vec<&str> = text.split(':').collect();
        let parsed = match words[..] {
            ["throttle"] => Some(Self::Throttle),
            ["expired"] => Some(Self::ExpiredToken),
            ["denied"] => Some(Self::AccessDenied),
            ["disabled"] => Some(Self::RegionDisabled),
            ["token"] => Some(Self::InvalidToken),
            ["close"] => Some(Self::Close),
            ["reset"] => Some(Self::Reset),
            ["truncate", bytes] => number(bytes).map(Self::Truncate),
            ["hang"] => Some(Self::Hang),
            ["trickle", bytes, pause] => number(bytes)
                .zip(milliseconds(pause))
                .map(|(bytes, pause)| Self::Trickle(bytes, pause)),
            ["slow", from, to] => milliseconds(from)
                .zip(milliseconds(to))
                .map(|(from, to)| Self::Slow(from, to)),
            ["malformed"] => Some(Self::Malformed),
            ["retyped"] => Some(Self::Retyped),
            ["endless"] => Some(Self::EndlessToken),
            ["short", events] => number(events).map(Self::Short),
            ["blanks", bytes] => number(bytes).map(Self::Blanks),
            [status] => status.parse().ok().map(|status| Self::Status(status, None)),
            [status, seconds] => status
                .parse()
                .ok()
                .zip(number(seconds))
                .map(|(status, s)| Self::Status(status, Some(RetryAfter::Seconds(s)))),
            [status, "date", seconds] => status
                .parse()
                .ok()
                .zip(number(seconds))
                .map(|(status, s)| Self::Status(status, Some(RetryAfter::Date(s)))),
            _ => None,
        };
        parsed.ok_or(())
    }
}

/// `None` for `*`, which matches any name.
fn unless_any(name: &str) -> Option<String> {
    (name != "*").then(|| name.to_owned())
}

fn milliseconds(text: &str) -> Option<Duration> {
    number(text).map(Duration::from_millis)
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_documented_rules() {
        let rule = |text: &str| text.parse::<FaultRule>();
        let throttle = FaultRule::lookup(Fault::Throttle);
        assert_eq!(rule("*@/1=throttle"), Ok(throttle.clone()));
        assert_eq!(
            rule("1/eu-west-1@3-=throttle"),
            Ok(throttle
                .account("1")
                .region("eu-west-1")
                .between(3, u64::MAX))
        );
        let date = Fault::Status(503, Some(RetryAfter::Date(2)));
        assert_eq!(
            rule("*@0.5%=503:date:2"),
            Ok(FaultRule::lookup(date).per_million(5_000))
        );
        let slow = Fault::Slow(Duration::from_millis(200), Duration::from_millis(4000));
        assert_eq!(rule("*@3=slow:200:4000"), Ok(FaultRule::lookup(slow).at(3)));
        for bad in [
            "",
            "*@3",
            "*=throttle",
            "*@x=throttle",
            "*@/0=throttle",
            "*@3=trickle:1",
            "*@3=nothing",
        ] {
            assert!(rule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn chance_is_deterministic_and_near_its_rate() {
        let (rules, place) = (
            [FaultRule::lookup(Fault::Close).per_million(100_000)],
            AccountRegion::new("1", "eu-west-1"),
        );
        let hits = |seed| -> Vec<u64> {
            (1..=10_000)
                .filter(|n| fault_for(&rules, seed, Operation::LookupEvents, &place, *n).is_some())
                .collect()
        };
        assert_eq!(hits(1), hits(1));
        assert_ne!(hits(1), hits(2));
        assert!((900..1100).contains(&hits(1).len()), "{}", hits(1).len());
    }
}
