//! Access keys that the server has issued, and their identities in STS.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::events::mix;

/// When session keys expire. An account's own keys never do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KeyExpiry {
    /// After this many requests, although the key's `Expiration` is an hour away: like a revoked
    /// session.
    pub requests: Option<u64>,
    /// After this time, which is also the key's `Expiration`.
    pub after: Option<Duration>,
}

/// A key as a client uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// `AKIA…` for an account's key, `ASIA…` for a session's.
    pub access_key_id: String,
    /// The signing key. The server does not check signatures.
    pub secret_access_key: String,
    /// Only for sessions.
    pub session_token: Option<String>,
    /// Only for sessions: the announced lifetime in seconds.
    pub lifetime_seconds: Option<u64>,
}

/// A key as the server knows it.
#[derive(Clone, Debug)]
pub(super) struct IssuedKey {
    pub(super) account: String,
    /// The role and session name of a session.
    pub(super) session: Option<(String, String)>,
    token: Option<String>,
    requests: u64,
    since: Instant,
    expiry: KeyExpiry,
}

impl IssuedKey {
    /// The caller's ARN.
    pub(super) fn arn(&self) -> String {
        let account = &self.account;
        match &self.session {
            Some((role, name)) => format!("arn:aws:sts::{account}:assumed-role/{role}/{name}"),
            None => format!("arn:aws:iam::{account}:user/{USER}"),
        }
    }

    /// The caller's unique id.
    pub(super) fn user_id(&self) -> String {
        match &self.session {
            Some((role, name)) => format!("{}:{name}", role_id(role)),
            None => "AIDAREPLAYUSER0000000".to_owned(),
        }
    }
}

/// The user of an account's own key.
const USER: &str = "replay";

/// The announced lifetime of a session, unless the request has another one.
const SESSION_SECONDS: u64 = 3600;

/// A role's unique id.
pub(super) fn role_id(role: &str) -> String {
    let number = super::events::mix_text(1, role);
    format!("AROA{number:017X}").chars().take(21).collect()
}

/// All keys that the server has issued.
#[derive(Default)]
pub(super) struct IssuedKeys {
    grants: HashMap<String, IssuedKey>,
    sessions: u64,
}

impl IssuedKeys {
    /// The account's own key, which is always the same.
    pub(super) fn of_account(&mut self, account: &str, now: Instant) -> Credentials {
        let access_key_id = format!("AKIATEST{account}");
        let (token, expiry) = (None, KeyExpiry::default());
        let grant = IssuedKey {
            account: account.to_owned(),
            session: None,
            token,
            requests: 0,
            since: now,
            expiry,
        };
        self.grants.entry(access_key_id.clone()).or_insert(grant);
        let secret_access_key =
            format!("secret/of/{account}/00000000000000000000")[..40].to_owned();
        Credentials {
            access_key_id,
            secret_access_key,
            session_token: None,
            lifetime_seconds: None,
        }
    }

    /// A new key for a session of a role.
    pub(super) fn of_session(
        &mut self,
        account: &str,
        role: &str,
        name: &str,
        (expiry, now): (KeyExpiry, Instant),
    ) -> Credentials {
        self.sessions += 1;
        let access_key_id = format!("ASIATEST{:012}", self.sessions);
        let number = mix(&[self.sessions, 20]);
        let token = format!("IQoJb3JpZ2luX2VjE{number:016x}{}", "A".repeat(300));
        let grant = IssuedKey {
            account: account.to_owned(),
            session: Some((role.to_owned(), name.to_owned())),
            token: Some(token.clone()),
            requests: 0,
            since: now,
            expiry,
        };
        self.grants.insert(access_key_id.clone(), grant);
        Credentials {
            access_key_id,
            secret_access_key: format!("session/{number:016x}{:016x}", mix(&[number, 1])),
            session_token: Some(token),
            lifetime_seconds: Some(
                expiry
                    .after
                    .map_or(SESSION_SECONDS, |after| after.as_secs()),
            ),
        }
    }

    /// Counts a request that was signed with this key, and returns the key and whether it has
    /// expired. `None` if the key is unknown.
    pub(super) fn use_key(
        &mut self,
        access_key_id: &str,
        token: Option<&str>,
        now: Instant,
    ) -> Option<(IssuedKey, bool)> {
        let grant = self
            .grants
            .get_mut(access_key_id)
            .filter(|grant| grant.token.as_deref() == token)?;
        grant.requests += 1;
        let spent = grant
            .expiry
            .requests
            .is_some_and(|max| grant.requests > max);
        let late = grant
            .expiry
            .after
            .is_some_and(|after| now.saturating_duration_since(grant.since) > after);
        Some((grant.clone(), spent || late))
    }
}
