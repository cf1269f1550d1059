//! Objects in a bucket of S3, or of a compatible service.
//!
//! Conditional requests (`If-None-Match: *`) create objects, so none is overwritten. The same
//! request locks a sealed bundle, so it never exists without its lock. object_store supports
//! neither for multipart uploads, so this module sends these requests itself, signed by its
//! `AwsAuthorizer`.

mod lock;
mod request;
#[cfg(test)]
mod tests;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::client::{HttpConnector, ReqwestConnector};
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig, StaticCredentialProvider};
use tracing::warn;

use super::config::{BlobsConfig, LockConfig, S3Config};
use super::{BlobError, BlobKind};
use request::{S3Client, S3Document, S3Response};
pub(super) use upload::UploadSource;

/// Longest time to connect.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// Default timeout of one request. The upload of one part is a request.
const REQUEST_SECONDS_MAX: u32 = 30;

/// The object that [`S3Bucket::check`] tries to overwrite. It is never removed: in a versioned
/// bucket, each removal would leave another version.
const CHECK: &str = ".check/no-overwrite";

/// The folder of [`CHECK`]. No other key may begin with it.
pub(super) const CHECK_FOLDER: &str = ".check";

/// A bucket, or the objects below a prefix in it.
#[derive(Clone, Debug)]
pub(super) struct S3Bucket {
    bucket: String,
    prefix: ObjectPath,
    store: AmazonS3,
    client: Arc<S3Client>,
    lock: Option<LockConfig>,
}

impl S3Bucket {
    pub(super) fn open(config: &BlobsConfig, patience: Duration) -> Result<Self, BlobError> {
        let location = config
            .location
            .strip_prefix("s3://")
            .unwrap_or(&config.location);
        let (bucket, prefix) = location.split_once('/').unwrap_or((location, ""));
        let prefix = prefix.trim_end_matches('/');
        if bucket.is_empty() || !(prefix.is_empty() || super::is_key(prefix)) {
            return Err(BlobError::Config(format!(
                "{:?} is not s3://bucket or s3://bucket/prefix",
                config.location
            )));
        }
        let fail = |cause| BlobError::Store {
            attempt: "open",
            key: config.location.clone(),
            cause: Box::new(cause),
        };
        let builder = builder(&config.s3, patience).with_bucket_name(bucket);
        let value = |key| builder.get_config_value(&key);
        let region = value(AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
        let endpoint = value(AmazonS3ConfigKey::Endpoint)
            .unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let seconds = config
            .s3
            .request_seconds_max
            .map_or(REQUEST_SECONDS_MAX, u32::from);
        let options = ClientOptions::new()
            .with_timeout(Duration::from_secs(seconds.into()))
            .with_connect_timeout(patience.clamp(Duration::from_secs(3), CONNECT_TIMEOUT_MAX))
            .with_allow_http(endpoint.starts_with("http://"));
        let http = ReqwestConnector::default()
            .connect(&options)
            .map_err(fail)?;
        let store = builder
            .with_region(&region)
            .with_client_options(options)
            .build()
            .map_err(fail)?;
        let client = S3Client::new(
            http,
            store.credentials().clone(),
            region,
            format!("{}/{bucket}", endpoint.trim_end_matches('/')),
            patience,
        );
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: ObjectPath::from(prefix),
            store,
            client: Arc::new(client),
            lock: config.lock.clone(),
        })
    }

    /// The same bucket, whose requests other than reads retry for `patience`.
    pub(super) fn with_write_patience(&self, patience: Duration) -> Self {
        Self {
            client: Arc::new(self.client.with_patience(patience)),
            ..self.clone()
        }
    }

    /// A reader for the objects below the prefix.
    pub(super) fn reader(&self) -> Arc<dyn ObjectStore> {
        Arc::new(PrefixStore::new(self.store.clone(), self.prefix.clone()))
    }

    /// Stores `source` as the object `key`. When this returns, the bucket has acknowledged the
    /// object, and locked it if it is a sealed bundle.
    pub(super) async fn put(
        &self,
        key: &str,
        source: &UploadSource,
        kind: BlobKind,
    ) -> Result<(), BlobError> {
        let lock = self
            .lock
            .as_ref()
            .filter(|_| kind == BlobKind::Sealed)
            .map(lock::ObjectLock::from_now)
            .transpose()?;
        upload::create(self, key, source, lock.as_ref()).await?;
        // The object may have existed without its lock.
        match lock {
            Some(lock) => lock.ensure(self, key).await,
            None => Ok(()),
        }
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), BlobError> {
        // object_store does not retry a deletion whose response is lost; S3Request does.
        let response = self
            .client
            .request(Method::DELETE, Some(&self.path(key)))
            .send("delete")
            .await?;
        match response.status {
            StatusCode::OK | StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(response.rejection("delete", key)),
        }
    }

    pub(super) fn locate(&self, key: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.path(key))
    }

    /// Checks that the bucket is writable, rejects overwriting, and supports a configured lock.
    pub(super) async fn check(&self) -> Result<(), BlobError> {
        let probe = UploadSource::Bytes(bytes::Bytes::from_static(
            b"An object that is here already is not overwritten.\n",
        ));
        upload::create(self, CHECK, &probe, None).await?;
        // A service that ignores the condition would overwrite the object and report success.
        let overwrite = self
            .client
            .request(Method::PUT, Some(&self.path(CHECK)))
            .header("if-none-match", "*")
            .body("other bytes")
            .expect(S3Response::has_etag);
        let response = overwrite.send("check").await?;
        match response.status {
            StatusCode::PRECONDITION_FAILED => {}
            StatusCode::OK => {
                return Err(BlobError::Overwrites {
                    bucket: self.bucket.clone(),
                });
            }
            _ => return Err(response.rejection("check", CHECK)),
        }
        if self.lock.is_some() {
            self.check_lock().await?;
        }
        Ok(())
    }

    async fn check_lock(&self) -> Result<(), BlobError> {
        let response = self
            .client
            .request(Method::GET, None)
            .query("object-lock", "")
            .expect(|response| {
                matches!(
                    response.document,
                    Some(S3Document::ObjectLockConfiguration { .. })
                )
            })
            .send("check")
            .await?;
        match &response.document {
            Some(S3Document::ObjectLockConfiguration {
                object_lock_enabled: Some(enabled),
            }) if response.status == StatusCode::OK && enabled == "Enabled" => Ok(()),
            _ if matches!(response.status, StatusCode::OK | StatusCode::NOT_FOUND) => {
                Err(BlobError::NoObjectLock {
                    bucket: self.bucket.clone(),
                })
            }
            _ => Err(response.rejection("read the lock configuration of", &self.bucket)),
        }
    }

    fn path(&self, key: &str) -> ObjectPath {
        self.prefix
            .parts()
            .chain(ObjectPath::from(key).parts())
            .collect()
    }
}

/// Combines the configuration with the environment; the configuration wins. A configured access key
/// is used without the session token of the environment, which belongs to the key that captures
/// use.
fn builder(config: &S3Config, patience: Duration) -> AmazonS3Builder {
    let retry = RetryConfig {
        retry_timeout: patience,
        ..RetryConfig::default()
    };
    let mut builder = AmazonS3Builder::from_env()
        .with_retry(retry)
        .with_disable_bulk_delete(true);
    for (value, key) in [
        (&config.endpoint, AmazonS3ConfigKey::Endpoint),
        (&config.region, AmazonS3ConfigKey::Region),
        (&config.access_key_id, AmazonS3ConfigKey::AccessKeyId),
    ] {
        if let Some(value) = value {
            builder = builder.with_config(key, value);
        }
    }
    let Some(secret) = &config.secret_access_key else {
        return builder;
    };
    match &config.access_key_id {
        Some(key_id) => {
            let credential = AwsCredential {
                key_id: key_id.clone(),
                secret_key: secret.reveal().to_owned(),
                token: None,
            };
            builder.with_credentials(Arc::new(StaticCredentialProvider::new(credential)))
        }
        None => builder.with_secret_access_key(secret.reveal()),
    }
}
