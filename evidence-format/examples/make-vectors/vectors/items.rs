//! Items: their bytes, their segments, and the two blobs that hold them.

use evidence_format::digest::Digest;
use evidence_format::segment::SegmentKind::{self, Glue, Record};
use evidence_format::tree::{DisclosureKey, LeafHasher, LeafRange};
use serde_json::{Value, json};

use super::layers;

pub(crate) struct TestItem {
    pub(crate) name: String,
    pub(crate) plain: Vec<u8>,
    /// Kinds and lengths in bytes, which add up to the length of `plain`.
    pub(crate) segments: Vec<(SegmentKind, u64)>,
    pub(crate) layer: Vec<u8>,
    pub(crate) list: Vec<u8>,
}

impl TestItem {
    /// An item in one frame.
    pub(crate) fn new(name: &str, plain: Vec<u8>, segments: Vec<(SegmentKind, u64)>) -> Self {
        let (layer, list) = (layers::layer(&[&plain]), layers::list(&segments));
        Self {
            name: name.to_owned(),
            plain,
            segments,
            layer,
            list,
        }
    }

    /// An item of one WARC record with `blocks`, each of which is a segment.
    pub(crate) fn of_blocks(name: &str, blocks: &[&str]) -> Self {
        let block = blocks.concat();
        let header = warc_header(block.len() as u64);
        let mut segments = vec![(Glue, header.len() as u64)];
        segments.extend(blocks.iter().map(|block| (Record, block.len() as u64)));
        segments.push((Glue, 4));
        Self::new(
            name,
            [&header, &*block, "\r\n\r\n"].concat().into_bytes(),
            segments,
        )
    }

    /// An item of WARC records with these further header fields, and no blocks.
    pub(crate) fn of_fields(name: &str, fields: &[&str]) -> Self {
        let header = warc_header(0);
        let (before, end) = header.split_at(header.len() - 2);
        let records: String = fields
            .iter()
            .map(|field| format!("{before}{field}\r\n{end}\r\n\r\n"))
            .collect();
        let len = records.len() as u64;
        Self::new(name, records.into_bytes(), vec![(Glue, len)])
    }

    /// The item of [`super::parts::BundleParts::base`].
    pub(crate) fn uptime() -> Self {
        Self::of_blocks("uptime", &["350735.47 234388.90\n"])
    }

    /// An item of any bytes, as one segment of glue.
    pub(crate) fn of_bytes(plain: impl Into<Vec<u8>>) -> Self {
        let plain = plain.into();
        let len = plain.len() as u64;
        Self::new(
            "uptime",
            plain,
            if len == 0 {
                Vec::new()
            } else {
                vec![(Glue, len)]
            },
        )
    }

    /// The item in frames of `frame_bytes`.
    pub(crate) fn in_frames(self, frame_bytes: usize) -> Self {
        let frames: Vec<&[u8]> = self.plain.chunks(frame_bytes).collect();
        Self {
            layer: layers::layer(&frames),
            ..self
        }
    }

    pub(crate) fn with_layer(self, layer: Vec<u8>) -> Self {
        Self { layer, ..self }
    }

    pub(crate) fn with_list(self, list: Vec<u8>) -> Self {
        Self { list, ..self }
    }

    /// The item's entry in the config.
    pub(crate) fn json(&self, key: &[u8]) -> Value {
        let records = self
            .segments
            .iter()
            .filter(|(kind, _)| *kind == Record)
            .count();
        json!({
            "name": self.name, "layer": Digest::of(&self.layer), "segments": Digest::of(&self.list), "bytes": self.plain.len(),
            "records": records, "leaves": self.segments.len(), "root": self.root(key).hex(),
            "source": {"provider": "host", "api": "procfs", "account": null, "region": null, "identity": null, "clock": null,
                "servers": [], "otherResponses": 0},
            "coverage": {
                "asked": null, "effective": null, "pages": 1, "attempts": 0, "events": null, "declared": null, "first": null,
                "last": null, "duplicates": 0, "ended": "complete", "gaps": [], "provisionalUntil": null,
            },
            "redactions": [],
        })
    }

    fn root(&self, key: &[u8]) -> Digest {
        let key = DisclosureKey::new(key.try_into().unwrap_or([0; 32]));
        let leaves = LeafHasher::new(
            &key,
            &self
                .name
                .parse()
                .expect("names in vectors' items are valid"),
        );
        let (mut range, mut rest) = (LeafRange::new(), &self.plain[..]);
        for (i, (kind, len)) in (0..).zip(&self.segments) {
            let (segment, behind) = rest.split_at(*len as usize);
            let mut leaf = leaves.start(i, *kind);
            leaf.update(segment);
            range.push(i, leaf.finish());
            rest = behind;
        }
        range.root()
    }
}

/// The clock of a source, with offsets in milliseconds.
pub(crate) fn source_clock(samples: u64, min: i64, max: i64) -> Value {
    json!({"samples": samples, "offsetMillisecondsMin": min, "offsetMillisecondsMax": max})
}

/// A server that answered.
pub(crate) fn server(origin: &str, issuer: Option<&str>, responses: u64) -> Value {
    json!({"origin": origin, "issuer": issuer, "responses": responses})
}

/// The header block of a record whose block has `block_bytes` bytes.
pub(crate) fn warc_header(block_bytes: u64) -> String {
    format!(
        "WARC/1.1\r\nWARC-Type: resource\r\nWARC-Record-ID: <urn:uuid:00000000-0000-8000-8000-000000000000>\r\n\
        WARC-Date: 2026-11-23T13:40:17.25Z\r\nWARC-Target-URI: file:///proc/uptime\r\nContent-Length: {block_bytes}\r\n\r\n"
    )
}
