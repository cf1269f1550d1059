//! The container: tar, folder, which files there are, and that each is what its descriptor says.

use super::parts::{Files, Parts, Role};
use super::tar::{BLOCK_BYTES, Tar, TarEntry};
use super::{Container, Entry, Vector, early, late};

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = tar_headers();
    all.extend(tar_structure());
    all.extend(tar_ends());
    all.extend(missing_files());
    all.extend(changed_blobs());
    all.extend(folders());
    all
}

/// A bundle that has such a file; without items where it can be.
fn files_with(role: Role) -> Files {
    match role {
        Role::Segments(_) | Role::Layer(_) => Parts::base().files(),
        _ => Parts::empty().files(),
    }
}

fn tar() -> Tar {
    Tar::of(&Parts::empty().files())
}

fn tar_with_item() -> Tar {
    Tar::of(&files_with(Role::Layer(0)))
}

/// One header field otherwise than it must be; the checksum fits.
fn tar_headers() -> Vec<Vector> {
    let fields: [(&str, &str, usize, &[u8]); 13] = [
        ("100-tar-mode", "mode", 100, b"0000644"),
        ("101-tar-owner", "owner", 108, b"0001750"),
        ("103-tar-size-with-blanks", "size", 124, b"         36"),
        ("105-tar-time", "time", 136, b"15041120721"),
        ("106-tar-old-kind-of-file", "type", 156, b"\0"),
        ("108-tar-symbolic-link", "type", 156, b"2"),
        ("110-tar-link-name", "link name", 157, b"/etc/passwd"),
        ("111-tar-of-gnu", "magic and version", 257, b"ustar  \0"),
        ("112-tar-user-name", "user name", 265, b"root"),
        ("114-tar-device", "device", 329, b"0000000\x000000000"),
        ("115-tar-prefix", "prefix", 345, b"."),
        ("116-tar-end-of-header", "last bytes", 500, b"x"),
        ("117-tar-bytes-behind-the-name", "name", 11, b"x"),
    ];
    let vector = |(name, field, at, bytes): (&'static str, &str, usize, &[u8])| {
        let mut tar = tar();
        tar.entry(Role::OciLayout).put(at, bytes);
        Vector::new(
            name,
            format!("§3.4: each entry's header bytes: {field}"),
            tar.container(),
            early("failed tar"),
        )
    };
    fields.into_iter().map(vector).collect()
}

fn tar_structure() -> Vec<Vector> {
    let failed = |name, rule, tar: Tar, code| {
        Vector::new(name, format!("§3.4: {rule}"), tar.container(), early(code))
    };
    let changed = |change: &dyn Fn(&mut Tar)| {
        let mut tar = tar();
        change(&mut tar);
        tar
    };
    let mut swapped = tar_with_item();
    swap(&mut swapped, Role::Segments(0), Role::Layer(0));
    let pax = |kind: &'static [u8]| {
        changed(&move |tar| {
            let mut pax = TarEntry::new(None, "PaxHeaders/size", b"11 size=30\n");
            pax.put(156, kind);
            tar.entries.insert(0, pax);
        })
    };
    vec![
        failed(
            "120-tar-checksum",
            "header: sum",
            changed(&|t| t.entry(Role::OciLayout).header[148] ^= 1),
            "failed tar",
        ),
        failed(
            "122-tar-pax-header-for-a-small-file",
            "pax headers for files of 2^33 bytes or more",
            pax(b"x"),
            "failed tar",
        ),
        failed(
            "125-tar-name-with-a-dot",
            "names are those of §3.1",
            changed(&|t| t.entries[0] = TarEntry::new(None, "./oci-layout", &t.entries[0].content)),
            "failed oci-layout",
        ),
        failed(
            "126-tar-index-first",
            "order",
            changed(&|t| t.entries.swap(0, 1)),
            "failed oci-layout",
        ),
        late_tar(
            "128-tar-item-before-its-list",
            "config, then layers",
            swapped,
            "failed blob-missing",
        ),
        late_tar(
            "129-tar-entry-twice",
            "each once",
            changed(&|t| t.entries.insert(6, t.entries[5].clone())),
            "failed blob-missing",
        ),
        failed(
            "132-tar-padding",
            "padded with zero bytes",
            changed(&|t| t.entry(Role::OciLayout).padding[0] = 1),
            "failed tar",
        ),
    ]
}

fn late_tar(name: &'static str, rule: &str, tar: Tar, code: &'static str) -> Vector {
    Vector::new(name, format!("§3.4: {rule}"), tar.container(), late(code))
}

fn swap(tar: &mut Tar, a: Role, b: Role) {
    let (a, b) = (tar.position(a), tar.position(b));
    tar.entries.swap(a, b);
}

fn tar_ends() -> Vec<Vector> {
    let ended = |end: &[u8]| Tar {
        end: end.to_vec(),
        ..tar()
    };
    let zeros = [0; 4 * BLOCK_BYTES];
    let cut = |name, rule: &str, container, expect| {
        Vector::new(name, format!("§3.4: {rule}"), container, expect)
    };
    let mut header_cut = tar().bytes();
    header_cut.truncate(200);
    vec![
        late_tar(
            "140-tar-without-its-end",
            "two blocks of zero bytes end the tar",
            ended(b""),
            "failed tar",
        ),
        late_tar(
            "141-tar-with-one-block-at-its-end",
            "two blocks of zero bytes end the tar",
            ended(&zeros[..BLOCK_BYTES]),
            "failed tar",
        ),
        late_tar(
            "142-tar-with-three-blocks-at-its-end",
            "nothing follows them",
            ended(&zeros[..3 * BLOCK_BYTES]),
            "failed tar",
        ),
        late_tar(
            "143-tar-with-a-byte-behind-its-end",
            "nothing follows them",
            ended(&[&zeros[..2 * BLOCK_BYTES], b"\n"].concat()),
            "failed tar",
        ),
        cut(
            "145-tar-of-no-bytes",
            "two blocks of zero bytes end the tar",
            Container::Tar(Vec::new()),
            early("failed tar"),
        ),
        cut(
            "146-tar-of-no-files",
            "oci-layout comes first",
            Container::Tar(zeros[..2 * BLOCK_BYTES].to_vec()),
            early("failed oci-layout"),
        ),
        cut(
            "148-tar-cut-in-the-index",
            "a file has the size that its header states",
            tar().cut_in(Role::Index, 100),
            early("failed tar"),
        ),
        cut(
            "150-tar-cut-in-an-item",
            "a file has the size that its header states",
            tar_with_item().cut_in(Role::Layer(0), 100),
            late("failed tar"),
        ),
    ]
}

fn missing_files() -> Vec<Vector> {
    let missing = |name, rule: &str, role, expect| {
        Vector::new(name, rule, files_with(role).without(role).tar(), expect)
    };
    let (early, late) = (early("failed blob-missing"), late("failed blob-missing"));
    vec![
        missing(
            "160-no-oci-layout",
            "§7.1 step 1: `oci-layout` is there",
            Role::OciLayout,
            super::early("failed oci-layout"),
        ),
        missing(
            "161-no-index",
            "§7.1 step 2: `index.json` is there",
            Role::Index,
            super::early("failed index"),
        ),
        missing(
            "162-no-bundle-manifest",
            "§7.1 step 3: each manifest is there",
            Role::Bundle,
            early,
        ),
        missing(
            "165-no-attestation",
            "§7.1 step 5: each blob of each referrer is there",
            Role::Content(0),
            early,
        ),
        missing(
            "167-no-disclosure-key",
            "§7.1 step 8: the disclosure key is there",
            Role::Key,
            late,
        ),
        missing(
            "169-no-layer",
            "§7.1 step 9: each layer is there",
            Role::Layer(0),
            late,
        ),
    ]
}

fn changed_blobs() -> Vec<Vector> {
    let flip = |blob: &mut Vec<u8>| blob[0] ^= 1;
    let changed = |name, rule: &str, role, expect| {
        Vector::new(
            name,
            rule,
            files_with(role).change(role, flip).tar(),
            expect,
        )
    };
    let longer = |name, rule: &str, role, expect| {
        Vector::new(
            name,
            rule,
            files_with(role).change(role, |blob| blob.push(b'\n')).tar(),
            expect,
        )
    };
    let (early, late) = (early("failed blob-digest"), late("failed blob-digest"));
    vec![
        changed(
            "173-other-attestation",
            "§7.1 step 5: each blob of each referrer has its digest",
            Role::Content(0),
            early,
        ),
        changed(
            "174-other-config",
            "§7.1 step 6: the config has its digest",
            Role::Config,
            late,
        ),
        changed(
            "177-other-layer",
            "§7.1 step 9: each layer has its digest",
            Role::Layer(0),
            late,
        ),
        longer(
            "180-longer-manifest",
            "§7.1 step 3: each manifest has the size that the index states",
            Role::Bundle,
            super::early("failed blob-size"),
        ),
        longer(
            "184-longer-layer",
            "§7.1 step 9: each layer has the size that its descriptor states",
            Role::Layer(0),
            super::late("failed blob-size"),
        ),
    ]
}

fn folders() -> Vec<Vector> {
    let files = || Parts::empty().files();
    let file = |name: &str| Entry::File(name.to_owned(), b"x\n".to_vec());
    let with = |mut entries: Vec<Entry>, more: Entry| {
        entries.push(more);
        Container::Folder(entries)
    };
    let v = |name, rule: &str, container, expect| Vector::new(name, rule, container, expect);
    let blob = |role| {
        let files = files();
        files.list[files.position(role)].1.clone()
    };
    let upper = |(role, name, content): (Role, String, Vec<u8>)| {
        let (folder, hex) = name.rsplit_once('/').unwrap_or(("", &name));
        let name = if role == Role::Key {
            format!("{folder}/{}", hex.to_uppercase())
        } else {
            name
        };
        Entry::File(name, content)
    };
    let linked = files()
        .folder()
        .into_iter()
        .filter(|e| !matches!(e, Entry::File(name, _) if name.starts_with("blobs/")));
    let inside = blob(Role::Key) + "/x";
    vec![
        v(
            "190-unfinished",
            "§3.5: a folder that lacks one of its files and has `UNFINISHED` is refused",
            with(
                files().without(Role::OciLayout).folder(),
                file("UNFINISHED"),
            ),
            early("failed unfinished"),
        ),
        v(
            "191-unfinished-without-a-blob",
            "§3.5: a folder that lacks one of its files and has `UNFINISHED` is refused",
            with(files().without(Role::Config).folder(), file("UNFINISHED")),
            late("failed unfinished"),
        ),
        v(
            "192-whole-and-marked-unfinished",
            "§3.5: a writer removes `UNFINISHED` last; §3.1: there is no other file",
            with(files().folder(), file("UNFINISHED")),
            late("failed unexpected-file"),
        ),
        v(
            "193-file-too-many",
            "§3.1: there is no other file",
            with(files().folder(), file("notes.txt")),
            late("failed unexpected-file"),
        ),
        v(
            "194-blob-too-many",
            "§3.1: there is no blob that no manifest points to",
            with(
                files().folder(),
                file(&format!("blobs/sha256/{}", "0".repeat(64))),
            ),
            late("failed unexpected-file"),
        ),
        v(
            "195-blobs-of-another-digest",
            "§3.1: there is no other file",
            with(files().folder(), file("blobs/sha512/x")),
            late("failed unexpected-file"),
        ),
        v(
            "196-blob-in-upper-case",
            "§3.1: hexadecimal digits are lowercase",
            Container::Folder(files().list.into_iter().map(upper).collect()),
            late("failed blob-missing"),
        ),
        v(
            "197-link-in-place-of-a-file",
            "§3.1: all are regular files",
            with(
                files().without(Role::OciLayout).folder(),
                Entry::Link("oci-layout", "../057-folder/oci-layout"),
            ),
            early("failed not-a-file"),
        ),
        v(
            "198-link-in-place-of-the-blobs",
            "§3.1: a reader does not follow links",
            with(
                linked.collect(),
                Entry::Link("blobs", "../057-folder/blobs"),
            ),
            early("failed not-a-file"),
        ),
        v(
            "199-folder-in-place-of-a-file",
            "§3.1: all are regular files",
            with(files().without(Role::Key).folder(), file(&inside)),
            late("failed not-a-file"),
        ),
    ]
}
