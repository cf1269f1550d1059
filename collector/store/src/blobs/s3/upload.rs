//! Creates objects: in one request, or as a multipart upload, which becomes an object when it is
//! completed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{Method, StatusCode};
use object_store::ObjectStoreExt;

use super::lock::ObjectLock;
use super::request::{S3Document, S3Response};
use super::{S3Bucket, warn};
use crate::blobs::BlobError;
use crate::blocking;

/// Larger objects are uploaded in parts. S3 requires at least 5 MiB for each part but the last.
const PART_BYTES_MIN: u64 = 8 * 1024 * 1024;

/// S3 accepts up to 10 000 parts.
const PARTS_MAX: u64 = 10_000;

/// Parts that are uploaded concurrently. An upload holds that many parts in memory.
const PARTS_AT_ONCE: usize = 4;

/// Attempts when another process creates or removes the same object at the same time.
const CONFLICTS_MAX: usize = 10;

/// The content of a new object.
pub(crate) enum UploadSource {
    Bytes(Bytes),
    File {
        path: PathBuf,
        file: Arc<File>,
        bytes: u64,
    },
}

impl UploadSource {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { bytes, .. } => *bytes,
        }
    }

    /// Reads the bytes from `begin` up to, but not including, `end`.
    async fn read(&self, begin: u64, end: u64) -> Result<Bytes, BlobError> {
        match self {
            Self::Bytes(bytes) => {
                let index = |at: u64| usize::try_from(at).expect("the bytes are in memory");
                Ok(bytes.slice(index(begin)..index(end)))
            }
            Self::File { path, file, .. } => {
                let file = file.clone();
                let part = blocking(move || read_part(&file, begin, end)).await;
                part.map_err(|cause| BlobError::ReadFile {
                    path: path.clone(),
                    cause,
                })
            }
        }
    }
}

fn read_part(file: &File, begin: u64, end: u64) -> io::Result<Bytes> {
    let mut part = vec![0; usize::try_from(end - begin).map_err(io::Error::other)?];
    file.read_exact_at(&mut part, begin)?;
    Ok(part.into())
}

/// Creates the object `key`, unless it already exists with the same bytes.
pub(super) async fn create(
    s3: &S3Bucket,
    key: &str,
    source: &UploadSource,
    lock: Option<&ObjectLock>,
) -> Result<(), BlobError> {
    for _ in 0..CONFLICTS_MAX {
        let is_created = match source.len() {
            0..=PART_BYTES_MIN => create_at_once(s3, key, source, lock).await?,
            _ => create_in_parts(s3, key, source, lock).await?,
        };
        if is_created {
            return Ok(());
        }
        match is_same(s3, key, source).await {
            // Perhaps our own, if the response to an earlier attempt was lost.
            Ok(true) => return Ok(()),
            Ok(false) => {
                return Err(BlobError::Exists {
                    key: key.to_owned(),
                });
            }
            // Another process is still creating it, or has removed it: try again.
            Err(BlobError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(BlobError::Contended {
        key: key.to_owned(),
    })
}

/// Returns false if the object exists, or may exist.
async fn create_at_once(
    s3: &S3Bucket,
    key: &str,
    source: &UploadSource,
    lock: Option<&ObjectLock>,
) -> Result<bool, BlobError> {
    let mut request = s3
        .client
        .request(Method::PUT, Some(&s3.path(key)))
        .header("if-none-match", "*");
    if let Some(lock) = lock {
        request = lock.add_to(request);
    }
    let response = request
        .body(source.read(0, source.len()).await?)
        .expect(S3Response::has_etag)
        .send("write")
        .await?;
    match response.status {
        StatusCode::OK => Ok(true),
        StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => Ok(false),
        _ => Err(response.rejection("write", key)),
    }
}

/// Returns false if the object exists, or may exist.
async fn create_in_parts(
    s3: &S3Bucket,
    key: &str,
    source: &UploadSource,
    lock: Option<&ObjectLock>,
) -> Result<bool, BlobError> {
    let mut request = s3
        .client
        .request(Method::POST, Some(&s3.path(key)))
        .query("uploads", "");
    request = request.header("x-amz-checksum-algorithm", "SHA256");
    if let Some(lock) = lock {
        request = lock.add_to(request);
    }
    let response = request
        .expect(|response| upload_id(response).is_some())
        .send("begin to write")
        .await?;
    let id = upload_id(&response).ok_or_else(|| response.rejection("begin to write", key))?;
    let upload = MultipartUpload { s3, key, id };
    let created = upload.finish(source).await;
    // Otherwise the parts stay, and cost money, until a lifecycle rule removes them.
    if !matches!(created, Ok(true)) {
        upload.abort().await;
    }
    created
}

fn upload_id(response: &S3Response) -> Option<&str> {
    match &response.document {
        Some(S3Document::InitiateMultipartUploadResult { upload_id }) => Some(upload_id),
        _ => None,
    }
}

/// A multipart upload in progress.
struct MultipartUpload<'u> {
    s3: &'u S3Bucket,
    key: &'u str,
    id: &'u str,
}

impl MultipartUpload<'_> {
    async fn finish(&self, source: &UploadSource) -> Result<bool, BlobError> {
        let part_bytes = part_bytes(source.len());
        let parts = (0..source.len().div_ceil(part_bytes))
            .map(|number| self.put_part(source, number, part_bytes));
        // `buffered` keeps the order, which the list of parts needs.
        let parts: Vec<String> = stream::iter(parts)
            .buffered(PARTS_AT_ONCE)
            .try_collect()
            .await?;
        let list = format!(
            "<CompleteMultipartUpload>{}</CompleteMultipartUpload>",
            parts.concat()
        );
        let request = self
            .s3
            .client
            .request(Method::POST, Some(&self.s3.path(self.key)))
            .query("uploadId", self.id);
        let response = request
            .header("if-none-match", "*")
            .body(list)
            .expect(is_completion)
            .send("finish to write")
            .await?;
        match response.status {
            StatusCode::OK if is_completion(&response) => Ok(true),
            StatusCode::OK if response.error_code() == Some("PreconditionFailed") => Ok(false),
            // S3 also forgets an upload that is completed: an earlier attempt may have succeeded.
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT | StatusCode::NOT_FOUND => {
                Ok(false)
            }
            _ => Err(response.rejection("finish to write", self.key)),
        }
    }

    /// Uploads one part, and returns its element for the request that completes the upload.
    async fn put_part(
        &self,
        source: &UploadSource,
        number: u64,
        part_bytes: u64,
    ) -> Result<String, BlobError> {
        let begin = number * part_bytes;
        let body = source
            .read(begin, source.len().min(begin + part_bytes))
            .await?;
        let checksum =
            data_encoding::BASE64.encode(evidence_format::digest::Digest::of(&body).as_bytes());
        let number = number + 1; // S3 counts parts from 1
        let request = self
            .s3
            .client
            .request(Method::PUT, Some(&self.s3.path(self.key)));
        let request = request
            .query("partNumber", &number.to_string())
            .query("uploadId", self.id);
        let response = request
            .body(body)
            .expect(S3Response::has_etag)
            .send("write a part of")
            .await?;
        let etag = response
            .headers
            .get("etag")
            .and_then(|etag| etag.to_str().ok())
            .filter(|_| response.status == StatusCode::OK);
        let etag = etag.ok_or_else(|| response.rejection("write a part of", self.key))?;
        Ok(format!(
            "<Part><ChecksumSHA256>{checksum}</ChecksumSHA256><ETag>{etag}</ETag><PartNumber>{number}</PartNumber></Part>"
        ))
    }

    /// Releases the storage of the parts. If this fails, a lifecycle rule of the bucket should do
    /// it.
    async fn abort(&self) {
        let request = self
            .s3
            .client
            .request(Method::DELETE, Some(&self.s3.path(self.key)))
            .query("uploadId", self.id);
        if let Err(error) = request.send("give up").await {
            warn!(key = self.key, %error, "cannot abort an upload: its parts stay in the bucket");
        }
    }
}

fn is_completion(response: &S3Response) -> bool {
    matches!(
        response.document,
        Some(S3Document::CompleteMultipartUploadResult {})
    )
}

/// Size of the parts of an object: whole megabytes, at least [`PART_BYTES_MIN`], and large enough
/// that [`PARTS_MAX`] parts suffice.
fn part_bytes(bytes: u64) -> u64 {
    bytes
        .div_ceil(PARTS_MAX)
        .max(PART_BYTES_MIN)
        .next_multiple_of(1024 * 1024)
}

/// True if the object `key` has this content. Reads it in full: an ETag is not always a digest.
async fn is_same(s3: &S3Bucket, key: &str, source: &UploadSource) -> Result<bool, BlobError> {
    let fail = |cause| BlobError::of_store("compare", key, cause);
    let object = s3.store.get(&s3.path(key)).await.map_err(fail)?;
    if object.meta.size != source.len() {
        return Ok(false);
    }
    let mut chunks = object.into_stream();
    let mut compared = 0;
    while let Some(chunk) = chunks.try_next().await.map_err(fail)? {
        let end = compared + chunk.len() as u64;
        if source.read(compared, end).await? != chunk {
            return Ok(false);
        }
        compared = end;
    }
    Ok(compared == source.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_size_keeps_within_the_limits_of_s3() {
        for bytes in [
            1,
            8 << 20,
            (8 << 20) + 1,
            80_000 << 20,
            (80_000 << 20) + 1,
            5 << 40,
        ] {
            let part = part_bytes(bytes);
            assert!(
                part >= PART_BYTES_MIN && bytes.div_ceil(part) <= PARTS_MAX,
                "{bytes}: {part}"
            );
        }
    }
}
