//! Limits that responses state, over the whole recorder.

use std::time::{Instant, SystemTime};

use super::*;

fn limit_headers(clock: SystemTime, remaining: u32, resets_in: u64) -> String {
    let reset = clock
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("later")
        .as_secs()
        + resets_in;
    format!(
        "date: {}\r\nx-rate-limit-limit: 100\r\nx-rate-limit-remaining: {remaining}\r\nx-rate-limit-reset: {reset}\r\n",
        httpdate::fmt_http_date(clock)
    )
}

#[tokio::test]
async fn pause_is_as_long_as_by_the_clock_of_the_provider() {
    for skew in [600, -7200] {
        let server = serve(move |number, _| {
            let now = SystemTime::now();
            let seconds = Duration::from_secs(i64::unsigned_abs(skew));
            let clock = if skew > 0 {
                now + seconds
            } else {
                now - seconds
            };
            http(
                "200 OK",
                &limit_headers(clock, if number == 0 { 0 } else { 90 }, 1),
                "",
            )
        });
        let recorder = recorder();
        let begin = Instant::now();
        for _ in 0..2 {
            get(&recorder, server).await.expect("an answer");
        }
        let seconds = begin.elapsed().as_secs_f64();
        assert!((1.0..6.0).contains(&seconds), "{seconds} s at {skew}");
    }
}

#[tokio::test]
async fn stop_during_stated_pause_counts_as_throttled() {
    let server = serve(|_, _| http("200 OK", &limit_headers(SystemTime::now(), 0, 3000), ""));
    let recorder = recorder();
    get(&recorder, server).await.expect("an answer");
    let stop = recorder.stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stop.cancel();
    });
    let error = get(&recorder, server).await.expect_err("stopped");
    assert!(
        matches!(error, CallError::Stopped { throttled: true }),
        "{error:?}"
    );
}

#[tokio::test]
async fn limit_of_one_resource_does_not_hold_for_another() {
    let server = serve(|_, request| {
        let is_search = request.starts_with("GET /search");
        let (resource, remaining) = if is_search {
            ("search", 0)
        } else {
            ("core", 4000)
        };
        let headers = format!(
            "x-ratelimit-resource: {resource}\r\nx-ratelimit-remaining: {remaining}\r\nx-ratelimit-reset: 3000\r\n"
        );
        http("200 OK", &headers, "")
    });
    let recorder = recorder();
    let search = with_policy(&recorder, |policy| policy.endpoint = "test:search");
    let request = Request::get(format!("http://{server}/search")).body(Bytes::new());
    search
        .call(request.expect("a request"))
        .await
        .expect("an answer");
    let repeated = tokio::time::timeout(Duration::from_millis(300), get(&search, server)).await;
    assert!(repeated.is_err(), "nothing remains for it");
    for _ in 0..2 {
        get(&recorder, server)
            .await
            .expect("an answer of the other");
    }
}

#[tokio::test]
async fn too_large_body_says_how_much_was_kept() {
    let server = serve(|_, _| http("200 OK", "", &"x".repeat(5000)));
    let recorder = with_policy(&recorder(), |policy| policy.body_bytes_max = 1000);
    let error = get(&recorder, server).await.expect_err("too large");
    let CallError::GaveUp { too_large, .. } = error else {
        unreachable!("it was not stopped");
    };
    let expected = TruncatedBody {
        bytes_kept: 1000,
        bytes_declared: Some(5000),
    };
    assert_eq!(too_large, Some(expected));
    let text = recorded_text(&recorder);
    for field in [
        "Exhibit-Gap: too_large",
        "Exhibit-Size: 5000",
        "WARC-Truncated: length",
    ] {
        assert!(text.contains(&format!("{field}\r\n")), "{field}: {text}");
    }
}

#[tokio::test]
async fn service_refuses_body_that_is_too_large() {
    let server = serve(|_, _| http("200 OK", "", &"x".repeat(5000)));
    let recorder = with_policy(&recorder(), |policy| policy.body_bytes_max = 1000);
    let request = Request::get(format!("http://{server}/")).body(String::new());
    let answer = tower::ServiceExt::oneshot(recorder.service(), request.expect("a request")).await;
    let error = answer.expect_err("not cut in silence");
    let error = CallError::find(error.as_ref()).expect("the recorder's error");
    assert!(
        error.to_string().contains("longer than 1000 bytes"),
        "{error}"
    );
}
