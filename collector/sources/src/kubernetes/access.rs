//! How a cluster is reached: kubeconfig contexts and the service account of our own pod, read by
//! kube.

use std::sync::Arc;

use data_encoding::BASE64;
use kube::config::{AuthInfo, Config, KubeConfigOptions, Kubeconfig};
use secrecy::ExposeSecret as _;
use url::Url;

use super::config::KubernetesConfig;
use crate::recorder::{TlsTrust, TrustedRoots};
use crate::rest::{KubeSigner, ProviderAccess, SignError};

/// Why a cluster cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccessError {
    #[error("cannot read the kubeconfig")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
    #[error("no kubeconfig, and no service account of a pod")]
    NotFound(#[source] kube::config::InferConfigError),
    #[error("the API server's address {0} is not a URL")]
    Address(String),
    #[error(transparent)]
    Credentials(#[from] SignError),
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
        services: Vec::new(),
        account: name.to_owned(),
        base: Url::parse(&address).map_err(|_| AccessError::Address(address))?,
        trust: Arc::new(trust_of(&config)?),
        signer: Arc::new(KubeSigner::open(name, config).await?),
        names: Vec::new(),
        redirect_hosts: Vec::new(),
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

/// True if there may be a cluster without any configuration of ours.
pub(super) fn has_default_configuration() -> bool {
    std::env::var_os("KUBECONFIG").is_some()
        || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        || std::env::home_dir().is_some_and(|home| home.join(".kube/config").exists())
}
