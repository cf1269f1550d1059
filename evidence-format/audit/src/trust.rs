//! Whom the auditor trusts: keys, their names, and up to where they are trusted.
//!
//! Trusted entirely: whoever writes these arguments decides the verdict. Nothing in a bundle adds to
//! them. A public key that is read from beside a bundle, or out of it, counts only if its SHA-256 is
//! a fingerprint that the auditor gave.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use evidence_format::config::BundleConfig;
use evidence_format::digest::Digest;
use evidence_format::id::{KeyId, StreamId};
use evidence_format::keyring::PublicKey;
use evidence_format::limits::KEY_FILE_BYTES_MAX;
use evidence_format::signature::SignatureChecked;
use evidence_format::statement::CapturePredicate;
use evidence_format::time::Timestamp;
use evidence_format::verify::{
    AttestationFound, BundleFault, FaultCode, Finding, TrustPolicy, VerificationReport,
};
use protocol::keyring::{AgentKeyring, KeyringAgent};

use crate::carried_key::{carried_key, keys_beside};
use crate::error::AuditError;
use crate::progress::InterruptFlag;

/// Keys in one file.
const KEYS_MAX: u64 = 100;
/// How a detail begins that says which limit of the auditor's a statement is beyond.
const BEYOND_LIMITS: &str = "a key that you gave signed it";
/// Longest name of a key.
const KEY_NAME_BYTES_MAX: usize = 64;

/// Whom the user trusts.
#[derive(Debug, Args)]
pub(crate) struct TrustArgs {
    /// Key of a signer that you trust: a file with public keys (PEM), or a fingerprint,
    /// sha256:HEX. May be repeated; a signature by any of them counts. NAME=KEY names it in output
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<KeyArgument>,
    /// Expected id of the bundle, if you know it from another source
    #[arg(long = "bundle", value_name = "sha256:HEX")]
    expected: Option<Digest>,
    /// Accept only statements that say that they were signed before this time. Somebody who has
    /// stolen a key can write any time: use --stream against them
    #[arg(long, value_name = "TIME")]
    signed_before: Option<Timestamp>,
    /// Accept only statements of this stream, up to number N: what the owner of the key published
    /// before it was stolen. May be repeated
    #[arg(long = "stream", value_name = "ID:N")]
    streams: Vec<StreamLimit>,
    /// Keyring of agents, `agents.json` of an export: each key in it counts for the agent's own host
    /// and time only. May be repeated
    #[arg(long, value_name = "FILE")]
    agents: Vec<PathBuf>,
    /// Stop at a bundle that states more bytes of content than this; it is then undecided
    #[arg(long, value_name = "BYTES")]
    max_bytes: Option<u64>,
}

/// A value of `--key`.
#[derive(Debug, Clone)]
struct KeyArgument {
    name: Option<String>,
    source: KeySource,
}

#[derive(Debug, Clone)]
enum KeySource {
    File(PathBuf),
    Fingerprint(Digest),
}

impl FromStr for KeyArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, source) = match text.split_once('=') {
            // A file whose name has the sign in it is still a file.
            Some((name, source)) if !Path::new(text).exists() => (Some(name), source),
            Some(_) | None => (None, text),
        };
        if let Some(name) = name {
            let is_plain = |c: char| c.is_alphanumeric() || "._-@ ".contains(c);
            if name.is_empty() || KEY_NAME_BYTES_MAX < name.len() || !name.chars().all(is_plain) {
                return Err(format!(
                    "a key's name has 1 to {KEY_NAME_BYTES_MAX} letters, digits and . _ - @"
                ));
            }
        }
        let source = if source.starts_with("sha256:") {
            KeySource::Fingerprint(source.parse().map_err(|error| format!("{error}"))?)
        } else {
            KeySource::File(source.into())
        };
        Ok(Self {
            name: name.map(str::to_owned),
            source,
        })
    }
}

/// A value of `--stream`.
#[derive(Debug, Clone)]
struct StreamLimit {
    stream: StreamId,
    last: u64,
}

impl FromStr for StreamLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            "give the stream's id (32 hex digits), a colon, and the last number that counts";
        let (stream, last) = text.split_once(':').ok_or(wrong)?;
        Ok(Self {
            stream: stream.parse().map_err(|error| format!("{error}"))?,
            last: last.parse().map_err(|_| wrong)?,
        })
    }
}

/// Whom the auditor trusts, with the keys read.
#[derive(Debug, Clone)]
pub(crate) struct AuditorTrust {
    policy: TrustPolicy,
    names: BTreeMap<KeyId, String>,
    /// Keys of which the auditor gave the fingerprint and not the file.
    fingerprints: Vec<Digest>,
    signed_before: Option<Timestamp>,
    streams: BTreeMap<StreamId, u64>,
    agents: Vec<KeyringAgent>,
    /// Content bytes of a bundle that are read at most.
    pub(crate) bytes_max: Option<u64>,
    /// Set by Ctrl-C.
    pub(crate) interrupt: InterruptFlag,
}

impl TrustArgs {
    /// Reads the keys.
    pub(crate) fn policy(&self) -> Result<AuditorTrust, AuditError> {
        let mut trust = AuditorTrust {
            policy: TrustPolicy {
                keys: Vec::new(),
                bundle: self.expected,
            },
            names: BTreeMap::new(),
            fingerprints: Vec::new(),
            signed_before: self.signed_before,
            streams: BTreeMap::new(),
            agents: Vec::new(),
            bytes_max: self.max_bytes,
            interrupt: InterruptFlag::register(),
        };
        for KeyArgument { name, source } in &self.keys {
            let ids: Vec<KeyId> = match source {
                KeySource::Fingerprint(digest) => {
                    trust.fingerprints.push(*digest);
                    vec![KeyId::from_fingerprint(*digest)]
                }
                KeySource::File(path) => {
                    let keys = read_keys(path)?;
                    let ids = keys.iter().map(PublicKey::id).collect();
                    trust.policy.keys.extend(keys);
                    ids
                }
            };
            if let Some(name) = name {
                let named = ids.into_iter().map(|id| (id, name.clone()));
                trust.names.extend(named);
            }
        }
        for path in &self.agents {
            for agent in read_keyring(path)?.agents {
                let key = PublicKey::from_pem(&agent.public_key);
                let key = key.map_err(|cause| AuditError::Key {
                    path: path.clone(),
                    cause,
                })?;
                trust.names.insert(key.id(), format!("agent {}", agent.id));
                trust.policy.keys.push(key);
                trust.agents.push(agent);
            }
        }
        for limit in &self.streams {
            trust.streams.insert(limit.stream.clone(), limit.last);
        }
        Ok(trust)
    }
}

impl AuditorTrust {
    /// The policy for the bundle at `path`, with the public halves of keys of which only the
    /// fingerprint was given. `None` as path: the bundle comes from a pipe.
    pub(crate) fn policy_for(&self, path: Option<&Path>) -> TrustPolicy {
        let mut policy = self.policy.clone();
        for fingerprint in &self.fingerprints {
            let is_it = |key: &PublicKey| key.id().fingerprint() == *fingerprint;
            if policy.keys.iter().any(is_it) {
                continue;
            }
            let Some(path) = path else { continue };
            let key = carried_key(path, fingerprint)
                .or_else(|| keys_beside(path).into_iter().find(|key| is_it(key)));
            policy.keys.extend(key);
        }
        policy
    }

    pub(crate) fn expects_one_bundle(&self) -> bool {
        self.policy.bundle.is_some()
    }

    pub(crate) fn has_keys(&self) -> bool {
        !self.policy.keys.is_empty() || !self.fingerprints.is_empty()
    }

    /// `sha256:… (name)`.
    pub(crate) fn key_text(&self, key: &KeyId) -> String {
        match self.names.get(key) {
            Some(name) => format!("{} ({name})", key.fingerprint()),
            None => key.fingerprint().to_string(),
        }
    }

    pub(crate) fn name_of(&self, key: &KeyId) -> Option<&str> {
        self.names.get(key).map(String::as_str)
    }

    /// Applies what the verifier does not know of: limits, and fingerprints without a key. `policy`
    /// is what it verified with.
    pub(crate) fn narrow(&self, report: &mut VerificationReport, policy: &TrustPolicy) {
        let Some(bundle) = report.bundle else { return };
        let mut is_narrowed = false;
        let config = report.config.clone();
        for found in &mut report.attestations {
            let outside = found.checked().and_then(|checked| {
                self.outside(&checked.statement().predicate)
                    .or_else(|| self.beyond_host(checked, config.as_ref()))
            });
            if let Some(detail) = outside {
                is_narrowed = true;
                found.finding = Finding::Failed(BundleFault {
                    code: FaultCode::OtherSigner,
                    object: bundle.to_string(),
                    detail,
                });
            }
        }
        if is_narrowed {
            report.signer = signer_within(report);
            // what a statement that is not accepted says must not be shown as the signer's
            if let Finding::Ok(accepted) = &report.signer {
                report.claim = Some(accepted.statement().clone());
            }
        }
        self.note_missing_key(report, policy);
    }

    /// Why a statement by a trusted key is not accepted; `None` if it is.
    fn outside(&self, statement: &CapturePredicate) -> Option<String> {
        if let Some(before) = self.signed_before
            && statement.signed_at >= before
        {
            return Some(format!(
                "{BEYOND_LIMITS}, but says at {}, which is not before {before} (--signed-before)",
                statement.signed_at
            ));
        }
        if self.streams.is_empty() {
            return None;
        }
        let stream = &statement.stream;
        match self.streams.get(&stream.id) {
            Some(last) if stream.seq <= *last => None,
            Some(last) => Some(format!(
                "{BEYOND_LIMITS} as number {} of its stream, which you accept up to {last} (--stream)",
                stream.seq
            )),
            None => Some(format!(
                "{BEYOND_LIMITS} in stream {}, which you did not name (--stream)",
                stream.id
            )),
        }
    }

    /// Why an agent's key does not vouch for this bundle; `None` if it does, or is no agent's. An
    /// agent's key counts for its own host, and until the agent was revoked.
    fn beyond_host(
        &self,
        checked: &SignatureChecked,
        config: Option<&BundleConfig>,
    ) -> Option<String> {
        let key = checked.key_id();
        let has_key = |agent: &&KeyringAgent| {
            PublicKey::from_pem(&agent.public_key).is_ok_and(|own| own.id() == key)
        };
        let agent = self.agents.iter().find(has_key)?;
        let fault = agent.check(config?, checked.statement()).err()?;
        Some(format!("{BEYOND_LIMITS}, but {fault} (--agents)"))
    }

    /// A fingerprint whose public key is nowhere decides nothing, if the bundle names that key.
    fn note_missing_key(&self, report: &mut VerificationReport, policy: &TrustPolicy) {
        let is_missing = |id: KeyId| {
            let is_here = policy.keys.iter().any(|key| key.id() == id);
            self.fingerprints.contains(&id.fingerprint()) && !is_here
        };
        let names_missing = { report.attestations.iter() }.any(|found| is_missing(found.key_id));
        match (&report.signer, report.bundle) {
            (Finding::NotChecked(_), Some(bundle))
                if !names_missing && self.has_keys() && !report.attestations.is_empty() =>
            {
                report.signer = Finding::Failed(BundleFault {
                    code: FaultCode::OtherSigner,
                    object: bundle.to_string(),
                    detail: "is not signed by any of the given keys".to_owned(),
                });
            }
            (Finding::NotChecked(_), _) if names_missing => report.signer = NO_PUBLIC_KEY,
            (Finding::Failed(fault), _)
                if names_missing && fault.code == FaultCode::OtherSigner =>
            {
                report.signer = NO_PUBLIC_KEY;
            }
            (Finding::Ok(_) | Finding::Failed(_) | Finding::NotChecked(_), _) => {}
        }
    }
}

/// True if a given key signed, but beyond what the auditor accepts of it.
pub(crate) fn is_beyond_limits(report: &VerificationReport) -> bool {
    let fault = report.signer.fault();
    fault.is_some_and(|fault| fault.detail.starts_with(BEYOND_LIMITS))
}

/// The bundle names the key of a fingerprint that the auditor gave. Nobody has checked the
/// signature.
const NO_PUBLIC_KEY: Finding<SignatureChecked> = Finding::NotChecked(
    "the bundle names the key of your fingerprint, but its public half is neither in the bundle nor beside it; give its file",
);

/// The finding about the signer, from those statements that are still accepted.
fn signer_within(report: &VerificationReport) -> Finding<SignatureChecked> {
    let accepted = || {
        report
            .attestations
            .iter()
            .filter_map(AttestationFound::checked)
    };
    let differ = accepted().any(|one| {
        accepted()
            .any(|other| one.key_id() == other.key_id() && one.statement() != other.statement())
    });
    match accepted().next() {
        // Already the finding of the verifier, with its words.
        Some(_) if differ => report.signer.clone(),
        Some(first) => Finding::Ok(first.clone()),
        None => { report.attestations.iter() }
            .find_map(|found| found.finding.fault())
            .map_or_else(
                || report.signer.clone(),
                |fault| Finding::Failed(fault.clone()),
            ),
    }
}

/// Bytes of a keyring: some hundred for each of 100,000 agents.
const KEYRING_BYTES_MAX: u64 = 64 << 20;

fn read_keyring(path: &Path) -> Result<AgentKeyring, AuditError> {
    let unusable = |cause: &dyn std::fmt::Display| {
        AuditError::Usage(format!(
            "cannot use the keyring {}: {cause}",
            path.display()
        ))
    };
    let mut json = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(KEYRING_BYTES_MAX + 1).read_to_end(&mut json));
    read.map_err(|cause| unusable(&cause))?;
    if json.len() as u64 > KEYRING_BYTES_MAX {
        return Err(unusable(&"it is too long"));
    }
    serde_json::from_slice(&json).map_err(|cause| unusable(&cause))
}

/// The end of each key in a PEM file.
const END_OF_KEY: &str = "-----END PUBLIC KEY-----";

fn read_keys(path: &Path) -> Result<Vec<PublicKey>, AuditError> {
    let mut pem = String::new();
    let bytes_max = KEY_FILE_BYTES_MAX * KEYS_MAX;
    // One byte more than the limit, so that a longer file is rejected rather than cut.
    let read = File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_string(&mut pem));
    read.map_err(|cause| {
        // Wrong usage, since no bundle could be blamed for it.
        AuditError::Usage(format!("cannot read key {}: {cause}", path.display()))
    })?;
    if pem.len() as u64 > bytes_max {
        return Err(AuditError::Usage(format!(
            "key file {} is too long: the limit is {bytes_max} bytes",
            path.display()
        )));
    }
    if pem.contains("PRIVATE KEY-----") {
        return Err(AuditError::Usage(format!(
            "{} is a private key: give its public half, such as agent.pub.pem, and keep this file secret",
            path.display()
        )));
    }
    let fail = |cause| AuditError::Key {
        path: path.to_owned(),
        cause,
    };
    let keys: Vec<&str> = pem
        .split_inclusive(END_OF_KEY)
        .filter(|key| !key.trim().is_empty())
        .collect();
    if keys.is_empty() {
        return Ok(vec![PublicKey::from_pem(&pem).map_err(fail)?]);
    }
    let keys = keys
        .into_iter()
        .map(|key| PublicKey::from_pem(key.trim_start()));
    keys.collect::<Result<_, _>>().map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_a_file_or_a_fingerprint_with_or_without_a_name() {
        let digest = Digest::of(b"x");
        let parse = |text: &str| text.parse::<KeyArgument>();
        let named = parse(&format!("daemon 2={digest}")).expect("a fingerprint");
        assert_eq!(named.name.as_deref(), Some("daemon 2"));
        assert!(matches!(named.source, KeySource::Fingerprint(found) if found == digest));
        let file = parse("a.pem").expect("a file");
        assert!(file.name.is_none() && matches!(file.source, KeySource::File(_)));
        for bad in ["sha256:00", "=a.pem", "a\u{1b}=b.pem"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn stream_limit_is_an_id_and_a_number() {
        let id = "0f".repeat(16);
        let limit: StreamLimit = format!("{id}:7").parse().expect("a limit");
        assert_eq!((limit.stream.as_str(), limit.last), (&*id, 7));
        for bad in [&*id, "x:7", &format!("{id}:"), &format!("{id}:-1")] {
            assert!(bad.parse::<StreamLimit>().is_err(), "{bad}");
        }
    }
}
