//! Searches everything that a run leaves behind for secrets, in every form in which they may occur.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

/// The first bytes of a zstd frame.
const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
/// Most bytes that are read of one frame.
const FRAME_BYTES_MAX: u64 = 64 << 20;

/// Secrets, and the forms of them that are searched for.
#[derive(Default)]
pub struct LeakSearch {
    /// A name, and bytes that show that the secret is there.
    patterns: Vec<(String, Vec<u8>)>,
    /// Bytes that were searched, also inside compressed frames.
    pub bytes_searched: u64,
    pub frames_searched: u64,
    /// Where something was found.
    pub leaks: Vec<String>,
}

impl LeakSearch {
    /// Adds a secret of 12 bytes at least.
    ///
    /// # Panics
    /// If it is shorter: others' bytes could look like it.
    pub fn add(&mut self, name: &str, secret: &str) {
        assert!(secret.len() >= 12, "{name} is too short");
        let mut add = |form: &str, pattern: Vec<u8>| {
            self.patterns.push((format!("{name} {form}"), pattern));
        };
        let bytes = secret.as_bytes();
        add("as it is", bytes.to_vec());
        let escaped = serde_json::Value::from(secret).to_string();
        add("in JSON", escaped.trim_matches('"').as_bytes().to_vec());
        let percent: String = url::form_urlencoded::byte_serialize(bytes).collect();
        add("percent-encoded", percent.into_bytes());
        add("in hexadecimal", HEXLOWER.encode(bytes).into_bytes());
        add("in hexadecimal", HEXUPPER.encode(bytes).into_bytes());
        for before in 0..3 {
            let padded = [&[0; 2][..before], bytes].concat();
            for alphabet in [BASE64_NOPAD, BASE64URL_NOPAD] {
                let digits = alphabet.encode(&padded);
                let (begin, end) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
                add("in base64", digits.as_bytes()[begin..end].to_vec());
            }
        }
        // a key that is printed line by line
        for line in secret
            .lines()
            .filter(|line| line.len() > 40 && *line != secret)
        {
            add("line", line.as_bytes().to_vec());
        }
    }

    /// Searches all files below `folder`.
    pub fn search_folder(&mut self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else {
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                self.search_folder(&path);
            } else if let Ok(bytes) = fs::read(&path) {
                self.search(&path.display().to_string(), &bytes);
            }
        }
    }

    /// Searches `bytes`, and the content of each zstd frame in them.
    pub fn search(&mut self, place: &str, bytes: &[u8]) {
        self.search_plain(place, bytes);
        let magics = memchr::memmem::find_iter(bytes, ZSTD_MAGIC).collect::<Vec<_>>();
        for begin in magics {
            let mut content = Vec::new();
            let decoder = zstd::stream::Decoder::with_buffer(&bytes[begin..]);
            let Ok(decoder) = decoder else { continue };
            // the bytes after the last frame end it with an error
            let _ = decoder
                .single_frame()
                .take(FRAME_BYTES_MAX)
                .read_to_end(&mut content);
            if !content.is_empty() {
                self.frames_searched += 1;
                self.search_plain(&format!("{place}, frame at {begin}"), &content);
            }
        }
    }

    fn search_plain(&mut self, place: &str, bytes: &[u8]) {
        self.bytes_searched += bytes.len() as u64;
        for (name, pattern) in &self.patterns {
            let Some(at) = memchr::memmem::find(bytes, pattern) else {
                continue;
            };
            let around = &bytes[at.saturating_sub(120)..bytes.len().min(at + pattern.len() + 60)];
            let around = String::from_utf8_lossy(around).into_owned();
            self.leaks.push(format!("{name} in {place}: {around:?}"));
        }
    }
}
