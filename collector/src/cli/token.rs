//! `exhibit token`: who may ask the API.

use std::time::Duration;

use agent::terminal::duration;
use anyhow::Result;
use clap::{Args, Subcommand};
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;
use evidence_format::time::Timestamp;
use serde::Serialize;

use super::table::table;
use super::times::seconds;
use super::{Global, known, out, out_json};
use crate::clock;
use crate::http::token::{self, Label, Wanted};
use crate::store::ledger::{TokenId, TokenRole, TokenRow};

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

/// What `--json` prints for each token. Fields are added, never renamed or removed.
#[derive(Serialize)]
struct Listed<'a> {
    id: &'a TokenId,
    role: TokenRole,
    label: &'a str,
    incident: Option<&'a IncidentId>,
    created: Timestamp,
    expires: Timestamp,
    revoked: Option<Timestamp>,
}

pub(super) async fn run(global: &Global, arguments: Arguments) -> Result<()> {
    match arguments.command {
        TokenCommand::Create(arguments) => create(global, arguments).await,
        TokenCommand::List(_) => list(global).await,
        TokenCommand::Revoke(arguments) => revoke(global, &arguments).await,
    }
}

async fn create(global: &Global, arguments: CreateArguments) -> Result<()> {
    let app = global.open().await?;
    let CreateArguments { role, incident, expires: valid, label } = arguments;
    if let Some(incident) = &incident {
        known(&app, incident).await?;
    }
    let label = label.unwrap_or_else(|| Label::escaped(global.by().as_str()));
    let (row, secret) = token::issue(&app.pipeline.parts.ledger, Wanted { role, label, incident, valid }).await?;
    if global.json {
        let mut json = serde_json::to_value(listed(&row))?;
        json["token"] = secret.text().into();
        return out_json(&json);
    }
    let (id, until) = (&row.id, seconds(row.expires_at));
    out(&format!(
        "{}\n\nid       {id}\nrole     {role}\nlabel    {}\nexpires  {until}\n\nit is not shown again; revoke it with\n  exhibit token revoke {id}\n",
        secret.text(),
        safe(&row.label)
    ))
}

async fn list(global: &Global) -> Result<()> {
    let app = global.open().await?;
    let rows = app.pipeline.parts.ledger.tokens().await?;
    if global.json {
        return rows.iter().try_for_each(|row| out_json(&listed(row)));
    }
    if rows.is_empty() {
        return out("there is no token: make one with `exhibit token create`\n");
    }
    let row = |row: &TokenRow| {
        let state = match row.revoked_at {
            Some(at) => format!("revoked at {}", seconds(at)),
            None if row.is_good(clock::now()) => format!("good until {}", seconds(row.expires_at)),
            None => format!("expired at {}", seconds(row.expires_at)),
        };
        let incident = row.incident.as_ref().map_or("all".to_owned(), ToString::to_string);
        [row.id.to_string(), row.role.to_string(), incident, seconds(row.created_at).to_string(), state, safe(&row.label)]
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    out(&table(["id", "role", "incident", "made", "state", "label"], &rows))
}

async fn revoke(global: &Global, arguments: &RevokeArguments) -> Result<()> {
    let app = global.open().await?;
    let revoked = app.pipeline.parts.ledger.revoke_token(&arguments.id, clock::now()).await?;
    if global.json {
        return out_json(&serde_json::json!({"id": arguments.id, "revoked": revoked}));
    }
    out(&format!("{} is worth nothing since {}\n", arguments.id, seconds(revoked)))
}

fn listed(row: &TokenRow) -> Listed<'_> {
    Listed {
        id: &row.id,
        role: row.role,
        label: &row.label,
        incident: row.incident.as_ref(),
        created: row.created_at,
        expires: row.expires_at,
        revoked: row.revoked_at,
    }
}
