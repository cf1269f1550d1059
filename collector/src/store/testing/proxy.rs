//! A proxy between a client and a server that does to them what networks do.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// What happens to the next request that contains a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It arrives, and the connection is cut before the answer.
    AnswerLost(&'static str),
}

type Faults = Arc<Mutex<Vec<Fault>>>;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    faults: Faults,
}

impl Proxy {
    /// A proxy before `server`, until the runtime of the test ends.
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let faults = Faults::default();
        let planned = faults.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server, planned.clone()));
            }
        });
        Self { address, faults }
    }

    /// Each of these happens once.
    pub(crate) fn plan(&self, faults: &[Fault]) {
        self.faults.lock().expect("no panic in between").extend_from_slice(faults);
    }

    /// What has not happened yet.
    pub(crate) fn left(&self) -> Vec<Fault> {
        self.faults.lock().expect("no panic in between").clone()
    }
}

async fn connect(mut client: TcpStream, server: SocketAddr, faults: Faults) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (requests, mut answers) = client.split();
    let (mut from_server, to_server) = server.split();
    let fault = tokio::select! {
        fault = forward(requests, to_server, &faults) => fault,
        _ = copy(&mut from_server, &mut answers) => None,
    };
    if fault.is_some() {
        sleep(Duration::from_millis(300)).await; // the server has time to do it
    }
}

/// Hands requests on, up to one that a fault is planned for.
async fn forward(mut requests: ReadHalf<'_>, mut to_server: WriteHalf<'_>, faults: &Faults) -> Option<Fault> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = requests.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        let fault = take_fault(&buffer[..read], faults);
        to_server.write_all(&buffer[..read]).await.ok()?;
        if fault.is_some() {
            return fault;
        }
    }
}

fn take_fault(request: &[u8], faults: &Faults) -> Option<Fault> {
    let mut faults = faults.lock().expect("no panic in between");
    let is_in = |text: &str| request.windows(text.len()).any(|window| window == text.as_bytes());
    let first = faults.iter().position(|Fault::AnswerLost(text)| is_in(text));
    first.map(|first| faults.remove(first))
}
