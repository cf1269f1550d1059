//! An agent that a collector commands: it enrols once, waits for orders at almost no cost, captures,
//! seals with its own key, and delivers when it can.
//!
//! [`enroll`](enroll()) makes the [`state`] of an agent, and [`run`](run()) works with it: one loop
//! polls for orders and captures, another delivers what lies in the [`spool`].
//!
//! **Trust.** The collector is believed about *when* to capture and which of the probes to run, and
//! about nothing else. An order cannot make the agent run a program, read another file than its
//! probes read, exceed its own limits, or give away a key. A collector that is an attacker's gets
//! what the probes capture.

mod client;
mod enroll;
mod error;
mod facts;
mod order;
mod renew;
mod run;
mod spool;
mod state;
mod tls;

pub use client::{ClientError, GatewayClient};
pub use enroll::{EnrollError, EnrollOptions, enroll};
pub use error::RunError;
pub use run::{Agent, RETRY, RunOptions, run};
pub use spool::{Spool, SpoolEntry, SpoolError};
pub use state::{AgentState, StateError, default_folder};
