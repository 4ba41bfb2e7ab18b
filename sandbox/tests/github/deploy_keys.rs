//! Deploy keys: unique over all of GitHub, kept without comment, bound to the token that made them.

use linkbroker_sandbox::git::KeyPair;
use linkbroker_sandbox::github::{self, NewToken};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::stage::{Stage, answer};

#[tokio::test]
async fn a_key_loses_its_comment_and_can_be_listed_read_and_deleted() {
    let stage = Stage::new().await;
    let key = KeyPair::generate().await.unwrap();
    let text = format!("{} netlify\n", key.public_line());
    let body = json!({"title": "Netlify", "key": text, "read_only": true});
    let (status, made) = stage.post("/repos/acme/docs/keys", body).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(made["key"], key.public_line());
    assert_eq!(
        (&made["title"], &made["read_only"], &made["enabled"]),
        (&json!("Netlify"), &json!(true), &json!(true))
    );

    let path = format!("/repos/acme/docs/keys/{}", made["id"]);
    assert_eq!(stage.get("/repos/acme/docs/keys").await.1, json!([made]));
    assert_eq!(stage.get(&path).await.1, made);
    assert_eq!(stage.delete(&path).await, StatusCode::NO_CONTENT);
    assert_eq!(stage.delete(&path).await, StatusCode::NOT_FOUND);
    assert_eq!(stage.get("/repos/acme/docs/keys").await.1, json!([]));
}

#[tokio::test]
async fn refusals_say_why_in_their_first_error() {
    let stage = Stage::new().await;
    stage.repository("other").await;
    let key = KeyPair::generate().await.unwrap();
    let body = json!({"title": "t", "key": key.public_line()});
    assert_eq!(
        stage.post("/repos/acme/other/keys", body.clone()).await.0,
        StatusCode::CREATED
    );

    let reason = async |body| {
        let (status, answer) = stage.post("/repos/acme/docs/keys", body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer["message"], "Validation Failed");
        answer["errors"][0]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(body.clone()).await, "key is already in use");
    let unknown = reason(json!({"title": "t", "key": "ssh-foo AAAA"})).await;
    assert!(unknown.starts_with("key is invalid. It must begin with 'ssh-ed25519', 'ssh-rsa'"));
    assert!(
        reason(json!({"title": "t", "key": "ssh-rsa AAAA"}))
            .await
            .starts_with("key is invalid.")
    );
    github::set_deploy_keys_enabled(stage.sandbox.world(), "acme/docs", false).unwrap();
    assert_eq!(
        reason(body).await,
        "Deploy keys are disabled for this repository"
    );

    let (status, answer) = stage
        .post("/repos/acme/docs/keys", json!({"title": "t"}))
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("\"key\" wasn't supplied")
    );
}

#[tokio::test]
async fn a_personal_token_takes_its_keys_with_it() {
    let stage = Stage::new().await;
    let token = NewToken {
        token: "ghp_1".to_owned(),
        login: "ann".to_owned(),
        permissions: [("acme/docs".to_owned(), github::Access::Admin)].into(),
        ..NewToken::default()
    };
    stage.token(token);
    let key = KeyPair::generate().await.unwrap();
    let call = stage.call_as("ghp_1", Method::POST, "/repos/acme/docs/keys");
    let made = call
        .json(&json!({"title": "t", "key": key.public_line()}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer(made).await.1["added_by"], "ann");
    github::revoke_token(stage.sandbox.world(), "ghp_1").unwrap();
    assert_eq!(stage.get("/repos/acme/docs/keys").await.1, json!([]));
}
