//! Who really answers: AWS, or another host to which the environment or a profile leads
//! (`AWS_ENDPOINT_URL`). A capture of an emulator must never look like one of AWS.

use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_types::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use evidence_derive::published_hosts;

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

/// The host that answers instead of AWS: that of an operation, or that of one of `services`.
pub(super) fn not_of_aws(
    probe: &EndpointProbe,
    config: &SdkConfig,
    services: &[&'static str],
) -> Option<String> {
    let configured = services.iter().filter_map(|service| {
        let url = configured_endpoint(config, service)?;
        origin_of(&url)
    });
    let mut origins = probe.sent_to().into_iter().chain(configured);
    origins.find(|origin| !is_of_aws(origin))
}

/// The endpoint of one service, as its client reads it: from `AWS_ENDPOINT_URL_CLOUDTRAIL`, or from
/// the `services` section of the profile.
pub(crate) fn configured_endpoint(config: &SdkConfig, service: &'static str) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id(service)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    config.service_config()?.load_config(key)
}

/// Scheme, host and port of a URL. A URL may also hold a password.
fn origin_of(url: &str) -> Option<String> {
    let url: url::Url = url.parse().ok()?;
    url.host()?;
    Some(url.origin().ascii_serialization())
}

fn is_of_aws(origin: &str) -> bool {
    // The same rule as the auditor's, who reads in the bundle which servers answered.
    published_hosts::of("aws").is_some_and(|aws| aws.has(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads what the client of CloudTrail would, without the environment of this process.
    #[derive(Debug)]
    struct OneEndpoint(&'static str);

    impl aws_types::service_config::LoadServiceConfig for OneEndpoint {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            let is_read = key.service_id() == "CloudTrail" && key.profile() == "endpoint_url";
            is_read.then(|| self.0.to_owned())
        }
    }

    #[test]
    fn endpoint_of_cloudtrail_alone_is_seen() {
        let probe = EndpointProbe::default();
        let config = |url| {
            SdkConfig::builder()
                .service_config(OneEndpoint(url))
                .build()
        };
        assert_eq!(
            not_of_aws(
                &probe,
                &config("http://127.0.0.1:5568"),
                &["Account", "CloudTrail"]
            )
            .as_deref(),
            Some("http://127.0.0.1:5568")
        );
        let own = "https://cloudtrail.eu-west-1.amazonaws.com";
        assert_eq!(not_of_aws(&probe, &config(own), &["CloudTrail"]), None);
        assert_eq!(
            not_of_aws(&probe, &SdkConfig::builder().build(), &["CloudTrail"]),
            None
        );
    }

    /// A `services` section of a profile, as the SDK reads it.
    #[tokio::test]
    #[expect(deprecated, reason = "the new names are in a crate that we do not use")]
    async fn services_section_of_profile_is_read() {
        use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
        let text = "[default]\nservices = lab\n[services lab]\ncloudtrail =\n  endpoint_url = http://127.0.0.1:5568\n";
        let files = ProfileFiles::builder().with_contents(ProfileFileKind::Config, text);
        let loader = aws_config::defaults(aws_config::BehaviorVersion::latest())
            .no_credentials()
            .region(aws_config::Region::from_static("eu-west-1"))
            .profile_files(files.build());
        let config = loader.load().await;
        let url = configured_endpoint(&config, "CloudTrail");
        assert_eq!(url.as_deref(), Some("http://127.0.0.1:5568"));
    }

    #[test]
    fn only_https_of_aws_is_aws() {
        assert!(is_of_aws("https://sts.us-east-1.amazonaws.com"));
        for other in [
            "http://sts.us-east-1.amazonaws.com",
            "https://127.0.0.1:5710",
            "http://localhost:4566",
            "https://sts.amazonaws.com.example.com",
            "https://x.execute-api.eu-west-1.amazonaws.com",
            "https://cloudtrail.s3.eu-west-1.amazonaws.com",
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
