//! Sources that are a table of endpoints: see [`endpoint`] for the table.

pub mod endpoint;

pub use endpoint::{
    BodyShape, ChildEndpoint, ChildRepeat, Condition, Endpoint, EndpointQuota, PAGE_BYTES_MAX,
    Paging, PivotQuery, RedirectRule, RestOffer, TimeSpelling, UNPUBLISHED, ValueFrom, WindowQuery,
};
