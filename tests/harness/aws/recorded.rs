//! Recorded events. Each line of the file is an event, or a file as CloudTrail delivers it
//! (`{"Records":[…]}`).
//!
//! The server returns the bytes of each record as they were recorded. It keeps 24 bytes per event
//! in memory, and reads the file on demand.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::events::{AccountRegion, EventCorpus, LookupEvent};

/// A corpus in a file.
pub struct RecordedEvents {
    file: File,
    places: Vec<AccountRegion>,
    rows: Vec<Vec<Row>>,
}

struct Row {
    time: i64,
    offset: u64,
    bytes: u32,
    /// The first position with this event.
    first: u32,
}

/// A line with a delivered file; without `Records`, the line is an event.
#[derive(Deserialize)]
struct Delivered<'a> {
    #[serde(borrow, rename = "Records")]
    records: Option<Vec<&'a RawValue>>,
}

/// The members of a record that the index needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Id<'a> {
    #[serde(rename = "eventID", borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    event_time: Cow<'a, str>,
    #[serde(borrow)]
    aws_region: Cow<'a, str>,
    #[serde(borrow)]
    recipient_account_id: Cow<'a, str>,
}

impl RecordedEvents {
    /// Reads a corpus and indexes its events. A `.zst` file is unpacked to a scratch file first.
    ///
    /// # Errors
    /// If the file cannot be read, or if a line is not an event.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        if path.extension().is_some_and(|extension| extension == "zst") {
            let packed = std::mem::replace(&mut file, tempfile::tempfile()?);
            zstd::stream::copy_decode(packed, &file)?;
            file.rewind()?;
        }
        let mut index: BTreeMap<AccountRegion, Vec<(Row, u128)>> = BTreeMap::new();
        let (mut lines, mut line, mut offset) =
            (BufReader::with_capacity(1 << 20, &file), Vec::new(), 0);
        while lines.read_until(b'\n', &mut line)? > 0 {
            for (start, record) in records(&line).map_err(io::Error::other)? {
                let id: Id<'_> = serde_json::from_slice(record)?;
                let time = id
                    .event_time
                    .parse::<Timestamp>()
                    .map_err(io::Error::other)?
                    .as_second();
                let row = Row {
                    time,
                    offset: offset + start as u64,
                    bytes: record.len() as u32,
                    first: 0,
                };
                let place = AccountRegion::new(&id.recipient_account_id, &id.aws_region);
                index
                    .entry(place)
                    .or_default()
                    .push((row, uuid(&id.event_id)));
            }
            offset += line.len() as u64;
            line.clear();
        }
        let (places, rows) = index
            .into_iter()
            .map(|(place, rows)| (place, newest_first(rows)))
            .unzip();
        drop(lines);
        Ok(Self { file, places, rows })
    }
}

impl RecordedEvents {
    /// Shifts all event times so that the newest is `newest`, in seconds since 1970. The records
    /// stay as they were recorded.
    #[must_use]
    pub fn moved_to(mut self, newest: i64) -> Self {
        let last = self
            .rows
            .iter()
            .flatten()
            .map(|row| row.time)
            .max()
            .unwrap_or(newest);
        self.rows
            .iter_mut()
            .flatten()
            .for_each(|row| row.time += newest - last);
        self
    }
}

/// The offset and bytes of each record in a line.
fn records(line: &[u8]) -> serde_json::Result<Vec<(usize, &[u8])>> {
    let text = line.trim_ascii_end();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let Delivered { records } = serde_json::from_slice(text)?;
    let Some(records) = records else {
        return Ok(vec![(0, text)]);
    };
    Ok(records
        .into_iter()
        .map(|record| record.get().as_bytes())
        .map(|record| (record.as_ptr().addr() - line.as_ptr().addr(), record))
        .collect())
}

/// Events of the same second stay in the order of the file, which is arbitrary.
fn newest_first(mut rows: Vec<(Row, u128)>) -> Vec<Row> {
    rows.sort_by_key(|(row, _)| std::cmp::Reverse(row.time));
    let mut firsts = HashMap::new();
    let rows = rows.into_iter().zip(0..);
    rows.map(|((row, id), position)| Row {
        first: *firsts.entry(id).or_insert(position),
        ..row
    })
    .collect()
}

/// Packs an id into a number. It is unique for UUIDs, and a hash of any other text.
fn uuid(text: &str) -> u128 {
    let digits = text.bytes().filter(|byte| *byte != b'-');
    digits.fold(0_u128, |number, byte| {
        number.rotate_left(4) ^ u128::from((byte as char).to_digit(16).unwrap_or(u32::from(byte)))
    })
}

impl EventCorpus for RecordedEvents {
    fn places(&self) -> &[AccountRegion] {
        &self.places
    }

    fn count(&self, place: usize) -> u64 {
        self.rows[place].len() as u64
    }

    fn time(&self, place: usize, position: u64) -> i64 {
        self.rows[place][position as usize].time
    }

    fn first(&self, place: usize, position: u64) -> u64 {
        self.rows[place][position as usize].first.into()
    }

    fn event(&self, place: usize, position: u64) -> LookupEvent<'_> {
        let row = &self.rows[place][position as usize];
        let mut record = vec![0; row.bytes as usize];
        self.file
            .read_exact_at(&mut record, row.offset)
            .expect("the corpus can still be read");
        let listed: Record = serde_json::from_slice(&record).expect("`open` has parsed it");
        listed.event(record)
    }
}

/// The members of a record that LookupEvents lists.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    #[serde(rename = "eventID")]
    event_id: String,
    event_name: String,
    event_source: String,
    read_only: Option<bool>,
    #[serde(default)]
    user_identity: Identity,
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    #[serde(default, rename = "type")]
    kind: String,
    access_key_id: Option<String>,
    user_name: Option<String>,
    principal_id: Option<String>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(rename = "ARN")]
    arn: Option<String>,
}

impl Record {
    fn event(self, record: Vec<u8>) -> LookupEvent<'static> {
        let who = self.user_identity;
        let username = match who.kind.as_str() {
            "Root" => Some("root".to_owned()),
            "AssumedRole" => who
                .principal_id
                .and_then(|id| id.split_once(':').map(|(_, session)| session.to_owned())),
            _ => who.user_name,
        };
        let resources = self
            .resources
            .into_iter()
            .filter_map(|resource| Some((resource.kind?.into(), resource.arn?.into())));
        LookupEvent {
            id: self.event_id.into(),
            name: self.event_name.into(),
            source: self.event_source.into(),
            read_only: self.read_only,
            access_key_id: who
                .access_key_id
                .filter(|key| !key.is_empty())
                .map(Cow::Owned),
            username: username.map(Cow::Owned),
            resources: resources.collect(),
            record,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn record(id: u32, time: &str, region: &str) -> String {
        format!(
            r#"{{"eventID":"0000000{id}-0000-4000-8000-000000000000", "eventTime":"2026-01-01T00:00:{time}Z","awsRegion":"{region}","recipientAccountId":"111122223333","eventName":"X","eventSource":"x.amazonaws.com","userIdentity":{{"type":"AssumedRole","principalId":"AROA:who"}}}}"#
        )
    }

    #[test]
    fn reads_both_kinds_of_lines_byte_for_byte() {
        let (a, b, c) = (
            record(1, "01", "eu-west-1"),
            record(2, "03", "eu-west-1"),
            record(3, "02", "us-east-1"),
        );
        let mut file = tempfile::NamedTempFile::new().expect("a scratch file");
        write!(file, "{{\"Records\": [{a}, {b}]}}\n\n{c}\n{a}")
            .expect("the scratch file is writable");
        let files = RecordedEvents::open(file.path()).expect("a corpus");
        assert_eq!(
            files.places(),
            [
                AccountRegion::new("111122223333", "eu-west-1"),
                AccountRegion::new("111122223333", "us-east-1")
            ]
        );
        assert_eq!((files.count(0), files.count(1)), (3, 1));
        let texts: Vec<_> = (0..3)
            .map(|i| String::from_utf8(files.event(0, i).record).expect("JSON"))
            .collect();
        assert_eq!(texts, [b, a.clone(), a], "newest first");
        assert_eq!(
            [files.first(0, 0), files.first(0, 1), files.first(0, 2)],
            [0, 1, 1]
        );
        assert_eq!(files.event(1, 0).username.as_deref(), Some("who"));
    }
}
