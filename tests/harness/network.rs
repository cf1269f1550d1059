//! A faulty network between a client and a server: it cuts connections, or corrupts what the server
//! sends.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The fault of one connection, in the direction from the server to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionFault {
    Nothing,
    /// The connection is cut after this many bytes.
    CutAfter(u64),
    /// The byte at this offset is changed. The offset counts from the start of the response head.
    CorruptByte(u64),
}

/// A proxy that applies the n-th fault to the n-th connection, and the last fault to all later
/// ones. It runs until the process exits.
pub struct FaultyNetwork {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl FaultyNetwork {
    /// Starts a proxy in front of `server`.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn before(server: &str, cuts: &[ConnectionFault]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("the socket is bound");
        let (server, cuts, connections) = (
            server.to_owned(),
            cuts.to_vec(),
            Arc::new(AtomicUsize::new(0)),
        );
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let number = counted.fetch_add(1, Ordering::Relaxed);
                let cut = cuts
                    .get(number)
                    .or(cuts.last())
                    .copied()
                    .unwrap_or(ConnectionFault::Nothing);
                let Ok(server) = TcpStream::connect(&server) else {
                    continue;
                };
                thread::spawn(move || connect(&client, &server, cut));
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// The number of connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn connect(client: &TcpStream, server: &TcpStream, cut: ConnectionFault) {
    thread::scope(|scope| {
        scope.spawn(|| {
            copy(client, server, ConnectionFault::Nothing);
            let _ = server.shutdown(Shutdown::Both);
        });
        copy(server, client, cut);
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    });
}

/// Forwards bytes until the connection ends or is cut.
fn copy(mut from: &TcpStream, mut to: &TcpStream, cut: ConnectionFault) {
    let (mut buffer, mut sent) = (vec![0; 16 * 1024], 0);
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let end = sent + n as u64;
        let left = match cut {
            ConnectionFault::CutAfter(bytes) => usize::try_from(bytes.saturating_sub(sent))
                .unwrap_or(n)
                .min(n),
            ConnectionFault::CorruptByte(at) if (sent..end).contains(&at) => {
                buffer[usize::try_from(at - sent).expect("within the buffer")] ^= 1;
                n
            }
            ConnectionFault::CorruptByte(_) | ConnectionFault::Nothing => n,
        };
        if to.write_all(&buffer[..left]).is_err() || left < n {
            return;
        }
        sent = end;
    }
}
