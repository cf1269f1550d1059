//! Which servers answered, as text and JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use evidence_derive::published_hosts;
use evidence_format::config::{AnsweringServer, BundleConfig, ItemSource};
use evidence_format::safe::safe;
use serde_json::{Value, json};

/// The servers of all items, each once for a provider, with their responses added up.
fn of_bundle(config: &BundleConfig) -> Vec<(&str, AnsweringServer)> {
    let mut servers = BTreeMap::<_, u64>::new();
    for source in config.items.iter().map(|item| &item.source) {
        for server in &source.servers {
            let place = (&*source.provider, &server.origin, &server.issuer);
            let responses = servers.entry(place).or_default();
            *responses = responses.saturating_add(server.responses);
        }
    }
    { servers.into_iter() }
        .map(|((provider, origin, issuer), responses)| {
            let server = AnsweringServer {
                origin: origin.clone(),
                issuer: issuer.clone(),
                responses,
            };
            (provider, server)
        })
        .collect()
}

/// Whether the server has an address that the provider publishes; `None` if the provider publishes
/// none.
fn is_providers(provider: &str, server: &AnsweringServer) -> Option<bool> {
    published_hosts::of(provider).map(|published| published.has(&server.origin))
}

/// A paragraph about all servers; empty if none answered.
pub(crate) fn text(config: &BundleConfig) -> String {
    let servers = of_bundle(config);
    let sources = config.items.iter().map(|item| &item.source);
    let others = sources.fold(0_u64, |sum, source| {
        sum.saturating_add(source.other_responses)
    });
    let mut text = String::new();
    for (provider, server) in &servers {
        let _ = writeln!(text, "  {}", line(provider, server));
    }
    if others > 0 {
        let _ = writeln!(text, "  {}", other_responses(others));
    }
    if text.is_empty() {
        return text;
    }
    format!("\nServers that answered:\n{text}")
}

/// The lines about the servers of one item.
pub(crate) fn lines(source: &ItemSource) -> Vec<String> {
    let servers = source.servers.iter();
    let mut lines: Vec<_> = servers
        .map(|server| line(&source.provider, server))
        .collect();
    if source.other_responses > 0 {
        lines.push(other_responses(source.other_responses));
    }
    lines
}

fn line(provider: &str, server: &AnsweringServer) -> String {
    let certificate = match &server.issuer {
        Some(issuer) => format!("certificate issued by {}", safe(issuer)),
        None if server.origin.starts_with("http:") => {
            "plain HTTP, so anybody on the way can have answered".to_owned()
        }
        None => "issuer of its certificate unknown".to_owned(),
    };
    let plural = if server.responses == 1 { "" } else { "s" };
    let stranger = match published_hosts::of(provider) {
        Some(published) if !published.has(&server.origin) => {
            format!(", which is not {}", published.name)
        }
        Some(_) | None => String::new(),
    };
    format!(
        "answered by {} ({certificate}), {} response{plural}{stranger}",
        safe(&server.origin),
        server.responses
    )
}

fn other_responses(count: u64) -> String {
    format!("answered by other servers, which are not listed: {count} responses")
}

/// The servers of all items for programs.
pub(crate) fn json(config: &BundleConfig) -> Value {
    let servers = of_bundle(config);
    let servers = servers.iter().map(|(provider, server)| {
        json!({"provider": provider, "origin": server.origin, "issuer": server.issuer,
            "responses": server.responses, "published": is_providers(provider, server)})
    });
    servers.collect()
}
