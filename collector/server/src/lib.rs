//! The HTTP API of a running collector.
//!
//! A connection arrives in [`listener`](Listener), a request passes [`observe`] and [`auth`], and
//! a handler of [`handlers`] responds with a type of crate `api`. [`routes`] is the table of all
//! paths: the router is built from it, and so is the OpenAPI [description](openapi). A request that
//! fails gets a [`problem`].
//!
//! **Trust.** Nothing that arrives is trusted before [`auth`] accepts its token, and then only as
//! far as the token's role permits. The holder of an admin token can read all evidence and create
//! tokens, but can neither change a bundle nor sign one.

pub mod agents;
pub mod answers;
mod auth;
mod caller;
pub mod config;
pub mod config_check;
mod connection_slots;
pub mod events;
mod handlers;
mod host_captures;
mod json;
mod listener;
mod metrics;
mod missing;
mod observe;
mod oidc;
mod openapi;
mod probe_locks;
mod problem;
mod query;
mod request_body;
pub mod responses;
mod route;
mod routes;
mod state;
pub mod telemetry;
#[cfg(test)]
mod tests;
pub mod token;
mod token_refusal;

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::{Extension, Router};

pub use listener::{Listener, ListenerSettings, ServeError};
pub use oidc::OidcError;
pub use state::ServerState;

use self::openapi::OpenApiDocument;
use self::routes::ROUTES;

/// The router of all routes. Every route with roles has [`auth::guard`] before its handler.
pub fn router(state: &ServerState) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let mut handler = (route.handler)();
        if !route.roles.is_empty() {
            let access = route.access();
            handler = handler.route_layer(from_fn_with_state((state.clone(), access), auth::guard));
        }
        router = router.route(route.path, handler);
    }
    router
        .fallback(problem::unknown_path)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(Extension(Arc::new(OpenApiDocument::new(|| {
            openapi::document(ROUTES)
        }))))
        .layer(from_fn_with_state(state.clone(), observe::observe))
        .with_state(state.clone())
}
