//! Endpoints of the OCI distribution specification 1.1, called after its table "Endpoints".
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

use domain::plan::EvidenceLifetime::State;
use evidence_format::coverage::GapReason;

use super::hidden;
use crate::recorder::{BodyFilter, HiddenValue};
use crate::rest::ValueFrom::{BodyDigest, Element, Record};
use crate::rest::row::HOUR;
use crate::rest::{
    ChildEndpoint, ChildRepeat, Condition, Endpoint, EndpointQuota, Paging, RestOffer,
};

/// Docker Hub counts manifests: 100 in six hours without a login, 200 with one. Others publish no
/// limit.
static API: EndpointQuota = EndpointQuota::per_minute("api", 300, 4);

/// All that a manifest may be, so that the registry does not convert it.
const MANIFEST_TYPES: &[(&str, &str)] = &[("accept",
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json")];

/// Where registries keep blobs: Docker Hub, GHCR, Quay, and the clouds.
const BLOB_HOSTS: &[&str] = &[
    ".cloudflare.docker.com", ".cloudfront.docker.com", ".r2.cloudflarestorage.com",
    "pkg-containers.githubusercontent.com", ".quay.io", ".amazonaws.com", ".cloudfront.net",
    ".blob.core.windows.net", "storage.googleapis.com",
];

/// Values of environment variables are often secrets; their names say what an image expects.
const ENVIRONMENT: BodyFilter = BodyFilter::of_optional_json(&[
    HiddenValue {
        path: "/config/Env/*",
        what: "value of an environment variable",
        replace: |_, variable| hidden::without_value(variable.get()),
    },
    HiddenValue {
        path: "/container_config/Env/*",
        what: "value of an environment variable",
        replace: |_, variable| hidden::without_value(variable.get()),
    },
]);

pub(super) static ME: Endpoint = Endpoint::get("registry:end-1", "/v2/").quota(&API);

const fn manifest(children: &'static [ChildEndpoint]) -> Endpoint {
    Endpoint::get("registry:end-3", "/v2/{repository_path}/manifests/{reference_path}")
        .headers(MANIFEST_TYPES).object("", "", "").quota(&API).grant("pull")
        .children(children)
}

/// Signatures, attestations and lists of parts that refer to a manifest. Registries of before 2024
/// do not know the request.
static REFERRERS: Endpoint =
    Endpoint::get("registry:end-12a", "/v2/{repository_path}/referrers/{digest_path}")
        .objects("/manifests", "/digest", "", "/artifactType").pages(Paging::Link)
        .losses(&[(404, Some(GapReason::Unsupported))]).quota(&API).grant("pull");
static SETTINGS: Endpoint =
    Endpoint::get("registry:end-2", "/v2/{repository_path}/blobs/{blob_path}")
        .hides(ENVIRONMENT).redirects_to(BLOB_HOSTS).quota(&API).grant("pull");
const REFERRERS_OF: ChildEndpoint =
    ChildEndpoint::of(&REFERRERS).takes(&[("digest_path", BodyDigest)]);
const SETTINGS_OF: ChildEndpoint =
    ChildEndpoint::of(&SETTINGS).takes(&[("blob_path", Record("/config/digest"))])
        .only(&[Condition::OneOf(Record("/config/mediaType"), &[
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.docker.container.image.v1+json",
        ])]);
/// An image for one platform, of an index.
static PLATFORM: Endpoint = manifest(&[REFERRERS_OF, SETTINGS_OF]);
static MANIFEST: Endpoint = manifest(&[
    REFERRERS_OF, SETTINGS_OF,
    ChildEndpoint::of(&PLATFORM).each(ChildRepeat::Elements("/manifests"))
        .takes(&[("reference_path", Element("/digest"))]),
]);
/// Google's registries add when each manifest was uploaded.
static TAGS: Endpoint =
    Endpoint::get("registry:end-8b", "/v2/{repository_path}/tags/list?n=100")
        .objects("/tags", "", "", "").pages(Paging::Link).quota(&API).grant("pull")
        .children(&[ChildEndpoint::of(&MANIFEST).takes(&[("reference_path", Record(""))])]);
static REPOSITORIES: Endpoint =
    Endpoint::get("registry:catalog", "/v2/_catalog?n=100")
        .objects("/repositories", "", "", "").pages(Paging::Link).named_by("repository_path")
        .quota(&API).grant("registry:catalog:*")
        .children(&[ChildEndpoint::of(&TAGS).takes(&[("repository_path", Record(""))])]);

/// A tag moves with each release.
pub(super) static OFFERS: &[&RestOffer] = &[
    &RestOffer::new("registry-images",
        "tags, manifests, settings of images, and what refers to them, such as signatures",
        State(HOUR), "https://github.com/opencontainers/distribution-spec/blob/main/spec.md")
        .full_page(100, 4_000).roots(&[&REPOSITORIES]),
];
