//! Any log behind a URL, by what the configuration says of it: applications, and vendors without a
//! source of their own.
//!
//! Each log is a target with one endpoint, which is made of its configuration. The endpoint's id has
//! the places of time, actor and the like, so that records are counted and derived from the bundle
//! alone.

mod access;
mod config;
mod endpoint;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use domain::plan::{CaptureTarget, EvidenceLifetime, SettleRule};
use serde::Deserialize as _;
use serde_json::Value;

use crate::config::{ConfigFindings, SourcesConfig};
use crate::rest::row::{DAY, HOUR};
use crate::rest::{
    AccessRequest, Endpoint, Paging, ProviderAccess, RestAdapter, RestOffer, RestSource, WalkRoot,
    WindowQuery,
};
use config::{GRANT, HttpLog, HttpLogConfig, LogFormat, NAME};

pub(crate) static SOURCE: RestAdapter = RestAdapter::new(&HttpLogSource);

const RECORDS_ITEM: &str = "http_log-records";
const TEXT_ITEM: &str = "http_log-text";

/// Stand for the endpoints that the configuration makes.
static RECORDS: Endpoint = Endpoint::get("http_log:records", "/records?since={from}&until={until}")
    .events("/records", "/time", "/id")
    .pages(Paging::Link)
    .window(WindowQuery::PLAIN)
    .grant(GRANT);
static TEXT: Endpoint = Endpoint::get("http_log:text", "/text").lines().grant(GRANT);

/// What came late is asked for again.
const SETTLES: &[SettleRule] = &[SettleRule::after(HOUR), SettleRule::after(DAY)];
/// Whoever runs the log decides how long it is kept.
const KEPT: EvidenceLifetime = EvidenceLifetime::DaysBetween {
    least: 1,
    most: 365,
};
const DOCS: &str = "https://www.rfc-editor.org/rfc/rfc9110";

static OFFERS: &[&RestOffer] = &[
    &RestOffer::new(
        RECORDS_ITEM,
        "records of logs that the configuration names",
        KEPT,
        DOCS,
    )
    .arrives_late(300)
    .settles(SETTLES)
    .roots(&[&RECORDS]),
    &RestOffer::new(TEXT_ITEM, "files that the configuration names", KEPT, DOCS)
        .arrives_late(300)
        .settles(SETTLES)
        .roots(&[&TEXT]),
];

struct HttpLogSource;

impl HttpLogSource {
    fn logs(config: &SourcesConfig) -> Result<Vec<HttpLog>, String> {
        match config.section(NAME) {
            Some(section) => Ok(read(section)?.logs),
            None => Ok(Vec::new()),
        }
    }

    fn log(target: &CaptureTarget, config: &SourcesConfig) -> Result<HttpLog, String> {
        let name = target.access.as_deref().unwrap_or_default();
        let mut logs = Self::logs(config)?.into_iter();
        logs.find(|log| log.name == name)
            .ok_or_else(|| format!("{name} is no longer in [sources.{NAME}]"))
    }
}

fn read(section: &Value) -> Result<HttpLogConfig, String> {
    let config = HttpLogConfig::deserialize(section).map_err(|error| error.to_string())?;
    for (index, log) in config.logs.iter().enumerate() {
        log.check()
            .map_err(|fault| format!("{}: {fault}", log.name))?;
        if config.logs[..index]
            .iter()
            .any(|other| other.name == log.name)
        {
            return Err(format!("two logs are called {}", log.name));
        }
    }
    Ok(config)
}

#[async_trait]
impl RestSource for HttpLogSource {
    fn name(&self) -> &'static str {
        NAME
    }

    fn description(&self) -> &'static str {
        "any log behind a URL, such as those of applications, by the configuration"
    }

    fn offers(&self) -> &'static [&'static RestOffer] {
        OFFERS
    }

    fn me(&self) -> Option<&'static Endpoint> {
        None
    }

    fn identity(&self, _: &Value) -> Option<String> {
        None
    }

    fn not_configured(&self, config: &SourcesConfig) -> Option<&'static str> {
        let none = Self::logs(config).is_ok_and(|logs| logs.is_empty());
        none.then_some("its section of the configuration names nothing to capture")
    }

    async fn targets(&self, cx: &AccessRequest<'_>) -> Vec<Result<CaptureTarget, String>> {
        let logs = match Self::logs(cx.config) {
            Ok(logs) => logs,
            Err(problem) => return vec![Err(problem)],
        };
        let target = |log: HttpLog| CaptureTarget {
            account: Some(log.name.clone()),
            access: Some(log.name.clone()),
            name: Some(log.name),
            ..CaptureTarget::default()
        };
        logs.into_iter().map(|log| Ok(target(log))).collect()
    }

    async fn open(
        &self,
        target: &CaptureTarget,
        cx: &AccessRequest<'_>,
    ) -> Result<ProviderAccess, String> {
        let log = Self::log(target, cx.config)?;
        Ok(ProviderAccess {
            account: log.name.clone(),
            base: log.url.origin.clone(),
            services: Vec::new(),
            trust: Arc::new(log.connection.trust()?),
            signer: access::signer(&log)?,
            names: Vec::new(),
            redirect_hosts: Vec::new(),
        })
    }

    async fn roots(
        &self,
        offer: &'static RestOffer,
        target: &CaptureTarget,
        _: &ProviderAccess,
        cx: &AccessRequest<'_>,
    ) -> Result<Vec<WalkRoot>, String> {
        let log = Self::log(target, cx.config)?;
        let is_text = log.format == LogFormat::Text;
        // No log can be searched: it is captured whole.
        if is_text != (offer.item == TEXT_ITEM) || cx.pivot.is_some() {
            return Ok(Vec::new());
        }
        let endpoint = endpoint::of_log(&log).ok_or("the configuration was changed too often")?;
        Ok(vec![WalkRoot::new(endpoint)])
    }

    fn endpoint(&self, id: &str) -> Option<&'static Endpoint> {
        endpoint::of_id(id)
    }

    fn check_section(&self, section: &Value) -> Option<Result<(), String>> {
        Some(read(section).map(drop))
    }

    fn check_instances(&self, config: &SourcesConfig) -> ConfigFindings {
        let mut findings = ConfigFindings::default();
        for log in Self::logs(config).unwrap_or_default() {
            // A secret or a certificate may be mounted later: this is no reason to capture nothing.
            let unusable = [
                log.connection.trust().map(drop),
                access::signer(&log).map(drop),
            ];
            let problems = unusable.into_iter().filter_map(Result::err);
            let place = format!("[sources.{NAME}] {}", log.name);
            findings
                .warnings
                .extend(problems.map(|problem| format!("{place}: {problem}")));
        }
        findings
    }

    fn example(&self) -> Option<&'static str> {
        Some(include_str!("example.toml"))
    }
}
