//! How requests for a log are signed.

use std::sync::Arc;

use http::HeaderName;

use super::config::HttpLog;
use crate::config::TokenConfig;
use crate::rest::{RequestSigner, intern_text, token_in_field, unsigned};

/// Sends the token in the configured header field, or nothing if there is no token.
///
/// # Errors
/// What is wrong with the configuration.
pub(super) fn signer(log: &HttpLog) -> Result<Arc<dyn RequestSigner>, String> {
    if log.token == TokenConfig::default() {
        return Ok(unsigned());
    }
    let header = log.token_header.as_deref().unwrap_or("authorization");
    let is_authorization = header.eq_ignore_ascii_case("authorization");
    let default = if is_authorization { "Bearer " } else { "" };
    let prefix = log.token_prefix.as_deref().unwrap_or(default);
    let prefix = intern_text(prefix).ok_or("the configuration was changed too often")?;
    let name = HeaderName::try_from(header)
        .map_err(|_| format!("{header:?} is not the name of a header field"))?;
    token_in_field(name, prefix, &log.token)
}
