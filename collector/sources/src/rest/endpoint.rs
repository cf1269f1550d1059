//! The table of a REST source: one [`Endpoint`] for each request that it sends.
//!
//! A row says where an endpoint is, how its pages follow each other, what its answers look like,
//! and which endpoints are asked for each of its records. Requests, cursors, errors, quotas,
//! readiness, estimates and counts follow from the rows; a source writes no loop of its own.
//!
//! ```text
//! static ROLES: Endpoint = Endpoint::get("okta:listAssignedRolesForUser", "/api/v1/users/{user}/roles")
//!     .objects("", "/id", "/lastUpdated", "/label").quota(&USERS).grant("okta.roles.read");
//! static USERS: Endpoint = Endpoint::get("okta:listUsers", "/api/v1/users?limit=200")
//!     .objects("", "/id", "/lastUpdated", "/profile/login").pages(Paging::Link)
//!     .quota(&USERS).grant("okta.users.read")
//!     .children(&[ChildEndpoint::of(&ROLES).takes(&[("user", ValueFrom::Record("/id"))])]);
//! ```
//!
//! The functions that make rows are in [`super::row`]; what they set is explained here. Tables are
//! modules without rustfmt (`#[rustfmt::skip] mod table;`), because rows that differ in one word
//! should look so. `tests/tidy` holds them to 100 columns.
//!
//! Rows are static. A source that finds its endpoints at run time makes them static by
//! [`super::intern()`].

use std::time::Duration;

use domain::incident::PivotKind;
use domain::plan::{EvidenceLifetime, SettleRule};
use evidence_format::coverage::GapReason;

use super::template::placeholders;
use crate::config::SourcesConfig;
use crate::coverage::DeclaredRecords;
use crate::recorder::{BodyFilter, RequestRate};

/// Longest body that is held in memory: that of a page, which is read as JSON.
pub const PAGE_BYTES_MAX: u64 = 16 << 20;

/// One kind of request, and what is known about its answers. All pointers are JSON pointers (RFC
/// 6901); `""` points to the whole value.
#[derive(Debug)]
pub struct Endpoint {
    /// `<deriver>:<operation>`, the operation as the provider's own specification calls it:
    /// `okta:listUsers`. Written on each record as `Exhibit-Endpoint`; counting and derivation go
    /// by it. Several rows may share it: one endpoint can have other children in another offer.
    pub id: &'static str,
    /// Path and query, with placeholders in braces: `/repos/{owner}/{repo}/actions/runs`. They are
    /// filled, percent-encoded, from the names of the target, of the walk's root and of all
    /// ancestors' records; `{from}` and `{until}` from the window. Appended to the path of
    /// [`super::ProviderAccess::base`].
    pub path: &'static str,
    /// The JSON body of a `POST` request, with the same placeholders; `None` sends a `GET`. For the
    /// few reading operations that are a `POST`, such as a SelfSubjectReview. `{narrow}` is what a
    /// pivot adds ([`PivotQuery::query`]), and nothing in other steps.
    pub post: Option<&'static str>,
    /// The provider's name for the API that the path belongs to, if it has several at hosts of their
    /// own: one of [`super::ProviderAccess::services`].
    pub service: &'static str,
    /// Header fields beside the signer's: `accept`, an API version.
    pub headers: &'static [(&'static str, &'static str)],
    /// How to get the next page.
    pub paging: Paging,
    /// How the step's window is put into the request; `None` if the endpoint has no window (state).
    pub window: Option<WindowQuery>,
    /// For a list that takes no window but is sorted, newest first: the pointer to the time by which
    /// it is sorted. The list ends with the first page that has only records from
    /// before the window, unless that page is not sorted. Such an offer is not state: its
    /// [`RestOffer::lifetime`] says how long the provider keeps the records.
    pub newest_first: Option<&'static str>,
    /// For a root that is a list: the placeholder whose values name single records of it, such as
    /// `repo`. If the configuration or a search names some
    /// ([`super::ConfiguredInstance::lists`]), the list is not asked, and the walk begins at its
    /// children, once for each name.
    pub named_by: Option<&'static str>,
    /// For a root: a placeholder, and its values, for each of which the root is walked.
    pub for_each: Option<(&'static str, &'static [&'static str])>,
    /// Asked only by steps that search for one of its [`Self::pivots`]: it has nothing that another
    /// row has not.
    pub only_in_search: bool,
    /// Its answers show how something was captured, such as from which version on, and are not
    /// counted as evidence.
    pub is_auxiliary: bool,
    pub body: BodyShape,
    /// Where a page says how many records there are. Becomes coverage's denominator, and decides
    /// whether a window must be split ([`WindowQuery::results_max`]).
    pub declared: Option<DeclaredCount>,
    pub redirect: RedirectRule,
    /// The provider's quota that the request counts against.
    pub quota: &'static EndpointQuota,
    /// The permission that this request needs, in the provider's words: `okta.users.read`, or
    /// several, as `a + b`. A refusal names them, and permission files are generated from them.
    pub grant: &'static str,
    /// Kinds of pivots by which the provider filters, wherever in the tree the endpoint is. The walk
    /// of a pivot asks only endpoints that filter by its kind, what leads to them, and what is below
    /// them.
    pub pivots: &'static [PivotQuery],
    /// What to ask for each record of a page.
    pub children: &'static [ChildEndpoint],
    /// What statuses mean when this endpoint is asked as a child, where that differs from the
    /// defaults (401 unauthenticated, 403 permission denied, 404 and 410 vanished, others refused).
    /// None of them ends the step. `None` means that the status is an answer, and nothing is
    /// missing: 404 for the protection of a branch that is not protected.
    pub losses: &'static [(u16, Option<GapReason>)],
    /// Refusals that the provider explains, and which are no missing permission: a subscription that
    /// does not include the endpoint. The first that fits counts.
    pub refusals: &'static [KnownRefusal],
    /// What is missing from the evidence if a record of this endpoint satisfies the condition, in
    /// words: "events are not saved". It becomes a gap.
    pub shortfalls: &'static [(Condition, &'static str)],
    /// It is a log that is polled: each page leads to a next one, and an empty page is the last.
    pub is_polled: bool,
    /// The members that a page without records has, from a provider that leaves out empty lists.
    /// `None` if a page always has its list.
    pub empty_page: Option<&'static [&'static str]>,
    /// Statuses that, on a page after the first, say that the provider has forgotten the page
    /// token: the listing starts again, a few times. Kubernetes answers 410. Without an entry, such
    /// a status ends the listing.
    pub restarts_on: &'static [u16],
    /// Longest body. `None`: [`PAGE_BYTES_MAX`] for pages, and the plan's limit for one object for
    /// lines and opaque bytes.
    pub body_bytes_max: Option<u64>,
    /// Hides parts of successful pages before they are written: values of secrets that a provider
    /// sends though nobody asked for them. Of text ([`BodyShape::Lines`]), each line is a body.
    pub body_filter: Option<BodyFilter>,
    /// When nothing is hidden, because the configuration wants the values.
    pub hides_unless: Option<fn(&SourcesConfig) -> bool>,
    /// Longest silence in the middle of a body; `None` waits for ever, for a watch that stays open.
    pub idle_timeout: Option<Duration>,
}

/// How the next page of a listing is found. A next page that is the same as before, or one that
/// closes a circle, ends the listing as malformed; an empty or absent token ends it as complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paging {
    /// One answer is all.
    None,
    /// The header field `Link` with `rel="next"` (RFC 8288), which must be on the provider's host.
    Link,
    /// The same, but of the link only the query is used, with the path of the request. Links of
    /// GitHub lead to `/repositories/{number}/…`, and a record's address should say whose it is.
    LinkQuery,
    /// A token in the body, sent as a parameter of the query: Kubernetes' `continue`.
    TokenToParameter {
        at: &'static str,
        parameter: &'static str,
    },
    /// A token in the body, sent as a member of a `POST` body: AWS' `NextToken`.
    TokenToBody {
        at: &'static str,
        member: &'static str,
    },
    /// A token in a header field, sent as a parameter of the query: GitLab's `x-next-page`.
    HeaderToParameter {
        header: &'static str,
        parameter: &'static str,
    },
    /// The URL of the next page in the body, which must be on the provider's host: Microsoft
    /// Graph's `/@odata.nextLink`.
    NextUrl { at: &'static str },
    /// Pages have numbers. The listing ends with a page of fewer than `size` records.
    PageNumber {
        parameter: &'static str,
        first: u64,
        size: u64,
    },
    /// Records have numbers, from 0. The listing ends with a page of fewer than `size` records. The
    /// last `overlap` records of a page are asked for again, in case that records are removed while
    /// they are listed, or that the provider sorts those of the same time in any order.
    Offset {
        parameter: &'static str,
        size: u64,
        overlap: u64,
    },
}

/// A refusal that the provider explains.
#[derive(Debug, PartialEq, Eq)]
pub struct KnownRefusal {
    pub status: u16,
    /// A part of the body by which it is recognised: an error code.
    pub code: &'static str,
    /// What it means, in words: "not licensed".
    pub means: &'static str,
}

/// A number of records that a page states, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclaredCount {
    /// In the whole listing: `/total_count`.
    InAll(&'static str),
    /// On the pages after this one: Kubernetes' `/metadata/remainingItemCount`.
    AfterThisPage(&'static str),
}

/// How a window is asked for: the path has `{from}` and `{until}`.
#[derive(Debug, Clone, Copy)]
pub struct WindowQuery {
    pub spelling: TimeSpelling,
    /// The provider includes events of the time `until` itself, so that the window's end, which is
    /// exclusive, is sent as one unit of `spelling` less. Events of that last unit are missing if
    /// their times are finer than it.
    pub until_inclusive: bool,
    /// Results after which the provider cuts a query off: GitHub's 1,000. A window with more
    /// ([`Endpoint::declared`]) is halved until each part has fewer, or is one unit long.
    pub results_max: Option<u64>,
    /// Days that the provider answers at most in one query: GitLab's audit events have 30. A longer
    /// window is asked for part by part. Not together with `polling`.
    pub span_max_days: Option<u32>,
    /// Parts of the window that are paged at the same time, at a root whose body is
    /// [`BodyShape::Events`]. 1 pages one after the other, for a provider that answers fast.
    pub chains: u32,
    /// The path for a settle pass, without `{until}`: the provider then sorts by the time at which
    /// it stored an event, so that late events with old times are found. An empty page ends it.
    pub polling: Option<&'static str>,
}

/// How a time is written in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSpelling {
    /// `2026-11-27T15:38:23Z`
    Rfc3339Seconds,
    /// `2026-11-27T15:38:23.000Z`
    Rfc3339Milliseconds,
    /// Seconds since 1970.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMilliseconds,
}

/// What a successful answer looks like. An answer of another shape is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyShape {
    /// JSON with a list of events at `list`: `""` if the body is the list, `/items`,
    /// `/workflow_runs`. `time` and `id` point into one event.
    Events {
        list: &'static str,
        time: &'static str,
        id: &'static str,
    },
    /// JSON with a list of objects at `list`. The other pointers point into one object: `id` never
    /// changes, `version` differs whenever the object does (`""` if there is none), `name` is for
    /// people.
    Objects {
        list: &'static str,
        id: &'static str,
        version: &'static str,
        name: &'static str,
    },
    /// JSON that is one object. Its children are asked once.
    Object {
        id: &'static str,
        version: &'static str,
        name: &'static str,
    },
    /// Text of any length, line by line: a log. It is recorded part by part and never held in
    /// memory.
    Lines,
    /// Bytes of any length that only a person's tool can read, such as a ZIP archive.
    Opaque,
}

/// What to do with a redirect (status 301, 302, 303, 307, 308).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectRule {
    /// It is an answer like any other, and for a page a malformed one.
    Refuse,
    /// Follows it once, without credentials, and only to hosts that end in one of these:
    /// `.blob.core.windows.net`. The address never gets into a cursor.
    FollowOnce { hosts: &'static [&'static str] },
}

/// A quota of the provider. Rows that name the same one share it; it counts for each account.
#[derive(Debug)]
pub struct EndpointQuota {
    /// Such as `/api/v1/users`. Unique in the source.
    pub name: &'static str,
    /// As published. Answers of the provider may announce another rate.
    pub rate: RequestRate,
    /// Requests in flight at once, for children that are asked together.
    pub at_once: usize,
}

/// How the provider filters by one kind of pivot.
#[derive(Debug, Clone, Copy)]
pub struct PivotQuery {
    pub kind: PivotKind,
    /// What is appended to the path, such as `&filter=actor.id+eq+%22{pivot}%22`; of a `POST`, what
    /// replaces `{narrow}` in its body. `{pivot}` is the pivot's value, percent-encoded, for quotes
    /// of the form `"`; `{pivot_odata}` is for `'`, as in OData. Of a value with slashes, such
    /// as `namespace/kind/name`, `{pivot_first}` is what is before the first one, and `{pivot_last}`
    /// what is after the last.
    /// Empty if the path itself is narrowed, by these or by where the walk begins.
    pub query: &'static str,
    /// Characters of the shortest value that the provider finds: 40 if it compares whole hashes of
    /// commits, so that it answers an abbreviated one as if there was nothing. Such a search is a
    /// gap.
    pub chars_min: usize,
}

/// An endpoint that is asked for each record of its parent's pages.
#[derive(Debug)]
pub struct ChildEndpoint {
    pub endpoint: &'static Endpoint,
    /// Placeholders of the child's path, and where the parent's record has their values (texts,
    /// numbers or booleans). A record that lacks one of them has no such child.
    pub takes: &'static [(&'static str, ValueFrom)],
    /// How often it is asked for one record.
    pub each: ChildRepeat,
    /// Asked only if all of these hold. A condition on a value that the record lacks never holds.
    pub only: &'static [Condition],
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueFrom {
    /// A pointer into the parent's record.
    Record(&'static str),
    /// The same, cut before the first occurrence of this character: `a` of `a@main`.
    RecordUntil(&'static str, char),
    /// A pointer into the element of [`ChildRepeat::Elements`] or [`ChildRepeat::Members`]; `""` is
    /// the element itself, or the number of [`ChildRepeat::UpTo`].
    Element(&'static str),
    /// The same for each record.
    Fixed(&'static str),
    /// `sha256:` and the SHA-256 of the page's bytes, by which registries call manifests.
    BodyDigest,
}

/// How often a child is asked for one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildRepeat {
    Once,
    /// Once for each element of the array at this pointer: the containers of a pod.
    Elements(&'static str),
    /// Once for each member of the object at this pointer. The element is
    /// `{"name": …, "value": …}`, and the name has no slash at its end: Vault's mounts.
    Members(&'static str),
    /// Once for each number from 1 to the one at this pointer: the attempts of a workflow run.
    UpTo(&'static str),
}

/// When a child is asked. Data rather than a function, so that tests can make records that satisfy
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The value is there, and is neither null, false, nor an empty text.
    Present(ValueFrom),
    /// The value's text is one of these: `["OPENID_CONNECT", "SAML_2_0"]`, `["true"]`.
    OneOf(ValueFrom, &'static [&'static str]),
    /// The value is a text that starts with this.
    StartsWith(ValueFrom, &'static str),
    /// The value is a number that is at least this, or a list with at least so many elements.
    AtLeast(ValueFrom, u64),
    /// In a step that searches for a pivot of this kind: a text in the value contains the end of the
    /// pivot's value, after its last slash. Holds in all other steps.
    Mentions(ValueFrom, PivotKind),
}

/// One kind of evidence that a source offers: one step captures it from one target, and one item
/// holds it.
#[derive(Debug)]
pub struct RestOffer {
    /// The start of its items' names: `okta-users`. See [`domain::plan::Offer::item`].
    pub item: &'static str,
    /// What the evidence is, in words.
    pub what: &'static str,
    pub lifetime: EvidenceLifetime,
    /// The address of the page that publishes the lifetime.
    pub citation: &'static str,
    /// How late an event may appear; until then its item is called provisional. `None` for state.
    pub arrives_late_seconds: Option<u64>,
    pub settles: &'static [SettleRule],
    /// Records on a full page, and the bytes of an average answer as observed, for estimates.
    pub records_per_page: u64,
    pub page_bytes: Option<u64>,
    /// Where the walk begins. All roots are walked, at the same time; the failure of one costs only
    /// what is below it. The first one's name and quota stand for the offer; its pivots are those of
    /// all.
    pub roots: &'static [&'static Endpoint],
}

impl Endpoint {
    /// True if the provider filters by `kind` here or below.
    #[must_use]
    pub fn filters_by(&self, kind: PivotKind) -> bool {
        let mut children = self.children.iter();
        self.pivot_query(kind).is_some() || children.any(|child| child.endpoint.filters_by(kind))
    }

    /// See [`PivotQuery::chars_min`]; of all rows that filter by `kind`, here or below.
    pub(super) fn pivot_chars_min(&self, kind: PivotKind) -> usize {
        let own = self.pivots.iter().filter(|query| query.kind == kind);
        let own = own.map(|query| query.chars_min);
        let children = self.children.iter();
        let below = children.map(|child| child.endpoint.pivot_chars_min(kind));
        own.chain(below).max().unwrap_or(0)
    }

    /// What narrows its path to one pivot of `kind`; `None` if the provider does not filter by it
    /// here.
    pub(super) fn pivot_query(&self, kind: PivotKind) -> Option<&'static str> {
        let mut pivots = self.pivots.iter();
        pivots
            .find(|query| query.kind == kind)
            .map(|query| query.query)
    }

    /// Each permission that the request needs.
    pub fn grants(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.grant.split(" + ").filter(|grant| !grant.is_empty())
    }
}

impl DeclaredCount {
    pub(super) fn pointer(self) -> &'static str {
        let (Self::InAll(pointer) | Self::AfterThisPage(pointer)) = self;
        pointer
    }

    /// What the number `count` says.
    pub(super) fn records(self, count: u64) -> DeclaredRecords {
        match self {
            Self::InAll(_) => DeclaredRecords::InAll(count),
            Self::AfterThisPage(_) => DeclaredRecords::AfterThisPage(count),
        }
    }
}

impl Endpoint {
    /// The placeholders of its path and body.
    pub(super) fn placeholders(&self) -> impl Iterator<Item = &'static str> + use<> {
        placeholders(self.path).chain(placeholders(self.post.unwrap_or_default()))
    }

    /// The refusal that `body`, of an answer with `status`, explains.
    pub(super) fn known_refusal(&self, status: u16, body: &[u8]) -> Option<&'static KnownRefusal> {
        self.refusals.iter().find(|known| {
            known.status == status && memchr::memmem::find(body, known.code.as_bytes()).is_some()
        })
    }
}

impl KnownRefusal {
    pub(super) fn text(&self, endpoint: &Endpoint) -> String {
        let Self {
            status,
            code,
            means,
        } = self;
        format!("{} answered {status} {code}: {means}", endpoint.id)
    }
}

impl BodyShape {
    /// True if answers are recorded part by part, and never held in memory.
    #[must_use]
    pub fn is_streamed(self) -> bool {
        match self {
            Self::Lines | Self::Opaque => true,
            Self::Events { .. } | Self::Objects { .. } | Self::Object { .. } => false,
        }
    }
}
