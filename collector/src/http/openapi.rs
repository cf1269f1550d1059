//! The description of the API, made of the table of routes and of the types that they take and give. `openapi.json` beside this
//! file is what it says now; a test holds it current, so that a change of the API is seen in review.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ComponentsBuilder, ContentBuilder, Info, InfoBuilder, License, OpenApi, OpenApiBuilder, PathItem, PathsBuilder,
    Ref, RefOr, Required, Response, ResponseBuilder, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use super::body::Json;
use super::error::{Code, PROBLEM_JSON, ProblemBody};
use super::routes::{ROUTES, Reach, Route};
use crate::incident::{Severity, Status};
use crate::store::ledger::TokenRole;

/// The name of how a client says who it is.
const BEARER: &str = "token";

/// The schema of a type, by its name, and those that it names in turn.
pub(super) type Shape = fn() -> Vec<(String, RefOr<Schema>)>;

/// [`Shape`] of a type.
pub(super) fn shape<T: ToSchema>() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
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

/// A parameter of a URL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) about: &'static str,
}

/// What a parameter is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// It may be repeated.
    Texts,
    Time,
    Number,
}

/// A time, as all of them are written.
pub(super) struct Time;
/// How bad an incident is.
pub(super) struct SeverityText;
/// How far its response is.
pub(super) struct StatusText;
/// What whoever holds a token may do.
pub(super) struct RoleText;

fn text_of<T: ToString>(words: impl IntoIterator<Item = T>) -> RefOr<Schema> {
    let words: Vec<String> = words.into_iter().map(|word| word.to_string()).collect();
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        let about = "RFC 3339 in UTC, with Z and no trailing zeros: 2026-11-23T13:40:17.25Z";
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).description(Some(about)).into()
    }
}

impl PartialSchema for SeverityText {
    fn schema() -> RefOr<Schema> {
        text_of(Severity::ALL)
    }
}

impl PartialSchema for StatusText {
    fn schema() -> RefOr<Schema> {
        text_of(Status::ALL)
    }
}

impl PartialSchema for RoleText {
    fn schema() -> RefOr<Schema> {
        text_of(TokenRole::all())
    }
}

impl ToSchema for Time {}
impl ToSchema for SeverityText {}
impl ToSchema for StatusText {}
impl ToSchema for RoleText {}

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
        paths = paths.path(route.path, PathItem::new(method(&route.method), operation(route)));
    }
    OpenApiBuilder::new().info(info()).paths(paths).components(Some(components(schemas))).build()
}

fn info() -> Info {
    let about = "Declares incidents, captures their evidence, and gives it out. What is added to an answer is no new version; nothing \
        is renamed or removed.";
    let license = License::builder().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    InfoBuilder::new().title("Exhibit").version("1").description(Some(about)).license(Some(license)).build()
}

fn components(schemas: BTreeMap<String, RefOr<Schema>>) -> Components {
    let about = "A token of `exhibit token create`, or one of the configured identity provider.";
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(about)).build();
    ComponentsBuilder::new().schemas_from_iter(schemas).security_scheme(BEARER, SecurityScheme::Http(bearer)).build()
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
    let mut operation = OperationBuilder::new().summary(Some(route.about)).operation_id(Some(name(route)));
    if !route.who.is_empty() {
        let roles: Vec<_> = route.who.iter().map(|role| role.as_str()).collect();
        operation = operation.description(Some(format!("Roles: {}.", roles.join(", "))));
        operation = operation.security(SecurityRequirement::new(BEARER, Vec::<String>::new()));
    }
    if let Some((_, rest)) = route.path.split_once('{') {
        let name = rest.split('}').next().unwrap_or_default();
        let parameter = ParameterBuilder::new().parameter_in(ParameterIn::Path).required(Required::True).name(name);
        operation = operation.parameter(parameter.schema(Some(String::schema())).build());
    }
    for param in route.query {
        operation = operation.parameter(parameter(param));
    }
    let content = match route.takes {
        Takes::Nothing => None,
        Takes::Json(shape) => Some(("application/json", ContentBuilder::new().schema(Some(reference(shape))).build())),
        Takes::Bytes => Some(("application/octet-stream", ContentBuilder::new().build())),
    };
    let body =
        content.map(|(kind, content)| RequestBodyBuilder::new().content(kind, content).required(Some(Required::True)).build());
    operation = operation.request_body(body);
    for (status, gives) in route.gives {
        operation = operation.response(status.to_string(), answer(*status, *gives));
    }
    for (code, status, title) in problems(route) {
        let content = ContentBuilder::new().schema(Some(reference(shape::<ProblemBody>))).build();
        let response = ResponseBuilder::new().description(format!("{title} ({code})")).content(PROBLEM_JSON, content).build();
        operation = operation.response(status.as_str(), response);
    }
    operation.build()
}

/// `readIncident`: the last words of the path, after what is done.
fn name(route: &Route) -> String {
    let verb = match route.method {
        Method::POST => "post",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    };
    let words = route.path.split('/').filter(|word| !word.is_empty() && *word != "v1");
    let word = |word: &str| {
        let word = if word.starts_with('{') { "one" } else { word.trim_end_matches(".json") };
        word[..1].to_uppercase() + &word[1..]
    };
    words.fold(verb.to_owned(), |name, part| name + &word(part))
}

fn parameter(param: &Param) -> Parameter {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let schema: RefOr<Schema> = match param.kind {
        Kind::Text => text().into(),
        Kind::Texts => ArrayBuilder::new().items(text()).into(),
        Kind::Time => Time::schema(),
        Kind::Number => ObjectBuilder::new().schema_type(Type::Integer).into(),
    };
    let parameter = ParameterBuilder::new().parameter_in(ParameterIn::Query).name(param.name).description(Some(param.about));
    parameter.schema(Some(schema)).build()
}

fn answer(status: u16, gives: Gives) -> Response {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    let response = ResponseBuilder::new().description(reason);
    match gives {
        Gives::Nothing => response.build(),
        Gives::Json(shape) => {
            response.content("application/json", ContentBuilder::new().schema(Some(reference(shape))).build()).build()
        }
        Gives::Text(kind) => response.content(kind, ContentBuilder::new().schema(Some(String::schema())).build()).build(),
        Gives::Bytes(kind) => response.content(kind, ContentBuilder::new().build()).build(),
    }
}

fn reference(shape: Shape) -> RefOr<Schema> {
    let (name, _) = shape().into_iter().next().expect("the type itself comes first");
    RefOr::Ref(Ref::from_schema_name(name))
}

/// What may be answered instead; one of each status, as the document can say no more.
fn problems(route: &Route) -> Vec<(&'static str, StatusCode, &'static str)> {
    let mut codes = Vec::new();
    if !route.who.is_empty() {
        codes.extend([Code::Unauthenticated, Code::Forbidden, Code::Invalid, Code::Unavailable, Code::Internal]);
    }
    if route.path.contains('{') {
        codes.push(Code::NotFound);
    }
    if route.path.starts_with("/v1/hooks/") {
        codes.extend([Code::Unauthenticated, Code::Invalid, Code::Unavailable, Code::Internal]);
    }
    match route.takes {
        Takes::Nothing => {}
        Takes::Bytes => codes.extend([Code::Timeout, Code::TooLarge, Code::Malformed]),
        Takes::Json(_) => codes.extend([Code::TooLarge, Code::UnsupportedMediaType, Code::Malformed, Code::Refused]),
    }
    if route.reach == Reach::Bundle {
        codes.push(Code::RangeNotSatisfiable);
    }
    let row = |code: Code| Code::ALL.into_iter().find(|(other, ..)| *other == code);
    let rows = codes.into_iter().filter_map(row);
    rows.map(|(_, status, name, title)| (name, status, title)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use serde_json::Value;

    use super::*;

    const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/openapi.json");

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
        assert!(json["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", json["openapi"]);
        let mut names = BTreeSet::new();
        for route in ROUTES {
            let operation = &json["paths"][route.path][route.method.as_str().to_lowercase()];
            assert!(names.insert(operation["operationId"].as_str().expect("a name").to_owned()), "{operation}");
            assert_eq!(operation["security"].is_array(), !route.who.is_empty(), "{operation}");
            assert!(operation["responses"].as_object().is_some_and(|responses| !responses.is_empty()), "{operation}");
        }
        let mut references = 0;
        each(&json, &mut |value| {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                assert!(json.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
                references += 1;
            }
        });
        assert!(references > 50, "a document without references describes nothing");
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
