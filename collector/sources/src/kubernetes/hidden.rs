//! What must not be written of lists of Secrets and ConfigMaps.
//!
//! Secrets are asked for as metadata, so their values never cross the wire, with two exceptions:
//! `kubectl apply` and others copy the whole object, values and all, into an annotation, and
//! OpenShift puts the token of a service account into one. ConfigMaps often have passwords where
//! Secrets should be; their values are written as digests, which shows whether they changed.

use std::fmt;
use std::marker::PhantomData;

use data_encoding::BASE64;
use evidence_format::digest::Digest;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::recorder::BodyReplacement;

/// Annotations in which tools keep a copy of the object, or a token.
const COPIES: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    "kapp.k14s.io/original",
    "objectset.rio.cattle.io/applied",
    "banzaicloud.com/last-applied",
    "openshift.io/token-secret.value",
];
/// How copies and tokens begin in annotations that are not known: JSON, and `{"` in base64, which
/// is the beginning of a JSON Web Token.
const COPY_PREFIXES: &[&str] = &["{", "[", "eyJ"];

const REMOVED: &str = "\"removed\"";

/// Hides copies of Secrets in annotations, and their values, should a server answer with whole
/// objects though it was asked for metadata.
pub(super) fn secrets(body: &[u8]) -> Option<Vec<BodyReplacement>> {
    replacements(body, is_copy_or_token, |_, _| REMOVED.to_owned())
}

/// Replaces values of ConfigMaps by their SHA-256, and hides copies of them.
pub(super) fn config_maps(body: &[u8]) -> Option<Vec<BodyReplacement>> {
    replacements(
        body,
        |name, _| COPIES.contains(&name),
        |is_binary, value| {
            let digest = serde_json::from_str::<String>(value).ok().and_then(|text| {
                let bytes = match is_binary {
                    true => BASE64.decode(text.as_bytes()).ok()?,
                    false => text.into_bytes(),
                };
                Some(format!("\"sha256:{}\"", Digest::of(&bytes).hex()))
            });
            // what is not a text as the API defines it might be anything
            digest.unwrap_or_else(|| REMOVED.to_owned())
        },
    )
}

/// `None` if `body` is not a list of objects; then nothing of it may be written.
fn replacements(
    body: &[u8],
    is_hidden: fn(annotation: &str, value: &RawValue) -> bool,
    hide: fn(is_binary: bool, value: &str) -> String,
) -> Option<Vec<BodyReplacement>> {
    let list: ObjectList<'_> = serde_json::from_slice(body).ok()?;
    let mut found = Vec::new();
    let mut replace = |value: &RawValue, text: String, what: &'static str| {
        found.push(BodyReplacement::of_value(body, value, text, what));
    };
    for object in list.items {
        for (name, value) in object.metadata.annotations.unwrap_or_default().0 {
            if is_hidden(&name, value) {
                replace(
                    value,
                    REMOVED.to_owned(),
                    "copies of objects in annotations",
                );
            }
        }
        for (_, value) in object.data.unwrap_or_default().0 {
            replace(value, hide(false, value.get()), "values of objects");
        }
        for (_, value) in object.string_data.unwrap_or_default().0 {
            replace(value, REMOVED.to_owned(), "values of objects");
        }
        for (_, value) in object.binary_data.unwrap_or_default().0 {
            replace(value, hide(true, value.get()), "values of objects");
        }
    }
    found.sort_by_key(|replacement| replacement.range.start);
    Some(found)
}

/// Only for Secrets: annotations of ConfigMaps in JSON, such as leader elections, are evidence.
fn is_copy_or_token(name: &str, value: &RawValue) -> bool {
    // what is not a text as the API defines it might be anything
    let Ok(text) = serde_json::from_str::<String>(value.get()) else {
        return true;
    };
    let text = text.trim_start();
    let mut prefixes = COPY_PREFIXES.iter();
    COPIES.contains(&name) || prefixes.any(|prefix| text.starts_with(prefix))
}

// Members are optional, but one that occurs twice is an error: the second would hide the first.
#[derive(Deserialize)]
struct ObjectList<'b> {
    #[serde(borrow)]
    items: Vec<Object<'b>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object<'b> {
    #[serde(borrow)]
    metadata: Metadata<'b>,
    #[serde(borrow, default)]
    data: Option<RawMembers<'b>>,
    #[serde(borrow, default)]
    string_data: Option<RawMembers<'b>>,
    #[serde(borrow, default)]
    binary_data: Option<RawMembers<'b>>,
}

#[derive(Deserialize)]
struct Metadata<'b> {
    #[serde(borrow, default)]
    annotations: Option<RawMembers<'b>>,
}

/// All members of a JSON object, also those whose name occurs twice.
#[derive(Default)]
struct RawMembers<'b>(Vec<(String, &'b RawValue)>);

impl<'de: 'b, 'b> Deserialize<'de> for RawMembers<'b> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor<'b>(PhantomData<&'b ()>);
        impl<'de: 'b, 'b> Visitor<'de> for MembersVisitor<'b> {
            type Value = RawMembers<'b>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(RawMembers(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(body: &str, filter: fn(&[u8]) -> Option<Vec<BodyReplacement>>) -> Option<String> {
        let mut text = body.to_owned();
        for replacement in filter(body.as_bytes())?.into_iter().rev() {
            text.replace_range(replacement.range, &replacement.text);
        }
        Some(text)
    }

    #[test]
    fn hides_copy_of_secret_in_annotation() {
        let body = r#"{"kind":"PartialObjectMetadataList", "items":[{"metadata":{"name":"a","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"data\":{\"p\":\"c2VjcmV0\"}}\n","team":"x"}}},{"metadata":{"name":"b"},"data":{"p":"c2VjcmV0"},"stringData":{"q":"secret"}}]}"#;
        let kept = r#"{"kind":"PartialObjectMetadataList", "items":[{"metadata":{"name":"a","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"removed","team":"x"}}},{"metadata":{"name":"b"},"data":{"p":"removed"},"stringData":{"q":"removed"}}]}"#;
        assert_eq!(filtered(body, secrets).as_deref(), Some(kept));
    }

    #[test]
    fn hides_tokens_and_unknown_copies_in_annotations() {
        for (name, value, is_hidden) in [
            ("openshift.io/token-secret.value", "abc", true),
            ("tool.example/token", "eyJhbGciOi", true),
            ("tool.example/original", r#"\n{\"data\":{}}"#, true),
            ("tool.example/original", r"\u007b}", true),
            ("meta.helm.sh/release-name", "shop", false),
        ] {
            let list = |value: &str| {
                format!(r#"{{"items":[{{"metadata":{{"annotations":{{"{name}":"{value}"}}}}}}]}}"#)
            };
            let kept = list(if is_hidden { "removed" } else { value });
            assert_eq!(filtered(&list(value), secrets), Some(kept), "{name}");
        }
    }

    #[test]
    fn value_of_config_map_becomes_its_digest() {
        let body = r#"{"items":[{"metadata":{"name":"a"},"data":{"k":"a\nb"},"binaryData":{"b":"YQpi","c":"?"}}]}"#;
        let digest = Digest::of(b"a\nb").hex();
        let kept = format!(
            r#"{{"items":[{{"metadata":{{"name":"a"}},"data":{{"k":"sha256:{digest}"}},"binaryData":{{"b":"sha256:{digest}","c":"removed"}}}}]}}"#
        );
        assert_eq!(filtered(body, config_maps), Some(kept));
    }

    #[test]
    fn body_that_is_cut_off_or_ambiguous_is_withheld() {
        let cut = r#"{"items":[{"metadata":{"name":"a"},"data":{"p":"c2Vj"#;
        assert_eq!(filtered(cut, secrets), None);
        let twice = r#"{"items":[{"metadata":{},"data":{"p":"c2Vj"},"data":{}}]}"#;
        assert_eq!(filtered(twice, secrets), None);
        let same_key = r#"{"items":[{"metadata":{},"data":{"p":"c2Vj","p":"eA=="}}]}"#;
        let kept = r#"{"items":[{"metadata":{},"data":{"p":"removed","p":"removed"}}]}"#;
        assert_eq!(filtered(same_key, secrets).as_deref(), Some(kept));
    }
}
