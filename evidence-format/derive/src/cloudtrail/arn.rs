//! Names of resources (AWS General Reference, "Amazon Resource Names").

use crate::{EntityKind, EntityRef};

/// An entity that an ARN names, with its account as the scope.
pub(super) fn entity(kind: EntityKind, id: &str) -> EntityRef {
    let account = id
        .strip_prefix("arn:")
        .and_then(|rest| rest.split(':').nth(3));
    EntityRef::new(kind, id)
        .named(Some(&label(id)))
        .scoped(account)
}

/// What people call the object of an ARN: `AdministratorAccess` for
/// `arn:aws:iam::aws:policy/AdministratorAccess`, `bucket/key` for an object in S3. Other texts are
/// their own label.
pub(super) fn label(id: &str) -> String {
    let mut parts = id.splitn(6, ':');
    let is_arn = parts.next() == Some("arn");
    let (_, service) = (parts.next(), parts.next().unwrap_or_default());
    let resource = parts.nth(2).filter(|_| is_arn).unwrap_or(id);
    if !is_arn || service == "s3" {
        return resource.to_owned();
    }
    let name = resource
        .split_once(['/', ':'])
        .map_or(resource, |(_, name)| name);
    // Paths of IAM are for sorting, not names.
    let name = match service {
        "iam" | "sts" => name.rsplit('/').next().unwrap_or(name),
        _ => name,
    };
    if name.is_empty() { resource } else { name }.to_owned()
}
