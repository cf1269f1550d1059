//! An attacker edits a real bundle: each edit is detected and gets the right fault code.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use evidence_format::container::layout::BundleFolder;
use evidence_format::container::tar::TarReader;
use evidence_format::item::WorkerPool;
use evidence_format::keyring::PublicKey;
use evidence_format::verify::{
    FaultCode, Finding, TrustPolicy, Verdict, VerificationReport, verify,
};
use tests::{Bundle, agent, scratch};

const BLOCK: usize = 512;
const RANDOM_OFFSETS: usize = 2000;

/// A file in the tar: its header block, its content and padding.
struct TarEntry {
    name: String,
    /// The offset of the header.
    at: usize,
    size: usize,
}

impl TarEntry {
    fn content(&self) -> std::ops::Range<usize> {
        self.at + BLOCK..self.at + BLOCK + self.size
    }

    fn end(&self) -> usize {
        self.at + BLOCK + self.size.next_multiple_of(BLOCK)
    }
}

struct Auditor {
    trust: TrustPolicy,
    workers: WorkerPool,
}

impl Auditor {
    fn new(bundle: &Bundle) -> Self {
        let pem = fs::read_to_string(&bundle.public_key).expect("the receipt names the key");
        let trust = TrustPolicy {
            keys: vec![PublicKey::from_pem(&pem).expect("a key")],
            bundle: None,
        };
        Self {
            trust,
            workers: WorkerPool::for_reading(NonZeroUsize::MIN),
        }
    }

    fn tar(&mut self, tar: &[u8]) -> VerificationReport {
        verify(&mut TarReader::new(tar), &self.trust, &mut self.workers)
    }

    fn folder(&mut self, folder: &Path) -> VerificationReport {
        verify(
            &mut BundleFolder::new(folder),
            &self.trust,
            &mut self.workers,
        )
    }
}

fn code(report: &VerificationReport) -> Option<FaultCode> {
    report.integrity.fault().map(|fault| fault.code)
}

fn assert_found(report: &VerificationReport, expected: &[FaultCode], edit: &str) {
    let found = code(report).unwrap_or_else(|| panic!("{edit}: not detected"));
    assert!(
        expected.contains(&found),
        "{edit}: reported as {found}, expected one of {expected:?}"
    );
    assert_eq!(report.verdict(), Verdict::Invalid, "{edit}");
}

/// A host capture with several items, some of them small.
fn capture(folder: &Path, more: &[&str]) -> Bundle {
    let probes = [
        "capture", "--only", "sockets", "--only", "mounts", "--only", "kernel", "--only", "users",
    ];
    agent(folder, &[&probes, more].concat())
}

fn entries(tar: &[u8]) -> Vec<TarEntry> {
    let (mut entries, mut at) = (Vec::new(), 0);
    while tar[at] != 0 {
        let text = |range: std::ops::Range<usize>| {
            String::from_utf8_lossy(&tar[at..][range])
                .trim_end_matches('\0')
                .to_owned()
        };
        let size = usize::from_str_radix(&text(124..136), 8).expect("octal");
        let entry = TarEntry {
            name: text(0..100),
            at,
            size,
        };
        at = entry.end();
        entries.push(entry);
    }
    assert_eq!(tar.len(), at + 2 * BLOCK);
    entries
}

/// The fault codes for a change of this file's content.
fn content_codes(name: &str) -> &'static [FaultCode] {
    match name {
        "oci-layout" => &[FaultCode::OciLayout],
        "index.json" => &[
            FaultCode::Index,
            FaultCode::BlobMissing,
            FaultCode::BlobSize,
        ],
        _ => &[FaultCode::BlobDigest],
    }
}

#[test]
fn detects_every_structural_edit_of_a_tar() {
    let folder = scratch();
    let bundle = capture(folder.path(), &[]);
    let mut auditor = Auditor::new(&bundle);
    let whole = fs::read(&bundle.path).expect("the receipt names the bundle");
    assert!(
        auditor.tar(&whole).is_vouched_for(),
        "the unmodified bundle is valid"
    );
    let all = entries(&whole);
    assert!(
        all.len() > 12,
        "layout, index, two manifests and their blobs, four items"
    );
    let missing = |i: usize| match i {
        0 => FaultCode::OciLayout,
        1 => FaultCode::Index,
        _ => FaultCode::BlobMissing,
    };
    for (i, entry) in all.iter().enumerate() {
        let name = &entry.name;
        for at in [0, entry.size / 2, entry.size - 1] {
            let mut bad = whole.clone();
            bad[entry.content().start + at] ^= 1;
            assert_found(
                &auditor.tar(&bad),
                content_codes(name),
                &format!("flip at {at} of {name}"),
            );
        }
        for at in 0..BLOCK {
            let mut bad = whole.clone();
            bad[entry.at + at] ^= 1;
            assert_found(
                &auditor.tar(&bad),
                &[FaultCode::Tar],
                &format!("flip at {at} of the header of {name}"),
            );
        }
        for at in entry.content().end..entry.end() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            assert_found(
                &auditor.tar(&bad),
                &[FaultCode::Tar],
                &format!("flip in the padding of {name}"),
            );
        }
        let without = [&whole[..entry.at], &whole[entry.end()..]].concat();
        assert_found(
            &auditor.tar(&without),
            &[missing(i)],
            &format!("{name} deleted"),
        );
        let twice = [&whole[..entry.end()], &whole[entry.at..]].concat();
        let after = if i + 1 == all.len() {
            FaultCode::UnexpectedFile
        } else {
            missing(i + 1)
        };
        assert_found(&auditor.tar(&twice), &[after], &format!("{name} twice"));
        if let Some(next) = all.get(i + 1) {
            let swapped = [
                &whole[..entry.at],
                &whole[next.at..next.end()],
                &whole[entry.at..entry.end()],
                &whole[next.end()..],
            ]
            .concat();
            assert_found(
                &auditor.tar(&swapped),
                &[missing(i)],
                &format!("{name} and its successor swapped"),
            );
        }
        for cut in [
            entry.at,
            entry.at + 1,
            entry.content().start,
            entry.content().end - 1,
            entry.end(),
        ] {
            let codes = [FaultCode::Tar, FaultCode::BlobSize];
            assert_found(
                &auditor.tar(&whole[..cut]),
                &codes,
                &format!("cut at {cut}, in {name}"),
            );
        }
    }
    for (edit, bad) in [
        ("one end block", whole[..whole.len() - BLOCK].to_vec()),
        ("no end block", whole[..whole.len() - 2 * BLOCK].to_vec()),
        ("a byte after the end", [&whole[..], &[0]].concat()),
        ("a byte in front", [&[0], &whole[..]].concat()),
        ("nothing", Vec::new()),
    ] {
        assert_found(&auditor.tar(&bad), &[FaultCode::Tar], edit);
    }
}

#[test]
fn detects_2000_random_bit_flips() {
    let folder = scratch();
    let bundle = capture(folder.path(), &[]);
    let mut auditor = Auditor::new(&bundle);
    let mut tar = fs::read(&bundle.path).expect("the receipt names the bundle");
    let mut random = 0x9e37_79b9_7f4a_7c15_u64; // fixed, so that a failure can be reproduced
    for _ in 0..RANDOM_OFFSETS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (at, bit) = ((random >> 3) as usize % tar.len(), 1 << (random & 7));
        tar[at] ^= bit;
        let report = auditor.tar(&tar);
        assert_eq!(
            report.verdict(),
            Verdict::Invalid,
            "bit {bit} of byte {at}: {:?}",
            report.integrity
        );
        tar[at] ^= bit;
    }
    assert!(auditor.tar(&tar).is_vouched_for(), "every flip was undone");
}

/// Nothing signs `index.json`, so only the rules about its form protect it.
#[test]
fn detects_every_bit_flip_of_the_index() {
    let folder = scratch();
    let bundle = capture(folder.path(), &[]);
    let mut auditor = Auditor::new(&bundle);
    let mut tar = fs::read(&bundle.path).expect("the receipt names the bundle");
    let all = entries(&tar);
    let index = all.iter().find(|entry| entry.name == "index.json");
    let content = index.expect("a file of each bundle").content();
    let text = String::from_utf8_lossy(&tar[content.clone()]).into_owned();
    for kind in ["bundle", "attestation", "public-key"] {
        assert!(text.contains(&format!("\"{kind}\"")), "{text}");
    }
    for at in content.clone() {
        for bit in (0..8).map(|bit| 1 << bit) {
            tar[at] ^= bit;
            let edit = format!("bit {bit} of byte {} of {text}", at - content.start);
            assert_found(&auditor.tar(&tar), content_codes("index.json"), &edit);
            tar[at] ^= bit;
        }
    }
    assert!(auditor.tar(&tar).is_vouched_for(), "every flip was undone");
}

#[test]
fn detects_every_edit_of_a_folder() {
    let folder = scratch();
    let bundle = capture(folder.path(), &["--dir"]);
    let mut auditor = Auditor::new(&bundle);
    assert!(
        auditor.folder(&bundle.path).is_vouched_for(),
        "the unmodified bundle is valid"
    );
    let blobs = bundle.path.join("blobs/sha256");
    let mut names = vec!["oci-layout".to_owned(), "index.json".to_owned()];
    names.extend(fs::read_dir(&blobs).expect("a folder").map(|e| {
        format!(
            "blobs/sha256/{}",
            e.expect("readable").file_name().display()
        )
    }));
    for name in &names {
        let path = bundle.path.join(name);
        let content = fs::read(&path).expect("a file of the bundle");
        let aside = folder.path().join("aside");
        fs::rename(&path, &aside).expect("the scratch folder is writable");
        let is_blob = name.starts_with("blobs/");
        let missing = if is_blob {
            &[FaultCode::BlobMissing][..]
        } else {
            content_codes(name)
        };
        assert_found(
            &auditor.folder(&bundle.path),
            missing,
            &format!("{name} deleted"),
        );
        std::os::unix::fs::symlink(&aside, &path).expect("the scratch folder is writable");
        assert_found(
            &auditor.folder(&bundle.path),
            &[FaultCode::NotAFile],
            &format!("{name} replaced by a link"),
        );
        fs::remove_file(&path).expect("the link");

        let mut flipped = content.clone();
        flipped[content.len() / 2] ^= 1;
        fs::write(&path, &flipped).expect("the scratch folder is writable");
        assert_found(
            &auditor.folder(&bundle.path),
            content_codes(name),
            &format!("{name} flipped"),
        );
        let sizes = if is_blob {
            &[FaultCode::BlobSize][..]
        } else {
            content_codes(name)
        };
        fs::write(&path, &content[..content.len() - 1]).expect("the scratch folder is writable");
        assert_found(
            &auditor.folder(&bundle.path),
            sizes,
            &format!("{name} shortened"),
        );
        fs::write(&path, [&content[..], b"x"].concat()).expect("the scratch folder is writable");
        assert_found(
            &auditor.folder(&bundle.path),
            sizes,
            &format!("{name} made longer"),
        );
        fs::rename(&aside, &path).expect("the scratch folder is writable");
    }
    for extra in [
        "x",
        "blobs/x",
        &format!("blobs/sha256/{}", "0".repeat(64)),
        "UNFINISHED",
    ] {
        fs::write(bundle.path.join(extra), b"x").expect("the scratch folder is writable");
        assert_found(
            &auditor.folder(&bundle.path),
            &[FaultCode::UnexpectedFile],
            &format!("{extra} added"),
        );
        fs::remove_file(bundle.path.join(extra)).expect("just written");
    }
    assert!(
        auditor.folder(&bundle.path).is_vouched_for(),
        "every edit was undone"
    );
}

/// A valid bundle that was signed with an attacker's own key is not accepted as ours.
#[test]
fn reports_another_signer() {
    let (ours, theirs) = (scratch(), scratch());
    let (ours, theirs) = (capture(ours.path(), &[]), capture(theirs.path(), &[]));
    let report =
        Auditor::new(&ours).tar(&fs::read(&theirs.path).expect("the receipt names the bundle"));
    assert!(matches!(&report.integrity, Finding::Ok(_)));
    assert_eq!(
        report.signer.fault().map(|fault| fault.code),
        Some(FaultCode::OtherSigner)
    );
    assert_eq!(report.verdict(), Verdict::Invalid);
}
