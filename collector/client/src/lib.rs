//! The client of a collector's API.
//!
//! [`config`] reads and writes `client.toml`: which servers a user knows, and with which tokens.
//! [`ApiClient`] sends requests, and repeats those that are safe to repeat; every failure is a
//! [`ClientError`] that says what to do. [`EventSubscription`] follows an incident's events across
//! reconnections. Downloads and uploads stream bundles and attachments, and [`keys`] remembers the
//! public keys of servers.
//!
//! **Trust.** A server is trusted for what its collector knows, and for nothing else: answers are
//! limited and parsed, their texts are escaped before a terminal sees them, and a bundle is
//! verified while it arrives. A token is sent only to the server that it is for, never after a
//! redirect, and without TLS only inside this machine unless the user insists.

pub mod config;
mod connection;
mod download;
mod error;
pub mod keys;
mod server_url;
mod subscription;
mod token;
mod upload;

pub use connection::{ApiCall, ApiClient};
pub use error::{ClientError, ProblemDetails};
pub use server_url::{ServerUrl, ServerUrlError};
pub use subscription::EventSubscription;
pub use token::{BearerToken, BearerTokenError};
pub use upload::{Upload, UploadError};
