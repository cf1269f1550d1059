//! The part of HTTP/1.1 that the SDKs use, written by hand so that faults can act on the
//! connection.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::service::{Delivery, HttpReply};

/// Limit of a request's line and headers. Those of the SDKs are below 3 kB.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Limit of a request's body. The largest are lookups with a page token.
const BODY_BYTES_MAX: usize = 1024 * 1024;

pub(crate) struct HttpRequest {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl HttpRequest {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Reads the next request of a connection, or `None` at its end. `rest` has the bytes that were
/// read past the previous request.
pub(crate) async fn read(
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
            return Err(invalid("the head is too long"));
        }
        if stream.read_buf(rest).await? == 0 {
            return if rest.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
    };
    let mut request = parse_head(&rest[..head_end])?;
    let length = request
        .header("content-length")
        .map_or(Ok(0), str::parse)
        .map_err(|_| invalid("content-length is not a number"))?;
    if length > BODY_BYTES_MAX || request.header("transfer-encoding").is_some() {
        return Err(invalid("the body is too long or chunked"));
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

fn parse_head(bytes: &[u8]) -> io::Result<HttpRequest> {
    let text = std::str::from_utf8(bytes).map_err(|_| invalid("the head is not UTF-8"))?;
    let mut lines = text.trim_end().split("\r\n");
    let mut line = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1")) = (line.next(), line.next(), line.next())
    else {
        return Err(invalid("not an HTTP/1.1 request line"));
    };
    let header = |line: &str| {
        line.split_once(':')
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers = lines
        .map(header)
        .collect::<Option<_>>()
        .ok_or_else(|| invalid("a header has no colon"))?;
    Ok(HttpRequest {
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        body: Vec::new(),
    })
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What happens to the connection after a reply.
#[derive(PartialEq)]
pub(super) enum AfterReply {
    /// It serves the next request.
    KeepAlive,
    /// It is closed, because the reply was incomplete.
    Close,
}

/// Sends a reply, or the fault in its place.
pub(super) async fn write(stream: &mut TcpStream, reply: &HttpReply) -> io::Result<AfterReply> {
    let length = if let Delivery::Blanks(bytes) = reply.delivery {
        bytes
    } else {
        reply.body.len() as u64
    };
    let mut head = format!("HTTP/1.1 {} {}\r\n", reply.status, reason(reply.status)).into_bytes();
    for (name, value) in &reply.headers {
        head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    head.extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes());
    match reply.delivery {
        Delivery::Whole => {
            head.extend_from_slice(&reply.body);
            stream.write_all(&head).await?;
        }
        Delivery::After(pause) => {
            pause_for(stream, pause).await?;
            head.extend_from_slice(&reply.body);
            stream.write_all(&head).await?;
        }
        Delivery::Close => return Ok(AfterReply::Close),
        Delivery::Reset => {
            stream.set_zero_linger()?;
            return Ok(AfterReply::Close);
        }
        Delivery::Truncate(bytes) => {
            head.extend_from_slice(
                &reply.body[..reply.body.len().saturating_sub(1).min(bytes as usize)],
            );
            stream.write_all(&head).await?;
            return Ok(AfterReply::Close);
        }
        Delivery::Hang => {
            while stream.read(&mut [0; 1024]).await? > 0 {}
            return Ok(AfterReply::Close);
        }
        Delivery::Trickle(bytes, pause) => {
            stream.write_all(&head).await?;
            for (i, piece) in reply.body.chunks(bytes.max(1) as usize).enumerate() {
                if i > 0 {
                    pause_for(stream, pause).await?;
                }
                stream.write_all(piece).await?;
            }
        }
        Delivery::Blanks(bytes) => {
            stream.write_all(&head).await?;
            let blanks = [b' '; 64 * 1024];
            let mut left = bytes;
            while left > 0 {
                let piece = left.min(blanks.len() as u64);
                stream.write_all(&blanks[..piece as usize]).await?;
                left -= piece;
            }
        }
    }
    Ok(AfterReply::KeepAlive)
}

/// Pauses, and fails at once if the client closes the connection.
async fn pause_for(stream: &TcpStream, pause: Duration) -> io::Result<()> {
    let gone = async {
        match stream.peek(&mut [0]).await {
            Ok(1..) => std::future::pending().await, // a pipelined request
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
