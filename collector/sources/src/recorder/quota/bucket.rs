//! A token bucket with a queue by rank, whose pace follows what the provider states.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::RequestRate;
use super::limits::{PAUSE_MAX, StatedLimit};

/// Least time for which a stated window is expected to last: what remains of it is spread over it.
const WINDOW_MIN: Duration = Duration::from_millis(500);
/// What remains of a longer window is not spread over all of it: GitHub's hourly limit allows 5,000
/// requests, and evidence must not vanish meanwhile for the limit to last an hour. Requests go at
/// the configured rate instead, down to the share of others.
const SPREAD_WINDOW_MAX: Duration = Duration::from_secs(60);
/// Fastest pace that is learned, whatever a response promises.
const PER_SECOND_MAX: f64 = 1000.0;

/// A token bucket, stored as the time at which it is full again (the generic cell rate algorithm,
/// ITU-T I.371).
#[derive(Debug)]
pub(in crate::recorder) struct TokenBucket {
    rate: RequestRate,
    state: Mutex<TokenBucketState>,
}

#[derive(Debug)]
struct TokenBucketState {
    /// Time in which one token is added.
    interval: Duration,
    /// When the bucket is full again.
    full_at: Instant,
    /// No request is sent before this time, because the provider said so.
    paused_until: Instant,
    /// Requests on their way, until their bodies are read.
    in_flight: u32,
    /// Those of them that have no answer yet: the provider may not have counted them.
    unanswered: u32,
    /// Those who wait, the next one first: by rank, then in the order in which they came.
    queue: BTreeMap<QueueKey, Arc<Notify>>,
    next_arrival: u64,
}

type QueueKey = (u32, u64);

/// Permission to send one request, which is on its way until this is dropped.
#[derive(Debug)]
pub(in crate::recorder) struct SendPermit {
    bucket: Arc<TokenBucket>,
    /// The permit of a second quota that the request counts against.
    shared: Option<Box<SendPermit>>,
    is_answered: bool,
    /// True if the provider's limit delayed the request.
    pub(in crate::recorder) was_throttled: bool,
}

/// Whether the caller may send now.
enum QueueTurn {
    Now,
    /// It is the next one, at this time.
    At(Instant),
    /// Others are before it, or too many requests are on their way.
    Later,
}

impl TokenBucket {
    pub(in crate::recorder) fn new(rate: RequestRate) -> Self {
        let now = Instant::now();
        Self {
            rate,
            state: Mutex::new(TokenBucketState {
                interval: configured_interval(&rate),
                full_at: now,
                paused_until: now,
                in_flight: 0,
                unanswered: 0,
                queue: BTreeMap::new(),
                next_arrival: 0,
            }),
        }
    }

    /// Waits until one request may be sent. Of those who wait, the one with the smallest rank is
    /// served first. A caller that is dropped while it waits leaves the queue.
    pub(in crate::recorder) async fn acquire(self: &Arc<Self>, rank: u32) -> SendPermit {
        let place = QueuePlace::new(self, rank);
        let mut was_throttled = false;
        loop {
            match self.take_turn(place.key) {
                QueueTurn::Now => {
                    return SendPermit {
                        bucket: Arc::clone(self),
                        shared: None,
                        is_answered: false,
                        was_throttled,
                    };
                }
                QueueTurn::At(at) => {
                    was_throttled |= self.is_throttled();
                    // woken early if the pace changes; whoever comes meanwhile may be served first
                    tokio::select! {
                        () = sleep_until(at) => {}
                        () = place.woken.notified() => {}
                    }
                }
                QueueTurn::Later => place.woken.notified().await,
            }
        }
    }

    /// Takes a token if it is the turn of `key`, which then leaves the queue.
    fn take_turn(&self, key: QueueKey) -> QueueTurn {
        let now = Instant::now();
        let mut state = self.state();
        let is_first = state.queue.keys().next() == Some(&key);
        if !is_first || state.in_flight >= self.rate.concurrent_max.max(1) {
            return QueueTurn::Later;
        }
        // how far before its regular time a request may be sent: the size of the burst
        let tolerance = state.interval * self.rate.burst.saturating_sub(1);
        let at = state.full_at.checked_sub(tolerance).unwrap_or(now);
        let at = at.max(state.paused_until);
        if at > now {
            return QueueTurn::At(at);
        }
        // a bucket does not fill beyond its size
        state.full_at = state.full_at.max(now) + state.interval;
        state.in_flight += 1;
        state.unanswered += 1;
        state.queue.remove(&key);
        state.wake_next();
        QueueTurn::Now
    }

    /// Counts a request that was sent with the permit of another bucket.
    pub(super) fn charge(&self) {
        let mut state = self.state();
        state.full_at = state.full_at.max(Instant::now()) + state.interval;
    }

    /// Sends no request of this quota for `wait`, at most an hour.
    pub(in crate::recorder) fn pause(&self, wait: Duration) {
        let mut state = self.state();
        let until = Instant::now() + wait.min(PAUSE_MAX);
        state.paused_until = state.paused_until.max(until);
        // counted from the end of the pause, so that those who waited do not all go at once
        let tolerance = state.interval * self.rate.burst.saturating_sub(1);
        state.full_at = state.full_at.max(until + tolerance);
    }

    /// Follows the limit that a response states: what remains of it, less the share of others, is
    /// spread over the rest of its window, or spent at the configured rate if that is long. If
    /// nothing remains, the quota pauses until the reset.
    pub(super) fn observe(&self, limit: &StatedLimit) {
        let share = u64::from(self.rate.reserved_percent.min(99));
        let reserved = limit.limit.unwrap_or(limit.remaining) * share / 100;
        let uncounted = u64::from(self.state().unanswered);
        let available = limit.remaining.saturating_sub(reserved + uncounted);
        if limit.remaining <= reserved {
            self.pause(limit.resets_in);
            return;
        }
        let window = limit.resets_in.saturating_sub(StatedLimit::UNCERTAINTY);
        let per_second_max = limit.per_second_max.min(PER_SECOND_MAX);
        let mut interval = window.max(WINDOW_MIN).div_f64(available.max(1) as f64);
        if window > SPREAD_WINDOW_MAX && available > 0 {
            interval = interval.min(configured_interval(&self.rate));
        }
        let interval = interval.max(Duration::from_secs_f64(1.0 / per_second_max));
        self.state().set_interval(interval);
    }

    /// True if requests are sent more slowly than was configured, because the provider said so.
    pub(in crate::recorder) fn is_throttled(&self) -> bool {
        let state = self.state();
        state.paused_until > Instant::now() || state.interval > configured_interval(&self.rate)
    }

    fn state(&self) -> MutexGuard<'_, TokenBucketState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenBucketState {
    /// Changes the pace, also of the tokens that are owed already.
    fn set_interval(&mut self, interval: Duration) {
        let now = Instant::now();
        let owed = self.full_at.saturating_duration_since(now);
        let factor = interval.as_secs_f64() / self.interval.as_secs_f64();
        self.full_at = now + owed.mul_f64(factor).min(PAUSE_MAX);
        self.interval = interval;
        self.wake_next();
    }

    fn wake_next(&self) {
        if let Some(woken) = self.queue.values().next() {
            woken.notify_one();
        }
    }
}

impl SendPermit {
    /// True if `bucket` gave this permit.
    pub(super) fn is_of(&self, bucket: &Arc<TokenBucket>) -> bool {
        Arc::ptr_eq(&self.bucket, bucket)
    }

    /// Adds the permit of a second quota.
    pub(super) fn add(&mut self, shared: SendPermit) {
        self.shared = Some(Box::new(shared));
    }

    /// The response has begun, so that the provider has counted the request.
    pub(in crate::recorder) fn mark_answered(&mut self) {
        if let Some(shared) = &mut self.shared {
            shared.mark_answered();
        }
        if !std::mem::replace(&mut self.is_answered, true) {
            self.bucket.state().unanswered -= 1;
        }
    }
}

impl Drop for SendPermit {
    fn drop(&mut self) {
        self.mark_answered();
        let mut state = self.bucket.state();
        state.in_flight -= 1;
        state.wake_next();
    }
}

/// A place in the queue, which is left when this is dropped.
struct QueuePlace<'b> {
    bucket: &'b TokenBucket,
    key: QueueKey,
    woken: Arc<Notify>,
}

impl<'b> QueuePlace<'b> {
    fn new(bucket: &'b TokenBucket, rank: u32) -> Self {
        let woken = Arc::new(Notify::new());
        let mut state = bucket.state();
        let key = (rank, state.next_arrival);
        state.next_arrival += 1;
        state.queue.insert(key, Arc::clone(&woken));
        Self { bucket, key, woken }
    }
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        let mut state = self.bucket.state();
        if state.queue.remove(&self.key).is_some() {
            state.wake_next();
        }
    }
}

fn configured_interval(rate: &RequestRate) -> Duration {
    Duration::from_secs_f64(1.0 / rate.per_second.max(1e-6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(rate: RequestRate) -> Arc<TokenBucket> {
        Arc::new(TokenBucket::new(rate))
    }

    fn stated(limit: u64, remaining: u64, resets_in: u64) -> StatedLimit {
        StatedLimit {
            limit: Some(limit),
            remaining,
            resets_in: Duration::from_secs(resets_in),
            resource: None,
            per_second_max: f64::INFINITY,
        }
    }

    /// Seconds that `requests` take, one after the other.
    async fn seconds_of(bucket: &Arc<TokenBucket>, requests: u32) -> f64 {
        let begin = Instant::now();
        for _ in 0..requests {
            bucket.acquire(0).await;
        }
        begin.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn spaces_requests_by_the_rate() {
        let bucket = bucket(RequestRate::new(2.0, 1));
        let begin = Instant::now();
        for _ in 0..21 {
            bucket.acquire(0).await;
        }
        assert_eq!(begin.elapsed().as_millis(), 10_000);
    }

    #[tokio::test(start_paused = true)]
    async fn allows_burst_after_rest() {
        let bucket = bucket(RequestRate::new(1.0, 3));
        let begin = Instant::now();
        for _ in 0..4 {
            bucket.acquire(0).await;
        }
        assert_eq!(begin.elapsed().as_millis(), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn pause_delays_waiting_requests() {
        let bucket = bucket(RequestRate::new(2.0, 1));
        bucket.acquire(0).await;
        let begin = Instant::now();
        let waiting = tokio::spawn({
            let bucket = Arc::clone(&bucket);
            async move { bucket.acquire(0).await.was_throttled }
        });
        tokio::task::yield_now().await;
        bucket.pause(Duration::from_secs(7));
        assert!(waiting.await.expect("no panic"), "the pause is known");
        assert!(
            (7.0..8.1).contains(&begin.elapsed().as_secs_f64()),
            "{:?}",
            begin.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn stated_limit_raises_and_lowers_the_pace() {
        let bucket = bucket(RequestRate {
            reserved_percent: 0,
            ..RequestRate::new(2.0, 1)
        });
        bucket.acquire(0).await;
        bucket.observe(&stated(600, 580, 60)); // 10 a second
        assert!(!bucket.is_throttled());
        let seconds = seconds_of(&bucket, 100).await;
        assert!((9.9..10.1).contains(&seconds), "{seconds}");
        bucket.observe(&stated(600, 29, 60)); // 1 in 2 seconds
        assert!(bucket.is_throttled());
        let seconds = seconds_of(&bucket, 10).await;
        assert!((18.0..20.5).contains(&seconds), "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn leaves_a_share_of_the_limit_to_others() {
        let bucket = bucket(RequestRate {
            reserved_percent: 20,
            ..RequestRate::new(100.0, 1)
        });
        bucket.observe(&stated(100, 78, 60)); // 58 of 78 are ours
        let seconds = seconds_of(&bucket, 59).await;
        assert!((57.0..60.0).contains(&seconds), "{seconds}");
        bucket.observe(&stated(100, 20, 30));
        let seconds = seconds_of(&bucket, 1).await;
        assert!(
            (30.0..31.5).contains(&seconds),
            "paused until the reset: {seconds}"
        );
    }

    /// GitHub's hourly limit: a capture of 4,000 requests must not take the hour.
    #[tokio::test(start_paused = true)]
    async fn spends_a_long_window_early_and_then_waits_for_its_end() {
        let bucket = bucket(RequestRate::new(15.0, 1));
        let mut hourly = StatedLimit {
            per_second_max: 15.0,
            ..stated(5000, 5000, 3600)
        };
        let begin = Instant::now();
        for _ in 0..4500 {
            bucket.acquire(0).await.mark_answered();
            hourly.remaining -= 1;
            hourly.resets_in = Duration::from_secs(3600) - begin.elapsed();
            bucket.observe(&hourly);
        }
        let seconds = begin.elapsed().as_secs_f64();
        assert!((290.0..420.0).contains(&seconds), "{seconds}");
        bucket.acquire(0).await; // a tenth is left to others
        assert!(begin.elapsed().as_secs() >= 3600, "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn serves_by_rank_then_by_arrival() {
        let bucket = bucket(RequestRate::new(1.0, 1));
        bucket.acquire(0).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = [(2, 'a'), (1, 'b'), (0, 'c'), (1, 'd')]
            .into_iter()
            .map(|(rank, name)| {
                let (bucket, order) = (Arc::clone(&bucket), Arc::clone(&order));
                tokio::spawn(async move {
                    let _permit = bucket.acquire(rank).await;
                    order.lock().expect("no panic").push(name);
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!(*order.lock().expect("no panic"), ['c', 'b', 'd', 'a']);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_request_that_is_dropped_holds_up_nobody() {
        let bucket = bucket(RequestRate::new(1.0, 1));
        bucket.acquire(0).await;
        let first = bucket.acquire(0);
        let second = bucket.acquire(1);
        tokio::pin!(second);
        let begin = Instant::now();
        tokio::select! {
            biased;
            _ = tokio::time::timeout(Duration::from_millis(500), first) => {}
            _ = &mut second => unreachable!("its turn comes later"),
        }
        second.await;
        assert_eq!(
            begin.elapsed().as_millis(),
            1000,
            "the token was not used up"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn limits_concurrent_requests() {
        let bucket = bucket(RequestRate {
            concurrent_max: 2,
            ..RequestRate::new(1000.0, 1000)
        });
        let first = bucket.acquire(0).await;
        let _second = bucket.acquire(0).await;
        let third = bucket.acquire(0);
        tokio::pin!(third);
        let waited = tokio::time::timeout(Duration::from_secs(60), &mut third).await;
        assert!(waited.is_err(), "two are on their way");
        drop(first);
        third.await;
    }

    /// A provider that counts requests in windows of a minute, by a clock that states seconds.
    struct WindowedServer {
        begin: Instant,
        window: u64,
        used: u64,
        refused: u64,
    }

    impl WindowedServer {
        const LIMIT: u64 = 120;
        const SECONDS: f64 = 60.0;

        fn answer(&mut self) -> StatedLimit {
            let now = self.begin.elapsed().as_secs_f64() + 17.3;
            let window = (now / Self::SECONDS).floor();
            if self.window != window as u64 {
                (self.window, self.used) = (window as u64, 0);
            }
            self.refused += u64::from(self.used >= Self::LIMIT);
            self.used = Self::LIMIT.min(self.used + 1);
            let resets_in = (window + 1.0) * Self::SECONDS - now.floor() + 1.0;
            stated(Self::LIMIT, Self::LIMIT - self.used, resets_in as u64)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn uses_up_every_window_without_a_refusal() {
        let bucket = bucket(RequestRate {
            reserved_percent: 0,
            ..RequestRate::new(0.5, 1)
        });
        let server = Arc::new(Mutex::new(WindowedServer {
            begin: Instant::now(),
            window: 0,
            used: 0,
            refused: 0,
        }));
        let sent = Arc::new(Mutex::new(0));
        for _ in 0..4 {
            let (bucket, server, sent) =
                (Arc::clone(&bucket), Arc::clone(&server), Arc::clone(&sent));
            tokio::spawn(async move {
                loop {
                    let mut permit = bucket.acquire(0).await;
                    let limit = server.lock().expect("no panic").answer();
                    *sent.lock().expect("no panic") += 1;
                    tokio::time::sleep(Duration::from_millis(200)).await; // on its way back
                    permit.mark_answered();
                    bucket.observe(&limit);
                }
            });
        }
        let windows = 6_u32;
        tokio::time::sleep(Duration::from_secs_f64(
            42.7 + 60.0 * f64::from(windows - 1),
        ))
        .await;
        let sent = *sent.lock().expect("no panic");
        let allowed = WindowedServer::LIMIT * u64::from(windows);
        assert!(sent * 100 >= allowed * 98, "{sent} of {allowed}");
        assert_eq!(server.lock().expect("no panic").refused, 0);
    }
}
