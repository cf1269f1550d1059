//! What `exhibit-agent` does on a host, as a library: takes the machine's volatile state, or files
//! that are handed over, into a bundle's draft.
//!
//! [`capture::plan`] decides, [`capture::capture`] does: the probes in [`probes`] say what to read,
//! [`read`] reads it without ever being held up, and [`recorder`] writes what came, and what did
//! not, into the items. [`files`] takes files as they are. Around it: the [`key`] that bundles are
//! signed with, the [`stream`] that they stand in, and the [`identity`] of who captured.

pub mod capture;
pub mod files;
pub mod identity;
pub mod key;
pub mod os;
pub mod probes;
pub mod read;
pub mod recorder;
pub mod stream;
