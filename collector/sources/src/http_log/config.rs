//! `[sources.http_log]`.

use serde::{Deserialize, Deserializer, de::Error as _};
use url::Url;

use crate::config::{ConnectionConfig, TokenConfig};
use crate::rest::TimeSpelling;

/// Of the source, its section and its deriver.
pub(super) const NAME: &str = "http_log";

/// What a token needs.
pub(super) const GRANT: &str = "read access to the log";

/// Longest name of a log: it is a part of names in bundles.
const NAME_CHARS_MAX: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpLogConfig {
    pub(super) logs: Vec<HttpLog>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct HttpLog {
    /// Names the log in bundles and on the timeline.
    pub(super) name: String,
    pub(super) url: LogUrl,
    #[serde(default)]
    pub(super) times: LogTimes,
    /// The provider includes the window's end.
    #[serde(default)]
    pub(super) until_inclusive: bool,
    /// Days that it answers at once.
    pub(super) days_max: Option<u32>,
    #[serde(default)]
    pub(super) format: LogFormat,
    /// Where a page has the list of records; empty if the page is the list.
    #[serde(default)]
    pub(super) records: String,
    #[serde(default)]
    pub(super) next_link: bool,
    pub(super) next_url: Option<String>,
    pub(super) next_token: Option<String>,
    pub(super) next_parameter: Option<String>,
    pub(super) page_parameter: Option<String>,
    #[serde(default = "one")]
    pub(super) first_page: u64,
    pub(super) page_size: Option<u64>,
    #[serde(default)]
    pub(super) hide: Vec<String>,
    pub(super) time: Option<String>,
    pub(super) id: Option<String>,
    pub(super) action: Option<String>,
    pub(super) actor: Option<String>,
    pub(super) target: Option<String>,
    pub(super) address: Option<String>,
    pub(super) credential: Option<String>,
    pub(super) outcome: Option<String>,
    pub(super) transaction: Option<String>,
    pub(super) message: Option<String>,
    /// What kind of thing the events are: one of the timeline's categories.
    pub(super) category: Option<String>,
    pub(super) token_header: Option<String>,
    pub(super) token_prefix: Option<String>,
    #[serde(flatten)]
    pub(super) token: TokenConfig,
    #[serde(flatten)]
    pub(super) connection: ConnectionConfig,
}

fn one() -> u64 {
    1
}

/// A URL whose path and query may have placeholders.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogUrl {
    pub(super) origin: Url,
    /// Path and query, as they are in the configuration.
    pub(super) path: String,
}

/// How a window's times are spelled in the URL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LogTimes {
    #[default]
    Rfc3339,
    Rfc3339Milliseconds,
    EpochSeconds,
    EpochMilliseconds,
}

/// What an answer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LogFormat {
    /// A page with a list of records.
    #[default]
    Json,
    /// A JSON document in each line.
    Lines,
    Text,
}

impl LogTimes {
    pub(super) fn spelling(self) -> TimeSpelling {
        match self {
            Self::Rfc3339 => TimeSpelling::Rfc3339Seconds,
            Self::Rfc3339Milliseconds => TimeSpelling::Rfc3339Milliseconds,
            Self::EpochSeconds => TimeSpelling::EpochSeconds,
            Self::EpochMilliseconds => TimeSpelling::EpochMilliseconds,
        }
    }
}

impl<'de> Deserialize<'de> for LogUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

impl LogUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?}: {why}");
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("not a URL"))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let origin = Url::parse(&format!("{scheme}://{authority}"));
        let origin = origin.map_err(|cause| wrong(&cause.to_string()))?;
        let host = origin.host_str().unwrap_or_default();
        let is_private =
            scheme == "https" || scheme == "http" && platform::loopback::is_loopback_host(host);
        if !is_private || authority.contains('@') {
            return Err(wrong(
                "secrets are only sent over https, and never written into a URL",
            ));
        }
        if path.contains('#') || path.contains(char::is_whitespace) {
            return Err(wrong("blanks and fragments are not sent"));
        }
        let mut placeholders = path.split('{').skip(1);
        if let Some(unknown) = placeholders.find(|rest| {
            !["from}", "until}"]
                .iter()
                .any(|known| rest.starts_with(known))
        }) {
            let name = unknown.split('}').next().unwrap_or_default();
            return Err(wrong(&format!(
                "{{{name}}} is neither {{from}} nor {{until}}"
            )));
        }
        let path = match path {
            path if path.starts_with('/') => path.to_owned(),
            path => format!("/{path}"),
        };
        Ok(Self { origin, path })
    }

    pub(super) fn has_window(&self) -> bool {
        self.path.contains("{from}")
    }
}

impl HttpLog {
    /// What is wrong beyond the form.
    pub(super) fn check(&self) -> Result<(), String> {
        let is_name = !self.name.is_empty()
            && self.name.len() <= NAME_CHARS_MAX
            && self
                .name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !is_name {
            return Err(format!(
                "a name has up to {NAME_CHARS_MAX} of a to z, 0 to 9 and -"
            ));
        }
        let ways = [
            self.next_link,
            self.next_url.is_some(),
            self.next_token.is_some(),
            self.page_parameter.is_some(),
        ];
        let ways = ways.iter().filter(|is_given| **is_given).count();
        if ways > 1 {
            return Err(
                "give one of next-link, next-url, next-token and page-parameter".to_owned(),
            );
        }
        if ways > 0 && self.format != LogFormat::Json {
            return Err("only the format json has pages".to_owned());
        }
        if self.next_token.is_some() != self.next_parameter.is_some() {
            return Err("give both next-token and next-parameter".to_owned());
        }
        if self.page_parameter.is_some() != self.page_size.is_some() || self.page_size == Some(0) {
            return Err("give both page-parameter and page-size, which is at least 1".to_owned());
        }
        if self.url.path.contains("{until}") && !self.url.has_window() {
            return Err("a window needs {from}".to_owned());
        }
        if self.days_max == Some(0) || self.days_max.is_some() && !self.url.has_window() {
            return Err("days-max is at least 1, and needs {from}".to_owned());
        }
        if self.format == LogFormat::Text && !self.hide.is_empty() {
            return Err("hide needs records, which text has not".to_owned());
        }
        let optional = [&self.next_url, &self.next_token].into_iter().flatten();
        let places = self.places().map(|(_, place)| place);
        let mut pointers = places.chain(optional.map(String::as_str));
        let mut hidden = self.hide.iter().map(String::as_str);
        if let Some(wrong) = pointers.find(|pointer| !pointer.starts_with('/')) {
            return Err(format!(
                "{wrong:?} is not a JSON pointer, such as /user/name"
            ));
        }
        if let Some(wrong) = hidden.find(|path| !path.starts_with('/') || path.len() < 2) {
            return Err(format!("{wrong:?} is not a path, such as /records/*/card"));
        }
        if !self.records.is_empty() && !self.records.starts_with('/') {
            return Err(format!("records: {:?} is not a JSON pointer", self.records));
        }
        let known = evidence_derive::ActivityCategory::ALL.map(|one| one.as_str());
        match &self.category {
            Some(category) if !known.contains(&category.as_str()) => {
                Err(format!("category is one of {}", known.join(", ")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What the timeline shows, and where a record has it.
    pub(super) fn places(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let places = [
            ("time", &self.time),
            ("id", &self.id),
            ("action", &self.action),
            ("actor", &self.actor),
            ("target", &self.target),
            ("address", &self.address),
            ("credential", &self.credential),
            ("outcome", &self.outcome),
            ("transaction", &self.transaction),
            ("message", &self.message),
        ];
        places
            .into_iter()
            .filter_map(|(what, place)| Some((what, place.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_of_a_url_stay_as_they_are() {
        let url = LogUrl::parse("https://x.example:8443/a/{from}?q=%22{until}%22").expect("a URL");
        assert_eq!(url.origin.as_str(), "https://x.example:8443/");
        assert_eq!(url.path, "/a/{from}?q=%22{until}%22");
        assert_eq!(LogUrl::parse("https://x.example").expect("a URL").path, "/");
        for wrong in [
            "http://x.example/",
            "https://me:pw@x.example/",
            "x.example/logs",
            "https://x.example/{to}",
            "https://x.example/{",
            "https://x.example/a b",
        ] {
            assert!(LogUrl::parse(wrong).is_err(), "{wrong}");
        }
    }
}
