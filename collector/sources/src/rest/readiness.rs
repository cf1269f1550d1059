//! Finds out, without side effects, what a source can capture now, and which permission is missing.

use std::time::Duration;

use domain::plan::{CaptureTarget, OfferReadiness, Readiness, ReadinessState};
use evidence_format::coverage::TimeWindow;
use futures::future::join_all;
use http::StatusCode;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::access::AccessRequest;
use super::children::children_of;
use super::endpoint::{BodyShape, Endpoint, KnownRefusal, RestOffer};
use super::page::{PageSummary, read_page, time_at};
use super::requests::{PageRequest, RequestError, Requester};
use super::source::{RestSource, WalkRoot, searched};
use super::template::Names;
use super::time_part::{TimePart, milliseconds};
use super::walk::first_parts;
use crate::recorder::{QuotaKey, Recorder, RequestPolicy};
use crate::{ReadinessProbe, not_configured};

/// Longest check of one target, and of one endpoint of it.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// No page was received of one endpoint.
#[derive(Debug)]
struct SampleError {
    text: String,
    /// The provider answered, and denied access.
    is_refusal: bool,
    endpoint: &'static Endpoint,
}

/// Checks all targets of `source`.
pub(super) async fn check(source: &dyn RestSource, cx: &ReadinessProbe) -> Readiness {
    if let Some(problem) = source.not_configured(&cx.config) {
        return not_configured(source.name(), problem);
    }
    let recorder = unrecorded(source, cx);
    let request = AccessRequest {
        config: &cx.config,
        recorder: &recorder,
        incident: cx.incident.as_ref(),
        pivot: None,
    };
    let targets = timeout(CHECK_TIMEOUT, source.targets(&request)).await;
    let targets = targets.unwrap_or_else(|_| vec![Err(no_response("the list of targets"))]);
    let (mut problems, mut checks) = (Vec::new(), Vec::new());
    let found = targets
        .into_iter()
        .map(|target| check_target(source, target, cx, &request));
    for found in join_all(found).await {
        problems.extend(found.problem);
        checks.extend(found.checks);
    }
    for check in &mut checks {
        let mut offers = source.offers().iter();
        let offer = offers.find(|offer| offer.item == check.offer);
        let left_out = offer.and_then(|offer| source.left_out(offer, &cx.config));
        check.problems.extend(left_out);
    }
    let secrets = recorder.secrets();
    let offers = checks.iter_mut();
    for problem in problems
        .iter_mut()
        .chain(offers.flat_map(|check| &mut check.problems))
    {
        *problem = secrets.masked_text(problem);
    }
    let name = source.name().parse().expect("names of sources are names");
    Readiness::of_offers(name, ReadinessState::Unavailable, checks, problems)
}

/// What was found out about one target.
#[derive(Default)]
struct TargetCheck {
    checks: Vec<OfferReadiness>,
    problem: Option<String>,
}

impl TargetCheck {
    /// A target that cannot be entered now. Its offers are planned all the same: the capture tries
    /// again, and what it fails with is sealed as a gap, not left out of the evidence.
    fn closed(checks: Vec<OfferReadiness>, problem: String) -> Self {
        let unavailable = checks.into_iter().map(|check| OfferReadiness {
            state: ReadinessState::Unavailable,
            ..check
        });
        Self {
            checks: unavailable.collect(),
            problem: Some(problem),
        }
    }
}

async fn check_target(
    source: &dyn RestSource,
    target: Result<CaptureTarget, String>,
    cx: &ReadinessProbe,
    request: &AccessRequest<'_>,
) -> TargetCheck {
    let mut target = match target {
        Ok(target) => target,
        Err(problem) => return TargetCheck::closed(Vec::new(), problem),
    };
    let name = target.name.clone().unwrap_or_default();
    let named = |problem: String| format!("{name}: {problem}");
    let access = match source.open(&target, request).await {
        Ok(access) => access,
        Err(problem) => {
            let offers = source.offers().iter();
            let checks = offers.map(|offer| ready(offer, &target)).collect();
            return TargetCheck::closed(checks, named(problem));
        }
    };
    let requester = Requester::new(source, &access, &cx.config, cx.incident.as_ref());
    let names: Names = access
        .names
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    let probe = TargetProbe {
        requester: &requester,
        recorder: request.recorder,
        names: &names,
        window: cx.estimate,
    };
    let mut problem = None;
    if let Some(me) = source.me() {
        match probe.ask(&WalkRoot::new(me)).await {
            Err(cause) => problem = Some(named(cause)),
            Ok(ProbeAnswer::Refused(StatusCode::UNAUTHORIZED, _)) => {
                problem = Some(named(format!("{} rejects the credentials", me.id)));
            }
            Ok(ProbeAnswer::Refused(..)) => {}
            Ok(ProbeAnswer::Page(body)) => {
                let body = serde_json::from_slice(&body).unwrap_or_default();
                target.identity = source.identity(&body).or(target.identity);
            }
        }
    }
    let mut checks = Vec::new();
    for offer in source.offers() {
        let roots = source.roots(offer, &target, &access, request).await;
        let roots = match roots.map(|roots| searched(roots, None)) {
            Ok(roots) if roots.is_empty() => continue,
            Ok(roots) => roots,
            Err(cause) => {
                problem.get_or_insert_with(|| named(cause));
                Vec::new()
            }
        };
        let mut check = ready(offer, &target);
        if cx.estimate.is_some() && problem.is_none() {
            let answers = join_all(roots.iter().map(|root| probe.sample(root))).await;
            fill(&mut check, answers);
        }
        checks.push(check);
    }
    match problem {
        None => TargetCheck {
            checks,
            problem: None,
        },
        Some(problem) => TargetCheck::closed(checks, problem),
    }
}

fn ready(offer: &RestOffer, target: &CaptureTarget) -> OfferReadiness {
    OfferReadiness {
        offer: offer.item,
        target: target.clone(),
        state: ReadinessState::Ready,
        requests: None,
        problems: Vec::new(),
        missing_grants: Vec::new(),
    }
}

/// What the samples of an offer's roots tell about it. It is ready if one of them answers.
fn fill(check: &mut OfferReadiness, answers: Vec<Result<Option<u64>, SampleError>>) {
    if answers.iter().all(Result::is_err) {
        let is_refusal = |error: &SampleError| error.is_refusal;
        let refused = answers
            .iter()
            .all(|answer| answer.as_ref().is_err_and(is_refusal));
        check.state = if refused {
            ReadinessState::Refused
        } else {
            ReadinessState::Unavailable
        };
    } else {
        // unknown if the requests of one root are
        check.requests = answers.iter().flatten().copied().sum();
    }
    for error in answers.into_iter().filter_map(Result::err) {
        check.problems.push(error.text);
        for grant in error.endpoint.grants().filter(|_| error.is_refusal) {
            if !check.missing_grants.iter().any(|known| known == grant) {
                check.missing_grants.push(grant.to_owned());
            }
        }
    }
}

struct TargetProbe<'p> {
    requester: &'p Requester<'p>,
    recorder: &'p Recorder,
    names: &'p Names,
    window: Option<TimeWindow>,
}

enum ProbeAnswer {
    Page(bytes::Bytes),
    Refused(StatusCode, Option<&'static KnownRefusal>),
}

impl TargetProbe<'_> {
    async fn ask(&self, root: &WalkRoot) -> Result<ProbeAnswer, String> {
        let endpoint = root.endpoint;
        let mut names = self.names.clone();
        names.insert("narrow".to_owned(), String::new());
        let own = root.names.iter();
        names.extend(own.map(|(name, value)| ((*name).to_owned(), value.clone())));
        if let (Some(query), Some(part)) = (&endpoint.window, self.part(endpoint)) {
            let (from, until) = part.spelled(query);
            names.insert("from".to_owned(), from);
            names.insert("until".to_owned(), until);
        }
        let request = PageRequest {
            endpoint,
            names: &names,
            path: endpoint.path,
            position: None,
        };
        let nothing = || std::future::ready(Ok(()));
        let sent = timeout(
            CHECK_TIMEOUT,
            self.requester.send(self.recorder, &request, nothing),
        );
        let (response, _) = sent
            .await
            .map_err(|_| no_response(endpoint.id))?
            .map_err(|error: RequestError| error.incomplete(endpoint.id).what)?;
        Ok(if response.status().is_success() {
            ProbeAnswer::Page(response.into_body())
        } else {
            let status = response.status();
            let known = endpoint.known_refusal(status.as_u16(), response.body());
            ProbeAnswer::Refused(status, known)
        })
    }

    /// Asks for the first page of `root`. Returns how many requests all of it takes, if that can be
    /// told.
    async fn sample(&self, root: &WalkRoot) -> Result<Option<u64>, SampleError> {
        let endpoint = root.endpoint;
        let failed = |text: String, is_refusal: bool| SampleError {
            text,
            is_refusal,
            endpoint,
        };
        match self.ask(root).await.map_err(|text| failed(text, false))? {
            ProbeAnswer::Page(body) => {
                let requests = estimate(endpoint, &body, self.part(endpoint));
                Ok(requests.map(|requests| requests.saturating_mul(self.parts(endpoint))))
            }
            ProbeAnswer::Refused(status, _)
                if endpoint.losses.contains(&(status.as_u16(), None)) =>
            {
                Ok(Some(1))
            }
            ProbeAnswer::Refused(_, Some(known)) => Err(failed(known.text(endpoint), false)),
            ProbeAnswer::Refused(status, None) => {
                let text = format!("{} answered {}", endpoint.id, status.as_u16());
                Err(failed(text, status == StatusCode::FORBIDDEN))
            }
        }
    }

    /// How often the window is as long as its first part.
    fn parts(&self, endpoint: &Endpoint) -> u64 {
        let parts = first_parts(endpoint, self.window);
        let length = |part: &TimePart| part.until.abs_diff(part.from);
        let whole: u64 = parts.iter().map(length).sum();
        whole.div_ceil(parts.last().map_or(1, length).max(1)).max(1)
    }

    fn part(&self, endpoint: &Endpoint) -> Option<TimePart> {
        first_parts(endpoint, self.window).last().copied()
    }
}

/// Requests for all pages and their children, if the first page is like the others; `None` if it
/// does not tell.
fn estimate(endpoint: &Endpoint, body: &[u8], part: Option<TimePart>) -> Option<u64> {
    let mut children: u64 = 0;
    let mut span: Option<(i64, i64)> = None;
    let summary: PageSummary = read_page(endpoint, body, &mut |record| {
        let _ = children_of(endpoint, record, &Names::new(), &mut |(child, _)| {
            let child = endpoint.children[usize::from(child)].endpoint;
            children += u64::from(!child.only_in_search);
        });
        if let BodyShape::Events { time, .. } = endpoint.body
            && let Some(time) = time_at(record, time).map(milliseconds)
        {
            let (low, high) = span.unwrap_or((time, time));
            span = Some((low.min(time), high.max(time)));
        }
    })
    .ok()?;
    let pages = match (summary.total(), span, part) {
        (Some(total), _, _) => total.max(1).div_ceil(summary.records.max(1)),
        (None, Some((low, high)), Some(part)) => {
            let window = part.until.abs_diff(part.from).max(1);
            window.div_ceil(high.abs_diff(low).max(1))
        }
        (None, _, _) if summary.next.is_none() => 1,
        (None, _, _) => return None,
    };
    Some(pages.saturating_mul(1 + children))
}

fn unrecorded(source: &dyn RestSource, cx: &ReadinessProbe) -> Recorder {
    let quota = QuotaKey {
        provider: source.provider(),
        account: String::new(),
        region: String::new(),
        endpoint: "readiness",
    };
    let policy = RequestPolicy::new(quota, super::UNPUBLISHED.rate);
    let stop = CancellationToken::new();
    Recorder::new(cx.transport.clone(), policy, [0; 8], stop).without_recording()
}

fn no_response(what: &str) -> String {
    format!("{what}: no response within {} s", CHECK_TIMEOUT.as_secs())
}
