//! Who asks: keys that the server handed out, and what STS says of them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::events::mix;

/// How long the keys of sessions live. Long-lived keys of an account never expire.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KeyExpiry {
    /// After so many requests with the key, although its `Expiration` says an hour: a session that
    /// is revoked.
    pub requests: Option<u64>,
    /// After so long, as its `Expiration` says.
    pub after: Option<Duration>,
}

/// A key as a client has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// `AKIA…` for an account's own, `ASIA…` for a session's.
    pub access_key_id: String,
    /// What requests are signed with. The server does not check signatures.
    pub secret_access_key: String,
    /// Of a session.
    pub session_token: Option<String>,
    /// Of a session: for how long the key is said to live, in seconds.
    pub lifetime_seconds: Option<u64>,
}

/// What the server knows of a key.
#[derive(Clone, Debug)]
pub(super) struct IssuedKey {
    pub(super) account: String,
    /// Role and session name, for a session.
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

/// Whom an account's own key belongs to.
const USER: &str = "replay";

/// How long a session is said to live, unless it was asked for another time.
const SESSION_SECONDS: u64 = 3600;

/// A role's unique id.
pub(super) fn role_id(role: &str) -> String {
    let number = super::events::mix_text(1, role);
    format!("AROA{number:017X}").chars().take(21).collect()
}

/// Every key that the server handed out.
#[derive(Default)]
pub(super) struct IssuedKeys {
    grants: HashMap<String, IssuedKey>,
    sessions: u64,
}

impl IssuedKeys {
    /// The key of an account itself: always the same.
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

    /// Takes a request that was signed with this key: whose it is, and whether it has expired.
    /// Nothing if the key is not known.
    pub(super) fn take(
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
