//! A provider made of a table: answers any endpoint of any table with generated records, pages,
//! totals and children, and with every fault. Runs in the test's own runtime, so that paused time
//! works.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evidence_format::time::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::endpoint::{BodyShape, ChildRepeat, Condition, Endpoint, Paging, ValueFrom};
use crate::loop_guard::digest;

/// Records on a page of the endpoint that is looked at. All others have one page with one record.
pub(super) const PAGE_RECORDS: u64 = 2;
/// Its pages.
pub(super) const PAGES: u64 = 3;
/// Time of the first event.
pub(super) const EVENTS_FROM: i64 = 1_764_201_600;

/// Seconds between events: so few that it is not worth to divide the window.
const EVENTS_EVERY: i64 = 600;

/// What goes wrong, always with the endpoint that is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    None,
    /// Each page is answered once with this status and these header fields.
    OnceEach(u16, &'static str),
    /// Each request is answered so.
    Always(u16, &'static str),
    /// From the second page on, only a newer token is accepted.
    ExpiresInMidListing,
    /// The first answer for each page ends after this share of its bytes.
    CutAt(f64),
    /// The first request for each page is never answered.
    SilentOnce,
    /// The first answer for each page stops in mid-body, and the connection stays open.
    StallsOnce,
    /// Each page has this body.
    Body(&'static str),
    /// The first answer for each page has this body.
    BodyOnce(&'static str),
    /// Each page has this many bytes at least.
    PageBytes(usize),
    /// The last page leads back to page `0`, counted from 0; `PAGES - 1` is itself.
    LoopsTo(u64),
    /// The last page has an empty token.
    EmptyToken,
    /// The second page is said to be on another host.
    NextOnHost(&'static str),
    /// Gives only events of the window that is asked for, and the right totals.
    ObeysWindow,
    /// The same, with an event for each second.
    DenseWindow,
    /// Each page has a next one, and those after the last are empty: a polled log.
    NextForEver,
    /// All records are on one page.
    Records(u64),
    /// `X-Rate-Limit-*` allow nothing more for two seconds, by a clock that is this many seconds
    /// ahead.
    LimitBySkewedClock(i64),
}

/// The double, and what it has been asked.
pub(super) struct Double {
    pub(super) base: Url,
    shared: Arc<Shared>,
}

struct Shared {
    rows: Vec<&'static Endpoint>,
    focus: &'static Endpoint,
    fault: Fault,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Requests by their target.
    asked: BTreeMap<String, u32>,
    asked_focus: u32,
    /// Listings of the endpoint that is looked at: it may be a child of several records.
    listings: BTreeSet<String>,
    repeated_focus: u32,
}

/// A listing of the double.
struct Listing {
    events: Vec<u64>,
    page_size: u64,
    seconds_between: i64,
}

/// One request, as far as the double reads it.
struct Asked {
    path: String,
    query: Vec<(String, String)>,
    authorization: String,
    target: String,
    body: Value,
}

impl Double {
    /// Starts a double that answers `rows`, and misbehaves at `focus`.
    pub(super) async fn start(
        rows: Vec<&'static Endpoint>,
        focus: &'static Endpoint,
        fault: Fault,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            rows,
            focus,
            fault,
            state: Mutex::default(),
        });
        let server = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(Arc::clone(&server), stream));
            }
        });
        Self {
            base: Url::parse(&format!("http://{address}")).expect("a URL"),
            shared,
        }
    }

    /// Requests for the endpoint that is looked at.
    pub(super) fn asked_focus(&self) -> u32 {
        self.shared.state().asked_focus
    }

    /// Listings of it that were begun: one for each record that it is a child of.
    pub(super) fn listings(&self) -> u32 {
        u32::try_from(self.shared.state().listings.len()).expect("few")
    }

    /// What was asked for, and how often.
    pub(super) fn targets(&self) -> Vec<String> {
        let state = self.shared.state();
        let asked = state.asked.iter();
        asked
            .map(|(target, times)| format!("{times} {target}"))
            .collect()
    }

    /// How often a request for the endpoint that is looked at was one that had been asked before.
    pub(super) fn repeated(&self) -> u32 {
        self.shared.state().repeated_focus
    }
}

async fn serve(shared: Arc<Shared>, mut stream: TcpStream) {
    let Some(asked) = read_request(&mut stream).await else {
        return;
    };
    let (answer, stays_open) = shared.answer(&asked);
    let _ = stream.write_all(&answer).await;
    if stays_open {
        std::future::pending::<()>().await;
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Asked> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 8192]);
    loop {
        let n = stream.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let field = |name: &str| {
            head.lines().find_map(|line| {
                let (known, value) = line.split_once(": ")?;
                known.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        let length = field("content-length").and_then(|length| length.parse().ok());
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        let target = head.split(' ').nth(1)?.to_owned();
        let url = Url::parse(&format!("http://double{target}")).ok()?;
        return Some(Asked {
            path: url.path().to_owned(),
            query: url.query_pairs().into_owned().collect(),
            authorization: field("authorization").unwrap_or_default(),
            body: serde_json::from_str(body).unwrap_or_default(),
            target,
        });
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes to send, and whether the connection stays open after them.
    fn answer(&self, asked: &Asked) -> (Vec<u8>, bool) {
        let Some(row) = self.row_of(asked) else {
            return (http(404, "", "{\"error\":\"no such endpoint\"}"), false);
        };
        let is_focus =
            row.id == self.focus.id && row.path == self.focus.path && row.post == self.focus.post;
        let page = page_number(row, asked);
        let times = {
            let mut state = self.state();
            state.asked_focus += u32::from(is_focus);
            if is_focus && page == 0 {
                state.listings.insert(asked.target.clone());
            }
            let body = Some(&asked.body).filter(|body| !body.is_null());
            let body = body.map_or(String::new(), |body| format!(" {body}"));
            let key = format!("{}{body}", asked.target);
            let times = state.asked.entry(key).or_default();
            *times += 1;
            let times = *times;
            state.repeated_focus += u32::from(is_focus && times > 1);
            times
        };
        let fault = if is_focus { self.fault } else { Fault::None };
        let is_first = times == 1;
        let answer = self.page(row, asked, page, is_focus, fault);
        let cut = |share: f64| answer[..(answer.len() as f64 * share) as usize].to_vec();
        match fault {
            Fault::OnceEach(status, fields) if is_first => (http(status, fields, "{}"), false),
            Fault::Always(status, fields) => (http(status, fields, "{}"), false),
            Fault::ExpiresInMidListing if page > 0 && asked.authorization.ends_with("-0") => {
                (http(401, "", "{}"), false)
            }
            Fault::CutAt(share) if is_first => (cut(share), false),
            Fault::SilentOnce if is_first => (Vec::new(), true),
            Fault::StallsOnce if is_first => (answer[..answer.len() - 1].to_vec(), true),
            Fault::Body(body) => (http(200, "", body), false),
            Fault::BodyOnce(body) if is_first => (http(200, "", body), false),
            _ => (answer, false),
        }
    }

    fn row_of(&self, asked: &Asked) -> Option<&'static Endpoint> {
        let fitting = self.rows.iter().copied().filter(|row| {
            let polling = row.window.and_then(|window| window.polling);
            let body_fits = row.post.is_none_or(|post| {
                let post = serde_json::from_str(post).expect("a body is JSON");
                json_fits(&post, &asked.body)
            });
            body_fits && (fits(row.path, asked) || polling.is_some_and(|path| fits(path, asked)))
        });
        fitting.max_by_key(|row| {
            let fixed = row
                .path
                .split(['/', '?', '&'])
                .filter(|part| !part.contains('{'));
            fixed.count()
        })
    }

    fn page(
        &self,
        row: &'static Endpoint,
        asked: &Asked,
        page: u64,
        is_focus: bool,
        fault: Fault,
    ) -> Vec<u8> {
        if row.body.is_streamed() {
            return http(200, "", &"2026-11-27T00:00:00Z line of a log\n".repeat(100));
        }
        let numbers = self.numbers(row, asked, is_focus, fault);
        let size = numbers.page_size as usize;
        let begin = match row.paging {
            Paging::Offset { parameter, .. } => offset(asked, parameter) as usize,
            _ => page as usize * size,
        };
        let end = begin.saturating_add(size).min(numbers.events.len());
        let is_last = end == numbers.events.len();
        let on_page = numbers.events.get(begin..end).unwrap_or_default();
        let made = on_page
            .iter()
            .map(|number| self.record(row, asked, *number, numbers.seconds_between));
        let made: Vec<Value> = made.collect();
        let next = match fault {
            Fault::LoopsTo(to) if is_last => Some(to),
            Fault::NextForEver => Some(page + 1),
            _ if is_last => None,
            _ => Some(page + 1),
        };
        let next = next.map_or(String::new(), |next| format!("p{next}"));
        let mut body = match row.body {
            BodyShape::Object { .. } => made.into_iter().next().unwrap_or_default(),
            BodyShape::Events { list, .. } | BodyShape::Objects { list, .. } => {
                let mut body = json!({});
                set(&mut body, list, Value::Array(made));
                body
            }
            BodyShape::Lines | BodyShape::Opaque => unreachable!("streamed above"),
        };
        if let Some(declared) = row.declared {
            set(&mut body, declared.pointer(), json!(numbers.events.len()));
        }
        let has_token = !next.is_empty() || fault == Fault::EmptyToken;
        let mut fields = String::from("x-request-id: r1\r\n");
        match row.paging {
            Paging::TokenToParameter { at, .. } | Paging::TokenToBody { at, .. } if has_token => {
                set(&mut body, at, json!(next));
            }
            Paging::NextUrl { at } if has_token => {
                set(&mut body, at, json!(next_url(asked, &next, fault)));
            }
            Paging::Link | Paging::LinkQuery if has_token => {
                let url = next_url(asked, &next, fault);
                fields += &format!("link: </self>; rel=\"self\", <{url}>; rel=\"next\"\r\n");
            }
            Paging::HeaderToParameter { header, .. } => {
                fields += &format!("{header}: {next}\r\n");
            }
            _ => {}
        }
        if let Fault::PageBytes(bytes) = fault {
            let record = match row.body {
                BodyShape::Object { .. } => Some(&mut body),
                BodyShape::Events { list, .. } | BodyShape::Objects { list, .. } => {
                    body.pointer_mut(list).and_then(|list| list.get_mut(0))
                }
                BodyShape::Lines | BodyShape::Opaque => None,
            };
            let padding = json!("x".repeat(bytes));
            match record {
                Some(Value::String(_)) => body["padding"] = padding,
                Some(record) => record["padding"] = padding,
                None => {}
            }
        }
        if let Fault::LimitBySkewedClock(ahead) = fault {
            fields += &limit_fields(ahead);
        }
        http(200, &fields, &body.to_string())
    }

    /// The records of the whole listing, by their numbers.
    fn numbers(&self, row: &Endpoint, asked: &Asked, is_focus: bool, fault: Fault) -> Listing {
        let few = |count: u64, page_size: u64| Listing {
            events: (0..count).collect(),
            page_size,
            seconds_between: EVENTS_EVERY,
        };
        if let (true, Fault::Records(count)) = (is_focus, fault) {
            return few(count, count);
        }
        if !is_focus || matches!(row.paging, Paging::None) {
            return few(1, 1);
        }
        let (mut listing, query) = match (fault, row.paging) {
            (Fault::DenseWindow, _) => (
                Listing {
                    events: (0..3600).collect(),
                    page_size: 100,
                    seconds_between: 1,
                },
                row.window,
            ),
            (Fault::ObeysWindow, _) => (few(PAGES * PAGE_RECORDS, PAGE_RECORDS), row.window),
            // numbered pages end with one that is not full; two, since each has a hundred records
            (_, Paging::PageNumber { size, .. } | Paging::Offset { size, .. }) => {
                (few(size + PAGE_RECORDS.min(size - 1).max(1), size), None)
            }
            _ => (few(PAGES * PAGE_RECORDS, PAGE_RECORDS), None),
        };
        if let Some(query) = query {
            let times = asked.query.iter().flat_map(|(_, value)| value.split(".."));
            let times: Vec<i128> = times
                .filter_map(Timestamp::parse_lenient)
                .map(|time| time.unix_nanoseconds() / 1_000_000_000)
                .collect();
            let [from, until] = times[..] else {
                return listing;
            };
            let until = until + i128::from(query.until_inclusive);
            listing.events.retain(|number| {
                let at = EVENTS_FROM + *number as i64 * listing.seconds_between;
                (from..until).contains(&i128::from(at))
            });
        }
        listing
    }

    /// A record that has everything that the row and its children point at, and fields that nobody
    /// knows. Rows with the same path are asked for the same records.
    fn record(
        &self,
        row: &'static Endpoint,
        asked: &Asked,
        number: u64,
        seconds_between: i64,
    ) -> Value {
        let path = asked.target.split('?').next().unwrap_or_default();
        // records of two rows differ, and those of two parents
        let listing = digest(format!("{} {path}", row.path).as_bytes());
        let unique = format!("{listing:x}x{number}");
        let mut record = json!({"unknown": [{"nested": {"deeply": null}}, 1e300]});
        let same = self.rows.iter().filter(|other| other.path == row.path);
        let mut children: Vec<_> = same.flat_map(|row| row.children).collect();
        // conditions may exclude each other: those on the way to what is looked at come first
        children.sort_by_key(|child| !leads_to(child.endpoint, self.focus));
        match row.body {
            BodyShape::Events { time, id, .. } => {
                set(&mut record, id, json!(format!("event-{unique}")));
                set(&mut record, time, time_of(row, number, seconds_between));
            }
            BodyShape::Objects {
                id, version, name, ..
            }
            | BodyShape::Object { id, version, name } => {
                for child in &children {
                    satisfy(&mut record, child.only, &|from| match from {
                        ValueFrom::Record(at) | ValueFrom::RecordUntil(at, _) => Some(at),
                        ValueFrom::Element(_) | ValueFrom::Fixed(_) | ValueFrom::BodyDigest => None,
                    });
                }
                set(&mut record, id, json!(format!("id-{unique}")));
                set(&mut record, version, json!("1"));
                set(&mut record, name, json!(format!("name-{unique}")));
                if let Some(time) = row.newest_first {
                    set(&mut record, time, time_of(row, number, seconds_between));
                }
            }
            BodyShape::Lines | BodyShape::Opaque => {}
        }
        for child in children {
            let of_record = |from| match from {
                ValueFrom::Record(at) | ValueFrom::RecordUntil(at, _) => Some(at),
                ValueFrom::Element(_) | ValueFrom::Fixed(_) | ValueFrom::BodyDigest => None,
            };
            satisfy(&mut record, child.only, &of_record);
            let mut element = json!({});
            match child.each {
                ChildRepeat::Once => {}
                ChildRepeat::UpTo(at) => set(&mut record, at, json!(1)),
                ChildRepeat::Elements(at) | ChildRepeat::Members(at) => {
                    if let Some(known) = first_element(record.pointer(at)) {
                        element = known;
                    }
                    let of_element = |from| match from {
                        ValueFrom::Element(at) => Some(at),
                        ValueFrom::Record(_)
                        | ValueFrom::RecordUntil(..)
                        | ValueFrom::Fixed(_)
                        | ValueFrom::BodyDigest => None,
                    };
                    satisfy(&mut element, child.only, &of_element);
                    // lists of one record have different elements: kinds of containers of a pod
                    let value = format!("e-{unique}{}", at.replace('/', "-"));
                    for name in child.takes.iter().filter_map(|(_, from)| of_element(*from)) {
                        set(&mut element, name, json!(value));
                    }
                    let all = match child.each {
                        ChildRepeat::Members(_) => {
                            let name = element["name"].as_str().unwrap_or(&value);
                            json!({name: element["value"]})
                        }
                        ChildRepeat::Elements(_) | ChildRepeat::Once | ChildRepeat::UpTo(_) => {
                            json!([element])
                        }
                    };
                    replace(&mut record, at, all);
                }
            }
            for at in child.takes.iter().filter_map(|(_, from)| of_record(*from)) {
                if at.is_empty() {
                    return json!(format!("v-{unique}")); // a list of texts
                }
                set(&mut record, at, json!(format!("v-{unique}")));
            }
        }
        record
    }
}

/// The first element of a list, or the first member of an object as an element.
fn first_element(value: Option<&Value>) -> Option<Value> {
    match value? {
        Value::Array(elements) => elements.first().cloned(),
        Value::Object(members) => {
            let (name, value) = members.iter().next()?;
            Some(json!({"name": name, "value": value}))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// The time of a record: the first one is the oldest, or the newest if the list is so sorted.
fn time_of(row: &Endpoint, number: u64, seconds_between: i64) -> Value {
    let number = match row.newest_first {
        Some(_) => (PAGES * PAGE_RECORDS).saturating_sub(1 + number),
        None => number,
    };
    let seconds = EVENTS_FROM + number as i64 * seconds_between;
    let time = Timestamp::from_unix_nanoseconds(i128::from(seconds) * 1_000_000_000);
    json!(time.expect("in range").to_string())
}

fn leads_to(from: &'static Endpoint, to: &'static Endpoint) -> bool {
    std::ptr::eq(from, to)
        || from
            .children
            .iter()
            .any(|child| leads_to(child.endpoint, to))
}

fn satisfy(
    value: &mut Value,
    conditions: &[Condition],
    pointer: &dyn Fn(ValueFrom) -> Option<&'static str>,
) {
    for condition in conditions {
        let (from, wanted) = match *condition {
            Condition::Present(from) => (from, json!("present")),
            Condition::OneOf(from, texts) => (from, text_as_json(texts[0])),
            Condition::StartsWith(from, start) => (from, json!(format!("{start}x"))),
            Condition::AtLeast(from, least) => (from, json!(least)),
            Condition::Mentions(..) => continue, // holds without a pivot
        };
        if let Some(at) = pointer(from) {
            set(value, at, wanted);
        }
    }
}

/// `true` and numbers are written without quotes by providers.
fn text_as_json(text: &str) -> Value {
    serde_json::from_str(text)
        .ok()
        .filter(|value: &Value| value.is_boolean() || value.is_number())
        .unwrap_or_else(|| json!(text))
}

/// Sets the value at `pointer` unless there is one.
fn set(value: &mut Value, pointer: &str, new: Value) {
    let is_there = |value: &Value| value.pointer(pointer).is_some_and(|known| !known.is_null());
    if pointer.is_empty() {
        if value.as_object().is_some_and(serde_json::Map::is_empty) {
            *value = new;
        }
    } else if !is_there(value) {
        replace(value, pointer, new);
    }
}

fn replace(value: &mut Value, pointer: &str, new: Value) {
    let mut at = value;
    for key in pointer.split('/').skip(1) {
        let key = key.replace("~1", "/").replace("~0", "~");
        at = if let Ok(index) = key.parse::<usize>() {
            if !at.is_array() {
                *at = json!([]);
            }
            let list = at.as_array_mut().expect("just made");
            list.resize(list.len().max(index + 1), json!({}));
            &mut list[index]
        } else {
            if !at.is_object() {
                *at = json!({});
            }
            &mut at[key]
        };
    }
    *at = new;
}

/// True if a request could be made of `template`.
fn fits(template: &str, asked: &Asked) -> bool {
    let (path, query) = template.split_once('?').unwrap_or((template, ""));
    let (wanted, given): (Vec<_>, Vec<_>) =
        (path.split('/').collect(), asked.path.split('/').collect());
    let same_path = wanted.len() == given.len()
        && wanted
            .iter()
            .zip(&given)
            .all(|(wanted, given)| segment_fits(wanted, given));
    same_path
        && query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .all(|pair| {
                let pair = pair.replace(['{', '}'], "\u{1}"); // a mark that no value has
                let wanted: Vec<(String, String)> = url::form_urlencoded::parse(pair.as_bytes())
                    .into_owned()
                    .collect();
                wanted.iter().all(|(name, value)| {
                    // fixed parts and names of placeholders, in turn
                    let parts = value.split('\u{1}').step_by(2);
                    // a parameter may be there several times
                    let mut given = asked.query.iter().filter(|(known, _)| known == name);
                    given.any(|(_, given)| match value.contains('\u{1}') {
                        true => has_in_order(given, parts.clone()),
                        false => given == value,
                    })
                })
            })
}

/// A segment may have a placeholder in its middle: `{id}.json`.
fn segment_fits(wanted: &str, given: &str) -> bool {
    match (wanted.split_once('{'), wanted.rsplit_once('}')) {
        (Some((before, _)), Some((_, after))) => {
            given.len() > before.len() + after.len()
                && given.starts_with(before)
                && given.ends_with(after)
        }
        _ => wanted == given,
    }
}

/// True if a body could be made of `template`.
fn json_fits(template: &Value, given: &Value) -> bool {
    match (template, given) {
        (Value::Object(wanted), Value::Object(given)) => wanted.iter().all(|(name, wanted)| {
            given
                .get(name)
                .is_some_and(|given| json_fits(wanted, given))
        }),
        (Value::Array(wanted), Value::Array(given)) => {
            wanted.len() == given.len() && wanted.iter().zip(given).all(|(a, b)| json_fits(a, b))
        }
        (Value::String(wanted), Value::String(given)) => {
            let fixed = wanted
                .split('{')
                .map(|part| part.split_once('}').map_or(part, |p| p.1));
            has_in_order(given, fixed)
        }
        (wanted, given) => wanted == given,
    }
}

fn has_in_order<'p>(text: &str, mut parts: impl Iterator<Item = &'p str>) -> bool {
    let mut rest = text;
    parts.all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

fn offset(asked: &Asked, parameter: &str) -> u64 {
    let mut query = asked.query.iter().rev();
    let value = query.find(|(known, _)| known == parameter);
    value.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

/// The number of the page that is asked for, from 0.
fn page_number(row: &Endpoint, asked: &Asked) -> u64 {
    let parameter = |name: &str| {
        let mut query = asked.query.iter().rev();
        query
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    };
    let number = |text: Option<String>| -> u64 {
        text.and_then(|text| text.trim_start_matches('p').parse().ok())
            .unwrap_or(0)
    };
    match row.paging {
        Paging::None => 0,
        Paging::Link | Paging::LinkQuery | Paging::NextUrl { .. } => number(parameter("after")),
        Paging::TokenToParameter {
            parameter: name, ..
        }
        | Paging::HeaderToParameter {
            parameter: name, ..
        } => number(parameter(name)),
        Paging::TokenToBody { member, .. } => {
            number(asked.body[member].as_str().map(str::to_owned))
        }
        Paging::PageNumber {
            parameter: name,
            first,
            ..
        } => number(parameter(name)).saturating_sub(first),
        Paging::Offset {
            parameter: name,
            size,
            ..
        } => offset(asked, name).div_ceil(size),
    }
}

/// The URL of the next page: the same with `after`.
fn next_url(asked: &Asked, next: &str, fault: Fault) -> String {
    if fault == Fault::EmptyToken && next.is_empty() {
        return String::new();
    }
    let base = match fault {
        Fault::NextOnHost(host) => host,
        _ => "",
    };
    let target = asked.target.split("&after=").next().unwrap_or_default();
    let target = target.split("?after=").next().unwrap_or_default();
    let separator = if target.contains('?') { '&' } else { '?' };
    format!("{base}{target}{separator}after={next}")
}

fn limit_fields(ahead: i64) -> String {
    let now = std::time::SystemTime::now();
    let seconds = Duration::from_secs(ahead.unsigned_abs());
    let theirs = if ahead < 0 {
        now - seconds
    } else {
        now + seconds
    };
    let reset = theirs + Duration::from_secs(2);
    let epoch = reset
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    format!(
        "date: {}\r\nx-rate-limit-limit: 600\r\nx-rate-limit-remaining: 0\r\nx-rate-limit-reset: {}\r\n",
        httpdate::fmt_http_date(theirs),
        epoch.as_secs()
    )
}

fn http(status: u16, fields: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Double\r\ncontent-type: application/json\r\n{fields}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
