//! The form of a route: who may use it, what it takes and what it returns.

use axum::routing::MethodRouter;
use http::Method;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::state::ServerState;
use api::ProblemCode;
use domain::token::TokenRole;

/// A route of the API.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// The roles that may use it. Empty: no token is needed.
    pub(crate) roles: &'static [TokenRole],
    pub(crate) scope: ResourceScope,
    pub(crate) handler: fn() -> MethodRouter<ServerState>,
    pub(crate) summary: &'static str,
    /// The schema of the parameter in the path, if it has one.
    pub(crate) path_schema: Option<fn() -> RefOr<Schema>>,
    pub(crate) query: &'static [Param],
    pub(crate) request_headers: &'static [Param],
    pub(crate) request: RequestBody,
    /// By status. Several of one status are alternatives.
    pub(crate) responses: &'static [(u16, ResponseBody)],
    /// By status.
    pub(crate) response_headers: &'static [(u16, Param)],
    /// Problems of this route, beside those that follow from its roles, path and body.
    pub(crate) problems: &'static [ProblemCode],
}

/// The resource that a route reads or changes. A token for one incident is limited by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResourceScope {
    /// Nothing but what every caller may see.
    Caller,
    /// More than one incident.
    All,
    /// The incident in the path.
    Incident,
    /// The bundle in the path, and its incident.
    Bundle,
}

/// Who may use a route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RouteAccess {
    pub(crate) roles: &'static [TokenRole],
    pub(crate) scope: ResourceScope,
}

/// Returns the schema of a type by its name, followed by the schemas that it refers to.
pub(crate) type SchemaFn = fn() -> NamedSchemas;

pub(crate) type NamedSchemas = Vec<(String, RefOr<Schema>)>;

/// A [`SchemaFn`].
pub(crate) fn schema_of<T: ToSchema>() -> NamedSchemas {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    schemas
}

/// The body of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RequestBody {
    None,
    Json(SchemaFn),
    Bytes,
}

/// The body of a response. Texts and bytes have a media type.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ResponseBody {
    None,
    Json(SchemaFn),
    Text(&'static str),
    Bytes(&'static str),
}

/// A parameter of a URL, or a header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    pub(crate) schema: fn() -> RefOr<Schema>,
    pub(crate) may_repeat: bool,
    pub(crate) is_required: bool,
    pub(crate) description: &'static str,
}

impl Param {
    pub(crate) const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }
}

/// A parameter that is given at most once.
pub(crate) const fn param(
    name: &'static str,
    schema: fn() -> RefOr<Schema>,
    description: &'static str,
) -> Param {
    Param {
        name,
        schema,
        may_repeat: false,
        is_required: false,
        description,
    }
}

/// A parameter that may be repeated.
pub(crate) const fn repeated(
    name: &'static str,
    schema: fn() -> RefOr<Schema>,
    description: &'static str,
) -> Param {
    Param {
        may_repeat: true,
        is_required: false,
        ..param(name, schema, description)
    }
}

impl Route {
    pub(crate) const fn new(
        method: Method,
        path: &'static str,
        roles: &'static [TokenRole],
        scope: ResourceScope,
        summary: &'static str,
        handler: fn() -> MethodRouter<ServerState>,
    ) -> Self {
        Self {
            method,
            path,
            roles,
            scope,
            handler,
            summary,
            path_schema: None,
            query: &[],
            request_headers: &[],
            request: RequestBody::None,
            responses: &[],
            response_headers: &[],
            problems: &[],
        }
    }

    pub(crate) const fn path_schema(mut self, schema: fn() -> RefOr<Schema>) -> Self {
        self.path_schema = Some(schema);
        self
    }

    pub(crate) const fn query(mut self, query: &'static [Param]) -> Self {
        self.query = query;
        self
    }

    pub(crate) const fn request_headers(mut self, headers: &'static [Param]) -> Self {
        self.request_headers = headers;
        self
    }

    pub(crate) const fn request(mut self, body: RequestBody) -> Self {
        self.request = body;
        self
    }

    pub(crate) const fn responses(mut self, responses: &'static [(u16, ResponseBody)]) -> Self {
        self.responses = responses;
        self
    }

    pub(crate) const fn response_headers(mut self, headers: &'static [(u16, Param)]) -> Self {
        self.response_headers = headers;
        self
    }

    pub(crate) const fn problems(mut self, problems: &'static [ProblemCode]) -> Self {
        self.problems = problems;
        self
    }

    pub(crate) fn access(&self) -> RouteAccess {
        RouteAccess {
            roles: self.roles,
            scope: self.scope,
        }
    }
}
