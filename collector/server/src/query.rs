//! Query parameters: unknown ones are rejected, and so are repetitions where one value is expected.

use std::convert::Infallible;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use http::request::Parts;
use url::form_urlencoded;

use crate::problem::Problem;
use api::ProblemCode;
use domain::spelling::{did_you_mean, nearest};

/// The parameters of a request that no handler has read yet.
#[derive(Debug)]
pub(crate) struct Query {
    unread: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Query {
    fn parse(text: &str) -> Self {
        Self {
            unread: form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
            known: Vec::new(),
        }
    }

    /// The parameter `name`, if it is given.
    pub(crate) fn one<T: FromStr<Err: Display>>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, Problem> {
        let mut values = self.many(name)?;
        match (values.pop(), values.len()) {
            (value, 0) => Ok(value),
            _ => Err(Problem::new(
                ProblemCode::Invalid,
                format!("parameter {name} is given more than once"),
            )),
        }
    }

    /// All values of the parameter `name`.
    pub(crate) fn many<T: FromStr<Err: Display>>(
        &mut self,
        name: &'static str,
    ) -> Result<Vec<T>, Problem> {
        self.known.push(name);
        let values = self
            .unread
            .extract_if(.., |(other, _)| other == name)
            .map(|(_, value)| value.parse());
        values
            .collect::<Result<_, T::Err>>()
            .map_err(|e| Problem::new(ProblemCode::Invalid, format!("parameter {name}: {e}")))
    }

    /// Rejects parameters that no handler has read.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        let Some((unknown, _)) = self.unread.first() else {
            return Ok(());
        };
        let near = did_you_mean(nearest(unknown, self.known.iter().copied()));
        let known = if self.known.is_empty() {
            "this path takes none".to_owned()
        } else {
            format!("known: {}", self.known.join(", "))
        };
        Err(Problem::new(
            ProblemCode::Invalid,
            format!("unknown parameter {unknown:?}{near}; {known}"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_single_and_repeated_parameters() {
        let mut query = Query::parse("limit=5&kind=a%2e&kind=b+c");
        assert_eq!(query.one::<u32>("limit").expect("a number"), Some(5));
        assert_eq!(query.one::<u32>("cursor").expect("absent"), None);
        assert_eq!(query.many::<String>("kind").expect("texts"), ["a.", "b c"]);
        query.finish().expect("all are read");
    }

    #[test]
    fn names_repeated_unknown_and_invalid_parameters() {
        let mut query = Query::parse("limit=5&limit=6&kinds=x");
        assert_eq!(
            query.one::<u32>("limit").expect_err("twice").to_string(),
            "parameter limit is given more than once"
        );
        assert!(query.many::<String>("kind").expect("none").is_empty());
        let text = query.finish().expect_err("unknown").to_string();
        assert_eq!(
            text,
            r#"unknown parameter "kinds" (did you mean "kind"?); known: limit, kind"#
        );
        let text = Query::parse("limit=x")
            .one::<u32>("limit")
            .expect_err("no number")
            .to_string();
        assert!(text.starts_with("parameter limit: "), "{text}");
    }
}
