//! What was not captured, why, and the command that helps: for `exhibit capture` and `status`.

use api::{MissingEvidence, MissingKind};
use domain::hosts::{HOSTS_WITHOUT_AGENT, agent_of_source};
use evidence_format::id::IncidentId;
use evidence_format::safe::safe;

use super::table::{terminal_width, wrap, wrap_command};
use domain::spelling::counted;
use platform::shell::shell_word;

/// Columns for the names of sources; a longer one moves its line to the right.
const NAME_COLUMNS_MAX: usize = 18;

/// Formats what is missing: first each loss with its reason and the command that helps, then what
/// nobody configured. Empty if nothing is missing.
pub(super) fn format_missing(
    id: &IncidentId,
    missing: &[MissingEvidence],
    resume_command: Option<&str>,
) -> String {
    let (losses, rest): (Vec<_>, Vec<_>) = missing.iter().partition(|missing| missing.is_loss);
    let (not_searched, rest): (Vec<_>, Vec<_>) = rest
        .into_iter()
        .partition(|missing| missing.kind == MissingKind::NotSearched);
    let (gaps, not_set_up): (Vec<_>, Vec<_>) = rest
        .into_iter()
        .partition(|missing| missing.kind == MissingKind::Gaps);
    let mut text = String::new();
    if missing.len() > not_searched.len() {
        text.push_str("\nnot captured\n");
    }
    let names = missing
        .iter()
        .filter(|missing| missing.is_loss)
        .chain(gaps.iter().copied())
        .map(|missing| &missing.source);
    let width = names.map(|name| name.chars().count()).max().unwrap_or(0);
    let width = width.min(NAME_COLUMNS_MAX);
    let mut losses = losses.into_iter().peekable();
    let mut last_source = "";
    while let Some(missing) = losses.next() {
        let name = if missing.source == last_source {
            ""
        } else {
            &missing.source
        };
        last_source = &missing.source;
        text.push_str(&line(width, name, &missing.reason));
        // Many regions of one source may be denied: one command helps them all.
        let help = |missing| help(id, missing, resume_command);
        let next_help = losses
            .peek()
            .filter(|next| next.source == missing.source)
            .and_then(|next| help(next));
        if let Some(help) = help(missing)
            && next_help.as_ref() != Some(&help)
        {
            let start = format!("  {:<width$}  try: ", "");
            text.push_str(&wrap_command(&start, &help, terminal_width()));
        }
    }
    for missing in &gaps {
        text.push_str(&line(width, &missing.source, &missing.reason));
    }
    text.push_str(&format_not_set_up(&not_set_up));
    text + &format_not_searched(id, &not_searched)
}

/// Pivots that no source of the capture could filter by.
fn format_not_searched(id: &IncidentId, missing: &[&MissingEvidence]) -> String {
    if missing.is_empty() {
        return String::new();
    }
    let mut text = "\nnot searched for\n".to_owned();
    for missing in missing {
        let pivot = safe(&missing.source);
        text.push_str(&wrap(
            "  ",
            &format!("{pivot}: {}", safe(&missing.reason)),
            terminal_width(),
        ));
        // A wide step may have captured it among the rest.
        let value = missing
            .source
            .split_once('=')
            .map_or("", |(_, value)| value);
        text.push_str(&wrap_command(
            "    try: ",
            &format!("exhibit timeline {id} --contains {}", shell_word(value)),
            terminal_width(),
        ));
    }
    text
}

fn line(width: usize, name: &str, reason: &str) -> String {
    let start = format!("  {:<width$}  ", safe(name));
    wrap(&start, &safe(reason), terminal_width())
}

/// The command that helps; `None` if there is none.
fn help(
    id: &IncidentId,
    missing: &MissingEvidence,
    resume_command: Option<&str>,
) -> Option<String> {
    let source = safe(&missing.source);
    let again = match agent_of_source(&missing.source) {
        Some(agent) => format!("exhibit capture --incident {id} --host {agent}"),
        None if missing.source == HOSTS_WITHOUT_AGENT => "exhibit agents token create".to_owned(),
        None => format!("exhibit capture --incident {id} --source {source}"),
    };
    match missing.kind {
        MissingKind::NeverAsked => Some("exhibit sources check".to_owned()),
        MissingKind::Failed | MissingKind::EndedEarly | MissingKind::Stopped => Some(again),
        MissingKind::CutOff => resume_command.map(str::to_owned),
        MissingKind::Gaps | MissingKind::NotSearched => None,
    }
}

/// Sources that nobody configured, those with the same reason in one line.
fn format_not_set_up(missing: &[&MissingEvidence]) -> String {
    let mut by_reason: Vec<(&str, Vec<String>)> = Vec::new();
    for missing in missing {
        let name = safe(&missing.source);
        match by_reason
            .iter_mut()
            .find(|(reason, _)| *reason == missing.reason)
        {
            Some((_, names)) if names.contains(&name) => {}
            Some((_, names)) => names.push(name),
            None => by_reason.push((&missing.reason, vec![name])),
        }
    }
    let lines = by_reason.into_iter().map(|(reason, names)| {
        let number = match names.len() {
            1 => String::new(),
            number => format!(" ({})", counted(number as u64, "source")),
        };
        let text = format!("{}{number}: {}", names.join(", "), safe(reason));
        wrap("  ", &text, terminal_width())
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(source: &str, kind: MissingKind, reason: &str, is_loss: bool) -> MissingEvidence {
        MissingEvidence {
            source: source.to_owned(),
            request: 1,
            kind,
            reason: reason.to_owned(),
            is_loss,
        }
    }

    #[test]
    fn losses_come_with_reason_and_command_and_the_rest_is_grouped() {
        let id = "INC-1".parse().expect("an id");
        let denied = |region: &str| {
            missing(
                "aws_cloudtrail",
                MissingKind::EndedEarly,
                &format!("{region} was denied"),
                true,
            )
        };
        let all = [
            denied("eu-west-1"),
            denied("us-east-1"),
            missing("okta", MissingKind::NeverAsked, "refused: token\u{7}", true),
            missing(
                "host",
                MissingKind::Gaps,
                "2 permission denied: /a, /b",
                false,
            ),
            missing("flux", MissingKind::NeverAsked, "not configured", false),
            missing("helm", MissingKind::NeverAsked, "not configured", false),
        ];
        assert_eq!(
            format_missing(&id, &all, None),
            "
not captured
  aws_cloudtrail  eu-west-1 was denied
                  us-east-1 was denied
                  try: exhibit capture --incident INC-1 --source aws_cloudtrail
  okta            refused: token\\u{7}
                  try: exhibit sources check
  host            2 permission denied: /a, /b
  flux, helm (2 sources): not configured
"
        );
        assert_eq!(format_missing(&id, &[], None), "");
        let pivot = missing(
            "user=o'hara; id",
            MissingKind::NotSearched,
            "no source of this capture can filter by it",
            false,
        );
        assert_eq!(
            format_missing(&id, &[pivot], None),
            "
not searched for
  user=o'hara; id: no source of this capture can filter by it
    try: exhibit timeline INC-1 --contains 'o'\\''hara; id'
"
        );
    }
}
