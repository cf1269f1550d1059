//! S3 Object Lock: nobody can remove the object before a date (in governance mode: nobody without a
//! special right).

use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};

use super::S3Bucket;
use super::request::{S3Document, S3Request};
use crate::blobs::BlobError;
use crate::blobs::config::{LockConfig, LockMode};

/// How much earlier than wanted an existing lock may end. A retry computes a slightly later end
/// than the first attempt, and need not extend its lock.
const TOLERANCE: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

/// The lock that an object must have.
pub(super) struct ObjectLock {
    retention: Option<ObjectRetention>,
    legal_hold: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ObjectRetention {
    mode: LockMode,
    pub(super) until: jiff::Timestamp,
}

impl ObjectLock {
    /// The lock of an object that is created now.
    pub(super) fn from_now(config: &LockConfig) -> Result<Self, BlobError> {
        let retention = config.retention.map(|retention| {
            let until = end_of_retention(retention.days.get()).ok_or_else(|| {
                BlobError::Config("blobs.lock.retention.days is too large".to_owned())
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

    /// Adds the lock to a request that creates an object.
    pub(super) fn add_to<'r>(&self, mut request: S3Request<'r>) -> S3Request<'r> {
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

    /// Makes sure that an existing object is locked: it may have been created without the lock, and
    /// not every store honours the headers of [`Self::add_to`].
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
            // S3 rejects a request that shortens or weakens a lock, so keep what is stricter.
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
            return Err(response.rejection("lock", key));
        }
        // Do not take the store's word for it: read the lock back.
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
            return Err(response.rejection("lock", key));
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

/// `days` from now, in whole seconds: S3 does not store fractions. `None` if that is out of range.
fn end_of_retention(days: u32) -> Option<jiff::Timestamp> {
    let end = SystemTime::now() + Duration::from_secs(86_400 * u64::from(days));
    let seconds = end
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

pub(super) async fn retention_of(
    s3: &S3Bucket,
    key: &str,
) -> Result<Option<ObjectRetention>, BlobError> {
    let response = s3
        .client
        .request(Method::GET, Some(&s3.path(key)))
        .query("retention", "")
        .expect(|response| matches!(response.document, Some(S3Document::Retention { .. })))
        .send("read the lock of")
        .await?;
    match &response.document {
        Some(S3Document::Retention {
            mode,
            retain_until_date,
        }) if response.status == StatusCode::OK => Ok(LockMode::parse(mode)
            .zip(retain_until_date.parse().ok())
            .map(|(mode, until)| ObjectRetention { mode, until })),
        // The object has no retention.
        _ if response.status == StatusCode::NOT_FOUND => Ok(None),
        _ => Err(response.rejection("read the lock of", key)),
    }
}

async fn has_legal_hold(s3: &S3Bucket, key: &str) -> Result<bool, BlobError> {
    let response = s3
        .client
        .request(Method::GET, Some(&s3.path(key)))
        .query("legal-hold", "")
        .expect(|response| matches!(response.document, Some(S3Document::LegalHold { .. })))
        .send("read the lock of")
        .await?;
    match &response.document {
        Some(S3Document::LegalHold { status }) if response.status == StatusCode::OK => {
            Ok(status == "ON")
        }
        _ if response.status == StatusCode::NOT_FOUND => Ok(false),
        _ => Err(response.rejection("read the lock of", key)),
    }
}
