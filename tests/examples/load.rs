//! Sends requests to an HTTP/1.1 server at a steady rate, whether or not the server keeps up, and
//! prints the response to each.
//!
//! `load ADDRESS CONNECTIONS RATE < requests > responses`: one JSON document per line. A request is
//! `{"path", "headers": {…}, "body", "dueSeconds"}`, sent by POST; a response is `{"status", "ms",
//! "body"}`, in the order of the requests. Status 0 means that there was no response.
//!
//! Request `n` is due after `dueSeconds`, else after `n / RATE` seconds, or at once if RATE is 0.
//! Requests must be in the order in which they are due. Latency is measured from when a request is
//! due, not from when it is sent, so a server that falls behind cannot hide it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

#[derive(Deserialize)]
struct Request {
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
    #[serde(rename = "dueSeconds")]
    due_seconds: Option<f64>,
}

#[derive(Serialize)]
struct Response {
    status: u16,
    ms: f64,
    body: String,
}

struct Load {
    address: String,
    rate: f64,
    requests: Vec<Request>,
    next: AtomicUsize,
    begin: Instant,
}

impl Load {
    fn due_seconds(&self, index: usize, request: &Request) -> f64 {
        match request.due_seconds {
            Some(seconds) => seconds,
            None if self.rate > 0.0 => index as f64 / self.rate,
            None => 0.0,
        }
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(connections), Some(rate)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        panic!("usage: load ADDRESS CONNECTIONS RATE")
    };
    let lines = std::io::stdin().lock().lines();
    let requests = lines
        .map(|line| serde_json::from_str(&line.expect("text")).expect("a request"))
        .collect();
    let begin = Instant::now() + Duration::from_millis(200); // until all connections are open
    let rate = rate.parse().expect("requests a second");
    let load = Arc::new(Load {
        address,
        rate,
        requests,
        next: AtomicUsize::new(0),
        begin,
    });
    let senders: Vec<_> = (0..connections.parse().expect("a number"))
        .map(|_| tokio::spawn(send(Arc::clone(&load))))
        .collect();
    let mut responses = BTreeMap::new();
    for sender in senders {
        responses.extend(sender.await.expect("no panic"));
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for response in responses.values() {
        let line = serde_json::to_string(response).expect("numbers and text");
        writeln!(out, "{line}").expect("stdout is open");
    }
}

/// One connection: takes the next unsent request until there is none left.
async fn send(load: Arc<Load>) -> Vec<(usize, Response)> {
    let (mut responses, mut connection) = (Vec::new(), connect(&load.address).await);
    loop {
        let index = load.next.fetch_add(1, Ordering::Relaxed);
        let Some(request) = load.requests.get(index) else {
            return responses;
        };
        let due = load.begin + Duration::from_secs_f64(load.due_seconds(index, request));
        sleep_until(due).await;
        let response = match &mut connection {
            Ok(stream) => exchange(stream, &load.address, request).await,
            Err(error) => Err(std::io::Error::new(error.kind(), error.to_string())),
        };
        if response.is_err() {
            connection = connect(&load.address).await;
        }
        let (status, body) = response.unwrap_or_else(|error| (0, error.to_string()));
        responses.push((
            index,
            Response {
                status,
                ms: due.elapsed().as_secs_f64() * 1000.0,
                body,
            },
        ));
    }
}

async fn connect(address: &str) -> std::io::Result<BufStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(BufStream::new(stream))
}

async fn exchange(
    stream: &mut BufStream<TcpStream>,
    address: &str,
    request: &Request,
) -> std::io::Result<(u16, String)> {
    let Request {
        path,
        headers,
        body,
        due_seconds: _,
    } = request;
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n",
        body.len()
    );
    head.extend(
        headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n")),
    );
    stream
        .write_all(format!("{head}\r\n{body}").as_bytes())
        .await?;
    stream.flush().await?;
    let malformed = |what: &str| {
        std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            format!("the response has no {what}"),
        )
    };
    let (mut status, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        status = status.or_else(|| line.split(' ').nth(1)?.parse().ok());
        length = line
            .strip_prefix("content-length:")
            .map_or(Ok(length), |text| text.trim().parse())
            .map_err(|_| malformed("length"))?;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((
        status.ok_or_else(|| malformed("status"))?,
        String::from_utf8_lossy(&body).into_owned(),
    ))
}
