//! Which servers answered, counted from the response records.

use std::collections::BTreeMap;

use evidence_format::config::AnsweringServer;
use evidence_format::limits::SERVERS_MAX;
use evidence_format::warc::WarcFields;

use crate::recorder::render::ISSUER_FIELD;

/// The servers of one item, by origin and issuer.
#[derive(Debug, Default)]
pub(super) struct ServerCounts {
    responses: BTreeMap<(String, Option<String>), u64>,
    /// Responses of servers after the first [`SERVERS_MAX`].
    others: u64,
}

impl ServerCounts {
    /// Counts a response.
    pub(super) fn add(&mut self, fields: &WarcFields) {
        let origin = origin(fields.get("WARC-Target-URI").unwrap_or_default());
        let issuer = fields.get(ISSUER_FIELD).filter(|issuer| !issuer.is_empty());
        let Some(origin) = origin else {
            self.others += 1;
            return;
        };
        let issuer = issuer.filter(|_| origin.starts_with("https:"));
        let server = (origin, issuer.map(str::to_owned));
        if self.responses.len() < SERVERS_MAX || self.responses.contains_key(&server) {
            *self.responses.entry(server).or_default() += 1;
        } else {
            self.others += 1;
        }
    }

    /// The servers in the order of the format, and the number of responses of all others.
    pub(super) fn listed(&self) -> (Vec<AnsweringServer>, u64) {
        let servers = self
            .responses
            .iter()
            .map(|((origin, issuer), count)| AnsweringServer {
                origin: origin.clone(),
                issuer: issuer.clone(),
                responses: *count,
            });
        (servers.collect(), self.others)
    }
}

/// Scheme, host and port of a URI, without user and password.
fn origin(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let is_valid = matches!(&*scheme, "http" | "https")
        && !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_graphic());
    is_valid.then(|| format!("{scheme}://{}", host.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use evidence_format::warc::{self, RecordIds, RecordType, WarcHeader};

    use super::*;

    fn count(uris: &[(&str, &str)]) -> (Vec<AnsweringServer>, u64) {
        let (mut bytes, mut ids) = (Vec::new(), RecordIds::new([7; 8]));
        for (uri, issuer) in uris {
            let fields = [(ISSUER_FIELD, *issuer)];
            let header = WarcHeader {
                kind: RecordType::Response,
                target_uri: Some(uri),
                date: "2026-11-27T16:00:00Z".parse().expect("a time"),
                content_type: "application/http",
                truncated: None,
                fields: &fields,
            };
            warc::write_record_parts(&mut bytes, &header, &mut ids, &[b""]).expect("short");
        }
        let mut counts = ServerCounts::default();
        for record in warc::records(&bytes) {
            counts.add(&record.expect("a record").fields);
        }
        counts.listed()
    }

    #[test]
    fn servers_are_counted_by_origin_and_issuer() {
        let server = |origin: &str, issuer: Option<&str>, responses| AnsweringServer {
            origin: origin.to_owned(),
            issuer: issuer.map(str::to_owned),
            responses,
        };
        let found = count(&[
            ("https://api.test/b?c", "CN=two"),
            ("https://me:pw@API.test/a", "CN=one"),
            ("https://api.test", "CN=one"),
            ("http://[::1]:8080/a@b", ""),
            ("https://api.test:8443?x=/", ""),
            ("file:///etc/passwd", ""),
        ]);
        let expected = vec![
            server("http://[::1]:8080", None, 1),
            server("https://api.test", Some("CN=one"), 2),
            server("https://api.test", Some("CN=two"), 1),
            server("https://api.test:8443", None, 1),
        ];
        assert_eq!(found, (expected, 1));
    }

    #[test]
    fn servers_after_the_last_that_fits_are_counted_together() {
        let uris: Vec<String> = (0..SERVERS_MAX + 1)
            .map(|n| format!("https://{n:02}.test/"))
            .collect();
        let mut all: Vec<(&str, &str)> = uris.iter().map(|uri| (&**uri, "CN=ca")).collect();
        all.push((&uris[SERVERS_MAX], "CN=ca"));
        all.push((&uris[0], "CN=ca"));
        let (servers, others) = count(&all);
        assert_eq!(
            (servers.len(), servers[0].responses, others),
            (SERVERS_MAX, 2, 2)
        );
    }
}
