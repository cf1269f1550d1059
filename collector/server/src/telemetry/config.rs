//! Where traces go: the standard variables of OpenTelemetry, and `[telemetry]` of the configuration
//! where they say nothing.
//!
//! See <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>. Of the protocols, `http/json`
//! is spoken, which every receiver takes on its port for HTTP.

use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

/// Where a receiver takes traces, below its endpoint.
const PATH: &str = "v1/traces";
/// The name of the service, if nobody says.
const SERVICE: &str = "exhibit";

/// `[telemetry]`. Trusted: whoever edits it learns who does what when, and no content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct TelemetryConfig {
    /// The receiver: `http://127.0.0.1:4318`. Absent: no traces are sent, unless
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` says where.
    pub endpoint: Option<String>,
}

/// Where traces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) service: String,
}

/// It is said where traces go, and they cannot go there.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DestinationError {
    /// No URL.
    #[error("{0:?} is no http:// or https:// URL of a receiver of traces")]
    Url(String),
    /// Another protocol.
    #[error(
        "OTEL_EXPORTER_OTLP_PROTOCOL is {0:?}, and traces are sent as http/json: name the receiver's port for HTTP, and unset it"
    )]
    Protocol(String),
    /// A line of the header cannot be sent. Its value may be a secret.
    #[error("OTEL_EXPORTER_OTLP_HEADERS is no list of name=value, with commas between")]
    Headers,
}

impl Destination {
    /// Where they go, by environment and configuration; `None` if nobody wants any.
    ///
    /// # Errors
    /// See [`DestinationError`].
    pub fn find(
        config: &TelemetryConfig,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, DestinationError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty()); // empty is unset, as the specification says
        let either = |name: &str| {
            variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
                .or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none")
        {
            return Ok(None);
        }
        let whole = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let base = variable("OTEL_EXPORTER_OTLP_ENDPOINT").or_else(|| config.endpoint.clone());
        let url = match (whole, base) {
            (Some(whole), _) => whole,
            (None, Some(base)) => format!("{}/{PATH}", base.trim_end_matches('/')),
            (None, None) => return Ok(None),
        };
        if let Some(protocol) = either("PROTOCOL").filter(|protocol| !protocol.starts_with("http/"))
        {
            return Err(DestinationError::Protocol(protocol));
        }
        let parsed = url
            .parse::<Url>()
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let headers =
            headers(&either("HEADERS").unwrap_or_default()).ok_or(DestinationError::Headers)?;
        let service = variable("OTEL_SERVICE_NAME").unwrap_or_else(|| SERVICE.to_owned());
        Ok(Some(Self {
            url: parsed.ok_or(DestinationError::Url(url))?,
            headers,
            service,
        }))
    }
}

/// `name=value,name=value`, where values may be percent-encoded (W3C Baggage).
fn headers(text: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for pair in text
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        headers.insert(name.trim().parse::<HeaderName>().ok()?, value);
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(
        endpoint: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Result<Option<Destination>, DestinationError> {
        let config = TelemetryConfig {
            endpoint: endpoint.map(str::to_owned),
        };
        let value = |name: &str| {
            variables
                .iter()
                .find(|(other, _)| *other == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Destination::find(&config, value)
    }

    fn url(endpoint: Option<&str>, variables: &[(&str, &str)]) -> Option<String> {
        find(endpoint, variables)
            .expect("it can be reached")
            .map(|destination| destination.url.to_string())
    }

    #[test]
    fn nothing_is_sent_unless_somebody_says_where() {
        assert_eq!(url(None, &[]), None);
        assert_eq!(url(None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), None);
        assert_eq!(
            url(Some("http://a:4318"), &[("OTEL_SDK_DISABLED", "true")]),
            None
        );
        assert_eq!(
            url(Some("http://a:4318"), &[("OTEL_TRACES_EXPORTER", "none")]),
            None
        );
    }

    #[test]
    fn the_environment_comes_before_the_configuration() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://b/otlp/");
        let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c/as/it/is");
        assert_eq!(
            url(Some("http://a:4318"), &[]).as_deref(),
            Some("http://a:4318/v1/traces")
        );
        assert_eq!(
            url(Some("http://a:4318"), &[base]).as_deref(),
            Some("https://b/otlp/v1/traces")
        );
        assert_eq!(
            url(Some("http://a:4318"), &[base, whole]).as_deref(),
            Some("https://c/as/it/is")
        );
    }

    #[test]
    fn what_cannot_be_sent_is_named_without_secrets() {
        let grpc = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
        assert!(matches!(
            find(Some("http://a:4317"), &grpc),
            Err(DestinationError::Protocol(_))
        ));
        for bad in ["a:4318", "ftp://a", "x"] {
            assert!(
                matches!(find(Some(bad), &[]), Err(DestinationError::Url(_))),
                "{bad}"
            );
        }
        let headers = |text| find(Some("http://a"), &[("OTEL_EXPORTER_OTLP_HEADERS", text)]);
        let good = headers("api-key=a%20b, x-tenant=7")
            .expect("two")
            .expect("somewhere");
        assert_eq!(
            (
                good.headers["api-key"].as_bytes(),
                good.headers["x-tenant"].as_bytes()
            ),
            (&b"a b"[..], &b"7"[..])
        );
        assert!(
            !format!("{good:?}").contains("a b"),
            "a key is no text for logs"
        );
        for bad in ["secret", "=secret", "a b=secret", "a=%00secret"] {
            let error = headers(bad).expect_err(bad);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
