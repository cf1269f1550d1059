//! Downloads bundles. A download resumes where an earlier one broke off, is verified while it
//! arrives, and gets its final name only when it is complete and the requested bundle.

mod checker;

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use api::ProblemCode;
use evidence_format::digest::Digest;
use platform::backoff::Backoff;
use platform::durable;
use platform::random_fraction;
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Response, StatusCode};
use rustix::fs::OFlags;
use rustix::process::geteuid;
use tokio::time::sleep;
use tracing::debug;

use self::checker::BundleChecker;
use super::{ApiCall, ApiClient, ClientError};
use platform::progress::ProgressCounter;

/// Connections in a row that bring nothing new before a download is given up, and the pause between
/// two.
const FRUITLESS_MAX: u32 = 5;
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(2));
const READ_BYTES: usize = 256 * 1024;

/// A running download.
struct BundleDownload<'d> {
    client: &'d ApiClient,
    bundle: Digest,
    to: &'d Path,
    /// The hidden file that holds the bytes until the download is complete, and stays after a
    /// failure.
    partial: PathBuf,
    file: File,
    /// Bytes in the partial file.
    received_bytes: u64,
    checker: BundleChecker,
    progress: &'d ProgressCounter,
}

impl ApiClient {
    /// Downloads a bundle into the new file `to`, and resumes an earlier download into that file.
    /// When this returns, the file is durable and holds exactly that bundle, whose id matches its
    /// content. Signatures are not verified.
    ///
    /// # Errors
    /// See [`ClientError`]. If the connection breaks, the received bytes are kept for the next
    /// attempt.
    pub async fn download(
        &self,
        bundle: Digest,
        to: &Path,
        progress: &ProgressCounter,
    ) -> Result<(), ClientError> {
        if to.symlink_metadata().is_ok() {
            return Err(file_error(to)(io::ErrorKind::AlreadyExists.into()));
        }
        let partial = partial_path(to, &bundle);
        let file = open_partial(&partial).map_err(file_error(&partial))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ClientError::DownloadRunning {
                    path: to.to_owned(),
                });
            }
            Err(TryLockError::Error(cause)) => return Err(file_error(&partial)(cause)),
        }
        let checker = BundleChecker::start(bundle);
        let mut download = BundleDownload {
            client: self,
            bundle,
            to,
            partial,
            file,
            received_bytes: 0,
            checker,
            progress,
        };
        download.resume().await?;
        download.receive_all().await?;
        download.finish().await
    }
}

/// Opens the partial file of an earlier download, or creates it. In a folder that others can write
/// to, such as /tmp, they may have put a file of theirs in its place, or a link to a file that they
/// want overwritten.
fn open_partial(path: &Path) -> io::Result<File> {
    // Neither a symbolic link nor, as checked below, a second name of another file.
    let no_follow = OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.uid() != geteuid().as_raw() || metadata.nlink() != 1 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the file is not this user's: remove it, or download into another folder",
        ));
    }
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

impl BundleDownload<'_> {
    /// Feeds the bytes of an earlier download to the verifier.
    async fn resume(&mut self) -> Result<(), ClientError> {
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(file_error(&self.partial))?;
        loop {
            let mut buffer = vec![0; READ_BYTES];
            let n = self
                .file
                .read(&mut buffer)
                .map_err(file_error(&self.partial))?;
            if n == 0 {
                return Ok(());
            }
            buffer.truncate(n);
            self.add_received(n as u64);
            // A fault ends the download later, where `receive` also finds it.
            self.checker.feed(buffer.into()).await;
        }
    }

    fn add_received(&mut self, bytes: u64) {
        self.received_bytes += bytes;
        self.progress
            .bytes
            .store(self.received_bytes, Ordering::Relaxed);
    }

    /// Discards the received bytes, because the server sends the bundle from its beginning.
    fn restart(&mut self) -> Result<(), ClientError> {
        self.file.set_len(0).map_err(file_error(&self.partial))?;
        self.received_bytes = 0;
        self.checker = BundleChecker::start(self.bundle);
        Ok(())
    }

    /// Receives the rest of the bundle, over as many connections as that takes.
    async fn receive_all(&mut self) -> Result<(), ClientError> {
        let mut fruitless = 0;
        loop {
            let before = self.received_bytes;
            let Err(error) = self.receive_once().await else {
                return Ok(());
            };
            fruitless = if self.received_bytes > before {
                0
            } else {
                fruitless + 1
            };
            if !error.is_transient() || fruitless >= FRUITLESS_MAX {
                return Err(error);
            }
            debug!(%error, received_bytes = self.received_bytes, "download broke, resuming it");
            let retry = fruitless.saturating_sub(1);
            sleep(BACKOFF.equal_jitter(retry, random_fraction())).await;
        }
    }

    /// Receives the rest of the bundle over one connection.
    async fn receive_once(&mut self) -> Result<(), ClientError> {
        let mut call = ApiCall::get(format!("v1/bundles/{}", self.bundle)).slow();
        if self.received_bytes > 0 {
            let range = format!("bytes={}-", self.received_bytes);
            let tag = format!("\"{}\"", self.bundle); // the server uses the id as ETag
            call = call
                .header(RANGE, ascii_header(&range))
                .header(IF_RANGE, ascii_header(&tag));
        }
        let response = match self.client.send(&call).await {
            Err(error) if error.code() == Some(ProblemCode::RangeNotSatisfiable) => {
                // The last connection broke after the last byte. If the partial file is not the
                // bundle, the verifier says so.
                return Ok(());
            }
            sent => sent?,
        };
        match (response.status(), range_start(response.headers())) {
            (StatusCode::PARTIAL_CONTENT, Some(start)) if start == self.received_bytes => {}
            // Without the range, the server sends the whole bundle.
            (StatusCode::OK, _) if self.received_bytes == 0 => {}
            (StatusCode::OK, _) => self.restart()?,
            (status, _) => {
                return Err(self
                    .client
                    .unreadable(&format!("{status} without the requested range")));
            }
        }
        self.receive(response).await
    }

    async fn receive(&mut self, mut response: Response) -> Result<(), ClientError> {
        while let Some(chunk) = self.client.chunk(&mut response).await? {
            self.file
                .write_all(&chunk)
                .map_err(file_error(&self.partial))?;
            self.add_received(chunk.len() as u64);
            if !self.checker.feed(chunk).await {
                break; // the verifier found a fault, which `finish` returns
            }
        }
        Ok(())
    }

    /// Gives the file its final name, if it is the bundle.
    async fn finish(self) -> Result<(), ClientError> {
        let Self {
            client,
            bundle,
            to,
            partial,
            file,
            checker,
            ..
        } = self;
        if let Err(fault) = checker.finish().await {
            // Otherwise the next attempt would resume after the wrong bytes.
            let _ = std::fs::remove_file(&partial);
            return Err(ClientError::WrongBundle {
                server: client.server.to_string(),
                bundle,
                fault,
            });
        }
        file.sync_all().map_err(file_error(&partial))?;
        durable::rename_new(&partial, to).map_err(file_error(to))?;
        durable::sync_folder_of(to).map_err(file_error(to))
    }
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> ClientError + use<> {
    let path = path.to_owned();
    move |cause| ClientError::File { path, cause }
}

/// A hidden file beside `to`, the same for every download of `bundle` into `to`.
fn partial_path(to: &Path, bundle: &Digest) -> PathBuf {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    to.with_file_name(format!(".{name}.{}.unfinished", &bundle.hex()[..16]))
}

fn ascii_header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("digits and ids are ASCII")
}

/// The offset of a partial answer (RFC 9110 §14.4): 512 for `bytes 512-1023/1024`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    value
        .strip_prefix("bytes ")?
        .split_once('-')?
        .0
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_offset_of_content_range() {
        let read = |value: &'static str| {
            range_start(&HeaderMap::from_iter([(
                CONTENT_RANGE,
                HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(read("bytes 512-1023/1024"), Some(512));
        for bad in ["bytes */1024", "items 0-1/2", "bytes x-1/2", ""] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn rejects_partial_file_of_somebody_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let (theirs, name) = (
            folder.path().join("theirs"),
            folder.path().join(".a.tar.unfinished"),
        );
        std::fs::write(&theirs, "1").expect("own folder");
        std::os::unix::fs::symlink(&theirs, &name).expect("own folder");
        open_partial(&name).expect_err("a link");
        std::fs::remove_file(&name).expect("own folder");
        std::fs::hard_link(&theirs, &name).expect("own folder");
        assert_eq!(
            open_partial(&name)
                .expect_err("a second name of a file")
                .kind(),
            io::ErrorKind::PermissionDenied
        );
        std::fs::remove_file(&name).expect("own folder");
        rustix::fs::mkfifoat(rustix::fs::CWD, &name, 0o600.into()).expect("own folder");
        assert_eq!(
            open_partial(&name).expect_err("a pipe").kind(),
            io::ErrorKind::PermissionDenied
        );
        std::fs::remove_file(&name).expect("own folder");
        open_partial(&name)
            .expect("nothing was there")
            .write_all(b"2")
            .expect("own file");
        open_partial(&name).expect("what this user has left");
        assert_eq!(
            std::fs::metadata(&name)
                .expect("own file")
                .permissions()
                .mode()
                & 0o777,
            0o600
        );
        assert_eq!(std::fs::read_to_string(&theirs).expect("own file"), "1");
    }
}
