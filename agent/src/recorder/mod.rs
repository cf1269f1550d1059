//! Writes what the reader delivers into an item, one record for each object, and counts what it
//! does not deliver in the coverage.
//!
//! A probe only requests objects, in its order; each ends as a record, a gap, or both. Nothing is
//! logged instead. Our own header fields of a record: `Exhibit-Kind` (`link`, `links`, `directory`,
//! `executable`, `namespaces`, `threads`, `journal-entries`, `log-source`, `pods`), `Exhibit-Log`, `Exhibit-Errno`, `Exhibit-Gap` (the reason under which the coverage
//! counts it), `Exhibit-Offset` and `Exhibit-Continued` where an object of unknown length takes
//! several records, `Exhibit-Sparse` where a file has holes, which no record covers, and the facts
//! of ordinary files.

mod control;
mod fields;
mod output;
mod tree;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use evidence_format::bundle::BundleError;
use evidence_format::config::{ItemSource, Redaction};
use evidence_format::coverage::{Coverage, EndReason, GapReason};
use evidence_format::time::Timestamp;
use evidence_format::warc::{RecordType, TruncationReason, WarcHeader, file_uri};
use rustix::io::Errno;

use crate::config::LogSource;
use crate::read::{
    ObjectStart, Presence, ReadEvent, ReadMethod, ReadOutcome, ReadRequest, Reader, ReaderPoll,
    task_of,
};
pub(crate) use control::CaptureControl;
pub use control::CaptureProgress;
use fields::RecordFields;
pub(crate) use fields::{errno_text, truncation};
pub(crate) use output::{MissingObject, RecordOutput};
use protocol::selection::PodSelection;
pub(crate) use tree::{
    FolderEntry, FolderListing, FoundFile, Subtree, TreeShares, as_one_share, join, name_of,
};

/// How often the deadline is checked while the reader delivers nothing.
const TICK: Duration = Duration::from_millis(50);
/// Requests queued ahead, so that the reading thread never waits for the writing one.
const REQUESTS_AHEAD_MAX: usize = 512;
/// Bytes of an object of unknown length in one record; they are held in memory until it is written.
pub(crate) const PART_BYTES_MAX: usize = 256 * 1024;
/// Bytes of one object that [`ProbeRecorder::fetch`] returns (a folder's names, the accounts).
const FETCHED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// When the machine booted, by its wall clock now, to the millisecond.
fn booted_at() -> Option<Timestamp> {
    const MILLISECOND: i128 = 1_000_000;
    let now = platform::clock::reading("");
    let nanoseconds = now.utc.unix_nanoseconds() - i128::from(now.boot_nanoseconds);
    Timestamp::from_unix_nanoseconds(nanoseconds.div_euclid(MILLISECOND) * MILLISECOND)
}

/// Records what one probe requests; see the module.
pub(crate) struct ProbeRecorder<'a> {
    output: RecordOutput<'a>,
    reader: &'a mut Reader,
    control: CaptureControl<'a>,
    coverage: Coverage,
    redactions: BTreeMap<&'static str, u64>,
    open: ObjectInProgress,
    /// Copies of the objects' bytes, while [`Self::fetch`] or [`Self::fetch_all`] waits for them.
    fetched: Option<FetchedObjects>,
    /// The last process found to have ended: one gap, however many of its files were requested.
    ended_process: Vec<u8>,
    /// Why nothing more is recorded.
    stopped: Option<GapReason>,
    options: ProbeOptions<'a>,
}

/// The options that probes read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProbeOptions<'o> {
    /// Logs of applications.
    pub(crate) logs: &'o [LogSource],
    /// When what is of interest began; `None` if that is unknown.
    pub(crate) window_start: Option<Timestamp>,
    /// The pods that the capture is about; `None` for all of the host.
    pub(crate) selection: Option<&'o PodSelection>,
    /// Keep the values of processes' environment variables.
    pub(crate) environment_values: bool,
    /// Entries of one folder that are kept, and folders and files of one tree.
    pub(crate) entries_max: u64,
}

/// What probes get of the objects that they fetch.
#[derive(Default)]
struct FetchedObjects {
    /// Those that have ended.
    done: Vec<Vec<u8>>,
    current: Vec<u8>,
}

/// The object whose events are being received.
#[derive(Default)]
struct ObjectInProgress {
    start: Option<ObjectStart>,
    /// Not written yet.
    bytes: Vec<u8>,
    /// Bytes in the records already written.
    written: u64,
    /// Its record was streamed, and is complete.
    streamed: bool,
}

impl<'a> ProbeRecorder<'a> {
    /// Starts the item with a record that describes it.
    pub(crate) fn start(
        mut output: RecordOutput<'a>,
        reader: &'a mut Reader,
        control: CaptureControl<'a>,
        options: ProbeOptions<'a>,
        what: &str,
    ) -> Result<Self, BundleError> {
        // Processes tell their start relative to it; readers of one item need no other.
        let booted = booted_at().map_or(String::new(), |time| format!("booted: {time}\r\n"));
        let block = format!(
            "software: {} {}\r\nformat: WARC File Format 1.1\r\ndescription: {what}\r\n{booted}",
            "exhibit-agent",
            env!("CARGO_PKG_VERSION")
        );
        let header = WarcHeader {
            kind: RecordType::Warcinfo,
            target_uri: None,
            date: platform::clock::now(),
            content_type: "application/warc-fields",
            truncated: None,
            fields: &[],
        };
        output.record(&header, block.as_bytes())?;
        let mut recorder = Self {
            output,
            reader,
            control,
            coverage: Coverage::new(),
            redactions: BTreeMap::new(),
            open: ObjectInProgress::default(),
            fetched: None,
            ended_process: Vec::new(),
            stopped: None,
            options,
        };
        // A probe that hangs at once must have shown its name.
        recorder.report_progress(true);
        Ok(recorder)
    }

    pub(crate) fn options(&self) -> ProbeOptions<'a> {
        self.options
    }

    /// True once the deadline, a limit or a cancellation has stopped the item. A loop over many
    /// objects should then end, after [`Self::skip`] for those that it did not reach.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// True if `path` is on a mount that has hung: it need not be asked for again, name by name.
    pub(crate) fn is_hung(&self, path: &[u8]) -> bool {
        self.reader.is_hung(path)
    }

    /// Requests an object. Its record is written when it was read; records have the order of the
    /// requests.
    pub(crate) fn request(&mut self, request: ReadRequest) -> Result<(), BundleError> {
        self.check_stop()?;
        if self.is_stopped() {
            return self.skip(&request.path);
        }
        // what a probe chooses by is read whole
        let request = ReadRequest {
            sample: self.output.is_rehearsal() && self.fetched.is_none(),
            ..request
        };
        self.reader.request(request);
        if self.reader.pending() >= REQUESTS_AHEAD_MAX {
            // Half, so that the reading thread still has work while we write.
            self.receive(REQUESTS_AHEAD_MAX / 2)
        } else {
            Ok(())
        }
    }

    /// Requests an object, waits for it, and returns its bytes too: of a very large one the first.
    pub(crate) fn fetch(&mut self, request: ReadRequest) -> Result<Vec<u8>, BundleError> {
        let mut fetched = self.fetch_all(std::iter::once(request))?;
        Ok(fetched.pop().unwrap_or_default())
    }

    /// Requests objects, waits for all, and returns the bytes of each; fewer if the item was stopped.
    pub(crate) fn fetch_all(
        &mut self,
        requests: impl Iterator<Item = ReadRequest>,
    ) -> Result<Vec<Vec<u8>>, BundleError> {
        self.receive(0)?;
        // Only now, after all that was requested before: these bytes are of these objects alone.
        self.fetched = Some(FetchedObjects::default());
        let mut received = Ok(());
        for request in requests {
            received = received.and_then(|()| self.request(request));
        }
        received = received.and_then(|()| self.receive(0));
        let fetched = self.fetched.take().unwrap_or_default();
        let mut objects = fetched.done;
        if !fetched.current.is_empty() {
            objects.push(fetched.current); // the item was stopped in the middle of it
        }
        received.map(|()| objects)
    }

    /// Records `path` as missing for the reason that stopped the item.
    pub(crate) fn skip(&mut self, path: &[u8]) -> Result<(), BundleError> {
        self.record_gap(self.stopped.unwrap_or(GapReason::Crashed), path)
    }

    /// Counts `path` as missing, and writes a record if it is among the examples.
    pub(crate) fn record_gap(&mut self, reason: GapReason, path: &[u8]) -> Result<(), BundleError> {
        self.record_gap_of_many(reason, path, 1)
    }

    /// Records what the program states about what it takes, as JSON. `uri` names what it is about.
    pub(crate) fn record_statement(
        &mut self,
        uri: &str,
        kind: &str,
        json: &str,
    ) -> Result<(), BundleError> {
        self.receive(0)?; // in the order of the requests
        let header = WarcHeader {
            kind: RecordType::Metadata,
            target_uri: Some(uri),
            date: platform::clock::now(),
            content_type: "application/json",
            truncated: None,
            fields: &[("Exhibit-Kind", kind)],
        };
        self.output.record(&header, json.as_bytes())
    }

    /// The same for `count` objects that are below `path`.
    pub(crate) fn record_gap_of_many(
        &mut self,
        reason: GapReason,
        path: &[u8],
        count: u64,
    ) -> Result<(), BundleError> {
        let examples = self.examples(reason);
        let missing = MissingObject {
            reason,
            path,
            errno: None,
            count,
        };
        self.count_gap(missing, 0, 0);
        // A host of 100,000 unreadable files must not become as many empty records.
        if self.examples(reason) == examples {
            return Ok(());
        }
        let header = WarcHeader {
            kind: RecordType::Metadata,
            target_uri: Some(&uri_of(path)),
            date: platform::clock::now(),
            content_type: "application/warc-fields",
            truncated: None,
            fields: &[("Exhibit-Gap", reason.as_str())],
        };
        self.output.record(&header, b"")
    }

    /// How many examples the gap of this reason has.
    fn examples(&self, reason: GapReason) -> usize {
        let gap = self.coverage.gaps.iter().find(|gap| gap.reason == reason);
        gap.map_or(0, |gap| gap.examples.len())
    }

    /// Waits for all requests, and ends the item.
    pub(crate) fn finish(mut self, source: ItemSource) -> Result<(), BundleError> {
        self.receive(0)?;
        self.report_progress(true);
        let redactions = self
            .redactions
            .into_iter()
            .map(|(what, count)| Redaction {
                what: what.to_owned(),
                count,
            })
            .collect();
        self.output.finish(source, self.coverage, redactions)
    }

    /// Ends the requests of a probe that panicked.
    pub(crate) fn crash(&mut self, probe: &str) -> Result<(), BundleError> {
        // The panic may have left requests that nobody waits for.
        self.reader.abandon();
        self.open = ObjectInProgress::default();
        self.fetched = None;
        self.coverage.ended = EndReason::Failed;
        self.record_gap(GapReason::Crashed, probe.as_bytes())
    }

    /// Handles events until at most `pending_max` requests are left.
    fn receive(&mut self, pending_max: usize) -> Result<(), BundleError> {
        while self.reader.pending() > pending_max {
            match self.reader.next(TICK) {
                ReaderPoll::Event(event) => self.handle_event(event)?,
                ReaderPoll::Waiting => self.check_stop()?,
                ReaderPoll::Idle => break,
            }
        }
        Ok(())
    }

    fn check_stop(&mut self) -> Result<(), BundleError> {
        self.report_progress(false);
        let object_time_max = self.control.object_time_max();
        self.reader.set_object_time_max(object_time_max);
        match self.control.stop() {
            Some(reason) if self.stopped.is_none() => self.stop(reason),
            Some(_) | None => Ok(()),
        }
    }

    fn report_progress(&mut self, always: bool) {
        self.control.report_progress(
            always,
            self.output.records(),
            self.output.bytes(),
            self.coverage.missing(),
        );
    }

    /// Gives up all requests. Of the object that is being received, the bytes so far are kept.
    fn stop(&mut self, reason: GapReason) -> Result<(), BundleError> {
        self.stopped = Some(reason);
        self.coverage.ended = if reason == GapReason::Cancelled {
            EndReason::Cancelled
        } else {
            EndReason::Deadline
        };
        let mut abandoned = self.reader.abandon().into_iter();
        if self.open.start.is_some()
            && let Some(current) = abandoned.next()
        {
            self.finish_object(&current, ReadOutcome::Cut(reason))?;
        }
        for request in abandoned {
            self.record_gap(reason, &request.path)?;
        }
        Ok(())
    }

    fn handle_event(&mut self, event: ReadEvent) -> Result<(), BundleError> {
        match event {
            ReadEvent::Start(start) if start.stream_bytes.is_some() => self.stream_object(start),
            ReadEvent::Start(start) => {
                self.open.start = Some(start);
                Ok(())
            }
            ReadEvent::Bytes(range) => self.receive_bytes(range),
            ReadEvent::End(end) => {
                let request = self.reader.pop_request();
                request.map_or(Ok(()), |request| self.finish_object(&request, end))
            }
        }
    }

    fn receive_bytes(&mut self, range: Range<usize>) -> Result<(), BundleError> {
        let bytes = self.reader.bytes(range);
        if let Some(FetchedObjects { current, .. }) = &mut self.fetched {
            // The record has all of it: only the copy for the probe is cut.
            let room = FETCHED_BYTES_MAX - current.len();
            current.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        self.open.bytes.extend_from_slice(bytes);
        if self.open.bytes.len() < PART_BYTES_MAX {
            return Ok(());
        }
        let request = self.reader.current().cloned();
        request.map_or(Ok(()), |request| self.write_record(&request, None))
    }

    /// Writes the record of a long file, whose length is known, while its bytes are read: they are
    /// never in memory as a whole.
    fn stream_object(&mut self, start: ObjectStart) -> Result<(), BundleError> {
        let Some(request) = self.reader.current().cloned() else {
            return Ok(());
        };
        let stream_bytes = start.stream_bytes.unwrap_or(0);
        let cut =
            start.sparse.is_none() && start.facts.is_some_and(|facts| facts.size > stream_bytes);
        // The record after it states the gap, which may be a worse one by then.
        let fields = RecordFields::of(&request, Some(&start), 0);
        let (uri, pairs) = (file_uri(&request.path), fields.pairs());
        let header = header(
            &request,
            &uri,
            start.at,
            cut.then_some(TruncationReason::Length),
            &pairs,
        );
        let (records, gaps) = (self.output.records(), self.coverage.missing());
        let base = (records, self.output.bytes(), gaps);
        let mut content = LongFileReader {
            reader: self.reader,
            control: &mut self.control,
            base,
            got: 0,
            rest: 0..0,
            end: None,
        };
        self.output
            .record_stream(&header, stream_bytes, &mut content)?;
        let (got, end) = (content.got, content.end);
        self.open = ObjectInProgress {
            start: Some(start),
            bytes: Vec::new(),
            // of a file with holes, after the runs before this one
            written: self.open.written + got,
            streamed: true,
        };
        match end {
            None => Ok(()), // all bytes came: the object's end is the next event
            Some(EarlyEnd::Outcome(end)) => self.handle_event(ReadEvent::End(end)),
            Some(EarlyEnd::Stopped(reason)) => self.stop(reason),
        }
    }

    /// Writes the last record of an object, and counts its gap.
    fn finish_object(
        &mut self,
        request: &Arc<ReadRequest>,
        end: ReadOutcome,
    ) -> Result<(), BundleError> {
        if let ReadOutcome::Whole { redacted } = end
            && let ReadMethod::Redacted(rule) = request.method
            && request.record
            && redacted > 0
        {
            *self.redactions.entry(rule.what()).or_default() += redacted;
        }
        self.coverage.pages += u64::from(self.open.start.is_some());
        let kept = self.open.written + self.open.bytes.len() as u64;
        let gap = gap_of(end, request);
        // An absent optional object is neither a record nor a gap.
        let is_absent = gap.is_none() && !matches!(end, ReadOutcome::Whole { .. });
        // Most processes have no socket: a record that says so of each would be noise.
        let is_empty_selection =
            kept == 0 && matches!(request.method, ReadMethod::Links(prefix) if !prefix.is_empty());
        let needs_no_record =
            is_absent || gap.is_none() && (is_empty_selection || self.open.streamed);
        // The limit was used up before this object: it is one of many, so it gets a record only if it
        // is among the examples.
        let is_unopened = gap == Some(GapReason::OverBudget) && self.open.start.is_none();
        if is_unopened {
            self.record_gap(GapReason::OverBudget, &request.path)?;
        } else {
            if request.record && !needs_no_record {
                self.write_record(request, Some(end))?;
            }
            if let Some(reason) = gap {
                let start = self.open.start.filter(|_| is_file(request));
                let size = start.and_then(|start| {
                    let data_bytes = start.sparse.map(|part| part.data_bytes);
                    data_bytes.or(start.facts.map(|facts| facts.size))
                });
                let lost = size.unwrap_or(kept).saturating_sub(kept);
                let count = if let ReadOutcome::Shortened { left_out } = end {
                    left_out
                } else {
                    1
                };
                let missing = MissingObject {
                    reason,
                    path: &request.path,
                    errno: if let ReadOutcome::Failed(errno) = end {
                        Some(errno)
                    } else {
                        None
                    },
                    count,
                };
                self.count_gap(missing, kept, lost);
            }
        }
        if gap == Some(GapReason::OverBudget) {
            self.stopped = self.stopped.or(gap);
            self.coverage.ended = EndReason::Limit;
        }
        if let Some(fetched) = &mut self.fetched {
            fetched.done.push(std::mem::take(&mut fetched.current));
        }
        self.open.clear();
        Ok(())
    }

    /// Writes the bytes received since the last record; `end` is `None` if more will come.
    fn write_record(
        &mut self,
        request: &ReadRequest,
        end: Option<ReadOutcome>,
    ) -> Result<(), BundleError> {
        let start = self.open.start;
        let mut fields = RecordFields::of(request, start.as_ref(), self.open.written);
        let mut truncated = None;
        match end {
            None => fields.add("Exhibit-Continued", "true"),
            Some(end) => {
                let gap = gap_of(end, request);
                let counted = gap.filter(|reason| !self.is_counted(*reason, &request.path));
                truncated = fields.outcome(end, counted);
            }
        }
        let date = start.map_or_else(platform::clock::now, |start| start.at);
        let (uri, pairs) = (file_uri(&request.path), fields.pairs());
        let mut header = header(request, &uri, date, truncated, &pairs);
        if self.open.streamed {
            // its bytes are in the record before, whose header was written before the outcome
            header.kind = RecordType::Metadata;
            header.content_type = "application/warc-fields";
        }
        self.output.record(&header, &self.open.bytes)?;
        self.open.written += self.open.bytes.len() as u64;
        self.open.bytes.clear();
        Ok(())
    }

    /// A process that ends takes all its files with it: they are one gap, not a dozen, and only the
    /// record of the first file says so.
    fn is_counted(&self, reason: GapReason, path: &[u8]) -> bool {
        ended_process(reason, path).is_some_and(|process| process == self.ended_process)
    }

    fn count_gap(&mut self, missing: MissingObject<'_>, kept: u64, lost: u64) {
        let MissingObject {
            reason,
            path,
            count,
            ..
        } = missing;
        self.output.missing(missing);
        if self.is_counted(reason, path) {
            return;
        }
        let text = String::from_utf8_lossy(path);
        match ended_process(reason, path) {
            Some(process) => {
                self.ended_process = process.to_vec();
                let process = String::from_utf8_lossy(process);
                self.coverage.gap(reason, &process, kept, lost);
            }
            None => self.coverage.gap_of_many(reason, &text, count, kept, lost),
        }
    }
}

/// The process whose end is the reason why a file of it is missing.
fn ended_process(reason: GapReason, path: &[u8]) -> Option<&[u8]> {
    let is_absent = matches!(reason, GapReason::ProcessEnded | GapReason::Vanished);
    task_of(path).filter(|_| is_absent)
}

impl ObjectInProgress {
    /// Ready for the next object; keeps its memory.
    fn clear(&mut self) {
        self.start = None;
        self.bytes.clear();
        self.written = 0;
        self.streamed = false;
    }
}

/// The URI of a path, or of what is none, such as `systemd-unit:x.service`.
fn uri_of(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(uri) if !uri.starts_with('/') => uri.to_owned(),
        Ok(_) | Err(_) => file_uri(path),
    }
}

fn is_file(request: &ReadRequest) -> bool {
    matches!(request.method, ReadMethod::File(_) | ReadMethod::Linked(_))
}

fn header<'h>(
    request: &'h ReadRequest,
    uri: &'h str,
    date: evidence_format::time::Timestamp,
    truncated: Option<TruncationReason>,
    fields: &'h [(&'h str, &'h str)],
) -> WarcHeader<'h> {
    let derived = matches!(
        request.method,
        ReadMethod::Executable
            | ReadMethod::Namespaces(_)
            | ReadMethod::Threads
            | ReadMethod::JournalEntries
    );
    let kind = if derived {
        RecordType::Metadata
    } else {
        RecordType::Resource
    };
    WarcHeader {
        kind,
        target_uri: Some(uri),
        date,
        content_type: request.content_type,
        truncated,
        fields,
    }
}

/// The gap that `end` leaves; `None` if nothing is missing.
fn gap_of(end: ReadOutcome, request: &ReadRequest) -> Option<GapReason> {
    match end {
        ReadOutcome::Whole { .. } | ReadOutcome::Repeated => None,
        ReadOutcome::Cut(reason) => Some(reason),
        ReadOutcome::Shortened { .. } => Some(GapReason::TooLarge),
        // of a link to a folder above itself, nothing is read elsewhere
        ReadOutcome::Special if request.method == ReadMethod::LinkedListing => {
            Some(GapReason::SpecialFile)
        }
        ReadOutcome::Special => {
            (request.presence != Presence::LinkTarget).then_some(GapReason::SpecialFile)
        }
        ReadOutcome::ForeignLink => Some(GapReason::ForeignLink),
        ReadOutcome::Shrank => Some(GapReason::Shrank),
        ReadOutcome::Hung => Some(GapReason::Hung),
        ReadOutcome::Crashed => Some(GapReason::Crashed),
        // what need not exist is not missing
        ReadOutcome::ProcessEnded => {
            (request.presence == Presence::Listed).then_some(GapReason::ProcessEnded)
        }
        ReadOutcome::Failed(errno) => gap_of_errno(errno, request.presence),
    }
}

fn gap_of_errno(errno: Errno, presence: Presence) -> Option<GapReason> {
    match (errno, presence) {
        (Errno::ACCESS | Errno::PERM, _) => Some(GapReason::PermissionDenied),
        (Errno::NOENT | Errno::NOTDIR | Errno::SRCH, Presence::Listed) => Some(GapReason::Vanished),
        (Errno::NOENT | Errno::NOTDIR | Errno::SRCH, Presence::Required) => {
            Some(GapReason::Unsupported)
        }
        (Errno::NOENT | Errno::NOTDIR | Errno::SRCH, Presence::Optional | Presence::LinkTarget) => {
            None
        }
        // A link that leads in a circle is recorded as a link.
        (Errno::LOOP, Presence::LinkTarget) => None,
        (Errno::INVAL | Errno::OPNOTSUPP | Errno::NODEV | Errno::NXIO, Presence::Optional) => None, // the kernel's feature is disabled
        _ => Some(GapReason::ReadFailed),
    }
}

/// The bytes of a long file as the reader delivers them.
struct LongFileReader<'p, 'w> {
    reader: &'p mut Reader,
    control: &'p mut CaptureControl<'w>,
    /// Records, bytes and gaps of the item before this file.
    base: (u64, u64, u64),
    got: u64,
    rest: Range<usize>,
    end: Option<EarlyEnd>,
}

/// Why a long file ended before all its bytes were read.
#[derive(Clone, Copy)]
enum EarlyEnd {
    Outcome(ReadOutcome),
    Stopped(GapReason),
}

impl Read for LongFileReader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Returning 0 would mean the end of the file, so this waits.
        while self.rest.is_empty() && self.end.is_none() {
            self.wait();
        }
        let from = self.rest.start;
        let n = buffer.len().min(self.rest.len());
        buffer[..n].copy_from_slice(self.reader.bytes(from..from + n));
        self.rest.start += n;
        self.got += n as u64;
        Ok(n)
    }
}

impl LongFileReader<'_, '_> {
    fn wait(&mut self) {
        match self.reader.next(TICK) {
            ReaderPoll::Event(ReadEvent::Bytes(range)) => self.rest = range,
            ReaderPoll::Event(ReadEvent::End(end)) => self.end = Some(EarlyEnd::Outcome(end)),
            ReaderPoll::Event(ReadEvent::Start(_)) => {}
            // The object has not ended, and yet nothing is pending: a bug of ours.
            ReaderPoll::Idle => self.end = Some(EarlyEnd::Outcome(ReadOutcome::Crashed)),
            ReaderPoll::Waiting => {}
        }
        let (records, bytes, gaps) = self.base;
        self.control
            .report_progress(false, records, bytes + self.got, gaps);
        if let Some(reason) = self
            .control
            .stop()
            // Bytes that have arrived are kept first.
            .filter(|_| self.end.is_none() && self.rest.is_empty())
        {
            self.end = Some(EarlyEnd::Stopped(reason));
        }
    }
}
