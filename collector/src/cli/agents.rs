//! `exhibit agents`: the agents on hosts, and the tokens that admit them.

use std::time::Duration;

use anyhow::{Result, bail};
use api::{
    AgentAuthorityInfo, AgentDetails, AgentInfo, AgentPatch, AgentStanding, AuthorityStanding,
    EnrollmentTokenInfo, EnrollmentTokenRequest,
};
use clap::{Args, Subcommand};
use domain::hosts::HostLabel;
use domain::incident::Line;
use evidence_format::safe::safe;
use platform::clock;
use platform::shell::shell_word;
use platform::terminal::{duration, size};
use protocol::token::EnrollmentTokenId;

use super::backend::Backend;
use super::table::format_table;
use super::times::to_whole_seconds;
use super::{GlobalOptions, print, print_json};

/// Lists the agents on hosts, and manages them
///
/// An agent captures its host at the moment of a declaration, seals with its own key, and delivers
/// to `exhibit serve` ([agents] in exhibit.toml). `exhibit capture --host` selects hosts.
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit agents token create --label role=web
  exhibit agents
  exhibit agents revoke web-1 --reason 'decommissioned'")]
pub(super) struct AgentsArgs {
    #[command(subcommand)]
    command: Option<AgentsCommand>,
}

#[derive(Subcommand)]
enum AgentsCommand {
    Show(ShowAgentArgs),
    Label(LabelAgentArgs),
    Unlock(UnlockAgentArgs),
    Revoke(RevokeAgentArgs),
    Token(EnrollmentTokenArgs),
    Authority(AuthorityArgs),
}

/// Shows an agent, and what was found about it
#[derive(Args)]
struct ShowAgentArgs {
    /// Agent id, its first digits, or the host's name
    agent: String,
}

/// Replaces the labels of an agent
#[derive(Args)]
struct LabelAgentArgs {
    /// Agent id, its first digits, or the host's name
    agent: String,
    /// All labels from now on, such as role=web; none removes all
    #[arg(value_name = "KEY=VALUE")]
    labels: Vec<HostLabel>,
}

/// Unlocks an agent whose key had two users
///
/// Do so only when you know who the second user was: a restored backup, a cloned image, a thief.
/// The one that asks first has the key from then on.
#[derive(Args)]
struct UnlockAgentArgs {
    /// Agent id, its first digits, or the host's name
    agent: String,
}

/// Revokes an agent for good, also on open connections
///
/// Evidence that it has delivered before stays valid.
#[derive(Args)]
struct RevokeAgentArgs {
    /// Agent id, its first digits, or the host's name
    agent: String,
    /// Why; auditors see it
    #[arg(long, value_name = "TEXT")]
    reason: Line,
}

/// Creates, lists and revokes the tokens that admit agents
#[derive(Args)]
struct EnrollmentTokenArgs {
    #[command(subcommand)]
    command: EnrollmentTokenCommand,
}

#[derive(Subcommand)]
enum EnrollmentTokenCommand {
    Create(CreateEnrollmentTokenArgs),
    List(ListEnrollmentTokensArgs),
    Revoke(RevokeEnrollmentTokenArgs),
}

/// Creates an enrolment token; its secret is shown only once
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit agents token create --label role=web --uses 20 --expires 1h
  exhibit agents token create --json | jq -r .token")]
struct CreateEnrollmentTokenArgs {
    /// Label of the agents that it admits, such as role=web; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<HostLabel>,
    /// Agents that it admits
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    uses: u64,
    /// Validity, up to 366d
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "15m")]
    expires: Duration,
}

/// Lists all enrolment tokens without their secrets
#[derive(Args)]
struct ListEnrollmentTokensArgs {}

/// Revokes an enrolment token; agents that it has admitted stay
#[derive(Args)]
struct RevokeEnrollmentTokenArgs {
    /// Token id, as in `exhibit agents token list`
    id: EnrollmentTokenId,
}

/// Shows the authority that issues the agents' certificates, and rotates it
#[derive(Args)]
struct AuthorityArgs {
    #[command(subcommand)]
    command: Option<AuthorityCommand>,
}

#[derive(Subcommand)]
enum AuthorityCommand {
    Rotate(RotateAuthorityArgs),
}

/// Replaces the authority at once; no agent has to enrol anew
///
/// Running collectors take the new one over within seconds. Agents believe it because the old one
/// vouches for it, and know it by itself from their next renewal on, within a day.
#[derive(Args)]
struct RotateAuthorityArgs {}

pub(super) async fn run(global: &GlobalOptions, arguments: AgentsArgs) -> Result<()> {
    // A token may be made before the first incident, as for the API.
    let backend = match &arguments.command {
        Some(AgentsCommand::Token(_)) => global.creating_backend().await?,
        Some(_) | None => global.backend().await?,
    };
    let backend = &*backend;
    match arguments.command {
        None => list(global, backend).await,
        Some(AgentsCommand::Show(arguments)) => {
            let agent = find_agent(backend, &arguments.agent).await?;
            print_details(global, &backend.agent(&agent.id).await?)
        }
        Some(AgentsCommand::Label(arguments)) => {
            let patch = AgentPatch {
                labels: Some(arguments.labels),
                ..AgentPatch::default()
            };
            change(global, backend, &arguments.agent, patch).await
        }
        Some(AgentsCommand::Unlock(arguments)) => {
            let patch = AgentPatch {
                locked: Some(false),
                ..AgentPatch::default()
            };
            change(global, backend, &arguments.agent, patch).await
        }
        Some(AgentsCommand::Revoke(arguments)) => {
            let patch = AgentPatch {
                revoke: Some(arguments.reason),
                ..AgentPatch::default()
            };
            change(global, backend, &arguments.agent, patch).await
        }
        Some(AgentsCommand::Authority(AuthorityArgs { command })) => {
            let mut authorities = backend.agent_authorities().await?;
            if let Some(AuthorityCommand::Rotate(_)) = command {
                let Some(newest) = authorities.first() else {
                    bail!("no authority yet: `exhibit agents token create` makes one");
                };
                authorities = backend.rotate_agent_authority(newest.generation).await?;
            }
            print_authorities(global, &authorities)
        }
        Some(AgentsCommand::Token(arguments)) => match arguments.command {
            EnrollmentTokenCommand::Create(arguments) => {
                create_token(global, backend, arguments).await
            }
            EnrollmentTokenCommand::List(_) => list_tokens(global, backend).await,
            EnrollmentTokenCommand::Revoke(arguments) => {
                backend.revoke_enrollment_token(&arguments.id).await?;
                if global.json {
                    return print_json(&serde_json::json!({"id": arguments.id}));
                }
                print(&format!("token {} is revoked\n", arguments.id))
            }
        },
    }
}

async fn list(global: &GlobalOptions, backend: &dyn Backend) -> Result<()> {
    let agents = backend.agents().await?;
    if global.json {
        return agents.iter().try_for_each(print_json);
    }
    if agents.is_empty() {
        return print("no agents: admit one with `exhibit agents token create`\n");
    }
    let rows: Vec<_> = agents.iter().map(agent_row).collect();
    print(&format_table(
        [
            "id",
            "host",
            "labels",
            "last contact (UTC)",
            "version",
            "state",
        ],
        &rows,
    ))
}

fn agent_row(agent: &AgentInfo) -> [String; 6] {
    [
        agent.id.to_string(),
        safe(&agent.host),
        labels_text(&agent.labels),
        to_whole_seconds(agent.seen_at).to_string(),
        safe(&agent.version),
        state_text(agent),
    ]
}

fn state_text(agent: &AgentInfo) -> String {
    let mut text = agent.standing.as_str().to_owned();
    if let Some(reason) = &agent.reason {
        text.push_str(&format!(": {}", safe(reason)));
    }
    if let (AgentStanding::Admitted, Some(successor)) = (agent.standing, &agent.successor) {
        text.push_str(&format!(
            ", silent since agent {successor} was enrolled: revoke it"
        ));
    }
    if agent.undelivered_bundles > 0 && agent.standing != AgentStanding::Revoked {
        let bytes = size(agent.undelivered_bytes);
        text.push_str(&format!(
            ", {} undelivered ({bytes})",
            agent.undelivered_bundles
        ));
    }
    text
}

fn labels_text(labels: &std::collections::BTreeMap<String, String>) -> String {
    let labels = labels.iter().map(|(key, value)| format!("{key}={value}"));
    labels.collect::<Vec<_>>().join(" ")
}

async fn change(
    global: &GlobalOptions,
    backend: &dyn Backend,
    agent: &str,
    patch: AgentPatch,
) -> Result<()> {
    let agent = find_agent(backend, agent).await?;
    print_details(global, &backend.change_agent(&agent.id, patch).await?)
}

fn print_details(global: &GlobalOptions, details: &AgentDetails) -> Result<()> {
    if global.json {
        return print_json(details);
    }
    let AgentDetails { info, findings } = details;
    let or_none = |text: &Option<String>| text.as_deref().map_or("none".to_owned(), safe);
    let mut text = String::new();
    for (name, value) in [
        ("id", info.id.to_string()),
        ("host", safe(&info.host)),
        ("state", state_text(info)),
        ("labels", labels_text(&info.labels)),
        ("last contact", to_whole_seconds(info.seen_at).to_string()),
        ("enrolled", to_whole_seconds(info.enrolled_at).to_string()),
        ("version", safe(&info.version)),
        ("protocol", info.protocol.to_string()),
        ("os", or_none(&info.os)),
        ("kernel", safe(&info.kernel)),
        ("machine id", or_none(&info.machine_id)),
        ("addresses", safe(&info.addresses.join(" "))),
        ("cloud instance", or_none(&info.cloud_instance)),
        ("node", or_none(&info.kubernetes_node)),
        ("key", info.key.to_string()),
    ] {
        text.push_str(&format!("{name:<15} {value}\n"));
    }
    for finding in findings {
        let at = to_whole_seconds(finding.found_at);
        text.push_str(&format!("\n{at}  {}", safe(&finding.detail)));
    }
    if !findings.is_empty() {
        text.push('\n');
    }
    print(&text)
}

/// The agent that `text` names: by the beginning of its id, or by its host's name.
async fn find_agent(backend: &dyn Backend, text: &str) -> Result<AgentInfo> {
    let agents = backend.agents().await?;
    let is_named = |agent: &AgentInfo| {
        agent.host.eq_ignore_ascii_case(text)
            || (!text.is_empty() && agent.id.as_str().starts_with(text))
    };
    let mut found: Vec<AgentInfo> = agents.into_iter().filter(|agent| is_named(agent)).collect();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => bail!("no agent is called {text:?}: `exhibit agents` lists them"),
        _ => {
            // A host that was enrolled again: the old agent is rarely meant.
            let ids: Vec<String> = found.iter().map(|agent| agent.id.to_string()).collect();
            bail!(
                "{text:?} names several agents, give the id of one: {}",
                ids.join(", ")
            )
        }
    }
}

fn print_authorities(global: &GlobalOptions, authorities: &[AgentAuthorityInfo]) -> Result<()> {
    if global.json {
        return authorities.iter().try_for_each(print_json);
    }
    if authorities.is_empty() {
        return print("no authority yet: `exhibit agents token create` makes one\n");
    }
    let row = |authority: &AgentAuthorityInfo| {
        let use_of_it = match authority.standing {
            AuthorityStanding::Issuing => "issues all certificates",
            AuthorityStanding::Believed => "believed until its last certificates end",
            AuthorityStanding::Replaced => "vouches for its successors",
        };
        let day = |time| to_whole_seconds(time).to_string()[..10].to_owned();
        [
            authority.generation.to_string(),
            day(authority.created_at),
            day(authority.ends_at),
            use_of_it.to_owned(),
        ]
    };
    let rows: Vec<_> = authorities.iter().map(row).collect();
    print(&format_table(["number", "since", "until", "use"], &rows))
}

async fn create_token(
    global: &GlobalOptions,
    backend: &dyn Backend,
    arguments: CreateEnrollmentTokenArgs,
) -> Result<()> {
    let request = EnrollmentTokenRequest {
        labels: arguments.label,
        uses: Some(arguments.uses),
        valid_seconds: Some(arguments.expires.as_secs()),
    };
    let created = backend.create_enrollment_token(request).await?;
    if global.json {
        return print_json(&created);
    }
    let info = &created.info;
    let server = match &created.server {
        Some(server) => shell_word(server),
        None => "URL".to_owned(),
    };
    let mut text = format!(
        "{}\n\nid       {}\nlabels   {}\nadmits   {} agents\nexpires  {}\n\n\
        the secret is not shown again; on the host, run as root\n  \
        exhibit-agent enroll --server {server} --token {}\n",
        created.token,
        info.id,
        labels_text(&info.labels),
        info.uses_max,
        to_whole_seconds(info.expires_at),
        created.token,
    );
    if created.server.is_none() {
        text.push_str(
            "\nno collector listens for agents yet: set [agents] in exhibit.toml, and restart\n",
        );
    }
    print(&text)
}

async fn list_tokens(global: &GlobalOptions, backend: &dyn Backend) -> Result<()> {
    let tokens = backend.enrollment_tokens().await?;
    if global.json {
        return tokens.iter().try_for_each(print_json);
    }
    if tokens.is_empty() {
        return print("no enrolment tokens: create one with `exhibit agents token create`\n");
    }
    let rows: Vec<_> = tokens.iter().map(token_row).collect();
    print(&format_table(
        ["id", "labels", "used", "created by", "state"],
        &rows,
    ))
}

fn token_row(token: &EnrollmentTokenInfo) -> [String; 5] {
    let state = match token.revoked_at {
        Some(at) => format!("revoked at {}", to_whole_seconds(at)),
        None if token.uses >= token.uses_max => "used up".to_owned(),
        // By this machine's clock, for display only: the server decides by its own.
        None if clock::now() < token.expires_at => {
            format!("valid until {}", to_whole_seconds(token.expires_at))
        }
        None => format!("expired at {}", to_whole_seconds(token.expires_at)),
    };
    [
        token.id.to_string(),
        labels_text(&token.labels),
        format!("{} of {}", token.uses, token.uses_max),
        safe(&token.created_by),
        state,
    ]
}
