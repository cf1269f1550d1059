//! Reads files as they are, to be sealed: nothing is followed, and all is kept.

use evidence_format::coverage::GapReason;
use rustix::fs::{Advice, FileType, Mode, OFlags, fadvise};
use rustix::io::Errno;

use super::files::{FileReader, kind_name, pread, push_pair};
use super::request::ReadStop;
use super::root::{ObjectHandle, READ_FLAGS, facts_of};
use super::sink::ObjectSink;
use super::{READ_BYTES, ReadOutcome};

/// Up to this size a file is read to its end, whatever size it reports; a longer one is streamed.
const SHORT_FILE_BYTES: u64 = 1 << 20;

impl FileReader {
    pub(super) fn read_as_is(
        &mut self,
        path: &[u8],
        sink: &mut ObjectSink<'_>,
    ) -> Result<(), ReadStop> {
        let object = self.finder.find(path, sink)?;
        let (folder, name) = (&*object.folder, &object.name);
        match object.facts.kind() {
            FileType::RegularFile => self.read_file_as_is(&object, sink),
            FileType::Directory => {
                let flags = READ_FLAGS | OFlags::DIRECTORY;
                let opened = rustix::fs::openat(folder, name, flags, Mode::empty())?;
                sink.start(Some(object.facts), 0, None);
                self.for_each_entry(&opened, sink, |name, kind, line, sink| {
                    push_pair(line, name, kind_name(kind).as_bytes());
                    sink.bytes(line)
                })
            }
            kind => {
                sink.start(Some(object.facts), 0, None);
                if kind != FileType::Symlink {
                    return Err(ReadStop::Ended(ReadOutcome::Special));
                }
                sink.bytes(&rustix::fs::readlinkat(folder, name, Vec::new())?.into_bytes())
            }
        }
    }

    /// Where the system permits it (`open(2)`: to the file's owner and to root), its access time does
    /// not change.
    fn read_file_as_is(
        &mut self,
        object: &ObjectHandle,
        sink: &mut ObjectSink<'_>,
    ) -> Result<(), ReadStop> {
        let open = |flags| rustix::fs::openat(&*object.folder, &object.name, flags, Mode::empty());
        let file = match open(READ_FLAGS | OFlags::NOATIME) {
            // Refused for NOATIME or for reading: the second attempt tells them apart.
            Err(Errno::PERM | Errno::ACCESS) => open(READ_FLAGS),
            opened => opened,
        }?;
        // Of the open file, which may be another one than was found.
        let facts = facts_of(&file)?;
        let is_long = facts.size >= SHORT_FILE_BYTES;
        sink.start(Some(facts), 0, is_long.then_some(facts.size));
        if !facts.is_regular() {
            return Err(ReadStop::Ended(ReadOutcome::Special));
        }
        let _ = fadvise(&file, 0, None, Advice::Sequential); // only a hint
        // of a short one all that comes: files in /proc report no size, those in /sys a page
        let bytes_max = if is_long {
            facts.size
        } else {
            SHORT_FILE_BYTES
        };
        let mut at = 0;
        while at < bytes_max {
            let want = READ_BYTES.min((bytes_max - at) as usize);
            let got = pread(&file, &mut self.buffer[..want], at)?;
            if got == 0 && is_long {
                return Err(ReadStop::Ended(ReadOutcome::Shrank));
            }
            if got == 0 {
                return Ok(());
            }
            at += got as u64;
            sink.bytes(&self.buffer[..got])?;
        }
        if is_long {
            Ok(())
        } else {
            // A long file that reports no size. Probes are the way to capture these.
            Err(ReadStop::Ended(ReadOutcome::Cut(GapReason::TooLarge)))
        }
    }
}
