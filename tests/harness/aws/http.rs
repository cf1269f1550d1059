//! As much of HTTP/1.1 as the SDKs speak, and no library between the server's faults and the
//! connection.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::service::{Delivery, HttpReply};

/// Bytes of a request's line and headers. The SDKs' are below 3 kB.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a request's body. The largest is a lookup with a token.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A request, whole.
pub(super) struct HttpRequest {
    pub(super) method: String,
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl HttpRequest {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The next request of a connection, or nothing at its end. `rest` is what was read beyond the
/// request before.
pub(super) async fn read(
    stream: &mut TcpStream,
    rest: &mut Vec<u8>,
) -> io::Result<Option<HttpRequest>> {
    let mut searched = 0;
    let head_end = loop {
        if let Some(at) = rest[searched..]
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
        {
            break searched + at + 4;
        }
        searched = rest.len().saturating_sub(3);
        if rest.len() > HEAD_BYTES_MAX {
            return Err(bad("a head without end"));
        }
        if stream.read_buf(rest).await? == 0 {
            return if rest.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
    };
    let mut request = head(&rest[..head_end])?;
    let length = request
        .header("content-length")
        .map_or(Ok(0), str::parse)
        .map_err(|_| bad("a length that is no number"))?;
    if length > BODY_BYTES_MAX || request.header("transfer-encoding").is_some() {
        return Err(bad("a body too long or in pieces"));
    }
    while rest.len() < head_end + length {
        if stream.read_buf(rest).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    request.body = rest[head_end..head_end + length].to_vec();
    rest.drain(..head_end + length);
    Ok(Some(request))
}

fn head(bytes: &[u8]) -> io::Result<HttpRequest> {
    let text = std::str::from_utf8(bytes).map_err(|_| bad("a head that is not UTF-8"))?;
    let mut lines = text.trim_end().split("\r\n");
    let mut line = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1")) = (line.next(), line.next(), line.next())
    else {
        return Err(bad("no request line of HTTP/1.1"));
    };
    let header = |line: &str| {
        line.split_once(':')
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers = lines
        .map(header)
        .collect::<Option<_>>()
        .ok_or_else(|| bad("a header without a colon"))?;
    Ok(HttpRequest {
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        body: Vec::new(),
    })
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What becomes of the connection after an answer.
#[derive(PartialEq)]
pub(super) enum AfterReply {
    /// It serves the next request.
    Stays,
    /// It ends: the answer was not one.
    Ends,
}

/// Sends an answer, or what is to come in its place.
pub(super) async fn write(stream: &mut TcpStream, reply: &HttpReply) -> io::Result<AfterReply> {
    let length = if let Delivery::Blanks(bytes) = reply.delivery {
        bytes
    } else {
        reply.body.len() as u64
    };
    let mut answer = format!("HTTP/1.1 {} {}\r\n", reply.status, reason(reply.status)).into_bytes();
    for (name, value) in &reply.headers {
        answer.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    answer.extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes());
    match reply.delivery {
        Delivery::Whole => {
            answer.extend_from_slice(&reply.body);
            stream.write_all(&answer).await?;
        }
        Delivery::After(pause) => {
            rest_for(stream, pause).await?;
            answer.extend_from_slice(&reply.body);
            stream.write_all(&answer).await?;
        }
        Delivery::Close => return Ok(AfterReply::Ends),
        Delivery::Reset => {
            stream.set_zero_linger()?;
            return Ok(AfterReply::Ends);
        }
        Delivery::Truncate(bytes) => {
            answer.extend_from_slice(
                &reply.body[..reply.body.len().saturating_sub(1).min(bytes as usize)],
            );
            stream.write_all(&answer).await?;
            return Ok(AfterReply::Ends);
        }
        Delivery::Hang => {
            while stream.read(&mut [0; 1024]).await? > 0 {}
            return Ok(AfterReply::Ends);
        }
        Delivery::Trickle(bytes, pause) => {
            stream.write_all(&answer).await?;
            for (i, piece) in reply.body.chunks(bytes.max(1) as usize).enumerate() {
                if i > 0 {
                    rest_for(stream, pause).await?;
                }
                stream.write_all(piece).await?;
            }
        }
        Delivery::Blanks(bytes) => {
            stream.write_all(&answer).await?;
            let blanks = [b' '; 64 * 1024];
            let mut left = bytes;
            while left > 0 {
                let piece = left.min(blanks.len() as u64);
                stream.write_all(&blanks[..piece as usize]).await?;
                left -= piece;
            }
        }
    }
    Ok(AfterReply::Stays)
}

/// Waits, but not for a client that has gone.
async fn rest_for(stream: &TcpStream, pause: Duration) -> io::Result<()> {
    let gone = async {
        match stream.peek(&mut [0]).await {
            Ok(1..) => std::future::pending().await, // its next request, early
            _ => io::Error::from(io::ErrorKind::ConnectionAborted),
        }
    };
    tokio::select! {
        () = tokio::time::sleep(pause) => Ok(()),
        error = gone => Err(error),
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
