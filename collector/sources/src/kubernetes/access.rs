//! How a cluster is reached: kubeconfig contexts and the service account of our own pod, read by
//! kube. kube finds and refreshes the credentials; its layers put them on our requests, and the
//! recorder sends these.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use data_encoding::BASE64;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use kube::client::ConfigExt as _;
use kube::config::{AuthInfo, Config, KubeConfigOptions, Kubeconfig};
use secrecy::ExposeSecret as _;
use tokio::sync::Mutex;
use tower::util::BoxService;
use tower::{BoxError, Layer as _, Service as _, ServiceExt as _};
use url::Url;

use super::config::KubernetesConfig;
use crate::recorder::{Recorder, TlsTrust, TrustedRoots};
use crate::rest::{ProviderAccess, RequestSigner, SignError};

/// Bound tokens of service accounts live for an hour.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// Why a cluster cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccessError {
    #[error("cannot read the kubeconfig")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
    #[error("no kubeconfig, and no service account of a pod")]
    NotFound(#[source] kube::config::InferConfigError),
    #[error("the API server's address {0} is not a URL")]
    Address(String),
    /// kube's own error may repeat what the program printed, which is a token.
    #[error("cannot get credentials of context {0}: {1}")]
    Credentials(String, &'static str),
    #[error(
        "context {0} does not verify the API server's certificate (insecure-skip-tls-verify): anybody \
         could answer in its place; give it a certificate-authority"
    )]
    Unverified(String),
    #[error("cannot read {0} of the client certificate")]
    ClientCertificate(&'static str),
}

/// A cluster of the configuration: its name, and what kube knows about it. The name is that of the
/// context, or the API server's host if we run in the cluster.
pub(super) type Cluster = (String, Result<Config, AccessError>);

/// All clusters of the configuration; a context that cannot be used does not keep the others from
/// being captured. Runs no program.
///
/// # Errors
/// There is no configuration at all.
pub(super) async fn clusters(config: &KubernetesConfig) -> Result<Vec<Cluster>, AccessError> {
    let kubeconfig = match &config.kubeconfig {
        Some(path) => Some(Kubeconfig::read_from(path)),
        None if config.contexts.is_some() => Some(Kubeconfig::read()),
        None => Kubeconfig::read().ok().map(Ok),
    };
    let Some(kubeconfig) = kubeconfig.transpose().map_err(AccessError::Kubeconfig)? else {
        let inferred = Config::infer().await.map_err(AccessError::NotFound)?;
        let name = inferred.cluster_url.host().unwrap_or("cluster").to_owned();
        return Ok(vec![(name, Ok(inferred))]);
    };
    let contexts = match &config.contexts {
        Some(contexts) => contexts.clone(),
        None => kubeconfig.current_context.iter().cloned().collect(),
    };
    let mut clusters = Vec::new();
    for context in contexts {
        let options = KubeConfigOptions {
            context: Some(context.clone()),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_custom_kubeconfig(kubeconfig.clone(), &options).await;
        clusters.push((context, config.map_err(AccessError::Kubeconfig)));
    }
    Ok(clusters)
}

/// The way into the cluster called `name`.
pub(super) async fn open(name: &str, config: Config) -> Result<ProviderAccess, AccessError> {
    if config.accept_invalid_certs {
        return Err(AccessError::Unverified(name.to_owned()));
    }
    let address = config.cluster_url.to_string();
    Ok(ProviderAccess {
        account: name.to_owned(),
        base: Url::parse(&address).map_err(|_| AccessError::Address(address))?,
        trust: Arc::new(trust_of(&config)?),
        signer: Arc::new(KubeSigner::open(name, config).await?),
        names: Vec::new(),
    })
}

fn trust_of(config: &Config) -> Result<TlsTrust, AccessError> {
    let roots = match &config.root_cert {
        None => TrustedRoots::System,
        Some(certificates) => {
            let pem: String = certificates
                .iter()
                .map(|der| {
                    format!(
                        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                        BASE64.encode(der)
                    )
                })
                .collect();
            TrustedRoots::Only(pem.into_bytes())
        }
    };
    Ok(TlsTrust {
        roots,
        identity_pem: identity_of(&config.auth_info)?,
        server_name: config.tls_server_name.clone(),
        proxy: config.proxy_url.as_ref().map(ToString::to_string),
    })
}

/// The client certificate and its key, one after the other. Both are in the kubeconfig, or in files
/// that it names.
fn identity_of(info: &AuthInfo) -> Result<Option<Vec<u8>>, AccessError> {
    let certificate = pem_of(
        info.client_certificate_data.as_deref(),
        info.client_certificate.as_deref(),
        "the certificate",
    )?;
    let key_data = info.client_key_data.as_ref();
    let key = pem_of(
        key_data.map(|key| key.expose_secret()),
        info.client_key.as_deref(),
        "the key",
    )?;
    Ok(match (certificate, key) {
        (Some(mut identity), Some(key)) => {
            identity.push(b'\n');
            identity.extend_from_slice(&key);
            Some(identity)
        }
        (None, _) | (_, None) => None,
    })
}

fn pem_of(
    data: Option<&str>,
    path: Option<&str>,
    what: &'static str,
) -> Result<Option<Vec<u8>>, AccessError> {
    match (data, path) {
        (Some(data), _) => BASE64
            .decode(data.trim().as_bytes())
            .map(Some)
            .map_err(|_| AccessError::ClientCertificate(what)),
        (None, Some(path)) => std::fs::read(path)
            .map(Some)
            .map_err(|_| AccessError::ClientCertificate(what)),
        (None, None) => Ok(None),
    }
}

/// Puts the cluster's credentials on requests: a token that kube reads from a file or gets from a
/// program, and gets again before it expires; a password; impersonation. A client certificate is
/// part of the connection instead ([`TlsTrust`]).
struct KubeSigner {
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
    async fn open(context: &str, config: Config) -> Result<Self, AccessError> {
        let signer = Self {
            context: context.to_owned(),
            authenticator: Mutex::new(None),
            config,
        };
        *signer.authenticator.lock().await = Some(signer.authenticator().await?);
        Ok(signer)
    }

    async fn authenticator(&self) -> Result<Authenticator, AccessError> {
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

    fn failed(&self, why: &'static str) -> AccessError {
        AccessError::Credentials(self.context.clone(), why)
    }

    /// The header fields that authenticate a request.
    async fn headers(&self) -> Result<HeaderMap, AccessError> {
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
        let headers = self.headers().await;
        let headers = headers.map_err(|error| SignError::Unusable(error.to_string()))?;
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

/// True if there may be a cluster without any configuration of ours.
pub(super) fn has_default_configuration() -> bool {
    std::env::var_os("KUBECONFIG").is_some()
        || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        || std::env::home_dir().is_some_and(|home| home.join(".kube/config").exists())
}
