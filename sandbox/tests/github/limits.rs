//! Rate limits, conditional reads, and the headers around every answer.

use std::time::Duration;

use linkbroker_sandbox::github::{Access, NewToken};
use reqwest::{Method, Response, StatusCode};
use serde_json::json;

use crate::stage::{Stage, answer};

fn header(response: &Response, name: &str) -> u64 {
    response.headers()[name].to_str().unwrap().parse().unwrap()
}

fn set_limits(stage: &Stage, limits: serde_json::Value) {
    let mut switches = stage.sandbox.world().switches.write();
    *switches = switches
        .patched(&json!({"github": {"limits": limits}}))
        .unwrap();
}

#[tokio::test]
async fn an_hour_is_shared_by_all_tokens_of_a_user_and_ends() {
    let stage = Stage::new().await;
    set_limits(&stage, json!({"calls_per_hour": 2}));
    for token in ["ghp_1", "ghp_2"] {
        let everywhere = Some(Access::Admin);
        stage.token(NewToken {
            token: token.to_owned(),
            login: "ann".to_owned(),
            everywhere,
            ..NewToken::default()
        });
    }
    let call = async |token| {
        stage
            .call_as(token, Method::GET, "/repos/acme/docs")
            .send()
            .await
            .unwrap()
    };
    assert_eq!(header(&call("ghp_1").await, "x-ratelimit-remaining"), 1);
    let second = call("ghp_2").await;
    assert_eq!(
        (second.status(), header(&second, "x-ratelimit-remaining")),
        (StatusCode::OK, 0)
    );
    let refused = call("ghp_1").await;
    assert_eq!(
        (refused.status(), header(&refused, "x-ratelimit-used")),
        (StatusCode::FORBIDDEN, 2)
    );
    let reset = header(&refused, "x-ratelimit-reset") as i64;
    assert!(reset > stage.sandbox.world().clock.unix());
    assert!(
        answer(refused).await.1["message"]
            .as_str()
            .unwrap()
            .starts_with("API rate limit exceeded for")
    );
    let free = stage
        .call_as("ghp_1", Method::GET, "/rate_limit")
        .send()
        .await
        .unwrap();
    assert_eq!(answer(free).await.1["rate"]["remaining"], 0);

    stage
        .sandbox
        .world()
        .clock
        .advance(Duration::from_secs(3600));
    assert_eq!(call("ghp_1").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn too_much_content_is_a_secondary_limit() {
    let stage = Stage::new().await;
    set_limits(&stage, json!({"content_per_minute": 1}));
    let hook = json!({"config": {"url": "http://127.0.0.1:9/"}});
    assert_eq!(
        stage.post("/repos/acme/docs/hooks", hook.clone()).await.0,
        StatusCode::CREATED
    );
    let refused = stage
        .call(Method::POST, "/repos/acme/docs/hooks")
        .json(&hook)
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(refused.headers()["retry-after"], "60");
    assert!(header(&refused, "x-ratelimit-remaining") > 0);
    assert!(
        answer(refused).await.1["message"]
            .as_str()
            .unwrap()
            .contains("secondary rate limit")
    );

    set_limits(
        &stage,
        json!({"refuse_with_429": true, "retry_after": false}),
    );
    let refused = stage
        .call(Method::POST, "/repos/acme/docs/hooks")
        .json(&hook)
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().get("retry-after").is_none());
    stage.sandbox.world().clock.advance(Duration::from_secs(60));
    assert_eq!(
        stage.post("/repos/acme/docs/hooks", hook).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
}

#[tokio::test]
async fn an_unchanged_answer_is_304_and_free() {
    let stage = Stage::new().await;
    let first = stage
        .call(Method::GET, "/repos/acme/docs")
        .send()
        .await
        .unwrap();
    let etag = first.headers()["etag"].clone();
    let left = header(&first, "x-ratelimit-remaining");
    let again = async || {
        let call = stage
            .call(Method::GET, "/repos/acme/docs")
            .header("if-none-match", &etag);
        call.send().await.unwrap()
    };
    let unchanged = again().await;
    assert_eq!(unchanged.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(header(&unchanged, "x-ratelimit-remaining"), left);
    linkbroker_sandbox::github::archive(stage.sandbox.world(), "acme/docs", true).unwrap();
    assert_eq!(again().await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_client_must_name_itself_and_every_answer_has_an_id() {
    let stage = Stage::new().await;
    let url = format!("{}/rate_limit", stage.sandbox.github_url());
    let nameless = reqwest::Client::new().get(url).send().await.unwrap();
    assert!(nameless.headers().contains_key("x-github-request-id"));
    let (status, body) = answer(nameless).await;
    assert_eq!(
        (status, &body["message"]),
        (
            StatusCode::FORBIDDEN,
            &json!("Missing or invalid User Agent string")
        )
    );
}
