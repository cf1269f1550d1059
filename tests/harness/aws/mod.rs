//! A stand-in for AWS on one loopback port: CloudTrail's LookupEvents, and the operations of STS
//! and Account that its clients need.
//!
//! It serves a corpus of events ([`SyntheticEvents`], [`RecordedEvents`]) under the service's
//! limits, injects scripted faults ([`FaultRule`]), and counts exactly what it has served
//! ([`GroundTruth`]). It takes the region and account of a request from its signature, which it
//! does not verify. Messages have the format of the Rust SDK and of botocore.
//!
//! ```
//! use tests::aws::{Config, Fault, FaultRule, Server, SyntheticEvents};
//!
//! let rules = vec![FaultRule::lookup(Fault::Throttle).region("eu-west-1").at(3)];
//! let server = Server::start(Config { limit: None, rules, ..Config::new(SyntheticEvents::new(1000)) });
//! let key = server.account_key("111122223333");
//! // Point a client at `server.url()` with `key`, and then:
//! assert_eq!(server.truth().counts("111122223333", "eu-west-1").requests, 0);
//! ```

mod events;
mod faults;
pub(crate) mod http;
mod identity;
mod lookup;
mod protocols;
mod rate_limit;
mod recorded;
mod service;
mod synthetic;
mod truth;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::acceptor::Acceptor;
pub use events::{AccountRegion, Attribute, AttributeKey, EventCorpus, LookupEvent};
pub use faults::{Fault, FaultRule, Operation, RequestNumbers, RetryAfter};
pub use identity::{Credentials, KeyExpiry};
pub use lookup::PAGE_EVENTS_MAX;
pub use rate_limit::RateLimit;
pub use recorded::RecordedEvents;
pub use synthetic::SyntheticEvents;
pub use truth::{AssumedSession, GroundTruth, InjectedFault, RequestRecord, ServedCounts};

use service::Service;

/// The configuration of a server.
pub struct Config {
    pub events: Arc<dyn EventCorpus>,
    /// The quota of lookups for each place; the service's own by default. `None` is no limit.
    pub limit: Option<RateLimit>,
    /// Scripted faults; none by default.
    pub rules: Vec<FaultRule>,
    /// The seed of random faults.
    pub seed: u64,
    /// How far the server's clock is ahead of the real time.
    pub clock_skew_seconds: i64,
    /// The end of the 90 days of retention, in seconds since 1970. By default, the time of the
    /// newest event.
    pub present: Option<i64>,
    /// How long a `NextToken` is valid; an hour by default.
    pub token_lifetime: Duration,
    /// When session keys expire.
    pub sessions: KeyExpiry,
    /// The regions of ListRegions, in order. By default, these are the corpus's regions, us-east-1
    /// and eu-north-1, which are enabled, and me-south-1, which is not.
    pub regions: Vec<Region>,
    /// The address to listen on; by default a free port of 127.0.0.1.
    pub address: SocketAddr,
    /// The most requests that are recorded for [`Server::requests`]; 100,000 by default.
    pub requests_kept_max: usize,
}

/// The first and last second of yesterday (UTC), in seconds since 1970. It is within every
/// retention period, and does not change during a test that runs past midnight.
#[must_use]
pub fn yesterday() -> (i64, i64) {
    static TODAY: LazyLock<i64> =
        LazyLock::new(|| jiff::Timestamp::now().as_second() / 86_400 * 86_400);
    (*TODAY - 86_400, *TODAY - 1)
}

/// The options of `exhibit capture` for [`yesterday`].
#[must_use]
pub fn yesterday_options() -> [String; 4] {
    let (first, last) = yesterday();
    let time = |second| {
        jiff::Timestamp::from_second(second)
            .expect("a second of this century")
            .to_string()
    };
    [
        "--since".to_owned(),
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
    /// Such as `ENABLED_BY_DEFAULT` or `DISABLED`. Keys are only valid in regions whose status
    /// begins with `ENABLED`.
    pub status: &'static str,
}

impl Region {
    fn is_enabled(&self) -> bool {
        self.status.starts_with("ENABLED")
    }
}

impl Config {
    /// A configuration with the service's own limits, and no faults.
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

/// A running server, stopped on drop.
pub struct Server {
    service: Arc<Service>,
    acceptor: Acceptor,
}

impl Server {
    /// Starts a server on its own thread. It accepts connections when this returns.
    ///
    /// # Panics
    /// If the address is in use.
    #[must_use]
    pub fn start(config: Config) -> Self {
        let address = config.address;
        let service = Arc::new(Service::new(config));
        let theirs = Arc::clone(&service);
        let acceptor = Acceptor::start(address, move |stream| serve(stream, Arc::clone(&theirs)));
        Self { service, acceptor }
    }

    /// The endpoint of all three services.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.acceptor.address)
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.acceptor.address
    }

    /// The long-lived key of an account.
    #[must_use]
    pub fn account_key(&self, account: &str) -> Credentials {
        self.service.account_key(account)
    }

    /// A new key for a session of a role, as from AssumeRole.
    #[must_use]
    pub fn session_key(&self, account: &str, role: &str, name: &str) -> Credentials {
        self.service.session_key(account, role, name)
    }

    /// Counts of everything served so far.
    #[must_use]
    pub fn truth(&self) -> GroundTruth {
        self.service.truth()
    }

    /// The requests so far, in the order of their replies, without those for `/_truth` and
    /// `/_credentials`.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.service.seen()
    }

    /// The event ids of a place between two times, both inclusive, in seconds since 1970: newest
    /// first, with duplicates.
    #[must_use]
    pub fn event_ids(&self, account: &str, region: &str, start: i64, end: i64) -> Vec<String> {
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

/// Serves one connection until it is closed, or until it receives something that is not HTTP.
async fn serve(mut stream: TcpStream, service: Arc<Service>) {
    let _ = stream.set_nodelay(true);
    let mut rest = Vec::new();
    while let Ok(Some(request)) = http::read(&mut stream, &mut rest).await {
        let last = request
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let reply = service.handle(request);
        match http::write(&mut stream, &reply).await {
            Ok(http::AfterReply::KeepAlive) if !last => {}
            Ok(_) => return,
            Err(_) => return service.uncount(&reply),
        }
    }
}
