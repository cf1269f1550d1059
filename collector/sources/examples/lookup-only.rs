//! Pages through LookupEvents with nothing but the AWS SDK, at 2 requests per second and region,
//! and discards the pages. `benches/capture.py` compares a capture with it.
//!
//! Usage: `AWS_ENDPOINT_URL=… lookup-only FROM UNTIL REGION...`, with times in seconds since 1970.
//! Runs until it is killed.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::config::Builder;
use aws_sdk_cloudtrail::primitives::DateTime;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use futures::future::join_all;
use http_body_util::BodyExt;

/// From one request to a region to the next.
const REQUEST_INTERVAL: Duration = Duration::from_millis(500);

/// Sends the SDK's requests with reqwest, as the recorder does.
#[derive(Clone, Debug)]
struct ReqwestConnector(reqwest::Client);

impl HttpClient for ReqwestConnector {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for ReqwestConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            send(client, request).await.map_err(ConnectorError::user)
        })
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn send(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, BoxError> {
    let (parts, body) = request.try_into_http1x()?.into_parts();
    let body = body.collect().await?.to_bytes();
    let response = client
        .execute(http::Request::from_parts(parts, body).try_into()?)
        .await?;
    let mut sdk_response = http::Response::new(());
    *sdk_response.status_mut() = response.status();
    *sdk_response.headers_mut() = response.headers().clone();
    let body = response.bytes().await?;
    Ok(sdk_response.map(|()| SdkBody::from(body)).try_into()?)
}

async fn page_through(
    config: &SdkConfig,
    region: String,
    from: i64,
    until: i64,
) -> Result<(), BoxError> {
    let client = Client::from_conf(Builder::from(config).region(Region::new(region)).build());
    let (mut token, mut ticks) = (None, tokio::time::interval(REQUEST_INTERVAL));
    loop {
        ticks.tick().await;
        let page = client
            .lookup_events()
            .start_time(DateTime::from_secs(from))
            .end_time(DateTime::from_secs(until))
            .max_results(50)
            .set_next_token(token)
            .send()
            .await?;
        // after the last page there is no token, and it begins anew
        token = page.next_token().map(str::to_owned);
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    sources::crypto::install_provider();
    let mut arguments = std::env::args().skip(1);
    let mut number = || {
        arguments
            .next()
            .ok_or("an argument is missing")?
            .parse::<i64>()
            .map_err(BoxError::from)
    };
    let (from, until) = (number()?, number()?);
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(ReqwestConnector(reqwest::Client::new()))
        .load()
        .await;
    let regions = arguments.map(|region| page_through(&config, region, from, until));
    join_all(regions).await.into_iter().collect()
}
