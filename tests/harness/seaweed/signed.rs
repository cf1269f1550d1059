//! Sends one signed request to an S3 server, without code of the collector (AWS Signature Version
//! 4, "Create a signed AWS API request", read 2026-11).

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use data_encoding::HEXLOWER;
use evidence_format::digest::Digest;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// SeaweedFS accepts any region.
const REGION: &str = "us-east-1";

/// A request without a body.
pub(super) struct S3Request<'r> {
    pub(super) address: SocketAddr,
    /// The access key and its secret.
    pub(super) key: (&'r str, &'r str),
    pub(super) method: &'r str,
    pub(super) path: &'r str,
    /// Sorted by name, with values encoded by [`percent_encode`].
    pub(super) query: &'r str,
    /// Sorted, with names in lower case that sort before `x-amz-c`.
    pub(super) headers: &'r [(&'r str, &'r str)],
}

#[derive(Debug)]
pub(super) struct S3Response {
    pub(super) status: u16,
    pub(super) body: String,
}

pub(super) fn send(request: &S3Request<'_>) -> io::Result<S3Response> {
    let now = jiff::Timestamp::now()
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string();
    let host = request.address.to_string();
    let payload = Digest::of(b"").hex();
    let fixed = [
        ("x-amz-content-sha256", payload.as_str()),
        ("x-amz-date", &now),
    ];
    let headers: Vec<(&str, &str)> = [("host", host.as_str())]
        .into_iter()
        .chain(request.headers.iter().copied())
        .chain(fixed)
        .collect();
    let authorization = authorization(request, &headers, &now);
    // Responses of HTTP/1.0 are never chunked.
    let mut text = format!(
        "{} {}?{} HTTP/1.0\r\nauthorization: {authorization}\r\n",
        request.method, request.path, request.query
    );
    headers
        .iter()
        .for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    let mut stream = TcpStream::connect(request.address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all((text + "\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let (status, (_, body)) = status
        .zip(answer.split_once("\r\n\r\n"))
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(S3Response {
        status,
        body: body.to_owned(),
    })
}

fn authorization(request: &S3Request<'_>, headers: &[(&str, &str)], now: &str) -> String {
    let (access_key, secret) = request.key;
    let day = &now[..8];
    let names = headers
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(";");
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let canonical = [
        request.method,
        request.path,
        request.query,
        &lines,
        &names,
        &Digest::of(b"").hex(),
    ]
    .join("\n");
    let scope = format!("{day}/{REGION}/s3/aws4_request");
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{now}\n{scope}\n{}",
        Digest::of(canonical.as_bytes()).hex()
    );
    let key = [day, REGION, "s3", "aws4_request"]
        .iter()
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| {
            mac(&key, part)
        });
    let signature = HEXLOWER.encode(&mac(&key, &to_sign));
    format!(
        "AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
pub(super) fn percent_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
