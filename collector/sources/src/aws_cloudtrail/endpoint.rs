//! Who really answers: AWS, or another host to which the environment or a profile leads
//! (`AWS_ENDPOINT_URL`). A capture of an emulator must never look like one of AWS.

use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use super::partition::is_host_of_aws;

/// The endpoint of CloudTrail alone, if it is not that of the other services.
const CLOUDTRAIL_VARIABLE: &str = "AWS_ENDPOINT_URL_CLOUDTRAIL";
/// Switches off all of them.
const IGNORE_VARIABLE: &str = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS";

/// Remembers where the last request of an operation was sent.
#[derive(Clone, Debug, Default)]
pub(super) struct EndpointProbe(Arc<Mutex<Option<String>>>);

impl EndpointProbe {
    /// Scheme, host and port; `None` if nothing was sent.
    fn sent_to(&self) -> Option<String> {
        let sent_to = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent_to.clone()
    }
}

impl Intercept for EndpointProbe {
    fn name(&self) -> &'static str {
        "EndpointProbe"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let mut sent_to = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *sent_to = origin_of(context.request().uri());
        Ok(())
    }
}

/// The host that answers instead of AWS: that of an operation, or that of CloudTrail.
pub(super) fn not_of_aws(probe: &EndpointProbe) -> Option<String> {
    let is_ignored = std::env::var(IGNORE_VARIABLE).is_ok_and(|value| value == "true");
    let cloudtrail = std::env::var(CLOUDTRAIL_VARIABLE).ok();
    let cloudtrail = cloudtrail.filter(|_| !is_ignored);
    let cloudtrail = cloudtrail.and_then(|url| origin_of(&url));
    let origins = probe.sent_to().into_iter().chain(cloudtrail);
    origins.into_iter().find(|origin| !is_of_aws(origin))
}

/// Scheme, host and port of a URL. A URL may also hold a password.
fn origin_of(url: &str) -> Option<String> {
    let url: url::Url = url.parse().ok()?;
    url.host()?;
    Some(url.origin().ascii_serialization())
}

fn is_of_aws(origin: &str) -> bool {
    let url = origin.parse::<url::Url>().ok();
    // Without TLS, anybody on the way may answer.
    url.is_some_and(|url| url.scheme() == "https" && url.host_str().is_some_and(is_host_of_aws))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_of_aws_is_aws() {
        assert!(is_of_aws("https://sts.us-east-1.amazonaws.com"));
        for other in [
            "http://sts.us-east-1.amazonaws.com",
            "https://127.0.0.1:5710",
            "http://localhost:4566",
            "https://sts.amazonaws.com.example.com",
            "",
        ] {
            assert!(!is_of_aws(other), "{other}");
        }
        assert_eq!(
            origin_of("http://user:secret@127.0.0.1:5710/a?b").as_deref(),
            Some("http://127.0.0.1:5710")
        );
    }
}
