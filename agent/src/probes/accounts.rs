//! Who may log in, as whom, and with which keys. Never `shadow`, `gshadow` or `opasswd`: nobody
//! needs password hashes as evidence, and anyone who gets the bundle could crack them.

use evidence_format::bundle::BundleError;
use evidence_format::coverage::GapReason;

use super::{
    DAY, HomeFolder, Probe, homes, own_file, request_files, request_folders, request_own_files,
    tree,
};
use crate::read::{KeptPart, ReadMethod, ReadRequest, RedactionRule};
use crate::recorder::{ProbeRecorder, join, name_of};

pub(super) const USERS: Probe = Probe {
    name: "users",
    what: "users and groups, without password hashes",
    api: "file",
    lifetime_seconds: DAY,
    run: users,
};

pub(super) const PRIVILEGES: Probe = Probe {
    name: "privileges",
    what: "who may become whom: sudo, doas, polkit and PAM rules",
    api: "file",
    lifetime_seconds: 2 * DAY,
    run: privileges,
};

pub(super) const AUTHORIZED_KEYS: Probe = Probe {
    name: "authorized-keys",
    what: "SSH configuration, the public keys that may log in, the hosts that are known or trusted",
    api: "file",
    lifetime_seconds: 3 * DAY,
    run: authorized_keys,
};

const ACCOUNTS: &[&str] = &["/etc/passwd", "/etc/group", "/etc/passwd-", "/etc/group-"];
const IDS: &[&str] = &[
    "/etc/subuid",
    "/etc/subgid",
    "/etc/login.defs",
    "/etc/shells",
    "/etc/nologin",
    "/etc/securetty",
    "/etc/netgroup",
];

const RULES: &[&str] = &[
    "/etc/sudoers",
    "/etc/sudo.conf",
    "/etc/doas.conf",
    "/etc/krb5.conf",
    "/etc/pam.conf",
    "/etc/security/access.conf",
    "/etc/security/group.conf",
    "/etc/security/limits.conf",
    "/etc/security/time.conf",
];
const RULE_FOLDERS: &[&str] = &[
    "/etc/sudoers.d",
    "/etc/pam.d",
    "/etc/polkit-1",
    "/usr/share/polkit-1/rules.d",
    "/usr/local/share/polkit-1/rules.d",
    "/run/polkit-1/rules.d",
    "/var/lib/polkit-1",
];
/// Listed only: who was lectured by sudo has used it.
const LECTURED: &[u8] = b"/var/lib/sudo/lectured";

/// Below a home: accounts of other hosts that may log in without a password.
const TRUSTED: &[&str] = &[".rhosts", ".shosts", ".k5login"];
/// In [`SSH_FOLDER`]: lists of keys with their backups, `rc`, which OpenSSH runs at each login, and
/// where the account goes to. The other files are private keys.
const SSH_FILES: &[&[u8]] = &[b"authorized_keys", b"known_hosts", b"config", b"rc"];
const SSH_FOLDER: &str = ".ssh";
/// Of the machine.
const SSH_SYSTEM_FOLDER: &[u8] = b"/etc/ssh";
const SSH_SYSTEM_FILES: &[&[u8]] = &[b"ssh_config", b"ssh_known_hosts", b"shosts.equiv"];
const PUBLIC_KEY: &[u8] = b".pub";
const TRUSTED_HOSTS: &[&str] = &["/etc/hosts.equiv"];
const SERVER: &str = "/etc/ssh/sshd_config";
const SERVER_FOLDER: &str = "/etc/ssh/sshd_config.d";
/// Patterns used from the server's configuration: real ones have one or two.
const PATTERNS_MAX: usize = 16;

fn users(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    for path in ACCOUNTS {
        recorder.request(ReadRequest {
            content_type: "text/plain",
            ..ReadRequest::bytes(*path, ReadMethod::Redacted(RedactionRule::Accounts))
        })?;
    }
    request_files(recorder, IDS)
}

fn privileges(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    request_files(recorder, RULES)?;
    request_folders(recorder, RULE_FOLDERS)?;
    recorder.list(LECTURED).map(drop)
}

fn authorized_keys(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    let mut patterns = Vec::new();
    let included = recorder.walk(super::tree(SERVER_FOLDER.as_bytes(), 0), |path, _| {
        path.ends_with(b".conf")
    })?;
    for path in std::iter::once(SERVER.as_bytes().to_vec())
        .chain(included.into_iter().map(|found| found.path))
    {
        let request = ReadRequest {
            content_type: "text/plain",
            ..ReadRequest::file(path, KeptPart::Start)
        };
        patterns.extend(key_patterns(&recorder.fetch(request)?));
    }
    // Each pattern is tried in each home, so a hostile configuration would multiply.
    patterns.sort();
    patterns.dedup();
    let left_out = patterns.len().saturating_sub(PATTERNS_MAX);
    if left_out > 0 {
        patterns.truncate(PATTERNS_MAX);
        let path = SERVER.as_bytes();
        recorder.record_gap_of_many(GapReason::TooLarge, path, left_out as u64)?;
    }
    request_files(recorder, TRUSTED_HOSTS)?;
    let system = recorder.walk(tree(SSH_SYSTEM_FOLDER, 0), |path, _| {
        SSH_SYSTEM_FILES.contains(&name_of(path)) || path.ends_with(PUBLIC_KEY)
    })?;
    for file in system {
        recorder.request(own_file(file.path))?;
    }
    let homes = homes(recorder)?;
    for HomeFolder {
        path: home,
        user: name,
    } in &homes
    {
        let folder = join(home, SSH_FOLDER.as_bytes());
        let found = recorder.walk(tree(&folder, 0), |path, _| is_ssh_file(path))?;
        if recorder.is_hung(home) {
            continue;
        }
        let configured = patterns.iter().map(|pattern| expand(pattern, home, name));
        let mut paths: Vec<_> = found
            .into_iter()
            .map(|file| file.path)
            .chain(configured)
            .collect();
        // A configured pattern is often one of the defaults.
        paths.sort();
        paths.dedup();
        for path in paths {
            recorder.request(own_file(path))?;
        }
    }
    request_own_files(recorder, homes, TRUSTED)
}

fn is_ssh_file(path: &[u8]) -> bool {
    let name = name_of(path);
    let is_list = |known: &&[u8]| {
        let rest = name.strip_prefix(*known);
        rest.is_some_and(|rest| rest.first().is_none_or(|b| !b.is_ascii_alphabetic()))
    };
    SSH_FILES.iter().any(is_list) || name.ends_with(PUBLIC_KEY)
}

/// The patterns in `AuthorizedKeysFile` lines (sshd_config(5)).
fn key_patterns(config: &[u8]) -> Vec<Vec<u8>> {
    let mut patterns = Vec::new();
    for line in config.split(|&b| b == b'\n') {
        // a keyword, then values, separated by spaces or one `=`, perhaps in quotes
        let mut words = line
            .split(|b| b.is_ascii_whitespace() || *b == b'=' || *b == b'"')
            .filter(|word| !word.is_empty());
        if words
            .next()
            .is_some_and(|keyword| keyword.eq_ignore_ascii_case(b"AuthorizedKeysFile"))
        {
            patterns.extend(words.filter(|word| *word != b"none").map(<[u8]>::to_vec));
        }
    }
    patterns
}

/// Expands a pattern for one user: `%h` is the home, `%u` the name, `%%` a percent sign. Relative
/// paths start at the home.
fn expand(pattern: &[u8], home: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::new();
    let mut bytes = pattern.iter();
    while let Some(&b) = bytes.next() {
        match (b, if b == b'%' { bytes.next() } else { None }) {
            (b'%', Some(b'h')) => path.extend_from_slice(home),
            (b'%', Some(b'u')) => path.extend_from_slice(name),
            (b'%', Some(&other)) => path.push(other),
            _ => path.push(b),
        }
    }
    if path.starts_with(b"/") {
        path
    } else {
        join(home, &path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_authorized_keys_patterns_as_sshd_does() {
        let config = b"#AuthorizedKeysFile no\nPort 22\n  authorizedkeysfile=\"/etc/keys/%u\" .ssh/%%k none\n";
        let patterns = key_patterns(config);
        assert_eq!(patterns, [b"/etc/keys/%u".to_vec(), b".ssh/%%k".to_vec()]);
        assert_eq!(expand(&patterns[0], b"/home/a", b"a"), b"/etc/keys/a");
        assert_eq!(expand(&patterns[1], b"/home/a", b"a"), b"/home/a/.ssh/%k");
        assert_eq!(expand(b"%h/k%", b"/h", b"a"), b"/h/k%");
    }
}
