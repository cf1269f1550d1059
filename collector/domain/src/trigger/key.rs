//! The key of an incident: the vendor and its id of the incident.

use evidence_format::digest::Digest;

use super::Vendor;

/// Bytes of an id that a key contains unchanged. The ids of the vendors here have at most 64.
const PLAIN_BYTES_MAX: usize = 128;
/// Marks a digest in place of an id.
const DIGEST: &str = "sha256:";

/// Makes a key such as `pagerduty:PQ1K5C8`. An id that is long, has several parts or unusual
/// characters is replaced by its SHA-256. Keys are equal only if the ids are.
pub(super) fn key(vendor: Vendor, parts: &[&str]) -> String {
    match parts {
        [id] if is_plain(id) => format!("{}:{id}", vendor.name()),
        _ => {
            // The lengths keep ["ab", ""] and ["a", "b"] apart.
            let bytes: Vec<u8> = parts
                .iter()
                .flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], part.as_bytes()].concat())
                .collect();
            format!("{}:{DIGEST}{}", vendor.name(), Digest::of(&bytes).hex())
        }
    }
}

fn is_plain(id: &str) -> bool {
    // An id that looks like a digest is hashed, or it could pass for the digest of another.
    id.len() <= PLAIN_BYTES_MAX
        && !id.starts_with(DIGEST)
        && id.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_equal_only_where_ids_are() {
        assert_eq!(key(Vendor::PagerDuty, &["PQ1K5C8"]), "pagerduty:PQ1K5C8");
        let long = "x".repeat(PLAIN_BYTES_MAX + 1);
        let ids: [&[&str]; 9] = [
            &["a"],
            &["b"],
            &["a", "b"],
            &["ab", ""],
            &["", "ab"],
            &["a b"],
            &["a\u{1b}b"],
            &[&long],
            &["sha256:0"],
        ];
        let keys: std::collections::BTreeSet<_> =
            ids.iter().map(|id| key(Vendor::Slack, id)).collect();
        assert_eq!(keys.len(), ids.len(), "{keys:?}");
        assert!(
            keys.iter()
                .all(|key| key.len() < 160 && key.bytes().all(|b| b.is_ascii_graphic()))
        );
        assert!(
            !keys.contains(&key(Vendor::PagerDuty, &["a"])),
            "another vendor's ids are other ids"
        );
    }
}
