//! Recognises the array that holds the records of a provider's page.

use memchr::memrchr;

/// How many bytes before an array are searched for its name: the longest name, quotes, colon, and
/// white space between them.
pub(super) const LOOK_BACK_BYTES: usize = 128;

/// Members of a top-level object whose elements are the records of a page, as the provider's API
/// reference spells them.
///
/// A name belongs here only if no single event of any source has a top-level array of that name,
/// since splitting an event by mistake is worse than keeping a page whole. That excludes `events`
/// (CloudWatch's `FilterLogEvents`, but also one Google Workspace activity), `alerts` (one
/// Alertmanager notification), `data`, and `logFiles` (a CloudTrail digest is signed as a whole).
/// GitHub's pages have too many names and are recognised by [`TOTAL_COUNT`] instead.
const PAGE_ARRAYS: &[&[u8]] = &[
    b"Events",  // AWS CloudTrail API Reference, LookupEvents
    b"Records", // AWS CloudTrail User Guide, "CloudTrail log file examples": files delivered to S3
    b"entries", // Google Cloud Logging API, entries.list
    b"items",   // Kubernetes "Lists"; Argo CD; Google Admin SDK, activities.list; GitHub search
    b"logs",    // Auth0 Management API, GET /api/v2/logs with include_totals
    b"value",   // OData JSON Format 4.0: Microsoft Graph (Entra), Azure Activity Log
];

/// The member right before the array of a paged object in GitHub's REST API: `workflow_runs`,
/// `jobs`, `artifacts`, `check_runs`, `check_suites`, `workflows`, `secrets`, `variables`,
/// `environments`, `repositories`, ...
///
/// The names are not enough: a GitHub `installation` webhook has an array `repositories`, a single
/// GitLab job has an array `artifacts`.
const TOTAL_COUNT: &[u8] = b"total_count";

/// True if an array that follows the bytes `before` holds the records of a page.
pub(super) fn is_page_array(before: &[u8]) -> bool {
    member_before(before)
        .is_some_and(|(before, key)| PAGE_ARRAYS.contains(&key) || ends_in_total_count(before))
}

/// Splits `... "key" :` into what precedes the key, and the key. A key with an escape is returned
/// as written, or not at all.
fn member_before(before: &[u8]) -> Option<(&[u8], &[u8])> {
    let before = before.trim_ascii_end().strip_suffix(b":")?;
    let before = before.trim_ascii_end().strip_suffix(b"\"")?;
    let quote = memrchr(b'"', before)?;
    let (before, key) = (&before[..quote], &before[quote + 1..]);
    (!before.ends_with(b"\\")).then_some((before, key))
}

/// True if `before` ends in `"total_count" : 123 ,`.
fn ends_in_total_count(before: &[u8]) -> bool {
    let Some(before) = before.trim_ascii_end().strip_suffix(b",") else {
        return false;
    };
    let before = before.trim_ascii_end();
    let digits = before
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let member = member_before(&before[..before.len() - digits]);
    digits > 0 && member.is_some_and(|(_, key)| key == TOTAL_COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_page_arrays_by_name_only() {
        for before in [r#"{"Records":"#, "{\n  \"items\" :\r\n\t ", r#""value": "#] {
            assert!(is_page_array(before.as_bytes()), "{before}");
        }
        for before in [
            "",
            ":",
            r#"Records":"#,
            r#"{"records ":"#,
            r#"{"Records""#,
            r#"{"\"items":"#,
            r#"{"myitems":"#,
        ] {
            assert!(!is_page_array(before.as_bytes()), "{before}");
        }
    }

    #[test]
    fn recognises_any_array_right_after_a_total_count() {
        for before in [
            r#"{"total_count":30,"workflow_runs":"#,
            "{\"total_count\" : 0 ,\n \"x\": ",
        ] {
            assert!(is_page_array(before.as_bytes()), "{before}");
        }
        for before in [
            r#"{"total_count":,"jobs":"#,
            r#"{"count":3,"jobs":"#,
            r#"{"total_count":3,"a":1,"jobs":"#,
        ] {
            assert!(!is_page_array(before.as_bytes()), "{before}");
        }
    }
}
