//! `exhibit-audit extract`.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn extract_writes_the_captured_data_and_nothing_else() {
    let case = AuditCase::new(true);
    let out = case.out();
    let before = case.fixture.names();
    fs::create_dir(&out).expect("scratch");
    let ran = audit(&["extract", &case.tar, &out, "--key", &case.alice]);
    assert_eq!(ran.code, 0, "{}", ran.errors());
    assert!(
        ran.text().contains("1 of them are incomplete") && ran.text().contains("1 more could not"),
        "{}",
        ran.text()
    );
    let long = Digest::of("l".repeat(300).as_bytes()).hex();
    let long = format!("files/{}~{}", "l".repeat(183), &long[..16]);
    let mut expected = vec![
        ("files/etc/passwd", &b"root:x:0:0:\nbin:x:1:1:\n"[..]),
        ("files/%2E%2E/%2E%2E/outside", b"outside"),
        ("files/file:/%1b%5b31m", b"lower case"),
        ("files/%1B[31m%FF", b"\x1b[31mred\xc2\x9b0m\xe2\x80\xae\n"),
        ("files/twice", b"one"),
        ("files/twice~2", b"two"),
        ("files/twice~3/below", b"below"),
        ("files/é", b""),
        (&long, b"long"),
        ("files/000009.resource", b"deep"),
        ("files/lib.link", b"../../usr/lib"),
        ("files/proc.directory", b"1\x002\x00"),
        ("files/var/log", b"the beginning of"),
        ("trail/000000.request", b"GET / HTTP/1.1\r\n\r\n"),
    ];
    for (name, content) in &expected {
        assert_eq!(
            fs::read(Path::new(&out).join(name)).ok().as_deref(),
            Some(*content),
            "{name}"
        );
    }
    expected.extend([("trail/000001.response", &b""[..]), ("noise/noise", b"")]);
    let mut names: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(tree(Path::new(&out)), names);
    let mode = |name: &str| {
        fs::metadata(Path::new(&out).join(name))
            .expect("extracted")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        [
            mode(""),
            mode("files"),
            mode("files/etc"),
            mode("files/etc/passwd")
        ],
        [0o700, 0o700, 0o700, 0o600]
    );
    fs::remove_dir_all(&out).expect("scratch");
    assert_eq!(case.fixture.names(), before);
}

#[test]
fn extract_writes_whole_items_with_warc() {
    let case = AuditCase::new(false);
    let out = case.out();
    assert_eq!(
        audit(&[
            "extract",
            &case.folder,
            &out,
            "--warc",
            "--key",
            &case.alice
        ])
        .code,
        0
    );
    assert_eq!(
        tree(Path::new(&out)),
        ["files.warc", "noise.warc", "trail.warc"]
    );
    for name in ["files", "noise", "trail"] {
        assert!(
            fs::read(Path::new(&out).join(format!("{name}.warc"))).expect("extracted")
                == case.warc(name),
            "{name}"
        );
    }
    let again = audit(&["extract", &case.folder, &out]);
    assert!(
        again.code == 2 && again.errors().contains("not an empty folder"),
        "{}",
        again.errors()
    );
}
