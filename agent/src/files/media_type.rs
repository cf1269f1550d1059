//! Media types by file name: a hint for later readers of a record. Nothing depends on it.

use std::path::Path;

/// The type of files that are not in the table.
pub(super) const UNKNOWN: &str = "application/octet-stream";

/// Registered media types (IANA) of files that people attach to incidents.
const BY_EXTENSION: &[(&str, &str)] = &[
    ("csv", "text/csv"),
    ("eml", "message/rfc822"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("jsonl", "application/x-ndjson"),
    ("log", "text/plain"),
    ("md", "text/markdown"),
    ("mp4", "video/mp4"),
    ("ndjson", "application/x-ndjson"),
    ("pcap", "application/vnd.tcpdump.pcap"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("txt", "text/plain"),
    ("warc", "application/warc"),
    ("webp", "image/webp"),
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

pub(super) fn of(path: &Path) -> &'static str {
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default()
        .to_ascii_lowercase();
    BY_EXTENSION
        .iter()
        .find(|(known, _)| *known == extension)
        .map_or(UNKNOWN, |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_extension_decides_in_any_case() {
        assert_eq!(of(Path::new("/a/Shot.PNG")), "image/png");
        assert_eq!(of(Path::new("/a/x.json.gz")), "application/gzip");
        assert_eq!(of(Path::new("/a.json/history")), UNKNOWN);
    }
}
