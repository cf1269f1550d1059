//! The library of `exhibit-agent`: reads the volatile state of a machine, or files as they are,
//! into a draft of a bundle.
//!
//! [`capture::plan`] decides, [`capture::capture`] executes: the probes in [`probes`] request
//! objects, [`read`] reads them without ever hanging, and [`recorder`] writes the records and the
//! gaps. [`doctor`] rehearses that before the incident. [`files`] seals files as they are. Around
//! these: [`config`], the signing [`key`], the [`stream`] of bundles that it signs, and the
//! [`identity`] of program, machine and user. [`remote`] makes it a service that a collector
//! commands.

pub mod capture;
pub mod config;
pub mod doctor;
pub mod files;
pub mod identity;
pub mod key;
pub mod os;
mod probes;
mod read;
mod recorder;
pub mod remote;
pub mod stream;
