//! Sends requests to a server of HTTP/1.1 at a steady rate, whether it keeps up or not, and says
//! what came of each.
//!
//! `load ADDRESS CONNECTIONS RATE < requests > answers`: one JSON document a line, in `{"path",
//! "headers": {…}, "body"}`, each sent by POST; out `{"status", "ms", "body"}` in the same order.
//! Request `n` is due at `n / RATE` seconds, all at once for a rate of 0, and its milliseconds
//! count from then, so that a server which falls behind cannot hide it. Status 0 is no answer.

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
}

#[derive(Serialize)]
struct Answer {
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

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |name: &str| {
        arguments
            .next()
            .unwrap_or_else(|| panic!("{name} is missing"))
    };
    let (address, connections, rate) = (
        argument("ADDRESS"),
        argument("CONNECTIONS"),
        argument("RATE"),
    );
    let lines = std::io::stdin().lock().lines();
    let requests = lines
        .map(|line| serde_json::from_str(&line.expect("text")).expect("a request"))
        .collect();
    let begin = Instant::now() + Duration::from_millis(200); // all connections stand by then
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
    let mut answers = BTreeMap::new();
    for sender in senders {
        answers.extend(sender.await.expect("no panic"));
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for answer in answers.values() {
        let line = serde_json::to_string(answer).expect("numbers and text");
        writeln!(out, "{line}").expect("somebody reads");
    }
}

/// One connection: takes the next request that nobody has, until there is none.
async fn send(load: Arc<Load>) -> Vec<(usize, Answer)> {
    let (mut answers, mut connection) = (Vec::new(), connect(&load.address).await);
    loop {
        let index = load.next.fetch_add(1, Ordering::Relaxed);
        let Some(request) = load.requests.get(index) else {
            return answers;
        };
        let after = if load.rate > 0.0 {
            Duration::from_secs_f64(index as f64 / load.rate)
        } else {
            Duration::ZERO
        };
        let due = load.begin + after;
        sleep_until(due).await;
        let answer = match &mut connection {
            Ok(stream) => exchange(stream, &load.address, request).await,
            Err(error) => Err(std::io::Error::new(error.kind(), error.to_string())),
        };
        if answer.is_err() {
            connection = connect(&load.address).await;
        }
        let (status, body) = answer.unwrap_or_else(|error| (0, error.to_string()));
        answers.push((
            index,
            Answer {
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
            format!("the answer has no {what}"),
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
