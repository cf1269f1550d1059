//! LookupEvents without HTTP: computes the page for a request, as bytes. Pure.

use std::io::Write as _;

use data_encoding::BASE64;
use serde::Deserialize;

use super::events::{Attribute, AttributeKey, EventCorpus, LookupEvent, mix, mix_text, positions};

/// The service's limit for a page.
pub const PAGE_EVENTS_MAX: u64 = 50;

/// How long the service keeps events, in seconds: 90 days.
const RETENTION_SECONDS: i64 = 90 * 86_400;

/// An error of the service: its code and message.
pub(super) type ServiceError = (&'static str, String);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LookupInput {
    start_time: Option<f64>,
    end_time: Option<f64>,
    event_category: Option<String>,
    #[serde(default)]
    lookup_attributes: Vec<LookupAttribute>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LookupAttribute {
    attribute_key: String,
    attribute_value: String,
}

/// A valid request for a page.
pub(super) struct LookupQuery {
    start: f64,
    end: f64,
    insights: bool,
    attribute: Option<Attribute>,
    size: u64,
    token: Option<String>,
    /// A hash of everything that page tokens are bound to, except the place.
    parameters: u64,
}

impl LookupQuery {
    /// Parses a request's body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, ServiceError> {
        let input: LookupInput =
            serde_json::from_slice(body).map_err(|e| ("SerializationException", e.to_string()))?;
        let (start, end) = (
            input.start_time.unwrap_or(f64::MIN),
            input.end_time.unwrap_or(f64::MAX),
        );
        if start > end {
            return Err((
                "InvalidTimeRangeException",
                "The start time occurs after the end time.".to_owned(),
            ));
        }
        let size = input.max_results.unwrap_or(PAGE_EVENTS_MAX as i64);
        if !(1..=PAGE_EVENTS_MAX as i64).contains(&size) {
            return Err((
                "InvalidMaxResultsException",
                format!("MaxResults is {size}, not between 1 and {PAGE_EVENTS_MAX}."),
            ));
        }
        let insights = match input.event_category.as_deref() {
            None => false,
            Some("insight") => true,
            Some(other) => {
                return Err((
                    "InvalidEventCategoryException",
                    format!("{other} is not an event category."),
                ));
            }
        };
        let attribute = attribute(input.lookup_attributes)?;
        let attribute_parameters = attribute
            .as_ref()
            .map_or(0, |a| mix_text(a.key as u64 + 1, &a.value));
        let parameters = mix(&[
            start.to_bits(),
            end.to_bits(),
            insights.into(),
            size as u64,
            attribute_parameters,
        ]);
        Ok(Self {
            start,
            end,
            insights,
            attribute,
            size: size as u64,
            token: input.next_token,
            parameters,
        })
    }

    /// The page token in the request.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }
}

fn attribute(mut given: Vec<LookupAttribute>) -> Result<Option<Attribute>, ServiceError> {
    let invalid = |message: String| Err(("InvalidLookupAttributesException", message));
    if given.len() > 1 {
        return invalid("You can specify only one lookup attribute.".to_owned());
    }
    let Some(LookupAttribute {
        attribute_key,
        attribute_value,
    }) = given.pop()
    else {
        return Ok(None);
    };
    match serde_json::from_value::<AttributeKey>(attribute_key.clone().into()) {
        Ok(key) if !attribute_value.is_empty() => Ok(Some(Attribute {
            key,
            value: attribute_value,
        })),
        Ok(_) => invalid(format!("{attribute_key} needs a value.")),
        Err(_) => invalid(format!("{attribute_key} is not a lookup attribute.")),
    }
}

/// Creates and checks page tokens.
pub(super) struct PageTokens {
    /// The server's secret, so that it rejects tokens of other servers.
    pub(super) secret: u64,
    pub(super) lifetime_ms: u64,
}

impl PageTokens {
    /// Creates a token with the start of the next page and the time, authenticated for these
    /// parameters.
    fn make(&self, position: u64, now_ms: u64, bound: u64) -> String {
        let proof = mix(&[self.secret, position, now_ms, bound]);
        let mut bytes = Vec::with_capacity(48);
        for word in [
            position ^ proof,
            now_ms ^ proof.rotate_left(17),
            proof,
            mix(&[proof, 1]),
            mix(&[proof, 2]),
            mix(&[proof, 3]),
        ] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        BASE64.encode(&bytes)
    }

    fn read(&self, token: &str, now_ms: u64, bound: u64) -> Result<u64, ServiceError> {
        let position = BASE64
            .decode(token.as_bytes())
            .ok()
            .filter(|bytes| bytes.len() == 48)
            .and_then(|bytes| {
                let word = |i: usize| {
                    u64::from_le_bytes(bytes[i * 8..i * 8 + 8].try_into().expect("eight bytes"))
                };
                let proof = word(2);
                let (position, made_ms) = (word(0) ^ proof, word(1) ^ proof.rotate_left(17));
                let fresh = now_ms.saturating_sub(made_ms) <= self.lifetime_ms;
                (fresh && self.make(position, made_ms, bound) == token).then_some(position)
            });
        let message = "Invalid token, or a token that was previously used in a request with different parameters.";
        position.ok_or_else(|| ("InvalidNextTokenException", message.to_owned()))
    }
}

/// A page of events.
pub(super) struct LookupPage {
    /// The body of the reply.
    pub(super) body: Vec<u8>,
    /// The first position of each event.
    pub(super) firsts: Vec<u64>,
    /// The times of the newest and the oldest event.
    pub(super) times: Option<(i64, i64)>,
    /// True if there is no next page.
    pub(super) last: bool,
}

/// Deviations of a page from the request.
#[derive(Clone, Copy, Default)]
pub(super) struct PageFault {
    /// At most this many events, with a token for the rest. The service may do this.
    pub(super) short: Option<u64>,
    /// The reply repeats the page token of the request, if there is one.
    pub(super) same_token: bool,
}

/// The corpus, the place and the time of a lookup.
pub(super) struct LookupContext<'a> {
    pub(super) events: &'a dyn EventCorpus,
    /// The index of the place, if the corpus has it.
    pub(super) place: Option<usize>,
    pub(super) place_hash: u64,
    /// The end of the retention period, in seconds since 1970.
    pub(super) present: i64,
    pub(super) now_ms: u64,
}

/// Computes the page for `query`.
pub(super) fn page(
    shelf: &LookupContext<'_>,
    tokens: &PageTokens,
    query: &LookupQuery,
    twist: PageFault,
) -> Result<LookupPage, ServiceError> {
    let bound = mix(&[shelf.place_hash, query.parameters]);
    let from = query
        .token
        .as_ref()
        .map(|token| tokens.read(token, shelf.now_ms, bound))
        .transpose()?;
    let mut page = LookupPage {
        body: br#"{"Events":["#.to_vec(),
        firsts: Vec::new(),
        times: None,
        last: true,
    };
    let mut next = None;
    if let Some(place) = shelf.place.filter(|_| !query.insights) {
        let oldest = query.start.max((shelf.present - RETENTION_SECONDS) as f64);
        let range = positions(shelf.events, place, oldest, query.end);
        let mut position = range.start.max(from.unwrap_or(0));
        let size = query.size.min(twist.short.unwrap_or(u64::MAX));
        while position < range.end && (page.firsts.len() as u64) < size {
            if query
                .attribute
                .as_ref()
                .is_none_or(|attribute| shelf.events.has(place, position, attribute))
            {
                page.push(shelf.events, place, position);
            }
            position += 1;
        }
        next = (position < range.end).then_some(position);
    }
    page.last = next.is_none();
    page.body.push(b']');
    let again = query.token.as_ref().filter(|_| twist.same_token);
    if let Some(token) = again
        .cloned()
        .or_else(|| next.map(|position| tokens.make(position, shelf.now_ms, bound)))
    {
        let _ = write!(page.body, r#","NextToken":"{token}""#);
    }
    page.body.push(b'}');
    Ok(page)
}

impl LookupPage {
    fn push(&mut self, events: &dyn EventCorpus, place: usize, position: u64) {
        if !self.firsts.is_empty() {
            self.body.push(b',');
        }
        let time = events.time(place, position);
        write_event(&mut self.body, &events.event(place, position), time);
        self.firsts.push(events.first(place, position));
        self.times = Some((self.times.map_or(time, |(newest, _)| newest), time));
    }
}

/// Writes an event in the service's format: flags are strings, times have one decimal, and unknown
/// members are absent.
fn write_event(body: &mut Vec<u8>, event: &LookupEvent<'_>, time: i64) {
    let text = |body: &mut Vec<u8>, name: &str, value: &[u8]| {
        let _ = write!(body, r#""{name}":""#);
        escape(body, value);
        body.extend_from_slice(br#"","#);
    };
    body.push(b'{');
    text(body, "EventId", event.id.as_bytes());
    text(body, "EventName", event.name.as_bytes());
    if let Some(read_only) = event.read_only {
        text(body, "ReadOnly", if read_only { b"true" } else { b"false" });
    }
    if let Some(access_key_id) = &event.access_key_id {
        text(body, "AccessKeyId", access_key_id.as_bytes());
    }
    let _ = write!(body, r#""EventTime":{time}.0,"#);
    text(body, "EventSource", event.source.as_bytes());
    if let Some(username) = &event.username {
        text(body, "Username", username.as_bytes());
    }
    body.extend_from_slice(br#""Resources":["#);
    for (i, (kind, name)) in event.resources.iter().enumerate() {
        body.extend_from_slice(if i == 0 { b"{" } else { b",{" });
        text(body, "ResourceType", kind.as_bytes());
        text(body, "ResourceName", name.as_bytes());
        body.pop();
        body.push(b'}');
    }
    body.extend_from_slice(b"],");
    text(body, "CloudTrailEvent", &event.record);
    body.pop();
    body.push(b'}');
}

/// Escapes text for a JSON string.
fn escape(body: &mut Vec<u8>, text: &[u8]) {
    let mut from = 0;
    for (i, byte) in text.iter().enumerate() {
        if *byte != b'"' && *byte != b'\\' && *byte >= b' ' {
            continue;
        }
        body.extend_from_slice(&text[from..i]);
        from = i + 1;
        let _ = match byte {
            b'"' | b'\\' => body.write_all(&[b'\\', *byte]),
            byte => write!(body, "\\u{byte:04x}"),
        };
    }
    body.extend_from_slice(&text[from..]);
}
