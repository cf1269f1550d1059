//! What must not be written of lists of Secrets, ConfigMaps, and what makes pods.
//!
//! Secrets are asked for as metadata, so their values never cross the wire, with two exceptions:
//! `kubectl apply` and others copy the whole object, values and all, into an annotation, and
//! OpenShift puts the token of a service account into one. ConfigMaps often have passwords where
//! Secrets should be; their values are written as digests, which shows whether they changed. So do
//! environment variables, of which only the names are written, and which Secret or ConfigMap a value
//! comes from.

use data_encoding::BASE64;
use evidence_format::digest::Digest;
use serde_json::value::RawValue;

use crate::recorder::{BodyFilter, HiddenValue, REMOVED};

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

const ANNOTATIONS: &str = "/items/*/metadata/annotations/*";
const COPIES_OF_OBJECTS: &str = "copies of objects in annotations";
const VALUES: &str = "values of objects";

/// Hides copies of Secrets in annotations, and their values, should a server answer with whole
/// objects though it was asked for metadata.
pub(super) const SECRETS: BodyFilter = BodyFilter::of_json(&[
    HiddenValue {
        path: ANNOTATIONS,
        what: COPIES_OF_OBJECTS,
        replace: |name, value| is_copy_or_token(name, value).then(|| REMOVED.to_owned()),
    },
    HiddenValue::removed("/items/*/data/*", VALUES),
    HiddenValue::removed("/items/*/stringData/*", VALUES),
    HiddenValue::removed("/items/*/binaryData/*", VALUES),
]);

/// Replaces values of ConfigMaps by their SHA-256, and hides copies of them.
pub(super) const CONFIG_MAPS: BodyFilter = BodyFilter::of_json(&[
    HiddenValue {
        path: ANNOTATIONS,
        what: COPIES_OF_OBJECTS,
        replace: |name, _| COPIES.contains(&name).then(|| REMOVED.to_owned()),
    },
    HiddenValue {
        path: "/items/*/data/*",
        what: VALUES,
        replace: |_, value| Some(digest(value, |text| Some(text.into_bytes()))),
    },
    HiddenValue {
        path: "/items/*/binaryData/*",
        what: VALUES,
        replace: |_, value| Some(digest(value, |text| BASE64.decode(text.as_bytes()).ok())),
    },
]);

const ENVIRONMENT_VALUES: &str = "values of environment variables";

/// The values of environment variables in a pod's specification, which is at a path.
macro_rules! environment {
    ($spec:literal, $containers:literal) => {
        HiddenValue::removed(
            concat!($spec, $containers, "/*/env/*/value"),
            ENVIRONMENT_VALUES,
        )
    };
}
macro_rules! copies_with_environment {
    ($object:literal) => {
        HiddenValue {
            path: concat!($object, "/metadata/annotations/*"),
            what: COPIES_OF_OBJECTS,
            replace: |name, value| has_environment(name, value).then(|| REMOVED.to_owned()),
        }
    };
}

/// Removes values of environment variables from pods, and from the templates in workloads, in their
/// revisions, and in jobs on a schedule.
pub(super) const ENVIRONMENT: BodyFilter = BodyFilter::of_json(&[
    copies_with_environment!("/items/*"),
    environment!("/items/*/spec", "/containers"),
    environment!("/items/*/spec", "/initContainers"),
    environment!("/items/*/spec", "/ephemeralContainers"),
    environment!("/items/*/spec/template/spec", "/containers"),
    environment!("/items/*/spec/template/spec", "/initContainers"),
    environment!("/items/*/data/spec/template/spec", "/containers"),
    environment!("/items/*/data/spec/template/spec", "/initContainers"),
    environment!(
        "/items/*/spec/jobTemplate/spec/template/spec",
        "/containers"
    ),
    environment!(
        "/items/*/spec/jobTemplate/spec/template/spec",
        "/initContainers"
    ),
]);

/// The same, of the lines of a watch of pods.
pub(super) const ENVIRONMENT_IN_CHANGES: BodyFilter = BodyFilter::of_lines(&[
    copies_with_environment!("/object"),
    environment!("/object/spec", "/containers"),
    environment!("/object/spec", "/initContainers"),
    environment!("/object/spec", "/ephemeralContainers"),
]);

/// True for a copy of an object that has environment variables.
fn has_environment(name: &str, value: &RawValue) -> bool {
    // what is not a text, or has escaped names, might be anything
    let has_none = |text: String| !text.contains("\"env\"") && !text.contains("\\u");
    COPIES.contains(&name) && !serde_json::from_str(value.get()).is_ok_and(has_none)
}

/// The digest of the bytes that `value` stands for.
fn digest(value: &RawValue, bytes: impl Fn(String) -> Option<Vec<u8>>) -> String {
    let text = serde_json::from_str::<String>(value.get()).ok();
    // what is not a text as the API defines it might be anything
    text.and_then(bytes).map_or(REMOVED.to_owned(), |bytes| {
        format!("\"sha256:{}\"", Digest::of(&bytes).hex())
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(body: &str, filter: BodyFilter) -> Option<String> {
        let text = String::from_utf8(filter.applied(body.as_bytes())).expect("text");
        Some(text).filter(|text| !text.is_empty())
    }

    #[test]
    fn hides_copy_of_secret_in_annotation() {
        let body = r#"{"kind":"PartialObjectMetadataList", "items":[{"metadata":{"name":"a","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"data\":{\"p\":\"c2VjcmV0\"}}\n","team":"x"}}},{"metadata":{"name":"b"},"data":{"p":"c2VjcmV0"},"stringData":{"q":"secret"}}]}"#;
        let kept = r#"{"kind":"PartialObjectMetadataList", "items":[{"metadata":{"name":"a","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"removed","team":"x"}}},{"metadata":{"name":"b"},"data":{"p":"removed"},"stringData":{"q":"removed"}}]}"#;
        assert_eq!(filtered(body, SECRETS).as_deref(), Some(kept));
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
            assert_eq!(filtered(&list(value), SECRETS), Some(kept), "{name}");
        }
    }

    #[test]
    fn value_of_config_map_becomes_its_digest() {
        let body = r#"{"items":[{"metadata":{"name":"a"},"data":{"k":"a\nb"},"binaryData":{"b":"YQpi","c":"?"}}]}"#;
        let digest = Digest::of(b"a\nb").hex();
        let kept = format!(
            r#"{{"items":[{{"metadata":{{"name":"a"}},"data":{{"k":"sha256:{digest}"}},"binaryData":{{"b":"sha256:{digest}","c":"removed"}}}}]}}"#
        );
        assert_eq!(filtered(body, CONFIG_MAPS), Some(kept));
    }

    #[test]
    fn value_of_environment_variable_is_removed_and_its_name_is_kept() {
        let spec = |value: &str| {
            format!(
                r#"{{"initContainers":[{{"name":"i","env":[{{"name":"A","value":{value}}}]}}],"containers":[{{"name":"c","env":[{{"name":"B","value":{value}}},{{"name":"C","valueFrom":{{"secretKeyRef":{{"name":"db","key":"p"}}}}}},{{"name":"D"}}]}},{{"name":"d"}}]}}"#
            )
        };
        let list = |value: &str, copy: &str| {
            let spec = spec(value);
            format!(
                r#"{{"items":[{{"metadata":{{"annotations":{{"kubectl.kubernetes.io/last-applied-configuration":{copy},"team":"x"}}}},"spec":{spec}}},{{"metadata":{{}},"spec":{{"template":{{"spec":{spec}}}}}}},{{"metadata":{{}},"data":{{"spec":{{"template":{{"spec":{spec}}}}}}}}},{{"metadata":{{}},"spec":{{"jobTemplate":{{"spec":{{"template":{{"spec":{spec}}}}}}}}}}}]}}"#
            )
        };
        let body = list("\"hunter2\"", r#""{\"env\":[{\"value\":\"hunter2\"}]}""#);
        let kept = list(REMOVED, REMOVED);
        assert_eq!(filtered(&body, ENVIRONMENT), Some(kept));
        let change = format!(
            r#"{{"type":"ADDED","object":{{"spec":{}}}}}"#,
            spec("\"hunter2\"")
        );
        let kept = change.replace("hunter2", "removed");
        assert_eq!(filtered(&change, ENVIRONMENT_IN_CHANGES), Some(kept));
        let copy_without = list(REMOVED, r#""{\"spec\":{}}""#);
        assert_eq!(
            filtered(&copy_without, ENVIRONMENT),
            Some(copy_without.clone())
        );
    }

    #[test]
    fn body_that_is_cut_off_or_ambiguous_is_withheld() {
        let cut = r#"{"items":[{"metadata":{"name":"a"},"data":{"p":"c2Vj"#;
        assert_eq!(filtered(cut, SECRETS), None);
        let twice = r#"{"items":[{"metadata":{},"data":{"p":"c2Vj"},"data":{}}]}"#;
        assert_eq!(filtered(twice, SECRETS), None);
        let same_key = r#"{"items":[{"metadata":{},"data":{"p":"c2Vj","p":"eA=="}}]}"#;
        let kept = r#"{"items":[{"metadata":{},"data":{"p":"removed","p":"removed"}}]}"#;
        assert_eq!(filtered(same_key, SECRETS).as_deref(), Some(kept));
    }
}
