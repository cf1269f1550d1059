//! The collector's own tokens: `exh_`, an id, and a secret that is shown only once.
//!
//! **Trust.** The ledger has a digest of each secret, so anyone who reads the ledger cannot use the
//! tokens in it.

use std::io;
use std::str::FromStr;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use subtle::ConstantTimeEq as _;

use domain::incident::Name;
use domain::token::{TokenId, TokenLabel, TokenRole};
use platform::clock;
use store::ledger::{Ledger, LedgerError, TokenRow};

/// The prefix of every token, by which scanners for leaked secrets can recognise ours.
const PREFIX: &str = "exh_";
/// 256 random bits cannot be guessed, so an unsalted digest suffices for storage.
const SECRET_BYTES: usize = 32;
/// How long a token is valid by default.
pub const VALIDITY_DEFAULT: Duration = Duration::from_secs(90 * DAY_SECONDS);
/// The longest validity: after a year, nobody remembers who has a token.
const VALIDITY_MAX: Duration = Duration::from_secs(366 * DAY_SECONDS);

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// A token with its secret. Anyone who has it can do everything that its role permits.
pub struct ApiToken {
    id: TokenId,
    secret: [u8; SECRET_BYTES],
}

/// A token to be created.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub role: TokenRole,
    pub label: TokenLabel,
    /// The only incident that its holder may see; `None` for all.
    pub incident: Option<IncidentId>,
    pub validity: Duration,
}

/// No token was created.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("a token is valid for {} days at most", VALIDITY_MAX.as_secs() / DAY_SECONDS)]
    TooLong,
    #[error("cannot get randomness from the operating system")]
    Random(#[source] io::Error),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a token of this collector")]
pub struct ParseApiTokenError;

impl ApiToken {
    fn generate() -> io::Result<Self> {
        Ok(Self {
            id: TokenId::from_random(platform::random()?),
            secret: platform::random()?,
        })
    }

    /// True if the text has the prefix of our tokens; tokens of an identity provider do not.
    pub(crate) fn has_prefix(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    pub(crate) fn id(&self) -> &TokenId {
        &self.id
    }

    /// True if this is the token of the row. The comparison takes constant time, so that its
    /// duration does not reveal how much of a guess is right.
    pub(crate) fn matches(&self, row: &TokenRow) -> bool {
        let digest = Digest::of(&self.secret);
        self.id == row.id
            && bool::from(digest.as_bytes()[..].ct_eq(&row.secret_digest.as_bytes()[..]))
    }

    /// The text to send in `Authorization: Bearer`.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "{PREFIX}{}_{}",
            self.id,
            BASE64URL_NOPAD.encode(&self.secret)
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let secret = BASE64URL_NOPAD.decode(secret.as_bytes()).ok()?;
        Some(Self {
            id: id.parse().ok()?,
            secret: secret.try_into().ok()?,
        })
    }
}

impl FromStr for ApiToken {
    type Err = ParseApiTokenError;

    fn from_str(text: &str) -> Result<Self, ParseApiTokenError> {
        Self::parse(text).ok_or(ParseApiTokenError)
    }
}

/// Creates a token. Its secret exists only in the returned value.
///
/// # Errors
/// See [`IssueError`].
pub async fn issue(ledger: &Ledger, new: NewToken) -> Result<(TokenRow, ApiToken), IssueError> {
    let token = ApiToken::generate().map_err(IssueError::Random)?;
    let created_at = clock::now();
    let nanoseconds = i128::try_from(new.validity.as_nanos()).unwrap_or(i128::MAX);
    // Saturates, so that an absurd validity is out of range rather than in the past.
    let expires_at =
        Timestamp::from_unix_nanoseconds(created_at.unix_nanoseconds().saturating_add(nanoseconds));
    let expires_at = expires_at
        .filter(|_| new.validity <= VALIDITY_MAX)
        .ok_or(IssueError::TooLong)?;
    let row = TokenRow {
        id: token.id.clone(),
        secret_digest: Digest::of(&token.secret),
        role: new.role,
        label: new.label.as_str().to_owned(),
        incident: new.incident,
        created_at,
        expires_at,
        revoked_at: None,
    };
    ledger.add_token(&row).await?;
    Ok((row, token))
}

/// The name in journals of a token's holder.
pub(crate) fn caller_name(row: &TokenRow) -> Name {
    Name::escaped(&format!("{} (token {})", row.label, row.id))
}

#[cfg(test)]
mod tests {
    use domain::token::LABEL_BYTES_MAX;
    use store::testing::sqlite;

    use super::*;

    fn new_token(validity: Duration) -> NewToken {
        NewToken {
            role: TokenRole::Owner,
            label: "laptop".parse().expect("a label"),
            incident: None,
            validity,
        }
    }

    #[tokio::test]
    async fn finds_token_by_its_text_without_storing_the_secret() {
        let (ledger, folder) = sqlite().await;
        let (row, token) = issue(&ledger, new_token(VALIDITY_DEFAULT))
            .await
            .expect("a database");
        let (other, _) = issue(&ledger, new_token(VALIDITY_DEFAULT))
            .await
            .expect("a database");
        let text = token.text();
        assert_eq!(text.len(), PREFIX.len() + 16 + 1 + 43, "{text}");
        let parsed: ApiToken = text.parse().expect("its own text");
        let found = ledger
            .token(parsed.id())
            .await
            .expect("a database")
            .expect("it was added");
        assert_eq!(found, row);
        assert!(parsed.matches(&found) && !parsed.matches(&other));
        assert!(!parsed.matches(&TokenRow {
            secret_digest: other.secret_digest,
            ..found
        }));
        ledger.close().await;
        let secret = &text[PREFIX.len() + 16 + 1..]; // it may have a `_` of its own
        for file in std::fs::read_dir(folder.path()).expect("the test owns the folder") {
            let bytes = std::fs::read(file.expect("the test owns the folder").path())
                .expect("the test owns the folder");
            assert!(
                !bytes
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes())
            );
        }
    }

    #[tokio::test]
    async fn limits_validity_of_tokens() {
        let (ledger, _folder) = sqlite().await;
        let (row, _) = issue(&ledger, new_token(VALIDITY_DEFAULT))
            .await
            .expect("a database");
        let days = (row.expires_at.unix_nanoseconds() - row.created_at.unix_nanoseconds())
            / 86_400_000_000_000;
        assert_eq!(days, 90);
        let too_long = issue(&ledger, new_token(VALIDITY_MAX + Duration::from_secs(1))).await;
        assert!(matches!(too_long, Err(IssueError::TooLong)));
    }

    #[test]
    fn rejects_malformed_tokens() {
        let good = format!("exh_{}_{}", "ab".repeat(8), "A".repeat(43));
        assert!(good.parse::<ApiToken>().is_ok());
        for bad in [
            "",
            "exh_",
            &good[..good.len() - 1],
            &format!("{good}A"),
            &good.replace("exh_", "ghp_"),
            &good.replace('A', "+"),
        ] {
            assert!(bad.parse::<ApiToken>().is_err(), "{bad}");
        }
        // The last digit has two unused bits: this is a second spelling of the same bytes.
        let noncanonical = format!("{}B", &good[..good.len() - 1]);
        assert!(noncanonical.parse::<ApiToken>().is_err());
    }

    #[test]
    fn journal_name_keeps_token_id_after_longest_label() {
        let row = TokenRow {
            id: TokenId::from_random([0xab; 8]),
            secret_digest: Digest::of(b""),
            role: TokenRole::Owner,
            label: "x".repeat(LABEL_BYTES_MAX),
            incident: None,
            created_at: clock::now(),
            expires_at: clock::now(),
            revoked_at: None,
        };
        assert!(
            caller_name(&row)
                .as_str()
                .ends_with("x (token abababababababab)")
        );
    }
}
