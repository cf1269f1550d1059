//! `exhibit token`: who may ask the API.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use platform::terminal::duration;

use super::backend::TokenRequest;
use super::table::format_table;
use super::times::to_whole_seconds;
use super::{GlobalOptions, print, print_json, require_incident};
use domain::token::{TokenId, TokenRole};
use platform::clock;
use server::answers::{Created, Token};
use server::token::Label;

/// Makes, lists and revokes tokens for the API of `exhibit serve`
#[derive(Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Subcommand)]
enum TokenCommand {
    Create(CreateTokenArgs),
    List(ListTokensArgs),
    Revoke(RevokeTokenArgs),
}

/// Makes a token, and prints it this once
#[derive(Args)]
#[command(after_help = "\
Roles:
  automation  declares incidents, and sees how far those are that it has declared
  owner       everything about incidents and evidence, but not severity, status and closing
  commander   what an owner may, and severity, status and closing
  auditor     reads and downloads
  admin       everything, tokens among it

Examples:
  exhibit token create --role automation --label pagerduty
  exhibit token create --role auditor --incident INC-2026-042 --expires 30d --json | jq -r .token")]
struct CreateTokenArgs {
    /// What its holder may do
    #[arg(long, value_name = "ROLE")]
    role: TokenRole,
    /// The only incident that its holder may see [default: all]
    #[arg(long, value_name = "ID")]
    incident: Option<IncidentId>,
    /// How long it is good, up to 366d
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "90d")]
    expires: Duration,
    /// Whose it is, for journals [default: who makes it]
    #[arg(long, value_name = "TEXT")]
    label: Option<Label>,
}

/// Lists all tokens, without their secrets
#[derive(Args)]
struct ListTokensArgs {}

/// Makes a token worth nothing, at once and for good
#[derive(Args)]
struct RevokeTokenArgs {
    /// Its id, as `exhibit token list` shows it
    id: TokenId,
}

pub(super) async fn run(global: &GlobalOptions, arguments: TokenArgs) -> Result<()> {
    match arguments.command {
        TokenCommand::Create(arguments) => create(global, arguments).await,
        TokenCommand::List(_) => list(global).await,
        TokenCommand::Revoke(arguments) => revoke(global, &arguments).await,
    }
}

async fn create(global: &GlobalOptions, arguments: CreateTokenArgs) -> Result<()> {
    let backend = global.backend().await?;
    let CreateTokenArgs {
        role,
        incident,
        expires: valid,
        label,
    } = arguments;
    if let Some(incident) = &incident {
        require_incident(&*backend, incident).await?;
    }
    let label = label.unwrap_or_else(|| Label::escaped(backend.by().as_str()));
    let created = backend
        .issue(TokenRequest {
            role,
            label,
            incident,
            valid,
        })
        .await?;
    if global.json {
        return print_json(&created);
    }
    let Created {
        token,
        row: Token {
            id, label, expires, ..
        },
    } = created;
    let until = to_whole_seconds(expires);
    print(&format!(
        "{token}\n\nid       {id}\nrole     {role}\nlabel    {}\nexpires  {until}\n\nit is not shown again; revoke it with\n  exhibit token revoke {id}\n",
        safe(&label)
    ))
}

async fn list(global: &GlobalOptions) -> Result<()> {
    let tokens = global.backend().await?.tokens().await?;
    if global.json {
        return tokens.iter().try_for_each(print_json);
    }
    if tokens.is_empty() {
        return print("there is no token: make one with `exhibit token create`\n");
    }
    let row = |token: &Token| {
        let Token {
            id,
            role,
            label,
            incident,
            created,
            expires,
            revoked,
        } = token;
        let state = match revoked {
            Some(at) => format!("revoked at {}", to_whole_seconds(*at)),
            None if clock::now() < *expires => format!("good until {}", to_whole_seconds(*expires)),
            None => format!("expired at {}", to_whole_seconds(*expires)),
        };
        let incident = incident
            .as_ref()
            .map_or("all".to_owned(), ToString::to_string);
        [
            id.to_string(),
            role.to_string(),
            incident,
            to_whole_seconds(*created).to_string(),
            state,
            safe(label),
        ]
    };
    let rows: Vec<_> = tokens.iter().map(row).collect();
    print(&format_table(
        ["id", "role", "incident", "made", "state", "label"],
        &rows,
    ))
}

async fn revoke(global: &GlobalOptions, arguments: &RevokeTokenArgs) -> Result<()> {
    let revoked = global.backend().await?.revoke(&arguments.id).await?;
    if global.json {
        return print_json(&serde_json::json!({"id": arguments.id, "revoked": revoked}));
    }
    print(&format!(
        "{} is worth nothing since {}\n",
        arguments.id,
        to_whole_seconds(revoked)
    ))
}
