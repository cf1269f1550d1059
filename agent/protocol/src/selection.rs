//! Which pods a capture is about.

use std::fmt;
use std::str::FromStr;

use evidence_format::serde_as_text;
use serde::{Deserialize, Serialize};

/// Which pods or containers a capture is about. One that matches any of these is selected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PodSelection {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<PodName>,
    /// Digests or parts of them (`sha256:3f…`), or beginnings of names (`registry/shop/`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
}

/// A pod, by namespace and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodName {
    pub namespace: String,
    pub name: String,
}

impl PodSelection {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty() && self.images.is_empty()
    }

    /// True if it names this pod.
    #[must_use]
    pub fn has_pod(&self, namespace: &str, name: &str) -> bool {
        self.pods
            .iter()
            .any(|wanted| wanted.namespace == namespace && wanted.name == name)
    }
}

impl fmt::Display for PodSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pods = self.pods.iter().map(|pod| format!("pod {pod}"));
        let images = self.images.iter().map(|image| format!("image {image}"));
        f.write_str(&pods.chain(images).collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for PodName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // RFC 1123 subdomains, as the API server demands
        let is_name = |name: &str| {
            let is_letter =
                |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
            (1..=253).contains(&name.len()) && name.bytes().all(is_letter)
        };
        match text.split_once('/') {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => Ok(Self {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
            Some(_) | None => Err("expected NAMESPACE/NAME, such as shop/checkout-7d9f".to_owned()),
        }
    }
}

serde_as_text!(PodName);
