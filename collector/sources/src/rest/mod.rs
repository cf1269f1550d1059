//! Sources that are a table of endpoints: see [`endpoint`] and [`row`] for the table,
//! [`table_source`] for what a source gives beside it ([`source`] if it needs more), and [`walk`]
//! for how it is captured.

mod access;
mod adapter;
mod advance;
mod ask_children;
mod children;
#[cfg(test)]
pub(crate) mod conformance;
#[cfg(test)]
pub(crate) mod contract;
mod cursor;
#[cfg(test)]
mod double;
pub mod endpoint;
mod intern;
mod next_page;
mod page;
mod page_fetch;
mod readiness;
mod requests;
pub mod row;
#[cfg(test)]
pub(crate) mod scale;
#[cfg(test)]
mod search_tests;
mod signers;
mod source;
#[cfg(test)]
pub(crate) mod stub;
mod table_source;
mod template;
mod time_part;
mod walk;
mod walk_names;
#[cfg(test)]
mod walk_tests;
mod window_parts;

pub use access::{AccessRequest, ProviderAccess, RequestSigner, SignError};
pub use adapter::{RestAdapter, endpoints_of};
pub(crate) use advance::root_refused;
pub use endpoint::{
    BodyShape, ChildEndpoint, ChildRepeat, Condition, DeclaredCount, Endpoint, EndpointQuota,
    KnownRefusal, PAGE_BYTES_MAX, Paging, PivotQuery, RedirectRule, RestOffer, TimeSpelling,
    ValueFrom, WindowQuery,
};
pub use intern::{intern, intern_text};
pub(crate) use requests::{PageRequest, RequestError, Requester};
pub use row::UNPUBLISHED;
pub(crate) use signers::{
    AppSigner, KubeSigner, OAuthClientConfig, RegistrySigner, RegistryUser, google_signer,
    known_url, microsoft_signer, some_credential_url, token_in_field, unsigned, url_below,
};
pub use signers::{ClientCredentials, ClientProof, PrivateKey, PrivateKeyError, token_in_header};
pub use source::{RestSource, WalkRoot};
pub use table_source::{
    ConfiguredInstance, LIMITED_BY_403, LimitDialect, PLAIN_HTTP, TableSource, grants_of,
    list_if_named,
};
pub(crate) use template::percent_encoded;
pub(crate) use walk::worst_of;

/// Seeds a buffer's record ids. If the system has no randomness, the clock still differs for each.
pub(crate) fn seed() -> [u8; 8] {
    platform::random()
        .unwrap_or_else(|_| platform::clock::reading("").boot_nanoseconds.to_be_bytes())
}
