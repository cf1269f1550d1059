//! Verifies a bundle while its bytes arrive.

use std::io::{self, BufReader};
use std::num::NonZeroUsize;

use bytes::Bytes;
use evidence_format::container::tar;
use evidence_format::digest::Digest;
use evidence_format::item::WorkerPool;
use evidence_format::verify::{Finding, TrustPolicy, verify};
use futures::stream::poll_fn;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::io::{StreamReader, SyncIoBridge};

/// Received chunks that wait for the verifier: a few hundred KiB.
const CHUNKS_MAX: usize = 16;
/// Bytes that the verifier reads at once.
const READ_BYTES: usize = 256 * 1024;

/// A verification in progress. Dropping it cancels the verification.
pub(super) struct BundleChecker {
    send: mpsc::Sender<Bytes>,
    /// The fault, if there is one.
    report: JoinHandle<Result<(), String>>,
}

impl BundleChecker {
    /// Starts to verify that the bytes to come are `bundle`.
    pub(super) fn start(bundle: Digest) -> Self {
        let (send, mut receive) = mpsc::channel(CHUNKS_MAX);
        let chunks =
            poll_fn(move |cx| receive.poll_recv(cx).map(|chunk| chunk.map(io::Result::Ok)));
        // The verifier reads and computes without `await`, so it has a thread of its own.
        let reader = SyncIoBridge::new(StreamReader::new(chunks));
        let report = spawn_blocking(move || {
            let mut files = tar::TarReader::new(BufReader::with_capacity(READ_BYTES, reader));
            let trust = TrustPolicy {
                keys: Vec::new(),
                bundle: Some(bundle),
            };
            let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
            let report = verify(&mut files, &trust, &mut WorkerPool::for_reading(threads));
            match report.integrity {
                Finding::Ok(_) => Ok(()),
                Finding::Failed(fault) => Err(format!("{}: {}", fault.object, fault.detail)),
                Finding::NotChecked(why) => Err(why.to_owned()),
            }
        });
        Self { send, report }
    }

    /// Takes the next bytes. False if the verifier has already found a fault and reads no more.
    pub(super) async fn feed(&self, chunk: Bytes) -> bool {
        self.send.send(chunk).await.is_ok()
    }

    /// Takes the finish of the bytes, and returns the fault if there is one.
    pub(super) async fn finish(self) -> Result<(), String> {
        drop(self.send);
        self.report
            .await
            .unwrap_or_else(|_| Err("the verifier crashed: this is a bug in exhibit".to_owned()))
    }
}
