//! A slash command of Slack: `/incident sev2 leaked-secret Deploy key in a public gist`.
//!
//! Signatures: <https://docs.slack.dev/authentication/verifying-requests-from-slack>:
//! `X-Slack-Signature` holds `v0=` and the HMAC-SHA256 in hexadecimal of `v0:`,
//! `X-Slack-Request-Timestamp`, `:` and the body, no older than five minutes. Commands:
//! <https://docs.slack.dev/interactivity/implementing-slash-commands>. The person who typed the
//! command sees the response only if its status is 200, so a wrong command gets help instead of an
//! error.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::HeaderMap;
use serde_json::json;
use url::form_urlencoded;

use super::authenticity::{
    SIGNATURE_BYTES, check_signature, check_timestamp, from_hex, required_header,
};
use super::payload::{IncidentFields, JsonNode, PIVOTS_MAX, VendorEvent};
use super::{
    HookContext, HookSecret, IncidentTrigger, WebhookDelivery, WebhookError, WebhookOutcome,
    WebhookResponse,
};
use crate::incident::{Name, Pivot, PivotKind, PlayName, Severity};

const HELP: &str = "Declare an incident with its severity, its play if it is known, and its name:\n\
    `sev2 leaked-secret Deploy key in a public gist access-key=AKIA…`";

/// The fields of a command, as Slack posts them.
type SlackForm<'b> = BTreeMap<Cow<'b, str>, Cow<'b, str>>;

pub(super) fn receive(
    hook: &HookContext<'_>,
    delivery: &WebhookDelivery<'_>,
) -> Result<WebhookOutcome, WebhookError> {
    verify(&hook.config.secrets, delivery)?;
    // Commands are forms; only the handshake is JSON.
    if delivery.body.starts_with(b"{") {
        return handshake(delivery);
    }
    let form: SlackForm<'_> = form_urlencoded::parse(delivery.body).collect();
    // Slack checks the certificate now and then with a form that holds no command.
    if field(&form, "ssl_check") == Some("1") {
        return Ok(WebhookOutcome::Ignored {
            reason: "Slack checks the certificate",
        });
    }
    let (team, command) = (field(&form, "team_id"), field(&form, "trigger_id"));
    let (team, command) = team.zip(command).ok_or(WebhookError::Malformed {
        missing: "team_id and trigger_id",
    })?;
    let parsed = match parse_command(hook, &unescaped(field(&form, "text").unwrap_or_default())) {
        Ok(parsed) => parsed,
        // With status 200, since Slack shows no other response to the user.
        Err(help) => return Ok(WebhookOutcome::Response(reply(&help))),
    };
    let who = Name::escaped(
        field(&form, "user_name")
            .or(field(&form, "user_id"))
            .unwrap_or("somebody"),
    );
    let place =
        field(&form, "channel_name").map(|channel| format!("declared in Slack channel #{channel}"));
    let fields = IncidentFields {
        title: Some(&parsed.title),
        severity: parsed.severity.map(|severity| severity.to_string()),
        play: parsed.play,
        reported_by: Some(who.clone()),
        reported_at: Some(delivery.received_at),
        evidence: place.into_iter().collect(),
        pivots: parsed.pivots,
        ..IncidentFields::default()
    };
    let kind = field(&form, "command").unwrap_or("command");
    let trigger = hook.trigger(
        &VendorEvent {
            // Each use of a command has its own `trigger_id`, so the same delivery twice is one
            // incident.
            id: &[team, command],
            delivery: Some(command),
            kind,
        },
        fields,
    );
    Ok(WebhookOutcome::Declare(Box::new(IncidentTrigger {
        by: Name::escaped(&format!("{who} (Slack)")),
        ..*trigger
    })))
}

/// The trimmed value of a field, if it is not empty.
fn field<'f>(form: &'f SlackForm<'_>, name: &str) -> Option<&'f str> {
    form.get(name)
        .map(|value| value.trim())
        .filter(|value| !value.is_empty())
}

fn verify(secrets: &[HookSecret], delivery: &WebhookDelivery<'_>) -> Result<(), WebhookError> {
    let (time, signature) = signature(delivery.headers)?;
    let keys: Vec<&str> = secrets.iter().map(HookSecret::expose).collect();
    check_signature(
        &keys,
        &[b"v0:", time.as_bytes(), b":", delivery.body],
        &[signature],
    )?;
    check_timestamp(time, delivery.received_at)
}

/// The signed time and the signature of a delivery. They prove nothing yet.
pub(super) fn signature(headers: &HeaderMap) -> Result<(&str, Vec<u8>), WebhookError> {
    let time = required_header(headers, "x-slack-request-timestamp")?;
    let signature = required_header(headers, "x-slack-signature")?
        .strip_prefix("v0=")
        .and_then(from_hex)
        .filter(|signature| signature.len() == SIGNATURE_BYTES)
        .ok_or(WebhookError::NotAuthentic)?;
    Ok((time, signature))
}

/// Answers the challenge that Slack's Events API sends to a new URL:
/// <https://docs.slack.dev/reference/events/url_verification>.
fn handshake(delivery: &WebhookDelivery<'_>) -> Result<WebhookOutcome, WebhookError> {
    let body = super::payload::parse_object(delivery.body)?;
    let challenge = JsonNode(&body)
        .text("/challenge")
        .filter(|_| JsonNode(&body).text("/type") == Some("url_verification"));
    let body = challenge
        .ok_or(WebhookError::Malformed {
            missing: "slash command",
        })?
        .to_owned();
    Ok(WebhookOutcome::Response(WebhookResponse {
        content_type: "text/plain; charset=utf-8",
        body,
    }))
}

/// A response that only the person who typed the command sees.
pub(super) fn reply(text: &str) -> WebhookResponse {
    // `&` first, or it would escape the other two again.
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let body = json!({"response_type": "ephemeral", "text": text}).to_string();
    WebhookResponse {
        content_type: "application/json",
        body,
    }
}

/// Slack escapes these three characters in what it sends:
/// <https://docs.slack.dev/messaging/formatting-message-text#escaping>.
fn unescaped(text: &str) -> String {
    // `&amp;` last, or `&amp;lt;` would become `<`.
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

struct SlashCommand {
    severity: Option<Severity>,
    play: Option<PlayName>,
    title: String,
    pivots: Vec<Pivot>,
}

/// Parses a command, or returns help on what to type instead.
fn parse_command(hook: &HookContext<'_>, text: &str) -> Result<SlashCommand, String> {
    let mut words = text.split_whitespace().peekable();
    // A single character can only be meant as a severity, and is worth an error if it is none.
    let severity = words.next_if(|word| {
        word.to_ascii_lowercase().starts_with("sev") || word.len() == 1 || is_priority(word)
    });
    let severity = severity
        .map(|word| match word.parse::<Severity>() {
            Ok(severity) => Ok(severity),
            // `P1`, `SEV0`; but `sev7` is a slip, and not the lowest level of a long scale.
            Err(error) => {
                let known = hook.known_severity(word);
                let is_slip = word.ends_with(['6', '7', '8', '9']);
                known.filter(|_| !is_slip).ok_or_else(|| error.to_string())
            }
        })
        .transpose()?;
    let play = words.peek().map_or(Ok(None), |word| play(hook, word))?;
    let rest = words.skip(usize::from(play.is_some()));
    let (pivots, title): (Vec<&str>, Vec<&str>) = rest.partition(|word| is_pivot(word));
    let title = title.join(" ");
    // An incident without a name helps nobody who is called to it.
    if title.is_empty() || title.eq_ignore_ascii_case("help") {
        return Err(HELP.to_owned());
    }
    let pivots = pivots
        .iter()
        .map(|text| text.parse::<Pivot>().map_err(|e| e.to_string()))
        .collect::<Result<Vec<_>, _>>()?;
    if pivots.len() > PIVOTS_MAX {
        return Err(format!(
            "the command has {} pivots, limit is {PIVOTS_MAX}",
            pivots.len()
        ));
    }
    Ok(SlashCommand {
        severity,
        play,
        title,
        pivots,
    })
}

/// The play that a word names, if any. A word with a hyphen that is close to a play's name is an
/// error, not part of the title.
fn play(hook: &HookContext<'_>, word: &str) -> Result<Option<PlayName>, String> {
    let Ok(name) = word.parse::<PlayName>() else {
        return Ok(None);
    };
    match hook.plays.get(&name) {
        Ok(_) => Ok(Some(name)),
        // Few titles begin with a compound that is one slip away from a play's name.
        Err(unknown) if word.contains('-') && unknown.nearest.is_some() => Err(unknown.to_string()),
        Err(_) => Ok(None),
    }
}

/// True for `P1` and `S2`, with which some teams begin.
fn is_priority(word: &str) -> bool {
    let mut letters = word.chars();
    matches!(letters.next(), Some('p' | 'P' | 's' | 'S'))
        && word.len() == 2
        && letters.next().is_some_and(|c| c.is_ascii_digit())
}

/// True for `kind=value` with a known kind: a title may contain another `=`.
fn is_pivot(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(kind, _)| PivotKind::ALL.iter().any(|known| known.as_str() == kind))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, HOOKS, headers, hook, signed};
    use super::super::{HookConfig, Vendor};
    use super::*;

    /// Slack's documents: "Verifying requests from Slack".
    #[test]
    fn accepts_published_signature() {
        let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        let secrets = [HookSecret::new("8f742231b10e8888abcd99yyyzzz85a5")];
        let headers = headers(&[
            ("x-slack-request-timestamp", "1531420618"),
            (
                "x-slack-signature",
                "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            ),
        ]);
        let at = |seconds: i128| {
            let received_at =
                evidence_format::time::Timestamp::from_unix_nanoseconds(seconds * 1_000_000_000)
                    .expect("a time");
            verify(
                &secrets,
                &WebhookDelivery {
                    headers: &headers,
                    body,
                    received_at,
                },
            )
        };
        assert_eq!(at(1_531_420_618), Ok(()));
        assert_eq!(
            at(1_531_420_618 + 301),
            Err(WebhookError::Stale { seconds: 301 })
        );
    }

    fn command(text: &str) -> Result<WebhookOutcome, WebhookError> {
        let text: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let body = format!(
            "team_id=T1&trigger_id=1.2.3&user_name=ann&channel_name=sec&command=%2Fincident&text={text}"
        );
        signed(Vendor::Slack, body.as_bytes()).receive()
    }

    #[test]
    fn command_declares_what_was_typed() {
        let Ok(WebhookOutcome::Declare(trigger)) = command(
            "sev2 leaked-secret Deploy key in a public gist  access-key=AKIAIOSFODNN7EXAMPLE",
        ) else {
            panic!("no declaration")
        };
        assert_eq!(
            (trigger.title.as_str(), trigger.play.as_str()),
            ("Deploy key in a public gist", "leaked-secret")
        );
        assert_eq!(
            (trigger.severity, trigger.by.as_str()),
            (Severity::Sev2, "ann (Slack)")
        );
        assert_eq!(trigger.pivots.len(), 1);
        let Ok(WebhookOutcome::Declare(trigger)) = command("deploy &lt;key&gt; a=b &amp; c") else {
            panic!("no declaration")
        };
        assert_eq!(
            (trigger.title.as_str(), trigger.play.as_str()),
            ("deploy <key> a=b & c", "general")
        );
        assert_eq!(trigger.severity, HookConfig::default().default_severity.0);
    }

    #[test]
    fn command_takes_priorities_of_other_scales() {
        for (text, severity) in [
            ("P1 Key", Severity::Sev1),
            ("p3 Key", Severity::Sev3),
            ("sev0 Key", Severity::Sev1),
            ("S2 Key", Severity::Sev2),
        ] {
            let Ok(WebhookOutcome::Declare(trigger)) = command(text) else {
                panic!("{text}: no declaration")
            };
            assert_eq!(
                (trigger.severity, trigger.title.as_str()),
                (severity, "Key"),
                "{text}"
            );
        }
    }

    #[test]
    fn wrong_command_is_answered_with_help() {
        for (text, said) in [
            ("", "Declare an incident"),
            ("help", "Declare an incident"),
            ("sev2 leaked-secret", "Declare an incident"),
            ("sev7 Key", "is not a severity"),
            ("sev2 leaked-secrets Key", "leaked-secret"),
            (
                "sev2 Key token=ghp_0123456789",
                "looks like a secret itself",
            ),
        ] {
            let Ok(WebhookOutcome::Response(answer)) = command(text) else {
                panic!("{text}: no answer")
            };
            assert!(
                answer.body.contains(said) && answer.body.contains("ephemeral"),
                "{text}: {}",
                answer.body
            );
            assert!(!answer.body.contains("0123456789"), "{}", answer.body);
        }
    }

    #[test]
    fn answers_authentic_handshakes_only() {
        let body = br#"{"token":"Jhj5dZrVaK7ZwHHjRyZWjbDl","challenge":"3eZbrw1aB","type":"url_verification"}"#;
        let Ok(WebhookOutcome::Response(answer)) = signed(Vendor::Slack, body).receive() else {
            panic!("no answer")
        };
        assert_eq!(answer.body, "3eZbrw1aB");
        assert_eq!(
            samples::receive(Vendor::Slack, &HOOKS, &[], body),
            Err(WebhookError::NotAuthentic)
        );
        let check = signed(Vendor::Slack, b"ssl_check=1&token=x").receive();
        assert_eq!(
            check,
            Ok(WebhookOutcome::Ignored {
                reason: "Slack checks the certificate"
            })
        );
        assert_eq!(
            reply("a <b> & c").body,
            r#"{"response_type":"ephemeral","text":"a &lt;b&gt; &amp; c"}"#
        );
        assert!(
            play(&hook(Vendor::Slack, &HookConfig::default()), "ci-token")
                .expect("a play")
                .is_some()
        );
    }
}
