//! What codes of findings, of gaps and of ends mean, in words for people who do not know the format.

use evidence_format::coverage::{EndReason, GapReason};
use evidence_format::verify::FaultCode;

/// What a failed finding with this code means.
pub(crate) fn explain(code: FaultCode) -> &'static str {
    match code {
        FaultCode::Unreadable => {
            "Not all of the file was read, for the reason given. That says nothing about the bundle."
        }
        FaultCode::Unfinished => {
            "The capture was interrupted before it was sealed. Nobody vouches for what is in it."
        }
        FaultCode::Tar => {
            "The tar is cut off, was packed anew by another program, or has something added to it."
        }
        FaultCode::NotAFile => "A link or a device stands where a file must be.",
        FaultCode::UnexpectedFile => {
            "Somebody added a file that the bundle does not list, or moved one."
        }
        FaultCode::OciLayout | FaultCode::Index => {
            "This is not a bundle, or its table of contents was damaged or removed."
        }
        FaultCode::BlobMissing => "A part of the bundle was removed.",
        FaultCode::BlobSize => "A part of the bundle does not have the size that is stated for it.",
        FaultCode::BlobDigest => "A part of the bundle was changed after it was sealed.",
        FaultCode::Manifest | FaultCode::ManifestConfig | FaultCode::Config => {
            "What the bundle states about itself is malformed or contradicts itself. No program of ours writes that."
        }
        FaultCode::OtherKind => {
            "This is a container of a kind that this version of the program does not know, such as a disclosure. Use a newer version."
        }
        FaultCode::BundleCount => "The file holds no bundle, or more than one.",
        FaultCode::OtherBundle => "This is not the bundle whose id you gave with --bundle.",
        FaultCode::Referrer => "Something in the file belongs to another bundle.",
        FaultCode::Attestation => "A signature's document is malformed.",
        FaultCode::Version => {
            "The bundle has a version of the format that this program does not know. Use a newer version."
        }
        FaultCode::DisclosureKey => "The key for later disclosures is damaged.",
        FaultCode::Frames
        | FaultCode::SegmentList
        | FaultCode::ItemSize
        | FaultCode::ItemRoot
        | FaultCode::Warc => {
            "What was captured does not have the form that the format prescribes, or not the content that the bundle states."
        }
        FaultCode::Unsigned => "The file has no signature. Anybody may have made it.",
        FaultCode::OtherSigner => {
            "Either you gave the wrong key, or somebody else made or signed this file. Compare the fingerprint of your key with its owner."
        }
        FaultCode::Statement => {
            "A key that you gave signed something else than a statement about a capture."
        }
        FaultCode::StatementSubject => {
            "A key that you gave signed a statement about another bundle or incident, and it was put here."
        }
        FaultCode::Reserved => {
            "A key that you gave signed this in a way that a later version of the format defines, such as by a witness. Use a newer version."
        }
        FaultCode::StatementsDiffer => {
            "The owner of the key, or somebody who has stolen it, stated two different times or places in the stream for this bundle. Neither can be believed without an explanation."
        }
        FaultCode::Gaps => {
            "The collector states what it could not capture, and why. What is there is as good as without gaps."
        }
        FaultCode::GapCount => {
            "The captured records name more missing objects than the bundle counts. Read the item's records before you rely on its numbers."
        }
        FaultCode::Declared => {
            "The source said that there is more than it delivered. Something changed meanwhile, or was kept back."
        }
        FaultCode::Narrowed => {
            "The source could answer only for a part of the time that it was asked about, as when older entries were deleted."
        }
        FaultCode::Provisional => {
            "When the source was asked, entries of that time could still arrive there. A later bundle that adds to this one may have them."
        }
        FaultCode::PlanItems => {
            "The collector set out to capture this, and the bundle has nothing about it, not even a gap. Ask the signer why."
        }
    }
}

/// Why objects are missing.
pub(crate) fn gap_reason(reason: GapReason) -> &'static str {
    match reason {
        GapReason::PermissionDenied => "no permission",
        GapReason::Vanished => "gone before it was read",
        GapReason::TooLarge => "larger than the limit for one object; a part was kept",
        GapReason::Shrank => "became shorter while it was read",
        GapReason::Hung => "reading did not end in time",
        GapReason::SpecialFile => "not a regular file, so not opened",
        GapReason::ReadFailed => "reading failed",
        GapReason::Deadline => "time was up",
        GapReason::OverBudget => "the limit for the item was reached",
        GapReason::Cancelled => "stopped by a person",
        GapReason::Unsupported => "this system has nothing of the kind",
        GapReason::Crashed => "the collector failed (a bug)",
        GapReason::Retention => "older than what the source keeps",
        GapReason::RateLimited => "the source's rate limit left no time",
        GapReason::Unreachable => "the source could not be reached",
        GapReason::Malformed => "the source's answer was malformed",
        GapReason::Unauthenticated => "credentials are missing or were refused",
        GapReason::Refused => "the source refused",
        GapReason::ForeignLink => "a link to what its owner may not read; not followed",
        GapReason::ProcessEnded => "the process had ended (not counted as missing)",
    }
}

/// Why the capture of an item ended.
pub(crate) fn end_reason(ended: EndReason) -> &'static str {
    match ended {
        EndReason::Complete => "everything was asked for",
        EndReason::Deadline => "time was up",
        EndReason::Limit => "a limit of the plan was reached",
        EndReason::Forbidden => "the source refused: no permission",
        EndReason::NotFound => "the source does not exist",
        EndReason::Gone => "the source no longer knew where it was",
        EndReason::Throttled => "the source's rate limit left no time",
        EndReason::Cancelled => "stopped by a person",
        EndReason::Failed => "it failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained_in_sentences() {
        for code in FaultCode::ALL {
            let text = explain(*code);
            assert!(text.ends_with('.') && text.len() > 20, "{code}: {text}");
        }
    }
}
