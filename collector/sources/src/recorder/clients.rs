//! How each client library is put on top of the recorder.
//!
//! kube and octocrab take any tower service; the AWS SDK takes an HTTP client of its own kind; a
//! reqwest request is handed over.

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
use http::{Request, Response};
use http_body_util::{BodyExt, Full};

use super::{CallError, Recorder};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Recorder {
    /// Under kube (`kube::Client::new`) and octocrab (`OctocrabBuilder::with_service`).
    #[must_use]
    pub fn service(&self) -> RecorderService {
        RecorderService(self.clone())
    }

    /// Sends a request that was built with reqwest.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn execute(&self, request: reqwest::Request) -> Result<reqwest::Response, CallError> {
        let gave_up = |what: String| CallError::GaveUp {
            reason: evidence_format::coverage::GapReason::Crashed,
            what,
            attempts: 0,
        };
        let request = Request::try_from(request).map_err(|cause| gave_up(cause.to_string()))?;
        let request = collected(request)
            .await
            .map_err(|cause| gave_up(cause.to_string()))?;
        Ok(self.call(request).await?.into())
    }
}

/// The recorder as a tower service for requests with any body.
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
        Poll::Ready(Ok(())) // the recorder's buckets do the waiting, where it can be stopped
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let recorder = self.0.clone();
        Box::pin(async move {
            let request = collected(request).await.map_err(Into::into)?;
            Ok(recorder.call(request).await?.map(Full::new))
        })
    }
}

/// Requests are small: their bodies are taken into memory, so that they can be sent again.
async fn collected<B: http_body::Body>(request: Request<B>) -> Result<Request<Bytes>, B::Error> {
    let (parts, body) = request.into_parts();
    Ok(Request::from_parts(parts, body.collect().await?.to_bytes()))
}

/// Under the AWS SDK (`http_client` of its configuration).
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
            let request = collected(request).await.map_err(ConnectorError::user)?;
            let response = Recorder::call(&recorder, request)
                .await
                .map_err(|cause| ConnectorError::io(cause.into()))?;
            response.map(SdkBody::from).try_into().map_err(
                |cause: aws_smithy_runtime_api::http::HttpError| ConnectorError::user(cause.into()),
            )
        })
    }
}
