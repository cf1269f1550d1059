//! Captures the trail files of one account: digest files first, since they say which log files there
//! must be, and then the log files of each region and day. All days are listed again until nothing
//! is new.

use std::collections::{BTreeSet, HashSet};

use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::config::{Builder, Region};
use aws_sdk_cloudtrail::error::ProvideErrorMetadata as _;
use aws_sdk_cloudtrail::primitives::DateTime;
use bytes::Bytes;
use domain::plan::CaptureStep;
use evidence_derive::trail::{LIST_PUBLIC_KEYS, listed_files};
use evidence_format::coverage::{EndReason, GapReason};
use evidence_format::time::Timestamp;
use http::Response;

use super::bucket::{TrailBucket, refused};
use super::captured::CapturedFiles;
use super::config::TrailConfig;
use super::files::{FileWindow, TrailFileKind, last_part};
use super::{GET_GRANT, SESSION_POLICY, access_to, accounts_of, trail_of};
use crate::aws::{classify, incomplete, record_identity};
use crate::context::CaptureContext;
use crate::recorder::{CallError, QuotaKey, Recorder, RequestPolicy, RequestRate};
use crate::rest::{RequestError, seed, worst_of};
use crate::{Incomplete, join_all_independently};

/// Files that are asked for at the same time, and persisted together.
const FILES_AT_ONCE: usize = 16;
/// Times that all days are listed. CloudTrail delivers all the time, so that there may always be
/// something new; settle passes take it.
const ROUNDS_MAX: u32 = 5;
/// Files in a row that are refused or not answered, after which all others will be, too.
const FAILURES_MAX: u32 = 3;
/// Around the time of a backfill, in which its public key is valid.
const BACKFILL_SECONDS: i64 = 3600;
/// Pages of public keys; a region has some keys a year.
const KEY_PAGES_MAX: u32 = 100;

struct TrailCapture<'a> {
    cx: &'a CaptureContext,
    trail: &'a TrailConfig,
    recorder: Recorder,
    bucket: TrailBucket,
    window: FileWindow,
    captured: CapturedFiles,
    digests: HashSet<String>,
    /// Files that digest files name, by bucket and key.
    named: BTreeSet<(String, String)>,
    /// Times of backfills, in seconds since 1970.
    backfills: Vec<i64>,
    failures: u32,
    /// A file was received, so that files are not refused as such.
    has_received: bool,
}

pub(super) async fn capture(step: &CaptureStep, cx: &CaptureContext) -> Result<(), Incomplete> {
    let Some(window) = step.effective else {
        return Ok(());
    };
    let config = &cx.config.aws_cloudtrail_s3;
    let trail = trail_of(config, &step.target).map_err(|what| Incomplete {
        ended: EndReason::Failed,
        reason: GapReason::Unauthenticated,
        what,
    })?;
    let recorder = cx.recorder.with_own_buffer(seed());
    let identified = record_identity(
        &access_to(trail),
        SESSION_POLICY,
        &trail.region,
        cx,
        &recorder,
    )
    .await;
    let mut capture = TrailCapture {
        cx,
        trail,
        bucket: TrailBucket::open(trail, config, recorder.transport(), Some(&cx.incident)).await,
        window: FileWindow::new(&window, platform::clock::now()),
        captured: CapturedFiles::resumed(cx.cursor.as_deref()),
        digests: HashSet::new(),
        named: BTreeSet::new(),
        backfills: Vec::new(),
        failures: 0,
        has_received: false,
        recorder,
    };
    let result = match identified {
        Ok(()) => capture.run(step).await,
        Err(incomplete) => Err(incomplete),
    };
    // the failed attempts are evidence too: they prove that the files were asked for
    let persisted = capture.persist().await;
    result.and(persisted)
}

impl TrailCapture<'_> {
    async fn run(&mut self, step: &CaptureStep) -> Result<(), Incomplete> {
        let found = accounts_of(self.trail, &self.bucket, &self.recorder).await?;
        let own = |account: &&String| {
            let wanted = step.target.account.as_ref();
            wanted.is_none_or(|wanted| last_part(account) == wanted)
        };
        let accounts: Vec<String> = found.iter().filter(own).cloned().collect();
        for round in 0..ROUNDS_MAX {
            let mut troubles = Vec::new();
            let mut new_files = 0;
            for account in &accounts {
                new_files += self.account(account, round, &mut troubles).await?;
            }
            self.persist().await?;
            worst_of(troubles)?;
            if new_files == 0 {
                break;
            }
        }
        self.named_files().await
    }

    /// Captures what is new of one account. Returns how many files that were. What fails in one
    /// region costs only that region.
    async fn account(
        &mut self,
        account: &str,
        round: u32,
        troubles: &mut Vec<Incomplete>,
    ) -> Result<u64, Incomplete> {
        let mut new_files = 0;
        for kind in TrailFileKind::ALL {
            let folder = format!("{account}{}/", kind.folder());
            let listing = self.bucket.list(&self.recorder, &folder, true).await?;
            for region in listing.folders {
                let mut result = self.region(kind, &region).await;
                if kind == TrailFileKind::Digest && round == 0 && result.is_ok() {
                    result = self.public_keys(last_part(&region)).await.and(result);
                }
                match result {
                    Ok(files) => new_files += files,
                    Err(incomplete) if self.is_final(&incomplete) => return Err(incomplete),
                    Err(incomplete) => troubles.push(incomplete),
                }
            }
        }
        Ok(new_files)
    }

    /// Captures what is new in the folder `region`. Returns how many files that were.
    async fn region(&mut self, kind: TrailFileKind, region: &str) -> Result<u64, Incomplete> {
        let mut new_files = 0;
        for day in self.window.days() {
            let folder = format!("{region}{day}/");
            let mut listing = self.bucket.list(&self.recorder, &folder, false).await?;
            listing.keys.retain(|key| self.window.has(kind, key));
            let missing = match kind {
                TrailFileKind::Log => self.captured.missing(&folder, &listing.keys),
                // Each run captures them all, because it needs what they name.
                TrailFileKind::Digest => {
                    listing.keys.retain(|key| !self.digests.contains(key));
                    listing.keys
                }
            };
            new_files += missing.len() as u64;
            let bucket = self.bucket.name().to_owned();
            let files = missing.into_iter().map(|key| (bucket.clone(), key));
            self.files(kind, Some(&folder), files.collect()).await?;
        }
        Ok(new_files)
    }

    /// Asks for the files that digest files name and no listing has: S3's answer that they are gone
    /// is evidence.
    async fn named_files(&mut self) -> Result<(), Incomplete> {
        let named = std::mem::take(&mut self.named);
        for kind in TrailFileKind::ALL {
            let folder = format!("/{}/", kind.folder());
            let missing = named.iter().filter(|(_, key)| {
                key.contains(&folder)
                    && self.window.has(kind, key)
                    && !self.captured.has(key)
                    && !self.digests.contains(key)
            });
            let missing = missing.cloned().collect();
            self.files(kind, None, missing).await?;
        }
        Ok(())
    }

    /// Gets `files` of the day `day`, a group at a time.
    async fn files(
        &mut self,
        kind: TrailFileKind,
        day: Option<&str>,
        files: Vec<(String, String)>,
    ) -> Result<(), Incomplete> {
        let mut rest = files.as_slice();
        while !rest.is_empty() {
            // Until one is received, the next may be refused like the others.
            let at_once = if self.has_received { FILES_AT_ONCE } else { 1 };
            let (group, others) = rest.split_at(at_once.min(rest.len()));
            rest = others;
            let requests = group.iter().map(|(bucket, key)| {
                self.bucket
                    .get(&self.recorder, kind.endpoint(), (bucket, key))
            });
            let answers = join_all_independently(requests).await;
            for ((_, key), answer) in group.iter().zip(answers) {
                self.take(kind, key, answer)?;
                match (kind, day) {
                    (TrailFileKind::Digest, _) => {
                        self.digests.insert(key.clone());
                    }
                    (TrailFileKind::Log, Some(day)) => self.captured.add(day, key),
                    (TrailFileKind::Log, None) => {}
                }
            }
            self.persist().await?;
        }
        Ok(())
    }

    /// Looks at an answer. What is wrong with a single file is counted from its record.
    fn take(
        &mut self,
        kind: TrailFileKind,
        key: &str,
        answer: Result<Response<Bytes>, RequestError>,
    ) -> Result<(), Incomplete> {
        let endpoint = kind.endpoint();
        let failure = match answer {
            Ok(response) if response.status().is_success() => {
                if kind == TrailFileKind::Digest {
                    self.read_digest(&response);
                }
                (self.failures, self.has_received) = (0, true);
                return Ok(());
            }
            Ok(response) if response.status().as_u16() == 404 => return Ok(()),
            Ok(response) => refused(&format!("{endpoint} {key}"), GET_GRANT, &response),
            Err(error @ RequestError::Call(CallError::GaveUp { .. })) => error.incomplete(endpoint),
            Err(error) => return Err(error.incomplete(endpoint)),
        };
        self.failures += 1;
        if self.failures < FAILURES_MAX {
            Ok(())
        } else {
            Err(failure)
        }
    }

    fn read_digest(&mut self, response: &Response<Bytes>) {
        // One that cannot be read is a gap when it is checked.
        let Ok(names) = listed_files(response.body()) else {
            return;
        };
        self.named
            .extend(names.logs.into_iter().map(|file| (file.bucket, file.key)));
        self.named.extend(names.previous);
        let generated = response
            .headers()
            .get("x-amz-meta-backfill-generation-timestamp");
        let generated = generated.and_then(|time| Timestamp::parse_lenient(time.to_str().ok()?));
        self.backfills.extend(generated.map(|time| {
            i64::try_from(time.unix_nanoseconds() / 1_000_000_000).unwrap_or(i64::MAX)
        }));
    }

    /// Records the public keys of `region`, with which its digest files are signed.
    async fn public_keys(&mut self, region: &str) -> Result<u64, Incomplete> {
        let mut spans = vec![self.window.key_seconds()];
        for time in std::mem::take(&mut self.backfills) {
            let (from, until) = (time - BACKFILL_SECONDS, time + BACKFILL_SECONDS);
            if !spans
                .iter()
                .any(|known| known.0 <= from && until <= known.1)
            {
                spans.push((from, until));
            }
        }
        let recorder = self.recorder.with_policy(key_policy(region));
        let transport = recorder.transport();
        let access = access_to(self.trail);
        let config = access
            .sdk_config(transport, Some(&self.cx.incident), SESSION_POLICY)
            .await;
        let config = Builder::from(&config)
            .region(Region::new(region.to_owned()))
            .http_client(recorder.clone());
        let client = Client::from_conf(config.build());
        for (from, until) in spans {
            let mut token = None;
            for _ in 0..KEY_PAGES_MAX {
                let ask = || {
                    let request = client.list_public_keys();
                    let request = request.start_time(DateTime::from_secs(from));
                    let request = request.end_time(DateTime::from_secs(until));
                    request.set_next_token(token.clone()).send()
                };
                let page = transport.aws_clock.ask(ask).await;
                let page =
                    page.map_err(|error| incomplete(LIST_PUBLIC_KEYS, &error, error.code()))?;
                token = page.next_token.filter(|token| !token.is_empty());
                if token.is_none() {
                    break;
                }
            }
        }
        Ok(0)
    }

    /// True if no other region has to be tried after it.
    fn is_final(&self, incomplete: &Incomplete) -> bool {
        let is_refused = !self.has_received && self.failures >= FAILURES_MAX;
        match incomplete.ended {
            EndReason::Deadline
            | EndReason::Throttled
            | EndReason::Limit
            | EndReason::Cancelled => true,
            EndReason::Complete
            | EndReason::Forbidden
            | EndReason::NotFound
            | EndReason::Gone
            | EndReason::Failed => is_refused || incomplete.reason == GapReason::Crashed,
        }
    }

    async fn persist(&self) -> Result<(), Incomplete> {
        let cursor = self.captured.cursor();
        self.cx.persist(&self.recorder, Some(&cursor)).await
    }
}

fn key_policy(region: &str) -> RequestPolicy {
    let quota = QuotaKey {
        provider: "aws",
        account: String::new(),
        region: region.to_owned(),
        endpoint: LIST_PUBLIC_KEYS,
    };
    RequestPolicy {
        endpoint: LIST_PUBLIC_KEYS,
        classify,
        ..RequestPolicy::new(quota, RequestRate::new(10.0, 2))
    }
}
