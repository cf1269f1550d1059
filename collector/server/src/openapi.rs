//! The OpenAPI description, built from the table of routes and the schemas of the types that they
//! take and return. `openapi.json` beside this file is its current form; a test keeps it current,
//! so that reviews see every change of the API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use axum::Extension;
use http::{Method, StatusCode};
use utoipa::PartialSchema as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::{RequestBody as OpenApiBody, RequestBodyBuilder};
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ComponentsBuilder, ContentBuilder, Info, InfoBuilder, License, OpenApi,
    OpenApiBuilder, PathItem, PathsBuilder, Ref, RefOr, Required, Response, ResponseBuilder,
    Schema, Server,
};

use crate::json::Json;
use crate::problem::Problem;
use crate::problem::status;
use crate::query::Query;
use crate::route::{Param, RequestBody, ResourceScope, ResponseBody, Route, SchemaFn, schema_of};
use api::problem::PROBLEM_JSON;
use api::{ProblemCode, ProblemDocument};

/// The name of the security scheme.
const BEARER: &str = "token";

/// The description, made when it is first requested.
pub(crate) type OpenApiDocument = LazyLock<OpenApi>;

/// `GET /v1/openapi.json`.
pub(crate) async fn read(
    Extension(document): Extension<Arc<OpenApiDocument>>,
    query: Query,
) -> Result<Json<OpenApi>, Problem> {
    query.finish()?;
    Ok(Json(OpenApi::clone(&document)))
}

/// The description of `routes`.
pub(crate) fn document(routes: &[Route]) -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut schemas: BTreeMap<String, RefOr<Schema>> =
        schema_of::<ProblemDocument>().into_iter().collect();
    for route in routes {
        if let RequestBody::Json(schema) = route.request {
            schemas.extend(schema());
        }
        for (_, body) in route.responses {
            if let ResponseBody::Json(schema) = body {
                schemas.extend(schema());
            }
        }
        paths = paths.path(
            route.path,
            PathItem::new(http_method(&route.method), operation(route)),
        );
    }
    OpenApiBuilder::new()
        .info(info())
        .servers(Some([Server::new("/")]))
        .paths(paths)
        .components(Some(components(schemas)))
        .build()
}

fn info() -> Info {
    let license = License::builder()
        .name("Apache-2.0")
        .identifier(Some("Apache-2.0"))
        .build();
    InfoBuilder::new()
        .title("Exhibit")
        .version("1")
        .description(Some(
            "Declares incidents, captures their evidence and serves it. Responses may gain members; \
             no member is ever renamed or removed.",
        ))
        .license(Some(license))
        .build()
}

fn components(schemas: BTreeMap<String, RefOr<Schema>>) -> Components {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "A token of `exhibit token create`, or one of the configured identity provider.",
        ))
        .build();
    ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme(BEARER, SecurityScheme::Http(bearer))
        .build()
}

fn http_method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn operation(route: &Route) -> Operation {
    let mut operation = OperationBuilder::new()
        .summary(Some(route.summary))
        .operation_id(Some(operation_id(route)))
        .request_body(request_body(route.request));
    if route.roles.is_empty() {
        operation = operation.securities(Some([])); // explicit, since absent means forgotten
    } else {
        let roles: Vec<_> = route.roles.iter().map(|role| role.as_str()).collect();
        operation = operation
            .description(Some(format!("Roles: {}.", roles.join(", "))))
            .security(SecurityRequirement::new(BEARER, Vec::<String>::new()));
    }
    if let Some(parameter) = path_parameter(route) {
        operation = operation.parameter(parameter);
    }
    for param in route.query {
        operation = operation.parameter(parameter(param, ParameterIn::Query));
    }
    for param in route.request_headers {
        operation = operation.parameter(parameter(param, ParameterIn::Header));
    }
    let statuses: BTreeSet<u16> = route.responses.iter().map(|(status, _)| *status).collect();
    for status in statuses {
        operation = operation.response(status.to_string(), response(route, status));
    }
    for (status, titles) in problems(route) {
        let content = ContentBuilder::new()
            .schema(Some(reference(schema_of::<ProblemDocument>)))
            .build();
        let response = ResponseBuilder::new()
            .description(titles)
            .content(PROBLEM_JSON, content);
        operation = operation.response(status.as_str(), with_request_id(response).build());
    }
    operation.build()
}

fn request_body(body: RequestBody) -> Option<OpenApiBody> {
    let (media_type, content, required) = match body {
        RequestBody::None => return None,
        RequestBody::Json(schema) => {
            let content = ContentBuilder::new().schema(Some(reference(schema)));
            ("application/json", content, Required::True)
        }
        // An empty body is valid, too.
        RequestBody::Bytes => (
            "application/octet-stream",
            ContentBuilder::new(),
            Required::False,
        ),
    };
    let body = RequestBodyBuilder::new()
        .content(media_type, content.build())
        .required(Some(required));
    Some(body.build())
}

fn path_parameter(route: &Route) -> Option<Parameter> {
    let (_, rest) = route.path.split_once('{')?;
    let name = rest.split('}').next().unwrap_or_default();
    let schema = route
        .path_schema
        .expect("a route with a path parameter has its schema");
    let parameter = ParameterBuilder::new()
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .name(name)
        .schema(Some(schema()));
    Some(parameter.build())
}

fn parameter(param: &Param, location: ParameterIn) -> Parameter {
    ParameterBuilder::new()
        .parameter_in(location)
        .required(match param.is_required {
            true => Required::True,
            false => Required::False,
        })
        .name(param.name)
        .description(Some(param.description))
        .schema(Some(param_schema(param)))
        .build()
}

fn param_schema(param: &Param) -> RefOr<Schema> {
    let schema = (param.schema)();
    if param.may_repeat {
        ArrayBuilder::new().items(schema).into()
    } else {
        schema
    }
}

/// Such as `getIncidentsOneBundles`: the method and the words of the path.
fn operation_id(route: &Route) -> String {
    let mut id = route.method.as_str().to_lowercase();
    let words = route
        .path
        .split('/')
        .filter(|word| !word.is_empty() && *word != "v1");
    for word in words {
        let word = if word.starts_with('{') {
            "one"
        } else {
            word.trim_end_matches(".json")
        };
        id += &word[..1].to_uppercase();
        id += &word[1..];
    }
    id
}

/// The response of a status, with all its alternatives.
fn response(route: &Route, status: u16) -> Response {
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    let mut response = with_request_id(ResponseBuilder::new().description(reason));
    for (_, param) in route
        .response_headers
        .iter()
        .filter(|(of, _)| *of == status)
    {
        let header = HeaderBuilder::new()
            .schema(Some(param_schema(param)))
            .description(Some(param.description));
        response = response.header(param.name, header.build());
    }
    let mut json = Vec::new();
    for (_, body) in route.responses.iter().filter(|(of, _)| *of == status) {
        let (media_type, content) = match body {
            ResponseBody::None => continue,
            ResponseBody::Json(schema) => {
                json.push(reference(*schema));
                continue;
            }
            ResponseBody::Text(media_type) => {
                let content = ContentBuilder::new().schema(Some(String::schema()));
                (*media_type, content)
            }
            ResponseBody::Bytes(media_type) => (*media_type, ContentBuilder::new()),
        };
        response = response.content(media_type, content.build());
    }
    let schema = match json.len() {
        0 => return response.build(),
        1 => json.remove(0),
        _ => json
            .into_iter()
            .fold(AnyOfBuilder::new(), AnyOfBuilder::item)
            .into(),
    };
    let content = ContentBuilder::new().schema(Some(schema)).build();
    response.content("application/json", content).build()
}

/// Every response has the id of its request.
fn with_request_id(response: ResponseBuilder) -> ResponseBuilder {
    let header = HeaderBuilder::new()
        .schema(Some(String::schema()))
        .description(Some("The id of the request in the collector's log"));
    response.header("X-Request-Id", header.build())
}

fn reference(schema: SchemaFn) -> RefOr<Schema> {
    let (name, _) = schema().swap_remove(0); // the type itself comes first
    RefOr::Ref(Ref::from_schema_name(name))
}

/// The problems that a route can respond with: the titles of their codes, by status.
fn problems(route: &Route) -> BTreeMap<StatusCode, String> {
    let mut codes = route.problems.to_vec();
    codes.push(ProblemCode::HeadersTooLarge);
    if !route.roles.is_empty() {
        codes.extend([
            ProblemCode::Unauthenticated,
            ProblemCode::Forbidden,
            ProblemCode::Invalid,
            ProblemCode::Unavailable,
            ProblemCode::Internal,
        ]);
    }
    if route.path.contains('{') {
        codes.push(ProblemCode::NotFound);
    }
    match route.request {
        RequestBody::None => {}
        RequestBody::Bytes => codes.extend([
            ProblemCode::Timeout,
            ProblemCode::TooLarge,
            ProblemCode::Malformed,
        ]),
        RequestBody::Json(_) => codes.extend([
            ProblemCode::Timeout,
            ProblemCode::TooLarge,
            ProblemCode::UnsupportedMediaType,
            ProblemCode::Malformed,
            ProblemCode::Conflict,
            ProblemCode::Refused,
        ]),
    }
    if route.scope == ResourceScope::Bundle {
        codes.extend([ProblemCode::RangeNotSatisfiable, ProblemCode::Gone]);
    }
    let mut problems: BTreeMap<StatusCode, String> = BTreeMap::new();
    for code in ProblemCode::ALL
        .into_iter()
        .filter(|code| codes.contains(code))
    {
        let titles = problems.entry(status(code)).or_default();
        if !titles.is_empty() {
            titles.push_str("; ");
        }
        *titles += &format!("{} ({})", code.title(), code.as_str());
    }
    problems
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;
    use crate::routes::ROUTES;

    const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/openapi.json");

    /// If set, the test rewrites the file.
    const UPDATE: &str = "EXHIBIT_UPDATE_SNAPSHOTS";

    #[test]
    fn openapi_json_is_current() {
        let current = serde_json::to_string_pretty(&document(ROUTES)).expect("JSON") + "\n";
        if std::env::var_os(UPDATE).is_some() {
            fs::write(SNAPSHOT, &current).expect("own file");
        }
        let committed = fs::read_to_string(SNAPSHOT).unwrap_or_default();
        assert!(
            committed == current,
            "{SNAPSHOT} does not match the code: run this test with {UPDATE}=1, and review the changes"
        );
    }

    #[test]
    fn describes_every_route_once_and_resolves_every_reference() {
        let json = serde_json::to_value(document(ROUTES)).expect("JSON");
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
                Some(route.roles.is_empty()),
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
            assert!(refuses || route.roles.is_empty(), "{operation}");
        }
        let mut references = 0;
        each(&json, &mut |value| {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                assert!(
                    json.pointer(reference.trim_start_matches('#')).is_some(),
                    "{reference} does not resolve"
                );
                references += 1;
            }
        });
        assert!(
            references > 50,
            "only {references} references: the document is almost empty"
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
