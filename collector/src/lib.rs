//! What `exhibit` does, as a library.
//!
//! The way of the data is the order of the modules: a webhook is a [`trigger`], an incident is
//! declared ([`incident`]), a [`plan`] is made of what the [`sources`] offer, a pass of it is taken
//! ([`capture`]) and signed ([`seal`]), and what the evidence says stands on the [`timeline`]. The
//! [`pipeline`] is these stages on one page; the [`store`] is what it remembers; [`http`] and
//! [`cli`] are how it is asked, [`client`] is how the one asks the other, and [`telemetry`] is for
//! whoever operates it.

pub mod app;
pub mod capture;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod http;
pub mod incident;
pub mod pipeline;
pub mod plan;
pub mod seal;
pub mod sources;
pub mod store;
pub mod telemetry;
pub mod timeline;
pub mod trigger;
