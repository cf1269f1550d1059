//! A slash command of Slack: `/incident sev2 leaked-secret Deploy key in a public gist`.
//!
//! Signatures: <https://docs.slack.dev/authentication/verifying-requests-from-slack>: `X-Slack-Signature` has `v0=` and the HMAC-SHA256 in
//! hexadecimal of `v0:`, `X-Slack-Request-Timestamp`, `:` and the body; no older than five minutes. Commands:
//! <https://docs.slack.dev/interactivity/implementing-slash-commands>. What the person who typed it sees is the answer, which must have
//! status 200 whatever came of it; so a command that is wrong is answered, and not refused.

use std::collections::BTreeMap;

use serde_json::json;
use url::form_urlencoded;

use super::check::{fresh, from_hex, header_text, signed};
use super::read::{Event, Node, PIVOTS_MAX, Told};
use super::{Answer, Delivery, Hook, Received, Refused, Secret, Trigger};
use crate::incident::{Name, Pivot, PivotKind, PlayName, Severity};

const HELP: &str = "Declare an incident with its severity, its play if it is known, and its name:\n\
    `sev2 leaked-secret Deploy key in a public gist access-key=AKIA…`";

pub(super) fn receive(hook: &Hook<'_>, delivery: &Delivery<'_>) -> Result<Received, Refused> {
    verify(&hook.config.secrets, delivery)?;
    if delivery.body.starts_with(b"{") {
        return handshake(delivery);
    }
    let form: BTreeMap<_, _> = form_urlencoded::parse(delivery.body).collect();
    let field = |name: &str| form.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    if field("ssl_check") == Some("1") {
        return Ok(Received::Ignored { why: "Slack looks at the certificate" });
    }
    let (team, command) = (field("team_id"), field("trigger_id"));
    let (team, command) = team.zip(command).ok_or(Refused::Malformed { missing: "team_id and trigger_id" })?;
    let typed = match typed(hook, &unescaped(field("text").unwrap_or_default())) {
        Ok(typed) => typed,
        Err(help) => return Ok(Received::Answer(reply(&help))),
    };
    let who = Name::escaped(field("user_name").or(field("user_id")).unwrap_or("somebody"));
    let place = field("channel_name").map(|channel| format!("declared in Slack channel #{channel}"));
    let told = Told {
        title: Some(&typed.title),
        severity: typed.severity.map(|severity| severity.to_string()),
        play: typed.play,
        reported_by: Some(who.clone()),
        reported_at: Some(delivery.received),
        evidence: place.into_iter().collect(),
        pivots: typed.pivots,
        ..Told::default()
    };
    let kind = field("command").unwrap_or("command");
    let trigger = hook.trigger(&Event { id: &[team, command], delivery: Some(command), kind }, told);
    Ok(Received::Declare(Box::new(Trigger { by: Name::escaped(&format!("{who} (Slack)")), ..*trigger })))
}

fn verify(secrets: &[Secret], delivery: &Delivery<'_>) -> Result<(), Refused> {
    let of = |name| header_text(delivery.headers, name).ok_or(Refused::NotAuthentic);
    let (time, text) = (of("x-slack-request-timestamp")?, of("x-slack-signature")?);
    let signature = text.strip_prefix("v0=").and_then(from_hex).ok_or(Refused::NotAuthentic)?;
    let keys: Vec<&str> = secrets.iter().map(Secret::expose).collect();
    signed(&keys, &[b"v0:", time.as_bytes(), b":", delivery.body], &[signature])?;
    fresh(time, delivery.received)
}

/// What Slack's Events API asks when a URL is given to it: <https://docs.slack.dev/reference/events/url_verification>.
fn handshake(delivery: &Delivery<'_>) -> Result<Received, Refused> {
    let body = super::read::json(delivery.body)?;
    let challenge = Node(&body).text("/challenge").filter(|_| Node(&body).text("/type") == Some("url_verification"));
    let body = challenge.ok_or(Refused::Malformed { missing: "slash command" })?.to_owned();
    Ok(Received::Answer(Answer { content_type: "text/plain; charset=utf-8", body }))
}

/// What only the person who typed the command sees.
pub(super) fn reply(text: &str) -> Answer {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let body = json!({"response_type": "ephemeral", "text": text}).to_string();
    Answer { content_type: "application/json", body }
}

/// Slack escapes these three in what it sends: <https://docs.slack.dev/messaging/formatting-message-text#escaping>.
fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

struct Typed {
    severity: Option<Severity>,
    play: Option<PlayName>,
    title: String,
    pivots: Vec<Pivot>,
}

/// Reads a command, or says what to type instead.
fn typed(hook: &Hook<'_>, text: &str) -> Result<Typed, String> {
    let mut words = text.split_whitespace().peekable();
    let severity = words.next_if(|word| word.to_ascii_lowercase().starts_with("sev") || word.len() == 1);
    let severity = severity.map(|word| word.parse::<Severity>().map_err(|e| e.to_string())).transpose()?;
    let play = words.peek().map_or(Ok(None), |word| play(hook, word))?;
    let rest = words.skip(usize::from(play.is_some()));
    let (pivots, title): (Vec<&str>, Vec<&str>) = rest.partition(|word| is_pivot(word));
    let title = title.join(" ");
    if title.is_empty() || title.eq_ignore_ascii_case("help") {
        return Err(HELP.to_owned());
    }
    let pivots = pivots.iter().map(|text| text.parse::<Pivot>().map_err(|e| e.to_string())).collect::<Result<Vec<_>, _>>()?;
    if pivots.len() > PIVOTS_MAX {
        return Err(format!("the command has {} pivots, limit is {PIVOTS_MAX}", pivots.len()));
    }
    Ok(Typed { severity, play, title, pivots })
}

/// The play that a word names. A word with a hyphen that is nearly a play's name is a misspelling, and no title.
fn play(hook: &Hook<'_>, word: &str) -> Result<Option<PlayName>, String> {
    let Ok(name) = word.parse::<PlayName>() else { return Ok(None) };
    match hook.plays.get(&name) {
        Ok(_) => Ok(Some(name)),
        Err(unknown) if word.contains('-') && unknown.nearest.is_some() => Err(unknown.to_string()),
        Err(_) => Ok(None),
    }
}

/// `kind=value`, with a kind that there is.
fn is_pivot(word: &str) -> bool {
    word.split_once('=').is_some_and(|(kind, _)| PivotKind::ALL.iter().any(|known| known.as_str() == kind))
}
