//! What happens on the wire: redirects, lost answers, limits, pages, secrets.

use serde::Deserialize;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{
    testing::{Reply, Vendor, instance, token},
    *,
};
use crate::link::failure::FailureCode;

/// A vendor that says no with whatever it was told.
static PLAIN: Dialect = Dialect {
    accept: "application/json",
    headers: &[("x-version", "1")],
    classify: |answer| match answer.status.as_u16() {
        429 => answer.rate_limited(),
        500.. => answer.unavailable(),
        _ => answer.refused(
            FailureCode::RequestRefused,
            String::from_utf8_lossy(&answer.body),
        ),
    },
};

#[derive(Debug, Deserialize)]
struct Thing {
    id: u32,
}

#[tokio::test]
async fn a_write_to_a_moved_object_follows_with_method_and_body() {
    for status in [301, 307, 308] {
        let moved = Reply::new(status, "").header("location", "/api/repositories/7/keys");
        let vendor = Vendor::start(vec![moved, Reply::new(201, json!({"id": 1}))]).await;
        let call = Call::post(["repos", "a", "b", "keys"]).json(&json!({"key": "k"}));
        let answer = vendor.access(&PLAIN).send(call).await.unwrap();
        assert!(answer.redirected);
        assert_eq!(answer.url.path(), "/api/repositories/7/keys");
        let seen = vendor.seen();
        assert_eq!(seen[1].method, "POST");
        assert_eq!(seen[1].json(), json!({"key": "k"}));
        assert_eq!(seen[1].headers["authorization"], "Bearer canary");
        assert_eq!(seen[1].headers["content-type"], "application/json");
        assert_eq!(seen[1].headers["x-version"], "1");
    }
}

#[tokio::test]
async fn a_302_is_followed_for_reads_only() {
    let found = || Reply::new(302, "no").header("location", "/api/other");
    let vendor = Vendor::start(vec![found(), Reply::new(200, "{}")]).await;
    assert!(vendor.access(&PLAIN).send(Call::get(["x"])).await.is_ok());
    assert_eq!(vendor.asked(), ["GET /api/x", "GET /api/other"]);
    let vendor = Vendor::start(vec![found()]).await;
    assert!(
        vendor
            .access(&PLAIN)
            .send(Call::delete(["x"]))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn no_redirect_leaves_the_origin() {
    let stranger = Vendor::start(vec![]).await;
    for location in [
        stranger.url.as_str(),
        "//evil.example/x",
        "ftp://127.0.0.1/x",
    ] {
        let away = Reply::new(307, "away").header("location", location);
        let vendor = Vendor::start(vec![away]).await;
        let error = vendor
            .access(&PLAIN)
            .send(Call::get(["x"]))
            .await
            .unwrap_err();
        assert_eq!(error.class, Class::Refused, "{location}");
    }
    assert!(stranger.seen().is_empty());
}

#[tokio::test]
async fn an_empty_write_says_that_it_is_empty() {
    let vendor = Vendor::start(vec![Reply::new(200, ""), Reply::new(200, "")]).await;
    let access = vendor.access(&PLAIN);
    access.send(Call::put(["x"])).await.unwrap();
    access.send(Call::get(["x"])).await.unwrap();
    let seen = vendor.seen();
    assert_eq!(seen[0].headers["content-length"], "0");
    assert!(!seen[1].headers.contains_key("content-length"));
}

#[tokio::test]
async fn redirects_end() {
    let around = || Reply::new(301, "").header("location", "/api/x");
    let vendor = Vendor::start(vec![around(), around(), around(), around()]).await;
    let error = vendor
        .access(&PLAIN)
        .send(Call::get(["x"]))
        .await
        .unwrap_err();
    assert_eq!(error.code, FailureCode::UpstreamUnavailable);
    assert_eq!(vendor.asked().len(), 4);
}

#[tokio::test]
async fn a_limited_credential_rests_without_calls_and_others_go_on() {
    let limited = Reply::new(429, "slow down").header("retry-after", "30");
    let vendor = Vendor::start(vec![limited, Reply::new(200, "{}")]).await;
    let http = Http::new().unwrap();
    let access = |secret| {
        let instance = vendor.instance(UpstreamKind::Netlify);
        Access::new(&http, instance, token(secret), &PLAIN).unwrap()
    };
    let first = access("one").send(Call::get(["x"])).await.unwrap_err();
    let again = access("one").send(Call::post(["x"])).await.unwrap_err();
    assert_eq!(first.class, again.class);
    assert!(matches!(first.class, Class::RateLimited { .. }));
    assert_eq!(again.code, FailureCode::RateLimited);
    assert!(access("two").send(Call::get(["x"])).await.is_ok());
    assert_eq!(vendor.asked().len(), 2);
}

#[tokio::test]
async fn the_last_call_of_a_window_succeeds_and_the_next_waits() {
    let reset = time::OffsetDateTime::now_utc().unix_timestamp() + 60;
    let last = Reply::new(200, "{}")
        .header("x-ratelimit-remaining", "0")
        .header("x-ratelimit-reset", reset);
    let vendor = Vendor::start(vec![last]).await;
    let access = vendor.access(&PLAIN);
    assert!(access.send(Call::get(["x"])).await.is_ok());
    let error = access.send(Call::get(["x"])).await.unwrap_err();
    assert_eq!(error.code, FailureCode::RateLimited);
}

/// As when the process stands still while the connection is made, and another one has its links by then.
#[tokio::test]
async fn a_write_whose_leave_runs_out_before_it_goes_out_is_withheld() {
    let vendor = Vendor::start(Vec::new()).await;
    let access = vendor.access(&PLAIN);
    let asked = std::sync::atomic::AtomicU8::new(0);
    let journal =
        Journal::with_leave(move || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0);
    let call = Call::post(["repos", "a", "b", "keys"]).json(&json!({"key": "k"}));
    let sent = journal.during("step", access.send(call)).await;
    assert_eq!(sent.unwrap_err().class, Class::Transient);
    assert!(journal.is_empty());
    assert_eq!(vendor.asked(), [""; 0]);
}

#[tokio::test]
async fn without_a_connection_nothing_happened() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let instance = instance(UpstreamKind::Github, url.parse().unwrap());
    let access = Access::new(&Http::new().unwrap(), instance, token("t"), &PLAIN).unwrap();
    let error = access.send(Call::post(["x"])).await.unwrap_err();
    assert_eq!(error.class, Class::Transient);
    assert_eq!(error.code, FailureCode::UpstreamUnavailable);
    assert_eq!(error.trace.status, None);
}

/// Takes a request, sends `reply` as it stands, and hangs up.
async fn rude_vendor(reply: &'static [u8]) -> std::sync::Arc<Instance> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(reply).await;
        }
    });
    instance(UpstreamKind::Github, url.parse().unwrap())
}

#[tokio::test]
async fn a_lost_answer_leaves_a_write_uncertain_and_a_read_harmless() {
    for reply in [
        &b""[..],
        b"HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\n{\"id\":",
        b"rubbish\r\n\r\n",
    ] {
        let instance = rude_vendor(reply).await;
        let access = Access::new(&Http::new().unwrap(), instance, token("t"), &PLAIN).unwrap();
        for (call, class) in [
            (Call::post(["x"]), Class::Uncertain),
            (Call::patch(["x"]), Class::Uncertain),
            (Call::delete(["x"]), Class::Uncertain),
            (Call::get(["x"]), Class::Transient),
        ] {
            let error = access.send(call).await.unwrap_err();
            assert_eq!(
                (error.class, error.code),
                (class, FailureCode::UpstreamUnavailable)
            );
        }
    }
}

#[tokio::test]
async fn a_server_error_leaves_a_write_uncertain() {
    let vendor = Vendor::start(vec![Reply::new(502, ""), Reply::new(502, "")]).await;
    let access = vendor.access(&PLAIN);
    let write = access.send(Call::post(["x"])).await.unwrap_err();
    let read = access.send(Call::get(["x"])).await.unwrap_err();
    assert_eq!(
        (write.class, read.class),
        (Class::Uncertain, Class::Transient)
    );
    assert_eq!(read.trace.status, Some(502));
}

#[tokio::test]
async fn too_large_a_body_is_not_read() {
    let vendor = Vendor::start(vec![Reply::new(200, "x".repeat(2 * 1024 * 1024 + 1))]).await;
    let error = vendor
        .access(&PLAIN)
        .send(Call::get(["x"]))
        .await
        .unwrap_err();
    assert!(error.detail.contains("larger"), "{}", error.detail);
}

#[tokio::test]
async fn an_odd_answer_names_the_field_and_never_the_content() {
    for (body, words) in [
        (r#"[{"id": 1}, {"name": "canary"}]"#, "lacks `id` in `[1]`"),
        (r#"[{"id": "canary"}]"#, "something unexpected in `[0].id`"),
        ("<html>canary</html>", "is not JSON"),
        ("", "is not JSON"),
    ] {
        let vendor = Vendor::start(vec![Reply::new(200, body)]).await;
        let answer = vendor.access(&PLAIN).send(Call::get(["x"])).await.unwrap();
        let error = answer.json::<Vec<Thing>>().unwrap_err();
        assert_eq!(error.code, FailureCode::UpstreamContractChanged);
        assert!(error.detail.contains(words), "{}", error.detail);
        assert!(!error.detail.contains("canary"));
    }
}

#[tokio::test]
async fn a_secret_that_the_vendor_repeats_stays_out_of_errors() {
    let body = format!("{} bad token canary", "x".repeat(10));
    let vendor = Vendor::start(vec![Reply::new(400, body).header("x-request-id", "r1")]).await;
    let error = vendor
        .access(&PLAIN)
        .send(Call::get(["x"]))
        .await
        .unwrap_err();
    assert!(
        error.detail.contains("bad token [redacted]"),
        "{}",
        error.detail
    );
    assert_eq!(error.trace.request_id.as_deref(), Some("r1"));
    assert!(!format!("{error:?}").contains("canary"));
}

#[tokio::test]
async fn lists_are_read_to_their_end_within_the_origin() {
    let page = |ids: &[u32]| {
        Reply::new(
            200,
            json!(ids.iter().map(|id| json!({"id": id})).collect::<Vec<_>>()),
        )
    };
    let next = |reply: Reply, target: &str| {
        reply.header(
            "link",
            format!("</api/x?page=1>; rel=\"first\", <{target}>; rel=\"next\""),
        )
    };
    let vendor = Vendor::start(vec![next(page(&[1, 2]), "/api/x?page=2"), page(&[3])]).await;
    let things: Vec<Thing> = vendor.access(&PLAIN).pages(Call::get(["x"])).await.unwrap();
    assert_eq!(
        things.iter().map(|thing| thing.id).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(vendor.asked(), ["GET /api/x", "GET /api/x?page=2"]);

    let vendor = Vendor::start(vec![next(page(&[1]), "https://evil.example/")]).await;
    let error = vendor
        .access(&PLAIN)
        .pages::<Thing>(Call::get(["x"]))
        .await
        .unwrap_err();
    assert_eq!(error.code, FailureCode::UpstreamContractChanged);
}

#[tokio::test]
async fn a_page_is_no_answer_whatever_its_status() {
    let page = || Reply::new(200, "<html>").header("content-type", "text/html; charset=utf-8");
    for call in [Call::get(["x"]), Call::delete(["x"])] {
        let vendor = Vendor::start(vec![page()]).await;
        let error = vendor.access(&PLAIN).send(call).await.unwrap_err();
        assert_eq!(error.code, FailureCode::RequestRefused);
        assert_eq!(error.trace.status, Some(200));
    }
}
