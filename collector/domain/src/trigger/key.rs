//! The key of an incident: which vendor's, and which of its incidents.

use evidence_format::digest::Digest;

use super::Vendor;

/// Bytes of a vendor's id that stand in a key as they are: those of all vendors here have at most
/// 64.
const PLAIN_BYTES_MAX: usize = 128;
/// What stands before a digest in place of an id.
const DIGEST: &str = "sha256:";

/// `pagerduty:PQ1K5C8`. Ids that are long, have several parts or unusual characters stand as their
/// SHA-256, so that no two keys are equal unless their ids are.
pub(super) fn key(vendor: Vendor, parts: &[&str]) -> String {
    match parts {
        [id] if is_plain(id) => format!("{}:{id}", vendor.name()),
        _ => {
            let bytes: Vec<u8> = parts
                .iter()
                .flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], part.as_bytes()].concat())
                .collect();
            format!("{}:{DIGEST}{}", vendor.name(), Digest::of(&bytes).hex())
        }
    }
}

fn is_plain(id: &str) -> bool {
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
