//! Fetches one page of a listing and reads it. Changes nothing of the walk.

use std::borrow::Cow;

use bytes::Bytes;
use evidence_format::digest::Digest;
use http::{Response, StatusCode};
use serde_json::Value;
use url::Url;

use super::children::{BODY_DIGEST, PendingChild, children_of, needs_body_digest, shortfalls_of};
use super::cursor::WalkLevel;
use super::endpoint::{BodyShape, Endpoint, KnownRefusal, Paging};
use super::next_page::next_page;
use super::page::{PageError, PageSummary, read_page, text_at, time_at};
use super::requests::{PageRequest, RequestError};
use super::time_part;
use super::walk::Walk;
use crate::loop_guard::digest;
use crate::recorder::{CallError, Recorder};
use platform::chain;

/// Tries at one page that cannot be read. The recorder repeats what fails on the network.
const PAGE_TRIES_MAX: u32 = 3;

/// What came of asking for a page.
#[derive(Debug)]
pub(super) enum PageOutcome {
    Page(FetchedPage),
    /// Answered with a status that is no success.
    Refused(StatusCode, Option<&'static KnownRefusal>),
    /// The page cannot be read, however often it is asked for.
    Malformed(String),
    /// No answer. The recorder has given up, for this reason.
    GaveUp(CallError),
    /// The walk cannot go on: it was stopped, or there are no credentials.
    Failed(RequestError),
}

/// What of a page decides how to go on.
#[derive(Debug, Default)]
pub(super) struct FetchedPage {
    pub(super) summary: PageSummary,
    /// Position of the page after it.
    pub(super) next: Option<String>,
    pub(super) children: Vec<PendingChild>,
    /// What the records say is missing.
    pub(super) shortfalls: Vec<&'static str>,
    /// Some record had more children than are asked.
    pub(super) has_more_children: bool,
    /// Of the records' ids, in order: it finds pages that are the same page again. `None` if there
    /// are no records.
    pub(super) ids_digest: Option<u64>,
    /// Times of the first and the last event, in milliseconds since 1970.
    pub(super) span: Option<(i64, i64)>,
    /// Time of the newest record, in milliseconds since 1970, if the list says that it is sorted by
    /// it ([`Endpoint::newest_first`]), all records have a time, and the page is sorted.
    pub(super) newest: Option<i64>,
}

impl Walk<'_> {
    /// Fetches the page at `position` of the listing of `level`.
    pub(super) async fn fetch_page(
        &self,
        recorder: &Recorder,
        root: u16,
        level: &WalkLevel,
        position: Option<&str>,
    ) -> PageOutcome {
        let endpoint = self.endpoint_of(root, level);
        let (path, names) = self.path_and_names(root, level);
        let request = PageRequest {
            endpoint,
            names: &names,
            path: &path,
            position,
        };
        let mut tries = 0;
        loop {
            let sent = self
                .requester
                .send(recorder, &request, || self.persist_part(recorder))
                .await;
            let (response, url) = match sent {
                Ok(answer) => answer,
                Err(RequestError::Call(error @ CallError::GaveUp { .. })) => {
                    return PageOutcome::GaveUp(error);
                }
                Err(RequestError::Template(error)) => {
                    return PageOutcome::Malformed(error.to_string());
                }
                Err(error) => return PageOutcome::Failed(error),
            };
            if !response.status().is_success() {
                let status = response.status();
                let known = endpoint.known_refusal(status.as_u16(), response.body());
                return PageOutcome::Refused(status, known);
            }
            tries += 1;
            match read(&request, &response, &url) {
                Ok(mut page) => {
                    page.children
                        .retain(|child| self.is_searched(root, level, child));
                    return PageOutcome::Page(page);
                }
                Err(_) if tries < PAGE_TRIES_MAX => {}
                Err(what) => return PageOutcome::Malformed(what),
            }
        }
    }
}

fn read(
    request: &PageRequest<'_>,
    response: &Response<Bytes>,
    url: &Url,
) -> Result<FetchedPage, String> {
    let (endpoint, position) = (request.endpoint, request.position);
    if endpoint.body.is_streamed() || response.status() == StatusCode::NO_CONTENT {
        return Ok(FetchedPage::default());
    }
    let mut page = FetchedPage::default();
    let mut names = Cow::Borrowed(request.names);
    if needs_body_digest(endpoint) {
        let digest = format!("sha256:{}", Digest::of(response.body()).hex());
        names.to_mut().insert(BODY_DIGEST.to_owned(), digest);
    }
    let mut ids = Vec::new();
    let (mut times, mut event_times) = (Vec::new(), Vec::new());
    let summary = read_page(endpoint, response.body(), &mut |record| {
        page.has_more_children |= !children_of(endpoint, record, &names, &mut |child| {
            page.children.push(child);
        });
        page.shortfalls.extend(shortfalls_of(endpoint, record));
        if endpoint.paging != Paging::None {
            ids.extend_from_slice(id_of(endpoint, record).as_bytes());
            ids.push(0);
        }
        if let Some(time) = endpoint.newest_first {
            times.push(time_at(record, time).map(time_part::milliseconds));
        }
        if let BodyShape::Events { time, .. } = endpoint.body {
            event_times.push(time_at(record, time).map(time_part::milliseconds));
        }
    })
    .map_err(|error: PageError| chain(&error))?;
    page.next = next_page(endpoint.paging, url, response.headers(), &summary, position)
        .map_err(|error| error.to_string())?;
    page.ids_digest = (!ids.is_empty()).then(|| digest(&ids));
    page.span = span_of(&event_times);
    if times.is_sorted_by(|a, b| a >= b) && times.iter().all(Option::is_some) {
        page.newest = times.first().copied().flatten();
    }
    page.summary = summary;
    Ok(page)
}

/// The times of a page's first and last event, if they tell in which order the listing is.
fn span_of(times: &[Option<i64>]) -> Option<(i64, i64)> {
    let is_sorted = times.is_sorted() || times.is_sorted_by(|a, b| a >= b);
    let (first, last) = ((*times.first()?)?, (*times.last()?)?);
    (is_sorted && first != last).then_some((first, last))
}

fn id_of(endpoint: &Endpoint, record: &Value) -> String {
    match endpoint.body {
        BodyShape::Events { id, .. }
        | BodyShape::Objects { id, .. }
        | BodyShape::Object { id, .. } => text_at(record, id).unwrap_or_else(|| record.to_string()),
        BodyShape::Lines | BodyShape::Opaque => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_a_listing_is_never_guessed() {
        assert_eq!(span_of(&[Some(1), Some(1), Some(2)]), Some((1, 2)));
        assert_eq!(span_of(&[Some(2), Some(1)]), Some((2, 1)));
        for unknown in [
            &[][..],
            &[Some(7)],
            &[Some(7), Some(7)],
            &[Some(1), Some(3), Some(2)],
            &[None, Some(1)],
            &[Some(2), None],
        ] {
            assert_eq!(span_of(unknown), None, "{unknown:?}");
        }
    }
}
