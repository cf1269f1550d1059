//! A network that cuts connections off, or changes what is sent: between a client and a server,
//! connection by connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What happens to what the server sends over one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionFault {
    /// Nothing.
    Nothing,
    /// It is cut off behind so many bytes.
    CutAfter(u64),
    /// The byte at this place, its header counted, is another one.
    CorruptByte(u64),
}

/// A network before a server, which does to the n-th connection what the n-th of its cuts says, and
/// to later ones what the last does. It ends with the process.
pub struct FaultyNetwork {
    /// Where it listens.
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl FaultyNetwork {
    /// Before `server`.
    ///
    /// # Panics
    /// No port is free.
    #[must_use]
    pub fn before(server: &str, cuts: &[ConnectionFault]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
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

    /// How many connections there were.
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

/// Hands on what comes, until the end or the cut.
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
