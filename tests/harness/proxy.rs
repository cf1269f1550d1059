//! A proxy between a client and a server that injects network faults into chosen requests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::sleep;

use crate::acceptor::Acceptor;

/// A fault of the next request that contains the given text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server receives the request, and the connection is cut before the response.
    AnswerLost(&'static str),
    /// The server does not receive the request; the proxy responds with this status and body.
    Answered(&'static str, u16, &'static str),
    /// The server does not receive the request, and there is no response.
    Silence(&'static str),
}

type Faults = Arc<Mutex<Vec<Fault>>>;
type Heads = Arc<Mutex<Vec<String>>>;

/// A proxy that runs until it is dropped.
pub struct Proxy {
    faults: Faults,
    heads: Heads,
    acceptor: Acceptor,
}

impl Proxy {
    /// Starts a proxy in front of `server`. It accepts connections when this returns.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn before(server: SocketAddr) -> Self {
        let faults = Faults::default();
        let heads = Heads::default();
        let (planned, seen) = (Arc::clone(&faults), Arc::clone(&heads));
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let acceptor = Acceptor::start(any_port, move |client| {
            connect(client, server, Arc::clone(&planned), Arc::clone(&seen))
        });
        Self {
            faults,
            heads,
            acceptor,
        }
    }

    /// The request line and header fields of each request so far.
    ///
    /// # Panics
    /// If the proxy has panicked.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("the lock is not poisoned").clone()
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.acceptor.address
    }

    /// Adds faults, each of which happens once.
    ///
    /// # Panics
    /// If the proxy has panicked.
    pub fn plan(&self, faults: &[Fault]) {
        self.faults
            .lock()
            .expect("the lock is not poisoned")
            .extend_from_slice(faults);
    }

    /// The faults that have not happened yet.
    ///
    /// # Panics
    /// If the proxy has panicked.
    #[must_use]
    pub fn left(&self) -> Vec<Fault> {
        self.faults
            .lock()
            .expect("the lock is not poisoned")
            .clone()
    }
}

async fn connect(mut client: TcpStream, server: SocketAddr, faults: Faults, heads: Heads) {
    let Ok(mut server) = TcpStream::connect(server).await else {
        return;
    };
    let (requests, mut answers) = client.split();
    let (mut from_server, to_server) = server.split();
    let fault = tokio::select! {
        fault = forward(requests, to_server, &faults, &heads) => fault,
        _ = copy(&mut from_server, &mut answers) => None,
    };
    match fault {
        Some(Fault::Answered(_, status, body)) => {
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} \r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            drop(answers.write_all(answer.as_bytes()).await);
        }
        Some(Fault::Silence(_)) => sleep(Duration::from_secs(600)).await,
        Some(Fault::AnswerLost(_)) => sleep(Duration::from_millis(300)).await, // gives the server time to process it
        None => {}
    }
}

/// Forwards requests up to the first one with a planned fault, and returns that fault.
async fn forward(
    mut requests: ReadHalf<'_>,
    mut to_server: WriteHalf<'_>,
    faults: &Faults,
    heads: &Heads,
) -> Option<Fault> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = requests
            .read(&mut buffer)
            .await
            .ok()
            .filter(|read| *read > 0)?;
        if let Some(head) = head_of(&buffer[..read]) {
            heads.lock().expect("the lock is not poisoned").push(head);
        }
        let fault = take_fault(&buffer[..read], faults);
        if matches!(fault, None | Some(Fault::AnswerLost(_))) {
            to_server.write_all(&buffer[..read]).await.ok()?;
        }
        if fault.is_some() {
            return fault;
        }
    }
}

/// The head at the beginning of `bytes`; `None` if they are a part of a body.
fn head_of(bytes: &[u8]) -> Option<String> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let is_head = head.lines().next()?.ends_with(" HTTP/1.1");
    is_head.then(|| head.to_owned())
}

fn take_fault(request: &[u8], faults: &Faults) -> Option<Fault> {
    let mut faults = faults.lock().expect("the lock is not poisoned");
    let first = faults.iter().position(|fault| {
        let (Fault::AnswerLost(text) | Fault::Answered(text, ..) | Fault::Silence(text)) = fault;
        request
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    });
    first.map(|first| faults.remove(first))
}
