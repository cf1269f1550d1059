//! A collector that runs elsewhere, asked over its API.
//!
//! [`config`] says which servers there are and who asks them; [`connection`] sends a request, again
//! where that is safe, and makes an answer or an error for people of what comes; [`subscription`] looks
//! on while a capture goes on; [`download`] and [`upload`] move what is large; [`keys`] remembers
//! with which key a server's bundles are signed.
//!
//! **Trust.** A server is trusted to say what its collector knows, and with nothing else: what it
//! sends is limited, parsed, and never obeyed by a terminal; a bundle of it is checked while it
//! arrives. The token goes to the one server that it is for: encrypted, or not beyond this machine,
//! and whatever a redirect says.

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
pub use error::ClientError;
pub use server_url::{ServerUrl, ServerUrlError};
pub use subscription::EventSubscription;
pub use token::{BearerToken, BearerTokenError};
pub use upload::{Upload, UploadError};
