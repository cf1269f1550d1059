//! Decides the findings, apart from integrity, by what has been read.

use super::contents::BundleContents;
use super::fault::{BundleFault, FaultCode};
use super::report::{AttestationFound, CompletenessChecked, Finding, IntegrityChecked};
use super::trust::TrustPolicy;
use crate::coverage::Coverage;
use crate::digest::Digest;
use crate::id::IncidentId;
use crate::manifest::Descriptor;
use crate::signature::{Attestation, SignatureChecked};
use crate::statement::{Statement, StatementError};

/// Checks each attestation with the auditor's keys.
pub(super) fn judged_attestations(
    found: &BundleContents,
    trust: &TrustPolicy,
) -> Vec<AttestationFound> {
    let Some(bundle) = &found.bundle else {
        return Vec::new();
    };
    let judge = |(digest, attestation): &(Digest, Attestation)| {
        let mut finding = Finding::Failed(BundleFault::new(
            FaultCode::OtherSigner,
            bundle.digest,
            "is not signed by any of the given keys",
        ));
        for key in &trust.keys {
            match attestation.verify(key) {
                Ok(None) => {}
                Ok(Some(checked)) => {
                    let statement = checked.statement();
                    let (of, incident) = (&statement.bundle, &statement.predicate.incident);
                    finding = match about_this_bundle(of, incident, found, bundle) {
                        Ok(()) => Finding::Ok(checked),
                        Err(other) => Finding::Failed(other),
                    };
                }
                Err(
                    ref error @ StatementError::Reserved {
                        bundle: ref of,
                        ref incident,
                    },
                ) => {
                    let reserved =
                        || BundleFault::caused(FaultCode::Reserved, bundle.digest, error);
                    let about = about_this_bundle(of, incident, found, bundle);
                    finding = Finding::Failed(about.err().unwrap_or_else(reserved));
                }
                Err(error) => {
                    let code = FaultCode::Statement;
                    finding = Finding::Failed(BundleFault::caused(code, bundle.digest, &error));
                }
            }
        }
        if trust.keys.is_empty() {
            finding = Finding::NotChecked("no key was given");
        }
        AttestationFound {
            digest: *digest,
            key_id: attestation.key_id(),
            finding,
        }
    };
    found.attestations.iter().map(judge).collect()
}

/// Looks for an attestation by any of the auditor's keys.
pub(super) fn signer(
    found: &BundleContents,
    attestations: &[AttestationFound],
    trust: &TrustPolicy,
    integrity: &Finding<IntegrityChecked>,
) -> Finding<SignatureChecked> {
    let Some(bundle) = &found.bundle else {
        return Finding::NotChecked("no bundle manifest was read");
    };
    if attestations.is_empty() {
        return match integrity {
            Finding::Ok(_) => Finding::Failed(BundleFault::new(
                FaultCode::Unsigned,
                bundle.digest,
                "has no signature",
            )),
            Finding::Failed(_) | Finding::NotChecked(_) => {
                Finding::NotChecked("reading failed before a signature was found")
            }
        };
    }
    if trust.keys.is_empty() {
        return Finding::NotChecked("no key was given");
    }
    let checked = || attestations.iter().filter_map(AttestationFound::checked);
    // Neither can be believed: whoever passes the bundle on would choose which one is seen.
    let differ = checked().any(|one| {
        checked()
            .any(|other| one.key_id() == other.key_id() && one.statement() != other.statement())
    });
    if differ {
        return Finding::Failed(BundleFault::new(
            FaultCode::StatementsDiffer,
            bundle.digest,
            "one of the given keys has signed two different statements about it",
        ));
    }
    if let Some(first) = checked().next() {
        return Finding::Ok(first.clone());
    }
    // A fault in something that a trusted key did sign says more than "other signer".
    let faults = || {
        attestations
            .iter()
            .filter_map(|found| found.finding.fault())
    };
    let fault = faults()
        .find(|fault| fault.code == FaultCode::StatementSubject)
        .or_else(|| faults().find(|fault| fault.code == FaultCode::Statement))
        .or_else(|| faults().find(|fault| fault.code == FaultCode::Reserved))
        .or_else(|| faults().next())
        .expect("there are attestations, and none is ok");
    Finding::Failed(fault.clone())
}

/// The statement signed by the trusted key, or else by anybody: another attestation that somebody
/// has added must not speak for the signer.
pub(super) fn claim(
    found: &BundleContents,
    signer: &Finding<SignatureChecked>,
) -> Option<Statement> {
    match signer {
        Finding::Ok(proof) => Some(proof.statement().clone()),
        Finding::Failed(_) | Finding::NotChecked(_) => found
            .attestations
            .first()
            .and_then(|(_, a)| a.unverified_statement().ok()),
    }
}

fn about_this_bundle(
    of: &Digest,
    incident: &IncidentId,
    found: &BundleContents,
    bundle: &Descriptor,
) -> Result<(), BundleFault> {
    if *of != bundle.digest {
        return Err(BundleFault::new(
            FaultCode::StatementSubject,
            bundle.digest,
            "the signed statement is about another bundle",
        ));
    }
    // Without a config there is no second incident to compare with.
    if found
        .config
        .as_ref()
        .is_some_and(|config| config.incident != *incident)
    {
        return Err(BundleFault::new(
            FaultCode::StatementSubject,
            bundle.digest,
            "the signed statement is about another incident",
        ));
    }
    Ok(())
}

pub(super) fn completeness(
    found: &BundleContents,
    integrity: &Finding<IntegrityChecked>,
) -> Finding<CompletenessChecked> {
    let (Some(config), Finding::Ok(_)) = (&found.config, integrity) else {
        return Finding::NotChecked("requires a bundle whose integrity is ok");
    };
    // A missing item is worse than a gap inside an item, which is at least stated.
    if let Some(step) = config.planned_but_absent().next() {
        return Finding::Failed(BundleFault::new(
            FaultCode::PlanItems,
            step,
            "is planned, but not among the items",
        ));
    }
    // What the evidence shows goes before what the coverage says of it.
    if let Some(fault) = &found.uncounted_gap {
        return Finding::Failed(fault.clone());
    }
    let missing: Vec<_> = config
        .items
        .iter()
        .filter(|item| !item.coverage.is_complete())
        .collect();
    if let Some(first) = missing.first() {
        let objects = missing.iter().fold(0_u64, |sum, item| {
            sum.saturating_add(item.coverage.missing())
        });
        let detail = format!(
            "{} of {} items have gaps, {objects} objects in all",
            missing.len(),
            config.items.len()
        );
        return Finding::Failed(BundleFault::new(FaultCode::Gaps, &first.name, detail));
    }
    for item in &config.items {
        if let Some((code, detail)) = shortfall(&item.coverage) {
            return Finding::Failed(BundleFault::new(code, &item.name, detail));
        }
    }
    Finding::Ok(CompletenessChecked(()))
}

/// Why an item that states no gap may still lack something.
fn shortfall(coverage: &Coverage) -> Option<(FaultCode, String)> {
    let Coverage {
        asked,
        effective,
        events,
        declared,
        provisional_until,
        ..
    } = coverage;
    if let (Some(events), Some(declared)) = (events, declared)
        && declared > events
    {
        let detail = format!("the source says that there are {declared}, and delivered {events}");
        return Some((FaultCode::Declared, detail));
    }
    if let Some(asked) = asked
        && *effective != Some(*asked)
    {
        let detail = match effective {
            Some(could) => format!(
                "asked from {} until {}, could answer from {} until {}",
                asked.from, asked.until, could.from, could.until
            ),
            None => format!(
                "asked from {} until {}, and the source could answer none of it",
                asked.from, asked.until
            ),
        };
        return Some((FaultCode::Narrowed, detail));
    }
    let until = (*provisional_until)?;
    Some((
        FaultCode::Provisional,
        format!("more may have arrived at the source until {until}"),
    ))
}
