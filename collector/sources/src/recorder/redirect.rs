//! Follows redirects: once, without credentials, and only to hosts that the caller names.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, Uri};
use url::Url;

use super::{CallError, QuotaKey, Recorder, RequestPolicy, RequestRate, TlsTrust, TrustedRoots};

/// Object stores allow thousands of requests a second.
const TARGET_PER_SECOND: f64 = 100.0;
const TARGET_BURST: u32 = 100;

/// The URL that a response answers, in its extensions: a `Location` may be relative to it.
#[derive(Clone, Debug)]
pub(super) struct RequestedUri(pub(super) Uri);

impl Recorder {
    /// Follows `response` if it is a redirect to one of `hosts`; returns any other response as it
    /// is. A host matches itself and its subdomains. The second request has no header field of the
    /// first, and its own redirect is not followed.
    ///
    /// # Errors
    /// See [`Self::call`].
    pub async fn follow(
        &self,
        response: Response<Bytes>,
        hosts: &[&str],
    ) -> Result<Response<Bytes>, CallError> {
        match self.redirect(&response, hosts) {
            Some((recorder, request)) => recorder.call(request).await,
            None => Ok(response),
        }
    }

    /// Like [`Self::follow`], but only builds the request, for [`Self::stream`]. It must be sent by
    /// the recorder that is returned, which writes to the same buffer.
    #[must_use]
    pub fn redirect(
        &self,
        response: &Response<Bytes>,
        hosts: &[&str],
    ) -> Option<(Self, Request<Bytes>)> {
        let url = redirect_target(response, hosts)?;
        let request = Request::get(url.as_str()).body(Bytes::new()).ok()?;
        Some((self.with_policy(self.policy_of_redirect()), request))
    }

    /// The target is a store of another company more often than not: our client certificate, the
    /// provider's quota and its errors have no meaning there.
    fn policy_of_redirect(&self) -> RequestPolicy {
        let quota = QuotaKey {
            provider: self.policy.quota.provider,
            account: String::new(),
            region: String::new(),
            endpoint: "redirect",
        };
        let trust = &self.policy.trust;
        let roots = match &trust.roots {
            TrustedRoots::System => TrustedRoots::System,
            TrustedRoots::Only(pem) | TrustedRoots::SystemAnd(pem) => {
                TrustedRoots::SystemAnd(pem.clone())
            }
        };
        let trust = TlsTrust {
            roots,
            identity_pem: None,
            server_name: None,
            proxy: trust.proxy.clone(),
        };
        RequestPolicy {
            quota,
            rate: RequestRate::new(TARGET_PER_SECOND, TARGET_BURST),
            classify: |_, _, _| None,
            trust: Arc::new(trust),
            ..(*self.policy).clone()
        }
    }
}

fn redirect_target(response: &Response<Bytes>, hosts: &[&str]) -> Option<Url> {
    if !response.status().is_redirection() {
        return None;
    }
    let location = response.headers().get(http::header::LOCATION)?;
    let base = &response.extensions().get::<RequestedUri>()?.0;
    let url = Url::parse(&base.to_string())
        .ok()?
        .join(location.to_str().ok()?)
        .ok()?;
    let host = url.host_str()?;
    let is_allowed = hosts.iter().any(|allowed| matches_host(host, allowed));
    let is_private = url.scheme() == "https" || platform::loopback::is_loopback_host(host);
    (is_allowed && is_private).then_some(url)
}

/// True if `host` is `allowed` or one of its subdomains.
fn matches_host(host: &str, allowed: &str) -> bool {
    let allowed = allowed.trim_start_matches('.');
    host.strip_suffix(allowed)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
