//! The protocol between agents and their collector: JSON over HTTP/1.1 and TLS.
//!
//! An agent [enrols](enroll) once, with a token that names the collector's authority. From then on
//! it [renews](enroll::RenewalRequest) its certificate, [polls](poll) for orders, and
//! [uploads](upload) the bundles that it has sealed for them. A request that fails is answered with
//! a [`refusal`]. Each program says which [`version`] it speaks.
//!
//! **Trust.** The collector believes no word of an agent but what the agent's keys prove. The agent
//! believes no word of a collector beyond its own configuration: an order can make it run its own
//! probes within its own limits, and nothing else.

pub mod enroll;
pub mod facts;
pub mod identity;
pub mod keyring;
pub mod limits;
pub mod poll;
pub mod refusal;
pub mod selection;
pub mod token;
pub mod upload;
pub mod version;

/// The paths of the requests. They begin with the protocol's version: a collector that does not
/// speak it refuses with
/// [`ProtocolUnsupported`](crate::refusal::RefusalCode::ProtocolUnsupported).
pub mod path {
    /// `POST` [`EnrollmentRequest`](crate::enroll::EnrollmentRequest).
    pub const ENROLL: &str = "/agents/v1/enroll";
    /// `GET` a [`RenewalChallenge`](crate::enroll::RenewalChallenge).
    pub const CHALLENGE: &str = "/agents/v1/challenge";
    /// `POST` [`RenewalRequest`](crate::enroll::RenewalRequest).
    pub const RENEW: &str = "/agents/v1/renew";
    /// `POST` [`PollRequest`](crate::poll::PollRequest). Needs a client certificate.
    pub const POLL: &str = "/agents/v1/poll";
    /// `POST` [`UploadOffer`](crate::upload::UploadOffer). Needs a client certificate.
    pub const UPLOADS: &str = "/agents/v1/uploads";
    /// `PUT` bytes of the bundle, from `?offset=` on. Needs a client certificate.
    pub const UPLOAD: &str = "/agents/v1/uploads/{bundle}";
    /// `POST` [`UploadOffer`](crate::upload::UploadOffer) again. Needs a client certificate.
    pub const COMMIT: &str = "/agents/v1/uploads/{bundle}/commit";
}

/// The name in every certificate of a collector. Agents check this name rather than the address
/// which they were given, so a collector can move, and stand behind any balancer.
pub const COLLECTOR_NAME: &str = "collector.exhibit.internal";
