//! The result of a verification: five findings, never one boolean.

use serde::Serialize;
use serde_json::{Value, json};

use super::fault::{Code, Fault};
use crate::config::Config;
use crate::digest::Digest;
use crate::signature::SignatureChecked;
use crate::statement::Statement;

/// One finding. `Ok` holds the proof that the check was made, and only the check can make it.
#[derive(Debug, Clone)]
pub enum Finding<Proof> {
    /// Checked, and it holds.
    Ok(Proof),
    /// Checked, and it does not hold.
    Failed(Fault),
    /// Not checked.
    NotChecked(&'static str),
}

impl<P> Finding<P> {
    /// `ok`, `failed` or `not checked`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self {
            Self::Ok(_) => "ok",
            Self::Failed(_) => "failed",
            Self::NotChecked(_) => "not checked",
        }
    }

    /// What is wrong, if it failed.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Failed(fault) => Some(fault),
            Self::Ok(_) | Self::NotChecked(_) => None,
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Ok(_) => json!({"state": self.state()}),
            Self::Failed(fault) => {
                json!({"state": self.state(), "code": fault.code, "object": fault.object, "detail": fault.detail})
            }
            Self::NotChecked(why) => json!({"state": self.state(), "detail": why}),
        }
    }
}

/// Every byte of every file was read, and every rule about them holds.
#[derive(Debug, Clone)]
pub struct IntegrityChecked(pub(super) ());

/// The config states no gap, and has an item for every step of its plan.
#[derive(Debug, Clone)]
pub struct CompletenessChecked(pub(super) ());

/// A check that this version cannot make yet: there is no value of this type, so no such finding is
/// ever `ok`.
#[derive(Debug, Clone)]
pub enum NotYet {}

/// What an auditor can say after reading a bundle to its end.
#[derive(Debug, Clone)]
pub struct Report {
    /// The bundle's id, once its manifest was read.
    pub bundle: Option<Digest>,
    /// All bytes are those that the id names, and the format's rules hold.
    pub integrity: Finding<IntegrityChecked>,
    /// A key that the auditor gave has signed this bundle.
    pub signer: Finding<SignatureChecked>,
    /// Somebody independent says when.
    pub time: Finding<NotYet>,
    /// It stands in a public log.
    pub log: Finding<NotYet>,
    /// Nothing that was to be captured is missing.
    pub completeness: Finding<CompletenessChecked>,
    /// What the bundle says of itself. Sealed if `integrity` is ok, vouched for if `signer` is;
    /// else only a claim.
    pub config: Option<Config>,
    /// What was signed: by a trusted key if `signer` is ok; else what the first attestation says,
    /// **whoever signed it**.
    pub claim: Option<Statement>,
}

/// Exit codes of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Exit {
    /// All that was asked holds.
    Holds = 0,
    /// Tampered or invalid.
    Invalid = 1,
    /// Cannot be decided with the trust material given.
    Undecided = 3,
    /// Sound, but incomplete: there are gaps.
    Incomplete = 4,
}

impl Report {
    /// The one number that scripts look at. Integrity, signer and completeness are what is asked;
    /// `time` and `log` do not count while no bundle can have them.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let faults = [self.integrity.fault(), self.signer.fault()];
        match (&self.integrity, &self.signer, &self.completeness) {
            _ if faults
                .iter()
                .flatten()
                .any(|fault| fault.code != Code::Unreadable) =>
            {
                Exit::Invalid
            }
            (Finding::Ok(_), Finding::Ok(_), Finding::Ok(_)) => Exit::Holds,
            (Finding::Ok(_), Finding::Ok(_), Finding::Failed(_)) => Exit::Incomplete,
            _ => Exit::Undecided,
        }
    }

    /// True if every byte was checked and a trusted key vouches for them.
    #[must_use]
    pub fn is_vouched_for(&self) -> bool {
        matches!(
            (&self.integrity, &self.signer),
            (Finding::Ok(_), Finding::Ok(_))
        )
    }

    /// The report for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let items = self.config.iter().flat_map(|config| &config.items).map(|item| {
            json!({"name": item.name, "records": item.records, "bytes": item.bytes, "missing": item.coverage.missing(),
                "ended": item.coverage.ended, "gaps": item.coverage.gaps})
        });
        json!({
            "bundle": self.bundle,
            "incident": self.config.as_ref().map(|config| &config.incident),
            "findings": {
                "integrity": self.integrity.json(),
                "signer": self.signer.json(),
                "time": self.time.json(),
                "log": self.log.json(),
                "completeness": self.completeness.json(),
            },
            "signed_by": match &self.signer { Finding::Ok(proof) => Some(proof.key_id().hex()), _ => None },
            "signed_at_claimed": self.claim.as_ref().map(|claim| claim.predicate.signed_at),
            "stream": self.claim.as_ref().map(|claim| &claim.predicate.stream),
            "items": items.collect::<Vec<_>>(),
            "exit": self.exit() as u8,
        })
    }
}
