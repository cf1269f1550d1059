//! Our own credentials, which are masked in all records: known from when they are obtained until an
//! hour after they expire.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aho_corasick::AhoCorasick;
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER};

use super::redact::{RemovalCounts, count};

/// A shorter secret is not searched for: it would match parts of unrelated words.
const SECRET_BYTES_MIN: usize = 8;
/// A shorter line of a secret is not searched for on its own.
const SECRET_LINE_BYTES_MIN: usize = 16;
/// How long an expired secret is still masked: a log may quote it late.
const FORGET_AFTER: Duration = Duration::from_secs(3600);
/// Bytes of a secret that the automaton finds; the rest is compared. Session tokens of AWS have
/// more than 1,000 bytes, and an automaton over all of them would be large and slow to rebuild.
const PREFIX_BYTES_MAX: usize = 32;

/// Our own credentials. Clones share them, so that a credential obtained during a capture is known
/// to all recorders at once.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<KnownSecrets>>);

#[derive(Default)]
struct KnownSecrets {
    /// When each secret is to be forgotten; `None` for never.
    leases: HashMap<String, Option<SystemTime>>,
    /// Finds all of `leases`; rebuilt when they change.
    finder: SecretFinder,
}

impl Secrets {
    /// Adds a secret for as long as the process runs. One shorter than 8 bytes is ignored.
    pub fn add(&self, secret: &str) {
        self.remember(secret, None, SystemTime::now());
    }

    /// Adds a secret that is valid until `until`; an hour later it is forgotten. One shorter than 8
    /// bytes is ignored.
    pub fn lease(&self, secret: &str, until: SystemTime) {
        self.lease_at(secret, until, SystemTime::now());
    }

    fn lease_at(&self, secret: &str, until: SystemTime, now: SystemTime) {
        // a time beyond the clock's range is never reached
        self.remember(secret, until.checked_add(FORGET_AFTER), now);
    }

    fn remember(&self, secret: &str, forget_at: Option<SystemTime>, now: SystemTime) {
        if secret.len() < SECRET_BYTES_MIN {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = known.leases.get_mut(secret) {
            // the later of both; never is later than any time
            *lease = lease.zip(forget_at).map(|(known, new)| known.max(new));
            return;
        }
        known.leases.insert(secret.to_owned(), forget_at);
        known.forget_expired(now);
        known.rebuild();
    }

    /// Replaces each secret in `bytes` by asterisks of the same number, so that lengths stated
    /// elsewhere, such as `Content-Length`, remain correct.
    pub(super) fn mask<'b>(&self, bytes: &'b [u8], removed: &mut RemovalCounts) -> Cow<'b, [u8]> {
        let found = self.find(bytes);
        if found.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut masked = bytes.to_vec();
        mask_ranges(&mut masked, found, removed);
        Cow::Owned(masked)
    }

    /// Like [`Self::mask`], in place.
    pub(super) fn mask_in_place(&self, bytes: &mut [u8], removed: &mut RemovalCounts) {
        let found = self.find(bytes);
        mask_ranges(bytes, found, removed);
    }

    /// `text` without our secrets: for errors, in which providers repeat what they were sent.
    #[must_use]
    pub fn masked_text(&self, text: &str) -> String {
        let masked = self.mask(text.as_bytes(), &mut RemovalCounts::new());
        String::from_utf8_lossy(&masked).into_owned()
    }

    /// Length of the longest end of `bytes` that may be the beginning of a secret, which bytes yet
    /// to come would complete.
    pub(super) fn unfinished_bytes(&self, bytes: &[u8]) -> usize {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.finder.unfinished_bytes(bytes)
    }

    fn find(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let now = SystemTime::now();
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if !known.has_expired(now) {
            return known.finder.find(bytes);
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.forget_expired(now);
        known.rebuild();
        known.finder.find(bytes)
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl KnownSecrets {
    fn has_expired(&self, now: SystemTime) -> bool {
        self.leases
            .values()
            .any(|forget_at| forget_at.is_some_and(|forget_at| forget_at <= now))
    }

    fn forget_expired(&mut self, now: SystemTime) {
        self.leases
            .retain(|_, forget_at| forget_at.is_none_or(|forget_at| now < forget_at));
    }

    fn rebuild(&mut self) {
        self.finder = SecretFinder::new(self.leases.keys().flat_map(|secret| forms(secret)));
    }
}

/// The forms in which a secret can occur: as it is, in a JSON text, in a URL or form, in base64 (the
/// Secrets that a log prints as YAML), in hexadecimal, and its lines on their own (a key in a log).
fn forms(secret: &str) -> Vec<String> {
    let json = serde_json::to_string(secret).expect("a text is JSON");
    let json = json[1..json.len() - 1].to_owned(); // without its quotes
    let form_encoded = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut forms = vec![secret.to_owned(), json, form_encoded];
    forms.extend(base64_forms(secret));
    let hex = HEXLOWER.encode(secret.as_bytes());
    forms.extend([hex.to_ascii_uppercase(), hex]);
    let lines = secret.lines().filter(|line| {
        line.len() >= SECRET_LINE_BYTES_MIN && !line.starts_with("-----") && *line != secret
    });
    forms.extend(lines.map(str::to_owned));
    forms
}

/// What is always the same in the base64 of any text that contains `secret`: it depends on the
/// number of bytes before it, and its first and last digits on what these are.
fn base64_forms(secret: &str) -> impl Iterator<Item = String> {
    let alphabets = [BASE64_NOPAD, BASE64URL_NOPAD];
    alphabets.into_iter().flat_map(move |alphabet| {
        (0..3).map(move |before: usize| {
            let bytes = [&[0; 2][..before.min(2)], secret.as_bytes()].concat();
            let digits = alphabet.encode(&bytes);
            let (begin, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
            digits[begin..end].to_owned()
        })
    })
}

/// Finds many secrets in one run over the bytes.
#[derive(Default)]
struct SecretFinder {
    /// Finds the beginnings of all secrets; `None` if there are none.
    automaton: Option<AhoCorasick>,
    /// For each of the automaton's patterns, the secrets that begin with it.
    secrets: Vec<Vec<String>>,
}

impl SecretFinder {
    fn new(forms: impl Iterator<Item = String>) -> Self {
        let mut by_prefix: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
        for form in forms {
            let prefix = &form.as_bytes()[..form.len().min(PREFIX_BYTES_MAX)];
            let secrets = by_prefix.entry(prefix.to_vec()).or_default();
            if !secrets.contains(&form) {
                secrets.push(form);
            }
        }
        let automaton = (!by_prefix.is_empty()).then(|| {
            AhoCorasick::new(by_prefix.keys()).expect("far below the limits of an automaton")
        });
        Self {
            automaton,
            secrets: by_prefix.into_values().collect(),
        }
    }

    /// Where secrets are. Ranges that overlap are joined: both secrets must be masked whole.
    fn find(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for prefix in self
            .automaton
            .iter()
            .flat_map(|a| a.find_overlapping_iter(bytes))
        {
            let rest = &bytes[prefix.start()..];
            let longest = self.secrets[prefix.pattern()]
                .iter()
                .filter(|secret| rest.starts_with(secret.as_bytes()))
                .map(String::len)
                .max();
            found.extend(longest.map(|length| prefix.start()..prefix.start() + length));
        }
        found.sort_by_key(|range| range.start);
        found.dedup_by(|next, range| {
            let overlaps = next.start < range.end;
            if overlaps {
                range.end = range.end.max(next.end);
            }
            overlaps
        });
        found
    }

    fn unfinished_bytes(&self, bytes: &[u8]) -> usize {
        let unfinished = |secret: &String| {
            let end = &bytes[(bytes.len() + 1).saturating_sub(secret.len())..];
            let begins = memchr::memchr_iter(secret.as_bytes()[0], end);
            let mut lengths = begins.map(|begin| &end[begin..]);
            lengths
                .find(|rest| secret.as_bytes().starts_with(rest))
                .map_or(0, <[u8]>::len)
        };
        let secrets = self.secrets.iter().flatten();
        secrets.map(unfinished).max().unwrap_or(0)
    }
}

fn mask_ranges(bytes: &mut [u8], ranges: Vec<Range<usize>>, removed: &mut RemovalCounts) {
    count(removed, "own credentials", ranges.len() as u64);
    for range in ranges {
        bytes[range].fill(b'*');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(secrets: &Secrets, bytes: &str) -> (String, u64) {
        let mut removed = RemovalCounts::new();
        let masked = secrets.mask(bytes.as_bytes(), &mut removed).into_owned();
        assert_eq!(masked.len(), bytes.len());
        (
            String::from_utf8(masked).expect("text"),
            removed.values().sum(),
        )
    }

    #[test]
    fn masks_own_secret_in_every_encoding() {
        let secrets = Secrets::default();
        secrets.add("p/a+ss\"word");
        secrets.add("short");
        assert_eq!(
            masked(
                &secrets,
                r#"a=p/a+ss"word b=p%2Fa%2Bss%22word c=p/a+ss\"word short"#
            ),
            (
                "a=*********** b=***************** c=************ short".to_owned(),
                3
            )
        );
    }

    #[test]
    fn masks_own_secret_in_base64_and_hexadecimal() {
        let secrets = Secrets::default();
        secrets.add("ghp_0123456789");
        for before in ["", "a", "ab", "abc"] {
            for after in ["", "x", "xy", "xyz"] {
                let text = format!("{before}ghp_0123456789{after}");
                let base64 = BASE64_NOPAD.encode(text.as_bytes());
                let (masked, removed) = masked(&secrets, &base64);
                assert_eq!(removed, 1, "{text}");
                let digits = masked.bytes().filter(|byte| *byte != b'*').count();
                // those of other bytes, and one at each end that has bits of both
                let others = (before.len() + after.len()) * 8;
                assert!(digits <= others.div_ceil(6) + 2, "{masked}");
            }
        }
        assert_eq!(
            masked(
                &secrets,
                "6768705f30313233343536373839 6768705F30313233343536373839"
            ),
            (format!("{0} {0}", "*".repeat(28)), 2)
        );
    }

    #[test]
    fn masks_lines_of_a_key_on_their_own() {
        let secrets = Secrets::default();
        secrets.add(
            "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASCBKcwggSj\n-----END KEY-----",
        );
        let log = "1 -----BEGIN KEY-----\n2 MIIEvQIBADANBgkqhkiG\n3 9w0BAQEFAASCBKcwggSj\n";
        let stars = "*".repeat(20);
        let expected = format!("1 -----BEGIN KEY-----\n2 {stars}\n3 {stars}\n");
        assert_eq!(masked(&secrets, log), (expected, 2));
    }

    #[test]
    fn masks_secrets_that_overlap_or_share_their_beginning() {
        let secrets = Secrets::default();
        let header = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ"; // of two JSON Web Tokens, 34 bytes
        for secret in [&format!("{header}.one"), &format!("{header}.two"), header] {
            secrets.add(secret);
        }
        secrets.add("abcdefgh");
        secrets.add("efghijkl");
        let text = format!("{header}.two {header}.six abcdefghijkl abcdefghabcdefgh");
        let expected = format!(
            "{} {}.six {} {}",
            "*".repeat(38),
            "*".repeat(34),
            "*".repeat(12),
            "*".repeat(16)
        );
        assert_eq!(masked(&secrets, &text), (expected, 5));
    }

    #[test]
    fn forgets_secret_an_hour_after_its_lease() {
        let secrets = Secrets::default();
        let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let minutes = |minutes: u64| begin + Duration::from_secs(60 * minutes);
        let known = || {
            let known = secrets.0.read().expect("no panic");
            known.leases.len()
        };
        secrets.lease_at("first-token", minutes(10), begin);
        secrets.lease_at("renewed-token", minutes(10), begin);
        secrets.lease_at("renewed-token", minutes(30), begin);
        secrets.remember("permanent-key", None, begin);
        // a key that is known for good stays so, whatever lease follows
        secrets.lease_at("permanent-key", minutes(1), begin);
        secrets.lease_at("second-token", minutes(200), minutes(69));
        assert_eq!(known(), 4);
        secrets.lease_at("third-token", minutes(200), minutes(70));
        assert_eq!(known(), 4, "the first is gone, the renewed one is not");
        secrets.lease_at("fourth-token", minutes(200), minutes(90));
        assert_eq!(known(), 4);
        // by today's clock, all that is leased in 1970 is forgotten at the next search
        assert_eq!(masked(&secrets, "fourth-token").1, 0);
        assert_eq!(masked(&secrets, "permanent-key").1, 1);
        assert_eq!(known(), 1);
    }

    #[test]
    fn knows_which_end_may_begin_a_secret() {
        let secrets = Secrets::default();
        assert_eq!(secrets.unfinished_bytes(b"abcd"), 0);
        secrets.add("abcabcabd");
        for (bytes, unfinished) in [
            ("", 0),
            ("xyz", 0),
            ("a", 1),
            ("xabcab", 5),
            ("abcabcabc", 6),
            ("abcabcabd", 0),
            ("abcabcab", 8),
        ] {
            assert_eq!(
                secrets.unfinished_bytes(bytes.as_bytes()),
                unfinished,
                "{bytes}"
            );
        }
    }
}
