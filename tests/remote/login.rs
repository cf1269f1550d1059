//! Profiles, certificates, signing keys and tokens.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::api::token;
use tests::{run, run_ok, scratch};

use crate::{ServedStore, all_output, exhibit, fails, json, lines, text};

/// A CA, and a certificate for this machine that the CA has signed.
struct CertificateAuthority {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl CertificateAuthority {
    fn new(folder: &Path) -> Self {
        fs::create_dir(folder).expect("the scratch folder is writable");
        let openssl = |arguments: &[&str]| {
            run_ok(
                Command::new("openssl")
                    .args(arguments)
                    .current_dir(folder)
                    .stderr(Stdio::null()),
            );
        };
        let new_key = ["-newkey", "ed25519", "-nodes"];
        openssl(
            &[
                &[
                    "req", "-x509", "-subj", "/CN=CA", "-keyout", "ca.key", "-out", "ca.pem",
                ],
                &new_key[..],
            ]
            .concat(),
        );
        openssl(
            &[
                &[
                    "req",
                    "-subj",
                    "/CN=localhost",
                    "-keyout",
                    "tls.key",
                    "-out",
                    "tls.csr",
                ],
                &new_key[..],
            ]
            .concat(),
        );
        fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1\n")
            .expect("the scratch folder is writable");
        let signed = [
            "x509",
            "-req",
            "-in",
            "tls.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
        ];
        openssl(&[&signed[..], &["-extfile", "names", "-out", "tls.crt"]].concat());
        Self {
            ca: folder.join("ca.pem"),
            certificate: folder.join("tls.crt"),
            key: folder.join("tls.key"),
        }
    }
}

#[test]
fn untrusted_certificate_receives_no_token() {
    let folder = scratch();
    let (own, foreign) = (
        CertificateAuthority::new(&folder.path().join("own")),
        CertificateAuthority::new(&folder.path().join("foreign")),
    );
    let config = format!(
        "[serve.tls]\ncertificate = '{}'\nkey = '{}'\n",
        own.certificate.display(),
        own.key.display()
    );
    let served = ServedStore::configured("owner", &config);
    let url = format!("https://{}", served.serve.address);
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let with = |ca: &Path| run(&mut served.at(&url, &["status", "--ca", &path(ca)]));
    assert!(
        with(&own.ca).status.success(),
        "{}",
        all_output(&with(&own.ca))
    );
    let said = all_output(&with(&foreign.ca));
    assert!(
        said.contains("the certificate of https://") && said.contains("--ca"),
        "{said}"
    );
    let said = fails(&mut served.at(&url, &["status"]));
    assert!(
        said.contains("the certificate of https://") || said.contains("CA certificates"),
        "{said}"
    );
    let said = all_output(&with(&own.key));
    assert!(said.contains("as a CA certificate: expected PEM"), "{said}");
    // The same with a profile.
    let mut login = exhibit(served.home.path());
    login.args(["login", &url, "--profile", "tls", "--ca", &path(&own.ca)]);
    assert!(log_in(&mut login, &served.token).contains(" accepts the token: "));
    run_ok(exhibit(served.home.path()).args(["status", "--profile", "tls"]));
}

/// Runs `exhibit login` with a token on its standard input.
fn log_in(command: &mut Command, token: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child
        .stdin
        .take()
        .expect("the stream is piped")
        .write_all(format!("{token}\n").as_bytes())
        .expect("the peer reads");
    let output = child.wait_with_output().expect("the program exits");
    let text = all_output(&output);
    assert!(!text.contains(token), "the output shows the token: {text}");
    text
}

#[test]
fn profile_login_use_and_logout() {
    let served = ServedStore::new("owner");
    let file = served.home.path().join(".config/exhibit/client.toml");
    let as_user = |arguments: &[&str]| {
        let mut command = exhibit(served.home.path());
        command.args(arguments);
        command
    };
    // A token that the server rejects is not stored.
    let said = log_in(
        &mut as_user(&["login", &served.url(), "--profile", "drill"]),
        &format!("{}x", served.token),
    );
    assert!(said.contains("rejected the token"), "{said}");
    assert!(!file.exists());
    let said = log_in(
        &mut as_user(&["login", &served.url(), "--profile", "drill"]),
        &served.token,
    );
    assert!(
        said.contains("owner of all incidents, until ")
            && said.contains("the server signs with key "),
        "{said}"
    );
    assert_eq!(
        fs::metadata(&file).expect("it is written").mode() & 0o777,
        0o600
    );
    // The first profile is the default. Its token is also used for its URL.
    let id = text(
        &json(&mut as_user(&[
            "declare", "--title", "t", "--sev", "4", "--json",
        ]))["incident"],
    );
    for arguments in [
        &["status", &id, "--profile", "drill"][..],
        &["status", &id, "--server", &served.url()],
    ] {
        assert!(run_ok(&mut as_user(arguments)).contains(&id));
    }
    assert!(run_ok(as_user(&["status", &id]).env("EXHIBIT_PROFILE", "drill")).contains(&id));
    let said = fails(&mut as_user(&["status", "--profile", "dril"]));
    assert!(
        said.contains("there is no profile dril (did you mean \"drill\"?); there are: drill"),
        "{said}"
    );
    // A file that other users can read is rejected.
    fs::set_permissions(&file, Permissions::from_mode(0o640))
        .expect("the scratch file is accessible");
    let said = fails(&mut as_user(&["status"]));
    assert!(
        said.contains("client.toml can be read by others (mode 0640): run chmod 600 on it"),
        "{said}"
    );
    fs::set_permissions(&file, Permissions::from_mode(0o600))
        .expect("the scratch file is accessible");
    // A second token replaces the first.
    let auditor = token(served.store.path(), "auditor");
    let said = log_in(
        &mut as_user(&["login", &served.url(), "--profile", "drill", "--json"]),
        &auditor,
    );
    let told: Value = serde_json::from_str(said.lines().last().expect("a line")).expect("JSON");
    assert_eq!(
        (text(&told["profile"]), text(&told["caller"]["role"])),
        ("drill".to_owned(), "auditor".to_owned())
    );
    let written = fs::read_to_string(&file).expect("the scratch file is accessible");
    assert!(
        written.contains(&auditor) && !written.contains(&served.token),
        "{written}"
    );
    assert!(fails(&mut as_user(&["note", &id, "x"])).contains("the role auditor"));
    // After logout there is no default profile.
    assert!(run_ok(&mut as_user(&["logout"])).contains("profile drill is removed"));
    assert!(
        !fs::read_to_string(&file)
            .expect("the scratch file is accessible")
            .contains(&auditor)
    );
    assert!(fails(&mut as_user(&["logout"])).contains("there is no default profile"));
}

#[test]
fn warns_about_a_changed_signing_key() {
    let (served, other) = (ServedStore::new("owner"), ServedStore::new("owner"));
    let id = served.declare();
    let attach = |arguments: &[&str]| all_output(&run(&mut served.remote(arguments)));
    assert!(attach(&["attach", &id, "/etc/hostname"]).contains("the server signs with key"));
    assert!(
        !attach(&["attach", &id, "/etc/hostname"]).contains("signs with"),
        "a known key is not announced again"
    );
    // Another collector takes over the address.
    let key = served.home.path().join(".local/state/exhibit/keys");
    let known = fs::read_dir(&key)
        .expect("the client stores keys")
        .next()
        .expect("a server")
        .expect("readable")
        .path();
    let renamed = known.with_file_name(other.serve.address.replace(':', "_"));
    fs::rename(&known, &renamed).expect("the scratch folder is writable");
    let mut command = exhibit(served.home.path());
    command
        .args([
            "--server",
            &other.url(),
            "attach",
            &other.declare(),
            "/etc/hostname",
        ])
        .env("EXHIBIT_TOKEN", &other.token);
    let said = all_output(&run(&mut command));
    assert!(
        said.contains("and signed with another key before: ask its operator whether that is right"),
        "{said}"
    );
    assert_eq!(
        fs::read_dir(&renamed)
            .expect("the scratch folder is writable")
            .count(),
        2
    );
}

#[test]
fn creates_lists_and_revokes_tokens() {
    let served = ServedStore::new("admin");
    let made = json(&mut served.remote(&[
        "token",
        "create",
        "--role",
        "auditor",
        "--label",
        "laptop",
        "--expires",
        "1h",
        "--json",
    ]));
    let (id, token) = (text(&made["id"]), text(&made["token"]));
    assert_eq!(
        (text(&made["role"]), text(&made["label"])),
        ("auditor".to_owned(), "laptop".to_owned())
    );
    run_ok(served.remote(&["status"]).env("EXHIBIT_TOKEN", &token));
    let revoked = json(&mut served.remote(&["token", "revoke", &id, "--json"]));
    let listed = lines(&mut served.remote(&["token", "list", "--json"]));
    let row = listed
        .iter()
        .find(|row| row["id"] == id.as_str())
        .expect("it is listed");
    assert_eq!(row["revokedAt"], revoked["revokedAt"]);
    assert!(
        fails(served.remote(&["status"]).env("EXHIBIT_TOKEN", &token))
            .contains("rejected the token")
    );
    assert!(
        fails(&mut served.remote(&["token", "revoke", "0000000000000000"]))
            .contains("there is no token 0000000000000000")
    );
    let said =
        fails(&mut served.remote(&["token", "create", "--role", "owner", "--incident", "INC-9"]));
    assert!(said.contains("there is no incident INC-9"), "{said}");
}
