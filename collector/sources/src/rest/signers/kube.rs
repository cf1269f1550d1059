//! The credentials of a kubeconfig, which kube finds and refreshes; its layers put them on our
//! requests, and the recorder sends these.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use data_encoding::BASE64;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use kube::client::ConfigExt as _;
use kube::config::Config;
use tokio::sync::Mutex;
use tower::util::BoxService;
use tower::{BoxError, Layer as _, Service as _, ServiceExt as _};

use crate::recorder::Recorder;
use crate::rest::access::{RequestSigner, SignError};

/// Bound tokens of service accounts live for an hour.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// Puts the cluster's credentials on requests: a token that kube reads from a file or gets from a
/// program, and gets again before it expires; a password; impersonation. A client certificate is
/// part of the connection instead ([`TlsTrust`]).
pub(crate) struct KubeSigner {
    /// As the kubeconfig calls it.
    context: String,
    config: Config,
    /// Answers with the header fields that authenticate a request. Absent after the API server
    /// rejected the credentials.
    authenticator: Mutex<Option<Authenticator>>,
}

/// kube's layers wrap a client; here it is one that answers with the header fields that it was
/// sent.
type Authenticator = BoxService<Request<Full<Bytes>>, Response<Full<Bytes>>, BoxError>;

impl KubeSigner {
    /// Gets the credentials, if need be from the program that the kubeconfig names.
    pub(crate) async fn open(context: &str, config: Config) -> Result<Self, SignError> {
        let signer = Self {
            context: context.to_owned(),
            authenticator: Mutex::new(None),
            config,
        };
        *signer.authenticator.lock().await = Some(signer.authenticator().await?);
        Ok(signer)
    }

    async fn authenticator(&self) -> Result<Authenticator, SignError> {
        let asks_program = self.config.auth_info.exec.is_some();
        let extra_headers = self.config.extra_headers_layer().map_err(|_| {
            self.failed("impersonation has characters that a header field cannot have")
        })?;
        // runs the program that gets a token, and waits for it
        let config = self.config.clone();
        let authentication = tokio::task::spawn_blocking(move || config.auth_layer())
            .await
            .map_err(|_| self.failed("the program that gets a token was interrupted"))?
            .map_err(|_| {
                self.failed(if asks_program {
                    "the program that gets a token failed"
                } else {
                    "the token, or the file that it is in, cannot be read"
                })
            })?;
        if asks_program && authentication.is_none() {
            return Err(self.failed(
                "the program gives no token; client certificates from programs are not supported",
            ));
        }
        let echo = tower::service_fn(|request: Request<Full<Bytes>>| {
            let mut response = Response::new(Full::<Bytes>::default());
            *response.headers_mut() = request.into_parts().0.headers;
            std::future::ready(Ok::<_, BoxError>(response))
        });
        let echo = extra_headers.layer(echo);
        Ok(match authentication {
            Some(layer) => BoxService::new(layer.layer(echo)),
            None => BoxService::new(echo),
        })
    }

    /// kube's own error may repeat what the program printed, which is a token.
    fn failed(&self, why: &'static str) -> SignError {
        let context = &self.context;
        SignError::Unusable(format!(
            "cannot get credentials of context {context}: {why}"
        ))
    }

    /// The header fields that authenticate a request.
    async fn headers(&self) -> Result<HeaderMap, SignError> {
        let mut authenticator = self.authenticator.lock().await;
        let authenticator = match &mut *authenticator {
            Some(known) => known,
            none @ None => none.insert(self.authenticator().await?),
        };
        let response = match authenticator.ready().await {
            Ok(ready) => ready.call(Request::new(Full::default())).await,
            Err(error) => Err(error),
        };
        let response = response.map_err(|_| self.failed("the token cannot be refreshed"))?;
        Ok(response.into_parts().0.headers)
    }
}

#[async_trait]
impl RequestSigner for KubeSigner {
    async fn sign(
        &self,
        request: &mut Request<Bytes>,
        recorder: &Recorder,
    ) -> Result<(), SignError> {
        let headers = self.headers().await?;
        let authorization = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        if let Some((_, credential)) = authorization.and_then(|value| value.split_once(' ')) {
            let until = SystemTime::now() + TOKEN_LIFETIME;
            recorder.secrets().lease(credential, until);
            // of `Basic`, a name and a password
            let pair = BASE64.decode(credential.as_bytes()).ok();
            let pair = pair.and_then(|pair| String::from_utf8(pair).ok());
            if let Some((_, password)) = pair.as_deref().and_then(|pair| pair.split_once(':')) {
                recorder.secrets().lease(password, until);
            }
        }
        request.headers_mut().extend(headers);
        Ok(())
    }

    async fn forget(&self) {
        *self.authenticator.lock().await = None;
    }
}
