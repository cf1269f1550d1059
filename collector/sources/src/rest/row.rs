//! Makes the rows of a table: functions for [`Endpoint`] and what belongs to it, that set one field
//! or a few and can be called in a `static`. [`super::endpoint`] explains the fields.

use std::time::Duration;

use domain::incident::PivotKind;
use domain::plan::{EvidenceLifetime, SettleRule};
use evidence_format::coverage::GapReason;

use super::endpoint::{
    BodyShape, ChildEndpoint, ChildRepeat, Condition, DeclaredCount, Endpoint, EndpointQuota,
    KnownRefusal, Paging, PivotQuery, RedirectRule, RestOffer, TimeSpelling, ValueFrom,
    WindowQuery,
};
use crate::recorder::{BodyFilter, RequestRate};

pub const MINUTE: u64 = 60;
pub const HOUR: u64 = 60 * MINUTE;
pub const DAY: u64 = 24 * HOUR;

/// Requests that may be sent at once after a rest, if the provider does not say.
const BURST: u32 = 10;

/// A quota for requests of which the provider publishes no limit.
pub static UNPUBLISHED: EndpointQuota = EndpointQuota {
    name: "unpublished",
    rate: RequestRate::new(10.0, 10),
    at_once: 4,
};

impl Endpoint {
    /// A `GET` of one JSON object, to fill in by struct update: `..Endpoint::GET`.
    pub const GET: Self = Self {
        id: "",
        path: "",
        post: None,
        service: "",
        headers: &[("accept", "application/json")],
        paging: Paging::None,
        window: None,
        newest_first: None,
        named_by: None,
        for_each: None,
        only_in_search: false,
        is_auxiliary: false,
        body: BodyShape::Object {
            id: "",
            version: "",
            name: "",
        },
        declared: None,
        redirect: RedirectRule::Refuse,
        quota: &UNPUBLISHED,
        grant: "",
        pivots: &[],
        children: &[],
        losses: &[],
        refusals: &[],
        shortfalls: &[],
        is_polled: false,
        empty_page: None,
        restarts_on: &[],
        body_bytes_max: None,
        body_filter: None,
        hides_unless: None,
        idle_timeout: Some(Duration::from_secs(30)),
    };

    /// A `GET` of one JSON object.
    pub const fn get(id: &'static str, path: &'static str) -> Self {
        Self {
            id,
            path,
            ..Self::GET
        }
    }

    /// A `POST` of the JSON `body`, for one JSON object: see [`Endpoint::post`].
    pub const fn post(id: &'static str, path: &'static str, body: &'static str) -> Self {
        Self {
            post: Some(body),
            ..Self::get(id, path)
        }
    }

    /// See [`Endpoint::service`].
    pub const fn service(self, service: &'static str) -> Self {
        Self { service, ..self }
    }

    /// See [`Endpoint::refusals`].
    pub const fn refusals(self, refusals: &'static [KnownRefusal]) -> Self {
        Self { refusals, ..self }
    }

    /// See [`Endpoint::restarts_on`].
    pub const fn restarts_on(self, statuses: &'static [u16]) -> Self {
        Self {
            restarts_on: statuses,
            ..self
        }
    }

    /// See [`Endpoint::shortfalls`].
    pub const fn shortfalls(self, shortfalls: &'static [(Condition, &'static str)]) -> Self {
        Self { shortfalls, ..self }
    }

    /// See [`Endpoint::is_polled`].
    pub const fn polled(self) -> Self {
        Self {
            is_polled: true,
            ..self
        }
    }

    /// See [`Endpoint::empty_page`].
    pub const fn omits_empty_list(self, members: &'static [&'static str]) -> Self {
        Self {
            empty_page: Some(members),
            ..self
        }
    }

    /// See [`BodyShape::Object`].
    pub const fn object(self, id: &'static str, version: &'static str, name: &'static str) -> Self {
        let body = BodyShape::Object { id, version, name };
        Self { body, ..self }
    }

    /// See [`BodyShape::Objects`].
    pub const fn objects(
        self,
        list: &'static str,
        id: &'static str,
        version: &'static str,
        name: &'static str,
    ) -> Self {
        let body = BodyShape::Objects {
            list,
            id,
            version,
            name,
        };
        Self { body, ..self }
    }

    /// See [`BodyShape::Events`].
    pub const fn events(self, list: &'static str, time: &'static str, id: &'static str) -> Self {
        let body = BodyShape::Events { list, time, id };
        Self { body, ..self }
    }

    /// Text of any length, such as a log: see [`BodyShape::Lines`].
    pub const fn lines(self) -> Self {
        Self {
            body: BodyShape::Lines,
            headers: &[("accept", "text/plain, */*")],
            ..self
        }
    }

    pub const fn headers(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    /// How to get the next page.
    pub const fn pages(self, paging: Paging) -> Self {
        Self { paging, ..self }
    }

    pub const fn window(self, window: WindowQuery) -> Self {
        Self {
            window: Some(window),
            ..self
        }
    }

    pub const fn declares(self, count: DeclaredCount) -> Self {
        Self {
            declared: Some(count),
            ..self
        }
    }

    /// Follows a redirect to one of `hosts`: see [`RedirectRule::FollowOnce`].
    pub const fn redirects_to(self, hosts: &'static [&'static str]) -> Self {
        Self {
            redirect: RedirectRule::FollowOnce { hosts },
            ..self
        }
    }

    pub const fn quota(self, quota: &'static EndpointQuota) -> Self {
        Self { quota, ..self }
    }

    pub const fn grant(self, grant: &'static str) -> Self {
        Self { grant, ..self }
    }

    pub const fn pivots(self, pivots: &'static [PivotQuery]) -> Self {
        Self { pivots, ..self }
    }

    pub const fn children(self, children: &'static [ChildEndpoint]) -> Self {
        Self { children, ..self }
    }

    pub const fn losses(self, losses: &'static [(u16, Option<GapReason>)]) -> Self {
        Self { losses, ..self }
    }

    /// See [`Endpoint::newest_first`].
    pub const fn newest_first(self, time: &'static str) -> Self {
        Self {
            newest_first: Some(time),
            ..self
        }
    }

    /// See [`Endpoint::named_by`].
    pub const fn named_by(self, placeholder: &'static str) -> Self {
        Self {
            named_by: Some(placeholder),
            ..self
        }
    }

    /// See [`Endpoint::for_each`].
    pub const fn for_each(
        self,
        placeholder: &'static str,
        values: &'static [&'static str],
    ) -> Self {
        Self {
            for_each: Some((placeholder, values)),
            ..self
        }
    }

    /// See [`Endpoint::only_in_search`].
    pub const fn only_in_search(self) -> Self {
        Self {
            only_in_search: true,
            ..self
        }
    }

    /// See [`Endpoint::is_auxiliary`].
    pub const fn auxiliary(self) -> Self {
        Self {
            is_auxiliary: true,
            ..self
        }
    }

    /// See [`Endpoint::idle_timeout`].
    pub const fn idle_seconds_max(self, seconds: u64) -> Self {
        Self {
            idle_timeout: Some(Duration::from_secs(seconds)),
            ..self
        }
    }

    /// Hides parts of its pages: see [`Endpoint::body_filter`].
    pub const fn hides(self, filter: BodyFilter) -> Self {
        Self {
            body_filter: Some(filter),
            ..self
        }
    }
}

impl WindowQuery {
    /// A window without limits of results, to fill in by struct update.
    pub const PLAIN: Self = Self {
        spelling: TimeSpelling::Rfc3339Seconds,
        until_inclusive: false,
        results_max: None,
        span_max_days: None,
        chains: 1,
        polling: None,
    };
}

impl EndpointQuota {
    /// A quota of the provider of so many requests a minute, of which `at_once` may be in flight.
    #[must_use]
    pub const fn per_minute(name: &'static str, requests: u32, at_once: usize) -> Self {
        Self {
            name,
            rate: RequestRate::new(requests as f64 / 60.0, BURST),
            at_once,
        }
    }
}

impl PivotQuery {
    #[must_use]
    pub const fn by(kind: PivotKind, query: &'static str) -> Self {
        Self {
            kind,
            query,
            chars_min: 0,
        }
    }

    /// See [`Self::chars_min`].
    #[must_use]
    pub const fn of_at_least(self, chars_min: usize) -> Self {
        Self { chars_min, ..self }
    }
}

impl ChildEndpoint {
    /// A child that is asked once for each record, to fill in by struct update or by the functions
    /// below.
    #[must_use]
    pub const fn of(endpoint: &'static Endpoint) -> Self {
        Self {
            endpoint,
            takes: &[],
            each: ChildRepeat::Once,
            only: &[],
        }
    }

    #[must_use]
    pub const fn takes(self, takes: &'static [(&'static str, ValueFrom)]) -> Self {
        Self { takes, ..self }
    }

    /// How often it is asked for one record.
    #[must_use]
    pub const fn each(self, each: ChildRepeat) -> Self {
        Self { each, ..self }
    }

    /// Asks it only if all of `conditions` hold.
    #[must_use]
    pub const fn only(self, conditions: &'static [Condition]) -> Self {
        Self {
            only: conditions,
            ..self
        }
    }
}

impl RestOffer {
    /// An offer of state without history, to fill in by struct update.
    pub const STATE: Self = Self {
        item: "",
        what: "",
        lifetime: EvidenceLifetime::State(DAY),
        citation: "",
        arrives_late_seconds: None,
        settles: &[],
        records_per_page: 100,
        page_bytes: None,
        roots: &[],
    };

    /// An offer of what the provider keeps for `lifetime`, as the page `citation` says.
    #[must_use]
    pub const fn new(
        item: &'static str,
        what: &'static str,
        lifetime: EvidenceLifetime,
        citation: &'static str,
    ) -> Self {
        Self {
            item,
            what,
            lifetime,
            citation,
            ..Self::STATE
        }
    }

    #[must_use]
    pub const fn roots(self, roots: &'static [&'static Endpoint]) -> Self {
        Self { roots, ..self }
    }

    /// When to ask again for what came late, or has changed since.
    #[must_use]
    pub const fn settles(self, settles: &'static [SettleRule]) -> Self {
        Self { settles, ..self }
    }

    /// How late an event may appear.
    #[must_use]
    pub const fn arrives_late(self, seconds: u64) -> Self {
        Self {
            arrives_late_seconds: Some(seconds),
            ..self
        }
    }

    /// A full page, for estimates.
    #[must_use]
    pub const fn full_page(self, records: u64, bytes: u64) -> Self {
        Self {
            records_per_page: records,
            page_bytes: Some(bytes),
            ..self
        }
    }
}
