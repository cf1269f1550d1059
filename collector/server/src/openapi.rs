//! The description of the API, made of the table of routes and of the types that they take and
//! give. `openapi.json` beside this file is what it says now; a test holds it current, so that a
//! change of the API is seen in review.

use std::collections::{BTreeMap, BTreeSet};

use http::{Method, StatusCode};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ComponentsBuilder, ContentBuilder, Info, InfoBuilder, License, OpenApi,
    OpenApiBuilder, PathItem, PathsBuilder, Ref, RefOr, Required, Response, ResponseBuilder,
    Schema, Server,
};
use utoipa::{PartialSchema, ToSchema};

use super::body::Json;
use super::error::{Code, PROBLEM_JSON, ProblemBody};
use super::routes::{ROUTES, ResourceScope, Route};
use super::shapes::texts::{DigestText, IncidentIdText, TokenIdText, several, text, word};
use super::shapes::{Schemas, add};
use domain::trigger::Vendor;

/// The name of how a client says who it is.
const BEARER: &str = "token";

/// The schema of a type, by its name, and those that it names in turn.
pub(super) type Shape = fn() -> Schemas;

/// [`Shape`] of a type.
pub(super) fn shape<T: ToSchema>() -> Schemas {
    let mut schemas = Schemas::new();
    add::<T>(&mut schemas);
    schemas
}

/// What a request has in its body.
#[derive(Debug, Clone, Copy)]
pub(super) enum Takes {
    Nothing,
    Json(Shape),
    Bytes,
}

/// What an answer has in its body, and its media type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gives {
    Nothing,
    Json(Shape),
    Text(&'static str),
    Bytes(&'static str),
}

/// A parameter of a URL, or a line of a header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) about: &'static str,
}

/// What a parameter is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    One(fn() -> RefOr<Schema>),
    /// It may be repeated.
    Many(fn() -> RefOr<Schema>),
}

impl Kind {
    fn schema(self) -> RefOr<Schema> {
        match self {
            Self::One(schema) => schema(),
            Self::Many(schema) => several(schema()),
        }
    }
}

/// `GET /v1/openapi.json`.
pub(super) async fn read() -> Json<OpenApi> {
    Json(document())
}

/// The whole description.
pub(super) fn document() -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut schemas: BTreeMap<String, RefOr<Schema>> = shape::<ProblemBody>().into_iter().collect();
    for route in ROUTES {
        if let Takes::Json(shape) = route.takes {
            schemas.extend(shape());
        }
        for (_, gives) in route.gives {
            if let Gives::Json(shape) = gives {
                schemas.extend(shape());
            }
        }
        paths = paths.path(
            route.path,
            PathItem::new(method(&route.method), operation(route)),
        );
    }
    let here = Server::new("/");
    OpenApiBuilder::new()
        .info(info())
        .servers(Some([here]))
        .paths(paths)
        .components(Some(components(schemas)))
        .build()
}

fn info() -> Info {
    let about = "Declares incidents, captures their evidence, and gives it out. What is added to an answer is no new version; nothing \
        is renamed or removed.";
    let license = License::builder()
        .name("Apache-2.0")
        .identifier(Some("Apache-2.0"))
        .build();
    InfoBuilder::new()
        .title("Exhibit")
        .version("1")
        .description(Some(about))
        .license(Some(license))
        .build()
}

fn components(schemas: BTreeMap<String, RefOr<Schema>>) -> Components {
    let about = "A token of `exhibit token create`, or one of the configured identity provider.";
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(about))
        .build();
    ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme(BEARER, SecurityScheme::Http(bearer))
        .build()
}

fn method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn operation(route: &Route) -> Operation {
    let mut operation = OperationBuilder::new()
        .summary(Some(route.about))
        .operation_id(Some(name(route)));
    if route.who.is_empty() {
        operation = operation.securities(Some([])); // said, so that nobody takes it for forgotten
    } else {
        let roles: Vec<_> = route.who.iter().map(|role| role.as_str()).collect();
        operation = operation.description(Some(format!("Roles: {}.", roles.join(", "))));
        operation = operation.security(SecurityRequirement::new(BEARER, Vec::<String>::new()));
    }
    operation = named(route)
        .into_iter()
        .fold(operation, OperationBuilder::parameter);
    for (place, params) in [
        (ParameterIn::Query, route.query),
        (ParameterIn::Header, route.sends),
    ] {
        let params = params.iter().map(|param| parameter(param, place.clone()));
        operation = params.fold(operation, OperationBuilder::parameter);
    }
    let content = match route.takes {
        Takes::Nothing => None,
        Takes::Json(shape) => Some((
            "application/json",
            ContentBuilder::new().schema(Some(reference(shape))).build(),
        )),
        Takes::Bytes => Some(("application/octet-stream", ContentBuilder::new().build())),
    };
    let required = if matches!(route.takes, Takes::Bytes) {
        Required::False
    } else {
        Required::True
    }; // no bytes are bytes, too
    let body = content.map(|(kind, content)| {
        RequestBodyBuilder::new()
            .content(kind, content)
            .required(Some(required))
            .build()
    });
    operation = operation.request_body(body);
    let statuses: BTreeSet<u16> = route.gives.iter().map(|(status, _)| *status).collect();
    for status in statuses {
        operation = operation.response(status.to_string(), answer(route, status));
    }
    for (status, titles) in problems(route) {
        let content = ContentBuilder::new()
            .schema(Some(reference(shape::<ProblemBody>)))
            .build();
        let response = ResponseBuilder::new()
            .description(titles)
            .content(PROBLEM_JSON, content);
        operation = operation.response(status.as_str(), with_id(response).build());
    }
    operation.build()
}

/// What the path names.
fn named(route: &Route) -> Option<Parameter> {
    let (_, rest) = route.path.split_once('{')?;
    let name = rest.split('}').next().unwrap_or_default();
    let schema = match (name, route.reach) {
        ("vendor", _) => word(Vendor::ALL.map(Vendor::name)),
        (_, ResourceScope::Incident) => IncidentIdText::schema(),
        (_, ResourceScope::Bundle) => DigestText::schema(),
        _ => TokenIdText::schema(),
    };
    let parameter = ParameterBuilder::new()
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .name(name);
    Some(parameter.schema(Some(schema)).build())
}

/// `readIncident`: the last words of the path, after what is done.
fn name(route: &Route) -> String {
    let verb = match route.method {
        Method::POST => "post",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    };
    let words = route
        .path
        .split('/')
        .filter(|word| !word.is_empty() && *word != "v1");
    let word = |word: &str| {
        let word = if word.starts_with('{') {
            "one"
        } else {
            word.trim_end_matches(".json")
        };
        word[..1].to_uppercase() + &word[1..]
    };
    words.fold(verb.to_owned(), |name, part| name + &word(part))
}

fn parameter(param: &Param, place: ParameterIn) -> Parameter {
    let parameter = ParameterBuilder::new()
        .parameter_in(place)
        .name(param.name)
        .description(Some(param.about));
    parameter.schema(Some(param.kind.schema())).build()
}

/// An answer of this status, in each form that it has.
fn answer(route: &Route, status: u16) -> Response {
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    let mut response = with_id(ResponseBuilder::new().description(reason));
    for tells in route.tells.iter().filter(|tells| tells.0 == status) {
        let header = HeaderBuilder::new()
            .schema(Some(tells.1.kind.schema()))
            .description(Some(tells.1.about));
        response = response.header(tells.1.name, header.build());
    }
    let mut json = Vec::new();
    for (_, gives) in route.gives.iter().filter(|gives| gives.0 == status) {
        response = match gives {
            Gives::Nothing => response,
            Gives::Json(shape) => {
                json.push(reference(*shape));
                response
            }
            Gives::Text(kind) => response.content(
                *kind,
                ContentBuilder::new().schema(Some(String::schema())).build(),
            ),
            Gives::Bytes(kind) => response.content(*kind, ContentBuilder::new().build()),
        };
    }
    let schema = match json.len() {
        0 => return response.build(),
        1 => json.remove(0),
        _ => json
            .into_iter()
            .fold(AnyOfBuilder::new(), AnyOfBuilder::item)
            .into(),
    };
    response
        .content(
            "application/json",
            ContentBuilder::new().schema(Some(schema)).build(),
        )
        .build()
}

/// What every answer tells.
fn with_id(response: ResponseBuilder) -> ResponseBuilder {
    let header = HeaderBuilder::new()
        .schema(Some(text()))
        .description(Some("Names the request in the collector's log"));
    response.header("X-Request-Id", header.build())
}

fn reference(shape: Shape) -> RefOr<Schema> {
    let (name, _) = shape()
        .into_iter()
        .next()
        .expect("the type itself comes first");
    RefOr::Ref(Ref::from_schema_name(name))
}

/// What may be answered instead, by status: what each of its codes means.
fn problems(route: &Route) -> BTreeMap<StatusCode, String> {
    let mut codes = Vec::new();
    if !route.who.is_empty() {
        codes.extend([
            Code::Unauthenticated,
            Code::Forbidden,
            Code::Invalid,
            Code::Unavailable,
            Code::Internal,
        ]);
    }
    if route.path.contains('{') {
        codes.push(Code::NotFound);
    }
    match route.path {
        "/v1/hooks/{vendor}" => {
            codes.extend([
                Code::Unauthenticated,
                Code::Invalid,
                Code::Refused,
                Code::Unavailable,
                Code::Internal,
            ]);
        }
        "/metrics" => codes.extend([Code::Unavailable, Code::Internal]),
        _ => {}
    }
    match route.takes {
        Takes::Nothing => {}
        Takes::Bytes => codes.extend([Code::Timeout, Code::TooLarge, Code::Malformed]),
        Takes::Json(_) => {
            codes.extend([
                Code::Timeout,
                Code::TooLarge,
                Code::UnsupportedMediaType,
                Code::Malformed,
                Code::Conflict,
                Code::Refused,
            ]);
        }
    }
    if route.path.ends_with("/close") {
        codes.push(Code::NotReadyToClose);
    }
    if route.reach == ResourceScope::Bundle {
        codes.push(Code::RangeNotSatisfiable);
    }
    let mut problems: BTreeMap<StatusCode, String> = BTreeMap::new();
    for (_, status, name, title) in Code::ALL
        .into_iter()
        .filter(|(code, ..)| codes.contains(code))
    {
        let said = problems.entry(status).or_default();
        *said += &format!(
            "{}{title} ({name})",
            if said.is_empty() { "" } else { "; " }
        );
    }
    problems
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;

    const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/openapi.json");

    /// Set to anything, the file is written anew.
    const UPDATE: &str = "EXHIBIT_UPDATE_SNAPSHOTS";

    #[test]
    fn the_file_says_what_the_code_says() {
        let current = serde_json::to_string_pretty(&document()).expect("JSON") + "\n";
        if std::env::var_os(UPDATE).is_some() {
            fs::write(SNAPSHOT, &current).expect("own file");
        }
        let committed = fs::read_to_string(SNAPSHOT).unwrap_or_default();
        assert!(
            committed == current,
            "{SNAPSHOT} is not what the code says: run this test with {UPDATE}=1, and read what changed"
        );
    }

    #[test]
    fn every_route_is_described_once_and_every_reference_leads_somewhere() {
        let json = serde_json::to_value(document()).expect("JSON");
        assert!(
            json["openapi"]
                .as_str()
                .is_some_and(|version| version.starts_with("3.1")),
            "{}",
            json["openapi"]
        );
        let mut names = BTreeSet::new();
        for route in ROUTES {
            let operation = &json["paths"][route.path][route.method.as_str().to_lowercase()];
            assert!(
                names.insert(
                    operation["operationId"]
                        .as_str()
                        .expect("a name")
                        .to_owned()
                ),
                "{operation}"
            );
            assert_eq!(
                operation["security"].as_array().map(Vec::is_empty),
                Some(route.who.is_empty()),
                "{operation}"
            );
            assert!(
                operation["responses"]
                    .as_object()
                    .is_some_and(|responses| !responses.is_empty()),
                "{operation}"
            );
            let refuses = ["401", "403"]
                .iter()
                .all(|status| operation["responses"][status].is_object());
            assert!(refuses || route.who.is_empty(), "{operation}");
        }
        let mut references = 0;
        each(&json, &mut |value| {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                assert!(
                    json.pointer(reference.trim_start_matches('#')).is_some(),
                    "{reference} leads nowhere"
                );
                references += 1;
            }
        });
        assert!(
            references > 50,
            "a document without references describes nothing"
        );
    }

    fn each(value: &Value, visit: &mut impl FnMut(&Value)) {
        visit(value);
        match value {
            Value::Array(list) => list.iter().for_each(|value| each(value, visit)),
            Value::Object(members) => members.values().for_each(|value| each(value, visit)),
            _ => {}
        }
    }
}
