//! Takes credentials out of an exchange before anything of it is hashed or written.
//!
//! Our own credentials go wherever they stand. Header fields and URL parameters that carry
//! anybody's credentials lose their values. Bodies are evidence: apart from our own secrets nothing
//! in them is touched.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use memchr::memmem::Finder;
use url::Url;

/// Stands where a header's or a parameter's value stood.
pub(super) const REMOVED: &str = "removed";

/// A configured secret shorter than this is not looked for in bodies: it would be found in every
/// second word.
const SECRET_BYTES_MIN: usize = 8;

/// Header fields whose values are credentials, in lower case.
const HEADERS: &[&str] = &[
    "authorization",        // RFC 9110 §11.6.2
    "proxy-authorization",  // RFC 9110 §11.7.2
    "authentication-info",  // RFC 9110 §11.6.3
    "cookie",               // RFC 6265
    "set-cookie",           // RFC 6265
    "dpop",                 // RFC 9449
    "x-amz-security-token", // AWS Signature Version 4: the session token
    "x-amz-server-side-encryption-customer-key",
    "x-ms-authorization-auxiliary", // Azure Resource Manager
    "x-goog-api-key",
    "x-goog-iam-authorization-token",
    "x-api-key",
    "api-key",
    "apikey",
    "x-auth-token",
    "private-token", // GitLab
    "job-token",     // GitLab
    "x-vault-token",
    "x-csrf-token",
];

/// URL parameters whose values are credentials, in lower case: signed URLs of AWS, Google and
/// Azure, OAuth 2, API keys.
const PARAMETERS: &[&str] = &[
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
    "x-goog-signature",
    "x-goog-credential",
    "signature",
    "sig",
    "access_token",
    "refresh_token",
    "id_token",
    "client_secret",
    "client_assertion",
    "assertion",
    "code",
    "password",
    "secret",
    "token",
    "jwt",
    "api_key",
    "apikey",
    "key",
];

/// Header fields that hold a URL.
const URL_HEADERS: &[&str] = &["location", "content-location", "referer", "link"];

/// What has been removed, and how often, by the words that the bundle's config uses for it.
pub(crate) type RemovalCounts = BTreeMap<String, u64>;

/// Our own credentials, all of them, in each form in which they could stand in an exchange. Shared:
/// a credential that is obtained in mid-capture is unknown to nobody.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<Vec<Finder<'static>>>>);

impl Secrets {
    /// Adds a secret. Shorter ones than 8 bytes are ignored.
    pub fn add(&self, secret: &str) {
        if secret.len() < SECRET_BYTES_MIN {
            return;
        }
        let json = serde_json::to_string(secret).unwrap_or_default();
        let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for text in [secret, json.trim_matches('"'), &form] {
            if !known.iter().any(|there| there.needle() == text.as_bytes()) {
                known.push(Finder::new(text.as_bytes()).into_owned());
            }
        }
        known.sort_by_key(|secret| std::cmp::Reverse(secret.needle().len())); // the longer form first, if one is part of another
    }

    /// `bytes` with asterisks in the place of each secret: as many, so that a stated length stays
    /// true.
    pub(super) fn mask<'b>(&self, bytes: &'b [u8], removed: &mut RemovalCounts) -> Cow<'b, [u8]> {
        let mut masked = Cow::Borrowed(bytes);
        for secret in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            let places: Vec<usize> = secret.find_iter(&masked).collect();
            for at in &places {
                masked.to_mut()[*at..at + secret.needle().len()].fill(b'*');
            }
            count(removed, "own credentials", places.len() as u64);
        }
        masked
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

fn count(removed: &mut RemovalCounts, what: &str, times: u64) {
    if times > 0 {
        *removed.entry(what.to_owned()).or_default() += times;
    }
}

/// The value of header field `name` (in lower case) as it may be written.
pub(super) fn header<'v>(name: &str, value: &'v str, removed: &mut RemovalCounts) -> Cow<'v, str> {
    if HEADERS.contains(&name) {
        count(removed, &format!("values of header field {name}"), 1);
        return Cow::Borrowed(REMOVED);
    }
    if !URL_HEADERS.contains(&name) {
        return Cow::Borrowed(value);
    }
    // a Link field (RFC 8288) holds several URLs in angle brackets, the others one without
    let pieces = value
        .split_inclusive(['<', '>', ',', ' ', ';'])
        .map(|piece| {
            let text = piece.trim_end_matches(['<', '>', ',', ' ', ';']);
            format!("{}{}", target(text, removed), &piece[text.len()..])
        });
    Cow::Owned(pieces.collect())
}

/// A URL, or its path and query, without the values of parameters that are credentials, and without
/// a user's password.
pub(super) fn target<'t>(text: &'t str, removed: &mut RemovalCounts) -> Cow<'t, str> {
    let text = without_userinfo(text, removed);
    let Some((path, query)) = text.split_once('?') else {
        return text;
    };
    let (query, fragment) = query
        .split_once('#')
        .map_or((query, None), |(query, fragment)| (query, Some(fragment)));
    let parameters: Vec<String> = query
        .split('&')
        .map(|parameter| parameter_without_value(parameter, removed))
        .collect();
    let fragment = fragment
        .map(|fragment| format!("#{fragment}"))
        .unwrap_or_default();
    Cow::Owned(format!("{path}?{}{fragment}", parameters.join("&")))
}

fn parameter_without_value(parameter: &str, removed: &mut RemovalCounts) -> String {
    let name = parameter.split('=').next().unwrap_or_default();
    let decoded: String = url::form_urlencoded::parse(name.as_bytes())
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    if !PARAMETERS.contains(&decoded.as_str()) {
        return parameter.to_owned();
    }
    count(removed, &format!("values of URL parameter {decoded}"), 1);
    format!("{name}={REMOVED}")
}

fn without_userinfo<'t>(text: &'t str, removed: &mut RemovalCounts) -> Cow<'t, str> {
    let has_userinfo = |url: &Url| !url.username().is_empty() || url.password().is_some();
    match Url::parse(text) {
        Ok(mut url) if has_userinfo(&url) => {
            count(removed, "user names and passwords in URLs", 1);
            let _ = url.set_username("").and_then(|()| url.set_password(None)); // fails only for URLs that can have neither
            Cow::Owned(url.into())
        }
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubbed(text: &str) -> String {
        target(text, &mut RemovalCounts::new()).into_owned()
    }

    #[test]
    fn parameters_that_are_credentials_lose_their_values() {
        let url = "https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4&X-Amz-Credential=AKIA%2F1&X-Amz-Signature=ab&partNumber=1#f";
        let kept = "https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4&X-Amz-Credential=removed&X-Amz-Signature=removed&partNumber=1#f";
        assert_eq!(scrubbed(url), kept);
        assert_eq!(scrubbed("/a?%73ig=x&sigh=y"), "/a?%73ig=removed&sigh=y");
        assert_eq!(scrubbed("/a/b"), "/a/b");
        assert_eq!(scrubbed("https://me:pw@host/a"), "https://host/a");
    }

    #[test]
    fn links_are_several_urls() {
        let mut removed = RemovalCounts::new();
        let value =
            "<https://h/a?after=1&token=t>; rel=\"next\", <https://h/b?sig=s>; rel=\"self\"";
        let kept = "<https://h/a?after=1&token=removed>; rel=\"next\", <https://h/b?sig=removed>; rel=\"self\"";
        assert_eq!(header("link", value, &mut removed), kept);
        assert_eq!(removed.values().sum::<u64>(), 2);
        assert_eq!(header("authorization", "Bearer x", &mut removed), REMOVED);
        assert_eq!(header("x-amzn-requestid", "1-2", &mut removed), "1-2");
    }

    #[test]
    fn own_secrets_go_in_every_form() {
        let (secrets, mut removed) = (Secrets::default(), RemovalCounts::new());
        secrets.add("p/a+ss\"word");
        secrets.add("short");
        let body = br#"a=p/a+ss"word b=p%2Fa%2Bss%22word c=p/a+ss\"word short"#;
        let masked = secrets.mask(body, &mut removed).into_owned();
        assert_eq!(masked.len(), body.len());
        assert_eq!(
            String::from_utf8(masked).expect("text"),
            "a=*********** b=***************** c=************ short"
        );
        assert_eq!(removed["own credentials"], 3);
    }
}
