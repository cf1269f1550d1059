//! The handlers, one file a resource. Each reads its request, calls the pipeline or the ledger,
//! and responds with a type of crate `api`.

pub(crate) mod agents;
pub(crate) mod answers;
pub(crate) mod attachments;
pub(crate) mod bundles;
pub(crate) mod captures;
pub(crate) mod checklists;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod incidents;
pub(crate) mod metrics;
pub(crate) mod plays;
pub(crate) mod sources;
pub(crate) mod timeline;
pub(crate) mod tokens;
pub(crate) mod webhooks;
