//! Deploy keys: doubles are welcome in the same project, shared where one may see them, refused elsewhere.

use linkbroker_sandbox::forge::{Access, NewPersonKey};
use linkbroker_sandbox::{Provider, admin};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Stage, project};
use crate::stage::public_key;

fn wanted(key: &str) -> Value {
    json!({"title": "Netlify", "key": key, "can_push": false})
}

#[tokio::test]
async fn the_same_key_again_is_created_again_and_changes_nothing() {
    let stage = Stage::new().await;
    let key = public_key().await;
    let keys = stage.project("/deploy_keys");
    let line = format!("{key} made for Netlify");
    let first = stage.post(&keys, wanted(&line)).await.expect(201);
    // Of the comment, the first word is left.
    assert_eq!(first["key"], format!("{key} made"));
    assert_eq!(first["can_push"], false);
    let again = json!({"title": "Other", "key": key, "can_push": true});
    assert_eq!(stage.post(&keys, again).await.expect(201), first);
    assert_eq!(
        stage
            .sandbox
            .counts()
            .at(Provider::Gitlab, "installed_keys")
            .alive,
        1
    );

    let one = format!("{keys}/{}", first["id"]);
    let writable = Some(json!({"can_push": true}));
    let changed = stage.call(Method::PUT, &one, writable).await.expect(200);
    assert_eq!(changed["can_push"], true);
    stage.call(Method::DELETE, &one, None).await.expect(204);
    stage.get(&one).await.expect(404);
    stage.assert_lawful();
}

#[tokio::test]
async fn a_key_of_a_project_that_one_sees_is_shared() {
    let stage = Stage::new().await;
    let key = public_key().await;
    let other = project(&stage.sandbox, "acme/other").await;
    let there = stage
        .post(&format!("/projects/{other}/deploy_keys"), wanted(&key))
        .await
        .expect(201);
    let here = stage
        .post(&stage.project("/deploy_keys"), wanted(&key))
        .await
        .expect(201);
    assert_eq!(here["id"], there["id"]);
}

#[tokio::test]
async fn a_key_in_a_profile_or_out_of_sight_has_already_been_taken() {
    let stage = Stage::new().await;
    let (profile, hidden) = (public_key().await, public_key().await);
    let person = NewPersonKey {
        provider: Provider::Gitlab,
        login: "ann".to_owned(),
        key: profile.clone(),
        ..NewPersonKey::default()
    };
    admin::add_person_key(stage.sandbox.world(), person).unwrap();
    let other = project(&stage.sandbox, "acme/other").await;
    stage
        .post(&format!("/projects/{other}/deploy_keys"), wanted(&hidden))
        .await
        .expect(201);
    stage.token("maintainer", Access::Admin, &["api"]);

    let keys = stage.project("/deploy_keys");
    for key in [&profile, &hidden] {
        let refused = stage
            .call_as("maintainer", Method::POST, &keys, Some(wanted(key)))
            .await;
        let message = refused.expect(400)["message"].clone();
        assert_eq!(
            message,
            json!({"fingerprint_sha256": ["has already been taken"]})
        );
    }
    stage.switch(json!({"older_key_error": true}));
    let refused = stage
        .call_as("maintainer", Method::POST, &keys, Some(wanted(&profile)))
        .await;
    let message = refused.expect(400)["message"].clone();
    assert_eq!(
        message,
        json!({"deploy_key.fingerprint": ["has already been taken"]})
    );
}

#[tokio::test]
async fn what_is_missing_or_too_short_is_named() {
    let stage = Stage::new().await;
    let keys = stage.project("/deploy_keys");
    let key = public_key().await;
    let untitled = stage.post(&keys, json!({"key": key})).await;
    assert_eq!(untitled.expect(400)["error"], "title is missing");
    stage.switch(json!({"minimum_rsa_bits": 3072}));
    let short = stage.post(&keys, wanted(&key)).await.expect(400);
    assert_eq!(short["message"]["key"][0], "must be at least 3072 bits");
}
