//! Reads one page: its records one after the other, and the few values around them. Pure.

use std::fmt;

use evidence_format::time::Timestamp;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::endpoint::{BodyShape, DeclaredCount, Endpoint, Paging};
use crate::coverage::DeclaredRecords;

/// Some programs put it before JSON.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a page says beside its records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PageSummary {
    pub(super) records: u64,
    /// The page's token or next URL; `None` if it is absent, null or empty.
    pub(super) next: Option<String>,
    pub(super) declared: Option<DeclaredRecords>,
}

impl PageSummary {
    /// Records in the whole listing, as its first page declares them.
    pub(super) fn total(&self) -> Option<u64> {
        self.declared.map(|declared| match declared {
            DeclaredRecords::InAll(count) => count,
            DeclaredRecords::AfterThisPage(count) => count.saturating_add(self.records),
        })
    }
}

/// The body is not a page of this endpoint.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("the body is not JSON of the expected shape")]
    Json(#[from] serde_json::Error),
    #[error("the body has no list at {0:?}")]
    NoList(&'static str),
    #[error("the body is not an object")]
    NoObject,
}

/// Calls `visit` with each record of a page of `endpoint`. Holds one record at a time: a page may
/// have 10 MB. Endpoints whose bodies are streamed have no records.
pub(super) fn read_page(
    endpoint: &Endpoint,
    body: &[u8],
    visit: &mut dyn FnMut(&Value),
) -> Result<PageSummary, PageError> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let list = match endpoint.body {
        BodyShape::Events { list, .. } | BodyShape::Objects { list, .. } => list,
        BodyShape::Object { .. } => {
            let object: Value = serde_json::from_slice(body)?;
            if !object.is_object() {
                return Err(PageError::NoObject);
            }
            visit(&object);
            return Ok(PageSummary {
                records: 1,
                ..PageSummary::default()
            });
        }
        BodyShape::Lines | BodyShape::Opaque => return Ok(PageSummary::default()),
    };
    let mut reader = PageReader {
        list,
        next_at: next_pointer(endpoint.paging),
        declared: endpoint.declared,
        path: String::new(),
        has_list: false,
        may_be_empty: false,
        summary: PageSummary::default(),
        visit,
        empty_page: endpoint.empty_page,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    AtPath(&mut reader).deserialize(&mut deserializer)?;
    deserializer.end()?;
    if !reader.has_list && !reader.may_be_empty {
        return Err(PageError::NoList(list));
    }
    Ok(reader.summary)
}

/// The value at `pointer` as a text; `None` if it is absent, null, a list or an object.
pub(super) fn text_at(value: &Value, pointer: &str) -> Option<String> {
    scalar(value.pointer(pointer)?)
}

pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The time at `pointer`, in any spelling that providers use.
pub(super) fn time_at(value: &Value, pointer: &str) -> Option<Timestamp> {
    Timestamp::parse_lenient(&text_at(value, pointer)?)
}

fn next_pointer(paging: Paging) -> Option<&'static str> {
    match paging {
        Paging::TokenToParameter { at, .. }
        | Paging::TokenToBody { at, .. }
        | Paging::NextUrl { at } => Some(at),
        Paging::None
        | Paging::Link
        | Paging::LinkQuery
        | Paging::HeaderToParameter { .. }
        | Paging::PageNumber { .. }
        | Paging::Offset { .. } => None,
    }
}

struct PageReader<'p> {
    list: &'static str,
    next_at: Option<&'static str>,
    declared: Option<DeclaredCount>,
    /// Pointer to the value that is being read.
    path: String,
    has_list: bool,
    /// It has only members that a page without records has: see [`Endpoint::empty_page`].
    may_be_empty: bool,
    empty_page: Option<&'static [&'static str]>,
    summary: PageSummary,
    visit: &'p mut dyn FnMut(&Value),
}

impl PageReader<'_> {
    /// True if something that we want is at or below the path.
    fn leads_on(&self) -> bool {
        let declared_at = self.declared.map(DeclaredCount::pointer);
        let wanted = [Some(self.list), self.next_at, declared_at];
        wanted.into_iter().flatten().any(|pointer| {
            pointer
                .strip_prefix(self.path.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    fn keep(&mut self, value: &Value) {
        let path = Some(self.path.as_str());
        if path == self.next_at {
            self.summary.next = scalar(value).filter(|token| !token.is_empty());
        }
        if let Some(declared) = self.declared
            && self.path == declared.pointer()
        {
            self.summary.declared = value.as_u64().map(|count| declared.records(count));
        }
    }
}

/// Reads the value at the reader's path.
struct AtPath<'r, 'p>(&'r mut PageReader<'p>);

impl<'de> DeserializeSeed<'de> for AtPath<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.0.leads_on() {
            deserializer.deserialize_any(self)
        } else {
            deserializer.deserialize_ignored_any(IgnoredAny).map(drop)
        }
    }
}

impl<'de> Visitor<'de> for AtPath<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list at {:?}", self.0.list)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let reader = self.0;
        if reader.path == reader.list {
            return Err(de::Error::custom("an object where the list should be"));
        }
        let length = reader.path.len();
        let is_top = length == 0;
        reader.may_be_empty |= is_top && reader.empty_page.is_some();
        while let Some(key) = map.next_key::<String>()? {
            let known = reader.empty_page.unwrap_or_default();
            reader.may_be_empty &= !is_top || known.contains(&key.as_str());
            reader.path.push('/');
            reader
                .path
                .push_str(&key.replace('~', "~0").replace('/', "~1"));
            map.next_value_seed(AtPath(reader))?;
            reader.path.truncate(length);
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<(), S::Error> {
        let reader = self.0;
        if reader.path != reader.list {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        reader.has_list = true;
        while let Some(record) = seq.next_element::<Value>()? {
            reader.summary.records += 1;
            (reader.visit)(&record);
        }
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        // an empty list of a program in Go
        self.0.has_list |= self.0.path == self.0.list && !self.0.path.is_empty();
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.0.keep(&Value::from(text));
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(), E> {
        self.0.keep(&Value::from(number));
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(), E> {
        self.0.keep(&Value::from(number));
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static PODS: Endpoint = Endpoint {
        paging: Paging::TokenToParameter {
            at: "/metadata/continue",
            parameter: "continue",
        },
        declared: Some(DeclaredCount::AfterThisPage("/metadata/remainingItemCount")),
        body: BodyShape::Objects {
            list: "/items",
            id: "/metadata/uid",
            version: "",
            name: "",
        },
        ..Endpoint::GET
    };
    static ROLES: Endpoint = Endpoint {
        body: BodyShape::Objects {
            list: "",
            id: "/id",
            version: "",
            name: "",
        },
        ..Endpoint::GET
    };

    fn read(endpoint: &Endpoint, body: &str) -> Result<(PageSummary, Vec<String>), String> {
        let mut records = Vec::new();
        read_page(endpoint, body.as_bytes(), &mut |record| {
            records.push(record.to_string())
        })
        .map(|summary| (summary, records))
        .map_err(|error| error.to_string())
    }

    #[test]
    fn reads_records_token_and_total() {
        let body = r#"{"kind":"PodList","x":{"items":[1]},"items":[{"a":[{}]},{}],
            "metadata":{"continue":"t","remainingItemCount":7,"unknown":[[]]}}"#;
        let (summary, records) = read(&PODS, body).expect("a page");
        assert_eq!(records, [r#"{"a":[{}]}"#, "{}"]);
        assert_eq!(
            summary,
            PageSummary {
                records: 2,
                next: Some("t".to_owned()),
                declared: Some(DeclaredRecords::AfterThisPage(7))
            }
        );
        let (summary, _) =
            read(&PODS, r#"{"items":null,"metadata":{"continue":""}}"#).expect("empty");
        assert_eq!(summary, PageSummary::default());
        let (_, records) = read(&ROLES, "\u{feff}[1]").expect("a top-level list");
        assert_eq!(records, ["1"]);
    }

    #[test]
    fn list_that_is_left_out_is_empty_if_nothing_else_is_there() {
        static ENTRIES: Endpoint = Endpoint::get("test:entries", "/entries")
            .objects("/entries", "/id", "", "")
            .pages(Paging::TokenToParameter {
                at: "/next",
                parameter: "token",
            })
            .omits_empty_list(&["kind", "next"]);
        for (body, next) in [
            ("{}", None),
            (r#"{"kind":"x","next":"t"}"#, Some("t")), // the search goes on
        ] {
            let (summary, _) = read(&ENTRIES, body).expect(body);
            assert_eq!((summary.records, summary.next.as_deref()), (0, next));
        }
        for body in [
            r#"{"error":{"code":403}}"#,
            r#"{"next":"t","x":1}"#,
            "[]",
            "null",
        ] {
            assert!(read(&ENTRIES, body).is_err(), "{body}");
        }
    }

    #[test]
    fn rejects_page_of_another_shape() {
        for body in [
            r#"{"items":{}}"#,
            r#"{"items":[1]"#,
            r#"{"items":[1]} x"#,
            r#"{"message":"hello"}"#,
            "[]",
            "",
            "<html>",
        ] {
            assert!(read(&PODS, body).is_err(), "{body}");
        }
        for body in [r#"{"errorCode":"E1"}"#, "null", "7", "\"x\""] {
            assert!(read(&ROLES, body).is_err(), "{body}");
        }
    }
}
