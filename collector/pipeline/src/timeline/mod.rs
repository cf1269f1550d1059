//! Stage 6: what happened, as facts that point at the records which say so.
//!
//! Facts are derived from sealed bundles by pure code, in the pass that verifies them: anyone can
//! derive them again. They are hostile text, shown with care and believed by nobody; the record is
//! the evidence.

mod derive;
mod page;
mod read;

pub use derive::{DeriveError, derive};
pub use page::{Cursor, Page, ParsePlaceError, page};
pub use read::{Filter, Read};
