//! `exhibit token`: who may ask the API.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use platform::terminal::duration;

use super::place::TokenWanted;
use super::table::table;
use super::times::seconds;
use super::{Global, known, out, out_json};
use platform::clock;
use server::answers::{Created, Token};
use server::token::Label;
use store::ledger::{TokenId, TokenRole};

/// Makes, lists and revokes tokens for the API of `exhibit serve`
#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Subcommand)]
enum TokenCommand {
    Create(CreateArguments),
    List(ListArguments),
    Revoke(RevokeArguments),
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
struct CreateArguments {
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
struct ListArguments {}

/// Makes a token worth nothing, at once and for good
#[derive(Args)]
struct RevokeArguments {
    /// Its id, as `exhibit token list` shows it
    id: TokenId,
}

pub(super) async fn run(global: &Global, arguments: Arguments) -> Result<()> {
    match arguments.command {
        TokenCommand::Create(arguments) => create(global, arguments).await,
        TokenCommand::List(_) => list(global).await,
        TokenCommand::Revoke(arguments) => revoke(global, &arguments).await,
    }
}

async fn create(global: &Global, arguments: CreateArguments) -> Result<()> {
    let place = global.place().await?;
    let CreateArguments {
        role,
        incident,
        expires: valid,
        label,
    } = arguments;
    if let Some(incident) = &incident {
        known(&*place, incident).await?;
    }
    let label = label.unwrap_or_else(|| Label::escaped(place.by().as_str()));
    let created = place
        .issue(TokenWanted {
            role,
            label,
            incident,
            valid,
        })
        .await?;
    if global.json {
        return out_json(&created);
    }
    let Created {
        token,
        row: Token {
            id, label, expires, ..
        },
    } = created;
    let until = seconds(expires);
    out(&format!(
        "{token}\n\nid       {id}\nrole     {role}\nlabel    {}\nexpires  {until}\n\nit is not shown again; revoke it with\n  exhibit token revoke {id}\n",
        safe(&label)
    ))
}

async fn list(global: &Global) -> Result<()> {
    let tokens = global.place().await?.tokens().await?;
    if global.json {
        return tokens.iter().try_for_each(out_json);
    }
    if tokens.is_empty() {
        return out("there is no token: make one with `exhibit token create`\n");
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
            Some(at) => format!("revoked at {}", seconds(*at)),
            None if clock::now() < *expires => format!("good until {}", seconds(*expires)),
            None => format!("expired at {}", seconds(*expires)),
        };
        let incident = incident
            .as_ref()
            .map_or("all".to_owned(), ToString::to_string);
        [
            id.to_string(),
            role.to_string(),
            incident,
            seconds(*created).to_string(),
            state,
            safe(label),
        ]
    };
    let rows: Vec<_> = tokens.iter().map(row).collect();
    out(&table(
        ["id", "role", "incident", "made", "state", "label"],
        &rows,
    ))
}

async fn revoke(global: &Global, arguments: &RevokeArguments) -> Result<()> {
    let revoked = global.place().await?.revoke(&arguments.id).await?;
    if global.json {
        return out_json(&serde_json::json!({"id": arguments.id, "revoked": revoked}));
    }
    out(&format!(
        "{} is worth nothing since {}\n",
        arguments.id,
        seconds(revoked)
    ))
}
