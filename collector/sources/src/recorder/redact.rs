//! Removes credentials from an exchange before anything of it is hashed or written.
//!
//! Header fields and URL parameters that carry credentials lose their values, whoever owns them.
//! Our own credentials are masked wherever they occur ([`super::secrets`]). Bodies are evidence:
//! nothing else is removed from them, unless the body is a credential itself ([`super::tokens`]).

use std::borrow::Cow;
use std::collections::BTreeMap;

use url::Url;

/// Replaces the value of a header field or URL parameter.
pub(super) const REMOVED: &str = "removed";

/// Header fields, in lower case, whose values are credentials.
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
    "x-subject-token", // OpenStack Identity
    "private-token",   // GitLab
    "job-token",       // GitLab
    "x-vault-token",
    "x-csrf-token",
];

/// URL parameters, in lower case, whose values are credentials: signed URLs of AWS, Google and
/// Azure, OAuth 2, API keys.
const PARAMETERS: &[&str] = &[
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
    "x-goog-signature",
    "x-goog-credential",
    "signature",
    "urlsignature", // logs of GitHub Actions
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

/// Header fields, in lower case, that contain URLs.
const URL_HEADERS: &[&str] = &["location", "content-location", "referer", "link"];

/// How often each kind of credential was removed. The keys become `what` of the item's redactions.
pub(crate) type RemovalCounts = BTreeMap<String, u64>;

pub(super) fn count(removed: &mut RemovalCounts, what: &str, times: u64) {
    if times > 0 {
        *removed.entry(what.to_owned()).or_default() += times;
    }
}

/// The value of the header field `name` (in lower case) without credentials.
pub(super) fn strip_header_value<'v>(
    name: &str,
    value: &'v str,
    removed: &mut RemovalCounts,
) -> Cow<'v, str> {
    if HEADERS.contains(&name) {
        count(removed, &format!("values of header field {name}"), 1);
        return Cow::Borrowed(REMOVED);
    }
    if !URL_HEADERS.contains(&name) {
        return Cow::Borrowed(value);
    }
    // `Link` (RFC 8288) has several URLs in angle brackets, the other fields have one without
    let pieces = value
        .split_inclusive(['<', '>', ',', ' ', ';'])
        .map(|piece| {
            let text = piece.trim_end_matches(['<', '>', ',', ' ', ';']);
            format!("{}{}", strip_url(text, removed), &piece[text.len()..])
        });
    Cow::Owned(pieces.collect())
}

/// A URL, or its path and query, without user name and password, and without the values of
/// parameters that are credentials.
pub(super) fn strip_url<'t>(text: &'t str, removed: &mut RemovalCounts) -> Cow<'t, str> {
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

/// The values of those parameters of a URL that are credentials, as they are written there.
pub(super) fn credentials_in_url(text: &str) -> impl Iterator<Item = &str> {
    let query = text.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    query
        .split('&')
        .filter(|parameter| is_credential_parameter(parameter))
        .filter_map(|parameter| Some(parameter.split_once('=')?.1))
}

/// True if the value of `parameter` (`name=value`) is a credential.
pub(crate) fn is_credential_parameter(parameter: &str) -> bool {
    PARAMETERS.contains(&decoded_name(parameter).as_str())
}

/// The name of a URL parameter in lower case. The server decodes `%73ig` to `sig`, and so must we.
fn decoded_name(parameter: &str) -> String {
    let name = parameter.split('=').next().unwrap_or_default();
    url::form_urlencoded::parse(name.as_bytes())
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect()
}

fn parameter_without_value(parameter: &str, removed: &mut RemovalCounts) -> String {
    let name = parameter.split('=').next().unwrap_or_default();
    if !is_credential_parameter(parameter) {
        return parameter.to_owned();
    }
    let decoded = decoded_name(parameter);
    count(removed, &format!("values of URL parameter {decoded}"), 1);
    format!("{name}={REMOVED}")
}

fn without_userinfo<'t>(text: &'t str, removed: &mut RemovalCounts) -> Cow<'t, str> {
    match Url::parse(text) {
        Ok(mut url) if !url.username().is_empty() || url.password().is_some() => {
            count(removed, "user names and passwords in URLs", 1);
            // fails only for URLs that can have neither
            let _ = url.set_username("").and_then(|()| url.set_password(None));
            Cow::Owned(url.into())
        }
        // written as it came: `Url` would normalise it
        Ok(_) | Err(_) => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted_url(text: &str) -> String {
        strip_url(text, &mut RemovalCounts::new()).into_owned()
    }

    #[test]
    fn removes_credentials_from_url() {
        let url = "https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4&X-Amz-Credential=AKIA%2F1&X-Amz-Signature=ab&partNumber=1#f";
        let kept = "https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4&X-Amz-Credential=removed&X-Amz-Signature=removed&partNumber=1#f";
        assert_eq!(redacted_url(url), kept);
        assert_eq!(redacted_url("/a?%73ig=x&sigh=y"), "/a?%73ig=removed&sigh=y");
        assert_eq!(redacted_url("/a/b"), "/a/b");
        assert_eq!(redacted_url("https://me:pw@host/a"), "https://host/a");
    }

    #[test]
    fn removes_credentials_from_each_url_of_link_header() {
        let mut removed = RemovalCounts::new();
        let value =
            "<https://h/a?after=1&token=t>; rel=\"next\", <https://h/b?sig=s>; rel=\"self\"";
        let kept = "<https://h/a?after=1&token=removed>; rel=\"next\", <https://h/b?sig=removed>; rel=\"self\"";
        assert_eq!(strip_header_value("link", value, &mut removed), kept);
        assert_eq!(removed.values().sum::<u64>(), 2);
        assert_eq!(
            strip_header_value("authorization", "Bearer x", &mut removed),
            REMOVED
        );
        assert_eq!(
            strip_header_value("x-amzn-requestid", "1-2", &mut removed),
            "1-2"
        );
    }
}
