//! The capture of each host by its agent: for `exhibit status`, `brief --handoff` and `watch`.

use std::collections::BTreeMap;

use api::{HostCapture, HostCaptureState};
use evidence_format::safe::safe;
use platform::terminal::size;

use super::table::{terminal_width, wrap};
use super::times::shorten_times;
use domain::spelling::counted;

/// Hosts whose evidence is there that are listed; of more, only their number. What is missing or under
/// way is listed in any case, up to the second number.
const DELIVERED_LISTED_MAX: usize = 20;
const OPEN_LISTED_MAX: usize = 100;
/// Columns for the names of hosts; a longer one moves its line to the right.
const NAME_COLUMNS_MAX: usize = 24;

/// Formats the captures of hosts, those that are missing first. Empty if there are none.
pub(super) fn format_hosts(hosts: &[HostCapture]) -> String {
    if hosts.is_empty() {
        return String::new();
    }
    let names = hosts.iter().map(|host| safe(&host.host).chars().count());
    let width = names.max().unwrap_or(0).min(NAME_COLUMNS_MAX);
    let (delivered, open): (Vec<_>, Vec<_>) =
        { hosts.iter() }.partition(|host| host.state == HostCaptureState::Delivered);
    let mut text = "\nhosts\n".to_owned();
    for (hosts, listed_max) in [(open, OPEN_LISTED_MAX), (delivered, DELIVERED_LISTED_MAX)] {
        for host in hosts.iter().take(listed_max) {
            let start = format!("  {:<width$}  ", safe(&host.host));
            text.push_str(&wrap(&start, &state_text(host), terminal_width()));
        }
        if let Some(more) = hosts.get(listed_max..).filter(|more| !more.is_empty()) {
            let more: Vec<&HostCapture> = more.to_vec();
            let start = format!("  {:<width$}  ", "…");
            text.push_str(&wrap(&start, &summary(&more), terminal_width()));
        }
    }
    text
}

/// How far the capture of a host is: `delivered, 1.2 MiB`, `gap: no agent is enrolled`.
fn state_text(host: &HostCapture) -> String {
    let mut text = host.state.as_str().to_owned();
    if let Some(bytes) = host.bytes {
        text.push_str(&format!(", {}", size(bytes)));
    }
    if let Some(reason) = &host.reason {
        text.push_str(&format!(": {}", safe(&shorten_times(reason))));
    }
    if host.request > 1 {
        text.push_str(&format!(" (request {})", host.request));
    }
    text
}

/// Counts hosts by state: `37 more hosts: 3 waiting, 34 delivered`.
fn summary(hosts: &[&HostCapture]) -> String {
    let mut counts: BTreeMap<HostCaptureState, u64> = BTreeMap::new();
    for host in hosts {
        *counts.entry(host.state).or_default() += 1;
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(state, count)| format!("{count} {}", state.as_str()))
        .collect();
    let hosts = counted(hosts.len() as u64, "more host");
    format!("{hosts}: {}", counts.join(", "))
}

/// Finds out which captures of hosts have changed since the last look.
#[derive(Default)]
pub(super) struct HostChanges {
    last: BTreeMap<(String, u32), HostCapture>,
}

impl HostChanges {
    /// Those whose state or size is another one than at the last call.
    pub(super) fn take(&mut self, hosts: Vec<HostCapture>) -> Vec<HostCapture> {
        let is_new = |host: &HostCapture| {
            let last = self.last.get(&(host_key(host), host.request));
            last.is_none_or(|last| (last.state, last.bytes) != (host.state, host.bytes))
        };
        let changed: Vec<HostCapture> = hosts.iter().filter(|host| is_new(host)).cloned().collect();
        for host in hosts {
            self.last.insert((host_key(&host), host.request), host);
        }
        changed
    }
}

/// A host may be enrolled twice.
fn host_key(host: &HostCapture) -> String {
    let agent = host.agent.as_ref();
    agent.map_or_else(|| host.host.clone(), ToString::to_string)
}

/// One line for each host that has changed; of many, only their number.
pub(super) fn format_changes(changed: &[HostCapture]) -> String {
    let (listed, more) = changed.split_at(changed.len().min(DELIVERED_LISTED_MAX));
    let mut text = String::new();
    for host in listed {
        let line = format!("host {}: {}", safe(&host.host), state_text(host));
        text.push_str(&wrap("", &line, terminal_width()));
    }
    if !more.is_empty() {
        let more: Vec<&HostCapture> = more.iter().collect();
        text.push_str(&wrap("", &summary(&more), terminal_width()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, state: HostCaptureState) -> HostCapture {
        HostCapture {
            host: name.to_owned(),
            agent: None,
            request: 1,
            state,
            bytes: (state == HostCaptureState::Delivered).then_some(2048),
            reason: (state == HostCaptureState::Gap).then(|| "no agent is enrolled".to_owned()),
        }
    }

    #[test]
    fn missing_hosts_are_listed_and_many_delivered_ones_are_counted() {
        let mut hosts = vec![
            host("web-9\u{1b}", HostCaptureState::Gap),
            host("db-1", HostCaptureState::Told),
        ];
        let delivered = (0..22).map(|n| host(&format!("w{n}"), HostCaptureState::Delivered));
        hosts.extend(delivered);
        let text = format_hosts(&hosts);
        assert!(
            text.starts_with("\nhosts\n  web-9\\u{1b}  gap: no agent is enrolled\n"),
            "{text}"
        );
        assert!(text.contains("  db-1         told\n"), "{text}");
        assert!(
            text.contains("  w0           delivered, 2.0 KiB\n"),
            "{text}"
        );
        assert!(
            text.ends_with("  …            2 more hosts: 2 delivered\n"),
            "{text}"
        );
        assert_eq!(format_hosts(&[]), "");
    }

    #[test]
    fn only_changes_are_shown() {
        let mut changes = HostChanges::default();
        let first = vec![host("web-1", HostCaptureState::Waiting)];
        assert_eq!(changes.take(first.clone()).len(), 1);
        assert!(changes.take(first).is_empty());
        let told = vec![host("web-1", HostCaptureState::Told)];
        assert_eq!(format_changes(&changes.take(told)), "host web-1: told\n");
    }
}
