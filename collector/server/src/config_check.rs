//! Finds what of `[serve]` and `[agents]` cannot work, before a socket opens. Reads the files that
//! they name, and sends nothing.

use platform::chain;
use url::Url;

use crate::agents::AgentsConfig;
use crate::config::{OidcConfig, ServeConfig};
use crate::listener::{check_listen, check_tls};
use crate::oidc::OidcProvider;

/// What is wrong with `[serve]`, in texts for people. `allow_insecure` permits plain HTTP on
/// addresses other than loopback.
#[must_use]
pub fn serve_faults(config: &ServeConfig, allow_insecure: bool) -> Vec<String> {
    let mut faults = Vec::new();
    if let Err(error) = check_listen(config, allow_insecure) {
        faults.push(format!("[serve] listen: {}", chain(&error)));
    }
    if let Some(Err(error)) = config.tls.as_ref().map(check_tls) {
        faults.push(format!("[serve.tls]: {}", chain(&error)));
    }
    if let Some(oidc) = &config.oidc {
        faults.extend(oidc_faults(oidc));
    }
    for (key, value) in [
        ("connections-max", config.connections_max.into()),
        (
            "connections-per-address-max",
            config.connections_per_address_max.into(),
        ),
        ("body-bytes-max", config.body_bytes_max),
        ("attachment-bytes-max", config.attachment_bytes_max),
        ("idle-seconds-max", config.idle_seconds_max),
    ] {
        if value == 0 {
            faults.push(format!("[serve] {key} is 0, so nothing would ever succeed"));
        }
    }
    faults
}

fn oidc_faults(config: &OidcConfig) -> Vec<String> {
    let mut faults = Vec::new();
    if let Err(error) = OidcProvider::new(config.clone()) {
        faults.push(chain(&error));
    }
    if config.roles.is_empty() {
        let fault = "[serve.oidc] roles: no group has a role, so every token would be refused";
        faults.push(fault.to_owned());
    }
    for (key, value) in [
        ("audience", &config.audience),
        ("role-claim", &config.role_claim),
    ] {
        if value.trim().is_empty() {
            faults.push(format!("[serve.oidc] {key} is empty"));
        }
    }
    faults
}

/// What is wrong with `[agents]`, in texts for people.
#[must_use]
pub fn agents_faults(config: &AgentsConfig) -> Vec<String> {
    let mut faults = Vec::new();
    let url = config.url.parse::<Url>().ok();
    if !url.is_some_and(|url| url.scheme() == "https" && url.has_host()) {
        let url = &config.url;
        faults.push(format!("[agents] url: {url:?} is not an https:// URL"));
    }
    for (key, value) in [
        ("connections-max", config.connections_max.into()),
        ("bundle-bytes-max", config.bundle_bytes_max),
    ] {
        if value == 0 {
            faults.push(format!(
                "[agents] {key} is 0, so nothing would ever succeed"
            ));
        }
    }
    faults
}
