//! From a request to an answer: which operation, by whom, what strikes it, what the quota says, and
//! what is written down of it.

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
use super::protocols::{content_type, operation_of, refuse, service_of, signature_scope, sts};
use super::rate_limit::TokenBucket;
use super::synthetic::uuid;
use super::truth::{
    AssumedSession, GroundTruth, InjectedFault, PageCounts, RequestRecord, ServedLedger,
};

/// Regions on a page of ListRegions at most, so that some ten regions have two pages. The service's
/// own limit is 50.
const REGIONS_PAGE_MAX: usize = 10;

/// An answer, and how it is sent.
pub(super) struct HttpReply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) delivery: Delivery,
    /// The page that was counted as served.
    counted: Option<(AccountRegion, PageCounts)>,
}

/// How an answer is sent.
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
            _ => Self::Whole,
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

/// The server without its connections.
pub(super) struct Service {
    pub(super) config: Config,
    tokens: PageTokens,
    places: HashMap<AccountRegion, usize>,
    accounts: HashSet<String>,
    present: i64,
    answers: AtomicU64,
    state: Mutex<ServiceState>,
}

/// A request whose key is known.
struct IdentifiedRequest {
    grant: IssuedKey,
    place: AccountRegion,
    number: u64,
    fault: Option<Fault>,
    refusal: Option<ServiceError>,
}

/// What an operation answers: a body, and for a lookup the page that it is.
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
            answers: AtomicU64::new(0),
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

    /// Takes a page out of the truth: its client has gone.
    pub(super) fn undo(&self, reply: &HttpReply) {
        if let Some((place, added)) = &reply.counted
            && let Some(ledger) = self.state().ledgers.get_mut(place)
        {
            ledger.take_out(added);
        }
    }

    /// Answers a request, and writes down what it was and what it got.
    pub(super) fn answer(&self, request: HttpRequest) -> HttpReply {
        let (at, now) = (SystemTime::now(), Instant::now());
        if let Some(body) = self.about_itself(&request) {
            return HttpReply {
                status: 200,
                headers: vec![("content-type", "application/json".to_owned())],
                ..HttpReply::of(body)
            };
        }
        let operation = operation_of(&request);
        let mut seen = seen(&request, operation, at, self.request_id());
        let Some(operation) = operation else {
            let refusal = (
                "UnknownOperationException",
                "The operation is not one of this server's.".to_owned(),
            );
            return self.finish(refuse(Operation::LookupEvents, &refusal), seen);
        };
        let caller = match self.admit(operation, &request, &mut seen, now) {
            Ok(caller) => caller,
            Err(refusal) => return self.finish(refuse(operation, &refusal), seen),
        };
        let chance = mix(&[
            self.config.seed,
            mix_text(0, &caller.place.region),
            caller.number,
            30,
        ]);
        let mut fault = caller.fault;
        let mut reply = if let Some(refusal) = fault.and_then(|fault| scripted(fault, &caller)) {
            refuse(operation, &refusal)
        } else {
            let answer = caller.refusal.clone().map_or_else(
                || self.perform(operation, &caller, &request, &mut fault),
                Err,
            );
            let delivery = fault.map_or(Delivery::Whole, |fault| Delivery::of(fault, chance));
            self.settle(operation, &caller, answer, (fault, delivery))
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

    /// An id for the next answer, never given before.
    fn request_id(&self) -> String {
        let count = self.answers.fetch_add(1, Ordering::Relaxed);
        uuid(
            mix(&[self.tokens.secret, count]),
            mix(&[self.tokens.secret, count, 1]),
        )
    }

    /// Who asks, where, the how-manieth time, and what stands against it.
    fn admit(
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
            .take(key, request.header("x-amz-security-token"), now);
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
        let refusal = if expired {
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
            refusal,
        })
    }

    /// Counts a lookup; false if it is over the quota.
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
                    sts(
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
            *fault = None; // a query's first page has no token to repeat
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
        let mut answer = json!({ "Regions": regions });
        if from + page.len() < wanted.len() {
            answer["NextToken"] = format!("regions-from-{}", from + page.len()).into();
        }
        Ok((answer.to_string().into_bytes(), None))
    }

    fn assume_role(&self, caller: &IdentifiedRequest, request: &HttpRequest) -> OperationResult {
        let form: HashMap<_, _> = url::form_urlencoded::parse(&request.body)
            .into_owned()
            .collect();
        let given = |name: &str| form.get(name).cloned().unwrap_or_default();
        let (role_arn, name) = (given("RoleArn"), given("RoleSessionName"));
        let valid = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if !(2..=64).contains(&name.len()) || !name.chars().all(valid) {
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
        Ok((sts(Operation::AssumeRole, &text), None))
    }

    /// Makes an operation's answer a reply, and counts it.
    fn settle(
        &self,
        operation: Operation,
        caller: &IdentifiedRequest,
        answer: OperationResult,
        strike: (Option<Fault>, Delivery),
    ) -> HttpReply {
        let (fault, delivery) = strike;
        let (body, page) = match answer {
            Ok((body, None)) => (body, None),
            Ok((_, Some(mut page))) => {
                let whole = delivery.is_whole() && fault != Some(Fault::Malformed);
                let added = whole.then(|| self.ledger(&caller.place, |ledger| ledger.add(&page)));
                (std::mem::take(&mut page.body), added)
            }
            Err(refusal) => {
                if operation == Operation::LookupEvents {
                    self.ledger(&caller.place, |ledger| match refusal.0 {
                        "ThrottlingException" => ledger.served.throttled += 1,
                        code => *ledger.served.refused.entry(code).or_default() += 1,
                    });
                }
                return HttpReply {
                    delivery,
                    ..refuse(operation, &refusal)
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
            let body = body.replace(r#""ReadOnly":"true""#, r#""ReadOnly":111111"#); // as long as it was
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

    /// Adds what every answer has, and writes the request down.
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

    /// What the server's clock says, with its skew.
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

    /// `GET /_truth`, and `GET /_credentials/ACCOUNT` as `credential_process` and the container's
    /// endpoint give them.
    fn about_itself(&self, request: &HttpRequest) -> Option<Vec<u8>> {
        if request.method != "GET" {
            return None;
        }
        if request.target == "/_truth" {
            return Some(serde_json::to_vec_pretty(&self.truth()).expect("a truth is JSON"));
        }
        let account = request
            .target
            .strip_prefix("/_credentials/")
            .filter(|account| self.accounts.contains(*account))?;
        let key = self.session_key(account, "replay", "credentials");
        let answer = json!({
            "Version": 1,
            "AccessKeyId": key.access_key_id,
            "SecretAccessKey": key.secret_access_key,
            "SessionToken": key.session_token,
            "Token": key.session_token,
            "Expiration": expiration(&key, None),
        });
        Some(answer.to_string().into_bytes())
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

/// What is written down of a request before anything is known of it.
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

/// The refusal that a script asks for.
fn scripted(fault: Fault, caller: &IdentifiedRequest) -> Option<ServiceError> {
    let refusal = match fault {
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
        _ => return None,
    };
    Some(refusal)
}

/// When a session's key expires, RFC 3339.
fn expiration(key: &Credentials, seconds: Option<u64>) -> String {
    let seconds = seconds.or(key.lifetime_seconds).unwrap_or_default();
    let at = (unix_ms() / 1000 + seconds) as i64;
    Timestamp::from_second(at)
        .expect("a time of this century")
        .to_string()
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
