//! A stand-in for AWS: CloudTrail's LookupEvents, and what of STS and Account a client of it needs,
//! on one loopback port.
//!
//! It serves a corpus of events ([`SyntheticEvents`], [`RecordedEvents`]) with the service's own limits, breaks
//! down when a script says so ([`FaultRule`]), and knows exactly what it served ([`GroundTruth`]). Region and
//! account of a request are those of its signature, which is not checked otherwise. Wire shapes are
//! those of the Rust SDK and of botocore.
//!
//! ```
//! use tests::aws::{Config, Fault, FaultRule, Server, SyntheticEvents};
//!
//! let rules = vec![FaultRule::lookup(Fault::Throttle).region("eu-west-1").at(3)];
//! let server = Server::start(Config { limit: None, rules, ..Config::new(SyntheticEvents::new(1000)) });
//! let key = server.account_key("111122223333");
//! // ... point a client at `server.url()` with `key`, and then:
//! assert_eq!(server.truth().place("111122223333", "eu-west-1").requests, 0);
//! ```

mod events;
mod faults;
mod http;
mod identity;
mod lookup;
mod protocols;
mod rate_limit;
mod recorded;
mod service;
mod synthetic;
mod truth;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::oneshot;

pub use events::{AccountRegion, Attribute, AttributeKey, EventCorpus, LookupEvent};
pub use faults::{Fault, FaultRule, Operation, RequestNumbers, RetryAfter};
pub use identity::{Credentials, KeyExpiry};
pub use lookup::PAGE_EVENTS_MAX;
pub use rate_limit::RateLimit;
pub use recorded::RecordedEvents;
pub use synthetic::SyntheticEvents;
pub use truth::{AssumedSession, GroundTruth, InjectedFault, RequestRecord, ServedCounts};

use service::Service;

/// What a server serves, and how.
pub struct Config {
    /// The corpus.
    pub events: Arc<dyn EventCorpus>,
    /// Quota of lookups for each place, or none. The service's own by default.
    pub limit: Option<RateLimit>,
    /// What goes wrong. Nothing by default.
    pub rules: Vec<FaultRule>,
    /// Of everything that a rule leaves to chance.
    pub seed: u64,
    /// How far the server's clock is ahead, in seconds.
    pub clock_skew_seconds: i64,
    /// From when the 90 days of retention are counted back, in seconds since 1970. By default the
    /// corpus's newest event.
    pub present: Option<i64>,
    /// How long a `NextToken` is good for. An hour by default.
    pub token_lifetime: Duration,
    /// How long keys of sessions live.
    pub sessions: KeyExpiry,
    /// What ListRegions lists, in order. By default the corpus's regions, us-east-1 and eu-north-1,
    /// which are enabled, and me-south-1, which is not.
    pub regions: Vec<Region>,
    /// Where to listen. By default a free port of 127.0.0.1.
    pub address: SocketAddr,
    /// How many requests are kept for [`Server::requests`]. 100,000 by default.
    pub requests_kept_max: usize,
}

/// First and last second of the last whole day (UTC), in seconds since 1970: recent enough for
/// every retention. The same for a whole test, also over midnight.
#[must_use]
pub fn yesterday() -> (i64, i64) {
    static TODAY: LazyLock<i64> =
        LazyLock::new(|| jiff::Timestamp::now().as_second() / 86_400 * 86_400);
    (*TODAY - 86_400, *TODAY - 1)
}

/// The options by which `exhibit` asks for [`yesterday`].
#[must_use]
pub fn yesterday_options() -> [String; 4] {
    let (first, last) = yesterday();
    let time = |second| {
        jiff::Timestamp::from_second(second)
            .expect("a second of this century")
            .to_string()
    };
    [
        "--from".to_owned(),
        time(first),
        "--until".to_owned(),
        time(last + 1),
    ]
}

/// A region of every account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Such as `us-east-1`.
    pub name: String,
    /// Such as `ENABLED_BY_DEFAULT` or `DISABLED`. Only in a region whose status begins with
    /// `ENABLED` are keys known.
    pub status: &'static str,
}

impl Region {
    fn is_enabled(&self) -> bool {
        self.status.starts_with("ENABLED")
    }
}

impl Config {
    /// The service's own limits, and no faults.
    #[must_use]
    pub fn new(events: impl EventCorpus + 'static) -> Self {
        let names: BTreeSet<&str> = events
            .places()
            .iter()
            .map(|place| place.region.as_str())
            .chain(["eu-north-1", "us-east-1"])
            .collect();
        let enabled = names.into_iter().map(|name| Region {
            name: name.to_owned(),
            status: "ENABLED_BY_DEFAULT",
        });
        let regions = enabled
            .chain([Region {
                name: "me-south-1".to_owned(),
                status: "DISABLED",
            }])
            .collect();
        Self {
            events: Arc::new(events),
            limit: Some(RateLimit::default()),
            rules: Vec::new(),
            seed: 1,
            clock_skew_seconds: 0,
            present: None,
            token_lifetime: Duration::from_secs(3600),
            sessions: KeyExpiry::default(),
            regions,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            requests_kept_max: 100_000,
        }
    }
}

/// A server that runs until it is dropped.
pub struct Server {
    service: Arc<Service>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server on a thread of its own; it accepts connections when this returns.
    ///
    /// # Panics
    /// The address is taken.
    #[must_use]
    pub fn start(config: Config) -> Self {
        let listener = TcpListener::bind(config.address).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        listener.set_nonblocking(true).expect("a socket of ours");
        let service = Arc::new(Service::new(config));
        let (stop, stopped) = oneshot::channel();
        let theirs = Arc::clone(&service);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, theirs) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            service,
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// What to give a client as its endpoint, for all three services.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The long-lived key of an account.
    #[must_use]
    pub fn account_key(&self, account: &str) -> Credentials {
        self.service.account_key(account)
    }

    /// A new key for a session of a role, as AssumeRole would give it, for a file of credentials.
    #[must_use]
    pub fn session_key(&self, account: &str, role: &str, name: &str) -> Credentials {
        self.service.session_key(account, role, name)
    }

    /// What was served so far.
    #[must_use]
    pub fn truth(&self) -> GroundTruth {
        self.service.truth()
    }

    /// Requests so far, in the order of their answers; those for `/_truth` and `/_credentials` are
    /// left out.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.service.seen()
    }

    /// What there is to serve of a place between two times, both inclusive, in seconds since 1970:
    /// ids, newest first, with duplicates.
    #[must_use]
    pub fn ids(&self, account: &str, region: &str, start: i64, end: i64) -> Vec<String> {
        let events = &*self.service.config.events;
        let place = AccountRegion::new(account, region);
        let Some(place) = events.places().iter().position(|other| *other == place) else {
            return Vec::new();
        };
        let positions = events::positions(events, place, start as f64, end as f64);
        positions
            .map(|position| events.event(place, position).id.into_owned())
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic in there has been printed
        }
    }
}

async fn accept(listener: TcpListener, service: Arc<Service>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket of ours");
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&service)));
        }
    }
}

/// Serves one connection to its end. What is not HTTP ends it.
async fn serve(mut stream: TcpStream, service: Arc<Service>) {
    let _ = stream.set_nodelay(true);
    let mut rest = Vec::new();
    while let Ok(Some(request)) = http::read(&mut stream, &mut rest).await {
        let last = request
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let reply = service.answer(request);
        match http::write(&mut stream, &reply).await {
            Ok(http::AfterReply::Stays) if !last => {}
            Ok(_) => return,
            Err(_) => return service.undo(&reply),
        }
    }
}
