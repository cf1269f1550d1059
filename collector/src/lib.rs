//! The program `exhibit` as a library: the command line ([`cli`]), which works on a store of its
//! own ([`app`], [`config`]) or through [client] on a server.

pub mod app;
pub mod cli;
pub mod config;
pub mod config_check;
