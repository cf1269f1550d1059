//! ACL policies: rights on paths, in HCL or JSON.
//! <https://developer.hashicorp.com/vault/docs/concepts/policies>

use serde_json::Value;

use crate::EdgeRelation::CanAccess;
use crate::element::{JsonElement, edge};
use crate::{Derivation, EntityKind};

use super::common::{names_at, object};

/// Most rights of one policy that become edges.
const RULES_MAX: usize = 1000;
/// Rights in the line about a policy.
const RULES_SHOWN_MAX: usize = 4;

pub(super) fn policy(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let (Some(name), Some(text)) = (element.text("/name"), element.text("/policy")) else {
        return;
    };
    let policy = element.entity(EntityKind::Policy, name);
    let rules = rules(text);
    let shown = rules.iter().take(RULES_SHOWN_MAX);
    let mut shown: Vec<String> = shown
        .map(|(path, capabilities)| format!("{} {path}", capabilities.join(",")))
        .collect();
    if rules.len() > RULES_SHOWN_MAX {
        shown.push(format!("and {} more", rules.len() - RULES_SHOWN_MAX));
    }
    let summary = format!("policy {name}: {}", shown.join("; "));
    visit(object(policy.clone(), element.value, summary));
    for (path, capabilities) in rules.into_iter().take(RULES_MAX) {
        // It takes rights away.
        if capabilities.iter().any(|one| one == "deny") {
            continue;
        }
        let kind = if ["sys/", "auth/", "identity/"]
            .iter()
            .any(|own| path.starts_with(own))
        {
            EntityKind::Other
        } else {
            EntityKind::Secret
        };
        let to = element.entity(kind, path);
        visit(edge(
            policy.clone(),
            CanAccess,
            to,
            Some(capabilities.join(", ")),
        ));
    }
}

/// Paths, and what is allowed there.
fn rules(text: &str) -> Vec<(String, Vec<String>)> {
    match serde_json::from_str::<Value>(text) {
        Ok(json) => rules_of_json(&json),
        Err(_) => rules_of_hcl(text),
    }
}

fn rules_of_json(json: &Value) -> Vec<(String, Vec<String>)> {
    let paths = json.get("path").and_then(Value::as_object);
    let rules = paths.into_iter().flatten().map(|(path, rule)| {
        let names = names_at(rule, &["/capabilities", "/policy"]);
        (path.clone(), names.into_iter().map(str::to_owned).collect())
    });
    rules.collect()
}

/// Reads `path "…" { capabilities = ["…"] }` and the older `policy = "…"`. Everything else of a rule,
/// such as which parameters are allowed, is left to whoever reads the record.
fn rules_of_hcl(text: &str) -> Vec<(String, Vec<String>)> {
    let mut rules: Vec<(String, Vec<String>)> = Vec::new();
    let mut tokens = tokens(text).into_iter().peekable();
    // The word before `=`, while its values follow.
    let mut key = "";
    while let Some(token) = tokens.next() {
        match token {
            HclToken::Word("path") => {
                if let Some(HclToken::Text(path)) = tokens.peek() {
                    rules.push(((*path).to_owned(), Vec::new()));
                    tokens.next();
                }
                key = "";
            }
            HclToken::Word(word) => key = word,
            HclToken::Text(value) if matches!(key, "capabilities" | "policy") => {
                if let Some((_, capabilities)) = rules.last_mut() {
                    capabilities.push(value.to_owned());
                }
            }
            HclToken::Text(_) => {}
        }
    }
    rules
}

enum HclToken<'t> {
    Word(&'t str),
    /// In quotes.
    Text(&'t str),
}

/// The words and texts of HCL without its comments and punctuation.
fn tokens(text: &str) -> Vec<HclToken<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with('#') || rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, next)| next);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, next)| next);
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let (value, next) = quoted.split_once('"').unwrap_or((quoted, ""));
            tokens.push(HclToken::Text(value));
            rest = next;
        } else if first.is_alphanumeric() || first == '_' {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            tokens.push(HclToken::Word(&rest[..end]));
            rest = &rest[end..];
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let rules = rules(text).into_iter();
        rules
            .map(|(path, capabilities)| format!("{path} {}", capabilities.join(",")))
            .collect()
    }

    #[test]
    fn rights_are_read_in_every_form() {
        let hcl = "# path \"no/comment\" { capabilities = [\"read\"] }\n\
            path \"secret/data/*\" {\n  capabilities = [\"read\", \"list\"] // \"no\"\n\
            allowed_parameters = { \"ttl\" = [\"1h\"] }\n}\n\
            path \"old/*\" { policy = \"write\" }\npath \"sys/seal\" {capabilities=[\"deny\"]}";
        assert_eq!(
            read(hcl),
            ["secret/data/* read,list", "old/* write", "sys/seal deny"]
        );
        let json = r#"{"path": {"a": {"capabilities": ["read"]}, "b": {"policy": "sudo"}}}"#;
        assert_eq!(read(json), ["a read", "b sudo"]);
        for strange in ["", "path", "path \"", "path \"x", "/*", "é = \"é\"", "[]"] {
            read(strange);
        }
    }
}
