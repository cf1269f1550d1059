//! Requests to a bucket of S3: lists of names, and files.

use std::sync::Arc;

use bytes::Bytes;
use evidence_derive::trail::{LIST_OBJECTS, TRAIL_FILE_BYTES_MAX};
use evidence_derive::xml;
use evidence_format::coverage::{EndReason, GapReason};
use evidence_format::id::IncidentId;
use http::{HeaderValue, Request, Response};
use serde_json::Value;

use super::config::{TrailConfig, TrailsConfig};
use super::{LIST_GRANT, SESSION_POLICY, access_to};
use crate::Incomplete;
use crate::aws::{AwsSigner, Partition, classify, configured_endpoint, error_code, is_refusal};
use crate::loop_guard::{GuardedPage, PageGuard, digest};
use crate::recorder::{QuotaKey, Recorder, RequestPolicy, RequestRate, Transport};
use crate::rest::{RequestError, RequestSigner as _, percent_encoded};

/// Requests that may be sent at once after a rest.
const BURST: u32 = 50;
/// Credentials that S3 does not accept any more ("Error responses", Amazon S3 API Reference).
const EXPIRED: [&str; 4] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
    "RequestExpired",
];

/// A bucket that a trail delivers to.
pub(super) struct TrailBucket {
    signer: AwsSigner,
    /// Scheme and host. Buckets are in the path, as it works for all names and hosts.
    origin: String,
    name: String,
    region: String,
    per_second: f64,
    user_agent: HeaderValue,
}

/// What is in a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// Names of files, sorted.
    pub(super) keys: Vec<String>,
    /// Names of folders, with a slash at the end.
    pub(super) folders: Vec<String>,
}

impl TrailBucket {
    pub(super) async fn open(
        trail: &TrailConfig,
        config: &TrailsConfig,
        transport: &Arc<Transport>,
        incident: Option<&IncidentId>,
    ) -> Self {
        let access = access_to(trail);
        let sdk = access.sdk_config(transport, incident, SESSION_POLICY).await;
        let own = configured_endpoint(&sdk, "S3").or_else(|| sdk.endpoint_url().map(str::to_owned));
        let region = trail.region.clone();
        let domain = Partition::of_region(&region).domain;
        let agent = incident.map_or("exhibit".to_owned(), |incident| {
            format!("exhibit-{incident}")
        });
        Self {
            origin: own.unwrap_or_else(|| format!("https://s3.{region}.{domain}")),
            signer: AwsSigner::new(access, SESSION_POLICY, ("s3", &region), transport, incident),
            name: trail.bucket.clone(),
            region,
            per_second: f64::from(config.requests_per_second),
            user_agent: HeaderValue::try_from(agent).expect("ids of incidents are ASCII"),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Lists all names that begin with `prefix`; with `folders`, those up to the next slash.
    pub(super) async fn list(
        &self,
        recorder: &Recorder,
        prefix: &str,
        folders: bool,
    ) -> Result<Listing, Incomplete> {
        let mut query = format!("list-type=2&prefix={}", percent_encoded(prefix));
        if folders {
            query += "&delimiter=%2F";
        }
        let (mut listing, mut guard) = (Listing::default(), PageGuard::default());
        let mut token: Option<String> = None;
        loop {
            let mut path = format!("{}?{query}", self.name);
            if let Some(token) = &token {
                path += &format!("&continuation-token={}", percent_encoded(token));
            }
            let response = self.send(recorder, LIST_OBJECTS, &path).await;
            let response = response.map_err(|error| error.incomplete(LIST_OBJECTS))?;
            if !response.status().is_success() {
                return Err(refused(LIST_OBJECTS, LIST_GRANT, &response));
            }
            let malformed = |what: &str| Incomplete {
                ended: EndReason::Failed,
                reason: GapReason::Malformed,
                what: format!("{LIST_OBJECTS}: {what}"),
            };
            let page = xml::to_json(response.body()).ok_or_else(|| malformed("not a list"))?;
            let before = listing.keys.len() + listing.folders.len();
            listing.keys.extend(texts(&page, "Contents", "Key"));
            listing
                .folders
                .extend(texts(&page, "CommonPrefixes", "Prefix"));
            let Some(next) = page["NextContinuationToken"].as_str() else {
                listing.keys.sort_unstable();
                return Ok(listing);
            };
            let is_empty = before == listing.keys.len() + listing.folders.len();
            let guarded = GuardedPage {
                token: Some(digest(next.as_bytes())),
                records: (!is_empty).then(|| digest(response.body())),
                leads_to_itself: token.as_deref() == Some(next),
            };
            guard
                .add(guarded)
                .map_err(|endless| malformed(&endless.to_string()))?;
            token = Some(next.to_owned());
        }
    }

    /// Gets a file, which may be in another bucket.
    pub(super) async fn get(
        &self,
        recorder: &Recorder,
        endpoint: &'static str,
        (bucket, key): (&str, &str),
    ) -> Result<Response<Bytes>, RequestError> {
        let parts: Vec<String> = key.split('/').map(percent_encoded).collect();
        let path = format!("{}/{}", percent_encoded(bucket), parts.join("/"));
        self.send(recorder, endpoint, &path).await
    }

    async fn send(
        &self,
        recorder: &Recorder,
        endpoint: &'static str,
        path: &str,
    ) -> Result<Response<Bytes>, RequestError> {
        let quota = QuotaKey {
            provider: "aws",
            account: self.name.clone(),
            region: self.region.clone(),
            endpoint: "s3",
        };
        let recorder = recorder.with_policy(RequestPolicy {
            endpoint,
            rank: recorder.policy().rank,
            classify,
            body_bytes_max: TRAIL_FILE_BYTES_MAX as u64,
            ..RequestPolicy::new(quota, RequestRate::new(self.per_second, BURST))
        });
        let origin = self.origin.trim_end_matches('/');
        let mut is_retry = false;
        loop {
            let mut request = Request::get(format!("{origin}/{path}"))
                .header(http::header::USER_AGENT, self.user_agent.clone())
                .body(Bytes::new())
                .map_err(|cause| RequestError::Build(cause.to_string()))?;
            self.signer.sign(&mut request, &recorder).await?;
            let response = recorder.call(request).await.map_err(RequestError::Call)?;
            let code = code_of(&response);
            if is_retry || !code.is_some_and(|code| EXPIRED.contains(&code.as_str())) {
                return Ok(response);
            }
            is_retry = true;
            self.signer.forget().await;
        }
    }
}

/// The texts at `name` of each element `list` of a page. XML does not say that one is a list of one.
fn texts(page: &Value, list: &str, name: &str) -> Vec<String> {
    let one = std::slice::from_ref(&page[list]);
    let elements = page[list].as_array().map_or(one, Vec::as_slice).iter();
    elements
        .filter_map(|element| Some(element[name].as_str()?.to_owned()))
        .collect()
}

/// The error code of a response, unless it is a success.
fn code_of(response: &Response<Bytes>) -> Option<String> {
    if response.status().is_success() {
        return None;
    }
    error_code(&String::from_utf8_lossy(response.body())).map(str::to_owned)
}

/// What a refusal by S3 means for the step.
pub(super) fn refused(operation: &str, grant: &str, response: &Response<Bytes>) -> Incomplete {
    let status = response.status().as_u16();
    let code = code_of(response).unwrap_or_default();
    let (ended, reason, advice) = match (status, code.as_str()) {
        (_, code) if is_refusal(code) => (
            EndReason::Forbidden,
            GapReason::PermissionDenied,
            format!(": grant {grant}"),
        ),
        (403, _) | (_, "ExpiredToken" | "InvalidToken") => {
            (EndReason::Failed, GapReason::Unauthenticated, String::new())
        }
        (301, _) | (_, "AuthorizationHeaderMalformed" | "PermanentRedirect") => {
            let region = response.headers().get("x-amz-bucket-region");
            let region = region
                .and_then(|region| region.to_str().ok())
                .unwrap_or("another");
            (
                EndReason::Failed,
                GapReason::Refused,
                format!(": the bucket's region is {region}"),
            )
        }
        (404, _) => (EndReason::NotFound, GapReason::Refused, String::new()),
        _ => (EndReason::Failed, GapReason::Refused, String::new()),
    };
    Incomplete {
        ended,
        reason,
        what: format!("{operation} answered {status} {code}{advice}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_one_is_a_list() {
        let page = |xml: &str| xml::to_json(xml.as_bytes()).expect("XML");
        let one = page("<R><Contents><Key>a</Key></Contents><CommonPrefixes/></R>");
        assert_eq!(texts(&one, "Contents", "Key"), ["a"]);
        assert_eq!(texts(&one, "CommonPrefixes", "Prefix"), [""; 0]);
        let two = page("<R><Contents><Key>a</Key></Contents><Contents><Key>b</Key></Contents></R>");
        assert_eq!(texts(&two, "Contents", "Key"), ["a", "b"]);
    }
}
