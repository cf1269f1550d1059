//! Long output: to a pager if a person reads it on a terminal, else to standard output.

use std::io::{self, IsTerminal, Write};
use std::process::{self, Child, Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use super::interrupt::EXIT_INTERRUPTED;

use super::output::{OutputClosed, escape, print};

/// How often it is checked after Ctrl-C whether the pager has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Ends by itself if everything fits on the screen, and leaves it there.
const DEFAULT: &str = "less -FRX";

/// Prints to a pager, or to standard output. Dropping it waits until the reader has left the pager.
pub(super) struct PagedOutput {
    pager: Option<Child>,
}

impl PagedOutput {
    /// Starts `$PAGER`, unless a program reads the output.
    pub(super) fn for_people(is_json: bool) -> Self {
        let is_watched = !is_json && io::stdout().is_terminal() && io::stdin().is_terminal();
        let pager = is_watched.then(start).flatten();
        // After the start, since a child would inherit an ignored signal.
        if let Some(pager) = &pager
            && let Ok(interrupt) = signal(SignalKind::interrupt())
        {
            tokio::spawn(leave_interrupts_to(Pid::from_child(pager), interrupt));
        }
        Self { pager }
    }

    /// False if the output goes to standard output.
    pub(super) fn is_paged(&self) -> bool {
        self.pager.is_some()
    }

    /// Prints text, escaped as [`print`] does.
    pub(super) fn print(&mut self, text: &str) -> Result<()> {
        let Some(stdin) = self.pager.as_mut().and_then(|pager| pager.stdin.as_mut()) else {
            return print(text);
        };
        match stdin.write_all(escape(text).as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(OutputClosed.into()),
            written => Ok(written?),
        }
    }
}

impl Drop for PagedOutput {
    fn drop(&mut self) {
        if let Some(mut pager) = self.pager.take() {
            drop(pager.stdin.take()); // the end of the output
            let _ = pager.wait();
        }
    }
}

/// Leaves Ctrl-C to the pager, to which it is a command: if this process ended, pager and shell
/// would both read the terminal. When the pager has ended after one, so does this process, which
/// may wait for rows that nobody reads.
async fn leave_interrupts_to(pager: Pid, mut interrupt: Signal) {
    interrupt.recv().await;
    // The exit status stays for the one who waits for the pager.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    while let Ok(None) = waitid(WaitId::Pid(pager), options) {
        sleep(POLL_INTERVAL).await;
    }
    process::exit(EXIT_INTERRUPTED);
}

/// Starts the pager; `None` if the user wants none, or if it is not installed.
fn start() -> Option<Child> {
    let pager = std::env::var("PAGER").unwrap_or_else(|_| DEFAULT.to_owned());
    if pager.trim().is_empty() || pager.trim() == "cat" {
        return None;
    }
    // A variable may hold options, so a shell splits it. `exec` fails where there is no such
    // program, before anything is written: the check comes first.
    let program = pager.split_whitespace().next()?;
    let is_there = std::env::split_paths(&std::env::var_os("PATH")?)
        .any(|folder| folder.join(program).is_file());
    if !is_there {
        return None;
    }
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("exec {pager}")])
        .stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        command.env("LESS", "FRX");
    }
    command.spawn().ok()
}
