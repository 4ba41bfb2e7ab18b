//! Bitbucket Cloud: ids of two kinds, keys of its own error shape, credentials of three kinds, no log of deliveries.

use std::sync::Arc;

use axum::http::StatusCode;
use linkbroker_sandbox::forge::{self, NewPersonKey, NewToken, TokenKind};
use linkbroker_sandbox::{
    BITBUCKET_ACCESS_TOKEN, BITBUCKET_EMAIL, BITBUCKET_TOKEN, NewRepository, Provider, admin,
};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};

use crate::stage::{Reply, Stage, public_key, receiver};

const REPOSITORY: &str = "/repositories/acme/docs";
const EVENTS: [&str; 3] = ["repo:push", "pullrequest:created", "pullrequest:updated"];

async fn stage() -> Stage {
    Stage::new(Provider::Bitbucket, "acme/docs").await
}

async fn call(stage: &Stage, method: Method, path: &str, body: Option<Value>) -> Reply {
    let url = format!("{}{path}", stage.sandbox.bitbucket_url());
    let request = stage
        .http
        .request(method, url)
        .basic_auth(BITBUCKET_EMAIL, Some(BITBUCKET_TOKEN));
    Reply::to(request, body).await
}

async fn get(stage: &Stage, path: &str) -> Reply {
    call(stage, Method::GET, path, None).await
}

async fn post(stage: &Stage, rest: &str, body: Value) -> Reply {
    call(
        stage,
        Method::POST,
        &format!("{REPOSITORY}{rest}"),
        Some(body),
    )
    .await
}

fn webhook(url: &str) -> Value {
    json!({"description": "Netlify", "url": url, "active": true, "skip_cert_verification": false, "events": EVENTS})
}

#[tokio::test]
async fn a_site_is_cloned_with_its_access_key_and_rebuilt_on_push() {
    let stage = stage().await;
    let key = stage.deploy_key().await;
    let install = json!({"label": "Netlify", "key": key["public_key"]});
    let installed = post(&stage, "/deploy-keys", install).await.expect(200);
    assert_eq!(installed["last_used"], Value::Null);
    let id = "acme/docs";
    let repo =
        json!({"provider": "bitbucket", "repo": id, "repo_path": id, "id": id, "repo_id": id});
    let site = stage.attach(&key, repo).await;
    let hook = site["deploy_hook"].as_str().unwrap();
    assert!(hook.ends_with("/netlify/hooks/bitbucket"), "{hook}");
    post(&stage, "/hooks", webhook(hook)).await.expect(201);
    stage.assert_rebuilt_on_push(&site).await;

    let used = get(
        &stage,
        &format!("{REPOSITORY}/deploy-keys/{}", installed["id"]),
    )
    .await
    .expect(200);
    assert!(used["last_used"].is_string());
    stage.assert_lawful();
}

#[tokio::test]
async fn a_repository_is_found_by_name_and_by_uuids() {
    let stage = stage().await;
    let by_name = get(&stage, REPOSITORY).await.expect(200);
    assert_eq!(by_name["mainbranch"]["name"], "main");
    let uuid = by_name["uuid"]
        .as_str()
        .unwrap()
        .replace('{', "%7B")
        .replace('}', "%7D");
    for path in [
        format!("/repositories/acme/{uuid}"),
        format!("/repositories/%7B%7D/{uuid}"),
    ] {
        assert_eq!(get(&stage, &path).await.expect(200), by_name);
    }
    admin::rename(stage.sandbox.world(), &stage.at, "acme/handbook").unwrap();
    let moved = get(&stage, REPOSITORY).await;
    assert_eq!(moved.status, 301);
    let absent = get(&stage, "/repositories/acme/nothing").await.expect(404);
    assert_eq!(
        absent["error"]["message"],
        "Repository acme/nothing not found"
    );
    let now = get(&stage, &format!("/repositories/acme/{uuid}"))
        .await
        .expect(200);
    assert_eq!(now["full_name"], "acme/handbook");

    let new = NewRepository {
        provider: Provider::Bitbucket,
        name: "empty".to_owned(),
        ..NewRepository::default()
    };
    stage.sandbox.create_repository(new).await.unwrap();
    let empty = get(&stage, "/repositories/acme/empty").await.expect(200);
    assert_eq!(empty["mainbranch"], Value::Null);
    stage.assert_lawful();
}

#[tokio::test]
async fn a_key_is_refused_twice_here_and_as_an_accounts_but_not_elsewhere() {
    let stage = stage().await;
    let (key, personal) = (public_key().await, public_key().await);
    let person = NewPersonKey {
        provider: Provider::Bitbucket,
        login: "ann".to_owned(),
        key: personal.clone(),
        ..NewPersonKey::default()
    };
    admin::add_person_key(stage.sandbox.world(), person).unwrap();
    crate::stage::repository(&stage.sandbox, Provider::Bitbucket, "acme/other").await;
    let wanted = json!({"label": "Netlify", "key": format!("{key} made for Netlify")});
    let made = post(&stage, "/deploy-keys", wanted.clone())
        .await
        .expect(200);
    assert_eq!(made["key"], key);
    assert_eq!(made["comment"], "made for Netlify");
    let other = "/repositories/acme/other/deploy-keys";
    call(&stage, Method::POST, other, Some(wanted.clone()))
        .await
        .expect(200);
    let twice = post(&stage, "/deploy-keys", wanted).await.expect(400);
    let message = "Someone has already added that access key to this repository.";
    assert_eq!(twice, json!({"key": [{"message": message}]}));
    let taken = json!({"label": "Netlify", "key": personal});
    let refused = post(&stage, "/deploy-keys", taken).await.expect(400);
    assert!(refused["key"][0]["message"].is_string());
}

#[tokio::test]
async fn credentials_of_each_kind_come_their_own_way() {
    let stage = stage().await;
    let password = NewToken {
        token: "old".to_owned(),
        login: "sandbox".to_owned(),
        kind: TokenKind::AppPassword,
        ..NewToken::default()
    };
    let world = stage.sandbox.world();
    forge::add_token(world, &world.forges.bitbucket, password).unwrap();
    let url = |path: &str| format!("{}{path}", stage.sandbox.bitbucket_url());
    let basic = async |user: &str, token: &str| {
        let request = stage.http.get(url("/user")).basic_auth(user, Some(token));
        Reply::to(request, None).await.status
    };
    assert_eq!(basic(BITBUCKET_EMAIL, BITBUCKET_TOKEN).await, 200);
    assert_eq!(basic("sandbox", BITBUCKET_TOKEN).await, 401);
    assert_eq!(basic(BITBUCKET_EMAIL, BITBUCKET_ACCESS_TOKEN).await, 401);
    assert_eq!(basic("sandbox", "old").await, 401);
    let bearer = async |path: &str, token: &str| {
        Reply::to(stage.http.get(url(path)).bearer_auth(token), None)
            .await
            .status
    };
    assert_eq!(bearer(REPOSITORY, BITBUCKET_ACCESS_TOKEN).await, 200);
    assert_eq!(bearer("/user", BITBUCKET_ACCESS_TOKEN).await, 401);
    assert_eq!(bearer(REPOSITORY, BITBUCKET_TOKEN).await, 401);
}

#[tokio::test]
async fn rights_and_scopes_are_told() {
    let stage = stage().await;
    let query = "/user/permissions/repositories?q=repository.full_name%3D%22acme%2Fdocs%22";
    let rights = get(&stage, query).await;
    let scopes = rights.headers["x-oauth-scopes"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(scopes.contains("admin:repository:bitbucket"), "{scopes}");
    assert_eq!(rights.expect(200)["values"][0]["permission"], "admin");
    let narrow = NewToken {
        token: "narrow".to_owned(),
        login: "ann".to_owned(),
        scopes: Some(vec!["read:repository:bitbucket".to_owned()]),
        permissions: [("acme/docs".to_owned(), forge::Access::Admin)].into(),
        ..NewToken::default()
    };
    let world = stage.sandbox.world();
    forge::add_token(world, &world.forges.bitbucket, narrow).unwrap();
    let url = format!("{}{REPOSITORY}/hooks", stage.sandbox.bitbucket_url());
    let request = stage
        .http
        .post(url)
        .basic_auth("ann@example.com", Some("narrow"));
    let refused = Reply::to(request, Some(webhook("http://127.0.0.1:1/")))
        .await
        .expect(403);
    assert_eq!(
        refused["error"]["detail"]["required"],
        json!(["write:webhook:bitbucket"])
    );
    stage.assert_lawful();
}

#[tokio::test]
async fn webhooks_double_and_a_failed_delivery_is_tried_three_times() {
    let stage = stage().await;
    let url = receiver(Arc::new(Mutex::new(StatusCode::BAD_GATEWAY))).await;
    let first = post(&stage, "/hooks", webhook(&url)).await.expect(201);
    stage.push("second text").await;
    assert_eq!(stage.deliveries(1).await[0]["attempts"], 3);
    post(&stage, "/hooks", webhook(&url)).await.expect(201);
    let page = get(&stage, &format!("{REPOSITORY}/hooks?pagelen=1"))
        .await
        .expect(200);
    assert_eq!(page["size"], 2);
    let next = page["next"].as_str().unwrap();
    let next = next.strip_prefix(&stage.sandbox.bitbucket_url()).unwrap();
    assert_ne!(
        get(&stage, next).await.expect(200)["values"][0]["uuid"],
        first["uuid"]
    );

    let uid = first["uuid"]
        .as_str()
        .unwrap()
        .replace('{', "%7B")
        .replace('}', "%7D");
    let one = format!("{REPOSITORY}/hooks/{uid}");
    let halved = Some(json!({"url": url, "events": ["repo:push"]}));
    let changed = call(&stage, Method::PUT, &one, halved).await.expect(200);
    assert_eq!(changed["active"], false);
    call(&stage, Method::DELETE, &one, None).await.expect(204);
    let bare = post(&stage, "/hooks", json!({"events": ["repo:push"]}))
        .await
        .expect(400);
    assert_eq!(
        bare["error"]["fields"]["url"][0],
        "required key not provided"
    );
}

#[tokio::test]
async fn a_used_up_hour_is_told_without_saying_how_long_to_wait() {
    let stage = stage().await;
    let patch = json!({"bitbucket": {"calls_per_hour": 2}});
    stage.sandbox.patch_switches(&patch).unwrap();
    for near in ["false", "true"] {
        let answer = get(&stage, REPOSITORY).await;
        assert_eq!(answer.headers["x-ratelimit-nearlimit"], near);
        answer.expect(200);
    }
    let refused = get(&stage, REPOSITORY).await;
    assert!(!refused.headers.contains_key("retry-after"));
    let message = refused.expect(429)["error"]["message"].clone();
    assert_eq!(message, "Rate limit for this resource has been exceeded");
    get(&stage, "/user").await.expect(200);
}
