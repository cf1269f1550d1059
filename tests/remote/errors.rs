//! Errors of servers: lost answers, forbidden actions, unreachable and foreign servers, pauses.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use serde_json::json;
use tests::proxy::{Fault, Proxy};
use tests::{run, run_ok};

use crate::{ServedStore, all_output, exhibit, fails, lines, text};

#[test]
fn lost_response_does_not_declare_twice() {
    let served = ServedStore::new("owner");
    let proxy = Proxy::before(served.serve.address.parse().expect("an address"));
    proxy.plan(&[Fault::AnswerLost("POST /v1/incidents ")]);
    let url = format!("http://{}", proxy.address());
    run_ok(&mut served.at(&url, &["declare", "--title", "Once", "--sev", "3"]));
    assert_eq!(proxy.left(), []);
    assert_eq!(lines(&mut served.remote(&["status", "--json"])).len(), 1);
    // A note has no idempotency key, so the client does not repeat it and says so.
    let id = text(&lines(&mut served.remote(&["status", "--json"]))[0]["incident"]);
    proxy.plan(&[Fault::AnswerLost("PATCH /v1/incidents/")]);
    let said = fails(&mut served.at(&url, &["note", &id, "once"]));
    assert!(
        said.contains("check whether the request took effect before you repeat it"),
        "{said}"
    );
    assert_eq!(
        lines(&mut served.remote(&["timeline", &id, "--kind", "note", "--json"])).len(),
        1
    );
}

#[test]
fn forbidden_commands_name_the_role() {
    let served = ServedStore::new("owner");
    let id = served.declare();
    for (role, arguments, said) in [
        (
            "auditor",
            &["note", &id, "x"][..],
            "refused the request: a token with the role auditor may not do this",
        ),
        (
            "auditor",
            &["capture", "--incident", &id],
            "refused the request: a token with the role auditor may not do this",
        ),
        (
            "automation",
            &["status"],
            "refused the request: a token with the role automation may not do this",
        ),
        ("automation", &["status", &id], "there is no incident"),
        (
            "owner",
            &["change", &id, "--sev", "1", "--reason", "x"],
            "the role owner may not change severity and status",
        ),
        (
            "owner",
            &["close", &id],
            "refused the request: a token with the role owner may not do this",
        ),
        (
            "commander",
            &["token", "list"],
            "refused the request: a token with the role commander may not do this",
        ),
    ] {
        let text = fails(&mut served.remote_as(role, arguments));
        assert!(text.contains(said), "{role} {arguments:?}: {text}");
    }
    let bad = format!("exh_{}_{}", "0".repeat(16), "A".repeat(43));
    for (token, said) in [
        (
            bad.as_str(),
            "rejected the token: it is wrong, expired or revoked; store another one with `exhibit login http://",
        ),
        ("two words", "the token contains a blank"),
        ("", "there is no token for http://"),
    ] {
        let text = fails(served.remote(&["status"]).env("EXHIBIT_TOKEN", token));
        assert!(text.contains(said), "{token:?}: {text}");
        assert!(
            token.is_empty() || !text.contains(token),
            "the output shows the token: {text}"
        );
    }
}

#[test]
fn local_only_arguments_are_rejected_with_a_remedy() {
    let served = ServedStore::new("owner");
    let store = served.store.path().to_str().expect("UTF-8");
    for (arguments, said) in [
        (
            &["settle"][..],
            "runs due captures by itself: `exhibit status INCIDENT` shows when",
        ),
        (
            &["serve"],
            "`exhibit serve` serves a store of this machine: remove --server and --profile",
        ),
        (
            &["status", "--by", "somebody"],
            "--by is for a store of this machine",
        ),
        (
            &["status", "--store", store],
            "--store and --server are given at once",
        ),
        (
            &["status", "--profile", "production"],
            "--server and --profile are given at once",
        ),
        (
            &["login", "http://127.0.0.1:1"],
            "remove --store and --server",
        ),
    ] {
        let text = fails(&mut served.remote(arguments));
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
    let both_set = run(exhibit(served.home.path())
        .arg("status")
        .env("EXHIBIT_STORE", store)
        .env("EXHIBIT_SERVER", served.url()));
    assert!(
        all_output(&both_set).contains("EXHIBIT_STORE and EXHIBIT_SERVER are given at once"),
        "{}",
        all_output(&both_set)
    );
    // Options take precedence over environment variables.
    run_ok(
        served
            .local(&["status"])
            .env("EXHIBIT_SERVER", "http://127.0.0.1:1"),
    );
    run_ok(served.remote(&["status"]).env("EXHIBIT_STORE", "/nowhere"));
}

#[test]
fn unreachable_and_foreign_servers_are_distinguished() {
    let served = ServedStore::new("owner");
    let nobody = TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr()
        .expect("the socket is bound"); // closed again at once
    let said = fails(&mut served.at(&format!("http://{nobody}"), &["status"]));
    assert!(
        said.contains(&format!(
            "cannot reach http://{nobody}: is `exhibit serve` running there"
        )),
        "{said}"
    );
    let said = fails(&mut served.at("http://exhibit.example.com", &["status"]));
    assert!(
        said.contains("exhibit.example.com must be reached over https://"),
        "{said}"
    );
    let said = fails(&mut served.at("exhibit.example.com", &["status"]));
    assert!(
        said.contains("is not the URL of a server, such as https://"),
        "{said}"
    );

    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a free port");
    elsewhere.set_nonblocking(true).expect("a socket");
    let to = format!(
        "http://{}/v1/incidents",
        elsewhere.local_addr().expect("the socket is bound")
    );
    let redirect = respond_always(format!(
        "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"
    ));
    let said = fails(&mut served.at(&redirect, &["status"]));
    assert!(
        said.contains(&format!(
            "redirects to {to}, and a token is never sent there"
        )),
        "{said}"
    );
    assert!(
        elsewhere.accept().is_err(),
        "the client followed the redirect"
    );

    let page = respond_always("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned());
    let said = fails(&mut served.at(&page, &["status"]));
    assert!(said.contains("is it an `exhibit serve`"), "{said}");
    let hostile = json!({"incidents": [], "next": "\u{1b}[2J"}).to_string();
    let hostile = respond_always(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{hostile}",
        hostile.len()
    ));
    let said = fails(&mut served.at(&hostile, &["status"]));
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

/// Starts a server that always sends the same response, and returns its URL.
fn respond_always(answer: String) -> String {
    respond_in_turn(vec![answer])
}

/// Starts a server that sends these responses in turn, and then repeats the last one. Returns its
/// URL.
fn respond_in_turn(answers: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!(
        "http://{}",
        listener.local_addr().expect("the socket is bound")
    );
    thread::spawn(move || {
        let turns = answers
            .iter()
            .chain(std::iter::repeat(answers.last().expect("a response")));
        for (mut stream, answer) in listener.incoming().flatten().zip(turns) {
            let _ = stream.read(&mut [0; 8192]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn honours_retry_after_but_never_repeats_a_note() {
    let served = ServedStore::new("owner");
    let answer = |status: &str, headers: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let away = answer(
        "503 Service Unavailable",
        "retry-after: 2\r\n",
        r#"{"code": "unavailable", "detail": "the database is away"}"#,
    );
    let incidents = answer("200 OK", "", r#"{"incidents": []}"#);
    let begun = std::time::Instant::now();
    let url = respond_in_turn(vec![away.clone(), incidents]);
    assert_eq!(
        run_ok(&mut served.at(&url, &["status"])),
        "no incident has been declared\n"
    );
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    // A request without an idempotency key is not repeated.
    let incident = answer("200 OK", "", r#"{"underWay": false}"#);
    let url = respond_in_turn(vec![incident.clone(), away, incident]);
    let said = fails(&mut served.at(&url, &["note", "INC-1", "x"]));
    assert!(
        said.contains("refused the request: the database is away"),
        "{said}"
    );
}
