//! The result of a verification: five findings rather than one boolean.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::fault::BundleFault;
use crate::config::BundleConfig;
use crate::digest::Digest;
use crate::id::{ItemName, KeyId};
use crate::item::UnrecordedBytes;
use crate::signature::SignatureChecked;
use crate::statement::Statement;

/// One finding. `Ok` holds the proof that the check was made; only the check itself can create it.
#[derive(Debug, Clone)]
pub enum Finding<Proof> {
    /// Checked and passed.
    Ok(Proof),
    /// Checked and failed.
    Failed(BundleFault),
    /// Not checked, and why.
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

    /// The fault, if the check failed.
    #[must_use]
    pub fn fault(&self) -> Option<&BundleFault> {
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

/// Proof that every byte of every file was read and all rules about them hold.
#[derive(Debug, Clone)]
pub struct IntegrityChecked(pub(super) ());

/// Proof that the config states no gap and has an item for every step of its plan.
#[derive(Debug, Clone)]
pub struct CompletenessChecked(pub(super) ());

/// Proof of a check that this version cannot make. The type has no values, so such a finding is
/// never `ok`.
#[derive(Debug, Clone)]
pub enum UnavailableProof {}

/// An attestation that the bundle carries.
#[derive(Debug, Clone)]
pub struct AttestationFound {
    /// Digest of the sigstore bundle's blob.
    pub digest: Digest,
    /// The key that it names. Unless the finding is ok, anybody may have written that.
    pub key_id: KeyId,
    /// One of the auditor's keys has signed this bundle with it.
    pub finding: Finding<SignatureChecked>,
}

impl AttestationFound {
    /// The checked signature, if one of the auditor's keys made it over this bundle.
    #[must_use]
    pub fn checked(&self) -> Option<&SignatureChecked> {
        match &self.finding {
            Finding::Ok(checked) => Some(checked),
            Finding::Failed(_) | Finding::NotChecked(_) => None,
        }
    }
}

/// Something in the bundle's file that nobody has signed, and that this version does not check:
/// anybody who had the file may have added it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnsignedAddition {
    /// Its `artifactType`.
    pub kind: String,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Digests of what it adds. That of a public key is the key's fingerprint.
    pub content: Vec<Digest>,
}

/// Everything that an auditor knows after reading a bundle to its end.
#[derive(Debug, Clone)]
pub struct VerificationReport {
    /// The bundle's id, if its manifest was read.
    pub bundle: Option<Digest>,
    /// All bytes are covered by the id and unchanged, and the rules of the format hold.
    pub integrity: Finding<IntegrityChecked>,
    /// One of the auditor's keys has signed this bundle.
    pub signer: Finding<SignatureChecked>,
    /// An independent party confirms the time of signing.
    pub time: Finding<UnavailableProof>,
    /// The bundle is recorded in a public log.
    pub log: Finding<UnavailableProof>,
    /// Nothing of what the plan promises is missing.
    pub completeness: Finding<CompletenessChecked>,
    /// What the bundle states about itself. Unchanged since sealing if `integrity` is ok, vouched
    /// for if `signer` is ok too; otherwise only a claim.
    pub config: Option<BundleConfig>,
    /// The signed statement: by a trusted key if `signer` is ok; otherwise that of the first
    /// attestation, **no matter who signed it**.
    pub claim: Option<Statement>,
    /// Every attestation, by key id and digest. The order in the file is nobody's statement.
    pub attestations: Vec<AttestationFound>,
    /// What else the file carries and nobody has signed, by kind and digest.
    pub unsigned: Vec<UnsignedAddition>,
    /// What of each item that was read whole stands in no record, and so is not shown as one.
    pub unrecorded: BTreeMap<ItemName, UnrecordedBytes>,
}

/// Exit codes of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// Integrity, signer and completeness are ok.
    Holds = 0,
    /// Tampered or invalid.
    Invalid = 1,
    /// Cannot be decided with the given keys, or something could not be read.
    Undecided = 3,
    /// Sound but incomplete: the bundle states gaps.
    Incomplete = 4,
}

impl VerificationReport {
    /// The verdict for scripts. Integrity, signer and completeness decide; `time` and `log` do not
    /// count as long as no bundle can have them.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        // A fault of the bundle decides even if the rest could not be read.
        let faults = [self.integrity.fault(), self.signer.fault()];
        match (&self.integrity, &self.signer, &self.completeness) {
            _ if faults
                .iter()
                .flatten()
                .any(|fault| fault.code.is_of_bundle()) =>
            {
                Verdict::Invalid
            }
            (Finding::Ok(_), Finding::Ok(_), Finding::Ok(_)) => Verdict::Holds,
            (Finding::Ok(_), Finding::Ok(_), Finding::Failed(_)) => Verdict::Incomplete,
            (Finding::Ok(_), Finding::Ok(_), Finding::NotChecked(_))
            | (Finding::Failed(_) | Finding::NotChecked(_), _, _)
            | (_, Finding::Failed(_) | Finding::NotChecked(_), _) => Verdict::Undecided,
        }
    }

    /// True if every byte was checked and a trusted key vouches for the bundle.
    #[must_use]
    pub fn is_vouched_for(&self) -> bool {
        matches!(
            (&self.integrity, &self.signer),
            (Finding::Ok(_), Finding::Ok(_))
        )
    }

    /// The report as JSON, for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let items = self.config.iter().flat_map(|config| &config.items).map(|item| {
            json!({"name": item.name, "records": item.records, "bytes": item.bytes, "missing": item.coverage.missing(),
                "ended": item.coverage.ended, "gaps": item.coverage.gaps,
                "unrecorded": self.unrecorded.get(&item.name), "redactions": item.redactions,
                "asked": item.coverage.asked, "effective": item.coverage.effective,
                "declared": item.coverage.declared, "events": item.coverage.events,
                "provisionalUntil": item.coverage.provisional_until})
        });
        let attestations = self.attestations.iter().map(|found| {
            let statement = found.checked().map(SignatureChecked::statement);
            let predicate = statement.map(|statement| &statement.predicate);
            json!({"digest": found.digest, "key": found.key_id.fingerprint(), "finding": found.finding.json(),
                "role": predicate.map(|p| p.role), "signedAtClaimed": predicate.map(|p| p.signed_at),
                "stream": predicate.map(|p| &p.stream)})
        });
        json!({
            "bundle": self.bundle,
            "incident": self.config.as_ref().map(|config| &config.incident),
            "supplements": self.config.as_ref().and_then(|config| config.supplements),
            "examined": self.config.as_ref().map(|config| &config.examined),
            "findings": {
                "integrity": self.integrity.json(),
                "signer": self.signer.json(),
                "time": self.time.json(),
                "log": self.log.json(),
                "completeness": self.completeness.json(),
            },
            "signedBy": match &self.signer { Finding::Ok(proof) => Some(proof.key_id().fingerprint()), _ => None },
            "signedAtClaimed": self.claim.as_ref().map(|claim| claim.predicate.signed_at),
            "stream": self.claim.as_ref().map(|claim| &claim.predicate.stream),
            "attestations": attestations.collect::<Vec<_>>(),
            "unsigned": self.unsigned,
            "items": items.collect::<Vec<_>>(),
            "exit": self.verdict() as u8,
        })
    }
}
