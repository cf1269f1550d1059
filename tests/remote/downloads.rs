//! Bundles over the network: fetched, resumed after a cut, rejected when changed on the way.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use tests::network::{ConnectionFault, FaultyNetwork};
use tests::{audit, run, run_ok};

use crate::{ServedStore, all_output, fails, json, lines, text};

/// The size of an attachment whose download is cut. It exceeds all buffers on the way.
const LARGE_BYTES: usize = 24 << 20;

impl ServedStore {
    /// Attaches incompressible bytes, and returns the bundle's id.
    fn attach_large(&self, id: &str) -> String {
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()
        });
        let file = self.home.path().join("disk.img");
        fs::write(
            &file,
            noise.take(LARGE_BYTES / 8).flatten().collect::<Vec<u8>>(),
        )
        .expect("the scratch folder is writable");
        let receipt =
            json(&mut self.remote(&["attach", id, file.to_str().expect("UTF-8"), "--json"]));
        assert_eq!(
            (receipt["name"].as_str(), receipt["bytes"].as_u64()),
            (Some("disk.img"), Some(LARGE_BYTES as u64))
        );
        text(&receipt["id"])
    }

    /// The summaries of all downloads in the journal.
    fn downloads(&self, id: &str) -> Vec<String> {
        let rows =
            lines(&mut self.local(&["timeline", id, "--kind", "evidence.exported", "--json"]));
        rows.iter().map(|row| text(&row["summary"])).collect()
    }
}

#[test]
fn captures_the_host_and_fetches_a_verifiable_bundle() {
    let served = ServedStore::new("owner");
    let output = run(&mut served.remote(&[
        "capture", "--title", "Drill", "--sev", "4", "--source", "host", "--json",
    ]));
    assert!(output.status.success(), "{}", all_output(&output));
    let receipt: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("the server signs with key"),
        "{}",
        all_output(&output)
    );
    let (id, bundle) = (
        text(&receipt["bundles"][0]["id"]),
        text(&receipt["bundles"][0]["bundle"]),
    );
    assert_eq!(bundle, format!("{}/v1/bundles/{id}", served.url()));
    assert!(
        receipt["gaps"].is_u64() && text(&receipt["incident"]).starts_with("INC-"),
        "{receipt}"
    );
    let key = PathBuf::from(text(&receipt["publicKey"]));
    assert_eq!(
        fs::read(&key).expect("the client stores the key"),
        fs::read(served.key()).expect("the scratch file is accessible")
    );
    // Fetch it by a prefix of its id.
    let fetched = json(&mut served.remote(&["fetch", &id[..20], "--out", "bundle.tar", "--json"]));
    assert_eq!(
        (text(&fetched["id"]), text(&fetched["publicKey"])),
        (id.clone(), text(&receipt["publicKey"]))
    );
    let to = served.home.path().join("bundle.tar");
    assert!(matches!(audit(&to, &key), 0 | 4));
    assert_eq!(
        fs::metadata(&to)
            .expect("the scratch file is accessible")
            .mode()
            & 0o777,
        0o600
    );
    assert_eq!(served.downloads(&text(&receipt["incident"])).len(), 1);
    // An existing file is not overwritten.
    let said = fails(&mut served.remote(&["fetch", &id, "--out", "bundle.tar"]));
    assert!(
        said.contains("bundle.tar") && said.contains("exists"),
        "{said}"
    );
    // A token for automation may declare, but not see bundles.
    let automation = json(&mut served.remote_as(
        "automation",
        &[
            "capture", "--title", "Alert", "--sev", "4", "--source", "host", "--json",
        ],
    ));
    assert_eq!(automation["bundles"], json!([]));
    let declared = text(&automation["incident"]);
    let bundles = lines(&mut served.remote(&["bundles", &declared, "--json"]));
    assert_eq!(
        bundles.len(),
        1,
        "the command waits until the capture is sealed"
    );
}

#[test]
fn interrupted_download_resumes() {
    let served = ServedStore::new("owner");
    let id = served.declare();
    let bundle = served.attach_large(&id);
    // The third attempt succeeds. One more connection is for the public key.
    let cuts = [
        ConnectionFault::CutAfter(5 << 20),
        ConnectionFault::CutAfter(7 << 20),
        ConnectionFault::Nothing,
    ];
    let network = FaultyNetwork::before(&served.serve.address, &cuts);
    let url = format!("http://{}", network.address);
    run_ok(&mut served.at(&url, &["fetch", &bundle, "--out", "one.tar"]));
    assert_eq!(audit(&served.home.path().join("one.tar"), &served.key()), 0);
    let downloads = served.downloads(&id);
    let parts: Vec<bool> = downloads
        .iter()
        .map(|summary| summary.contains(", bytes "))
        .collect();
    assert_eq!(parts, [false, true, true], "{downloads:?}");
    assert!(network.connections() >= 3);
    // Every connection is cut: the received part is kept, and another process resumes after it.
    let network = FaultyNetwork::before(
        &served.serve.address,
        &[
            ConnectionFault::CutAfter(4 << 20),
            ConnectionFault::CutAfter(0),
        ],
    );
    let said = fails(&mut served.at(
        &format!("http://{}", network.address),
        &["fetch", &bundle, "--out", "two.tar"],
    ));
    assert!(said.contains("the same command resumes it"), "{said}");
    let to = served.home.path().join("two.tar");
    assert!(!to.exists());
    let before = served.downloads(&id).len();
    run_ok(&mut served.remote(&["fetch", &bundle, "--out", "two.tar"]));
    assert_eq!(audit(&to, &served.key()), 0);
    let downloads = served.downloads(&id);
    assert!(
        downloads.len() == before + 1 && downloads[before].contains(", bytes "),
        "{downloads:?}"
    );
    assert_eq!(partial_downloads(&served), Vec::<String>::new());
}

/// The names of partial downloads.
fn partial_downloads(served: &ServedStore) -> Vec<String> {
    let names = fs::read_dir(served.home.path())
        .expect("the scratch folder is writable")
        .map(|entry| entry.expect("readable").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".unfinished"))
        .collect()
}

#[test]
fn discards_download_that_was_changed_in_transit() {
    let served = ServedStore::new("owner");
    let id = served.declare();
    let bundle = served.attach_large(&id);
    let network = FaultyNetwork::before(
        &served.serve.address,
        &[ConnectionFault::CorruptByte(9 << 20)],
    );
    let said = fails(&mut served.at(
        &format!("http://{}", network.address),
        &["fetch", &bundle, "--out", "bundle.tar"],
    ));
    assert!(
        said.contains(&format!(
            "did not send bundle {bundle}; the download was deleted"
        )),
        "{said}"
    );
    assert!(!served.home.path().join("bundle.tar").exists());
    assert_eq!(partial_downloads(&served), Vec::<String>::new());
    // A partial file with other content is discarded too.
    let name = format!(
        ".bundle.tar.{}.unfinished",
        &bundle["sha256:".len()..][..16]
    );
    fs::write(served.home.path().join(&name), "something else")
        .expect("the scratch folder is writable");
    let said = fails(&mut served.remote(&["fetch", &bundle, "--out", "bundle.tar"]));
    assert!(said.contains("did not send bundle"), "{said}");
    run_ok(&mut served.remote(&["fetch", &bundle, "--out", "bundle.tar"]));
    assert_eq!(
        audit(&served.home.path().join("bundle.tar"), &served.key()),
        0
    );
}
