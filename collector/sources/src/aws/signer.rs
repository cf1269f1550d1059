//! Signs requests that no SDK builds, by AWS Signature Version 4.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_async::time::TimeSource as _;
use bytes::Bytes;
use evidence_format::id::IncidentId;
use http::Request;
use tokio::sync::Mutex;

use super::AccountAccess;
use crate::recorder::{Recorder, Transport};
use crate::rest::{RequestSigner, SignError};

/// Credentials that expire sooner are replaced first.
const EXPIRES_SOON: Duration = Duration::from_secs(60);
/// Its paths are signed as they are sent, and its requests say the digest of their body (Amazon S3
/// API Reference, "Signature calculations for the authorization header").
const S3: &str = "s3";

/// Signs for one service in one region.
pub(crate) struct AwsSigner {
    access: AccountAccess,
    session_policy: &'static str,
    service: &'static str,
    region: String,
    transport: Arc<Transport>,
    incident: Option<IncidentId>,
    credentials: Mutex<Option<Credentials>>,
}

impl AwsSigner {
    /// See [`AccountAccess::sdk_config`] for `session_policy`.
    pub(crate) fn new(
        access: AccountAccess,
        session_policy: &'static str,
        (service, region): (&'static str, &str),
        transport: &Arc<Transport>,
        incident: Option<&IncidentId>,
    ) -> Self {
        Self {
            access,
            session_policy,
            service,
            region: region.to_owned(),
            transport: Arc::clone(transport),
            incident: incident.cloned(),
            credentials: Mutex::new(None),
        }
    }

    async fn credentials(&self) -> Result<Credentials, SignError> {
        let mut known = self.credentials.lock().await;
        let soon = SystemTime::now() + EXPIRES_SOON;
        let is_fresh = |own: &Credentials| own.expiry().is_none_or(|expiry| soon < expiry);
        if let Some(own) = known.as_ref().filter(|own| is_fresh(own)) {
            return Ok(own.clone());
        }
        let config = self
            .access
            .sdk_config(&self.transport, self.incident.as_ref(), self.session_policy)
            .await;
        let provider = config
            .credentials_provider()
            .ok_or_else(|| SignError::Unusable("no credentials".to_owned()))?;
        let fetched = provider
            .provide_credentials()
            .await
            .map_err(|cause| SignError::Unusable(platform::chain(&cause)))?;
        *known = Some(fetched.clone());
        Ok(fetched)
    }

    fn settings(&self) -> SigningSettings {
        let mut settings = SigningSettings::default();
        if self.service == S3 {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        settings
    }
}

#[async_trait]
impl RequestSigner for AwsSigner {
    async fn sign(&self, request: &mut Request<Bytes>, _: &Recorder) -> Result<(), SignError> {
        let unusable = |cause: &dyn std::fmt::Display| SignError::Unusable(cause.to_string());
        let identity = self.credentials().await?.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service)
            .time(self.transport.aws_clock.now())
            .settings(self.settings())
            .build()
            .map_err(|cause| unusable(&cause))?
            .into();
        let headers = request.headers().iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable = SignableRequest::new(
            request.method().as_str(),
            request.uri().to_string(),
            headers,
            SignableBody::Bytes(request.body()),
        );
        let signed = signable.and_then(|signable| sign(signable, &params));
        let (instructions, _) = signed.map_err(|cause| unusable(&cause))?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }

    async fn forget(&self) {
        *self.credentials.lock().await = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Examples: Signature calculations", GET Object, of the Amazon S3 API Reference.
    #[test]
    fn signature_is_that_of_the_reference() {
        let signer = AwsSigner::new(
            AccountAccess::Default,
            "",
            (S3, "us-east-1"),
            &Arc::new(crate::aws::tests::transport()),
            None,
        );
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let identity = Credentials::new("AKIAIOSFODNN7EXAMPLE", secret, None, None, "test").into();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name(S3)
            .time(time)
            .settings(signer.settings())
            .build()
            .expect("complete")
            .into();
        let request = SignableRequest::new(
            "GET",
            "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J",
            std::iter::empty(),
            SignableBody::Bytes(b""),
        );
        let signed = sign(request.expect("a request"), &params).expect("signed");
        assert_eq!(
            signed.signature(),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }
}
