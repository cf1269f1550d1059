//! Who responds, where and how: options that `exhibit declare`, `capture` and `change` share.

use std::str::FromStr;

use anyhow::{Context, Result};
use clap::Args;
use evidence_format::time::Timestamp;

use super::times::parse_future_time;
use domain::incident::{Command, IncidentRole, Line, Name};

/// What the first 15 minutes of an incident settle.
#[derive(Args, Clone, Default, PartialEq)]
#[command(next_help_heading = "Response")]
pub(super) struct ResponseOptions {
    /// Incident commander, like --role commander=NAME
    #[arg(long, value_name = "NAME")]
    commander: Option<Name>,
    /// Assign a role: commander, technical-lead, communications-lead, evidence-owner,
    /// business-owner; may be repeated
    #[arg(long, value_name = "ROLE=NAME")]
    role: Vec<RoleAssignment>,
    /// Where the responders talk, such as a chat channel or a bridge
    #[arg(long, value_name = "TEXT")]
    channel: Option<Line>,
    /// Changes that are frozen unless containment needs them, such as deployments
    #[arg(long, value_name = "TEXT")]
    freeze: Option<Line>,
    /// First containment action
    #[arg(long, value_name = "TEXT", visible_alias = "doing")]
    contain: Option<Line>,
    /// Owner of the --contain action
    #[arg(long, value_name = "NAME", requires = "contain")]
    owner: Option<Name>,
    /// When the next update is due: a time, or a duration from now such as 30m
    #[arg(long, value_name = "TIME")]
    next_update: Option<NextUpdateTime>,
}

impl ResponseOptions {
    /// The commands to give after the declaration; none without options.
    pub(super) fn commands(self) -> Vec<Command> {
        let mut commands = Vec::new();
        commands.extend(self.commander.map(|name| Command::AssignRole {
            role: IncidentRole::IncidentCommander,
            to: Some(name),
        }));
        let roles = self.role.into_iter();
        commands.extend(roles.map(|RoleAssignment { role, to }| Command::AssignRole { role, to }));
        commands.extend(self.channel.map(|to| Command::SetChannel { to }));
        commands.extend(
            self.freeze
                .map(|what| Command::SetChangeFreeze { to: Some(what) }),
        );
        let owner = self.owner;
        commands.extend(
            self.contain
                .map(|text| Command::StartAction { text, owner }),
        );
        let next_update = self.next_update;
        commands.extend(next_update.map(|NextUpdateTime(to)| Command::SetNextUpdate { to }));
        commands
    }
}

/// A role and its holder; `None` unassigns the role.
#[derive(Clone, PartialEq)]
pub(super) struct RoleAssignment {
    pub(super) role: IncidentRole,
    pub(super) to: Option<Name>,
}

/// When the next update is due; `None` for no time.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct NextUpdateTime(pub(super) Option<Timestamp>);

impl FromStr for RoleAssignment {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (role, name) = text
            .split_once('=')
            .context("expected ROLE=NAME, such as commander=alice")?;
        // `commander=` unassigns the role: a name cannot be empty.
        let to = if name.trim().is_empty() {
            None
        } else {
            Some(name.parse()?)
        };
        Ok(Self {
            role: role.parse()?,
            to,
        })
    }
}

impl FromStr for NextUpdateTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            Ok(Self(None))
        } else {
            parse_future_time(text).map(|at| Self(Some(at)))
        }
    }
}
