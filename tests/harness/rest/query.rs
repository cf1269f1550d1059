//! A request, as the doubles read it.

use data_encoding::BASE64;
use url::Url;

use crate::aws::http::HttpRequest;

/// A request with its path and query taken apart.
#[derive(Debug)]
pub struct RestRequest {
    pub method: String,
    /// Path and query as they were sent.
    pub target: String,
    /// The parts of the path between slashes, decoded.
    pub path: Vec<String>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl RestRequest {
    pub(super) fn new(request: HttpRequest) -> Self {
        let url = Url::parse(&format!("http://double{}", request.target));
        let url = url.unwrap_or_else(|_| Url::parse("http://double/").expect("a URL"));
        let decoded = |part: &str| {
            let form = part.replace('+', "%2B");
            let mut pairs = url::form_urlencoded::parse(form.as_bytes());
            pairs
                .next()
                .map(|(name, _)| name.into_owned())
                .unwrap_or_default()
        };
        Self {
            method: request.method,
            path: url.path().split('/').skip(1).map(decoded).collect(),
            query: url.query_pairs().into_owned().collect(),
            target: request.target,
            headers: request.headers,
            body: request.body,
        }
    }

    /// The parts of the path, to match against.
    #[must_use]
    pub fn parts(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// The last parameter with this name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut query = self.query.iter().rev();
        query
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    #[must_use]
    pub fn number(&self, name: &str) -> Option<usize> {
        self.parameter(name)?.parse().ok()
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The credential of the request, without its scheme; empty if it has none.
    #[must_use]
    pub fn credential(&self) -> String {
        let value = self
            .header("authorization")
            .or(self.header("private-token"));
        let value = value.unwrap_or_default();
        value.rsplit(' ').next().unwrap_or_default().to_owned()
    }

    /// All credentials of the request: also a password, and what a form for a token has.
    #[must_use]
    pub fn all_credentials(&self) -> Vec<String> {
        let mut credentials = vec![self.credential()];
        let decoded = BASE64.decode(credentials[0].as_bytes()).ok();
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let password = decoded.and_then(|pair| Some(pair.split_once(':')?.1.to_owned()));
        credentials.extend(password);
        let form = url::form_urlencoded::parse(&self.body);
        let assertions = form.filter(|(name, _)| name == "client_assertion");
        credentials.extend(assertions.map(|(_, value)| value.into_owned()));
        credentials.retain(|credential| !credential.is_empty());
        credentials
    }

    /// The incident that the user agent names.
    #[must_use]
    pub fn incident(&self) -> Option<String> {
        let agent = self.header("user-agent")?;
        agent.strip_prefix("exhibit-").map(str::to_owned)
    }

    /// The target of the page `page` of the same listing, as a path and query.
    #[must_use]
    pub fn with_parameter(&self, name: &str, value: &str) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (known, old) in self.query.iter().filter(|(known, _)| known != name) {
            query.append_pair(known, old);
        }
        query.append_pair(name, value);
        format!("{path}?{}", query.finish())
    }
}
