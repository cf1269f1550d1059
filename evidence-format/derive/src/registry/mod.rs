//! Registries of container images: what tags mean, what images are made of, and what refers to them.
//!
//! Endpoints are called as in the OCI distribution specification. When an image was built is what its
//! builder claims; only some registries say when it was pushed.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

#[cfg(test)]
mod tests;

use evidence_format::digest::Digest;
use serde_json::Value;

use crate::EdgeRelation::PartOf;
use crate::element::{JsonElement, edge, visit_event};
use crate::json::{first_text, id_at, list_at, parse_record, text_at};
use crate::{
    ActivityCategory, ActivityOutcome, Derivation, Deriver, EntityKind, EntityRef, ObservedObject,
    RecordContext, ocsf,
};

/// Names of layers, platforms and variables in a line.
const SHOWN_MAX: usize = 8;

/// Annotations and labels that name the code that an image was built from.
/// <https://github.com/opencontainers/image-spec/blob/main/annotations.md>
const REVISION: &str = "org.opencontainers.image.revision";
const SOURCE: &str = "org.opencontainers.image.source";

/// Reads records of OCI registries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RegistryDeriver;

impl Deriver for RegistryDeriver {
    fn name(&self) -> &'static str {
        "registry"
    }

    fn version(&self) -> u32 {
        1
    }

    fn derive(&self, record: &RecordContext<'_>, visit: &mut dyn FnMut(Derivation)) {
        if !matches!(record.status, 0 | 200..=299) {
            return;
        }
        let Some(value) = parse_record(record.bytes) else {
            return;
        };
        let element = &JsonElement::new(record, &value);
        match record.endpoint {
            "registry:end-8b" => uploads(element, visit),
            "registry:end-3" => manifest(element, visit),
            "registry:end-12a" => referrers(element, visit),
            "registry:end-2" => settings(element, visit),
            _ => {}
        }
    }
}

/// Where a request leads to: the repository, and what of it.
struct RegistryPath<'u> {
    /// With the registry: `registry.example.com/acme/shop`.
    repository: String,
    reference: &'u str,
}

impl<'u> RegistryPath<'u> {
    /// Of `https://registry.example.com/v2/acme/shop/manifests/1.2`, if `part` is `/manifests/`.
    fn of(record: &RecordContext<'u>, part: &str) -> Option<Self> {
        let path = record.uri.split(['?', '#']).next()?;
        let (_, path) = path.split_once("/v2/")?;
        let (name, reference) = path.rsplit_once(part)?;
        let repository = match record.account {
            Some(host) => format!("{host}/{name}"),
            None => name.to_owned(),
        };
        Some(Self {
            repository,
            reference,
        })
    }

    /// A manifest by its digest, which is the same in every registry.
    fn manifest(&self, digest: &str) -> EntityRef {
        let name = format!("{}@{digest}", self.repository);
        EntityRef::new(EntityKind::Artifact, digest).named(Some(&name))
    }
}

/// Times of upload, which Google's registries add to a list of tags.
fn uploads(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(place) = RegistryPath::of(element.context, "/tags/") else {
        return;
    };
    let manifests = element.value.get("manifest").and_then(Value::as_object);
    for (digest, manifest) in manifests.into_iter().flatten() {
        if id_at(manifest, "/timeUploadedMs").is_none() {
            continue;
        }
        let manifest = &JsonElement::new(element.context, manifest);
        let times = ["/timeUploadedMs"];
        let mut event = manifest.event(&times, ActivityCategory::Change, "manifest/upload");
        (event.class, event.activity) = (ocsf::API_ACTIVITY, ocsf::CREATE);
        event.outcome = ActivityOutcome::Success;
        let tags = list_at(manifest.value, "/tag").iter();
        let tags: Vec<&str> = tags.filter_map(Value::as_str).collect();
        event.targets = vec![place.manifest(digest)];
        event.event_id = Some(format!("upload {}@{digest}", place.repository));
        event.summary = format!("upload of {}@{digest}", place.repository);
        if !tags.is_empty() {
            event
                .summary
                .push_str(&format!(", tagged {}", tags.join(", ")));
        }
        visit_event(event, visit);
    }
}

fn manifest(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(place) = RegistryPath::of(element.context, "/manifests/") else {
        return;
    };
    // A manifest is called by the digest of its bytes.
    let digest = format!("sha256:{}", Digest::of(element.context.bytes).hex());
    let image = place.manifest(&digest);
    let platforms = list_at(element.value, "/manifests");
    let layers = list_at(element.value, "/layers");
    let mut summary = if platforms.is_empty() {
        let bytes: u64 = layers
            .iter()
            .filter_map(|layer| layer.get("size").and_then(Value::as_u64))
            .fold(0, u64::saturating_add);
        format!("image of {} layers, {bytes} bytes", layers.len())
    } else {
        format!("index of {}", shown(platforms.iter().map(platform)))
    };
    let annotations = element.value.get("annotations");
    summary += &provenance_words(annotations);
    visit(object(image.clone(), &digest, summary));
    for part in platforms {
        if let Some(part) = text_at(part, "/digest") {
            visit(edge(place.manifest(part), PartOf, image.clone(), None));
        }
    }
    if let Some(subject) = element.text("/subject/digest") {
        let condition = element.first(&["/artifactType", "/config/mediaType"]);
        let subject = place.manifest(subject);
        visit(edge(
            image.clone(),
            PartOf,
            subject,
            condition.map(str::to_owned),
        ));
    }
    if let Some(settings) = element.text("/config/digest") {
        let settings = settings_entity(&place, settings);
        visit(edge(settings, PartOf, image.clone(), None));
    }
    provenance(&image, annotations, visit);
    if !place.reference.starts_with("sha256:") {
        let name = format!("{}:{}", place.repository, place.reference);
        let tag = EntityRef::new(EntityKind::Artifact, name);
        visit(object(
            tag.clone(),
            &digest,
            format!("tag {} of {digest}", tag.id),
        ));
        visit(edge(
            image,
            PartOf,
            tag,
            Some("is what the tag means".to_owned()),
        ));
    }
}

/// `linux/arm64`, or what it is if it runs nowhere.
fn platform(manifest: &Value) -> String {
    let part = |name: &str| text_at(manifest, &format!("/platform/{name}"));
    match (part("os"), part("architecture")) {
        (Some("unknown"), _) | (None, _) | (_, None) => {
            let annotations = manifest.get("annotations").unwrap_or(&Value::Null);
            let kind = text_at(annotations, "/vnd.docker.reference.type");
            kind.unwrap_or("something").to_owned()
        }
        (Some(os), Some(architecture)) => format!("{os}/{architecture}"),
    }
}

fn referrers(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(place) = RegistryPath::of(element.context, "/referrers/") else {
        return;
    };
    let subject = place.manifest(place.reference);
    for referrer in list_at(element.value, "/manifests") {
        let Some(digest) = text_at(referrer, "/digest") else {
            continue;
        };
        let entity = place.manifest(digest);
        let kind = first_text(referrer, &["/artifactType", "/mediaType"]).unwrap_or("something");
        let summary = format!("{kind} of {}", place.reference);
        visit(object(entity.clone(), digest, summary));
        visit(edge(entity, PartOf, subject.clone(), Some(kind.to_owned())));
    }
}

fn settings_entity(place: &RegistryPath<'_>, digest: &str) -> EntityRef {
    let name = format!("settings of an image in {}", place.repository);
    EntityRef::new(EntityKind::Artifact, digest).named(Some(&name))
}

fn settings(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(place) = RegistryPath::of(element.context, "/blobs/") else {
        return;
    };
    let settings = settings_entity(&place, place.reference);
    let mut summary = format!(
        "{}{}",
        settings.label(),
        element.words(&["/os", "/architecture", "/author", "/config/User"])
    );
    if let Some(built) = element.text("/created") {
        summary.extend([", says it was built ", built]);
    }
    let variables = list_at(element.value, "/config/Env").iter();
    let variables = variables.filter_map(|one| one.as_str()?.split('=').next());
    let variables = shown(variables.map(str::to_owned));
    if !variables.is_empty() {
        summary.extend([", expects ", &variables]);
    }
    let labels = element.value.pointer("/config/Labels");
    summary += &provenance_words(labels);
    visit(object(settings.clone(), place.reference, summary));
    provenance(&settings, labels, visit);
}

/// `, revision 1f2e…, source https://…`.
fn provenance_words(annotations: Option<&Value>) -> String {
    let words = [("revision", REVISION), ("source", SOURCE)].into_iter();
    let words = words.filter_map(|(word, name)| {
        let text = annotations?.get(name)?.as_str()?;
        Some(format!(", {word} {text}"))
    });
    words.collect()
}

/// The commit and the repository that something says it was built from.
fn provenance(built: &EntityRef, annotations: Option<&Value>, visit: &mut dyn FnMut(Derivation)) {
    let text = |name: &str| {
        annotations?
            .get(name)?
            .as_str()
            .filter(|text| !text.is_empty())
    };
    let condition = || Some("says that it was built from it".to_owned());
    if let Some(revision) = text(REVISION) {
        let commit = EntityRef::new(EntityKind::Commit, revision);
        visit(edge(built.clone(), PartOf, commit, condition()));
    }
    if let Some(source) = text(SOURCE) {
        let path = source
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split_once('/'));
        let name = path.map_or(source, |(_, path)| path);
        let name = name.trim_end_matches('/').trim_end_matches(".git");
        let repository = EntityRef::new(EntityKind::Repository, name);
        visit(edge(built.clone(), PartOf, repository, condition()));
    }
}

fn object(entity: EntityRef, version: &str, summary: String) -> Derivation {
    Derivation::Object(ObservedObject {
        entity,
        version: version.to_owned(),
        created_at: None,
        summary,
    })
}

/// The first of `names`, and how many more there are.
fn shown(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(SHOWN_MAX);
    names.truncate(SHOWN_MAX);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}
