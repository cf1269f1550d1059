//! Endpoints that are made of the configuration, or of their own ids.
//!
//! An id is `http_log:NAME?time=/at&actor=/user`, with the places percent-encoded: what is needed to
//! count and to derive records.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use url::form_urlencoded::{self, Serializer};

use super::config::{GRANT, HttpLog, LogFormat, NAME};
use crate::recorder::{BodyFilter, HiddenValue};
use crate::rest::{Endpoint, EndpointQuota, Paging, WindowQuery, intern_text};

/// Endpoints of one process. Each change of a log's configuration makes one.
const ENDPOINTS_MAX: usize = 1000;

/// Nothing is known of the provider.
static API: EndpointQuota = EndpointQuota::per_minute("log", 120, 1);

/// By everything that they are made of.
static KNOWN: Mutex<BTreeMap<String, &'static Endpoint>> = Mutex::new(BTreeMap::new());

/// The endpoint of a log; `None` if there are too many.
pub(super) fn of_log(log: &HttpLog) -> Option<&'static Endpoint> {
    let id = id(log);
    let key = format!("{id} {} {:?}", log.url.path, key(log));
    known_or(key, || {
        let mut endpoint = Endpoint {
            path: intern_text(&log.url.path)?,
            window: log.url.has_window().then(|| WindowQuery {
                spelling: log.times.spelling(),
                until_inclusive: log.until_inclusive,
                span_max_days: log.days_max,
                ..WindowQuery::PLAIN
            }),
            quota: &API,
            body_filter: filter(log)?,
            ..made_of(intern_text(&id)?)?
        };
        endpoint.paging = paging(log)?;
        Some(endpoint)
    })
}

/// An endpoint that only counts, for a bundle that another process recorded.
pub(super) fn of_id(id: &str) -> Option<&'static Endpoint> {
    known_or(id.to_owned(), || made_of(intern_text(id)?))
}

fn known_or(key: String, make: impl FnOnce() -> Option<Endpoint>) -> Option<&'static Endpoint> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(endpoint) = known.get(&key) {
        return Some(endpoint);
    }
    if known.len() >= ENDPOINTS_MAX {
        return None;
    }
    let endpoint: &'static Endpoint = Box::leak(Box::new(make()?));
    known.insert(key, endpoint);
    Some(endpoint)
}

/// What the configuration says beside the id and the path.
fn key(log: &HttpLog) -> impl std::fmt::Debug {
    (
        (log.times, log.until_inclusive, log.days_max),
        (log.next_link, log.next_url.clone(), log.next_token.clone()),
        (log.next_parameter.clone(), log.page_parameter.clone()),
        (log.first_page, log.page_size, log.hide.clone()),
    )
}

fn id(log: &HttpLog) -> String {
    let mut query = Serializer::new(String::new());
    if log.format == LogFormat::Json {
        query.append_pair("records", &log.records);
    }
    query.extend_pairs(log.places());
    if let Some(category) = &log.category {
        query.append_pair("category", category);
    }
    // Slashes need no escape, and people read the id.
    format!("{NAME}:{}?{}", log.name, query.finish().replace("%2F", "/"))
}

/// The endpoint with this id, as far as the id says.
fn made_of(id: &'static str) -> Option<Endpoint> {
    let (name, query) = id.split_once('?')?;
    name.strip_prefix("http_log:")?;
    let places: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let endpoint = Endpoint::get(id, "").grant(GRANT);
    let Some(list) = places.get("records") else {
        return Some(endpoint.lines());
    };
    let place = |name: &str| intern_text(places.get(name).map_or("", String::as_str));
    let (list, id, time) = (intern_text(list)?, place("id")?, place("time")?);
    Some(if time.is_empty() {
        endpoint.objects(list, id, "", "")
    } else {
        endpoint.events(list, time, id)
    })
}

fn paging(log: &HttpLog) -> Option<Paging> {
    let text = |text: &Option<String>| intern_text(text.as_deref().unwrap_or_default());
    Some(if log.next_link {
        Paging::Link
    } else if log.next_url.is_some() {
        let at = text(&log.next_url)?;
        Paging::NextUrl { at }
    } else if log.next_token.is_some() {
        let (at, parameter) = (text(&log.next_token)?, text(&log.next_parameter)?);
        Paging::TokenToParameter { at, parameter }
    } else if let Some(size) = log.page_size {
        Paging::PageNumber {
            parameter: text(&log.page_parameter)?,
            first: log.first_page,
            size,
        }
    } else {
        Paging::None
    })
}

/// The filter of what is not written, if there is anything; `None` if there are too many texts.
fn filter(log: &HttpLog) -> Option<Option<BodyFilter>> {
    if log.hide.is_empty() {
        return Some(None);
    }
    let hidden: Option<Vec<HiddenValue>> = log
        .hide
        .iter()
        .map(|path| {
            let path = intern_text(path)?;
            Some(HiddenValue::removed(
                path,
                "a value that the configuration hides",
            ))
        })
        .collect();
    let hidden: &'static [HiddenValue] = hidden?.leak();
    Some(Some(if log.format == LogFormat::Lines {
        BodyFilter::of_lines(hidden)
    } else {
        BodyFilter::of_optional_json(hidden)
    }))
}
