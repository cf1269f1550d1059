//! Reads a gzip file of CloudTrail, with one event in memory.

use std::cell::Cell;
use std::fmt;
use std::io::{BufReader, Read};
use std::rc::Rc;

use flate2::bufread::GzDecoder;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::RECORD_BYTES_MAX;

/// Longest compressed file that is read. CloudTrail's have some megabytes at most.
pub const TRAIL_FILE_BYTES_MAX: usize = 16 << 20;
/// Longest content of a file: gzip makes at most 1,032 bytes of one, which nobody needs.
const CONTENT_BYTES_MAX: u64 = 1 << 30;
/// Bytes that are inflated at once.
const BUFFER_BYTES: usize = 64 << 10;

/// A file is not what CloudTrail delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrailFileError {
    #[error("is not a whole gzip file")]
    Gzip,
    /// `aws cloudtrail validate-logs` refuses such a file as well.
    #[error("has bytes after the end of its gzip stream")]
    TrailingData,
    #[error("has more than {CONTENT_BYTES_MAX} bytes")]
    TooLong,
    #[error("is not JSON with a list of records")]
    Json,
    #[error("has an event of more than {RECORD_BYTES_MAX} bytes")]
    LongEvent,
}

/// Calls `each` with the content of the compressed `file`, part by part.
///
/// # Errors
/// `file` is not one gzip stream and nothing else. Parts may have been given before that.
pub fn inflate(file: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), TrailFileError> {
    let mut decoder = GzDecoder::new(file);
    let (mut buffer, mut total) = (vec![0; BUFFER_BYTES], 0_u64);
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => {
                total += bytes as u64;
                if total > CONTENT_BYTES_MAX {
                    return Err(TrailFileError::TooLong);
                }
                each(&buffer[..bytes]);
            }
            Err(_) => return Err(TrailFileError::Gzip),
        }
    }
    if decoder.into_inner().is_empty() {
        Ok(())
    } else {
        Err(TrailFileError::TrailingData)
    }
}

/// Calls `visit` with each event of the compressed `file`, as JSON.
///
/// # Errors
/// The file cannot be read, or not to its end. Events before that have been visited.
pub fn for_each_event(file: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<(), TrailFileError> {
    let left = Rc::new(Cell::new(0));
    let reader = RationedReader {
        decoder: GzDecoder::new(file),
        total: 0,
        left: Rc::clone(&left),
        error: Rc::default(),
    };
    let error = Rc::clone(&reader.error);
    let buffered = BufReader::with_capacity(BUFFER_BYTES, reader);
    let mut json = serde_json::Deserializer::from_reader(buffered);
    let mut found = FoundRecords {
        ration: &left,
        visit,
        has_list: false,
    };
    found.renew();
    let read = LogFile(&mut found).deserialize(&mut json);
    found.renew();
    match read.and_then(|()| json.end()) {
        Ok(()) if found.has_list => Ok(()),
        Ok(()) | Err(_) => Err(error.get().unwrap_or(TrailFileError::Json)),
    }
}

/// Inflates a file. Of what is between two events, it gives a limited number of bytes, since the
/// reader of JSON holds an event as a whole.
struct RationedReader<'f> {
    decoder: GzDecoder<&'f [u8]>,
    total: u64,
    left: Rc<Cell<u64>>,
    /// Why it gives no more.
    error: Rc<Cell<Option<TrailFileError>>>,
}

impl Read for RationedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let fail = |error| {
            self.error.set(Some(error));
            Err(std::io::Error::other(error))
        };
        let Ok(bytes) = self.decoder.read(buffer) else {
            return fail(TrailFileError::Gzip);
        };
        self.total += bytes as u64;
        if self.total > CONTENT_BYTES_MAX {
            return fail(TrailFileError::TooLong);
        }
        let Some(left) = self.left.get().checked_sub(bytes as u64) else {
            return fail(TrailFileError::LongEvent);
        };
        self.left.set(left);
        Ok(bytes)
    }
}

struct FoundRecords<'v> {
    ration: &'v Cell<u64>,
    visit: &'v mut dyn FnMut(&[u8]),
    has_list: bool,
}

impl FoundRecords<'_> {
    fn renew(&self) {
        self.ration.set((RECORD_BYTES_MAX + BUFFER_BYTES) as u64);
    }
}

/// `{"Records":[…]}`
struct LogFile<'r, 'v>(&'r mut FoundRecords<'v>);

impl<'de> DeserializeSeed<'de> for LogFile<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for LogFile<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list of records")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "Records" {
                self.0.has_list = true;
                map.next_value_seed(RecordList(&mut *self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct RecordList<'r, 'v>(&'r mut FoundRecords<'v>);

impl<'de> DeserializeSeed<'de> for RecordList<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for RecordList<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<(), S::Error> {
        while let Some(record) = seq.next_element::<Box<RawValue>>()? {
            (self.0.visit)(record.get().as_bytes());
            self.0.renew();
        }
        Ok(())
    }
}
