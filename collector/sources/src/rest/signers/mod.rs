//! Ways to sign requests, for any source: a token as it is, a token of OAuth that a client gets by its
//! secret or private key, the installation of a GitHub App, and the credentials of a kubeconfig. Each
//! leases the secrets that it uses or obtains.

mod client_credentials;
mod github_app;
mod kube;
mod oauth_config;
mod private_key;
mod registry;
mod token;

pub use client_credentials::{ClientCredentials, ClientProof};
pub(crate) use github_app::AppSigner;
pub(crate) use kube::KubeSigner;
pub(crate) use oauth_config::{
    OAuthClientConfig, google_signer, known_url, microsoft_signer, some_credential_url, url_below,
};
pub use private_key::{PrivateKey, PrivateKeyError};
pub(crate) use registry::{RegistrySigner, RegistryUser};
pub use token::token_in_header;
pub(crate) use token::{token_in_field, unsigned};
