//! `exhibit token`: manages the tokens of the API.

use std::time::Duration;

use anyhow::Result;
use api::{TokenId, TokenInfo, TokenLabel, TokenRequest, TokenRole, TokenWithSecret};
use clap::{Args, Subcommand};
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use platform::terminal::duration;

use super::table::format_table;
use super::times::to_whole_seconds;
use super::{GlobalOptions, find_incident, print, print_json};
use platform::clock;

/// Creates, lists and revokes tokens for the API of `exhibit serve`
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

/// Creates a token; its secret is shown only once
#[derive(Args)]
#[command(after_help = "\
Roles:
  automation  declares incidents, and reads the status of its own
  owner       works on incidents and evidence, but cannot change severity or
              status, nor close incidents
  commander   like owner, and can also change severity and status, and close
              incidents
  auditor     reads and downloads
  admin       everything, including tokens

Examples:
  exhibit token create --role automation --label pagerduty
  exhibit token create --role auditor --incident INC-2026-042 --expires 30d \\
    --json | jq -r .token")]
struct CreateTokenArgs {
    /// What the holder may do
    #[arg(long, value_name = "ROLE")]
    role: TokenRole,
    /// The only incident that the holder may see [default: all]
    #[arg(long, value_name = "ID")]
    incident: Option<IncidentId>,
    /// Validity, up to 366d
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "90d")]
    expires: Duration,
    /// Label that names the holder in journals [default: the user]
    #[arg(long, value_name = "TEXT")]
    label: Option<TokenLabel>,
}

/// Lists all tokens without their secrets
#[derive(Args)]
struct ListTokensArgs {}

/// Revokes a token at once and for good
#[derive(Args)]
struct RevokeTokenArgs {
    /// Token id, as in `exhibit token list`
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
    let backend = global.creating_backend().await?;
    let CreateTokenArgs {
        role,
        incident,
        expires: valid,
        label,
    } = arguments;
    // A token for a mistyped incident would see nothing, and nobody would know why.
    let incident = match &incident {
        Some(incident) => Some(find_incident(&*backend, incident).await?),
        None => None,
    };
    let label = label.unwrap_or_else(|| TokenLabel::escaped(backend.user().as_str()));
    let created = backend
        .create_token(TokenRequest {
            role,
            label,
            incident,
            valid_seconds: Some(valid.as_secs()),
        })
        .await?;
    if global.json {
        // The only output with the secret: the store keeps its hash.
        return print_json(&created);
    }
    let TokenWithSecret { token, info } = created;
    let TokenInfo {
        id,
        label,
        expires_at,
        ..
    } = info;
    let until = to_whole_seconds(expires_at);
    print(&format!(
        "{token}\n\nid       {id}\nrole     {role}\nlabel    {}\nexpires  {until}\n\nthe secret is not shown again; revoke the token with\n  exhibit token revoke {id}\n",
        safe(&label)
    ))
}

async fn list(global: &GlobalOptions) -> Result<()> {
    let tokens = global.backend().await?.tokens().await?;
    if global.json {
        return tokens.iter().try_for_each(print_json);
    }
    if tokens.is_empty() {
        return print("no tokens: create one with `exhibit token create`\n");
    }
    let rows: Vec<_> = tokens.iter().map(token_row).collect();
    print(&format_table(
        ["id", "role", "incident", "created", "state", "label"],
        &rows,
    ))
}

fn token_row(token: &TokenInfo) -> [String; 6] {
    let TokenInfo {
        id,
        role,
        label,
        incident,
        created_at,
        expires_at,
        revoked_at,
    } = token;
    let state = match revoked_at {
        Some(at) => format!("revoked at {}", to_whole_seconds(*at)),
        // By this machine's clock, for display only: the server decides by its own.
        None if clock::now() < *expires_at => {
            format!("valid until {}", to_whole_seconds(*expires_at))
        }
        None => format!("expired at {}", to_whole_seconds(*expires_at)),
    };
    let incident = incident
        .as_ref()
        .map_or("all".to_owned(), ToString::to_string);
    [
        id.to_string(),
        role.to_string(),
        incident,
        to_whole_seconds(*created_at).to_string(),
        state,
        safe(label),
    ]
}

async fn revoke(global: &GlobalOptions, arguments: &RevokeTokenArgs) -> Result<()> {
    let revoked_at = global.backend().await?.revoke_token(&arguments.id).await?;
    if global.json {
        return print_json(&serde_json::json!({"id": arguments.id, "revokedAt": revoked_at}));
    }
    print(&format!(
        "token {} is revoked since {}\n",
        arguments.id,
        to_whole_seconds(revoked_at)
    ))
}
