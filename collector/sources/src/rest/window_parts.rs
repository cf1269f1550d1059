//! How a window is divided into parts: into halves if the provider cuts off its results, and into
//! parts that are paged at the same time.

use super::cursor::WalkLevel;
use super::endpoint::Endpoint;
use super::page_fetch::FetchedPage;
use super::time_part::{TimePart, unit_milliseconds};
use super::walk::Walk;

/// Estimated pages below which a part of a window is not worth the extra request that its last,
/// partly filled page costs.
const PART_PAGES_MIN: i64 = 4;

impl Walk<'_> {
    /// The parts that the rest of a root's window is divided into after its first page, if there
    /// are enough pages to make that faster.
    pub(super) fn parts_worth_dividing(
        &self,
        endpoint: &Endpoint,
        level: &WalkLevel,
        page: &FetchedPage,
        is_root: bool,
    ) -> Option<Vec<TimePart>> {
        let (query, part) = (endpoint.window.as_ref()?, level.part()?);
        let (first, last) = page.span?;
        let is_first_page = is_root && !level.page.is_fetched && !self.polling;
        let has_children = !endpoint.children.is_empty();
        if !is_first_page || has_children || query.chains < 2 || page.next.is_none() {
            return None;
        }
        // The unit that the page ended in is asked again, because the page may have ended in the
        // middle of it.
        let unit = unit_milliseconds(query.spelling);
        let end = last.div_euclid(unit) * unit;
        let rest = if first <= last {
            TimePart {
                from: end.max(part.from),
                ..part
            }
        } else {
            TimePart {
                until: (end + unit).min(part.until),
                ..part
            }
        };
        // assumes that events are about as dense in all of the window as on the first page
        let page_length = first.abs_diff(last).max(1);
        let pages = (rest.until - rest.from) / i64::try_from(page_length).ok()?;
        let count = (pages / PART_PAGES_MIN).min(i64::from(query.chains));
        // parts that were to be listed after this one are branches of their own as well
        let later = level.parts.iter().rev().skip(1).copied();
        (count > 1).then(|| {
            rest.divided(query, count)
                .into_iter()
                .chain(later)
                .collect()
        })
    }
}

/// Whether the results of a window are all there.
pub(super) enum WindowCheck {
    Fits,
    /// There are more than the provider returns; the level has now its halves.
    Halved,
    /// There are more, and the window cannot be halved.
    CutOff,
    /// A half has more than the whole.
    Ignored,
}

/// Halves the current part of `level` if it has more results than the provider returns.
pub(super) fn halve_if_cut_off(
    endpoint: &Endpoint,
    level: &mut WalkLevel,
    declared: Option<u64>,
) -> WindowCheck {
    let (Some(query), Some(part), Some(declared)) = (&endpoint.window, level.part(), declared)
    else {
        return WindowCheck::Fits;
    };
    let Some(results_max) = query.results_max else {
        return WindowCheck::Fits;
    };
    let expected = part.results_expected.unwrap_or(declared);
    // the other half, which comes next, can have the rest
    if let [.., other, _] = level.parts.as_mut_slice()
        && other.is_later_half
        && !part.is_later_half
    {
        other.results_expected = Some(expected.saturating_sub(declared));
    }
    if declared <= results_max {
        return WindowCheck::Fits;
    }
    // new results may have come meanwhile
    if declared > expected.saturating_mul(2).saturating_add(results_max) {
        return WindowCheck::Ignored;
    }
    let Some((earlier, later)) = part.halves(query) else {
        return WindowCheck::CutOff;
    };
    level.parts.pop();
    for (half, is_later_half) in [(later, true), (earlier, false)] {
        level.parts.push(TimePart {
            results_expected: Some(declared),
            is_later_half,
            ..half
        });
    }
    level.restart();
    WindowCheck::Halved
}
