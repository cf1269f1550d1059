//! The parts of sealing and verifying, measured separately on synthetic CloudTrail pages: `cargo
//! bench -p evidence-format`.

use std::hint::black_box;
use std::num::NonZeroUsize;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evidence_format::digest::Digest;
use evidence_format::item::{CompressionPool, ItemWriter, WorkerPool, read_item};
use evidence_format::segment::Segmenter;
use evidence_format::tree::DisclosureKey;
use evidence_format::warc::{RecordIds, RecordType, WarcHeader};

const BYTES: usize = 16 << 20;

/// Pages of events of about 1.4 kB as CloudTrail delivers them: short strings, few escapes.
fn pages() -> Vec<u8> {
    let mut pages = Vec::with_capacity(BYTES + 100_000);
    let mut n = 0_u64;
    while pages.len() < BYTES {
        let events: Vec<String> = (n..n + 8).map(event).collect();
        n += 8;
        pages.extend(format!("{{\"Records\":[{}]}}\n", events.join(",")).bytes());
    }
    pages
}

/// A CloudTrail event, different for each `n`.
fn event(n: u64) -> String {
    let id = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!(
        r#"{{"eventVersion":"1.08","userIdentity":{{"type":"AssumedRole","principalId":"AROA{id:016X}:app","arn":"arn:aws:sts::123456789012:assumed-role/app/{id:x}","accountId":"123456789012"}},"eventTime":"2026-11-23T13:{:02}:{:02}Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"eu-central-1","sourceIPAddress":"198.18.{}.{}","userAgent":"[aws-sdk-rust/1.8 \"x\"]","requestParameters":{{"bucketName":"data-{}","key":"a/b/{id:x}.parquet"}},"responseElements":null,"requestID":"{id:016X}","eventID":"{id:032x}","readOnly":true,"resources":[{{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::data/{id:x}"}}],"eventType":"AwsApiCall","recipientAccountId":"123456789012"}}"#,
        n / 60 % 60,
        n % 60,
        n % 256,
        n / 256 % 256,
        n % 7
    )
}

fn write(pages: &[u8], pack: &mut CompressionPool, key: &DisclosureKey) -> (Vec<u8>, Vec<u8>) {
    let header = WarcHeader {
        kind: RecordType::Resource,
        target_uri: Some("file:///trail"),
        date: "2026-11-23T13:40:17Z".parse().expect("a time"),
        content_type: "application/json",
        truncated: None,
        fields: &[],
    };
    let name = "trail".parse().expect("a name");
    let mut item = ItemWriter::start(
        pack,
        name,
        key,
        RecordIds::new([0; 8]),
        (Vec::new(), Vec::new()),
    )
    .expect("memory");
    item.record(&header, pages).expect("memory");
    let (_, layer, list) = item.finish(&[0; 32]).expect("memory");
    (layer, list)
}

fn benches(c: &mut Criterion) {
    let pages = pages();
    let key = DisclosureKey::new([7; 32]);
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut group = c.benchmark_group("format");
    group
        .throughput(Throughput::Bytes(pages.len() as u64))
        .sample_size(20);

    group.bench_function("segment", |b| {
        b.iter(|| {
            let (mut segmenter, mut cuts) = (Segmenter::sniff(&pages), 0_u64);
            for step in pages.chunks(32 * 1024) {
                segmenter.push(step, &mut |_, _| cuts += 1);
            }
            segmenter.finish(&mut |_, _| cuts += 1);
            black_box(cuts)
        });
    });
    group.bench_function("sha256", |b| b.iter(|| Digest::of(black_box(&pages))));
    let mut pack = CompressionPool::new(threads, 2 << 20);
    group.bench_function("write an item", |b| {
        b.iter(|| write(&pages, &mut pack, &key))
    });
    let (layer, list) = write(&pages, &mut pack, &key);
    let mut workers = WorkerPool::for_reading(threads);
    let name = "trail".parse().expect("a name");
    group.bench_function("read an item", |b| {
        b.iter(|| {
            read_item(
                &name,
                &key,
                (&layer[..], &list[..]),
                u64::MAX,
                &mut workers,
                &mut (),
            )
            .expect("own output")
        });
    });
    group.finish();
}

criterion_group!(format, benches);
criterion_main!(format);
