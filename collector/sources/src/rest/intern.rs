//! Endpoints that are found at run time, such as the custom resources of a cluster.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::endpoint::Endpoint;

/// Endpoints and texts that are made static. A cluster has some hundred kinds of resources; a
/// hostile one must not fill our memory.
const INTERNED_MAX: usize = 10_000;

static ENDPOINTS: Mutex<BTreeMap<&'static str, &'static Endpoint>> = Mutex::new(BTreeMap::new());
static TEXTS: Mutex<BTreeMap<&'static str, ()>> = Mutex::new(BTreeMap::new());

/// Makes an endpoint static, once for each id; a later one with the same id is dropped. It is never
/// freed. `None` if there are too many.
#[must_use]
pub fn intern(endpoint: Endpoint) -> Option<&'static Endpoint> {
    let mut known = ENDPOINTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = known.get(endpoint.id) {
        return Some(known);
    }
    if known.len() >= INTERNED_MAX {
        return None;
    }
    let endpoint: &'static Endpoint = Box::leak(Box::new(endpoint));
    known.insert(endpoint.id, endpoint);
    Some(endpoint)
}

/// Makes a text static, for the fields of an endpoint. `None` if there are too many.
#[must_use]
pub fn intern_text(text: &str) -> Option<&'static str> {
    let mut known = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((known, ())) = known.get_key_value(text) {
        return Some(known);
    }
    if known.len() >= INTERNED_MAX {
        return None;
    }
    let text: &'static str = String::leak(text.to_owned());
    known.insert(text, ());
    Some(text)
}

/// The interned endpoint with this id.
pub(super) fn interned(id: &str) -> Option<&'static Endpoint> {
    let known = ENDPOINTS.lock().unwrap_or_else(PoisonError::into_inner);
    known.get(id).copied()
}
