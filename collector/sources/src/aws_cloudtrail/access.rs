//! How accounts are reached: the credentials that AWS users keep where all AWS tools look, and
//! roles from the configuration.
//!
//! Trusted: whoever edits those files decides as whom we ask. Credentials are fetched over the same
//! wire as all else, but never recorded, and each one that is obtained is told to [`Secrets`]
//! before it is used.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_types::os_shim_internal::{Env, Fs};
use evidence_format::id::IncidentId;
use tokio_util::sync::CancellationToken;

use super::{AUXILIARY_POLICY, RequestPolicy};
use crate::config::AwsConfig;
use crate::recorder::{QuotaKey, Recorder, Secrets, Transport};

/// Where requests go that belong to no region, unless the environment names one: it is enabled in
/// every account.
const FALLBACK_REGION: &str = "us-east-1";
/// What an assumed role may do, whatever its own policies allow: look.
const SESSION_POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["cloudtrail:LookupEvents","account:ListRegions"],"Resource":"*"}]}"#;
/// Shortest and longest session name (AWS STS API Reference, AssumeRole).
const SESSION_CHARS: std::ops::RangeInclusive<usize> = 2..=64;

/// A way into an account, in the words that a plan carries: `default`, `profile:NAME`, `role:ARN`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AccountAccess {
    /// What every AWS tool would use here: environment, web identity, container or instance.
    Default,
    /// A profile of the shared configuration.
    Profile(String),
    /// A role to assume, from the default credentials.
    Role(String),
}

impl AccountAccess {
    pub(super) fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some(("profile", name)) => Self::Profile(name.to_owned()),
            Some(("role", arn)) => Self::Role(arn.to_owned()),
            _ => Self::Default,
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::Profile(name) => format!("profile:{name}"),
            Self::Role(arn) => format!("role:{arn}"),
        }
    }

    /// All ways that there may be, each once.
    pub(super) async fn all(config: &AwsConfig) -> Vec<Self> {
        let mut ways = BTreeSet::from([Self::Default]);
        let profiles =
            aws_config::profile::load(&Fs::real(), &Env::real(), &Default::default(), None).await;
        if let Ok(profiles) = profiles {
            let wanted = |name: &&str| {
                config
                    .profiles
                    .as_ref()
                    .is_none_or(|wanted| wanted.iter().any(|w| w == name))
            };
            ways.extend(
                profiles
                    .profiles()
                    .filter(wanted)
                    .filter(|name| *name != "default")
                    .map(|name| Self::Profile(name.to_owned())),
            );
        }
        ways.extend(config.roles.iter().cloned().map(Self::Role));
        ways.into_iter().collect()
    }

    /// A configuration for clients that get in this way. Fresh: files are read, roles assumed
    /// again.
    pub(super) async fn open(
        &self,
        wire: &Arc<Transport>,
        incident: Option<&IncidentId>,
    ) -> SdkConfig {
        let unrecorded = discarding_recorder(wire);
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(unrecorded.clone())
            .retry_config(RetryConfig::disabled()) // the recorder repeats, and records that it does
            .timeout_config(TimeoutConfig::disabled())
            // the wire has its own patience; this one would wake every request that waits for its
            // turn, twice a second
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(name) =
            incident.and_then(|incident| AppName::new(format!("exhibit-{incident}")).ok())
        {
            loader = loader.app_name(name);
        }
        if let Self::Profile(name) = self {
            // a profile may name a role or a token's issuer, which is asked over the same wire
            let config = ProviderConfig::default().with_http_client(unrecorded.clone());
            let provider = ProfileFileCredentialsProvider::builder()
                .configure(&config)
                .profile_name(name)
                .build();
            loader = loader
                .profile_name(name)
                .credentials_provider(SecretRegistrar::new(provider, &wire.secrets));
        }
        let mut config = loader.load().await;
        if config.region().is_none() {
            config = config
                .into_builder()
                .region(Region::from_static(FALLBACK_REGION))
                .build();
        }
        let Some(provider) = config.credentials_provider() else {
            return config;
        };
        let registrar =
            SharedCredentialsProvider::new(SecretRegistrar::new(provider, &wire.secrets));
        config = config
            .into_builder()
            .credentials_provider(registrar)
            .build();
        match self {
            Self::Role(arn) => assume(arn, config, wire, incident).await,
            _ => config,
        }
    }
}

async fn assume(
    arn: &str,
    config: SdkConfig,
    wire: &Arc<Transport>,
    incident: Option<&IncidentId>,
) -> SdkConfig {
    let provider = AssumeRoleProvider::builder(arn)
        .session_name(session_name(incident))
        .policy(SESSION_POLICY)
        .configure(&config)
        .build()
        .await;
    let registrar = SharedCredentialsProvider::new(SecretRegistrar::new(provider, &wire.secrets));
    config
        .into_builder()
        .credentials_provider(registrar)
        .build()
}

/// The incident's name, so that the account's owner sees in his own log on whose behalf we came.
fn session_name(incident: Option<&IncidentId>) -> String {
    let name = incident.map_or("exhibit", IncidentId::as_str);
    if SESSION_CHARS.contains(&name.len()) {
        name.to_owned()
    } else {
        format!("exhibit-{name}")
    }
}

/// A recorder whose roll nobody keeps.
pub(super) fn discarding_recorder(wire: &Arc<Transport>) -> Recorder {
    let quota = QuotaKey {
        provider: "aws",
        account: String::new(),
        region: String::new(),
        endpoint: "credentials",
    };
    Recorder::new(
        Arc::clone(wire),
        RequestPolicy {
            quota,
            ..AUXILIARY_POLICY.clone()
        },
        [0; 8],
        CancellationToken::new(),
    )
}

/// Tells of each secret that passes.
#[derive(Debug)]
struct SecretRegistrar<P> {
    provider: Arc<P>,
    secrets: Secrets,
}

impl<P> SecretRegistrar<P> {
    fn new(provider: P, secrets: &Secrets) -> Self {
        Self {
            provider: Arc::new(provider),
            secrets: secrets.clone(),
        }
    }
}

impl<P: ProvideCredentials> ProvideCredentials for SecretRegistrar<P> {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            let credentials = self.provider.provide_credentials().await?;
            self.secrets.add(credentials.secret_access_key());
            credentials
                .session_token()
                .into_iter()
                .for_each(|token| self.secrets.add(token));
            Ok(credentials)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_read_as_they_are_written() {
        for way in [
            AccountAccess::Default,
            AccountAccess::Profile("a:b".to_owned()),
            AccountAccess::Role("arn:aws:iam::1:role/x".to_owned()),
        ] {
            assert_eq!(AccountAccess::parse(&way.text()), way);
        }
    }

    #[test]
    fn sessions_are_named_after_the_incident() {
        let name = |id: &str| session_name(Some(&id.parse().expect("an id")));
        assert_eq!(
            (
                name("INC-7").as_str(),
                name("7").as_str(),
                session_name(None).as_str()
            ),
            ("INC-7", "exhibit-7", "exhibit")
        );
    }
}
