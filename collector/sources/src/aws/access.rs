//! How accounts are reached: with the credentials that all AWS tools use, and with roles from the
//! configuration.
//!
//! Trusted: anyone who edits the AWS configuration files decides under which identity we capture.
//! Credentials are fetched over the same transport as evidence, but never recorded, and each secret
//! is registered with [`Secrets`] before it is used, for as long as it is valid.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use aws_config::profile::{ProfileFileCredentialsProvider, ProfileSet};
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

use super::process_credentials::ProcessCredentials;
use super::{AUXILIARY_POLICY, RequestPolicy};
use crate::config::AwsConfig;
use crate::recorder::{QuotaKey, Recorder, Secrets, Transport};

/// Region of requests that belong to none (STS, Account Management), unless the environment names
/// another. It is enabled in every account.
const FALLBACK_REGION: &str = "us-east-1";
/// Roles of one chain. AWS allows any number; a circle of profiles has no end.
const CHAIN_MAX: usize = 8;
/// Length of a session name (AWS STS API Reference, AssumeRole).
const SESSION_CHARS: std::ops::RangeInclusive<usize> = 2..=64;

/// Which credentials to use for an account. Text form, in plans: `default`, `profile:NAME` or
/// `role:ARN`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AccountAccess {
    /// The SDK's default chain: environment, web identity, container or instance.
    Default,
    /// A profile of the shared AWS configuration.
    Profile(String),
    /// A role to assume from the default credentials.
    Role(String),
}

impl AccountAccess {
    pub(crate) fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some(("profile", name)) => Self::Profile(name.to_owned()),
            Some(("role", arn)) => Self::Role(arn.to_owned()),
            _ => Self::Default,
        }
    }

    /// All credentials that may lead to an account: the default ones, profiles and roles.
    pub(crate) async fn discover(config: &AwsConfig) -> Vec<Self> {
        let mut accesses = BTreeSet::from([Self::Default]);
        if let Some(profiles) = load_profiles().await {
            let chosen = profiles.profiles().filter(|name| {
                let list = config.profiles.as_ref();
                list.is_none_or(|list| list.iter().any(|listed| listed == name))
            });
            // the profile `default` is part of the default chain
            let others = chosen.filter(|name| *name != "default");
            accesses.extend(others.map(|name| Self::Profile(name.to_owned())));
        }
        accesses.extend(config.roles.iter().cloned().map(Self::Role));
        accesses.into_iter().collect()
    }

    /// True if somebody has said where these credentials are, so that their account is expected. On
    /// a machine of a cloud, the default chain finds a metadata service, whether or not it has any.
    pub(crate) async fn is_configured(&self) -> bool {
        const VARIABLES: [&str; 5] = [
            "AWS_ACCESS_KEY_ID",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_PROFILE",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
        ];
        const KEYS: [&str; 7] = [
            "aws_access_key_id",
            "credential_process",
            "login_session",
            "role_arn",
            "sso_session",
            "sso_start_url",
            "web_identity_token_file",
        ];
        let name = match self {
            Self::Role(_) => return true,
            Self::Profile(name) => Some(name.as_str()),
            Self::Default => None,
        };
        let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if name.is_none() && VARIABLES.iter().any(is_set) {
            return true;
        }
        load_profiles().await.is_some_and(|profiles| {
            let profile = profiles.get_profile(name.unwrap_or(profiles.selected_profile()));
            profile.is_some_and(|profile| KEYS.iter().any(|key| profile.get(key).is_some()))
        })
    }

    /// A name for the item of an account that cannot be entered.
    pub(crate) fn item_name(&self) -> String {
        let text = self.to_string();
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        text.chars()
            .map(|c| if allowed(c) { c } else { '-' })
            .collect()
    }

    /// An SDK configuration with these credentials. Reads profiles and assumes roles anew, so that
    /// expired credentials are replaced. `session_policy` restricts an assumed role to what the
    /// source needs, whatever the role's own policies allow.
    pub(crate) async fn sdk_config(
        &self,
        transport: &Arc<Transport>,
        incident: Option<&IncidentId>,
        session_policy: &'static str,
    ) -> SdkConfig {
        let unrecorded = discarding_recorder(transport);
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(unrecorded.clone())
            // the recorder repeats requests, and records that it does
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            // The transport has timeouts of its own. This protection would wake every request that
            // waits for its rate limit twice a second.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(name) =
            incident.and_then(|incident| AppName::new(format!("exhibit-{incident}")).ok())
        {
            loader = loader.app_name(name);
        }
        if let Self::Profile(name) = self {
            // a profile may name a role or an SSO session, whose requests use the transport too
            let config = ProviderConfig::default().with_http_client(unrecorded.clone());
            let provider = ProfileFileCredentialsProvider::builder()
                .configure(&config)
                .profile_name(name)
                .build();
            loader = loader.profile_name(name).credentials_provider(provider);
        }
        let chain = self.process_chain().await;
        if let Some(chain) = &chain {
            loader = loader.credentials_provider(ProcessCredentials::new(&chain.command));
        }
        let mut config = loader.load().await;
        config = config
            .into_builder()
            .time_source(transport.aws_clock.clone())
            // It would be added to ours.
            .disable_clock_skew_correction(true)
            .build();
        if config.region().is_none() {
            config = config
                .into_builder()
                .region(Region::from_static(FALLBACK_REGION))
                .build();
        }
        let Some(provider) = config.credentials_provider() else {
            return config;
        };
        let mut config = with_credentials(config, provider, transport);
        for role in chain.into_iter().flat_map(|chain| chain.roles) {
            let mut provider = AssumeRoleProvider::builder(role.arn)
                .session_name(role.session_name.unwrap_or_else(|| session_name(incident)));
            if let Some(id) = role.external_id {
                provider = provider.external_id(id);
            }
            let provider = provider.configure(&config).build().await;
            config = with_credentials(config, provider, transport);
        }
        match self {
            Self::Role(arn) => assume_role(arn, config, transport, incident, session_policy).await,
            Self::Default | Self::Profile(_) => config,
        }
    }
}

impl AccountAccess {
    /// The program that these credentials come from, if they come from one, and the roles that the
    /// profile assumes with them.
    async fn process_chain(&self) -> Option<ProcessChain> {
        let profiles = load_profiles().await?;
        let name = match self {
            Self::Profile(name) => name.as_str(),
            // The environment comes first in the default chain.
            Self::Default | Self::Role(_) if std::env::var_os("AWS_ACCESS_KEY_ID").is_some() => {
                return None;
            }
            Self::Default | Self::Role(_) => profiles.selected_profile(),
        };
        process_chain(name, |profile, key| profiles.get_profile(profile)?.get(key))
    }
}

/// Credentials of a program, and the roles that are assumed with them one after the other.
#[derive(Debug, PartialEq, Eq)]
struct ProcessChain {
    command: String,
    /// The first is assumed with the credentials of the program.
    roles: Vec<ChainedRole>,
}

/// A role that a profile assumes with the credentials of its `source_profile`.
#[derive(Debug, PartialEq, Eq)]
struct ChainedRole {
    arn: String,
    external_id: Option<String>,
    session_name: Option<String>,
}

/// The chain that `profile` begins, if a program is at its end. `get` returns a key of a profile.
fn process_chain<'p>(
    profile: &str,
    get: impl Fn(&str, &str) -> Option<&'p str>,
) -> Option<ProcessChain> {
    let (mut name, mut roles) = (profile, Vec::new());
    loop {
        if let Some(command) = command_of(|key| get(name, key)) {
            roles.reverse();
            return Some(ProcessChain {
                command: command.to_owned(),
                roles,
            });
        }
        // The SDK refuses a second factor, which nobody could enter here.
        if roles.len() >= CHAIN_MAX || get(name, "mfa_serial").is_some() {
            return None;
        }
        let owned = |key| get(name, key).map(str::to_owned);
        roles.push(ChainedRole {
            arn: owned("role_arn")?,
            external_id: owned("external_id"),
            session_name: owned("role_session_name"),
        });
        name = get(name, "source_profile")?;
    }
}

/// The command of a profile, if the SDK would run it.
fn command_of<'p>(get: impl Fn(&str) -> Option<&'p str>) -> Option<&'p str> {
    // The SDK prefers these; only static keys come after a process.
    const EARLIER: [&str; 7] = [
        "role_arn",
        "source_profile",
        "credential_source",
        "web_identity_token_file",
        "sso_session",
        "sso_start_url",
        "login_session",
    ];
    if EARLIER.iter().any(|key| get(key).is_some()) {
        return None;
    }
    get("credential_process")
}

/// The names of all profiles; `None` if the shared AWS configuration cannot be read.
pub(crate) async fn profile_names() -> Option<Vec<String>> {
    let profiles = load_profiles().await?;
    Some(profiles.profiles().map(str::to_owned).collect())
}

/// The shared AWS configuration. `None` if there is none, or if it cannot be read.
async fn load_profiles() -> Option<ProfileSet> {
    let (fs, env, files) = (Fs::real(), Env::real(), Default::default());
    let loaded = aws_config::profile::load(&fs, &env, &files, None).await;
    loaded.ok()
}

/// The region that the environment or the profile names.
pub(crate) fn configured_region(config: &SdkConfig) -> Option<String> {
    let region = config.region().map(ToString::to_string)?;
    // It is also the fallback, so it does not tell whether a region was configured.
    (region != FALLBACK_REGION).then_some(region)
}

impl fmt::Display for AccountAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Profile(name) => write!(f, "profile:{name}"),
            Self::Role(arn) => write!(f, "role:{arn}"),
        }
    }
}

async fn assume_role(
    arn: &str,
    config: SdkConfig,
    transport: &Arc<Transport>,
    incident: Option<&IncidentId>,
    session_policy: &'static str,
) -> SdkConfig {
    let provider = AssumeRoleProvider::builder(arn)
        .session_name(session_name(incident))
        .policy(session_policy)
        .configure(&config)
        .build()
        .await;
    with_credentials(config, provider, transport)
}

/// `config` with credentials from `provider`, whose secrets are registered.
fn with_credentials(
    config: SdkConfig,
    provider: impl ProvideCredentials + 'static,
    transport: &Transport,
) -> SdkConfig {
    let registrar = SecretRegistrar::new(provider, &transport.secrets);
    config
        .into_builder()
        .credentials_provider(SharedCredentialsProvider::new(registrar))
        .build()
}

/// Names the session after the incident, so that the account's owner sees in CloudTrail for which
/// incident the role was assumed.
fn session_name(incident: Option<&IncidentId>) -> String {
    let name = incident.map_or("exhibit", IncidentId::as_str);
    if SESSION_CHARS.contains(&name.len()) {
        name.to_owned()
    } else {
        format!("exhibit-{name}")
    }
}

/// A recorder whose records are never persisted, for requests that fetch credentials.
fn discarding_recorder(transport: &Arc<Transport>) -> Recorder {
    let quota = QuotaKey {
        provider: "aws",
        account: String::new(),
        region: String::new(),
        endpoint: "credentials",
    };
    Recorder::new(
        Arc::clone(transport),
        RequestPolicy {
            quota,
            ..AUXILIARY_POLICY.clone()
        },
        [0; 8],
        CancellationToken::new(),
    )
    .without_recording()
}

/// Registers the secrets of all credentials that `provider` returns.
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
            let secret_key = credentials.secret_access_key();
            for secret in [Some(secret_key), credentials.session_token()]
                .into_iter()
                .flatten()
            {
                match credentials.expiry() {
                    Some(until) => self.secrets.lease(secret, until),
                    None => self.secrets.add(secret),
                }
            }
            Ok(credentials)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_text_round_trips() {
        for access in [
            AccountAccess::Default,
            AccountAccess::Profile("a:b".to_owned()),
            AccountAccess::Role("arn:aws:iam::1:role/x".to_owned()),
        ] {
            assert_eq!(AccountAccess::parse(&access.to_string()), access);
        }
    }

    #[test]
    fn program_gives_credentials_unless_the_sdk_prefers_other_keys() {
        let of = |keys: &'static [(&'static str, &'static str)]| {
            command_of(|name| {
                let found = keys.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| *value)
            })
        };
        const PROCESS: (&str, &str) = ("credential_process", "/bin/get");
        assert_eq!(of(&[PROCESS]), Some("/bin/get"));
        assert_eq!(
            of(&[("aws_access_key_id", "AKIA"), PROCESS]),
            Some("/bin/get")
        );
        assert_eq!(of(&[("sso_session", "corp"), PROCESS]), None);
        assert_eq!(of(&[("role_arn", "arn:aws:iam::1:role/x"), PROCESS]), None);
        assert_eq!(of(&[("aws_access_key_id", "AKIA")]), None);
    }

    #[test]
    fn program_at_the_end_of_a_chain_of_profiles_is_ours() {
        let files = |profile: &str, key: &str| match (profile, key) {
            ("audit", "role_arn") => Some("arn:aws:iam::1:role/audit"),
            ("audit", "source_profile") => Some("hub"),
            ("audit", "external_id") => Some("7"),
            ("hub", "role_arn") => Some("arn:aws:iam::2:role/hub"),
            ("hub", "source_profile") => Some("base"),
            ("base", "credential_process") => Some("/bin/get"),
            ("circle", "role_arn") => Some("arn:aws:iam::3:role/x"),
            ("circle", "source_profile") => Some("circle"),
            ("keys", "role_arn") => Some("arn:aws:iam::4:role/x"),
            ("keys", "source_profile") => Some("static"),
            ("static", "aws_access_key_id") => Some("AKIA"),
            _ => None,
        };
        let chain = process_chain("audit", files).expect("a program");
        assert_eq!(chain.command, "/bin/get");
        let arns: Vec<&str> = chain.roles.iter().map(|role| role.arn.as_str()).collect();
        assert_eq!(
            arns,
            ["arn:aws:iam::2:role/hub", "arn:aws:iam::1:role/audit"]
        );
        assert_eq!(chain.roles[1].external_id.as_deref(), Some("7"));
        assert_eq!(
            process_chain("base", files).map(|chain| chain.roles.len()),
            Some(0)
        );
        for other in ["circle", "keys", "static", "none"] {
            assert_eq!(process_chain(other, files), None, "{other}");
        }
    }

    #[test]
    fn names_session_after_incident() {
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
