//! A collector that runs elsewhere, asked over its API.
//!
//! [`config`] says which servers there are and who asks them; [`connection`] sends a request, again
//! where that is safe, and makes an answer or an error for people of what comes; [`follow`] looks
//! on while a capture goes on; [`download`] and [`upload`] move what is large; [`keys`] remembers
//! with which key a server's bundles are signed.
//!
//! **Trust.** A server is trusted to say what its collector knows, and with nothing else: what it
//! sends is limited, parsed, and never obeyed by a terminal; a bundle of it is checked while it
//! arrives. The token goes to the one server that it is for: encrypted, or not beyond this machine,
//! and whatever a redirect says.

pub mod config;
pub(crate) mod connection;
pub(crate) mod download;
mod error;
pub(crate) mod follow;
pub(crate) mod keys;
mod server;
mod token;
pub(crate) mod upload;

pub(crate) use connection::{ApiCall, ApiClient};
pub use error::ClientError;
pub use server::{ServerUrl, ServerUrlError};
pub use token::{BearerToken, BearerTokenError};
