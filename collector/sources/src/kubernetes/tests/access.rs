//! Kubeconfigs of all kinds, read by kube.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use data_encoding::BASE64;
use http::Request;
use tokio_util::sync::CancellationToken;

use super::super::access::{clusters, open};
use super::super::config::KubernetesConfig;
use super::harness::recorder;
use crate::recorder::TrustedRoots;

/// A folder that is removed with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("exhibit-kubernetes-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("writable");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        let mut file = std::fs::File::create(&path).expect("writable");
        file.write_all(text.as_bytes()).expect("writable");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One cluster, and a context for each user, called as the user is.
fn kubeconfig(cluster: &str, users: &[(&str, &str)]) -> String {
    let contexts: String = users
        .iter()
        .map(|(name, _)| format!("- name: {name}\n  context: {{cluster: c, user: {name}}}\n"))
        .collect();
    let users: String = users
        .iter()
        .map(|(name, user)| format!("- name: {name}\n  user: {{{user}}}\n"))
        .collect();
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster: {{{cluster}}}\n\
         contexts:\n{contexts}users:\n{users}"
    )
}

fn config(path: &Path, contexts: &[&str]) -> KubernetesConfig {
    KubernetesConfig {
        kubeconfig: Some(path.to_owned()),
        contexts: Some(contexts.iter().map(|&name| name.to_owned()).collect()),
        ..KubernetesConfig::default()
    }
}

/// What `context` puts on a request.
async fn signed(path: &Path, context: &str) -> Result<http::HeaderMap, String> {
    let found = clusters(&config(path, &[context])).await;
    let (name, config) = found.expect("a kubeconfig").remove(0);
    let access = open(&name, config.map_err(|error| error.to_string())?).await;
    let access = access.map_err(|error| error.to_string())?;
    let mut request = Request::new(Bytes::new());
    let signed = access
        .signer
        .sign(&mut request, &recorder(CancellationToken::new()))
        .await;
    signed.map_err(|error| error.to_string())?;
    Ok(request.headers().clone())
}

#[tokio::test]
async fn credentials_of_every_kind_sign_requests() {
    let scratch = Scratch::new("kinds");
    let token_file = scratch.write("token", "from-a-file");
    let program = scratch.write(
        "plugin",
        "#!/bin/sh\necho '{\"kind\":\"ExecCredential\",\"apiVersion\":\
         \"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"from-a-program\",\
         \"expirationTimestamp\":\"2099-01-01T00:00:00Z\"}}'\n",
    );
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&program, mode).expect("executable");
    let users = [
        ("token", "token: inline-token".to_owned()),
        ("file", format!("tokenFile: {}", token_file.display())),
        (
            "program",
            format!(
                "exec: {{apiVersion: client.authentication.k8s.io/v1, command: {}, interactiveMode: \
                 Never}}",
                program.display()
            ),
        ),
        ("password", "username: mira, password: pass-word".to_owned()),
        ("nobody", String::new()),
        (
            "other",
            "token: t-o-k-e-n, as: jane, as-groups: [admins]".to_owned(),
        ),
    ];
    let users: Vec<(&str, &str)> = users.iter().map(|(name, user)| (*name, &**user)).collect();
    let path = scratch.write(
        "config",
        &kubeconfig("server: 'https://127.0.0.1:6443'", &users),
    );
    let basic = format!("Basic {}", BASE64.encode(b"mira:pass-word"));
    for (context, expected) in [
        ("token", Some("Bearer inline-token")),
        ("file", Some("Bearer from-a-file")),
        ("program", Some("Bearer from-a-program")),
        ("password", Some(&*basic)),
        ("nobody", None),
        ("other", Some("Bearer t-o-k-e-n")),
    ] {
        let headers = signed(&path, context).await.expect("signed");
        let value = headers.get("authorization").map(|value| value.to_str());
        assert_eq!(value.transpose().expect("ASCII"), expected, "{context}");
    }
    let headers = signed(&path, "other").await.expect("signed");
    assert_eq!(headers["impersonate-user"], "jane");
    assert_eq!(headers["impersonate-group"], "admins");
}

#[tokio::test]
async fn program_that_fails_is_named_without_what_it_printed() {
    let scratch = Scratch::new("fails");
    let program = scratch.write("plugin", "#!/bin/sh\necho secret-output; exit 1\n");
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&program, mode).expect("executable");
    let user = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: {}, interactiveMode: Never}}",
        program.display()
    );
    let path = scratch.write(
        "config",
        &kubeconfig("server: 'https://127.0.0.1:6443'", &[("prod", &user)]),
    );
    let error = signed(&path, "prod").await.expect_err("no token");
    assert_eq!(
        error,
        "cannot get credentials of context prod: the program that gets a token failed"
    );
}

#[tokio::test]
async fn private_authority_client_certificate_and_proxy_become_trust() {
    let scratch = Scratch::new("trust");
    let pem = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    let key = "-----BEGIN PRIVATE KEY-----\nBAUG\n-----END PRIVATE KEY-----\n";
    let key_file = scratch.write("key.pem", key);
    let cluster = format!(
        "server: 'https://10.0.0.1:6443', tls-server-name: kubernetes.default, proxy-url: \
         'http://127.0.0.1:3128', certificate-authority-data: {}",
        BASE64.encode(pem.as_bytes())
    );
    let user = format!(
        "client-certificate-data: {}, client-key: {}",
        BASE64.encode(pem.as_bytes()),
        key_file.display()
    );
    let path = scratch.write("config", &kubeconfig(&cluster, &[("prod", &user)]));
    let found = clusters(&config(&path, &["prod"])).await;
    let (name, config) = found.expect("a kubeconfig").remove(0);
    let access = open(&name, config.expect("a context"))
        .await
        .expect("opens");
    assert!(access.trust.roots == TrustedRoots::Only(pem.into()));
    let identity = access.trust.identity_pem.clone().expect("an identity");
    assert_eq!(
        String::from_utf8(identity).expect("PEM"),
        format!("{pem}\n{key}")
    );
    assert_eq!(
        access.trust.server_name.as_deref(),
        Some("kubernetes.default")
    );
    let proxy = access.trust.proxy.as_deref();
    assert!(proxy.is_some_and(|proxy| proxy.starts_with("http://127.0.0.1:3128")));
}

#[tokio::test]
async fn unverified_server_is_refused_and_other_contexts_stay() {
    let scratch = Scratch::new("unverified");
    let cluster = "server: 'https://127.0.0.1:6443', insecure-skip-tls-verify: true";
    let path = scratch.write("config", &kubeconfig(cluster, &[("lab", "token: x")]));
    let error = signed(&path, "lab").await.expect_err("not verified");
    assert!(error.contains("insecure-skip-tls-verify"), "{error}");

    let found = clusters(&config(&path, &["lab", "gone"]))
        .await
        .expect("a kubeconfig");
    let usable: Vec<(&str, bool)> = found
        .iter()
        .map(|(name, config)| (name.as_str(), config.is_ok()))
        .collect();
    assert_eq!(usable, [("lab", true), ("gone", false)]);
}
