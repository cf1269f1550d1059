//! Which system was read: a bundle states it beside the machine that the agent ran on.

use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, Instant};

use evidence_format::config::ExaminedSystem;
use evidence_format::warc::file_uri;

use crate::read::{ItemLimits, KeptPart, ReadEvent, ReadOutcome, ReadRequest, Reader, ReaderPoll};

/// Time for all files together. The deadline of the capture may have passed already, and without
/// these a reader of the bundle would not know what it is about.
const TIME_MAX: Duration = Duration::from_secs(2);
/// Bytes read of one file: real ones have a few hundred.
const FILE_BYTES_MAX: u64 = 16 * 1024;
const TICK: Duration = Duration::from_millis(50);
/// Where os-release(5) is searched, in this order.
const OS_RELEASE: &[&str] = &["/etc/os-release", "/usr/lib/os-release"];

/// What the system below the reader's root says of itself.
pub(super) fn examined(reader: &mut Reader) -> ExaminedSystem {
    let give_up_at = Instant::now() + TIME_MAX;
    let mut read = |path: &str| read_text(reader, path, give_up_at);
    let os = OS_RELEASE.iter().find_map(|path| pretty_name(&read(path)?));
    let (machine_id, host) = (read("/etc/machine-id"), read("/etc/hostname"));
    ExaminedSystem {
        root: file_uri(reader.root().as_os_str().as_bytes()),
        os,
        machine_id,
        host,
    }
}

/// A small text file; `None` if there is none, or nothing in it.
fn read_text(reader: &mut Reader, path: &str, give_up_at: Instant) -> Option<String> {
    reader.begin_item(ItemLimits {
        object_bytes_max: FILE_BYTES_MAX,
        item_bytes_left: FILE_BYTES_MAX,
    });
    reader.request(ReadRequest::file(path, KeptPart::Start));
    let mut bytes = Vec::new();
    loop {
        match reader.next(TICK) {
            ReaderPoll::Event(ReadEvent::Start(_)) => {}
            ReaderPoll::Event(ReadEvent::Bytes(range)) => {
                bytes.extend_from_slice(reader.bytes(range));
            }
            ReaderPoll::Event(ReadEvent::End(outcome)) => {
                reader.pop_request();
                let text = String::from_utf8_lossy(&bytes);
                let is_read =
                    matches!(outcome, ReadOutcome::Whole { .. }) && !text.trim().is_empty();
                return is_read.then(|| text.trim().to_owned());
            }
            ReaderPoll::Waiting if Instant::now() < give_up_at => {}
            ReaderPoll::Waiting | ReaderPoll::Idle => {
                reader.abandon();
                return None;
            }
        }
    }
}

/// The value of `PRETTY_NAME` in an os-release file, without its quotes.
fn pretty_name(text: &str) -> Option<String> {
    let value = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("PRETTY_NAME="))?;
    let value = value.trim_matches(['"', '\'']).trim();
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::pretty_name;

    #[test]
    fn name_is_found_in_an_os_release_file() {
        let text = "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\n";
        let name = pretty_name(text);
        assert_eq!(name.as_deref(), Some("Debian GNU/Linux 13 (trixie)"));
        assert_eq!(pretty_name("NAME=x\nPRETTY_NAME=\"\"\n"), None);
    }
}
