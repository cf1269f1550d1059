//! The config blob, which describes what was captured. The bundle's id covers it, so nobody can
//! change it without changing the id.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::canonical::{self, DecodeError};
use crate::coverage::{Coverage, TimeWindow, is_short, shorten};
use crate::digest::Digest;
use crate::id::{IncidentId, ItemName};
use crate::item::FinishedItem;
use crate::limits::{
    CLOCK_READINGS_MAX, CONFIG_BYTES_MAX, ITEM_BYTES_MAX, ITEMS_MAX, JSON_INTEGER_MAX,
    REDACTIONS_MAX, SERVERS_MAX,
};
use crate::plan::SealedPlan;
use crate::time::Timestamp;
use crate::tree::TreeRoot;

/// The version of the format that this crate writes and reads.
pub const VERSION: u64 = 1;

/// Largest offset of a clock that JSON holds exactly.
const OFFSET_MILLISECONDS_MAX: i64 = JSON_INTEGER_MAX as i64;

/// What a bundle holds and how it was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundleConfig {
    /// Always [`VERSION`].
    pub version: u64,
    /// The incident that the capture belongs to.
    pub incident: IncidentId,
    /// Id of the capture's first bundle, if this one adds what a source had only later or what a
    /// deadline had cut off. `None` in the first bundle itself.
    pub supplements: Option<Digest>,
    /// The requested window; `None` if only the present state was requested.
    pub window: Option<TimeWindow>,
    /// What the capture set out to do.
    pub plan: SealedPlan,
    /// The program that captured.
    pub collector: CollectorInfo,
    /// The system whose files were read; `None` if the bundle has no evidence of a host.
    pub examined: Option<ExaminedSystem>,
    /// Clock readings in order, at least one at the beginning and one at the end of the capture.
    pub clock: Vec<ClockReading>,
    /// Digest of the blob that holds the disclosure key, from which the leaf salts follow.
    pub disclosure_key: Digest,
    /// The items in the order in which they were started.
    pub items: Vec<ItemEntry>,
}

/// The program that captured, and where it ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CollectorInfo {
    /// Name of the program.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Commit that the program was built from; `None` if unknown to the build.
    pub commit: Option<String>,
    /// SHA-256 of the executable; `None` if it could not be read.
    pub binary: Option<Digest>,
    /// Host name of the machine.
    pub host: String,
    /// Kernel of the machine.
    pub kernel: String,
    /// The kernel's id of the current boot (`/proc/sys/kernel/random/boot_id`); `None` if it could
    /// not be read.
    pub boot: Option<String>,
    /// User that the program ran as.
    pub identity: String,
}

/// The system that a host's evidence is about. It need not be the machine that the program ran on: a
/// container may have its host's root in a folder, and an image may be mounted somewhere.
///
/// All but [`Self::root`] is what the system says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExaminedSystem {
    /// The folder on the machine of the [`CollectorInfo`] that was read as this system's root, as a
    /// `file:` URI with links resolved. `file:///` is that machine itself, or its container.
    pub root: String,
    /// `PRETTY_NAME` in `/etc/os-release`; `None` if it could not be read.
    pub os: Option<String>,
    /// Content of `/etc/machine-id`; `None` if it could not be read.
    pub machine_id: Option<String>,
    /// Content of `/etc/hostname`; `None` if it could not be read.
    pub host: Option<String>,
}

/// The wall clock together with a clock that nobody can set, read at the same moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClockReading {
    /// What happened at that moment: `begin`, `end`.
    pub event: String,
    /// The wall clock.
    pub utc: Timestamp,
    /// Nanoseconds since boot, including time asleep (CLOCK_BOOTTIME).
    pub boot_nanoseconds: u64,
}

/// An item of the bundle, as the config describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ItemEntry {
    /// Name of the item, unique in the bundle.
    pub name: ItemName,
    /// Digest of the layer blob, which holds the compressed bytes.
    pub layer: Digest,
    /// Digest of the segment-list blob.
    pub segments: Digest,
    /// Plaintext bytes; a reader decompresses no further.
    pub bytes: u64,
    /// Number of record segments.
    pub records: u64,
    /// Number of all segments, records and glue: the leaves of the record tree. The root alone
    /// does not bind it.
    pub leaves: u64,
    /// Root of the record tree.
    pub root: TreeRoot,
    /// Where the item comes from.
    pub source: ItemSource,
    /// How much of the requested data the item holds.
    pub coverage: Coverage,
    /// What was removed before anything was hashed.
    pub redactions: Vec<Redaction>,
}

/// Where an item comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ItemSource {
    /// Who provided the data: `host`, `files`, `aws`.
    pub provider: String,
    /// The interface used: `procfs`, `cloudtrail:LookupEvents`.
    pub api: String,
    /// Account, tenant or organisation.
    pub account: Option<String>,
    /// Region of the provider.
    pub region: Option<String>,
    /// Identity that the source was queried as.
    pub identity: Option<String>,
    /// The source's clock compared with the collector's; `None` if it did not tell the time.
    pub clock: Option<SourceClock>,
    /// The servers that answered over HTTP, by origin and issuer; empty where none was asked.
    pub servers: Vec<AnsweringServer>,
    /// Responses of servers that are not listed.
    pub other_responses: u64,
}

/// A server that answered requests. Whether it is the provider's is for auditors: an environment
/// variable or a proxy can lead an honest collector elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnsweringServer {
    /// Scheme, host and port, as they were asked: `https://api.github.com`.
    pub origin: String,
    /// Distinguished name (RFC 4514) of whoever issued the server's certificate; `None` for plain
    /// HTTP, or if the name could not be read.
    pub issuer: Option<String>,
    /// Responses with any status; at least 1.
    pub responses: u64,
}

/// The source's clock (HTTP's `Date`) minus the collector's, over all responses; negative where the
/// source is behind.
///
/// Each offset is measured against the midpoint between sending the request and receiving the
/// response's head, so it is wrong by at most half the round trip. `Date` also truncates to whole
/// seconds, which makes the offset too small by up to 1,000 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceClock {
    /// Responses that told the time; at least 1.
    pub samples: u64,
    /// The smallest offset, in milliseconds.
    pub offset_milliseconds_min: i64,
    /// The largest offset, in milliseconds.
    pub offset_milliseconds_max: i64,
}

/// Something that was removed from evidence before it was hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redaction {
    /// What was removed, described for people: `values of environment variables`.
    pub what: String,
    /// How many of them were removed.
    pub count: u64,
}

/// A config blob was rejected.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The blob is not a canonical config document.
    #[error("invalid config document")]
    Decode(#[from] DecodeError),
    /// This program does not know the format version.
    #[error("config has format version {found}, this program knows only {VERSION}")]
    Version {
        /// The version that the config states.
        found: u64,
    },
    /// Parts of the config contradict each other or exceed a limit.
    #[error("inconsistent config: {0}")]
    Inconsistent(&'static str),
}

/// Bytes kept of a step's description if the config is too long.
const SHORT_WHAT_BYTES: usize = 100;
/// Servers kept of an item if the config is still too long.
const SHORT_SERVERS: usize = 1;

impl BundleConfig {
    /// Encodes the config canonically.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Decodes a config blob.
    ///
    /// # Errors
    /// See [`ConfigError`]. The version is checked first, so that a config of a later version is
    /// not reported as malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, ConfigError> {
        let ConfigVersion { version } = canonical::decode_lenient(bytes, CONFIG_BYTES_MAX)?;
        if version > JSON_INTEGER_MAX {
            return Err(DecodeError::IntegerTooLarge.into());
        }
        if version != VERSION {
            return Err(ConfigError::Version { found: version });
        }
        let config: Self = canonical::decode(bytes, CONFIG_BYTES_MAX)?;
        config.check().map_err(ConfigError::Inconsistent)?;
        Ok(config)
    }

    /// True if no planned item and no object is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.planned_but_absent().next().is_none()
            && self.items.iter().all(|item| item.coverage.is_complete())
    }

    /// Items that the plan promises and the bundle lacks.
    pub fn planned_but_absent(&self) -> impl Iterator<Item = &ItemName> {
        let present: BTreeSet<&ItemName> = self.items.iter().map(|item| &item.name).collect();
        self.plan
            .steps
            .iter()
            .map(|step| &step.item)
            .filter(move |name| !present.contains(name))
    }

    /// Shortens what is there for people, so that the config keeps to the limits of the format: a
    /// captured host that has long names must not make a bundle that no verifier accepts.
    pub(crate) fn shorten(&mut self) {
        self.texts_mut().into_iter().for_each(shorten);
        for item in &mut self.items {
            item.texts_mut().into_iter().for_each(shorten);
            item.coverage.shorten();
        }
        let is_too_long = |config: &Self| {
            let blob = config.encode();
            canonical::decode_lenient::<ConfigVersion>(&blob, CONFIG_BYTES_MAX).is_err()
        };
        // labels first, and evidence last
        if is_too_long(self) {
            for step in &mut self.plan.steps {
                step.what
                    .truncate(step.what.floor_char_boundary(SHORT_WHAT_BYTES));
            }
        }
        if is_too_long(self) {
            let coverages = self.items.iter_mut().map(|item| &mut item.coverage);
            coverages
                .flat_map(|coverage| &mut coverage.gaps)
                .for_each(|gap| gap.examples.clear());
        }
        if is_too_long(self) {
            self.items
                .iter_mut()
                .for_each(|item| item.source.keep_servers(SHORT_SERVERS));
        }
    }

    /// Every free text outside of the items.
    fn texts(&self) -> Vec<&str> {
        let CollectorInfo {
            name,
            version,
            commit,
            binary: _,
            host,
            kernel,
            boot,
            identity,
        } = &self.collector;
        let mut texts: Vec<&str> = vec![name, version, host, kernel, identity];
        texts.extend(commit.iter().chain(boot).map(String::as_str));
        if let Some(ExaminedSystem {
            root,
            os,
            machine_id,
            host,
        }) = &self.examined
        {
            texts.push(root);
            texts.extend(os.iter().chain(machine_id).chain(host).map(String::as_str));
        }
        texts.extend(self.clock.iter().map(|reading| reading.event.as_str()));
        texts.extend(self.plan.steps.iter().map(|step| step.what.as_str()));
        texts
    }

    fn texts_mut(&mut self) -> Vec<&mut String> {
        let collector = &mut self.collector;
        let mut texts = vec![
            &mut collector.name,
            &mut collector.version,
            &mut collector.host,
            &mut collector.kernel,
            &mut collector.identity,
        ];
        texts.extend(collector.commit.iter_mut().chain(&mut collector.boot));
        if let Some(examined) = &mut self.examined {
            texts.push(&mut examined.root);
            texts.extend(&mut examined.os);
            texts.extend(&mut examined.machine_id);
            texts.extend(&mut examined.host);
        }
        texts.extend(self.clock.iter_mut().map(|reading| &mut reading.event));
        texts.extend(self.plan.steps.iter_mut().map(|step| &mut step.what));
        texts
    }

    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.items.len() > ITEMS_MAX || self.plan.steps.len() > ITEMS_MAX {
            return Err("too many items or steps");
        }
        let mut steps = BTreeSet::new();
        if !self.plan.steps.iter().all(|step| steps.insert(&step.item)) {
            return Err("two steps have the same item");
        }
        let mut names = BTreeSet::new();
        if !self.items.iter().all(|item| names.insert(&item.name)) {
            return Err("two items have the same name");
        }
        if self
            .items
            .iter()
            .any(|item| item.segments == self.disclosure_key)
        {
            return Err("an item's segment list is the disclosure key");
        }
        // Otherwise a reader of a tar, where each blob occurs once, would have to go back for it.
        let mut layers = BTreeSet::from([self.disclosure_key]);
        layers.extend(self.items.iter().map(|item| item.segments));
        if !self.items.iter().all(|item| layers.insert(item.layer)) {
            return Err("an item's layer is used elsewhere too");
        }
        // Segments have at least one byte, so there cannot be more of them than bytes.
        if self.items.iter().any(|item| {
            item.bytes > ITEM_BYTES_MAX || item.records > item.leaves || item.leaves > item.bytes
        }) {
            return Err("an item's size is out of range");
        }
        if !self.window.iter().all(TimeWindow::is_ordered) {
            return Err("the window ends before it begins");
        }
        if !(1..=CLOCK_READINGS_MAX).contains(&self.clock.len()) {
            return Err("no clock readings, or too many");
        }
        let mut texts = self.texts();
        texts.extend(self.items.iter().flat_map(ItemEntry::texts));
        if !texts.into_iter().all(is_short) {
            return Err("a text is too long");
        }
        for item in &self.items {
            item.source.check()?;
            item.coverage.check()?;
            let mut whats = BTreeSet::new();
            if item.redactions.len() > REDACTIONS_MAX
                || !{ item.redactions.iter() }.all(|r| r.count > 0 && whats.insert(&r.what))
            {
                return Err("too many redactions, an empty one, or one listed twice");
            }
        }
        Ok(())
    }
}

impl ItemEntry {
    /// The config's description of an item that has been written.
    #[must_use]
    pub fn new(
        finished: &FinishedItem,
        source: ItemSource,
        coverage: Coverage,
        redactions: Vec<Redaction>,
    ) -> Self {
        Self {
            name: finished.name.clone(),
            layer: finished.layer,
            segments: finished.segments,
            bytes: finished.bytes,
            records: finished.records,
            leaves: finished.leaves,
            root: TreeRoot(finished.root),
            source,
            coverage,
            redactions,
        }
    }
}

impl ItemEntry {
    /// Every free text but the examples of gaps.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let ItemSource {
            provider,
            api,
            account,
            region,
            identity,
            clock: _,
            servers,
            other_responses: _,
        } = &self.source;
        let optional = account.iter().chain(region).chain(identity);
        let optional = optional.chain(servers.iter().map(|server| &server.origin));
        let optional = optional.chain(servers.iter().filter_map(|server| server.issuer.as_ref()));
        let redactions = self.redactions.iter().map(|redaction| &redaction.what);
        [provider, api]
            .into_iter()
            .chain(optional)
            .chain(redactions)
            .map(String::as_str)
    }

    fn texts_mut(&mut self) -> Vec<&mut String> {
        let source = &mut self.source;
        let mut texts = vec![&mut source.provider, &mut source.api];
        texts.extend(&mut source.account);
        texts.extend(&mut source.region);
        texts.extend(&mut source.identity);
        for server in &mut source.servers {
            texts.push(&mut server.origin);
            texts.extend(&mut server.issuer);
        }
        texts.extend(
            self.redactions
                .iter_mut()
                .map(|redaction| &mut redaction.what),
        );
        texts
    }
}

impl ItemSource {
    /// Counts the responses of all but the first `count` servers with those of servers that are not
    /// listed.
    fn keep_servers(&mut self, count: usize) {
        let rest = self.servers.drain(count.min(self.servers.len())..);
        self.other_responses += rest.map(|server| server.responses).sum::<u64>();
    }

    fn check(&self) -> Result<(), &'static str> {
        if !self.clock.is_none_or(SourceClock::is_consistent) {
            return Err(
                "a source's clock has no samples, or its smallest offset exceeds its largest",
            );
        }
        if self.servers.len() > SERVERS_MAX {
            return Err("too many servers");
        }
        if !self.servers.iter().all(AnsweringServer::is_consistent) {
            return Err("a server has a malformed address, an impossible issuer, or no responses");
        }
        if !{ self.servers.iter() }.is_sorted_by(|one, next| one.place() < next.place()) {
            return Err("the servers are not in order, or one is listed twice");
        }
        Ok(())
    }
}

impl AnsweringServer {
    /// What servers differ in, and what orders them.
    fn place(&self) -> (&str, Option<&str>) {
        (&self.origin, self.issuer.as_deref())
    }

    fn is_consistent(&self) -> bool {
        let plain = self.origin.strip_prefix("http://");
        let host = plain.or(self.origin.strip_prefix("https://"));
        let is_origin = host.is_some_and(|host| {
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
        });
        // Plain HTTP has no certificate.
        let has_possible_issuer = match &self.issuer {
            Some(issuer) => plain.is_none() && !issuer.is_empty(),
            None => true,
        };
        is_origin && has_possible_issuer && self.responses > 0
    }
}

impl SourceClock {
    /// The clock after one response. Offsets that JSON cannot hold exactly (285,000 years) are
    /// clamped.
    #[must_use]
    pub fn new(offset_milliseconds: i64) -> Self {
        let offset = offset_milliseconds.clamp(-OFFSET_MILLISECONDS_MAX, OFFSET_MILLISECONDS_MAX);
        Self {
            samples: 1,
            offset_milliseconds_min: offset,
            offset_milliseconds_max: offset,
        }
    }

    /// Adds the offset that another response showed.
    pub fn add(&mut self, offset_milliseconds: i64) {
        let one = Self::new(offset_milliseconds);
        self.samples += 1;
        self.offset_milliseconds_min = self
            .offset_milliseconds_min
            .min(one.offset_milliseconds_min);
        self.offset_milliseconds_max = self
            .offset_milliseconds_max
            .max(one.offset_milliseconds_max);
    }

    fn is_consistent(self) -> bool {
        self.samples > 0 && self.offset_milliseconds_min <= self.offset_milliseconds_max
    }
}

/// The one member that a config of every version has.
#[derive(Deserialize)]
struct ConfigVersion {
    version: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_clock_spans_all_samples() {
        let mut clock = SourceClock::new(-250);
        for offset in [40, -900, i64::MIN] {
            clock.add(offset);
        }
        let expected = SourceClock {
            samples: 4,
            offset_milliseconds_min: -(JSON_INTEGER_MAX as i64),
            offset_milliseconds_max: 40,
        };
        assert_eq!(clock, expected);
        assert!(clock.is_consistent());
    }
}
