//! Accounts: passwd(5), group(5), and the keys that may log in (sshd(8)).

use data_encoding::{BASE64, BASE64_NOPAD};
use evidence_format::digest::Digest;

use super::{HostRecord, lines, user};
use crate::{Derivation, EdgeRelation, EntityKind, EntityRef, ObjectEdge, ObservedObject};

pub(super) fn passwd(file: &HostRecord<'_>, visit: &mut dyn FnMut(Derivation)) {
    for line in lines(file.record) {
        let fields: Vec<&str> = line.split(':').collect();
        let &[name, _, uid, gid, _, home, shell] = &fields[..] else {
            continue;
        };
        visit(Derivation::Object(ObservedObject {
            entity: user(name),
            version: format!("{uid}:{gid}:{home}:{shell}"),
            created_at: None,
            summary: format!("account {name}, uid {uid}, shell {shell}"),
        }));
    }
}

pub(super) fn group(file: &HostRecord<'_>, visit: &mut dyn FnMut(Derivation)) {
    for line in lines(file.record) {
        let fields: Vec<&str> = line.split(':').collect();
        let &[group, _, _, members] = &fields[..] else {
            continue;
        };
        for member in members.split(',').filter(|member| !member.is_empty()) {
            visit(Derivation::Edge(ObjectEdge {
                from: user(member),
                relation: EdgeRelation::MemberOf,
                to: EntityRef::new(EntityKind::Group, group),
                condition: None,
            }));
        }
    }
}

/// `[options] ssh-ed25519 AAAA… comment`
pub(super) fn authorized_keys(file: &HostRecord<'_>, visit: &mut dyn FnMut(Derivation)) {
    // `/home/alice/.ssh/authorized_keys`, `/root/.ssh/authorized_keys`
    let owner = file
        .path
        .rsplit_once("/.ssh/")
        .and_then(|(home, _)| home.rsplit('/').next());
    let Some(owner) = owner else { return };
    for line in lines(file.record).filter(|line| !line.starts_with('#')) {
        // The key is the first word that decodes and names its own type; options come before it.
        let key = line.split(' ').enumerate().find_map(|(at, word)| {
            let blob = BASE64.decode(word.as_bytes()).ok()?;
            (word.starts_with("AAAA") && blob.len() > 4).then_some((at, blob))
        });
        let Some((at, blob)) = key else { continue };
        let comment = line.splitn(at + 3, ' ').nth(at + 1);
        let comment = comment.map(|rest| rest.trim());
        let fingerprint = format!(
            "SHA256:{}",
            BASE64_NOPAD.encode(Digest::of(&blob).as_bytes())
        );
        visit(Derivation::Edge(ObjectEdge {
            from: user(owner),
            relation: EdgeRelation::Trusts,
            to: EntityRef::new(EntityKind::Credential, fingerprint).named(comment),
            condition: Some("may log in with it over SSH".to_owned()),
        }));
    }
}
