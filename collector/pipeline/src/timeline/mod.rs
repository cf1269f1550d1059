//! Stage 6: the timeline, made of the journal's entries and of events that point at records.
//!
//! Facts are derived from sealed bundles by pure code, while the bundle is verified: anyone can
//! derive them again. They are hostile text, and shown as such; the record is the evidence.

mod derive;
mod filter;
mod page;
mod read;
mod record;

pub use derive::DeriveError;
pub(crate) use derive::derive;
pub use filter::{TimelineFilter, parse_category, parse_outcome};
pub use page::{ParseTimelineCursorError, TimelineCursor, TimelinePage, page};
pub use read::{TimelineReader, event_row};
pub use record::{LINE_DIGITS, LineName, ParseLineNameError, ReadRecordError, RecordContent};
