//! The receiver of traces: the standard environment variables of OpenTelemetry, with `[telemetry]`
//! of the configuration as their default.
//!
//! See <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>. Of the protocols, only
//! `http/json` is implemented; every receiver accepts it on its HTTP port.

use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

/// The path of traces, relative to a base endpoint.
const TRACES_PATH: &str = "v1/traces";
/// The service name, unless `OTEL_SERVICE_NAME` has another.
const SERVICE_NAME: &str = "exhibit";

/// `[telemetry]`. Trusted: anyone who edits it learns who does what and when, but no content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct TelemetryConfig {
    /// The base URL of the receiver, such as `http://127.0.0.1:4318`. Without it, traces are sent
    /// only if `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set.
    pub endpoint: Option<String>,
}

/// The receiver of traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) service_name: String,
}

/// A receiver is configured, but its settings are invalid.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OtlpEndpointError {
    #[error("the endpoint for traces {0:?} is not an http:// or https:// URL")]
    Url(String),
    #[error(
        "unsupported OTEL_EXPORTER_OTLP_PROTOCOL {0:?}: traces are sent as http/json, so unset it and use the receiver's HTTP port"
    )]
    Protocol(String),
    /// The error does not quote the headers: they may contain a secret.
    #[error("OTEL_EXPORTER_OTLP_HEADERS is not a comma-separated list of name=value")]
    Headers,
}

impl OtlpEndpoint {
    /// The receiver that environment variables or `config` name; `None` if no traces are to be
    /// sent.
    ///
    /// # Errors
    /// See [`OtlpEndpointError`].
    pub fn resolve(
        config: &TelemetryConfig,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, OtlpEndpointError> {
        // The specification treats an empty variable as unset.
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let for_traces_or_all = |name: &str| {
            variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
                .or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none")
        {
            return Ok(None);
        }
        // The endpoint for traces is used as it is; a base endpoint gets the path of traces.
        let traces_url = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let base_url = variable("OTEL_EXPORTER_OTLP_ENDPOINT").or_else(|| config.endpoint.clone());
        let url = match (traces_url, base_url) {
            (Some(url), _) => url,
            (None, Some(base)) => format!("{}/{TRACES_PATH}", base.trim_end_matches('/')),
            (None, None) => return Ok(None),
        };
        if let Some(protocol) = for_traces_or_all("PROTOCOL")
            && !protocol.starts_with("http/")
        {
            return Err(OtlpEndpointError::Protocol(protocol));
        }
        let headers = parse_headers(&for_traces_or_all("HEADERS").unwrap_or_default())
            .ok_or(OtlpEndpointError::Headers)?;
        let parsed = url
            .parse::<Url>()
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        Ok(Some(Self {
            url: parsed.ok_or(OtlpEndpointError::Url(url))?,
            headers,
            service_name: variable("OTEL_SERVICE_NAME").unwrap_or_else(|| SERVICE_NAME.to_owned()),
        }))
    }
}

/// `name=value,name=value`, where values may be percent-encoded (W3C Baggage).
fn parse_headers(text: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for pair in text
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true); // `Debug` then hides it
        headers.insert(name.trim().parse::<HeaderName>().ok()?, value);
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(
        endpoint: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Result<Option<OtlpEndpoint>, OtlpEndpointError> {
        let config = TelemetryConfig {
            endpoint: endpoint.map(str::to_owned),
        };
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(other, _)| *other == name)
                .map(|(_, value)| (*value).to_owned())
        };
        OtlpEndpoint::resolve(&config, variable)
    }

    fn url(endpoint: Option<&str>, variables: &[(&str, &str)]) -> Option<String> {
        resolve(endpoint, variables)
            .expect("valid settings")
            .map(|endpoint| endpoint.url.to_string())
    }

    #[test]
    fn sends_nothing_unless_configured() {
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
    fn environment_overrides_configuration() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://b/otlp/");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c/as/it/is");
        assert_eq!(
            url(Some("http://a:4318"), &[]).as_deref(),
            Some("http://a:4318/v1/traces")
        );
        assert_eq!(
            url(Some("http://a:4318"), &[base]).as_deref(),
            Some("https://b/otlp/v1/traces")
        );
        assert_eq!(
            url(Some("http://a:4318"), &[base, traces]).as_deref(),
            Some("https://c/as/it/is")
        );
    }

    #[test]
    fn rejects_invalid_settings_without_quoting_secrets() {
        let grpc = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
        assert!(matches!(
            resolve(Some("http://a:4317"), &grpc),
            Err(OtlpEndpointError::Protocol(_))
        ));
        for bad in ["a:4318", "ftp://a", "x"] {
            assert!(
                matches!(resolve(Some(bad), &[]), Err(OtlpEndpointError::Url(_))),
                "{bad}"
            );
        }
        let headers = |text| resolve(Some("http://a"), &[("OTEL_EXPORTER_OTLP_HEADERS", text)]);
        let good = headers("api-key=a%20b, x-tenant=7")
            .expect("valid settings")
            .expect("an endpoint");
        assert_eq!(
            (
                good.headers["api-key"].as_bytes(),
                good.headers["x-tenant"].as_bytes()
            ),
            (&b"a b"[..], &b"7"[..])
        );
        assert!(
            !format!("{good:?}").contains("a b"),
            "the log must not show header values"
        );
        for bad in ["secret", "=secret", "a b=secret", "a=%00secret"] {
            let error = headers(bad).expect_err(bad);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
