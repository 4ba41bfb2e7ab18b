//! Deliveries: recorded with the receiver's answer, pinged, replayed, redelivered.

use linkbroker_sandbox::git::NewCommit;
use linkbroker_sandbox::github;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::stage::{Receiver, Stage, answer};

async fn commit(stage: &Stage, text: &str) -> Value {
    let new = NewCommit {
        message: text.to_owned(),
        files: [("content/text.txt".to_owned(), text.to_owned())].into(),
        ..NewCommit::default()
    };
    github::commit(stage.sandbox.world(), "acme/docs", new)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_new_hook_is_pinged_and_the_answer_recorded() {
    let stage = Stage::new().await;
    let receiver = Receiver::answering(StatusCode::NO_CONTENT).await;
    let hook = stage.hook(&receiver.url, &["push"]).await;
    let list = stage.deliveries(&hook, 1).await;
    assert_eq!(
        (
            &list[0]["event"],
            &list[0]["status_code"],
            &list[0]["status"]
        ),
        (&json!("ping"), &json!(204), &json!("OK"))
    );
    let (_, full) = stage
        .get(&format!("{hook}/deliveries/{}", list[0]["id"]))
        .await;
    assert_eq!(full["request"]["headers"]["X-GitHub-Event"], "ping");
    assert_eq!(
        full["request"]["payload"]["hook"]["config"]["url"],
        receiver.url
    );
    assert_eq!(
        stage.get(&hook).await.1["last_response"]["status"],
        "active"
    );
}

#[tokio::test]
async fn failures_are_deliveries_too_and_nothing_is_retried() {
    let stage = Stage::new().await;
    let broken = Receiver::answering(StatusCode::UNPROCESSABLE_ENTITY).await;
    let hook = stage.hook(&broken.url, &["push"]).await;
    let list = stage.deliveries(&hook, 1).await;
    assert_eq!(
        (&list[0]["status_code"], &list[0]["status"]),
        (&json!(422), &json!("Invalid HTTP Response: 422"))
    );
    assert_eq!(
        stage.get(&hook).await.1["last_response"]["status"],
        "misconfigured"
    );
    let (_, good) = stage
        .get(&format!("{hook}/deliveries?status=success"))
        .await;
    assert_eq!(good, json!([]));

    let nobody = stage.hook("http://127.0.0.1:9/", &["push"]).await;
    let list = stage.deliveries(&nobody, 1).await;
    assert_eq!(
        (&list[0]["status_code"], &list[0]["status"]),
        (&json!(502), &json!("failed to connect to host"))
    );
}

#[tokio::test]
async fn the_first_commit_is_older_than_any_hook() {
    let stage = Stage::new().await;
    let receiver = Receiver::answering(StatusCode::NO_CONTENT).await;
    let hook = stage.hook(&receiver.url, &["push"]).await;
    commit(&stage, "second").await;
    stage.deliveries(&hook, 2).await;
    assert_eq!(receiver.count("push").await, 1);
}

#[tokio::test]
async fn a_test_replays_the_latest_push_and_a_redelivery_keeps_its_guid() {
    let stage = Stage::new().await;
    let receiver = Receiver::answering(StatusCode::NO_CONTENT).await;
    let hook = stage.hook(&receiver.url, &["push"]).await;
    let made = commit(&stage, "second").await;
    let (first, _) = receiver.event("push", 1).await;

    assert_eq!(
        stage.post(&format!("{hook}/tests"), json!({})).await.0,
        StatusCode::NO_CONTENT
    );
    let (second, body) = receiver.event("push", 2).await;
    let payload: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&payload["before"], &payload["after"]),
        (&made["before"], &made["sha"])
    );
    assert_ne!(first["x-github-delivery"], second["x-github-delivery"]);

    let list = stage.deliveries(&hook, 3).await;
    let again = format!("{hook}/deliveries/{}/attempts", list[0]["id"]);
    assert_eq!(stage.post(&again, json!({})).await.0, StatusCode::ACCEPTED);
    let (third, _) = receiver.event("push", 3).await;
    assert_eq!(second["x-github-delivery"], third["x-github-delivery"]);
    assert_eq!(stage.deliveries(&hook, 4).await[0]["redelivery"], true);
}

#[tokio::test]
async fn a_test_is_silent_when_the_hook_does_not_listen_to_pushes() {
    let stage = Stage::new().await;
    let receiver = Receiver::answering(StatusCode::NO_CONTENT).await;
    let hook = stage.hook(&receiver.url, &["star"]).await;
    assert_eq!(
        stage.post(&format!("{hook}/tests"), json!({})).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        stage.post(&format!("{hook}/pings"), json!({})).await.0,
        StatusCode::NO_CONTENT
    );
    receiver.event("ping", 2).await;
    assert_eq!(receiver.count("push").await, 0);
}

#[tokio::test]
async fn inactive_hooks_hear_nothing_and_secrets_sign() {
    let stage = Stage::new().await;
    let receiver = Receiver::answering(StatusCode::NO_CONTENT).await;
    let asleep = stage.hook(&receiver.url, &["push"]).await;
    let off = stage
        .call(Method::PATCH, &asleep)
        .json(&json!({"active": false}))
        .send()
        .await
        .unwrap();
    assert_eq!(off.status(), StatusCode::OK);
    let signed = json!({"config": {"url": receiver.url, "content_type": "json", "secret": "It's a Secret to Everybody"}});
    let (_, hook) = stage.post("/repos/acme/docs/hooks", signed).await;
    assert_eq!(hook["config"]["secret"], "********");
    commit(&stage, "second").await;
    let (headers, _) = receiver.event("push", 1).await;
    assert!(
        headers["x-hub-signature-256"]
            .to_str()
            .unwrap()
            .starts_with("sha256=")
    );
    let path = format!("/repos/acme/docs/hooks/{}", hook["id"]);
    stage.deliveries(&path, 2).await;
    assert_eq!(receiver.count("push").await, 1);
}

#[tokio::test]
async fn deliveries_are_read_with_a_cursor() {
    let stage = Stage::new().await;
    let receiver = Receiver::answering(StatusCode::NO_CONTENT).await;
    let hook = stage.hook(&receiver.url, &["push"]).await;
    for _ in 0..2 {
        stage.post(&format!("{hook}/pings"), json!({})).await;
    }
    let all = stage.deliveries(&hook, 3).await;
    let page = stage
        .call(Method::GET, &format!("{hook}/deliveries?per_page=2"))
        .send()
        .await
        .unwrap();
    let link = page.headers()["link"].to_str().unwrap().to_owned();
    assert_eq!(answer(page).await.1, json!(all[..2]));
    let next = link.split(['<', '>']).nth(1).unwrap();
    let rest = stage
        .http
        .get(next)
        .bearer_auth(linkbroker_sandbox::GITHUB_TOKEN)
        .send()
        .await
        .unwrap();
    assert!(rest.headers().get("link").is_none());
    assert_eq!(answer(rest).await.1, json!(all[2..]));
}

#[tokio::test]
async fn deliveries_are_forgotten_after_days_and_everything_after_a_reset() {
    let stage = Stage::new().await;
    let receiver = Receiver::answering(StatusCode::NO_CONTENT).await;
    let hook = stage.hook(&receiver.url, &["push"]).await;
    stage.deliveries(&hook, 1).await;
    let world = stage.sandbox.world();
    world
        .clock
        .advance(std::time::Duration::from_secs(73 * 3600));
    stage.deliveries(&hook, 0).await;

    let path = github::world_view(world)["repositories"][0]["path"].clone();
    github::reset(world).unwrap();
    assert!(!std::path::Path::new(path.as_str().unwrap()).exists());
    assert_eq!(stage.get("/repos/acme/docs").await.0, StatusCode::NOT_FOUND);
    stage.repository("docs").await;
    assert_eq!(stage.get("/repos/acme/docs/hooks").await.1, json!([]));
}
