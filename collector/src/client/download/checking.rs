//! The check of a bundle whose bytes are still arriving.

use std::io::{self, BufReader, Read};
use std::num::NonZeroUsize;

use bytes::{Buf as _, Bytes};
use evidence_format::container::tar;
use evidence_format::digest::Digest;
use evidence_format::item::Workers;
use evidence_format::verify::{Finding, Trust, verify};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

/// Pieces that wait for the check: some hundred KiB.
const PIECES_WAITING_MAX: usize = 16;
/// Bytes that the check reads at once.
const READ_BYTES: usize = 256 * 1024;

/// A check under way. Dropped, it is given up.
pub(super) struct BundleChecker {
    send: mpsc::Sender<Bytes>,
    /// What is wrong, if anything is.
    report: JoinHandle<Result<(), String>>,
}

impl BundleChecker {
    /// Expects the bytes of `bundle`.
    pub(super) fn begin(bundle: Digest) -> Self {
        let (send, receive) = mpsc::channel(PIECES_WAITING_MAX);
        let report = spawn_blocking(move || {
            let pieces = Pieces {
                receive,
                piece: Bytes::new(),
            };
            let mut files = tar::Reader::new(BufReader::with_capacity(READ_BYTES, pieces));
            let trust = Trust {
                keys: Vec::new(),
                bundle: Some(bundle),
            };
            let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
            let report = verify(&mut files, &trust, &mut Workers::unpack(threads));
            match report.integrity {
                Finding::Ok(_) => Ok(()),
                Finding::Failed(fault) => Err(format!("{}: {}", fault.object, fault.detail)),
                Finding::NotChecked(why) => Err(why.to_owned()),
            }
        });
        Self { send, report }
    }

    /// Takes the next bytes. False if it is clear already that they are not those of the bundle.
    pub(super) async fn feed(&self, piece: Bytes) -> bool {
        self.send.send(piece).await.is_ok()
    }

    /// Ends the bytes. What is wrong with them, if anything is.
    pub(super) async fn end(self) -> Result<(), String> {
        drop(self.send);
        self.report
            .await
            .unwrap_or_else(|_| Err("its check crashed, which is this program's fault".to_owned()))
    }
}

/// The bytes as they arrive, for whoever reads them and may wait.
struct Pieces {
    receive: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receive.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}
