//! The form in which derivations are written: one line of canonical JSON each.

use evidence_format::canonical;
use evidence_format::id::ItemName;
use serde::Serialize;

use crate::Derivation;

/// A derivation with the record that it comes from, and who derived it. Lines are ordered by item
/// (as in the bundle's config), record and index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DerivedLine {
    pub item: ItemName,
    /// Number of the record in its item, from 0.
    pub record: u64,
    /// Number of the derivation among those of the record, from 0.
    pub index: u32,
    /// [`Deriver::name`](crate::Deriver::name).
    pub deriver: &'static str,
    /// [`Deriver::version`](crate::Deriver::version).
    pub deriver_version: u32,
    /// As `event`, `object` or `edge`.
    #[serde(flatten)]
    pub derivation: Derivation,
}

impl DerivedLine {
    /// The line in RFC 8785 (JCS), with its line end: the same bytes from every program that
    /// derives the same bundle.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut line = canonical::encode(self);
        line.push(b'\n');
        line
    }
}
