//! Bodies that are recorded in parts.

use std::convert::Infallible;

use evidence_format::warc::TruncationReason;

use super::*;

/// The body of each record of a response, in order, with its header fields.
fn parts(warc: &[u8]) -> Vec<(warc::WarcFields, Vec<u8>)> {
    warc::records(warc)
        .map(|record| record.expect("WARC"))
        .filter(|record| record.fields.get("WARC-Type") != Some("request"))
        .map(|record| {
            let is_response = record.fields.get("WARC-Type") == Some("response");
            let head_end = memchr::memmem::find(record.block, b"\r\n\r\n");
            let body_at = if is_response {
                head_end.expect("a head") + 4
            } else {
                0
            };
            (record.fields.clone(), record.block[body_at..].to_vec())
        })
        .collect()
}

/// Streams `/` of `server`; returns what was persisted after each part, the last one by the caller.
async fn stream(
    recorder: &Recorder,
    server: SocketAddr,
) -> (
    Result<StreamedResponse, StreamError<Infallible>>,
    Vec<Vec<u8>>,
) {
    let request = Request::get(format!("http://{server}/")).body(Bytes::new());
    let persisted = Mutex::new(Vec::new());
    let result = recorder
        .stream(request.expect("a request"), async |_: RecordedPart| {
            persisted
                .lock()
                .expect("no panic")
                .push(recorder.take_buffered());
            Ok(())
        })
        .await;
    let mut persisted = persisted.into_inner().expect("no panic");
    persisted.extend(Some(recorder.take_buffered()).filter(|last| !last.is_empty()));
    (result, persisted)
}

#[tokio::test]
async fn long_body_becomes_continued_records_of_whole_lines() {
    let body: String = (0..50_000)
        .map(|n| format!("line {n} {}\n", "x".repeat(n % 120)))
        .collect();
    let server = serve({
        let body = body.clone();
        move |_, _| http("200 OK", "content-type: text/plain\r\n", &body)
    });
    let recorder = recorder();
    let (result, persisted) = stream(&recorder, server).await;
    let streamed = result.expect("streamed");
    assert_eq!(
        (streamed.body_bytes, streamed.truncated),
        (body.len() as u64, None)
    );
    assert!(persisted.len() >= 3, "{} parts", persisted.len());
    assert!(
        persisted.iter().all(|warc| warc.len() < 3 << 20),
        "bounded memory"
    );
    let parts = parts(&persisted.concat());
    let mut whole: Vec<u8> = Vec::new();
    for (index, (fields, bytes)) in parts.iter().enumerate() {
        let is_last = index == parts.len() - 1;
        assert_eq!(fields.get("Exhibit-Continued").is_some(), !is_last);
        assert_eq!(fields.get("Exhibit-Endpoint"), Some("test:get"));
        assert_eq!(
            fields.get("WARC-Concurrent-To"),
            parts[0].0.get("WARC-Concurrent-To")
        );
        if index > 0 {
            assert_eq!(
                fields.get("Exhibit-Offset"),
                Some(whole.len().to_string().as_str())
            );
            assert_eq!(fields.get("Content-Type"), Some("text/plain"));
        }
        assert!(bytes.ends_with(b"\n"), "cut between lines");
        whole.extend(bytes);
    }
    assert_eq!(whole, body.as_bytes());
}

#[tokio::test]
async fn secret_across_two_parts_is_masked() {
    // almost wherever a part is cut, it is cut inside a secret; no line end suggests a better place
    let secret = "secret-of-ours-of-some-length";
    let count = 150_000;
    let body = format!("{secret}-").repeat(count);
    let server = serve(move |_, _| http("200 OK", "", &body));
    let recorder = recorder();
    recorder.secrets().add(secret);
    let (_, persisted) = stream(&recorder, server).await;
    assert!(persisted.len() > 3, "{} parts", persisted.len());
    let warc = persisted.concat();
    let whole: Vec<u8> = parts(&warc).into_iter().flat_map(|part| part.1).collect();
    let masked = format!("{}-", "*".repeat(secret.len())).repeat(count);
    assert!(whole == masked.as_bytes(), "all of it is masked");
    assert_eq!(recorded_removals(&warc), count as u64, "each counted once");
}

fn recorded_removals(warc: &[u8]) -> u64 {
    warc::records(warc)
        .filter_map(|record| {
            record
                .expect("WARC")
                .fields
                .get("Exhibit-Removed")
                .map(str::to_owned)
        })
        .flat_map(|field| {
            render::parse_removed(&field)
                .map(|(_, count)| count)
                .collect::<Vec<_>>()
        })
        .sum()
}

#[tokio::test]
async fn short_body_is_recorded_as_by_call() {
    let server = serve(|_, _| http("200 OK", "", "short"));
    let (streaming, calling) = (recorder(), recorder());
    let (result, persisted) = stream(&streaming, server).await;
    assert_eq!(result.expect("streamed").body_bytes, 5);
    get(&calling, server).await.expect("an answer");
    let undated = |warc: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(warc).into_owned();
        text.lines()
            .filter(|line| !line.starts_with("WARC-Date"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(
        undated(&persisted.concat()),
        undated(&calling.take_buffered())
    );
}

#[tokio::test]
async fn body_is_cut_at_limit_with_gap() {
    let server = serve(|_, _| http("200 OK", "", &"0123456789\n".repeat(300_000)));
    let recorder = with_policy(&recorder(), |policy| policy.body_bytes_max = 2_000_000);
    let (result, persisted) = stream(&recorder, server).await;
    let streamed = result.expect("streamed");
    assert_eq!(streamed.body_bytes, 2_000_000);
    assert_eq!(streamed.body_bytes_declared, Some(3_300_000));
    assert_eq!(streamed.truncated, Some(TruncationReason::Length));
    let parts = parts(&persisted.concat());
    let (last, _) = parts.last().expect("a part");
    for (field, value) in [
        ("WARC-Truncated", "length"),
        ("Exhibit-Gap", "too_large"),
        ("Exhibit-Size", "3300000"),
    ] {
        assert_eq!(last.get(field), Some(value));
    }
    assert_eq!(
        parts.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(),
        2_000_000
    );
}

/// Accepts connections, and hands each, after its request, to `answer`.
fn serve_stream(answer: impl Fn(usize, &mut std::net::TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("a connection");
            read_request(&mut stream);
            answer(number, &mut stream);
        }
    });
    address
}

const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn quiet_watch_goes_on_until_the_server_ends_it() {
    let server = serve_stream(|_, stream| {
        let _ = stream.write_all(ENDLESS);
        let _ = stream.write_all(b"4\r\none\n\r\n");
        std::thread::sleep(Duration::from_millis(900)); // three times the usual idle timeout
        let _ = stream.write_all(b"4\r\ntwo\n\r\n0\r\n\r\n");
    });
    let recorder = with_policy(&recorder(), |policy| policy.idle_timeout = None);
    let (result, persisted) = stream(&recorder, server).await;
    assert_eq!(result.expect("streamed").truncated, None);
    let whole: Vec<u8> = parts(&persisted.concat())
        .into_iter()
        .flat_map(|part| part.1)
        .collect();
    assert_eq!(whole, b"one\ntwo\n");
}

#[tokio::test]
async fn part_of_slow_body_is_recorded_before_its_end() {
    let server = serve_stream(|_, stream| {
        let _ = stream.write_all(ENDLESS);
        let _ = stream.write_all(b"8\r\none\nhalf\r\n");
        std::thread::sleep(Duration::from_millis(5500)); // more than a part may be delayed
        let _ = stream.write_all(b"1\r\n\n\r\n0\r\n\r\n");
    });
    let recorder = with_policy(&recorder(), |policy| policy.idle_timeout = None);
    let (result, persisted) = stream(&recorder, server).await;
    assert_eq!(result.expect("streamed").body_bytes, 9);
    let parts = parts(&persisted.concat());
    let bodies: Vec<_> = parts.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    assert_eq!(bodies, [&b"one\n"[..], b"half\n"]);
}

#[tokio::test]
async fn stopped_watch_keeps_what_came() {
    let server = serve_stream(|_, stream| {
        let _ = stream.write_all(ENDLESS);
        let _ = stream.write_all(b"8\r\none\nhalf\r\n");
        std::thread::sleep(Duration::from_secs(60));
    });
    let recorder = with_policy(&recorder(), |policy| policy.idle_timeout = None);
    let stop = recorder.stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.cancel();
    });
    let (result, persisted) = stream(&recorder, server).await;
    assert!(matches!(
        result,
        Err(StreamError::Call(CallError::Stopped { .. }))
    ));
    let parts = parts(&persisted.concat());
    assert_eq!(parts[0].1, b"one\nhalf");
    assert_eq!(parts[0].0.get("WARC-Truncated"), Some("time"));
}

#[tokio::test]
async fn connection_that_breaks_early_is_repeated_and_late_is_a_gap() {
    let long = "a line\n".repeat(200_000);
    let server = serve_stream(move |number, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n");
        let body = if number == 0 { "early" } else { long.as_str() };
        let _ = stream.write_all(body.as_bytes());
    });
    let recorder = recorder();
    let (result, persisted) = stream(&recorder, server).await;
    let streamed = result.expect("as far as it came");
    assert_eq!(streamed.truncated, Some(TruncationReason::Disconnect));
    assert_eq!(streamed.body_bytes, 1_400_000);
    let parts = parts(&persisted.concat());
    let outcomes: Vec<_> = parts
        .iter()
        .map(|(fields, _)| fields.get("Exhibit-Outcome"))
        .collect();
    assert_eq!(outcomes[..2], [Some("transient-failure"), Some("answered")]);
    let (last, _) = parts.last().expect("a part");
    assert_eq!(last.get("Exhibit-Gap"), Some("malformed"));
}

#[tokio::test]
async fn refused_stream_is_an_answer_with_its_body() {
    let server = serve(|_, _| http("410 Gone", "", "too old"));
    let recorder = recorder();
    let (result, persisted) = stream(&recorder, server).await;
    let response = result.expect("answered").response;
    assert_eq!(
        (response.status().as_u16(), response.body().as_ref()),
        (410, &b"too old"[..])
    );
    assert_eq!(persisted.len(), 1, "the caller persists it as any answer");
    let text = String::from_utf8_lossy(&persisted[0]);
    assert!(text.contains("too old"), "{text}");
}

#[tokio::test]
async fn streamed_token_is_withheld() {
    let server = serve(|_, _| http("200 OK", "", r#"{"access_token":"eyJhbGciOi.x.y"}"#));
    let recorder = recorder();
    let (result, persisted) = stream(&recorder, server).await;
    let streamed = result.expect("answered");
    assert_eq!(streamed.truncated, Some(TruncationReason::Unspecified));
    assert_eq!(streamed.body_bytes, 0);
    let text = String::from_utf8_lossy(&persisted.concat()).into_owned();
    assert!(
        !text.contains("eyJhbGciOi") && text.contains("Exhibit-Removed"),
        "{text}"
    );
}
