//! Tokens as their holders have them: `exh_`, the id, and a secret that is shown once.

use std::io;
use std::str::FromStr;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use subtle::ConstantTimeEq as _;

use domain::incident::{BoundedText, Name};
use domain::token::{TokenId, TokenRole};
use platform::clock;
use store::ledger::{Ledger, LedgerError, TokenRow};

/// What every token begins with, so that whoever scans for leaked secrets knows ours.
const PREFIX: &str = "exh_";
/// 256 bits: nobody guesses them, so a plain digest of them may be kept.
const SECRET_BYTES: usize = 32;
/// Bytes of a label: with the id beside it, it still is a [`Name`] for the journal.
pub(super) const LABEL_BYTES_MAX: usize = 64;
/// How long a token is good if nobody says.
pub const VALID_BY_DEFAULT: Duration = Duration::from_secs(90 * DAY_SECONDS);
/// How long one may be good: nobody remembers a token of last year.
pub const VALID_MAX: Duration = Duration::from_secs(366 * DAY_SECONDS);

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// Whose a token is, for people.
pub type Label = BoundedText<LABEL_BYTES_MAX, false>;

/// A token with its secret. Whoever has it may do what its role may.
pub struct Secret {
    id: TokenId,
    secret: [u8; SECRET_BYTES],
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What it may do.
    pub role: TokenRole,
    /// Whose it is.
    pub label: Label,
    /// The only incident that it may see; `None` is all.
    pub incident: Option<IncidentId>,
    /// How long it is good.
    pub valid: Duration,
}

/// No token was made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// It would be good for too long.
    #[error("a token is good for {} days at most", VALID_MAX.as_secs() / DAY_SECONDS)]
    TooLong,
    /// The system has no randomness.
    #[error("cannot get randomness from the operating system")]
    Random(#[source] io::Error),
    /// The database failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The text is no token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("that is no token")]
pub struct ParseSecretError;

impl Secret {
    fn draw() -> io::Result<Self> {
        Ok(Self {
            id: TokenId::from_random(platform::random()?),
            secret: platform::random()?,
        })
    }

    /// True if a text is meant to be one of these, and not somebody else's token.
    #[must_use]
    pub fn is_ours(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &TokenId {
        &self.id
    }

    /// True if it is the token of this row, found in a time that does not tell how near it comes.
    #[must_use]
    pub fn is_of(&self, row: &TokenRow) -> bool {
        let digest = Digest::of(&self.secret);
        self.id == row.id
            && bool::from(digest.as_bytes()[..].ct_eq(&row.secret_digest.as_bytes()[..]))
    }

    /// The text that its holder gets.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "{PREFIX}{}_{}",
            self.id,
            BASE64URL_NOPAD.encode(&self.secret)
        )
    }
}

impl FromStr for Secret {
    type Err = ParseSecretError;

    fn from_str(text: &str) -> Result<Self, ParseSecretError> {
        let parse = || {
            let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
            let secret = BASE64URL_NOPAD.decode(secret.as_bytes()).ok()?;
            Some(Self {
                id: id.parse().ok()?,
                secret: secret.try_into().ok()?,
            })
        };
        parse().ok_or(ParseSecretError)
    }
}

/// Makes a token. Its text is nowhere but in the answer.
///
/// # Errors
/// See [`IssueError`].
pub async fn issue(ledger: &Ledger, new: NewToken) -> Result<(TokenRow, Secret), IssueError> {
    let secret = Secret::draw().map_err(IssueError::Random)?;
    let created_at = clock::now();
    let nanoseconds = i128::try_from(new.valid.as_nanos()).unwrap_or(i128::MAX);
    let expires_at =
        Timestamp::from_unix_nanoseconds(created_at.unix_nanoseconds().saturating_add(nanoseconds));
    let expires_at = expires_at
        .filter(|_| new.valid <= VALID_MAX)
        .ok_or(IssueError::TooLong)?;
    let row = TokenRow {
        id: secret.id.clone(),
        secret_digest: Digest::of(&secret.secret),
        role: new.role,
        label: new.label.as_str().to_owned(),
        incident: new.incident,
        created_at,
        expires_at,
        revoked_at: None,
    };
    ledger.add_token(&row).await?;
    Ok((row, secret))
}

/// Who does what the holder of a token does, for journals.
#[must_use]
pub fn caller_name(row: &TokenRow) -> Name {
    Name::escaped(&format!("{} (token {})", row.label, row.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::testing::sqlite;

    fn new_token(valid: Duration) -> NewToken {
        NewToken {
            role: TokenRole::Owner,
            label: "laptop".parse().expect("a label"),
            incident: None,
            valid,
        }
    }

    #[tokio::test]
    async fn a_token_is_found_by_its_text_and_nothing_of_it_is_kept() {
        let (ledger, folder) = sqlite().await;
        let (row, secret) = issue(&ledger, new_token(VALID_BY_DEFAULT))
            .await
            .expect("a database");
        let (other, _) = issue(&ledger, new_token(VALID_BY_DEFAULT))
            .await
            .expect("a database");
        let text = secret.text();
        assert_eq!(text.len(), PREFIX.len() + 16 + 1 + 43, "{text}");
        let parsed: Secret = text.parse().expect("its own text");
        let found = ledger
            .token(parsed.id())
            .await
            .expect("a database")
            .expect("it was added");
        assert_eq!(found, row);
        assert!(parsed.is_of(&found) && !parsed.is_of(&other));
        assert!(!parsed.is_of(&TokenRow {
            secret_digest: other.secret_digest,
            ..found
        }));
        ledger.close().await;
        let secret = text.rsplit_once('_').map_or("", |(_, secret)| secret);
        for file in std::fs::read_dir(folder.path()).expect("own folder") {
            let bytes = std::fs::read(file.expect("own folder").path()).expect("own folder");
            assert!(
                !bytes
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes())
            );
        }
    }

    #[tokio::test]
    async fn a_token_expires() {
        let (ledger, _folder) = sqlite().await;
        let (row, _) = issue(&ledger, new_token(VALID_BY_DEFAULT))
            .await
            .expect("a database");
        let days = (row.expires_at.unix_nanoseconds() - row.created_at.unix_nanoseconds())
            / 86_400_000_000_000;
        assert_eq!(days, 90);
        let forever = issue(&ledger, new_token(VALID_MAX + Duration::from_secs(1))).await;
        assert!(matches!(forever, Err(IssueError::TooLong)));
    }

    #[test]
    fn what_is_no_token_is_none() {
        let good = format!("exh_{}_{}", "ab".repeat(8), "A".repeat(43));
        assert!(good.parse::<Secret>().is_ok());
        for bad in [
            "",
            "exh_",
            &good[..good.len() - 1],
            &format!("{good}A"),
            &good.replace("exh_", "ghp_"),
            &good.replace('A', "+"),
        ] {
            assert!(bad.parse::<Secret>().is_err(), "{bad}");
        }
        let last_bits = format!("{}B", &good[..good.len() - 1]); // a second spelling of the same bytes
        assert!(last_bits.parse::<Secret>().is_err());
    }

    #[test]
    fn the_journal_names_the_token() {
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
