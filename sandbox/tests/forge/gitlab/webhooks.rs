//! Webhooks: doubles, tests, the delivery log, suspension and the way back.

use axum::http::StatusCode;
use linkbroker_sandbox::Provider;
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use super::Stage;
use crate::stage::{receiver, until};

async fn delivered(stage: &Stage, hook: &str, count: usize) -> Vec<Value> {
    until("deliveries", async || {
        let log = stage.get(&format!("{hook}/events")).await.expect(200);
        let log = log.as_array().unwrap().clone();
        (log.len() == count).then_some(log)
    })
    .await
}

#[tokio::test]
async fn two_webhooks_with_one_address_are_two_webhooks() {
    let stage = Stage::new().await;
    let hooks = stage.project("/hooks");
    let hook = json!({"url": "http://127.0.0.1:1/hooks/gitlab", "push_events": true,
        "merge_requests_events": true, "enable_ssl_verification": true});
    let first = stage.post(&hooks, hook.clone()).await.expect(201);
    let second = stage.post(&hooks, hook).await.expect(201);
    assert_ne!(first["id"], second["id"]);
    assert_eq!(first["alert_status"], "executable");
    let page = stage.get(&format!("{hooks}?per_page=1&page=2")).await;
    assert_eq!(page.headers["x-total"], "2");
    assert_eq!(page.expect(200)[0]["id"], second["id"]);

    let one = format!("{hooks}/{}", first["id"]);
    let without_address = Some(json!({"push_events": false}));
    let refused = stage
        .call(Method::PUT, &one, without_address)
        .await
        .expect(400);
    assert_eq!(refused["error"], "url is missing");
    stage.call(Method::DELETE, &one, None).await.expect(204);
    assert_eq!(
        stage
            .sandbox
            .counts()
            .at(Provider::Gitlab, "webhooks")
            .alive,
        1
    );
}

#[tokio::test]
async fn a_test_sends_the_latest_push_and_the_log_knows_it() {
    let stage = Stage::new().await;
    let answer = Arc::new(Mutex::new(StatusCode::NO_CONTENT));
    let url = receiver(answer.clone()).await;
    let hook = stage
        .post(&stage.project("/hooks"), json!({"url": url}))
        .await
        .expect(201);
    let hook = stage.project(&format!("/hooks/{}", hook["id"]));

    let test = format!("{hook}/test/push_events");
    let tested = stage.call(Method::POST, &test, None).await.expect(201);
    assert_eq!(tested["message"], "201 Created");
    let log = delivered(&stage, &hook, 1).await;
    assert_eq!(log[0]["trigger"], "push_hooks");
    assert_eq!(log[0]["response_status"], "204");
    assert_eq!(log[0]["request_data"]["project_id"], stage.id);
    assert_eq!(log[0]["request_headers"]["X-Gitlab-Event"], "Push Hook");
    let again = format!("{hook}/events/{}/resend", log[0]["id"]);
    stage.call(Method::POST, &again, None).await.expect(201);
    delivered(&stage, &hook, 2).await;

    *answer.lock() = StatusCode::UNPROCESSABLE_ENTITY;
    stage.call(Method::POST, &test, None).await.expect(422);
    stage.switch(json!({"hook_events": false}));
    stage.get(&format!("{hook}/events")).await.expect(404);
    stage.assert_lawful();
}

#[tokio::test]
async fn a_webhook_that_keeps_failing_is_suspended_until_time_or_a_good_test() {
    let stage = Stage::new().await;
    let answer = Arc::new(Mutex::new(StatusCode::INTERNAL_SERVER_ERROR));
    let url = receiver(answer.clone()).await;
    let hook = stage
        .post(&stage.project("/hooks"), json!({"url": url}))
        .await
        .expect(201);
    let hook = stage.project(&format!("/hooks/{}", hook["id"]));
    for count in 1..=4 {
        stage.push(&format!("text {count}")).await;
        delivered(&stage, &hook, count).await;
    }
    let suspended = stage.get(&hook).await.expect(200);
    assert_eq!(suspended["alert_status"], "temporarily_disabled");
    assert!(suspended["disabled_until"].is_string());
    stage.push("unheard").await;
    delivered(&stage, &hook, 4).await;

    stage.sandbox.world().clock.advance(Duration::from_secs(61));
    stage.push("heard again").await;
    delivered(&stage, &hook, 5).await;
    *answer.lock() = StatusCode::NO_CONTENT;
    let test = format!("{hook}/test/push_events");
    stage.call(Method::POST, &test, None).await.expect(201);
    assert_eq!(
        stage.get(&hook).await.expect(200)["alert_status"],
        "executable"
    );
}

#[tokio::test]
async fn a_branch_filter_hides_pushes() {
    let stage = Stage::new().await;
    let url = receiver(Arc::new(Mutex::new(StatusCode::NO_CONTENT))).await;
    let hooks = stage.project("/hooks");
    let other = json!({"url": url, "push_events_branch_filter": "release/*"});
    let hidden = stage.post(&hooks, other).await.expect(201);
    let same = json!({"url": url, "push_events_branch_filter": "ma*"});
    let shown = stage.post(&hooks, same).await.expect(201);
    stage.push("second text").await;
    delivered(&stage, &format!("{hooks}/{}", shown["id"]), 1).await;
    delivered(&stage, &format!("{hooks}/{}", hidden["id"]), 0).await;
}

#[tokio::test]
async fn only_so_many_tests_a_minute() {
    let stage = Stage::new().await;
    let url = receiver(Arc::new(Mutex::new(StatusCode::NO_CONTENT))).await;
    let hook = stage
        .post(&stage.project("/hooks"), json!({"url": url}))
        .await
        .expect(201);
    let test = stage.project(&format!("/hooks/{}/test/push_events", hook["id"]));
    for _ in 0..5 {
        stage.call(Method::POST, &test, None).await.expect(201);
    }
    stage.call(Method::POST, &test, None).await.expect(429);
}
