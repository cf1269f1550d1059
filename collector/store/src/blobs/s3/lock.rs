//! S3 Object Lock: until a day, nobody removes the object (governance: but those with a special
//! right).

use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};

use super::S3Bucket;
use super::request::S3Request;
use crate::blobs::BlobError;
use crate::blobs::config::{LockConfig, LockMode};

/// A lock that ends so little earlier need not be made longer: the same object is put again when an
/// answer was lost.
const TOLERANCE: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

/// What an object is to be locked by.
pub(super) struct ObjectLock {
    retention: Option<ObjectRetention>,
    legal_hold: bool,
}

/// Until when, and against whom.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ObjectRetention {
    mode: LockMode,
    pub(super) until: jiff::Timestamp,
}

impl ObjectLock {
    /// The lock of an object that is created now.
    pub(super) fn from_now(config: &LockConfig) -> Result<Self, BlobError> {
        let retention = config.retention.map(|retention| {
            let time =
                SystemTime::now() + Duration::from_secs(86_400 * u64::from(retention.days.get()));
            let seconds = time
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs());
            let until = i64::try_from(seconds)
                .ok()
                .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
            let until = until.ok_or_else(|| {
                BlobError::Config("blobs.lock.retention.days is too long".to_owned())
            })?;
            Ok(ObjectRetention {
                mode: retention.mode,
                until,
            })
        });
        Ok(Self {
            retention: retention.transpose()?,
            legal_hold: config.legal_hold,
        })
    }

    /// Has the request that creates an object lock it.
    pub(super) fn on<'r>(&self, mut request: S3Request<'r>) -> S3Request<'r> {
        if let Some(retention) = &self.retention {
            request = request.header("x-amz-object-lock-mode", retention.mode.as_str());
            request = request.header(
                "x-amz-object-lock-retain-until-date",
                &retention.until.to_string(),
            );
        }
        if self.legal_hold {
            request = request.header("x-amz-object-lock-legal-hold", "ON");
        }
        request
    }

    /// Asks whether the object is locked, and locks it if not: it may have been created without,
    /// and not every store heeds the headers.
    pub(super) async fn ensure(&self, s3: &S3Bucket, key: &str) -> Result<(), BlobError> {
        if let Some(wanted) = self.retention {
            self.ensure_retention(s3, key, wanted).await?;
        }
        if self.legal_hold {
            self.ensure_legal_hold(s3, key).await?;
        }
        Ok(())
    }

    async fn ensure_retention(
        &self,
        s3: &S3Bucket,
        key: &str,
        wanted: ObjectRetention,
    ) -> Result<(), BlobError> {
        let found = retention_of(s3, key).await?;
        let wanted = match found {
            Some(found) if found.mode >= wanted.mode && found.until + TOLERANCE >= wanted.until => {
                return Ok(());
            }
            Some(found) => ObjectRetention {
                mode: found.mode.max(wanted.mode),
                until: found.until.max(wanted.until),
            },
            None => wanted,
        };
        let body = format!(
            "<Retention><Mode>{}</Mode><RetainUntilDate>{}</RetainUntilDate></Retention>",
            wanted.mode.as_str(),
            wanted.until
        );
        let request = s3
            .client
            .request(Method::PUT, Some(&s3.path(key)))
            .query("retention", "")
            .body(body);
        let response = request.send("lock").await?;
        if response.status != StatusCode::OK {
            return Err(response.refusal("lock", key));
        }
        match retention_of(s3, key).await? {
            Some(found) if found == wanted => Ok(()),
            _ => Err(BlobError::NotLocked {
                key: key.to_owned(),
            }),
        }
    }

    async fn ensure_legal_hold(&self, s3: &S3Bucket, key: &str) -> Result<(), BlobError> {
        if has_legal_hold(s3, key).await? {
            return Ok(());
        }
        let body = "<LegalHold><Status>ON</Status></LegalHold>";
        let request = s3
            .client
            .request(Method::PUT, Some(&s3.path(key)))
            .query("legal-hold", "")
            .body(body);
        let response = request.send("lock").await?;
        if response.status != StatusCode::OK {
            return Err(response.refusal("lock", key));
        }
        if has_legal_hold(s3, key).await? {
            Ok(())
        } else {
            Err(BlobError::NotLocked {
                key: key.to_owned(),
            })
        }
    }
}

pub(super) async fn retention_of(
    s3: &S3Bucket,
    key: &str,
) -> Result<Option<ObjectRetention>, BlobError> {
    let response = s3
        .client
        .request(Method::GET, Some(&s3.path(key)))
        .query("retention", "")
        .send("read the lock of")
        .await?;
    match response.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None), // it has none
        _ => return Err(response.refusal("read the lock of", key)),
    }
    let mode = response
        .element("Mode")
        .and_then(|mode| LockMode::parse(&mode));
    let until = response
        .element("RetainUntilDate")
        .and_then(|date| date.parse().ok());
    Ok(mode
        .zip(until)
        .map(|(mode, until)| ObjectRetention { mode, until }))
}

async fn has_legal_hold(s3: &S3Bucket, key: &str) -> Result<bool, BlobError> {
    let response = s3
        .client
        .request(Method::GET, Some(&s3.path(key)))
        .query("legal-hold", "")
        .send("read the lock of")
        .await?;
    match response.status {
        StatusCode::OK => Ok(response.element("Status").as_deref() == Some("ON")),
        StatusCode::NOT_FOUND => Ok(false),
        _ => Err(response.refusal("read the lock of", key)),
    }
}
