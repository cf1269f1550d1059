//! What a summary must say beside the objects, so that an attack and its repair read differently.

use serde_json::Value;

use super::CloudTrailRecord;
use super::arn::label;
use super::policies::allowed_principals;
use super::targets::{grantees, texts};
use crate::json::{bool_at, first_text, id_at, list_at, text_at};

/// Elements of a list that a summary names.
const SHOWN_MAX: usize = 3;

pub(super) fn of(record: &CloudTrailRecord<'_>) -> Option<String> {
    let request = &record.request;
    match record.name {
        "ConsoleLogin" => {
            let used = bool_or_yes(record.details.pointer("/additionalEventData/MFAUsed")?)?;
            Some(if used { "with MFA" } else { "without MFA" }.to_owned())
        }
        "AssumeRole" | "AssumeRoleWithSAML" | "AssumeRoleWithWebIdentity" => Some(format!(
            "as session {}",
            text_at(request, "/roleSessionName")?
        )),
        "RunInstances" => {
            let count = id_at(request, "/instancesSet/items/0/maxCount")?;
            let kind = text_at(request, "/instanceType")?;
            Some(format!("({count} × {kind})"))
        }
        "DescribeInstanceAttribute" | "ModifyInstanceAttribute" => attribute(request),
        "PutBucketLifecycle" | "PutBucketLifecycleConfiguration" => {
            let days = find(request, "Days", 0)?;
            Some(format!("(objects expire after {days} days)"))
        }
        "PutEventSelectors" => {
            let selector = list_at(request, "/eventSelectors").first()?;
            let on = bool_at(selector, "/includeManagementEvents")?;
            let kind = text_at(selector, "/readWriteType").unwrap_or("All");
            let on = if on { "on" } else { "off" };
            Some(format!("(management events {on}, {kind})"))
        }
        "AuthorizeSecurityGroupIngress" | "RevokeSecurityGroupIngress" => rules(request, "from"),
        "AuthorizeSecurityGroupEgress" | "RevokeSecurityGroupEgress" => rules(request, "to"),
        "CreateNetworkAclEntry" | "ReplaceNetworkAclEntry" => {
            let block = first_text(request, &["/cidrBlock", "/ipv6CidrBlock"])?;
            let action = text_at(request, "/ruleAction").unwrap_or("allow");
            Some(format!("({action} {block})"))
        }
        "CreateGrant" => Some(format!("to {}", text_at(request, "/granteePrincipal")?)),
        name if name.starts_with("AddPermission") => {
            Some(format!("for principal {}", text_at(request, "/principal")?))
        }
        name if name.ends_with("SnapshotAttribute") || name.ends_with("ImageAttribute") => {
            sharing(request)
        }
        _ => trust(request),
    }
}

fn bool_or_yes(value: &Value) -> Option<bool> {
    match value.as_str()? {
        "Yes" | "true" => Some(true),
        "No" | "false" => Some(false),
        _ => None,
    }
}

fn attribute(request: &Value) -> Option<String> {
    let name = match text_at(request, "/attribute") {
        Some(name) => name,
        // A modification names its attribute by the member that it has beside the instance.
        None => request
            .as_object()?
            .keys()
            .map(String::as_str)
            .find(|key| *key != "instanceId")?,
    };
    Some(format!("({name})"))
}

/// Accounts that may now, or may no longer, use a snapshot or an image.
fn sharing(request: &Value) -> Option<String> {
    let permission = ["/createVolumePermission", "/launchPermission"]
        .iter()
        .find_map(|pointer| request.pointer(pointer));
    let (added, removed) = match permission {
        Some(permission) => (
            grantees(permission, "/add"),
            grantees(permission, "/remove"),
        ),
        None => (
            texts(list_at(request, "/valuesToAdd")),
            texts(list_at(request, "/valuesToRemove")),
        ),
    };
    let mut parts = Vec::new();
    if !added.is_empty() {
        parts.push(format!("shared with {}", names(&added)));
    }
    if !removed.is_empty() {
        parts.push(format!("no longer shared with {}", names(&removed)));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn names(grantees: &[String]) -> String {
    let named: Vec<String> = grantees
        .iter()
        .take(SHOWN_MAX)
        .map(|grantee| match grantee.as_str() {
            "all" => "everybody".to_owned(),
            grantee => format!("account {grantee}"),
        })
        .collect();
    with_more(&named, grantees.len())
}

/// `tcp 22 from 0.0.0.0/0`. Newer calls have a list of rules, older ones a single rule.
fn rules(request: &Value, preposition: &str) -> Option<String> {
    let list = list_at(request, "/ipPermissions/items");
    let list = if list.is_empty() {
        std::slice::from_ref(request)
    } else {
        list
    };
    let named: Vec<String> = list
        .iter()
        .take(SHOWN_MAX)
        .filter_map(|rule| rule_phrase(rule, preposition))
        .collect();
    (!named.is_empty()).then(|| format!("({})", with_more(&named, list.len())))
}

fn rule_phrase(rule: &Value, preposition: &str) -> Option<String> {
    let protocol = match text_at(rule, "/ipProtocol")? {
        "-1" => "all protocols",
        name => name,
    };
    let (from, to) = (id_at(rule, "/fromPort"), id_at(rule, "/toPort"));
    let ports = match (from, to) {
        (Some(from), Some(to)) if from == to => format!(" {from}"),
        (Some(from), Some(to)) => format!(" {from}-{to}"),
        (Some(port), None) | (None, Some(port)) => format!(" {port}"),
        (None, None) => String::new(),
    };
    let peer = first_text(
        rule,
        &[
            "/cidrIp",
            "/ipRanges/items/0/cidrIp",
            "/ipv6Ranges/items/0/cidrIpv6",
            "/groups/items/0/groupId",
            "/prefixListIds/items/0/prefixListId",
        ],
    );
    let peer = peer.map_or(String::new(), |peer| format!(" {preposition} {peer}"));
    Some(format!("{protocol}{ports}{peer}"))
}

/// Whom the policy in the request trusts.
fn trust(request: &Value) -> Option<String> {
    const DOCUMENTS: [&str; 6] = [
        "policyDocument",
        "assumeRolePolicyDocument",
        "bucketPolicy",
        "policy",
        "resourcePolicy",
        "policyText",
    ];
    let principals = DOCUMENTS
        .iter()
        .filter_map(|member| request.get(*member))
        .map(allowed_principals)
        .find(|principals| !principals.is_empty())?;
    let named: Vec<String> = principals
        .iter()
        .take(SHOWN_MAX)
        .map(|principal| principal_phrase(principal))
        .collect();
    Some(format!("trusting {}", with_more(&named, principals.len())))
}

/// `account 111122223333`, `everybody`, or the name itself.
fn principal_phrase(principal: &str) -> String {
    let is_account = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    let account = principal.split(':').nth(4).unwrap_or_default();
    if principal == "*" {
        "everybody".to_owned()
    } else if is_account(principal) {
        format!("account {principal}")
    } else if principal.ends_with(":root") && is_account(account) {
        format!("account {account}")
    } else if is_account(account) {
        format!("{} of account {account}", label(principal))
    } else {
        principal.to_owned()
    }
}

fn with_more(named: &[String], of: usize) -> String {
    match of.saturating_sub(named.len()) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// The first number or text of this member, at any depth.
fn find(value: &Value, member: &str, depth: usize) -> Option<String> {
    const DEPTH_MAX: usize = 8;
    if depth == DEPTH_MAX {
        return None;
    }
    match value {
        Value::Object(members) => members.iter().find_map(|(name, value)| match value {
            Value::Number(number) if name == member => Some(number.to_string()),
            Value::String(text) if name == member => Some(text.clone()),
            _ => find(value, member, depth + 1),
        }),
        Value::Array(list) => list.iter().find_map(|value| find(value, member, depth + 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
