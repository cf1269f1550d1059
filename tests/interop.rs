//! Bundles in third-party programs, and in a second verifier that was written from SPEC.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sigstore_verify::crypto::VerificationKey;
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{Bundle as SigstoreBundle, DerPublicKey, SignatureContent};
use sigstore_verify::{PublicKeyVerificationPolicy, Verifier};
use tests::{Bundle, agent, quick, root, run, run_ok, scratch};

/// A capture of this machine, as a folder or a tar, small enough that a shell script can verify it
/// in seconds.
fn capture(folder: &Path, more: &[&str]) -> Bundle {
    agent(
        folder,
        &[
            &[
                "capture", "--only", "sockets", "--only", "mounts", "--only", "users",
            ],
            more,
        ]
        .concat(),
    )
}

fn interop(name: &str) -> PathBuf {
    root().join("tests/interop").join(name)
}

fn python() -> PathBuf {
    root().join("target/interop/venv/bin/python")
}

fn auditors_procedure(bundle: &Path, public_key: &Path) -> std::process::Output {
    run(Command::new("bash")
        .arg(interop("verify.sh"))
        .arg(bundle)
        .arg(public_key))
}

#[test]
fn standard_tools_verify_a_bundle() {
    let work = scratch();
    for more in [&[][..], &["--dir"]] {
        let bundle = capture(work.path(), more);
        let output = auditors_procedure(&bundle.path, &bundle.public_key);
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        // 4: sound, and the capture of this machine states gaps.
        assert!(matches!(output.status.code(), Some(0 | 4)), "{err}");
        assert!(
            out.contains(bundle.receipt["id"].as_str().expect("an id")),
            "{out}"
        );
    }
}

#[test]
fn standard_tools_detect_tampering() {
    let (work, other) = (scratch(), scratch());
    let (bundle, other) = (
        capture(work.path(), &["--dir"]),
        capture(other.path(), &["--dir"]),
    );
    assert!(
        auditors_procedure(&bundle.path, &other.public_key)
            .status
            .code()
            == Some(1),
        "another key"
    );
    let blobs = fs::read_dir(bundle.path.join("blobs/sha256"))
        .expect("a folder")
        .map(|entry| entry.expect("readable").path());
    for blob in blobs {
        let content = fs::read(&blob).expect("a blob");
        let mut flipped = content.clone();
        flipped[content.len() / 2] ^= 1;
        for bad in [&flipped[..], &content[1..], &[&content[..], b"x"].concat()] {
            fs::write(&blob, bad).expect("the scratch folder is writable");
            assert!(
                auditors_procedure(&bundle.path, &bundle.public_key)
                    .status
                    .code()
                    == Some(1),
                "{}",
                blob.display()
            );
        }
        fs::remove_file(&blob).expect("the scratch folder is writable");
        assert!(
            auditors_procedure(&bundle.path, &bundle.public_key)
                .status
                .code()
                == Some(1),
            "{} deleted",
            blob.display()
        );
        fs::write(&blob, content).expect("the scratch folder is writable");
    }
    fs::write(bundle.path.join("blobs/sha256").join("0".repeat(64)), b"")
        .expect("the scratch folder is writable");
    assert!(
        auditors_procedure(&bundle.path, &bundle.public_key)
            .status
            .code()
            == Some(1),
        "an extra blob"
    );
}

#[test]
fn registry_round_trip_keeps_every_digest() {
    if quick() {
        return;
    }
    let work = scratch();
    let bundle = capture(work.path(), &["--dir"]);
    let said = run_ok(
        Command::new("bash")
            .arg(interop("registry-roundtrip.sh"))
            .arg(&bundle.path)
            .arg(&bundle.public_key),
    );
    assert!(said.contains("ok, 3 manifests"), "{said}");
}

#[test]
fn warcio_reads_every_item() {
    if quick() {
        return;
    }
    let work = scratch();
    let bundle = capture(work.path(), &["--dir"]);
    let said = run_ok(
        Command::new(python())
            .arg("-B")
            .arg(interop("warcio-check.py"))
            .arg(&bundle.path),
    );
    assert_eq!(
        said.lines().count() as u64,
        bundle.receipt["items"].as_u64().expect("a count"),
        "{said}"
    );
}

#[test]
fn third_party_verifiers_accept_our_key_and_reject_another() {
    if quick() {
        return;
    }
    let (work, other) = (scratch(), scratch());
    let (bundle, other) = (
        capture(work.path(), &["--dir"]),
        capture(other.path(), &["--dir"]),
    );
    let node = || {
        let mut node = Command::new("node");
        node.arg(interop("sigstore-verify.mjs"));
        node
    };
    let securesystemslib = || {
        let mut python = Command::new(python());
        python.arg("-B").arg(interop("securesystemslib-verify.py"));
        python
    };
    for verifier in [&node as &dyn Fn() -> Command, &securesystemslib] {
        run_ok(verifier().arg(&bundle.path).arg(&bundle.public_key));
        assert!(
            !run(verifier().arg(&bundle.path).arg(&other.public_key))
                .status
                .success(),
            "{:?}",
            verifier()
        );
    }
    run_ok(
        Command::new(python())
            .arg("-B")
            .arg(interop("in-toto-attestation-check.py"))
            .arg(&bundle.path),
    );
}

/// The crate `sigstore-verify` 0.15 accepts our signature. Its full verifier also requires a
/// signing time from a log or a timestamp authority, which a version 1 bundle does not have. The
/// test asserts that error, so that we notice when either side changes.
#[test]
fn sigstore_verify_accepts_the_signature_but_requires_a_timestamp() {
    let (work, other) = (scratch(), scratch());
    let (bundle, other) = (
        capture(work.path(), &["--dir"]),
        capture(other.path(), &["--dir"]),
    );
    let blob = |digest: &str| {
        fs::read(
            bundle
                .path
                .join("blobs/sha256")
                .join(digest.trim_start_matches("sha256:")),
        )
        .expect("a blob")
    };
    let json =
        |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("a JSON document");
    let index = json(&fs::read(bundle.path.join("index.json")).expect("a file of the bundle"));
    let manifests =
        [0, 1].map(|i| blob(index["manifests"][i]["digest"].as_str().expect("a digest")));
    let sigstore = blob(
        json(&manifests[1])["layers"][0]["digest"]
            .as_str()
            .expect("a digest"),
    );

    let sigstore =
        SigstoreBundle::from_json(std::str::from_utf8(&sigstore).expect("JSON is UTF-8"))
            .expect("a sigstore bundle");
    let SignatureContent::DsseEnvelope(envelope) = &sigstore.content else {
        panic!("not DSSE")
    };
    let key = |path: &Path| {
        DerPublicKey::from_pem(&fs::read_to_string(path).expect("a key")).expect("a key in PEM")
    };
    let verify = |path: &Path| {
        let key = VerificationKey::from_spki(&key(path)).expect("an Ed25519 key");
        key.verify(envelope.pae(), &envelope.signature.sig)
    };
    assert!(verify(&bundle.public_key).is_ok());
    assert!(verify(&other.public_key).is_err());

    let no_root = r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[],"certificateAuthorities":[],"ctlogs":[],"timestampAuthorities":[]}"#;
    let trust = TrustedRoot::from_json(no_root).expect("an empty trusted root");
    let policy = PublicKeyVerificationPolicy::new(key(&bundle.public_key)).skip_tlog_unsafe();
    let refused =
        Verifier::new(&trust)
            .expect("a verifier")
            .verify(&manifests[0], &sigstore, &policy);
    let refused = format!("{:?}", refused.map(drop).expect_err("no time of signing"));
    assert!(refused.contains("MissingSigningTimeEvidence"), "{refused}");
}

/// Runs a verifier over the vectors. Its last line counts what it judged in another way.
fn agrees_on_vectors(runner: &mut Command) {
    let said = run_ok(runner.arg(root().join("evidence-format/vectors")));
    assert!(said.trim_end().ends_with(" 0 failed"), "{said}");
}

/// `tests/interop/exhibit_verify.py` was written from SPEC.md alone.
#[test]
fn second_verifier_agrees_on_every_vector() {
    if quick() {
        return;
    }
    agrees_on_vectors(
        Command::new(python())
            .arg("-B")
            .arg(interop("run_vectors.py")),
    );
}

/// Where it says something else than SPEC.md is listed in `verify-sh-accepts.txt`.
#[test]
fn auditors_procedure_agrees_on_vectors() {
    if quick() {
        return;
    }
    agrees_on_vectors(
        Command::new(python())
            .arg("-B")
            .arg(interop("run_verify_sh.py")),
    );
}

/// Anybody can sign for a point of small order, and a second encoding of a key has a second id.
#[test]
fn weak_and_non_canonical_keys_are_refused_by_every_verifier() {
    if quick() {
        return;
    }
    let work = scratch();
    let bundle = root().join("evidence-format/vectors/001-one-item.tar");
    for (name, der) in [
        (
            "neutral",
            "MCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ),
        (
            "order-two",
            "MCowBQYDK2VwAyEA7P///////////////////////////////////////38=",
        ),
        (
            "p-plus-3",
            "MCowBQYDK2VwAyEA8P///////////////////////////////////////38=",
        ),
    ] {
        let key = work.path().join(name);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
        fs::write(&key, pem).expect("the scratch folder is writable");
        let (mut audit, mut second, mut script) = (
            Command::new(tests::program("exhibit-audit")),
            Command::new(python()),
            Command::new("node"),
        );
        audit.arg("verify").arg(&bundle).arg("--key").arg(&key);
        second.arg("-B").arg(interop("exhibit_verify.py"));
        second.arg(&bundle).arg("--key").arg(&key);
        script
            .arg(interop("check-bundle.mjs"))
            .arg(&bundle)
            .arg(&key);
        for verifier in [&mut audit, &mut second, &mut script] {
            assert_eq!(run(verifier).status.code(), Some(2), "{name}: {verifier:?}");
        }
        let output = auditors_procedure(&bundle, &key);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains("weak"), "{name}: {said}");
    }
}

/// Hostile bundles cost the second verifier less than 64 MiB, too (SPEC.md §8).
#[test]
fn second_verifier_keeps_its_memory_limit() {
    if quick() {
        return;
    }
    let bundles = scratch();
    run_ok(
        Command::new(env!("CARGO"))
            .current_dir(root())
            .args(["run", "--quiet", "--locked", "-p", "evidence-format"])
            .args(["--example", "make-vectors", "--", "--hostile"])
            .arg(bundles.path()),
    );
    run_ok(
        Command::new(python())
            .arg("-B")
            .arg(interop("run_hostile.py"))
            .arg(bundles.path()),
    );
}

/// `tests/interop/check-bundle.mjs` was written from SPEC.md alone, by somebody who knew nothing
/// else. The vectors that it accepts, since it leaves their rule out, are listed in
/// `check-bundle-accepts.txt`.
#[test]
fn javascript_checker_agrees_on_vectors_in_its_scope() {
    let code = fs::read_to_string(interop("check-bundle.mjs")).expect("a file of ours");
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    assert!(code.lines().filter(is_code).count() < 150);
    if quick() {
        return;
    }
    agrees_on_vectors(Command::new("node").arg(interop("run_check_bundle.mjs")));
}

/// Real timestamps, log proofs, custody statements, disclosures and encrypted bundles, which later
/// versions check (SPEC.md §9), get the findings that SPEC.md gives them.
#[test]
fn examples_of_later_versions_get_their_findings() {
    if quick() {
        return;
    }
    let said = run_ok(
        Command::new(python())
            .arg("-B")
            .arg(interop("later_examples.py"))
            .arg("--audit")
            .arg(tests::program("exhibit-audit")),
    );
    assert!(said.trim_end().ends_with("6 examples, 0 failed"), "{said}");
}

/// Re-signs, grafts, reorders, smuggles and lies about counts, for some two minutes. The seed is
/// fixed, so that every run tests the same; `tests/run.sh --mutants` looks for new mutants.
#[test]
fn verifiers_agree_on_mutants() {
    if quick() {
        return;
    }
    let said = run_ok(
        Command::new(python())
            .arg("-B")
            .arg(interop("mutate.py"))
            .args(["--seed", "15", "--count", "2000", "--audit"])
            .arg(tests::program("exhibit-audit")),
    );
    assert!(said.trim_end().ends_with(" 0 unexpected"), "{said}");
}

#[test]
fn second_verifier_accepts_a_real_capture() {
    if quick() {
        return;
    }
    let work = scratch();
    let bundle = capture(work.path(), &[]);
    let mut verifier = Command::new(python());
    verifier
        .arg("-B")
        .arg(interop("exhibit_verify.py"))
        .arg(&bundle.path)
        .arg("--key")
        .arg(&bundle.public_key);
    let output = run(&mut verifier);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(matches!(output.status.code(), Some(0 | 4)), "{said}");
    assert!(
        said.contains("integrity: ok") && said.contains("signer: ok"),
        "{said}"
    );
}
