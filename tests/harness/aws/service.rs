//! From a request to a reply: identifies the operation and the caller, applies faults and quotas,
//! and records the request.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Config;
use super::events::{AccountRegion, mix, mix_text};
use super::faults::{Fault, Operation, RetryAfter, fault_for};
use super::http::HttpRequest;
use super::identity::{Credentials, IssuedKey, IssuedKeys, role_id};
use super::lookup::{
    LookupContext, LookupPage, LookupQuery, PageFault, PageTokens, ServiceError, page,
};
use super::protocols::{
    content_type, error_reply, operation_of, service_of, signature_scope, sts_response,
};
use super::rate_limit::TokenBucket;
use super::synthetic::uuid;
use super::truth::{
    AssumedSession, GroundTruth, InjectedFault, PageCounts, RequestRecord, ServedLedger,
};

/// The most regions on a page of ListRegions. The service's limit is 50; with 10, a test needs
/// fewer regions for a second page.
const REGIONS_PAGE_MAX: usize = 10;

/// A reply, and how it is delivered.
pub(super) struct HttpReply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) delivery: Delivery,
    /// What the page has added to the counts.
    counted: Option<(AccountRegion, PageCounts)>,
}

#[derive(Clone, Copy)]
pub(super) enum Delivery {
    Whole,
    After(Duration),
    Close,
    Reset,
    Truncate(u64),
    Hang,
    Trickle(u64, Duration),
    Blanks(u64),
}

impl Delivery {
    fn of(fault: Fault, chance: u64) -> Self {
        match fault {
            Fault::Close => Self::Close,
            Fault::Reset => Self::Reset,
            Fault::Truncate(bytes) => Self::Truncate(bytes),
            Fault::Hang => Self::Hang,
            Fault::Trickle(bytes, pause) => Self::Trickle(bytes, pause),
            Fault::Slow(from, to) => {
                let range_ms = to.saturating_sub(from).as_millis() as u64;
                Self::After(from + Duration::from_millis(chance % (range_ms + 1)))
            }
            Fault::Blanks(bytes) => Self::Blanks(bytes),
            // Errors, and faults of the page itself.
            Fault::Throttle
            | Fault::Status(..)
            | Fault::ExpiredToken
            | Fault::AccessDenied
            | Fault::RegionDisabled
            | Fault::InvalidToken
            | Fault::Malformed
            | Fault::Retyped
            | Fault::EndlessToken
            | Fault::Short(_) => Self::Whole,
        }
    }

    fn is_whole(self) -> bool {
        matches!(self, Self::Whole | Self::After(_) | Self::Trickle(..))
    }
}

#[derive(Default)]
struct ServiceState {
    keys: IssuedKeys,
    requests: BTreeMap<&'static str, u64>,
    numbers: HashMap<(Operation, AccountRegion), u64>,
    buckets: HashMap<AccountRegion, TokenBucket>,
    ledgers: BTreeMap<AccountRegion, ServedLedger>,
    sessions: Vec<AssumedSession>,
    seen: Vec<RequestRecord>,
}

/// The server, without its connections.
pub(super) struct Service {
    pub(super) config: Config,
    tokens: PageTokens,
    places: HashMap<AccountRegion, usize>,
    accounts: HashSet<String>,
    present: i64,
    replies: AtomicU64,
    state: Mutex<ServiceState>,
}

/// A request with a known key.
struct IdentifiedRequest {
    grant: IssuedKey,
    place: AccountRegion,
    number: u64,
    fault: Option<Fault>,
    error: Option<ServiceError>,
}

/// The body of an operation's reply, or the page of a lookup.
type OperationResult = Result<(Vec<u8>, Option<LookupPage>), ServiceError>;

impl Service {
    pub(super) fn new(config: Config) -> Self {
        let events = &config.events;
        let places: HashMap<AccountRegion, usize> =
            events.places().iter().cloned().zip(0..).collect();
        let newest = places
            .values()
            .filter(|place| events.count(**place) > 0)
            .map(|place| events.time(*place, 0))
            .max();
        let present = config.present.or(newest).unwrap_or_default();
        let accounts = places.keys().map(|place| place.account.clone()).collect();
        let secret = mix(&[config.seed, u64::from(std::process::id()), unix_ms()]);
        let tokens = PageTokens {
            secret,
            lifetime_ms: config.token_lifetime.as_millis() as u64,
        };
        Self {
            config,
            tokens,
            places,
            accounts,
            present,
            replies: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, ServiceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn truth(&self) -> GroundTruth {
        let state = self.state();
        GroundTruth {
            requests: state.requests.clone(),
            places: state
                .ledgers
                .values()
                .map(|ledger| ledger.served.clone())
                .collect(),
            sessions: state.sessions.clone(),
        }
    }

    pub(super) fn seen(&self) -> Vec<RequestRecord> {
        self.state().seen.clone()
    }

    pub(super) fn account_key(&self, account: &str) -> Credentials {
        self.state().keys.of_account(account, Instant::now())
    }

    pub(super) fn session_key(&self, account: &str, role: &str, name: &str) -> Credentials {
        self.state()
            .keys
            .of_session(account, role, name, (self.config.sessions, Instant::now()))
    }

    /// Removes a page from the counts, because its client has closed the connection.
    pub(super) fn uncount(&self, reply: &HttpReply) {
        if let Some((place, added)) = &reply.counted
            && let Some(ledger) = self.state().ledgers.get_mut(place)
        {
            ledger.take_out(added);
        }
    }

    /// Replies to a request, and records it.
    pub(super) fn handle(&self, request: HttpRequest) -> HttpReply {
        let (at, now) = (SystemTime::now(), Instant::now());
        if let Some(body) = self.control_endpoint(&request) {
            return HttpReply {
                status: 200,
                headers: vec![("content-type", "application/json".to_owned())],
                ..HttpReply::of(body)
            };
        }
        let operation = operation_of(&request);
        let mut seen = seen(&request, operation, at, self.request_id());
        let Some(operation) = operation else {
            let error = (
                "UnknownOperationException",
                "This server does not have the operation.".to_owned(),
            );
            return self.finish(error_reply(Operation::LookupEvents, &error), seen);
        };
        let caller = match self.identify(operation, &request, &mut seen, now) {
            Ok(caller) => caller,
            Err(error) => return self.finish(error_reply(operation, &error), seen),
        };
        let chance = mix(&[
            self.config.seed,
            mix_text(0, &caller.place.region),
            caller.number,
            30,
        ]);
        let mut fault = caller.fault;
        let mut reply = if let Some(error) = fault.and_then(|fault| scripted(fault, &caller)) {
            error_reply(operation, &error)
        } else {
            let result = caller.error.clone().map_or_else(
                || self.perform(operation, &caller, &request, &mut fault),
                Err,
            );
            let delivery = fault.map_or(Delivery::Whole, |fault| Delivery::of(fault, chance));
            self.reply(operation, &caller, result, (fault, delivery))
        };
        if let Some(Fault::Status(status, retry_after)) = fault {
            reply.status = status;
            reply.headers.extend(
                retry_after.map(|retry_after| ("retry-after", self.retry_after(retry_after))),
            );
        }
        if let Some(fault) = fault
            && operation == Operation::LookupEvents
        {
            let struck = InjectedFault {
                request: caller.number,
                kind: fault.name(),
            };
            self.ledger(&caller.place, |ledger| ledger.served.faults.push(struck));
        }
        seen.fault = fault;
        self.finish(reply, seen)
    }

    /// A unique id for the next reply.
    fn request_id(&self) -> String {
        let count = self.replies.fetch_add(1, Ordering::Relaxed);
        uuid(
            mix(&[self.tokens.secret, count]),
            mix(&[self.tokens.secret, count, 1]),
        )
    }

    /// Identifies the caller and place of a request, counts it, and finds the fault or error that
    /// it gets.
    fn identify(
        &self,
        operation: Operation,
        request: &HttpRequest,
        seen: &mut RequestRecord,
        now: Instant,
    ) -> Result<IdentifiedRequest, ServiceError> {
        let mut state = self.state();
        *state.requests.entry(operation.name()).or_default() += 1;
        let Some((key, region, service)) =
            request.header("authorization").and_then(signature_scope)
        else {
            return Err((
                "MissingAuthenticationTokenException",
                "Missing Authentication Token".to_owned(),
            ));
        };
        seen.access_key_id = Some(key.to_owned());
        let taken = state
            .keys
            .use_key(key, request.header("x-amz-security-token"), now);
        let (grant, expired) = taken.ok_or_else(unrecognized)?;
        let place = AccountRegion::new(&grant.account, region);
        let number = state.numbers.entry((operation, place.clone())).or_default();
        *number += 1;
        let number = *number;
        (seen.place, seen.number) = (Some(place.clone()), number);
        let fault = fault_for(
            &self.config.rules,
            self.config.seed,
            operation,
            &place,
            number,
        );
        let in_quota = operation != Operation::LookupEvents || self.count(&mut state, &place, now);
        let error = if expired {
            Some((
                "ExpiredTokenException",
                "The security token included in the request is expired".to_owned(),
            ))
        } else if service != service_of(operation) {
            let message = format!(
                "Credential should be scoped to correct service: '{}'.",
                service_of(operation)
            );
            Some(("InvalidSignatureException", message))
        } else if !self
            .config
            .regions
            .iter()
            .any(|r| r.name == region && r.is_enabled())
        {
            Some(unrecognized())
        } else {
            (!in_quota).then(|| ("ThrottlingException", "Rate exceeded".to_owned()))
        };
        Ok(IdentifiedRequest {
            grant,
            place,
            number,
            fault,
            error,
        })
    }

    /// Counts a lookup; false if it exceeds the quota.
    fn count(&self, state: &mut ServiceState, place: &AccountRegion, now: Instant) -> bool {
        state
            .ledgers
            .entry(place.clone())
            .or_insert_with(|| ServedLedger::new(place.clone()))
            .served
            .requests += 1;
        let Some(limit) = self.config.limit else {
            return true;
        };
        state
            .buckets
            .entry(place.clone())
            .or_insert_with(|| TokenBucket::new(limit, now))
            .take(limit, now)
    }

    fn perform(
        &self,
        operation: Operation,
        caller: &IdentifiedRequest,
        request: &HttpRequest,
        fault: &mut Option<Fault>,
    ) -> OperationResult {
        match operation {
            Operation::LookupEvents => self.lookup(caller, request, fault),
            Operation::ListRegions => self.list_regions(request),
            Operation::GetCallerIdentity => {
                let IssuedKey { account, .. } = &caller.grant;
                let (arn, id) = (caller.grant.arn(), caller.grant.user_id());
                Ok((
                    sts_response(
                        operation,
                        &format!(
                            "<Arn>{arn}</Arn><UserId>{id}</UserId><Account>{account}</Account>"
                        ),
                    ),
                    None,
                ))
            }
            Operation::AssumeRole => self.assume_role(caller, request),
        }
    }

    fn lookup(
        &self,
        caller: &IdentifiedRequest,
        request: &HttpRequest,
        fault: &mut Option<Fault>,
    ) -> OperationResult {
        let query = LookupQuery::parse(&request.body)?;
        if *fault == Some(Fault::EndlessToken) && query.token().is_none() {
            *fault = None; // the first page of a query has no token to repeat
        }
        let twist = PageFault {
            short: if let Some(Fault::Short(events)) = fault {
                Some(*events)
            } else {
                None
            },
            same_token: *fault == Some(Fault::EndlessToken),
        };
        let shelf = LookupContext {
            events: &*self.config.events,
            place: self.places.get(&caller.place).copied(),
            place_hash: mix_text(mix_text(0, &caller.place.account), &caller.place.region),
            present: self.present,
            now_ms: unix_ms(),
        };
        let page = page(&shelf, &self.tokens, &query, twist)?;
        Ok((Vec::new(), Some(page)))
    }

    fn list_regions(&self, request: &HttpRequest) -> OperationResult {
        let input: Value = serde_json::from_slice(&request.body)
            .map_err(|e| ("ValidationException", format!("not a request: {e}")))?;
        let from = match input["NextToken"].as_str() {
            None => 0,
            Some(token) => token
                .strip_prefix("regions-from-")
                .and_then(|n| n.parse().ok())
                .ok_or(("ValidationException", "NextToken is not valid.".to_owned()))?,
        };
        let statuses = input["RegionOptStatusContains"].as_array();
        let wanted: Vec<_> = self
            .config
            .regions
            .iter()
            .filter(|r| statuses.is_none_or(|s| s.iter().any(|s| *s == r.status)))
            .collect();
        let size = input["MaxResults"]
            .as_u64()
            .map_or(REGIONS_PAGE_MAX, |n| REGIONS_PAGE_MAX.min(n as usize))
            .max(1);
        let page: Vec<_> = wanted.iter().skip(from).take(size).collect();
        let regions: Vec<_> = page
            .iter()
            .map(|r| json!({ "RegionName": r.name, "RegionOptStatus": r.status }))
            .collect();
        let mut page_json = json!({ "Regions": regions });
        if from + page.len() < wanted.len() {
            page_json["NextToken"] = format!("regions-from-{}", from + page.len()).into();
        }
        Ok((page_json.to_string().into_bytes(), None))
    }

    fn assume_role(&self, caller: &IdentifiedRequest, request: &HttpRequest) -> OperationResult {
        let form: HashMap<_, _> = url::form_urlencoded::parse(&request.body)
            .into_owned()
            .collect();
        let given = |name: &str| form.get(name).cloned().unwrap_or_default();
        let (role_arn, name) = (given("RoleArn"), given("RoleSessionName"));
        let is_valid = (2..=64).contains(&name.len())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c));
        if !is_valid {
            return Err((
                "ValidationError",
                "roleSessionName must have 2 to 64 of [\\w+=,.@-]".to_owned(),
            ));
        }
        let role = role_arn
            .strip_prefix("arn:aws:iam::")
            .and_then(|rest| rest.split_once(":role/"));
        let Some((account, role)) = role.filter(|(account, _)| self.accounts.contains(*account))
        else {
            let message = format!(
                "User: {} is not authorized to perform: sts:AssumeRole on resource: {role_arn}",
                caller.grant.arn()
            );
            return Err(("AccessDeniedException", message));
        };
        let role = role.rsplit('/').next().unwrap_or(role);
        let key = self.session_key(account, role, &name);
        self.state().sessions.push(AssumedSession {
            role_arn: role_arn.clone(),
            name: name.clone(),
            caller_arn: caller.grant.arn(),
            external_id: form.get("ExternalId").cloned(),
            access_key_id: key.access_key_id.clone(),
        });
        let asked_seconds = form.get("DurationSeconds").and_then(|s| s.parse().ok());
        let mut text = String::new();
        let _ = write!(
            text,
            "<AssumedRoleUser><AssumedRoleId>{}:{name}</AssumedRoleId><Arn>arn:aws:sts::{account}:assumed-role/{role}/{name}</Arn>\
             </AssumedRoleUser><Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>\
             <SessionToken>{}</SessionToken><Expiration>{}</Expiration></Credentials>",
            role_id(role),
            key.access_key_id,
            key.secret_access_key,
            key.session_token.as_deref().unwrap_or_default(),
            expiration(
                &key,
                asked_seconds.filter(|_| self.config.sessions.after.is_none())
            ),
        );
        Ok((sts_response(Operation::AssumeRole, &text), None))
    }

    /// Makes a reply of an operation's result, and counts its page.
    fn reply(
        &self,
        operation: Operation,
        caller: &IdentifiedRequest,
        result: OperationResult,
        (fault, delivery): (Option<Fault>, Delivery),
    ) -> HttpReply {
        let (body, page) = match result {
            Ok((body, None)) => (body, None),
            Ok((_, Some(mut page))) => {
                let whole = delivery.is_whole() && fault != Some(Fault::Malformed);
                let added = whole.then(|| self.ledger(&caller.place, |ledger| ledger.add(&page)));
                (std::mem::take(&mut page.body), added)
            }
            Err(error) => {
                if operation == Operation::LookupEvents {
                    self.ledger(&caller.place, |ledger| match error.0 {
                        "ThrottlingException" => ledger.served.throttled += 1,
                        code => *ledger.served.refused.entry(code).or_default() += 1,
                    });
                }
                return HttpReply {
                    delivery,
                    ..error_reply(operation, &error)
                };
            }
        };
        let mut reply = HttpReply {
            delivery,
            counted: page.map(|added| (caller.place.clone(), added)),
            ..HttpReply::of(body)
        };
        if fault == Some(Fault::Malformed) {
            reply.body.truncate(reply.body.len() / 2);
            reply.body.extend_from_slice(b"]]\x00<html>");
        }
        if fault == Some(Fault::Retyped) {
            let body = String::from_utf8(reply.body).expect("JSON");
            let body = body.replace(r#""ReadOnly":"true""#, r#""ReadOnly":111111"#); // keeps the body's length
            reply.body = body
                .replace(r#""ReadOnly":"false""#, r#""ReadOnly":0.00000"#)
                .into_bytes();
        }
        reply
            .headers
            .push(("content-type", content_type(operation).to_owned()));
        reply
    }

    fn ledger<T>(&self, place: &AccountRegion, act: impl FnOnce(&mut ServedLedger) -> T) -> T {
        act(self
            .state()
            .ledgers
            .entry(place.clone())
            .or_insert_with(|| ServedLedger::new(place.clone())))
    }

    /// Adds the headers of every reply, and records the request.
    fn finish(&self, mut reply: HttpReply, mut seen: RequestRecord) -> HttpReply {
        reply
            .headers
            .push(("x-amzn-requestid", seen.request_id.clone()));
        reply
            .headers
            .push(("date", httpdate::fmt_http_date(self.clock())));
        seen.status = reply.status;
        let mut state = self.state();
        if state.seen.len() < self.config.requests_kept_max {
            state.seen.push(seen);
        }
        reply
    }

    /// The time by the server's clock.
    fn clock(&self) -> SystemTime {
        let skew = Duration::from_secs(self.config.clock_skew_seconds.unsigned_abs());
        if self.config.clock_skew_seconds < 0 {
            SystemTime::now() - skew
        } else {
            SystemTime::now() + skew
        }
    }

    fn retry_after(&self, retry_after: RetryAfter) -> String {
        match retry_after {
            RetryAfter::Seconds(seconds) => seconds.to_string(),
            RetryAfter::Date(seconds) => {
                httpdate::fmt_http_date(self.clock() + Duration::from_secs(seconds))
            }
        }
    }

    /// Answers `GET /_truth`, and `GET /_credentials/ACCOUNT` in the format of `credential_process`
    /// and of the container endpoint.
    fn control_endpoint(&self, request: &HttpRequest) -> Option<Vec<u8>> {
        if request.method != "GET" {
            return None;
        }
        if request.target == "/_truth" {
            return Some(
                serde_json::to_vec_pretty(&self.truth()).expect("counts serialise to JSON"),
            );
        }
        let account = request
            .target
            .strip_prefix("/_credentials/")
            .filter(|account| self.accounts.contains(*account))?;
        let key = self.session_key(account, "replay", "credentials");
        let credentials = json!({
            "Version": 1,
            "AccessKeyId": key.access_key_id,
            "SecretAccessKey": key.secret_access_key,
            "SessionToken": key.session_token,
            "Token": key.session_token,
            "Expiration": expiration(&key, None),
        });
        Some(credentials.to_string().into_bytes())
    }
}

impl HttpReply {
    pub(super) fn of(body: Vec<u8>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body,
            delivery: Delivery::Whole,
            counted: None,
        }
    }
}

/// The record of a request before it is processed.
fn seen(
    request: &HttpRequest,
    operation: Option<Operation>,
    at: SystemTime,
    request_id: String,
) -> RequestRecord {
    RequestRecord {
        at,
        operation,
        place: None,
        number: 0,
        access_key_id: None,
        method: request.method.clone(),
        target: request.target.clone(),
        headers: request.headers.clone(),
        body: request.body.clone(),
        status: 0,
        request_id,
        fault: None,
    }
}

fn unrecognized() -> ServiceError {
    (
        "UnrecognizedClientException",
        "The security token included in the request is invalid.".to_owned(),
    )
}

/// The error of a scripted fault, if it has one.
fn scripted(fault: Fault, caller: &IdentifiedRequest) -> Option<ServiceError> {
    let error = match fault {
        Fault::Throttle => ("ThrottlingException", "Rate exceeded".to_owned()),
        Fault::ExpiredToken => (
            "ExpiredTokenException",
            "The security token included in the request is expired".to_owned(),
        ),
        Fault::AccessDenied => {
            let action = "cloudtrail:LookupEvents";
            let message = format!(
                "User: {} is not authorized to perform: {action} because no identity-based policy allows the {action} action",
                caller.grant.arn()
            );
            ("AccessDeniedException", message)
        }
        Fault::RegionDisabled => unrecognized(),
        Fault::InvalidToken => ("InvalidNextTokenException", "Invalid token.".to_owned()),
        Fault::Status(..) => (
            "InternalFailure",
            "The request processing has failed because of an unknown error.".to_owned(),
        ),
        Fault::Close
        | Fault::Reset
        | Fault::Truncate(_)
        | Fault::Hang
        | Fault::Trickle(..)
        | Fault::Slow(..)
        | Fault::Malformed
        | Fault::Retyped
        | Fault::EndlessToken
        | Fault::Short(_)
        | Fault::Blanks(_) => return None,
    };
    Some(error)
}

/// The expiration of a session's key, RFC 3339.
fn expiration(key: &Credentials, seconds: Option<u64>) -> String {
    let seconds = seconds.or(key.lifetime_seconds).unwrap_or_default();
    let at = (unix_ms() / 1000 + seconds) as i64;
    Timestamp::from_second(at)
        .expect("a time in range")
        .to_string()
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
