//! Runs the stand-in for AWS as a program, for benchmarks and experiments.
//!
//! It prints the environment variables that a client needs, serves until Ctrl-C, SIGTERM or the end of
//! `--seconds`, and then prints what it has served, as JSON.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tests::aws::{
    Config, Credentials, FaultRule, KeyExpiry, RateLimit, RecordedEvents, Server, SyntheticEvents,
};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
replay-cloudtrail [OPTION VALUE]...
  --corpus FILE         serve recorded events: JSON lines with events or delivered files, optionally .zst
  --events N            without --corpus, generate N events (default 100000)
  --seed N              seed of generated events and random faults (default 1)
  --window START,END    times of generated events, in seconds since 1970, both inclusive
  --accounts A,B        accounts of generated events (default 111122223333)
  --regions R=W,R=W     regions of generated events, by weight
  --limit PER_SECOND    request quota of each account and region; 0 is no limit (default 2)
  --burst N             requests that are allowed at once (default 2)
  --fault RULE          inject faults: [ACCOUNT/]REGION@WHEN=FAULT; may be repeated
                        WHEN: 3, 3-7, 3-, /10, 0.5%
                        FAULT: throttle, 500, 503:2, 503:date:2, expired, denied, disabled, token, close, reset, hang,
                        truncate:BYTES, trickle:BYTES:MS, slow:MS:MS, malformed, retyped, endless, short:EVENTS, blanks:BYTES
  --session-requests N  expire session keys after N requests
  --session-seconds N   expire session keys after N seconds
  --skew SECONDS        how far the server's clock is ahead
  --present SECONDS     end of the retention period, in seconds since 1970
  --credentials FILE    write the keys of the accounts to FILE, in the format of ~/.aws/credentials
  --address IP:PORT     address to listen on (default 127.0.0.1 and a free port)
  --seconds N           exit after N seconds";

struct Options {
    credentials: Option<PathBuf>,
    seconds: Option<u64>,
    config: Config,
}

/// The events to generate.
struct GeneratedCorpus {
    events: u64,
    seed: u64,
    window: Option<(i64, i64)>,
    accounts: Vec<String>,
    regions: Vec<(String, u64)>,
}

impl GeneratedCorpus {
    fn generate(&self) -> SyntheticEvents {
        let accounts: Vec<&str> = self.accounts.iter().map(String::as_str).collect();
        let regions: Vec<(&str, u64)> = self
            .regions
            .iter()
            .map(|(name, weight)| (name.as_str(), *weight))
            .collect();
        let made = SyntheticEvents::new(0)
            .spread(self.events, &accounts, &regions)
            .seed(self.seed);
        if let Some((start, end)) = self.window {
            made.window(start, end)
        } else {
            made
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let regions = [
        ("us-east-1", 4),
        ("eu-west-1", 2),
        ("us-west-2", 1),
        ("ap-southeast-2", 1),
    ];
    let regions = regions
        .map(|(name, weight)| (name.to_owned(), weight))
        .to_vec();
    let mut corpus = GeneratedCorpus {
        events: 100_000,
        seed: 1,
        window: None,
        accounts: vec!["111122223333".to_owned()],
        regions,
    };
    let (mut limit, mut sessions) = (RateLimit::default(), KeyExpiry::default());
    let mut config = Config {
        requests_kept_max: 0,
        ..Config::new(SyntheticEvents::new(0))
    };
    let (mut recorded, mut credentials, mut seconds) = (None, None, None);
    while let Some(name) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{name} needs a value"))?;
        let bad = |()| format!("{name} cannot be {value}");
        match name.as_str() {
            "--corpus" => {
                recorded = Some(
                    RecordedEvents::open(Path::new(&value)).map_err(|e| format!("{value}: {e}"))?,
                )
            }
            "--events" => corpus.events = number(&value).map_err(bad)?,
            "--seed" => corpus.seed = number(&value).map_err(bad)?,
            "--window" => corpus.window = Some(window(&value).ok_or(()).map_err(bad)?),
            "--accounts" => corpus.accounts = value.split(',').map(str::to_owned).collect(),
            "--regions" => {
                corpus.regions = value
                    .split(',')
                    .map(region)
                    .collect::<Option<_>>()
                    .ok_or(())
                    .map_err(bad)?
            }
            "--limit" => limit.per_second = number(&value).map_err(bad)?,
            "--burst" => limit.burst = number(&value).map_err(bad)?,
            "--fault" => config.rules.push(value.parse::<FaultRule>()?),
            "--session-requests" => sessions.requests = Some(number(&value).map_err(bad)?),
            "--session-seconds" => {
                sessions.after = Some(Duration::from_secs(number(&value).map_err(bad)?))
            }
            "--skew" => config.clock_skew_seconds = number(&value).map_err(bad)?,
            "--present" => config.present = Some(number(&value).map_err(bad)?),
            "--credentials" => credentials = Some(PathBuf::from(value)),
            "--address" => config.address = number(&value).map_err(bad)?,
            "--seconds" => seconds = Some(number(&value).map_err(bad)?),
            _ => return Err(format!("{name} is not an option")),
        }
    }
    let served = recorded.map_or_else(|| Config::new(corpus.generate()), Config::new);
    let limit = (limit.per_second > 0.0).then_some(limit);
    let config = Config {
        events: served.events,
        regions: served.regions,
        limit,
        sessions,
        seed: corpus.seed,
        ..config
    };
    Ok(Options {
        credentials,
        seconds,
        config,
    })
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, ()> {
    text.parse().map_err(|_| ())
}

fn window(text: &str) -> Option<(i64, i64)> {
    let (start, end) = text.split_once(',')?;
    Some((start.parse().ok()?, end.parse().ok()?))
}

fn region(text: &str) -> Option<(String, u64)> {
    let (name, weight) = text.split_once('=').unwrap_or((text, "1"));
    Some((name.to_owned(), weight.parse().ok()?))
}

fn profile(name: &str, key: &Credentials) -> String {
    let (id, secret) = (&key.access_key_id, &key.secret_access_key);
    format!("[{name}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let Options {
        credentials,
        seconds,
        config,
    } = match options(arguments.into_iter()) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let accounts: BTreeSet<String> = config
        .events
        .places()
        .iter()
        .map(|place| place.account.clone())
        .collect();
    let server = Server::start(config);
    let keys: Vec<_> = accounts
        .iter()
        .map(|account| (account, server.account_key(account)))
        .collect();
    let first = &keys.first().expect("a corpus has an account").1;
    println!("AWS_ENDPOINT_URL={}", server.url());
    println!(
        "AWS_ACCESS_KEY_ID={}\nAWS_SECRET_ACCESS_KEY={}",
        first.access_key_id, first.secret_access_key
    );
    if let Some(file) = credentials {
        let profiles: String = keys
            .iter()
            .map(|(account, key)| profile(account, key))
            .collect();
        std::fs::write(file, profile("default", first) + &profiles)
            .expect("a file that can be written");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let time = async {
            match seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        let mut terminate = signal(SignalKind::terminate()).expect("signals");
        tokio::select! {
            () = time => {}
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    });
    println!(
        "{}",
        serde_json::to_string_pretty(&server.truth()).expect("counts serialise to JSON")
    );
    ExitCode::SUCCESS
}
