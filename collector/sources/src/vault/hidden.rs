//! Passwords in addresses.

/// What is written in place of `url`, the JSON of a database's address, if it may have a password in
/// it. Most have a template instead, which Vault fills in.
pub(super) fn without_password(url: &str) -> Option<String> {
    let has_place = url.contains('@') || url.to_ascii_lowercase().contains("password");
    let is_template = url.contains("{{password}}") && !url.contains("password=");
    (has_place && !is_template).then(|| "\"removed\"".to_owned())
}
