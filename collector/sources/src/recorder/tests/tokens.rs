//! Credentials that are fetched over the recorder, by whatever client, reach no record.

use http::StatusCode;

use super::*;

const TOKEN: &str = "ghs_16C7e42F292c6912E7710c838347Ae178B4a";

/// Answers a request for a token, and quotes the token to all others.
fn serve_tokens() -> SocketAddr {
    serve(|_, request| {
        let line = request.lines().next().unwrap_or_default();
        let body = if line.starts_with("POST") {
            format!(
                r#"{{"token":"{TOKEN}","expires_at":"2099-01-01T00:00:00Z","permissions":{{"administration":"read"}}}}"#
            )
        } else {
            format!(r#"{{"quoted":"{TOKEN}","permission":"administration"}}"#)
        };
        http("200 OK", "", &body)
    })
}

async fn post(recorder: &Recorder, url: String, body: &'static str) -> Response<Bytes> {
    let request = Request::post(url).body(Bytes::from_static(body.as_bytes()));
    recorder
        .call(request.expect("a request"))
        .await
        .expect("an answer")
}

#[tokio::test]
async fn token_fetched_by_client_library_is_not_recorded() {
    let server = serve_tokens();
    let recorder = recorder();
    let octocrab = octocrab::OctocrabBuilder::new_empty()
        .with_service(recorder.service())
        .with_layer(&octocrab::service::middleware::base_uri::BaseUriLayer::new(
            format!("http://{server}").parse().expect("a URL"),
        ))
        .with_auth(octocrab::AuthState::None)
        .build()
        .expect("cannot fail");
    let answer: serde_json::Value = octocrab
        .post("/app/installations/1/access_tokens", None::<&()>)
        .await
        .expect("a token");
    assert_eq!(answer["token"], TOKEN, "the client gets it");
    get(&recorder, server).await.expect("an answer");
    let text = recorded_text(&recorder);
    assert!(!text.contains(TOKEN), "{text}");
    assert!(
        text.contains("Exhibit-Removed: bodies of responses with credentials=1\r\n")
            && text.contains("WARC-Truncated: unspecified\r\n"),
        "{text}"
    );
    let masked = format!(
        r#"{{"quoted":"{}","permission":"administration"}}"#,
        "*".repeat(40)
    );
    assert!(text.contains(&masked), "only the token is masked: {text}");
}

#[tokio::test]
async fn body_of_unlikely_path_is_withheld_for_its_member() {
    let server = serve(|_, _| http("200 OK", "", r#"{"scope":"a","id_token":"eyJhbGciOi.x.y"}"#));
    let recorder = recorder();
    post(&recorder, format!("http://{server}/sso/exchange"), "a=b").await;
    let text = recorded_text(&recorder);
    assert!(!text.contains("eyJhbGciOi"), "{text}");
    assert!(text.contains("a=b"), "the request is no credential");
}

#[tokio::test]
async fn request_with_client_secret_is_recorded_without_body() {
    let server = serve(|_, request| {
        let is_sent = request.contains("client_secret=s%2Fcret-of-ours");
        http(
            "400 Bad Request",
            "",
            if is_sent {
                "s/cret-of-ours is wrong"
            } else {
                ""
            },
        )
    });
    let recorder = recorder();
    let body = "grant_type=client_credentials&client_secret=s%2Fcret-of-ours";
    let response = post(&recorder, format!("http://{server}/oauth/check"), body).await;
    assert_eq!(response.body(), "s/cret-of-ours is wrong");
    let text = recorded_text(&recorder);
    assert!(!text.contains("cret-of-ours"), "{text}");
    assert!(
        text.contains("bodies of requests with credentials=1"),
        "{text}"
    );
    assert!(text.contains("************** is wrong"), "{text}");
}

#[tokio::test]
async fn fetch_token_withholds_both_bodies_and_leases_the_token() {
    let server = serve_tokens();
    let recorder = recorder();
    let request =
        Request::post(format!("http://{server}/unusual")).body(Bytes::from_static(b"give me one"));
    let response = recorder
        .fetch_token(request.expect("a request"))
        .await
        .expect("a token");
    assert!(String::from_utf8_lossy(response.body()).contains(TOKEN));
    get(&recorder, server).await.expect("an answer");
    let text = recorded_text(&recorder);
    assert!(
        !text.contains(TOKEN) && !text.contains("give me one"),
        "{text}"
    );
    assert!(text.contains(r#""permission":"administration""#), "{text}");
}

#[tokio::test]
async fn nothing_is_recorded_without_recording_but_secrets_are_learned() {
    let server = serve_tokens();
    let recorder = recorder();
    let silent = recorder.without_recording();
    post(&silent, format!("http://{server}/token"), "").await;
    assert!(silent.take_buffered().is_empty() && recorder.take_buffered().is_empty());
    get(&recorder, server).await.expect("an answer");
    assert!(!recorded_text(&recorder).contains(TOKEN));
}

/// Answers with redirects to `/signed` of `host`, and there with the header that it received.
fn serve_redirects(host: &'static str) -> SocketAddr {
    let address = Arc::new(Mutex::new(None::<SocketAddr>));
    let server = serve({
        let address = Arc::clone(&address);
        move |_, request| {
            let port = address
                .lock()
                .expect("no panic")
                .expect("known by now")
                .port();
            if request.starts_with("GET /signed?") {
                return http("302 Found", "location: /again\r\n", request);
            }
            let url = format!("http://{host}:{port}/signed?se=1&sig=a1b2c3%2Fd4e5");
            let body = format!("<a href=\"{url}\">moved</a>");
            http("302 Found", &format!("location: {url}\r\n"), &body)
        }
    });
    *address.lock().expect("no panic") = Some(server);
    server
}

async fn get_with_credentials(recorder: &Recorder, server: SocketAddr) -> Response<Bytes> {
    let request = Request::get(format!("http://{server}/logs"))
        .header("authorization", "Bearer secret-token-of-ours")
        .header("private-token", "secret-token-of-ours");
    let request = request.body(Bytes::new()).expect("a request");
    recorder.call(request).await.expect("an answer")
}

#[tokio::test]
async fn redirect_is_followed_once_without_credentials() {
    let server = serve_redirects("localhost");
    let recorder = recorder();
    let response = get_with_credentials(&recorder, server).await;
    let response = recorder
        .follow(response, &["localhost"])
        .await
        .expect("an answer");
    assert_eq!(response.status(), StatusCode::FOUND, "not followed again");
    let seen_by_target = String::from_utf8_lossy(response.body()).into_owned();
    assert!(seen_by_target.starts_with("GET /signed?se=1&sig=a1b2c3%2Fd4e5 "));
    assert!(!seen_by_target.contains("secret-token"), "{seen_by_target}");
    let text = recorded_text(&recorder);
    assert!(!text.contains("a1b2c3"), "{text}");
    assert!(text.contains("/signed?se=1&sig=removed\r\n"), "{text}");
    assert!(text.contains("moved</a>"), "the body is recorded, masked");
}

#[tokio::test]
async fn redirect_to_other_host_is_an_answer() {
    let server = serve_redirects("localhost");
    let recorder = recorder();
    for hosts in [&["example.com"][..], &["host"], &[]] {
        let response = get_with_credentials(&recorder, server).await;
        let response = recorder.follow(response, hosts).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::FOUND);
        assert!(response.body().ends_with(b"moved</a>"), "{hosts:?}");
    }
    assert_eq!(kinds(&recorded(&recorder)).len(), 6, "three exchanges");
}
