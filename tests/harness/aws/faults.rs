//! What goes wrong, when: rules that look at nothing but the number of a request, so that a run can
//! be repeated.

use std::str::FromStr;
use std::time::Duration;

use super::events::{AccountRegion, mix, mix_text};

/// What the server can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the services' own")]
pub enum Operation {
    LookupEvents,
    GetCallerIdentity,
    AssumeRole,
    ListRegions,
}

impl Operation {
    /// Its name.
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

/// Which requests something happens to. The first rule that fits a request is the one that is
/// followed.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultRule {
    /// Requests of this operation.
    pub operation: Operation,
    /// Of this account, or of any.
    pub account: Option<String>,
    /// In this region, or in any.
    pub region: Option<String>,
    /// By their number among the requests of one operation in one place, from 1; refused ones
    /// count.
    pub when: RequestNumbers,
    /// What happens.
    pub fault: Fault,
}

/// Numbers of requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RequestNumbers {
    /// From the first to the second, inclusive.
    Between(u64, u64),
    /// Every so many.
    Every(u64),
    /// So many of a million, chosen by the server's seed.
    Chance(u64),
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// `ThrottlingException`, whatever the quota says.
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
    /// The connection ends, without an answer.
    Close,
    /// The connection is reset, without an answer.
    Reset,
    /// So many bytes of the body are sent and all are announced; then the connection ends.
    Truncate(u64),
    /// There is no answer, and the connection stays.
    Hang,
    /// The body comes whole, so many bytes at a time with a pause between.
    Trickle(u64, Duration),
    /// The answer comes whole, after a time between these.
    Slow(Duration, Duration),
    /// The body is no JSON.
    Malformed,
    /// Each event's `ReadOnly` is a number, where the API's model has a text. No error: providers
    /// change what they answer.
    Retyped,
    /// The page's `NextToken` is the one that it was asked for with: paging never ends. From a
    /// query's second page on.
    EndlessToken,
    /// The page has at most so many events and a token for the rest. No error: the service does
    /// that too.
    Short(u64),
    /// A body of so many blanks.
    Blanks(u64),
}

/// How `Retry-After` is written (RFC 9110 §10.2.3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RetryAfter {
    /// A number of seconds.
    Seconds(u64),
    /// The date so many seconds from now, by the server's clock.
    Date(u64),
}

impl Fault {
    /// What the truth calls it.
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
    /// Something that happens to every lookup, until the other methods say to which.
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

    /// To requests of another operation.
    #[must_use]
    pub fn on(self, operation: Operation) -> Self {
        Self { operation, ..self }
    }

    /// To requests of this account only.
    #[must_use]
    pub fn account(self, account: &str) -> Self {
        Self {
            account: Some(account.to_owned()),
            ..self
        }
    }

    /// To requests in this region only.
    #[must_use]
    pub fn region(self, region: &str) -> Self {
        Self {
            region: Some(region.to_owned()),
            ..self
        }
    }

    /// To the request of this number only.
    #[must_use]
    pub fn at(self, number: u64) -> Self {
        self.between(number, number)
    }

    /// To requests of these numbers only, both inclusive.
    #[must_use]
    pub fn between(self, first: u64, last: u64) -> Self {
        Self {
            when: RequestNumbers::Between(first, last),
            ..self
        }
    }

    /// To every so many requests only.
    #[must_use]
    pub fn every(self, number: u64) -> Self {
        Self {
            when: RequestNumbers::Every(number),
            ..self
        }
    }

    /// To so many of a million requests only.
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

/// What happens to a request, if anything does.
pub(super) fn fault_for(
    rules: &[FaultRule],
    seed: u64,
    operation: Operation,
    place: &AccountRegion,
    number: u64,
) -> Option<Fault> {
    let base = mix_text(mix_text(seed, &place.account), &place.region);
    let chance = |index: usize| mix(&[base, operation as u64, number, index as u64]);
    let mut rules = rules.iter().enumerate();
    rules
        .find(|(index, rule)| rule.fits(operation, place, number, chance(*index)))
        .map(|(_, rule)| rule.fault)
}

/// A rule as the command line has it: `[ACCOUNT/]REGION@WHEN=FAULT`, for lookups.
///
/// `REGION` and `ACCOUNT` may be `*`; `WHEN` is `3`, `3-7`, `3-`, `/10` (every tenth) or `0.5%`;
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
            let name = |name: &str| (name != "*").then(|| name.to_owned());
            let (account, region) = (name(account), name(region));
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
        let ms = |text: &str| number(text).map(Duration::from_millis);
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
                .zip(ms(pause))
                .map(|(bytes, pause)| Self::Trickle(bytes, pause)),
            ["slow", from, to] => ms(from).zip(ms(to)).map(|(from, to)| Self::Slow(from, to)),
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
