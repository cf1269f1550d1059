//! The config blob: what was captured. It is inside the bundle's id, so nobody can change it
//! without changing the name.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::canonical::{self, DecodeError};
use crate::coverage::{Coverage, Window};
use crate::digest::Digest;
use crate::id::{IncidentId, ItemName};
use crate::item::FinishedItem;
use crate::limits::{
    CONFIG_BYTES_MAX, GAP_EXAMPLES_MAX, ITEM_BYTES_MAX, ITEMS_MAX, JSON_INTEGER_MAX,
};
use crate::plan::Plan;
use crate::time::Timestamp;
use crate::tree::Root;

/// The version of the format that this crate writes and reads.
pub const VERSION: u64 = 1;

/// What JSON counts exactly.
const OFFSET_MILLISECONDS_MAX: i64 = JSON_INTEGER_MAX as i64;

/// What a bundle holds and how it came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// [`VERSION`].
    pub version: u64,
    /// The incident.
    pub incident: IncidentId,
    /// The first bundle of the capture, if this one adds to it: what a source had later, or what a
    /// deadline had cut off. `None` in a capture's first bundle.
    pub supplements: Option<Digest>,
    /// The window asked for; `None` where only the present was.
    pub window: Option<Window>,
    /// What was going to be captured.
    pub plan: Plan,
    /// Who captured.
    pub collector: Collector,
    /// Clock readings, in order: at least the capture's begin and end.
    pub clock: Vec<ClockReading>,
    /// Digest of the blob with the key of the leaf salts.
    pub disclosure_key: Digest,
    /// The items, in the order in which they were begun.
    pub items: Vec<Item>,
}

/// The program that captured, and where it ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Collector {
    /// Program.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The commit it was built from; `None` if the build did not know.
    pub commit: Option<String>,
    /// SHA-256 of its executable; `None` if it could not be read.
    pub binary: Option<Digest>,
    /// Name of the machine it ran on.
    pub host: String,
    /// Kernel of that machine.
    pub kernel: String,
    /// The system's own identifier of this boot (`/proc/sys/kernel/random/boot_id`); `None` if it
    /// could not be read.
    pub boot: Option<String>,
    /// User that it ran as.
    pub identity: String,
}

/// The wall clock beside a clock that cannot be set, read together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClockReading {
    /// What happened then: `begin`, `end`.
    pub event: String,
    /// Wall clock.
    pub utc: Timestamp,
    /// Nanoseconds since the machine started, time asleep included (CLOCK_BOOTTIME).
    pub boot_nanoseconds: u64,
}

/// One item and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Item {
    /// Its name.
    pub name: ItemName,
    /// Digest of its layer blob.
    pub layer: Digest,
    /// Digest of its segment-list blob.
    pub segments: Digest,
    /// Plaintext bytes: also the limit to which a reader decompresses.
    pub bytes: u64,
    /// Record segments.
    pub records: u64,
    /// Root of its record tree.
    pub root: Root,
    /// Where it comes from.
    pub source: Source,
    /// How much of what was asked it holds.
    pub coverage: Coverage,
    /// What was removed before anything was hashed.
    pub redactions: Vec<Redaction>,
}

/// Where an item comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// Who answered: `host`, `files`, `aws`.
    pub provider: String,
    /// By which interface: `procfs`, `cloudtrail:LookupEvents`.
    pub api: String,
    /// Account, tenant or organisation.
    pub account: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// As whom it was asked.
    pub identity: Option<String>,
    /// Its own clock beside the collector's; `None` where it did not tell the time.
    pub clock: Option<SourceClock>,
}

/// The source's own clock (HTTP's `Date`) minus the collector's, over all answers; negative where
/// the source is behind.
///
/// `Date` counts whole seconds and tells the second that has begun, and the offset is measured
/// against the middle between sending the request and the arrival of the answer's head. So each
/// offset is wrong by at most half the round trip, and besides too small by up to 1,000 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceClock {
    /// Answers that told the time; at least 1.
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
    /// What, for people: `values of environment variables`.
    pub what: String,
    /// How often.
    pub count: u64,
}

/// A config blob was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not a canonical document of its kind.
    #[error("config")]
    Decode(#[from] DecodeError),
    /// Of a version that this program does not know.
    #[error("config has format version {found}, this program knows {VERSION}")]
    Version {
        /// What it says.
        found: u64,
    },
    /// Its parts contradict each other or a limit.
    #[error("config is not consistent: {0}")]
    Inconsistent(&'static str),
}

impl Config {
    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Reads a config blob.
    ///
    /// # Errors
    /// See [`ConfigError`]. The version is looked at first, so that a config of a later version is
    /// not called malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, ConfigError> {
        let ConfigVersion { version } = canonical::decode_lenient(bytes, CONFIG_BYTES_MAX)?;
        if version != VERSION {
            return Err(ConfigError::Version { found: version });
        }
        let config: Self = canonical::decode(bytes, CONFIG_BYTES_MAX)?;
        config.check().map_err(ConfigError::Inconsistent)?;
        Ok(config)
    }

    /// True if nothing that was planned is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.planned_but_absent().next().is_none()
            && self.items.iter().all(|item| item.coverage.is_complete())
    }

    /// Steps of the plan that have no item.
    pub fn planned_but_absent(&self) -> impl Iterator<Item = &ItemName> {
        let present: BTreeSet<&ItemName> = self.items.iter().map(|item| &item.name).collect();
        self.plan
            .steps
            .iter()
            .map(|step| &step.item)
            .filter(move |name| !present.contains(name))
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.items.len() > ITEMS_MAX || self.plan.steps.len() > ITEMS_MAX {
            return Err("too many items");
        }
        let mut names = BTreeSet::new();
        if !self.items.iter().all(|item| names.insert(&item.name)) {
            return Err("two items of one name");
        }
        if self
            .items
            .iter()
            .any(|item| item.segments == self.disclosure_key)
        {
            return Err("an item's segment list is the disclosure key");
        }
        let mut layers = BTreeSet::from([self.disclosure_key]);
        layers.extend(self.items.iter().map(|item| item.segments));
        if !self.items.iter().all(|item| layers.insert(item.layer)) {
            return Err("an item's layer stands elsewhere too");
        }
        if self.items.iter().any(|item| {
            item.bytes > ITEM_BYTES_MAX.min(JSON_INTEGER_MAX) || item.records > item.bytes
        }) {
            return Err("an item's size is out of range");
        }
        if self
            .items
            .iter()
            .flat_map(|item| &item.coverage.gaps)
            .any(|gap| gap.examples.len() > GAP_EXAMPLES_MAX)
        {
            return Err("a gap has too many examples");
        }
        if self
            .items
            .iter()
            .filter_map(|item| item.source.clock)
            .any(|clock| !clock.is_consistent())
        {
            return Err("a source's clock has no samples, or its offsets are the wrong way round");
        }
        Ok(())
    }
}

impl Item {
    /// An item's entry from what writing it told.
    #[must_use]
    pub fn new(
        finished: &FinishedItem,
        source: Source,
        coverage: Coverage,
        redactions: Vec<Redaction>,
    ) -> Self {
        Self {
            name: finished.name.clone(),
            layer: finished.layer,
            segments: finished.segments,
            bytes: finished.bytes,
            records: finished.records,
            root: Root(finished.root),
            source,
            coverage,
            redactions,
        }
    }
}

impl SourceClock {
    /// From the first answer. What JSON does not count exactly (285,000 years) is cut.
    #[must_use]
    pub fn new(offset_milliseconds: i64) -> Self {
        let offset = offset_milliseconds.clamp(-OFFSET_MILLISECONDS_MAX, OFFSET_MILLISECONDS_MAX);
        Self {
            samples: 1,
            offset_milliseconds_min: offset,
            offset_milliseconds_max: offset,
        }
    }

    /// Takes another answer in.
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

/// The one field that every version has.
#[derive(Deserialize)]
struct ConfigVersion {
    version: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sources_clock_spans_all_its_answers() {
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
