//! What all sources of AWS share: credentials and signatures, partitions, who answers, and how AWS
//! refuses.

mod access;
mod endpoint;
mod partition;
mod process_credentials;
mod signer;

use std::sync::LazyLock;

use aws_config::{Region, SdkConfig};
use aws_sdk_account::error::{ProvideErrorMetadata, SdkError};
use evidence_format::coverage::{EndReason, GapReason};
use http::{HeaderMap, StatusCode};

pub(crate) use access::{AccountAccess, configured_region, profile_names};
pub(crate) use endpoint::configured_endpoint;
pub(crate) use partition::{KNOWN_REGIONS, PUBLIC_PARTITIONS, Partition, RegionName};
pub(crate) use signer::AwsSigner;

use endpoint::EndpointProbe;

use crate::context::CaptureContext;
use crate::recorder::{CallError, QuotaKey, Recorder, RequestPolicy, RequestRate, RetryDecision};
use crate::{Incomplete, ReadinessProbe};

/// As gaps and problems name it, and as IAM calls the permission.
pub(crate) const GET_CALLER_IDENTITY: &str = "sts:GetCallerIdentity";

/// For the few requests to other services: STS, Account Management.
pub(crate) static AUXILIARY_POLICY: LazyLock<RequestPolicy> = LazyLock::new(|| {
    let quota = QuotaKey {
        provider: "aws",
        account: String::new(),
        region: String::new(),
        endpoint: "sts",
    };
    RequestPolicy {
        endpoint: GET_CALLER_IDENTITY,
        classify,
        ..RequestPolicy::new(quota, RequestRate::new(20.0, 20))
    }
});

/// Recognises throttling. AWS answers it with status 400 or 503 and an error code in a header or the
/// body (list of codes: "standard" retry mode of the AWS SDKs).
pub(crate) fn classify(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Option<RetryDecision> {
    const THROTTLING_CODES: &[&str] = &[
        "Throttl", // Throttling, ThrottlingException, ThrottledException
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "RequestThrottled",
        "SlowDown",
    ];
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let in_header = headers.get("x-amzn-errortype");
    let in_header = in_header.and_then(|code| code.to_str().ok());
    let beginning = String::from_utf8_lossy(&body[..body.len().min(4096)]); // an error's is short
    let code = in_header.or_else(|| error_code(&beginning))?;
    THROTTLING_CODES
        .iter()
        .any(|known| code.contains(known))
        .then_some(RetryDecision::Throttled)
}

/// The error code in a body of JSON or XML. Not its message: that may name a role `ThrottlingTest`.
pub(crate) fn error_code(body: &str) -> Option<&str> {
    let members = [
        ("\"__type\"", '"'),
        ("\"code\"", '"'),
        ("\"Code\"", '"'),
        ("<Code>", '<'),
    ];
    for (name, end) in members {
        if let Some((_, after)) = body.split_once(name) {
            let value = after.trim_start_matches([':', ' ', '\n', '\r', '\t', '"']);
            return value.split(end).next();
        }
    }
    None
}

/// Whose credentials they are.
pub(crate) struct CallerIdentity {
    pub(crate) account: String,
    pub(crate) arn: String,
    endpoint: EndpointProbe,
}

pub(crate) struct CallerError {
    pub(crate) text: String,
    /// The partition does not know the credentials.
    pub(crate) is_unknown: bool,
}

pub(crate) async fn caller_identity(
    config: &SdkConfig,
    cx: &ReadinessProbe,
) -> Result<CallerIdentity, CallerError> {
    let endpoint = EndpointProbe::default();
    let ask = || {
        let client = aws_sdk_sts::Client::new(config);
        let request = client.get_caller_identity().customize();
        request.interceptor(endpoint.clone()).send()
    };
    match cx.transport.aws_clock.ask(ask).await {
        Ok(caller) => Ok(CallerIdentity {
            account: caller.account().unwrap_or("unknown").to_owned(),
            arn: caller.arn().unwrap_or("unknown").to_owned(),
            endpoint,
        }),
        Err(error) => Err(CallerError {
            is_unknown: matches!(
                error.code(),
                Some("InvalidClientTokenId" | "UnrecognizedClientException")
            ),
            text: describe_error(GET_CALLER_IDENTITY, &error),
        }),
    }
}

impl CallerIdentity {
    /// The host that answers instead of AWS, here or for one of `services`.
    pub(crate) fn not_of_aws(
        &self,
        config: &SdkConfig,
        services: &[&'static str],
    ) -> Option<String> {
        endpoint::not_of_aws(&self.endpoint, config, services)
    }
}

/// Asks STS who we are, so that the item proves under which identity it was captured. `region` may be
/// empty.
pub(crate) async fn record_identity(
    access: &AccountAccess,
    session_policy: &'static str,
    region: &str,
    cx: &CaptureContext,
    recorder: &Recorder,
) -> Result<(), Incomplete> {
    let config = access
        .sdk_config(recorder.transport(), Some(&cx.incident), session_policy)
        .await;
    let mut builder = aws_sdk_sts::config::Builder::from(&config)
        .http_client(recorder.with_policy(AUXILIARY_POLICY.clone()));
    let own = config.region().map(AsRef::as_ref).unwrap_or_default();
    if !region.is_empty() && !partition::is_same(own, region) {
        // The credentials are unknown in another partition.
        builder = builder.region(Region::new(region.to_owned()));
    }
    let config = builder.build();
    let ask = || {
        let client = aws_sdk_sts::Client::from_conf(config.clone());
        async move { client.get_caller_identity().send().await }
    };
    let answer = recorder.transport().aws_clock.ask(ask).await;
    answer
        .map(drop)
        .map_err(|error| incomplete(GET_CALLER_IDENTITY, &error, error.code()))
}

/// An SDK error in words, for the person who must grant a permission.
pub(crate) fn describe_error<E>(operation: &str, error: &E) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{operation} answered {code}: {message}"),
        (Some(code), None) => format!("{operation} answered {code}"),
        // mostly not an answer of AWS, but a failure on the way
        (None, _) => format!("{operation}: {}", platform::chain(error)),
    }
}

/// True for the error codes by which AWS denies a permission.
pub(crate) fn is_refusal(code: &str) -> bool {
    code.starts_with("AccessDenied") || code == "UnauthorizedOperation"
}

/// What the failure of `operation` means for the step.
pub(crate) fn incomplete<E: std::error::Error + 'static>(
    operation: &str,
    error: &SdkError<E>,
    code: Option<&str>,
) -> Incomplete {
    if let Some(call) = CallError::find(error) {
        return Incomplete::from_call_error(call, operation);
    }
    let (ended, reason) = match code {
        Some(code) if is_refusal(code) => (EndReason::Forbidden, GapReason::PermissionDenied),
        // "Common errors" of the AWS API references: the credentials are invalid or expired
        Some(
            "ExpiredTokenException"
            | "ExpiredToken"
            | "RequestExpired"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken",
        ) => (EndReason::Failed, GapReason::Unauthenticated),
        Some(_) => (EndReason::Failed, GapReason::Refused),
        // The transport's failures are found above: here, nothing was sent, for lack of credentials.
        None if matches!(
            error,
            SdkError::ConstructionFailure(_)
                | SdkError::DispatchFailure(_)
                | SdkError::TimeoutError(_)
        ) =>
        {
            (EndReason::Failed, GapReason::Unauthenticated)
        }
        None => (EndReason::Failed, GapReason::Malformed),
    };
    let cause = code.map_or_else(|| platform::chain(error), str::to_owned);
    Incomplete {
        ended,
        reason,
        what: format!("{operation}: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::Transport;

    pub(super) fn transport() -> Transport {
        crate::crypto::install_provider();
        Transport::new().expect("a client")
    }

    #[test]
    fn throttling_is_told_by_code_and_not_by_message() {
        let throttled = Some(RetryDecision::Throttled);
        for (status, body, expected) in [
            (
                400,
                r#"{"__type":"com.amazonaws.cloudtrail#ThrottlingException","message":"Rate"}"#,
                throttled,
            ),
            (503, "<Error>\n<Code>SlowDown</Code></Error>", throttled),
            (400, r#"{"Error": {"Code": "Throttling"}}"#, throttled),
            (
                400,
                r#"{"__type":"AccessDeniedException","Message":"role/ThrottlingTest is not authorized"}"#,
                None,
            ),
            (503, "Service Unavailable", None),
            (200, r#"{"Events":[{"code":"ThrottlingException"}]}"#, None),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let found = classify(status, &HeaderMap::new(), body.as_bytes());
            assert_eq!(found, expected, "{body}");
        }
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("x-amzn-errortype"),
            http::HeaderValue::from_static("ThrottlingException:"),
        )]);
        let status = StatusCode::BAD_REQUEST;
        assert_eq!(classify(status, &headers, b""), throttled);
    }
}
