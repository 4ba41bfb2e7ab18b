//! Answers that have their effect and cannot be used, and a door that is out of order.

use std::time::{Duration, Instant};

use linkbroker_sandbox::{Fault, FaultRule, NETLIFY_TOKEN, Twist, Upstream};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::client::World;

async fn disturbed(fault: Value) -> World {
    let world = World::start().await;
    let fault: Fault = serde_json::from_value(fault).expect("a fault");
    let rule = FaultRule::next(Upstream::Netlify, "GET", "/user$", fault);
    world.sandbox.add_fault(rule).expect("a rule");
    world
}

async fn user(world: &World) -> reqwest::Result<Response> {
    let url = format!("{}/user", world.sandbox.netlify_url());
    world.http.get(url).bearer_auth(NETLIFY_TOKEN).send().await
}

#[tokio::test]
async fn half_a_body_looks_complete_and_a_broken_one_does_not() {
    let world = disturbed(json!("half_body")).await;
    let half = user(&world).await.expect("an answer").text().await;
    let half = half.expect("a body");
    let whole = user(&world).await.expect("an answer").text().await;
    let whole = whole.expect("a body");
    assert_eq!(half, whole[..whole.len() / 2]);

    let world = disturbed(json!("broken_body")).await;
    let answer = user(&world).await.expect("a beginning");
    assert!(answer.status().is_success());
    assert!(answer.bytes().await.is_err());
}

#[tokio::test]
async fn a_stale_connection_breaks_at_its_next_use() {
    let world = disturbed(json!("stale_connection")).await;
    let first = user(&world).await.expect("an answer").bytes().await;
    first.expect("a body");
    user(&world).await.expect_err("a broken connection");
    let third = user(&world).await.expect("a new connection");
    assert!(third.status().is_success());
}

#[tokio::test]
async fn an_answer_may_begin_late_and_come_byte_by_byte() {
    let world = disturbed(json!({"late_ms": 150})).await;
    let started = Instant::now();
    user(&world).await.expect("an answer");
    assert!(started.elapsed() >= Duration::from_millis(150));

    let world = disturbed(json!({"drip_ms": 2})).await;
    let mut answer = user(&world).await.expect("an answer");
    let mut pieces = 0;
    while answer.chunk().await.expect("a byte").is_some() {
        pieces += 1;
    }
    assert!(pieces > 50, "{pieces}");
}

#[tokio::test]
async fn a_body_may_be_longer_than_anybody_wants() {
    let world = disturbed(json!({"body_bytes": 3_000_000})).await;
    let body = user(&world).await.expect("an answer").bytes().await;
    assert_eq!(body.expect("a body").len(), 3_000_000);

    let world = disturbed(json!("gzip_bomb")).await;
    let answer = user(&world).await.expect("an answer");
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let packed = answer.bytes().await.expect("a body").len();
    assert!(packed < 4_000_000, "{packed}");
}

#[tokio::test]
async fn json_may_be_another_than_promised() {
    let twist = serde_json::to_value(Twist::NullIds).expect("a word");
    let world = disturbed(json!({"json": twist})).await;
    let user = user(&world).await.expect("an answer").json::<Value>().await;
    let user = user.expect("JSON");
    assert_eq!(user["id"], Value::Null);
    assert!(user["email"].is_string());
}

#[tokio::test]
async fn headers_are_added_and_may_lead_back_to_the_call() {
    let world = disturbed(json!({"more_headers": {"retry-after": "3"}})).await;
    let answer = user(&world).await.expect("an answer");
    assert_eq!(answer.headers()["retry-after"], "3");
    assert!(answer.json::<Value>().await.expect("JSON")["id"].is_string());

    let redirect = json!({"status": 307, "headers": {"location": "http://elsewhere{target}"}});
    let world = disturbed(redirect).await;
    let answer = user(&world).await.expect("an answer");
    assert_eq!(
        answer.headers()["location"],
        "http://elsewhere/netlify/api/v1/user"
    );
}

#[tokio::test]
async fn a_door_out_of_order_is_in_order_again_afterwards() {
    for (fault, outage) in [
        (json!({"refused_ms": 400}), "refused"),
        (json!({"hung_ms": 400}), "hung"),
    ] {
        let world = disturbed(fault).await;
        user(&world).await.expect_err("a reset");
        let url = format!("{}/user", world.sandbox.netlify_url());
        let quick = reqwest::Client::builder().no_proxy();
        let quick = quick.connect_timeout(Duration::from_millis(100)).build();
        let quick = quick.expect("a client");
        let error = quick.get(&url).send().await.expect_err(outage);
        assert!(error.is_connect(), "{outage}: {error:?}");
        assert_eq!(error.is_timeout(), outage == "hung", "{error:?}");
        let back = async || user(&world).await.is_ok();
        world.until("the door to be open again", back).await;
        let reply = world.netlify(Method::GET, "/user", None).await;
        reply.expect(200);
    }
}
