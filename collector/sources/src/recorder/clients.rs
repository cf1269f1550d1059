//! Adapters that let client libraries send their requests through the recorder.
//!
//! kube and octocrab accept any tower service, the AWS SDK an HTTP client of its own kind; a
//! reqwest request is handed over as a value.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use evidence_format::coverage::GapReason;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::BoxError;

use super::{CallError, Recorder};

impl Recorder {
    /// For kube (`kube::Client::new`) and octocrab (`OctocrabBuilder::with_service`).
    #[must_use]
    pub fn service(&self) -> RecorderService {
        RecorderService(self.clone())
    }

    /// Sends a request that was built by reqwest.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn execute(&self, request: reqwest::Request) -> Result<reqwest::Response, CallError> {
        let request = Request::try_from(request).map_err(|cause| unsendable(&cause))?;
        let request = with_buffered_body(request)
            .await
            .map_err(|cause| unsendable(&cause))?;
        Ok(self.call(request).await?.into())
    }
}

/// A request whose URL or body cannot be read; nothing was sent.
fn unsendable(cause: &dyn std::error::Error) -> CallError {
    CallError::GaveUp {
        reason: GapReason::Crashed,
        detail: cause.to_string(),
        attempts: 0,
        too_large: None,
    }
}

/// The recorder as a tower service, for requests with any body.
#[derive(Clone, Debug)]
pub struct RecorderService(Recorder);

impl<B> tower::Service<Request<B>> for RecorderService
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(())) // rate limits are waited for in `call`, where a stop ends the wait
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let recorder = self.0.clone();
        Box::pin(async move {
            let request = with_buffered_body(request).await.map_err(Into::into)?;
            Ok(recorder.call(request).await?.map(Full::new))
        })
    }
}

/// Reads the body into memory, so that the request can be repeated. Bodies of requests are small.
async fn with_buffered_body<B: http_body::Body>(
    request: Request<B>,
) -> Result<Request<Bytes>, B::Error> {
    let (parts, body) = request.into_parts();
    Ok(Request::from_parts(parts, body.collect().await?.to_bytes()))
}

/// For the AWS SDK (`http_client` of its configuration).
impl HttpClient for Recorder {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Recorder {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let recorder = self.clone();
        HttpConnectorFuture::new(async move {
            let request = request
                .try_into_http1x()
                .map_err(|cause| ConnectorError::user(cause.into()))?;
            let request = with_buffered_body(request)
                .await
                .map_err(ConnectorError::user)?;
            let response = Recorder::call(&recorder, request)
                .await
                .map_err(|cause| ConnectorError::io(cause.into()))?;
            response.map(SdkBody::from).try_into().map_err(
                |cause: aws_smithy_runtime_api::http::HttpError| ConnectorError::user(cause.into()),
            )
        })
    }
}
