//! What is left out is a gap, and limits are shared fairly.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::time::SystemTime;

use super::*;

#[test]
fn each_file_below_var_log_is_in_exactly_one_item_or_gap() {
    let root = Root::new();
    let files = [
        "auth.log",
        "auth.log.1",
        "auth.log-20261101.gz",
        "wtmp",
        "wtmp.1",
        "wtmp-20261001",
        "wtmp.2.gz",
        "wtmp.db",
        "btmp-20261101",
        "btmp.2",
        "lastlog",
        "lastlog2",
        "faillog",
        "tallylog",
        "wtmpx/inside",
        "btmp.d/deep/er",
        "journal/0123/system.journal",
        "journal/0123/system@1-2.journal~",
        "journal/0123/fss",
        "journal/0123/deep/user.journal",
        "journal/top.journal",
        "journalist",
        "audit/audit.log",
        "a/b/c/d/e/f/g/h/i/deep.log",
        "app/wtmp",
        "odd\nname",
    ];
    for file in files {
        root.file(&format!("var/log/{file}"), file);
    }
    let not_text = root
        .path("var/log/x")
        .with_file_name(std::ffi::OsString::from_vec(vec![b'n', 0xff]));
    fs::write(not_text, "not text").expect("ours");
    root.file("data/j/system.journal", "behind a link");
    root.link("var/log/journal/4567", "/data/j");
    let files = files.iter().copied().chain(["journal/4567/system.journal"]);
    let sealed = root.capture(&[]);
    let mut takers = BTreeMap::<String, Vec<&str>>::new();
    for (item, records) in &sealed.records {
        let paths: BTreeSet<String> = records
            .iter()
            .filter(|record| record.get("Exhibit-Kind").is_empty())
            .map(Record::path)
            .collect();
        for path in paths
            .into_iter()
            .filter(|path| path.starts_with("/var/log/"))
        {
            takers.entry(path).or_default().push(item);
        }
    }
    for file in files {
        let items = takers
            .remove(&format!("/var/log/{file}"))
            .unwrap_or_default();
        assert_eq!(items.len(), 1, "{file}: {items:?}");
    }
    assert_eq!(
        takers.len(),
        1,
        "only the name that is not UTF-8 is left: {takers:?}"
    );
}

#[test]
fn folder_behind_a_link_is_entered_once() {
    let root = Root::new();
    root.file("data/nginx/access.log", "GET /");
    root.file("data/nginx/old/error.log", "oops");
    root.link("var/log/nginx", "/data/nginx");
    root.link("var/log/www", "/data/nginx");
    root.file("var/log/auth.log", "auth");
    root.link("var/log/loop", "/var/log");
    let sealed = root.capture(&["logs"]);
    assert_eq!(
        sealed.record("logs", "/var/log/nginx/access.log", "").block,
        b"GET /"
    );
    assert_eq!(
        sealed
            .record("logs", "/var/log/nginx/old/error.log", "")
            .block,
        b"oops"
    );
    assert!(
        !sealed.has("logs", "/var/log/www/access.log"),
        "it has it already"
    );
    let (_, examples) = sealed.gap("logs", GapReason::SpecialFile);
    assert_eq!(examples, ["/var/log/loop"]);
}

#[test]
fn homes_of_a_domain_and_names_that_are_no_text_are_searched() {
    let root = Root::new();
    root.file("home/EXAMPLE.COM/jdoe/.bash_history", "whoami\n");
    root.file(
        "home/EXAMPLE.COM/jdoe/.ssh/authorized_keys",
        "ssh-ed25519 J",
    );
    // A folder of a domain may have hidden entries of its own.
    root.file("home/CORP/.DS_Store", "");
    root.file("home/CORP/eve/.bash_history", "id\n");
    root.file("home/ann/.bash_history", "ls\n");
    root.file("home/ann/Documents/notes", "");
    let odd = root
        .path("home/x")
        .with_file_name(std::ffi::OsString::from_vec(vec![b'n', 0xff]));
    fs::create_dir(&odd).expect("ours");
    fs::write(odd.join(".bash_history"), "odd\n").expect("ours");
    let sealed = root.capture(&["histories", "authorized-keys"]);
    for path in [
        "/home/EXAMPLE.COM/jdoe/.bash_history",
        "/home/CORP/eve/.bash_history",
        "/home/ann/.bash_history",
    ] {
        assert!(sealed.has("histories", path), "{path}");
    }
    assert!(sealed.has(
        "authorized-keys",
        "/home/EXAMPLE.COM/jdoe/.ssh/authorized_keys"
    ));
    let blocks: Vec<_> = sealed
        .records("histories")
        .iter()
        .map(|record| &record.block[..])
        .collect();
    assert!(blocks.contains(&&b"odd\n"[..]));
    assert!(
        sealed.has("authorized-keys", "/home"),
        "the item says which homes there were"
    );
}

#[test]
fn root_without_procfs_is_a_gap() {
    let root = Root(TempDir::new().expect("a folder"));
    fs::create_dir(root.path("proc")).expect("ours");
    let sealed = root.capture(&[
        "sockets",
        "processes",
        "network",
        "namespaces",
        "containers",
    ]);
    for probe in [
        "sockets",
        "processes",
        "network",
        "namespaces",
        "containers",
    ] {
        let (count, examples) = sealed.gap(probe, GapReason::Unsupported);
        assert!(
            count > 0 && examples[0].starts_with("/proc"),
            "{probe}: {examples:?}"
        );
    }
}

/// Makes `count` logs of `bytes` each, the first of them the newest.
fn logs(root: &Root, folder: &str, count: u64, bytes: usize) {
    for age in 0..count {
        let path = format!("var/log/{folder}{age}.log");
        root.file(&path, vec![b'x'; bytes]);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000 - age);
        let file = File::options().write(true).open(root.path(&path));
        file.and_then(|file| file.set_modified(time)).expect("ours");
    }
}

#[test]
fn folder_with_too_many_names_keeps_the_newest_and_costs_no_other() {
    let root = Root::new();
    logs(&root, "app/noise-", 50, 1);
    root.file("var/log/audit/audit.log", "audit");
    root.file("var/log/zz/z.log", "z");
    let sealed = capture_with(&root.options(&["logs"]), |reader| ReaderOptions {
        entries_max: 20,
        ..reader
    });
    let (count, examples) = sealed.gap("logs", GapReason::TooLarge);
    assert_eq!(count, 32, "30 in their folder, and 2 for the others' sake");
    assert!(
        examples.iter().all(|path| path == "/var/log/app"),
        "{examples:?}"
    );
    for path in [
        "audit/audit.log",
        "zz/z.log",
        "app/noise-0.log",
        "app/noise-17.log",
    ] {
        assert!(sealed.has("logs", &format!("/var/log/{path}")), "{path}");
    }
    assert!(!sealed.has("logs", "/var/log/app/noise-18.log"));
}

/// Takes its time for each folder of one service.
fn slow_folders(path: &Path) {
    if path.as_os_str().as_bytes().starts_with(b"/var/log/slow/") {
        std::thread::sleep(Duration::from_millis(30));
    }
}

#[test]
fn slow_walk_leaves_time_to_read_what_was_found() {
    let root = Root::new();
    for folder in 0..300 {
        root.file(&format!("var/log/slow/{folder}/x.log"), "x");
    }
    root.file("var/log/auth.log", "auth");
    root.file("var/log/audit/audit.log", "audit");
    let options = CaptureOptions {
        deadline: Duration::from_secs(3),
        ..root.options(&["logs"])
    };
    let sealed = capture_with(&options, |reader| ReaderOptions {
        before_touch: slow_folders,
        ..reader
    });
    let (count, examples) = sealed.gap("logs", GapReason::Deadline);
    assert!(
        count > 100 && examples[0].starts_with("/var/log/slow/"),
        "{examples:?}"
    );
    for path in ["/var/log/auth.log", "/var/log/audit/audit.log"] {
        assert!(sealed.has("logs", path), "{path}");
    }
}

#[test]
fn many_folders_of_one_service_cost_no_other() {
    let root = Root::new();
    for folder in 0..100 {
        root.file(&format!("var/log/app/{folder}/w{folder}.log"), [b'x'; 1000]);
    }
    root.file("var/log/zz/deep/z.log", [b'z'; 1000]);
    let options = CaptureOptions {
        item_bytes_max: 60_000,
        ..root.options(&["logs"])
    };
    let sealed = capture_with(&options, |reader| ReaderOptions {
        entries_max: 40,
        ..reader
    });
    let log = sealed.record("logs", "/var/log/zz/deep/z.log", "");
    assert_eq!(
        log.block.len(),
        1000,
        "neither folders nor files nor bytes were used up"
    );
}

#[test]
fn many_histories_of_one_account_cost_no_other() {
    let root = Root::new();
    for name in 0..50 {
        root.file(&format!("home/ann/.{name}_history"), [b'x'; 1000]);
    }
    root.file("home/zoe/.bash_history", [b'z'; 1000]);
    root.file("home/ann/.bashrc", vec![b'x'; 3 << 20]);
    root.file("home/zoe/.bashrc", "alias ls=x");
    let options = CaptureOptions {
        item_bytes_max: 20_000,
        ..root.options(&["histories"])
    };
    let sealed = capture_with(&options, |reader| reader);
    let history = sealed.record("histories", "/home/zoe/.bash_history", "");
    assert_eq!(history.block.len(), 1000);
    let sealed = root.capture(&["startup"]);
    let script = sealed.record("startup", "/home/ann/.bashrc", "");
    assert_eq!(script.block.len(), 1 << 20);
    assert!(sealed.has("startup", "/home/zoe/.bashrc"));
}

/// Fails the test if the folder is touched: it may be an automount point.
fn must_not_be_touched(path: &Path) {
    let is_touched = path
        .as_os_str()
        .as_bytes()
        .starts_with(b"/proc/sys/fs/binfmt_misc");
    assert!(!is_touched, "listing it would mount it");
}

#[test]
fn binfmt_misc_is_read_only_where_it_is_mounted() {
    let root = Root::new();
    root.file("proc/sys/fs/binfmt_misc/evil", "interpreter /tmp/evil\n");
    root.file("proc/sys/fs/file-max", "1\n");
    root.file(
        "proc/1/mountinfo",
        "30 22 0:30 / /proc/sys/fs/binfmt_misc rw - autofs x rw\n",
    );
    let sealed = capture_with(&root.options(&["kernel"]), |reader| ReaderOptions {
        before_touch: must_not_be_touched,
        ..reader
    });
    assert_eq!(sealed.gap("kernel", GapReason::Crashed).0, 0);
    assert!(sealed.has("kernel", "/proc/sys/fs/file-max"));
    root.file(
        "proc/1/mountinfo",
        "31 30 0:31 / /proc/sys/fs/binfmt_misc rw - binfmt_misc binfmt_misc rw\n",
    );
    let sealed = root.capture(&["kernel"]);
    let registered = sealed.record("kernel", "/proc/sys/fs/binfmt_misc/evil", "");
    assert_eq!(registered.block, b"interpreter /tmp/evil\n");
}

#[test]
fn gap_of_many_has_a_record() {
    let root = Root::new();
    logs(&root, "app/noise-", 60, 1);
    let sealed = capture_with(&root.options(&["logs"]), |reader| ReaderOptions {
        entries_max: 20,
        ..reader
    });
    for path in sealed.gap("logs", GapReason::TooLarge).1 {
        assert!(
            sealed.has("logs", &path),
            "{path} is an example without a record"
        );
    }
}

#[test]
fn noisy_service_does_not_cost_the_audit_log() {
    let root = Root::new();
    logs(&root, "app/noise-", 20, 1000);
    logs(&root, "flood", 20, 1000);
    logs(&root, "old/o", 3, 1000);
    root.file("var/log/auth.log", [b'a'; 1000]);
    let file = File::options()
        .write(true)
        .open(root.path("var/log/auth.log"));
    file.and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH))
        .expect("ours");
    let options = CaptureOptions {
        item_bytes_max: 16_000,
        ..root.options(&["logs"])
    };
    let sealed = capture_with(&options, |reader| reader);
    for path in [
        "auth.log",
        "old/o0.log",
        "old/o2.log",
        "app/noise-0.log",
        "flood0.log",
    ] {
        assert_eq!(
            sealed
                .record("logs", &format!("/var/log/{path}"), "")
                .block
                .len(),
            1000,
            "{path}"
        );
    }
}

#[test]
fn file_with_holes_is_kept_by_its_data() {
    let root = Root::new();
    root.file("var/log/lastlog", "");
    let file = File::options()
        .write(true)
        .open(root.path("var/log/lastlog"))
        .expect("ours");
    let far = 1_553_201_121 * 292;
    file.set_len(far + 292).expect("a sparse file");
    file.write_all_at(b"row of root", 0).expect("ours");
    file.write_all_at(b"row of a domain user", far)
        .expect("ours");
    let sealed = root.capture(&["sessions"]);
    let records: Vec<_> = sealed
        .records("sessions")
        .iter()
        .filter(|record| record.path() == "/var/log/lastlog")
        .collect();
    assert_eq!(records.len(), 2);
    for (record, row, continued) in [
        (records[0], &b"row of root"[..], "true"),
        (records[1], b"row of a domain user", ""),
    ] {
        let offset: u64 = record.get("Exhibit-Offset").parse().unwrap_or(0);
        let at = if offset == 0 {
            0
        } else {
            (far - offset) as usize
        };
        assert_eq!(&record.block[at..at + row.len()], row);
        assert_eq!(record.get("Exhibit-Size"), (far + 292).to_string());
        assert_eq!(
            (
                record.get("Exhibit-Sparse"),
                record.get("Exhibit-Continued")
            ),
            ("true", continued)
        );
    }
    let bytes: usize = records.iter().map(|record| record.block.len()).sum();
    assert!(bytes < 1 << 20, "{bytes} bytes for two rows");
    assert!(sealed.item("sessions").coverage.is_complete());
}

#[test]
fn file_with_holes_is_cut_at_the_limit_for_its_data() {
    let root = Root::new();
    root.file("var/log/lastlog", "");
    let file = File::options()
        .write(true)
        .open(root.path("var/log/lastlog"))
        .expect("ours");
    file.set_len(1 << 40).expect("a sparse file");
    for at in [0, 1 << 30, 1 << 35] {
        file.write_all_at(&[b'x'; 200_000], at).expect("ours");
    }
    let options = CaptureOptions {
        object_bytes_max: 300_000,
        ..root.options(&["sessions"])
    };
    let sealed = capture_with(&options, |reader| reader);
    let gap = &sealed.item("sessions").coverage.gaps[0];
    assert_eq!((gap.reason, gap.bytes_kept), (GapReason::TooLarge, 300_000));
    assert!(
        (300_000..400_000).contains(&gap.bytes_lost),
        "only data is lost: {}",
        gap.bytes_lost
    );
}
