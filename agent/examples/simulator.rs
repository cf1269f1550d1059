//! Many agents in one process, with the code of `exhibit-agent`: each enrols, and waits for orders.
//!
//! `simulator SERVER TOKEN COUNT FOLDER [MIB]` prints a line of JSON for each event: `{"agent",
//! "event", "at", "detail"}`, `at` in seconds since 1970. Without MIB, an agent tells of an order and
//! keeps it: `enrolled`, `waits`, `told`, `failed`. With MIB, each host has so many MiB of logs that
//! do not compress; its agent captures them (`sealed`), and delivers them (`delivered`) when all have
//! sealed and a line comes on standard input.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::capture::CaptureOptions;
use agent::remote::{Agent, EnrollError, EnrollOptions, RETRY, RunError, RunOptions, enroll};
use data_encoding::BASE64;
use platform::{chain, clock, random_fraction};
use protocol::poll::{CaptureOrder, OrderId, PollRequest, SpoolState};
use protocol::token::EnrollmentToken;
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

const USAGE: &str = "usage: simulator SERVER TOKEN COUNT FOLDER [MIB]";
/// Machines that enrol at the same time.
const ENROLLING: usize = 256;
const SPOOL_BYTES_MAX: u64 = 1 << 30;

struct Simulation {
    server: String,
    token: EnrollmentToken,
    folder: PathBuf,
    log_mib: usize,
    enrolling: Semaphore,
    /// Captures take turns, as if each host had its own processor.
    capturing: Semaphore,
    delivering: watch::Receiver<bool>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, token, count, folder, rest @ ..] = &arguments[..] else {
        anyhow::bail!(USAGE)
    };
    let (deliver, delivering) = watch::channel(false);
    let simulation = Arc::new(Simulation {
        server: server.clone(),
        token: token.parse()?,
        folder: folder.into(),
        log_mib: rest.first().map_or(Ok(0), |mib| mib.parse())?,
        enrolling: Semaphore::new(ENROLLING),
        capturing: Semaphore::new(2),
        delivering,
    });
    std::thread::spawn(move || {
        let _ = io::stdin().read_line(&mut String::new());
        deliver.send_replace(true);
        std::thread::park(); // `deliver` lives as long as the program
    });
    let agents: Vec<_> = (0..count.parse()?)
        .map(|number| tokio::spawn(Arc::clone(&simulation).run(number)))
        .collect();
    for agent in agents {
        agent.await?;
    }
    Ok(())
}

impl Simulation {
    async fn run(self: Arc<Self>, number: u32) {
        let folder = self.folder.join(number.to_string());
        match self.enroll(number, &folder).await {
            Ok(agent) => self.wait_for_orders(number, &agent).await,
            Err(error) => tell(number, "failed", &format!("{error:#}")),
        }
    }

    async fn enroll(&self, number: u32, folder: &Path) -> anyhow::Result<Arc<Agent>> {
        let _one_of_some = self.enrolling.acquire().await?;
        let (root, state) = (folder.join("root"), folder.join("state"));
        fs::create_dir_all(root.join("etc"))?;
        fs::create_dir_all(root.join("var/log"))?;
        fs::write(root.join("etc/hostname"), format!("web-{number}\n"))?;
        fs::write(root.join("etc/machine-id"), format!("{number:032x}\n"))?;
        for part in 0..self.log_mib {
            let bytes: Vec<u8> = (0..3 << 13)
                .flat_map(|_| platform::random::<32>().unwrap_or_default())
                .collect();
            fs::write(
                root.join(format!("var/log/app-{part}.log")),
                BASE64.encode(&bytes),
            )?;
        }
        let options = EnrollOptions {
            server: self.server.clone(),
            token: self.token.clone(),
            state: state.clone(),
            root: root.clone(),
        };
        match enroll(options).await {
            Ok(_) => tell(number, "enrolled", ""),
            Err(EnrollError::Enrolled(_)) => {} // in an earlier run
            Err(error) => return Err(error.into()),
        }
        let agent = Agent::open(RunOptions {
            state,
            capture: CaptureOptions {
                root,
                ..CaptureOptions::default()
            },
            spool_bytes_max: SPOOL_BYTES_MAX,
        })?;
        Ok(Arc::new(agent))
    }

    /// Polls as the agent does, until the agent is locked or revoked.
    async fn wait_for_orders(&self, number: u32, agent: &Arc<Agent>) {
        let (mut failures, mut holding) = (0, Vec::<OrderId>::new());
        tell(number, "waits", "");
        loop {
            let request = PollRequest {
                holding: holding.clone(),
                spool: SpoolState {
                    bundles: holding.len() as u64,
                    bytes: 0,
                    bytes_max: SPOOL_BYTES_MAX,
                },
                ..PollRequest::default()
            };
            let pause = match agent.client().poll(&request).await {
                Ok(answer) => {
                    failures = 0;
                    if let Some(order) = answer.order {
                        tell(number, "told", &order.id.to_string());
                        holding.push(order.id.clone());
                        self.carry_out(number, agent, order).await;
                    }
                    Duration::from_millis(answer.pause_milliseconds)
                }
                Err(error) => {
                    let error = RunError::from(error);
                    tell(number, "failed", &chain(&error).to_string());
                    if error.is_helpless() {
                        return;
                    }
                    failures += 1;
                    RETRY.equal_jitter(failures - 1, random_fraction())
                }
            };
            sleep(pause).await;
        }
    }

    async fn carry_out(&self, number: u32, agent: &Arc<Agent>, order: CaptureOrder) {
        if self.log_mib == 0 {
            return;
        }
        let done = async {
            {
                let _turn = self.capturing.acquire().await;
                agent.carry_out(order).await?;
            }
            tell(number, "sealed", "");
            let _ = self.delivering.clone().wait_for(|begin| *begin).await;
            agent.deliver_all().await
        };
        match done.await {
            Ok(()) => tell(number, "delivered", ""),
            Err(error) => tell(number, "failed", &chain(&error).to_string()),
        }
    }
}

fn tell(number: u32, event: &str, detail: &str) {
    let at = clock::now().unix_nanoseconds() as f64 / 1e9;
    let line = json!({"agent": number, "event": event, "at": at, "detail": detail});
    let _ = writeln!(io::stdout(), "{line}");
}
