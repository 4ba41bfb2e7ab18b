//! Webhooks: defaults, doubles, changes, pages.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::stage::{Receiver, Stage, answer};

const HOOKS: &str = "/repos/acme/docs/hooks";

fn body(url: &str, events: &[&str]) -> Value {
    json!({"name": "web", "active": true, "events": events, "config": {"url": url, "content_type": "json"}})
}

async fn patch(stage: &Stage, path: &str, body: Value) -> (StatusCode, Value) {
    answer(
        stage
            .call(Method::PATCH, path)
            .json(&body)
            .send()
            .await
            .unwrap(),
    )
    .await
}

#[tokio::test]
async fn a_bare_hook_listens_to_pushes_and_sends_forms() {
    let stage = Stage::new().await;
    let receiver = Receiver::answering(StatusCode::OK).await;
    let (status, hook) = stage
        .post(HOOKS, json!({"config": {"url": receiver.url}}))
        .await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(hook["events"], json!(["push"]));
    assert_eq!(hook["config"]["content_type"], "form");
    assert_eq!(
        hook["last_response"],
        json!({"code": null, "status": "unused", "message": null})
    );
    let (headers, sent) = receiver.event("ping", 1).await;
    assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
    assert!(sent.starts_with("payload=%7B"), "{sent}");
}

#[tokio::test]
async fn doubles_are_refused_only_while_config_and_events_overlap() {
    let stage = Stage::new().await;
    let url = Receiver::answering(StatusCode::OK).await.url;
    assert_eq!(
        stage.post(HOOKS, body(&url, &["push", "delete"])).await.0,
        StatusCode::CREATED
    );
    let (status, double) = stage
        .post(HOOKS, body(&url, &["pull_request", "push"]))
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        double["errors"],
        json!([{"resource": "Hook", "code": "custom", "message": "Hook already exists on this repository"}])
    );
    assert_eq!(
        stage.post(HOOKS, body(&url, &["pull_request"])).await.0,
        StatusCode::CREATED
    );
    // Another content type is another config: GitHub lets this double through.
    assert_eq!(
        stage.post(HOOKS, json!({"config": {"url": url}})).await.0,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn bad_hooks_are_refused_by_field() {
    let stage = Stage::new().await;
    let url = "http://127.0.0.1:9/";
    for (wrong, field) in [
        (json!({"name": "email", "config": {"url": url}}), "name"),
        (json!({"config": {"url": "not a url"}}), "url"),
        (json!({"config": {}}), "url"),
        (
            json!({"config": {"url": url, "content_type": "xml"}}),
            "content_type",
        ),
        (
            json!({"config": {"url": url}, "events": ["pushes"]}),
            "events",
        ),
        (json!({"config": {"url": url}, "events": []}), "events"),
    ] {
        let (status, answer) = stage.post(HOOKS, wrong.clone()).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
        assert_eq!(answer["errors"][0]["field"], field, "{wrong}");
    }
    let garbage = stage
        .call(Method::POST, HOOKS)
        .body("{")
        .send()
        .await
        .unwrap();
    assert_eq!(answer(garbage).await.1["message"], "Problems parsing JSON");
}

#[tokio::test]
async fn a_patch_changes_events_and_replaces_the_whole_config() {
    let stage = Stage::new().await;
    let hook = stage.hook("http://127.0.0.1:9/", &["push"]).await;
    let (_, changed) = patch(
        &stage,
        &hook,
        json!({"add_events": ["delete"], "active": false}),
    )
    .await;
    assert_eq!(
        (&changed["events"], &changed["active"]),
        (&json!(["push", "delete"]), &json!(false))
    );
    let (_, changed) = patch(
        &stage,
        &hook,
        json!({"config": {"url": "http://127.0.0.1:9/x"}}),
    )
    .await;
    assert_eq!(
        changed["config"]["content_type"], "form",
        "resend it, or it is lost"
    );
    let (_, config) = patch(
        &stage,
        &format!("{hook}/config"),
        json!({"content_type": "json"}),
    )
    .await;
    assert_eq!(
        config,
        json!({"url": "http://127.0.0.1:9/x", "content_type": "json", "insecure_ssl": "0"})
    );
    assert_eq!(stage.get(&format!("{hook}/config")).await.1, config);
}

#[tokio::test]
async fn lists_come_in_pages_and_an_event_has_at_most_twenty_hooks() {
    let stage = Stage::new().await;
    for number in 0..20 {
        stage
            .hook(&format!("http://127.0.0.1:9/{number}"), &["push"])
            .await;
    }
    let (status, answer) = stage
        .post(HOOKS, body("http://127.0.0.1:9/20", &["push", "star"]))
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer["errors"].as_array().unwrap().len(), 1);
    assert_eq!(
        answer["errors"][0]["message"],
        "The \"push\" event cannot have more than 20 hooks"
    );

    let mut next = Some(format!("{}{HOOKS}?per_page=8", stage.sandbox.github_url()));
    let mut sizes = Vec::new();
    while let Some(url) = next {
        let page = stage
            .http
            .get(url)
            .bearer_auth(linkbroker_sandbox::GITHUB_TOKEN)
            .send()
            .await
            .unwrap();
        next = page
            .headers()
            .get("link")
            .and_then(|link| next_of(link.to_str().unwrap()));
        sizes.push(page.json::<Vec<Value>>().await.unwrap().len());
    }
    assert_eq!(sizes, [8, 8, 4]);
}

fn next_of(link: &str) -> Option<String> {
    let part = link
        .split(", ")
        .find(|part| part.ends_with("rel=\"next\""))?;
    Some(part.split(['<', '>']).nth(1)?.to_owned())
}
