//! Logs of applications: patterns, units, windows, and what is refused.

use std::time::SystemTime;

use serde_json::Value;

use super::*;
use crate::config::AgentConfig;

const APPLICATIONS: &str = "applications";

fn options(root: &Root, config: &str) -> CaptureOptions {
    let config = AgentConfig::parse(config, Path::new("agent.toml")).expect("a valid file");
    CaptureOptions {
        logs: config.logs,
        ..root.options(&[])
    }
}

fn capture_of(root: &Root, config: &str) -> SealedCapture {
    capture_applications(&options(root, config))
}

fn capture_applications(options: &CaptureOptions) -> SealedCapture {
    let only = vec![APPLICATIONS.to_owned()];
    let options = CaptureOptions {
        only,
        ..options.clone()
    };
    capture_with(&options, |reader| reader)
}

/// What the item states about a source.
fn statement(sealed: &SealedCapture, name: &str) -> Value {
    let uri = format!("log-source:{name}");
    let found = sealed
        .records(APPLICATIONS)
        .iter()
        .find(|record| record.get("WARC-Target-URI") == uri);
    serde_json::from_slice(&found.expect("a statement").block).expect("JSON")
}

/// Paths of the files that were taken for `label`.
fn taken(sealed: &SealedCapture, label: &str) -> Vec<String> {
    let records = sealed.records(APPLICATIONS).iter();
    let records = records.filter(|record| record.get("Exhibit-Log") == label);
    records.map(Record::path).collect()
}

fn journal(name: &str) -> Vec<u8> {
    let path = Path::new("src/capture/tests/journals").join(name);
    zstd::decode_all(File::open(path).expect("a fixture")).expect("zstd")
}

#[test]
fn files_of_patterns_are_taken_under_their_source() {
    let root = Root::new();
    for path in [
        "a/log/x.log",
        "a/log/x.log.1",
        "b/log/y.log",
        "c/tmp/z.log",
        "a/log/x.txt",
    ] {
        root.file(&format!("srv/{path}"), path);
    }
    let sealed = capture_of(
        &root,
        "[[logs]]\nname = \"shop\"\npaths = [\"/srv/*/log/*.log*\"]\nlabels = { team = \"a\" }\n\
         [[logs]]\nname = \"other\"\npaths = [\"/srv/b/log/y.log\", \"/srv/a/*/*.txt\"]\n",
    );
    let mut of_shop = taken(&sealed, "shop");
    of_shop.sort();
    assert_eq!(
        of_shop,
        ["/srv/a/log/x.log", "/srv/a/log/x.log.1", "/srv/b/log/y.log"]
    );
    // a file of two sources is taken once
    assert_eq!(taken(&sealed, "other"), ["/srv/a/log/x.txt"]);
    let statement = statement(&sealed, "shop");
    assert_eq!(statement["labels"]["team"], "a");
    assert_eq!(statement["found"][0]["taken"], 3);
    assert_eq!(statement["windowStart"], Value::Null);
    let step = &sealed.config.plan.steps[0];
    assert!(
        step.what.contains("(shop, other): all rotations"),
        "{}",
        step.what
    );
    assert_eq!(sealed.item(APPLICATIONS).coverage.gaps, []);
    assert!(
        !sealed.has(APPLICATIONS, "/srv/c/tmp"),
        "not on the way to a match"
    );
}

#[test]
fn what_matches_nothing_is_a_gap() {
    let root = Root::new();
    root.file("srv/log/x.log", "x");
    let sealed = capture_of(
        &root,
        "[[logs]]\nname = \"shop\"\npaths = [\"/srv/log/*.log\", \"/srv/log/*.err\", \"/none/*\"]\n\
         units = [\"shop.service\"]\n",
    );
    let (count, mut examples) = sealed.gap(APPLICATIONS, GapReason::Unsupported);
    examples.sort();
    let expected = ["/none/*", "/srv/log/*.err", "systemd-unit:shop.service"];
    assert_eq!(
        (count, &examples[..]),
        (3, &expected.map(str::to_owned)[..])
    );
}

#[test]
fn plan_of_a_host_without_sources_leaves_a_gap_and_its_own_request_is_refused() {
    let root = Root::new();
    let only = vec![APPLICATIONS.to_owned()];
    let options = CaptureOptions {
        only,
        ..root.options(&[])
    };
    assert_eq!(
        plan(&options),
        Err(PlanError::NoLogSources {
            probe: APPLICATIONS
        })
    );
    let everything = plan(&root.options(&[])).expect("known probes");
    let is_applications = |step: &SealedStep| step.item.as_str() == "host-applications";
    assert!(!everything.steps.iter().any(is_applications));
    // a plan that was made elsewhere
    let configured =
        super::applications::options(&root, "[[logs]]\nname = \"a\"\npaths = [\"/a\"]");
    let foreign = plan(&CaptureOptions {
        only: vec![APPLICATIONS.to_owned()],
        ..configured
    });
    let sealed = capture_plan(&root.options(&[]), foreign.expect("configured"));
    let (_, examples) = sealed.gap(APPLICATIONS, GapReason::Unsupported);
    assert_eq!(examples, ["/etc/exhibit/agent.toml"]);
}

#[test]
fn links_of_others_are_not_followed_out_of_the_tree() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let root = Root::new();
    root.file("etc/secret", "secret");
    fs::set_permissions(root.path("etc/secret"), fs::Permissions::from_mode(0o600)).expect("own");
    root.file("data/logs/real.log", "real");
    root.file("srv/log/x.log", "x");
    root.link("srv/log/own.log", "/data/logs/real.log");
    for (link, target) in [("srv/log/y.log", "/etc/secret"), ("srv/etc", "/etc")] {
        root.link(link, target);
        let link = root.path(link);
        rustix::fs::chownat(
            rustix::fs::CWD,
            &link,
            Some(rustix::process::Uid::from_raw(7)),
            None,
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        )
        .expect("root");
    }
    fs::set_permissions(root.path("etc/."), fs::Permissions::from_mode(0o700)).expect("own");
    let sealed = capture_of(
        &root,
        "[[logs]]\nname = \"a\"\npaths = [\"/srv/log/*.log\", \"/srv/etc/*\"]\n",
    );
    let (count, examples) = sealed.gap(APPLICATIONS, GapReason::ForeignLink);
    assert!(count >= 2, "{count} {examples:?}");
    assert!(
        examples.contains(&"/srv/log/y.log".to_owned()),
        "{examples:?}"
    );
    let text = format!("{:?}", sealed.records);
    assert!(
        !text.contains(&format!("{:?}", b"secret")),
        "the file itself"
    );
    let records = sealed.records(APPLICATIONS);
    assert!(
        records.iter().any(|record| record.block == b"real"),
        "root's own link"
    );
}

#[test]
fn window_leaves_out_only_what_nobody_has_touched_since() {
    let root = Root::new();
    root.file("srv/old.log", "old");
    root.file("srv/set-back.log", "new");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let set_back = |path: &str| {
        let file = File::options()
            .write(true)
            .open(root.path(path))
            .expect("own");
        file.set_modified(long_ago).expect("own file");
    };
    // whoever hides a log by its time cannot set back when the kernel saw that
    set_back("srv/set-back.log");
    set_back("srv/old.log");
    let config = "[[logs]]\nname = \"a\"\npaths = [\"/srv/*.log\"]\n";
    let since = |start: Timestamp| {
        capture_applications(&CaptureOptions {
            window_start: Some(start),
            ..options(&root, config)
        })
    };
    let before = since("2001-01-01T00:00:00Z".parse().expect("a time"));
    assert_eq!(taken(&before, "a").len(), 2);
    let nanoseconds = platform::clock::now().unix_nanoseconds() + 60_000_000_000;
    let later = Timestamp::from_unix_nanoseconds(nanoseconds).expect("in range");
    let after = since(later);
    assert_eq!(taken(&after, "a"), Vec::<String>::new());
    assert_eq!(statement(&after, "a")["found"][0]["older"], 2);
    assert_eq!(
        after.item(APPLICATIONS).coverage.gaps,
        [],
        "older is not missing"
    );
}

#[test]
fn noisy_source_takes_no_share_of_another() {
    let root = Root::new();
    for n in 0..40 {
        root.file(&format!("srv/noisy/{n}.log"), vec![b'n'; 1000]);
    }
    root.file("srv/quiet/q.log", vec![b'q'; 1000]);
    let config = "[[logs]]\nname = \"noisy\"\npaths = [\"/srv/noisy/*\"]\n\
                  [[logs]]\nname = \"quiet\"\npaths = [\"/srv/quiet/*\"]\n";
    let sealed = capture_applications(&CaptureOptions {
        item_bytes_max: 12_000,
        ..options(&root, config)
    });
    assert_eq!(taken(&sealed, "quiet"), ["/srv/quiet/q.log"]);
    assert!(sealed.gap(APPLICATIONS, GapReason::OverBudget).0 > 0);
}

/// The fields of each entry in an export, sorted; without those that only one side has.
fn entries(export: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let (mut entries, mut entry, mut rest) = (Vec::new(), Vec::new(), export);
    while let Some(end) = rest.iter().position(|&b| b == b'\n') {
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        if line.is_empty() {
            entry.sort();
            entries.push(std::mem::take(&mut entry));
        } else if line.contains(&b'=') {
            if !line.starts_with(b"__CURSOR") && !line.starts_with(b"__SEQNUM") {
                entry.push(line.to_vec());
            }
        } else {
            let length = u64::from_le_bytes(rest[..8].try_into().expect("eight")) as usize;
            entry.push([line, b"=", &rest[8..8 + length]].concat());
            rest = &rest[8 + length + 1..];
        }
    }
    entries
}

#[test]
fn entries_of_a_unit_are_those_that_journalctl_shows() {
    for (name, lines) in [("compact", 22), ("wide", 22)] {
        let root = Root::new();
        root.file(
            "var/log/journal/0123/system.journal",
            journal(&format!("{name}.journal.zst")),
        );
        let config = "[[logs]]\nname = \"shop\"\nunits = [\"checkout.service\"]\n";
        let sealed = capture_of(&root, config);
        let path = "/var/log/journal/0123/system.journal";
        let record = sealed.record(APPLICATIONS, path, "journal-entries");
        assert_eq!(record.get("Exhibit-Log"), "shop");
        let oracle = entries(&journal(&format!("{name}.export.zst")));
        assert_eq!(oracle.len(), lines);
        assert_eq!(entries(&record.block), oracle, "{name}");
        assert_eq!(statement(&sealed, "shop")["found"][0]["taken"], lines);
        assert_eq!(sealed.item(APPLICATIONS).coverage.gaps, []);
    }
}

#[test]
fn of_the_entries_of_a_unit_the_newest_are_kept() {
    let root = Root::new();
    root.file(
        "run/log/journal/0123/system.journal",
        journal("compact.journal.zst"),
    );
    let config = "[[logs]]\nname = \"shop\"\nunits = [\"checkout.service\"]\n";
    let oracle = entries(&journal("compact.export.zst"));
    let path = "/run/log/journal/0123/system.journal";
    let limited = capture_applications(&CaptureOptions {
        object_bytes_max: 9_000,
        ..options(&root, config)
    });
    let kept = entries(&limited.record(APPLICATIONS, path, "journal-entries").block);
    assert!(!kept.is_empty() && kept.len() < oracle.len());
    assert!(oracle.ends_with(&kept));
    assert_eq!(limited.gap(APPLICATIONS, GapReason::TooLarge).0, 1);
    // from the tenth entry on
    let time = |entry: &Vec<Vec<u8>>| -> i128 {
        let field = entry
            .iter()
            .find_map(|field| field.strip_prefix(b"__REALTIME_TIMESTAMP="));
        let text = String::from_utf8_lossy(field.expect("a time"));
        text.parse().expect("microseconds")
    };
    let start = Timestamp::from_unix_nanoseconds(time(&oracle[9]) * 1000).expect("in range");
    let later = capture_applications(&CaptureOptions {
        window_start: Some(start),
        ..options(&root, config)
    });
    let kept = entries(&later.record(APPLICATIONS, path, "journal-entries").block);
    assert_eq!(kept, oracle[9..]);
    let found = &statement(&later, "shop")["found"][0];
    assert_eq!((&found["taken"], &found["older"]), (&13.into(), &9.into()));
}

#[test]
fn damaged_journals_end_in_a_gap_and_in_time() {
    let whole = journal("compact.journal.zst");
    let config = "[[logs]]\nname = \"shop\"\nunits = [\"checkout.service\"]\n";
    let mut seed = 1_u64;
    for round in 0..40 {
        let root = Root::new();
        let mut damaged = whole.clone();
        // where the header, its tables and the first objects are
        for _ in 0..200 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (seed >> 33) as usize % damaged.len().min(20_000);
            damaged[at] = (seed >> 25) as u8;
        }
        if round % 4 == 0 {
            damaged.truncate((seed >> 33) as usize % whole.len());
        }
        root.file("var/log/journal/0123/system.journal", damaged);
        let begin = Instant::now();
        let sealed = capture_of(&root, config);
        assert!(begin.elapsed() < Duration::from_secs(20));
        assert_eq!(
            sealed.gap(APPLICATIONS, GapReason::Crashed).0,
            0,
            "round {round}"
        );
    }
}
