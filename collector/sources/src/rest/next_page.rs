//! Where the next page of a listing is. Pure.

use http::HeaderMap;
use url::Url;

use super::cursor::TOKEN_BYTES_MAX;
use super::endpoint::Paging;
use super::page::PageSummary;
use crate::recorder::is_credential_parameter;

/// A page leads to no acceptable next one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NextPageError {
    #[error("the next page is on another host")]
    AnotherHost,
    #[error("the URL of the next page cannot be read")]
    Url,
    #[error("the token of the next page is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
}

/// The position of the page after one with `headers` and `summary`, which was requested from `url`
/// at position `current`; `None` after the last.
pub(super) fn next_page(
    paging: Paging,
    url: &Url,
    headers: &HeaderMap,
    summary: &PageSummary,
    current: Option<&str>,
) -> Result<Option<String>, NextPageError> {
    let number =
        |current: Option<&str>, default| current.and_then(|c| c.parse().ok()).unwrap_or(default);
    let next = match paging {
        Paging::None => None,
        Paging::Link => match link_next(headers) {
            Some(link) => Some(path_and_query(url, link)?),
            None => None,
        },
        Paging::LinkQuery => match link_next(headers) {
            Some(link) => {
                let next = path_and_query(url, link)?;
                let query = next.split_once('?').map_or("", |(_, query)| query);
                Some(format!("{}?{query}", url.path()))
            }
            None => None,
        },
        Paging::NextUrl { .. } => match &summary.next {
            Some(next) => Some(path_and_query(url, next)?),
            None => None,
        },
        Paging::TokenToParameter { .. } | Paging::TokenToBody { .. } => summary.next.clone(),
        Paging::HeaderToParameter { header, .. } => headers
            .get(header)
            .and_then(|value| value.to_str().ok())
            .filter(|token| !token.is_empty())
            .map(str::to_owned),
        Paging::PageNumber { first, size, .. } => {
            let page: u64 = number(current, first);
            (summary.records >= size).then(|| page.saturating_add(1).to_string())
        }
        Paging::Offset { size, overlap, .. } => {
            let offset: u64 = number(current, 0);
            let after = offset.saturating_add(summary.records);
            (summary.records >= size).then(|| after.saturating_sub(overlap).to_string())
        }
    };
    if next
        .as_ref()
        .is_some_and(|next| next.len() > TOKEN_BYTES_MAX)
    {
        return Err(NextPageError::TooLong);
    }
    Ok(next)
}

/// The target of `rel="next"` in the header fields `Link` (RFC 8288).
fn link_next(headers: &HeaderMap) -> Option<&str> {
    let fields = headers.get_all(http::header::LINK).into_iter();
    fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split('<').skip(1)) // URLs have no `<`, but they may have commas
        .find_map(|link| {
            let (url, parameters) = link.split_once('>')?;
            let is_next = parameters.split([';', ',']).any(|parameter| {
                let rel = parameter.trim().strip_prefix("rel=");
                let rel = rel.unwrap_or_default().trim_matches('"');
                rel.split(' ').any(|rel| rel.eq_ignore_ascii_case("next"))
            });
            (is_next && !url.is_empty()).then_some(url)
        })
}

/// The path and query of `next`, which may be relative to `url`, without parameters that are
/// credentials: the next request is signed anew.
fn path_and_query(url: &Url, next: &str) -> Result<String, NextPageError> {
    let next = url.join(next).map_err(|_| NextPageError::Url)?;
    if next.origin() != url.origin() {
        return Err(NextPageError::AnotherHost);
    }
    let Some(query) = next.query() else {
        return Ok(next.path().to_owned());
    };
    let parameters: Vec<&str> = query
        .split('&')
        .filter(|parameter| !is_credential_parameter(parameter))
        .collect();
    Ok(format!("{}?{}", next.path(), parameters.join("&")))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn link(value: &str) -> Result<Option<String>, NextPageError> {
        let url = Url::parse("https://acme.okta.com/api/v1/logs?since=x").expect("a URL");
        let mut headers = HeaderMap::new();
        headers.append(
            "link",
            HeaderValue::from_static("<https://acme.okta.com/self>; rel=\"self\""),
        );
        headers.append("link", HeaderValue::from_str(value).expect("a header"));
        next_page(Paging::Link, &url, &headers, &PageSummary::default(), None)
    }

    #[test]
    fn next_link_is_kept_without_host_and_credentials() {
        let next = link(
            "<https://acme.okta.com/api/v1/logs?after=1,2&access_token=t&limit=5>; rel=\"next\"",
        );
        assert_eq!(next, Ok(Some("/api/v1/logs?after=1,2&limit=5".to_owned())));
        assert_eq!(
            link("</x?a=b>; title=x; rel=\"prev next\""),
            Ok(Some("/x?a=b".to_owned()))
        );
        assert_eq!(link("</x>; rel=\"last\""), Ok(None));
    }

    #[test]
    fn only_query_of_link_is_used_if_its_path_is_another() {
        let url = Url::parse("https://api.github.com/repos/o/r/keys?per_page=1").expect("a URL");
        let link = "<https://api.github.com/repositories/7/keys?per_page=1&page=2>; rel=\"next\"";
        let mut headers = HeaderMap::new();
        headers.append("link", HeaderValue::from_static(link));
        let next = next_page(
            Paging::LinkQuery,
            &url,
            &headers,
            &PageSummary::default(),
            None,
        );
        assert_eq!(
            next,
            Ok(Some("/repos/o/r/keys?per_page=1&page=2".to_owned()))
        );
    }

    #[test]
    fn next_link_to_another_host_is_refused() {
        for elsewhere in [
            "https://evil.example/api",
            "http://acme.okta.com/api",
            "//acme.okta.com:8443/api",
            "https://acme.okta.com@evil.example/",
        ] {
            let next = link(&format!("<{elsewhere}>; rel=\"next\""));
            assert_eq!(next, Err(NextPageError::AnotherHost), "{elsewhere}");
        }
        let long = format!("</{}>; rel=\"next\"", "x".repeat(TOKEN_BYTES_MAX));
        assert_eq!(link(&long), Err(NextPageError::TooLong));
    }

    #[test]
    fn numbered_pages_end_with_a_page_that_is_not_full() {
        let url = Url::parse("https://h/").expect("a URL");
        let next = |paging, records, current| {
            let summary = PageSummary {
                records,
                ..PageSummary::default()
            };
            next_page(paging, &url, &HeaderMap::new(), &summary, current).expect("a position")
        };
        let pages = Paging::PageNumber {
            parameter: "page",
            first: 1,
            size: 100,
        };
        assert_eq!(next(pages, 100, None).as_deref(), Some("2"));
        assert_eq!(next(pages, 99, Some("2")), None);
        let offset = Paging::Offset {
            parameter: "first",
            size: 100,
            overlap: 10,
        };
        assert_eq!(next(offset, 100, Some("300")).as_deref(), Some("390"));
    }
}
