//! The bucket backend, against SeaweedFS: with and without Object Lock, and through failures.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::SystemTime;

use bytes::Bytes;
use http::{Method, StatusCode};
use object_store::ObjectStoreExt;
use tests::proxy::{Fault, Proxy};
use tests::seaweed::{ADMIN, COLLECTOR, SECRET, Seaweed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::S3Bucket;
use crate::blobs::tests::{file, passes_every_case, pattern};
use crate::blobs::{
    BlobBackend, BlobError, BlobKind, Blobs, BlobsConfig, LockConfig, LockMode, RetentionConfig,
    S3Config, Secret,
};

fn config(address: SocketAddr, bucket: &str, who: &str) -> BlobsConfig {
    // The program chooses the TLS provider, and no client can be built without one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let s3 = S3Config {
        endpoint: Some(format!("http://{address}")),
        region: Some("us-east-1".to_owned()),
        access_key_id: Some(who.to_owned()),
        secret_access_key: Some(Secret::new(SECRET)),
        request_seconds_max: NonZeroU32::new(2),
        cache_bytes_max: None,
    };
    BlobsConfig {
        location: format!("s3://{bucket}/some/prefix"),
        s3,
        lock: None,
    }
}

async fn open(config: &BlobsConfig) -> Blobs {
    Blobs::open(config).await.expect("a sound configuration")
}

fn s3(blobs: &Blobs) -> &S3Bucket {
    match &blobs.backend {
        BlobBackend::S3(s3) => s3,
        BlobBackend::Folder(_) => panic!("it is a bucket"),
    }
}

fn lock(mode: LockMode, days: u32, legal_hold: bool) -> LockConfig {
    let days = NonZeroU32::new(days).expect("some days");
    LockConfig {
        retention: Some(RetentionConfig { mode, days }),
        legal_hold,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bucket_passes_every_case() {
    let Some(seaweed) = Seaweed::start() else {
        return;
    };
    seaweed.make_bucket("plain", false);
    let blobs = open(&config(seaweed.address, "plain", COLLECTOR)).await;
    blobs.check().await.expect("it is as it should be");
    blobs.check().await.expect("as often as you like");
    passes_every_case(&blobs, "all").await;
    assert_eq!(blobs.locate("a/b"), "s3://plain/some/prefix/a/b");
    assert!(
        blobs
            .list("")
            .await
            .expect("a store")
            .iter()
            .all(|listed| listed.key.starts_with("all/"))
    );
    assert!(!blobs.list("").await.expect("a store").is_empty());
}

/// The IAM actions that a request needs (Service Authorization Reference, "Actions defined by
/// Amazon S3").
fn iam_actions(head: &str) -> Vec<&'static str> {
    let mut words = head.split(' ');
    let (method, target) = (
        words.next().expect("a method"),
        words.next().expect("a target"),
    );
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let has = |name: &str| {
        query
            .split('&')
            .any(|pair| pair.split('=').next() == Some(name))
    };
    let is_bucket = path.trim_matches('/').split('/').count() == 1;
    let main = match method {
        "GET" if has("object-lock") => "s3:GetBucketObjectLockConfiguration",
        "GET" | "HEAD" if is_bucket => "s3:ListBucket",
        "GET" if has("retention") => "s3:GetObjectRetention",
        "GET" if has("legal-hold") => "s3:GetObjectLegalHold",
        "GET" | "HEAD" => "s3:GetObject",
        "PUT" if has("retention") => "s3:PutObjectRetention",
        "PUT" if has("legal-hold") => "s3:PutObjectLegalHold",
        "DELETE" if has("uploadId") => "s3:AbortMultipartUpload",
        "DELETE" if has("versionId") => "s3:DeleteObjectVersion",
        "DELETE" => "s3:DeleteObject",
        "POST" if has("delete") => "s3:DeleteObject",
        "PUT" | "POST" => "s3:PutObject",
        other => panic!("no action is known for {other} {target}"),
    };
    let head = head.to_ascii_lowercase();
    let of_fields = [
        ("\nx-amz-object-lock-mode:", "s3:PutObjectRetention"),
        ("\nx-amz-object-lock-legal-hold:", "s3:PutObjectLegalHold"),
    ];
    let of_fields = of_fields.iter().filter(|(field, _)| head.contains(field));
    [main]
        .into_iter()
        .chain(of_fields.map(|(_, action)| *action))
        .collect()
}

/// A policy with less fails at the first bundle, and one with more is not the least.
#[tokio::test(flavor = "multi_thread")]
async fn policy_allows_what_is_asked_for_and_nothing_else() {
    let Some(seaweed) = Seaweed::start() else {
        return;
    };
    seaweed.make_bucket("watched", true);
    let proxy = Proxy::before(seaweed.address);
    let config = BlobsConfig {
        lock: Some(lock(LockMode::Governance, 1, true)),
        ..config(proxy.address(), "watched", COLLECTOR)
    };
    let blobs = open(&config).await;
    blobs.check().await.expect("the bucket has a lock");
    blobs.ping().await.expect("it answers");
    blobs.list("").await.expect("it is empty");
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = pattern(20 * 1024 * 1024);
    let (content, other) = (file(&folder, &bytes), pattern(20 * 1024 * 1024 + 1));
    for _ in 0..2 {
        let put = blobs.put_file("sealed", &content, BlobKind::Sealed).await;
        put.expect("it is new, or the same again");
    }
    let refused = file(&folder, &other);
    let refused = blobs.put_file("sealed", &refused, BlobKind::Sealed).await;
    assert!(
        matches!(refused, Err(BlobError::Exists { .. })),
        "{refused:?}"
    );
    // Another writer has stored it without a lock.
    let plain = BlobsConfig {
        lock: None,
        ..config.clone()
    };
    let unlocked = open(&plain).await;
    let put = unlocked
        .put_file("unlocked", &content, BlobKind::Sealed)
        .await;
    put.expect("it is new");
    let put = blobs.put_file("unlocked", &content, BlobKind::Sealed).await;
    put.expect("it is locked now");
    let page = Bytes::from_static(b"page");
    blobs.put("page", page).await.expect("it is new");
    blobs.get("page").await.expect("it is there");
    blobs.delete("page").await.expect("it is not locked");
    let asked: BTreeSet<String> = proxy
        .heads()
        .iter()
        .flat_map(|head| iam_actions(head))
        .map(str::to_owned)
        .collect();
    let policy = include_str!("../../../../../deploy/aws/s3-policy.json");
    let policy: serde_json::Value = serde_json::from_str(policy).expect("JSON");
    let actions = |effect: &str| -> BTreeSet<String> {
        let statements = policy["Statement"].as_array().into_iter().flatten();
        statements
            .filter(|statement| statement["Effect"] == effect)
            .flat_map(|statement| statement["Action"].as_array().into_iter().flatten())
            .map(|action| action.as_str().expect("a text").to_owned())
            .collect()
    };
    assert_eq!(asked, actions("Allow"));
    assert!(asked.is_disjoint(&actions("Deny")));
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_bundle_cannot_be_removed() {
    let Some(seaweed) = Seaweed::start() else {
        return;
    };
    seaweed.make_bucket("locked", true);
    let admin = open(&config(seaweed.address, "locked", ADMIN)).await;
    let folder = tempfile::tempdir().expect("a folder");
    for (name, mode) in [
        ("governance", LockMode::Governance),
        ("compliance", LockMode::Compliance),
    ] {
        let config = BlobsConfig {
            lock: Some(lock(mode, 30, true)),
            ..config(seaweed.address, "locked", COLLECTOR)
        };
        let blobs = open(&config).await;
        blobs.check().await.expect("the bucket has a lock");
        for (size, bytes) in [
            ("small", pattern(1000)),
            ("parts", pattern(20 * 1024 * 1024)),
        ] {
            let key = format!("{name}/{size}");
            blobs
                .put_file(&key, &file(&folder, &bytes), BlobKind::Sealed)
                .await
                .expect("it is new");
            blobs
                .put_file(&key, &file(&folder, &bytes), BlobKind::Sealed)
                .await
                .expect("the same again");
            let until = retained_until(&blobs, &key).await.expect("it is locked");
            let days = (until.as_second() - now().as_second()) as f64 / 86_400.0;
            assert!((29.9..=30.1).contains(&days), "{days}");
            for who in [&blobs, &admin] {
                assert!(!removes_version(who, &key).await, "{key} is locked");
            }
            assert!(blobs.get(&key).await.expect("it is there") == bytes);
        }
        blobs
            .put(&format!("{name}/page"), Bytes::from_static(b"staged"))
            .await
            .expect("it is new");
        assert_eq!(
            retained_until(&blobs, &format!("{name}/page")).await,
            None,
            "a page at work is not locked"
        );
        assert!(
            removes_version(&blobs, &format!("{name}/page")).await,
            "so it can be removed"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_existing_object_without_lock() {
    let Some(seaweed) = Seaweed::start() else {
        return;
    };
    seaweed.make_bucket("locked", true);
    let folder = tempfile::tempdir().expect("a folder");
    let bundle = file(&folder, b"bundle");
    let plain = open(&config(seaweed.address, "locked", COLLECTOR)).await;
    plain
        .put_file("bundle", &bundle, BlobKind::Sealed)
        .await
        .expect("it is new");
    assert_eq!(retained_until(&plain, "bundle").await, None);
    let mut last = None;
    for days in [10, 40, 20] {
        let lock = Some(lock(LockMode::Governance, days, false));
        let blobs = open(&BlobsConfig {
            lock,
            ..config(seaweed.address, "locked", COLLECTOR)
        })
        .await;
        blobs
            .put_file("bundle", &bundle, BlobKind::Sealed)
            .await
            .expect("the same bytes");
        let until = retained_until(&blobs, "bundle").await;
        assert!(
            until > last || days == 20 && until == last,
            "longer, and never shorter: {last:?} {until:?}"
        );
        last = until;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_bucket_without_object_lock() {
    let Some(seaweed) = Seaweed::start() else {
        return;
    };
    seaweed.make_bucket("plain", false);
    let lock = Some(lock(LockMode::Governance, 1, false));
    let blobs = open(&BlobsConfig {
        lock: lock.clone(),
        ..config(seaweed.address, "plain", COLLECTOR)
    })
    .await;
    let refused = blobs.check().await;
    assert!(
        matches!(refused, Err(BlobError::NoObjectLock { .. })),
        "{refused:?}"
    );
    let nowhere = open(&config(seaweed.address, "nowhere", COLLECTOR))
        .await
        .check()
        .await;
    assert!(
        matches!(nowhere, Err(BlobError::Refused { .. })),
        "{nowhere:?}"
    );
    let stranger = open(&config(seaweed.address, "plain", "stranger"))
        .await
        .check()
        .await;
    assert!(
        matches!(stranger, Err(BlobError::Refused { status: 403, .. })),
        "{stranger:?}"
    );

    for location in ["s3://", "s3:///prefix", "s3://bucket/../x"] {
        let config = BlobsConfig {
            location: location.to_owned(),
            ..config(seaweed.address, "plain", COLLECTOR)
        };
        assert!(
            matches!(Blobs::open(&config).await, Err(BlobError::Config(_))),
            "{location}"
        );
    }
    let folder = BlobsConfig {
        location: "/tmp".to_owned(),
        lock,
        ..config(seaweed.address, "plain", COLLECTOR)
    };
    assert!(
        matches!(Blobs::open(&folder).await, Err(BlobError::Config(_))),
        "a folder cannot be locked"
    );
}

#[tokio::test]
async fn rejects_bucket_that_overwrites() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let careless = b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\n\
        Content-Length: 0\r\nConnection: close\r\n\r\n";
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = [0; 4096];
            drop(client.read(&mut request).await);
            drop(client.write_all(careless).await);
        }
    });
    let refused = open(&config(address, "careless", COLLECTOR))
        .await
        .check()
        .await;
    assert!(
        matches!(refused, Err(BlobError::Overwrites { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_transient_failures() {
    let Some(seaweed) = Seaweed::start() else {
        return;
    };
    seaweed.make_bucket("plain", false);
    let proxy = Proxy::before(seaweed.address);
    let blobs = open(&config(proxy.address(), "plain", COLLECTOR)).await;
    let (small, large) = (pattern(1000), pattern(20 * 1024 * 1024));
    let folder = tempfile::tempdir().expect("a folder");
    let large_requests = |number: usize| match number {
        0 => "uploads=",
        1 => "partNumber=2&",
        _ => "?uploadId=",
    };
    let server_error = |request| Fault::Answered(request, 500, "");
    for (number, fault) in [server_error, Fault::Silence, Fault::AnswerLost]
        .into_iter()
        .enumerate()
    {
        proxy.plan(&[fault("PUT /plain/some/prefix/small")]);
        blobs
            .put(&format!("small{number}"), small.clone())
            .await
            .expect("it asks again");
        assert_eq!(proxy.left(), []);
        proxy.plan(&[fault("GET /plain/some/prefix/small")]);
        assert!(
            blobs
                .get(&format!("small{number}"))
                .await
                .expect("it asks again")
                == small
        );
        for request in 0..3 {
            let key = format!("large{number}{request}");
            proxy.plan(&[fault(large_requests(request))]);
            blobs
                .put_file(&key, &file(&folder, &large), BlobKind::Sealed)
                .await
                .expect("it asks again");
            assert_eq!(proxy.left(), [], "{key}");
            assert!(blobs.get(&key).await.expect("it is there") == large);
        }
    }
    assert_eq!(blobs.list("").await.expect("a store").len(), 12);
}

/// Responses that are no success, whatever their status says.
#[tokio::test(flavor = "multi_thread")]
async fn believes_only_the_expected_answer() {
    let Some(seaweed) = Seaweed::start() else {
        return;
    };
    seaweed.make_bucket("locked", true);
    let proxy = Proxy::before(seaweed.address);
    let blobs = open(&BlobsConfig {
        lock: Some(lock(LockMode::Governance, 1, true)),
        ..config(proxy.address(), "locked", COLLECTOR)
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let portal = "<html><body>Sign in to use this network</body></html>";
    let cut_off = "<?xml version=\"1.0\"?>\n<CompleteMultipartUploadResult><Location>h";
    let begin = "?uploads=";
    let part = "partNumber=2&";
    let completion = "?uploadId=";
    let small = "PUT /locked/some/prefix/small";
    let retention = "?retention=";
    let legal_hold = "?legal-hold=";
    let faults = [
        (small, 200, portal),
        (small, 400, "<Error><Code>RequestTimeout</Code></Error>"),
        (begin, 200, portal),
        (part, 200, ""),
        (completion, 200, ""),
        (completion, 200, portal),
        (completion, 200, cut_off),
        (
            completion,
            200,
            " \n <?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code></Error>",
        ),
        (
            completion,
            200,
            "<Error><Code>SlowDown</Code><Message>Wait.</Message></Error>",
        ),
        (
            completion,
            200,
            "<Error><Code>PreconditionFailed</Code></Error>",
        ),
        (retention, 200, portal),
        (legal_hold, 200, portal),
    ];
    for (number, (request, status, body)) in faults.into_iter().enumerate() {
        let (name, bytes) = if request == small {
            ("small", pattern(1000))
        } else {
            ("large", pattern(9 * 1024 * 1024))
        };
        proxy.plan(&[Fault::Answered(request, status, body)]);
        let key = format!("{name}{number}");
        blobs
            .put_file(&key, &file(&folder, &bytes), BlobKind::Sealed)
            .await
            .expect("it tries again");
        assert_eq!(proxy.left(), [], "{request} {body}");
        assert!(
            blobs.get(&key).await.expect("it is there") == bytes,
            "{request} {body}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_a_late_error_at_once() {
    let Some(seaweed) = Seaweed::start() else {
        return;
    };
    seaweed.make_bucket("plain", false);
    let proxy = Proxy::before(seaweed.address);
    let blobs = open(&config(proxy.address(), "plain", COLLECTOR)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let denied = "<Error><Code>AccessDenied</Code><Message>Not &lt;you&gt;.</Message></Error>";
    proxy.plan(&[Fault::Answered("?uploadId=", 200, denied)]);
    let refused = blobs
        .put_file(
            "large",
            &file(&folder, &pattern(9 * 1024 * 1024)),
            BlobKind::Sealed,
        )
        .await;
    assert_eq!(
        refused.expect_err("it is denied").to_string(),
        "cannot finish to write object large: the store answers 200 AccessDenied: \
         Not <you>."
    );
    assert!(!blobs.exists("large").await.expect("a store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_id_is_not_sent_as_xml() {
    let Some(seaweed) = Seaweed::start() else {
        return;
    };
    seaweed.make_bucket("plain", false);
    let proxy = Proxy::before(seaweed.address);
    let blobs = open(&config(proxy.address(), "plain", COLLECTOR)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let begun = "<InitiateMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
        <Bucket>plain</Bucket><UploadId>a&amp;b&#x2F;c</UploadId></InitiateMultipartUploadResult>";
    proxy.plan(&[
        Fault::Answered("?uploads=", 200, begun),
        Fault::Answered("DELETE", 204, ""), // gives the unknown upload up
        Fault::Answered("uploadId=a%26b%2Fc", 403, ""),
    ]);
    let refused = blobs
        .put_file(
            "large",
            &file(&folder, &pattern(9 * 1024 * 1024)),
            BlobKind::Sealed,
        )
        .await;
    refused.expect_err("the bucket has no such upload");
    assert_eq!(proxy.left(), []);
}

fn now() -> jiff::Timestamp {
    SystemTime::now().try_into().expect("a time of our century")
}

async fn retained_until(blobs: &Blobs, key: &str) -> Option<jiff::Timestamp> {
    super::lock::retention_of(s3(blobs), key)
        .await
        .expect("a store")
        .map(|retention| retention.until)
}

/// Tries to delete the current version of the object, so that nothing is left of it.
async fn removes_version(blobs: &Blobs, key: &str) -> bool {
    let s3 = s3(blobs);
    let version = s3
        .store
        .head(&s3.path(key))
        .await
        .expect("it is there")
        .version
        .expect("the bucket keeps versions");
    let request = s3
        .client
        .request(Method::DELETE, Some(&s3.path(key)))
        .query("versionId", &version);
    let response = request.send("remove").await.expect("a store");
    match response.status {
        StatusCode::NO_CONTENT => true,
        StatusCode::FORBIDDEN => false,
        _ => panic!("{} {}", response.status, response.text()),
    }
}
