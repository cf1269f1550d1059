//! The library of `exhibit-agent`: takes the volatile state of the machine it runs on into a bundle's draft.
//!
//! [`capture::plan`] decides, [`capture::capture`] does: the probes in [`probes`] say what to read, [`read`] reads it without
//! ever being held up, and [`recorder`] writes what came, and what did not, into the items.

pub mod capture;
pub mod os;
pub mod probes;
pub mod read;
pub mod recorder;
