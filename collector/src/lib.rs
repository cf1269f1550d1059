//! What `exhibit` does, as a library: the command line of people, and what it needs to work on a
//! store of its own ([`app`]) or to ask a server ([client]).

pub mod app;
pub mod cli;
pub mod config;
