//! Containers: tar, folder, which files there are, and that each matches its descriptor.

use super::parts::{BlobRole, BundleFileList, BundleParts};
use super::tar::{BLOCK_BYTES, TestTar, TestTarEntry};
use super::{FolderEntry, TestVector, VectorContainer, early, late};

pub(super) fn vectors() -> Vec<TestVector> {
    let mut all = tar_headers();
    all.extend(tar_structure());
    all.extend(tar_ends());
    all.extend(missing_files());
    all.extend(changed_blobs());
    all.extend(folders());
    all
}

/// A bundle that has such a file, without items if possible.
fn files_with(role: BlobRole) -> BundleFileList {
    match role {
        BlobRole::Segments(_) | BlobRole::Layer(_) => BundleParts::base().files(),
        BlobRole::OciLayout
        | BlobRole::Index
        | BlobRole::Bundle
        | BlobRole::Referrer(_)
        | BlobRole::Config
        | BlobRole::Key
        | BlobRole::Content(_)
        | BlobRole::Empty => BundleParts::empty().files(),
    }
}

fn tar() -> TestTar {
    TestTar::of(&BundleParts::empty().files())
}

fn tar_with_item() -> TestTar {
    TestTar::of(&files_with(BlobRole::Layer(0)))
}

/// One header field is wrong, but the checksum is right.
fn tar_headers() -> Vec<TestVector> {
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
    fields
        .into_iter()
        .map(|(name, field, at, bytes)| {
            let mut tar = tar();
            tar.entry(BlobRole::OciLayout).put(at, bytes);
            TestVector::new(
                name,
                format!("§3.4: each entry's header bytes: {field}"),
                tar.container(),
                early("failed tar"),
            )
        })
        .collect()
}

fn tar_structure() -> Vec<TestVector> {
    let failed = |name, rule, tar: TestTar, code| {
        TestVector::new(name, format!("§3.4: {rule}"), tar.container(), early(code))
    };
    let changed = |change: &dyn Fn(&mut TestTar)| {
        let mut tar = tar();
        change(&mut tar);
        tar
    };
    let mut swapped = tar_with_item();
    swap(&mut swapped, BlobRole::Segments(0), BlobRole::Layer(0));
    let pax = |kind: &'static [u8]| {
        changed(&move |tar| {
            let mut pax = TestTarEntry::new(None, "PaxHeaders/size", b"11 size=30\n");
            pax.put(156, kind);
            tar.entries.insert(0, pax);
        })
    };
    vec![
        failed(
            "120-tar-checksum",
            "header: sum",
            changed(&|t| t.entry(BlobRole::OciLayout).header[148] ^= 1),
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
            changed(&|t| {
                t.entries[0] = TestTarEntry::new(None, "./oci-layout", &t.entries[0].content)
            }),
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
            changed(&|t| t.entry(BlobRole::OciLayout).padding[0] = 1),
            "failed tar",
        ),
        failed(
            "133-tar-padding-of-a-malformed-file",
            "padding is met with a file's last byte (§7.1), before what is wrong with the file",
            changed(&|t| {
                t.entry(BlobRole::OciLayout).content[0] = b'[';
                t.entry(BlobRole::OciLayout).padding[0] = 1;
            }),
            "failed tar",
        ),
    ]
}

fn late_tar(name: &'static str, rule: &str, tar: TestTar, code: &'static str) -> TestVector {
    TestVector::new(name, format!("§3.4: {rule}"), tar.container(), late(code))
}

fn swap(tar: &mut TestTar, a: BlobRole, b: BlobRole) {
    let (a, b) = (tar.position(a), tar.position(b));
    tar.entries.swap(a, b);
}

fn tar_ends() -> Vec<TestVector> {
    let ended = |end: &[u8]| TestTar {
        end: end.to_vec(),
        ..tar()
    };
    let zeros = [0; 4 * BLOCK_BYTES];
    let cut = |name, rule: &str, container, expect| {
        TestVector::new(name, format!("§3.4: {rule}"), container, expect)
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
            VectorContainer::Tar(Vec::new()),
            early("failed tar"),
        ),
        cut(
            "146-tar-of-no-files",
            "oci-layout comes first",
            VectorContainer::Tar(zeros[..2 * BLOCK_BYTES].to_vec()),
            early("failed oci-layout"),
        ),
        cut(
            "148-tar-cut-in-the-index",
            "a file has the size that its header states",
            tar().cut_in(BlobRole::Index, 100),
            early("failed tar"),
        ),
        cut(
            "150-tar-cut-in-an-item",
            "a file has the size that its header states",
            tar_with_item().cut_in(BlobRole::Layer(0), 100),
            late("failed tar"),
        ),
    ]
}

fn missing_files() -> Vec<TestVector> {
    let missing = |name, rule: &str, role, expect| {
        TestVector::new(name, rule, files_with(role).without(role).tar(), expect)
    };
    let (early, late) = (early("failed blob-missing"), late("failed blob-missing"));
    vec![
        missing(
            "160-no-oci-layout",
            "§7.1 step 1: `oci-layout` is there",
            BlobRole::OciLayout,
            super::early("failed oci-layout"),
        ),
        missing(
            "161-no-index",
            "§7.1 step 2: `index.json` is there",
            BlobRole::Index,
            super::early("failed index"),
        ),
        missing(
            "162-no-bundle-manifest",
            "§7.1 step 3: each manifest is there",
            BlobRole::Bundle,
            early,
        ),
        missing(
            "165-no-attestation",
            "§7.1 step 5: each blob of each referrer is there",
            BlobRole::Content(0),
            early,
        ),
        missing(
            "167-no-disclosure-key",
            "§7.1 step 8: the disclosure key is there",
            BlobRole::Key,
            late,
        ),
        missing(
            "169-no-layer",
            "§7.1 step 9: each layer is there",
            BlobRole::Layer(0),
            late,
        ),
    ]
}

fn changed_blobs() -> Vec<TestVector> {
    let changed = |name, rule: &str, role, expect| {
        TestVector::new(
            name,
            rule,
            files_with(role).change(role, |blob| blob[0] ^= 1).tar(),
            expect,
        )
    };
    let longer = |name, rule: &str, role, expect| {
        TestVector::new(
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
            BlobRole::Content(0),
            early,
        ),
        changed(
            "174-other-config",
            "§7.1 step 6: the config has its digest",
            BlobRole::Config,
            late,
        ),
        changed(
            "177-other-layer",
            "§7.1 step 9: each layer has its digest",
            BlobRole::Layer(0),
            late,
        ),
        longer(
            "180-longer-manifest",
            "§7.1 step 3: each manifest has the size that the index states",
            BlobRole::Bundle,
            super::early("failed blob-size"),
        ),
        longer(
            "184-longer-layer",
            "§7.1 step 9: each layer has the size that its descriptor states",
            BlobRole::Layer(0),
            super::late("failed blob-size"),
        ),
    ]
}

fn folders() -> Vec<TestVector> {
    let files = || BundleParts::empty().files();
    let file = |name: &str| FolderEntry::File(name.to_owned(), b"x\n".to_vec());
    let with = |mut entries: Vec<FolderEntry>, more: FolderEntry| {
        entries.push(more);
        VectorContainer::Folder(entries)
    };
    let vector =
        |name, rule: &str, container, expect| TestVector::new(name, rule, container, expect);
    let blob = |role| {
        let files = files();
        files.list[files.position(role)].1.clone()
    };
    let upper = |(role, name, content): (BlobRole, String, Vec<u8>)| {
        let (folder, hex) = name.rsplit_once('/').unwrap_or(("", &name));
        let name = if role == BlobRole::Key {
            format!("{folder}/{}", hex.to_uppercase())
        } else {
            name
        };
        FolderEntry::File(name, content)
    };
    let linked = files()
        .folder()
        .into_iter()
        .filter(|e| !matches!(e, FolderEntry::File(name, _) if name.starts_with("blobs/")));
    let inside = blob(BlobRole::Key) + "/x";
    vec![
        vector(
            "190-unfinished",
            "§3.5: a folder that lacks one of its files and has `UNFINISHED` is refused",
            with(
                files().without(BlobRole::OciLayout).folder(),
                file("UNFINISHED"),
            ),
            early("failed unfinished"),
        ),
        vector(
            "191-unfinished-without-a-blob",
            "§3.5: a folder that lacks one of its files and has `UNFINISHED` is refused",
            with(
                files().without(BlobRole::Config).folder(),
                file("UNFINISHED"),
            ),
            late("failed unfinished"),
        ),
        vector(
            "192-whole-and-marked-unfinished",
            "§3.5: a writer removes `UNFINISHED` last; §3.1: there is no other file",
            with(files().folder(), file("UNFINISHED")),
            late("failed unexpected-file"),
        ),
        vector(
            "193-file-too-many",
            "§3.1: there is no other file",
            with(files().folder(), file("notes.txt")),
            late("failed unexpected-file"),
        ),
        vector(
            "194-blob-too-many",
            "§3.1: there is no blob that no manifest points to",
            with(
                files().folder(),
                file(&format!("blobs/sha256/{}", "0".repeat(64))),
            ),
            late("failed unexpected-file"),
        ),
        vector(
            "195-blobs-of-another-digest",
            "§3.1: there is no other file",
            with(files().folder(), file("blobs/sha512/x")),
            late("failed unexpected-file"),
        ),
        vector(
            "196-blob-in-upper-case",
            "§3.1: hexadecimal digits are lowercase",
            VectorContainer::Folder(files().list.into_iter().map(upper).collect()),
            late("failed blob-missing"),
        ),
        vector(
            "197-link-in-place-of-a-file",
            "§3.1: all are regular files",
            with(
                files().without(BlobRole::OciLayout).folder(),
                FolderEntry::Link("oci-layout", "../057-folder/oci-layout"),
            ),
            early("failed not-a-file"),
        ),
        vector(
            "198-link-in-place-of-the-blobs",
            "§3.1: a reader does not follow links",
            with(
                linked.collect(),
                FolderEntry::Link("blobs", "../057-folder/blobs"),
            ),
            early("failed not-a-file"),
        ),
        vector(
            "199-folder-in-place-of-a-file",
            "§3.1: all are regular files",
            with(files().without(BlobRole::Key).folder(), file(&inside)),
            late("failed not-a-file"),
        ),
    ]
}
