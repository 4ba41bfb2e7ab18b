//! Gitea (and Forgejo), and hosts that have nothing but git over SSH: linked as `manual`, each site with a hook of its own.

use linkbroker_sandbox::forge::{
    self, Access, NewDeployKey, NewPersonKey, NewToken, NewWebhook, install_key, install_webhook,
};
use linkbroker_sandbox::{GITEA_TOKEN, Provider, admin};
use reqwest::Method;
use serde_json::{Value, json};

use crate::stage::{Reply, Stage, public_key};

async fn stage() -> Stage {
    Stage::new(Provider::Gitea, "acme/docs").await
}

async fn call(
    stage: &Stage,
    token: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Reply {
    let url = format!("{}{path}", stage.sandbox.gitea_url());
    let authorization = format!("token {token}");
    let request = stage
        .http
        .request(method, url)
        .header("authorization", authorization);
    Reply::to(request, body).await
}

async fn post(stage: &Stage, path: &str, body: Value) -> Reply {
    call(stage, GITEA_TOKEN, Method::POST, path, Some(body)).await
}

async fn get(stage: &Stage, path: &str) -> Reply {
    call(stage, GITEA_TOKEN, Method::GET, path, None).await
}

fn webhook(url: &Value) -> Value {
    json!({"type": "gitea", "active": true, "events": ["push", "pull_request", "delete"],
        "config": {"url": url, "content_type": "json"}})
}

#[tokio::test]
async fn a_manual_site_is_rebuilt_by_its_own_hook() {
    let stage = stage().await;
    let repository = get(&stage, "/repos/acme/docs").await.expect(200);
    assert_eq!(repository["permissions"]["admin"], true);
    let address = repository["ssh_url"].clone();
    let key = stage.deploy_key().await;
    let install = json!({"title": "Netlify", "key": key["public_key"], "read_only": true});
    post(&stage, "/repos/acme/docs/keys", install)
        .await
        .expect(201);
    let repo = json!({"provider": "manual", "repo": address, "repo_path": address});
    let site = stage.attach(&key, repo).await;
    let made = post(
        &stage,
        "/repos/acme/docs/hooks",
        webhook(&site["deploy_hook"]),
    )
    .await
    .expect(201);
    stage.assert_rebuilt_on_push(&site).await;

    let test = format!("/repos/acme/docs/hooks/{}/tests", made["id"]);
    call(&stage, GITEA_TOKEN, Method::POST, &test, None)
        .await
        .expect(204);
    stage.deploys(&site, 3).await;
    let absent = format!("{test}?ref=refs/heads/none");
    call(&stage, GITEA_TOKEN, Method::POST, &absent, None)
        .await
        .expect(404);
    stage.assert_lawful();
}

#[tokio::test]
async fn a_plain_host_is_served_by_a_persons_hands() {
    let stage = Stage::new(Provider::Plain, "acme/docs").await;
    let address = stage.repository["ssh_url"].clone();
    let key = stage.deploy_key().await;
    let world = stage.sandbox.world();
    let by_hand = NewDeployKey {
        provider: Provider::Plain,
        repository: "acme/docs".to_owned(),
        key: key["public_key"].as_str().unwrap().to_owned(),
        ..NewDeployKey::default()
    };
    install_key(world, &world.forges.plain, by_hand).unwrap();
    let repo = json!({"provider": "manual", "repo": address, "repo_path": address});
    let site = stage.attach(&key, repo).await;
    let script = NewWebhook {
        provider: Provider::Plain,
        repository: "acme/docs".to_owned(),
        url: site["deploy_hook"].as_str().unwrap().to_owned(),
        ..NewWebhook::default()
    };
    install_webhook(world, &world.forges.plain, script).unwrap();
    stage.assert_rebuilt_on_push(&site).await;
}

#[tokio::test]
async fn keys_are_refused_in_giteas_words() {
    let stage = stage().await;
    let (key, personal) = (public_key().await, public_key().await);
    let person = NewPersonKey {
        provider: Provider::Gitea,
        login: "ann".to_owned(),
        key: personal.clone(),
        ..NewPersonKey::default()
    };
    admin::add_person_key(stage.sandbox.world(), person).unwrap();
    let wanted = |title: &str, key: &str| json!({"title": title, "key": key, "read_only": true});
    let keys = "/repos/acme/docs/keys";
    let made = post(&stage, keys, wanted("Netlify", &key))
        .await
        .expect(201);
    assert_eq!(made["read_only"], true);
    let other = public_key().await;
    for (title, key, message) in [
        (
            "Other",
            &key,
            "This key has already been added to this repository",
        ),
        (
            "Other",
            &personal,
            "Key content has been used as non-deploy key",
        ),
        ("Netlify", &other, "A key with the same name already exists"),
    ] {
        let refused = post(&stage, keys, wanted(title, key)).await.expect(422);
        assert_eq!(refused["message"], message);
    }
    assert_eq!(
        stage
            .sandbox
            .counts()
            .at(Provider::Gitea, "installed_keys")
            .created,
        1
    );
}

#[tokio::test]
async fn strangers_readers_and_narrow_tokens_are_told_apart() {
    let stage = stage().await;
    let token = |token: &str, access, scopes: &[&str]| NewToken {
        token: token.to_owned(),
        login: format!("owner-of-{token}"),
        scopes: Some(scopes.iter().map(|s| (*s).to_owned()).collect()),
        permissions: [("acme/docs".to_owned(), access)].into(),
        ..NewToken::default()
    };
    let world = stage.sandbox.world();
    for new in [
        token("stranger", Access::None, &["write:repository"]),
        token("writer", Access::Push, &["write:repository"]),
        token("narrow", Access::Admin, &["read:repository"]),
    ] {
        forge::add_token(world, &world.forges.gitea, new).unwrap();
    }
    let hooks = "/repos/acme/docs/hooks";
    for (token, status) in [
        ("unknown", 401),
        ("stranger", 404),
        ("writer", 403),
        ("narrow", 403),
    ] {
        let body = Some(webhook(&json!("http://127.0.0.1:1/")));
        call(&stage, token, Method::POST, hooks, body)
            .await
            .expect(status);
    }
}

#[tokio::test]
async fn a_former_name_redirects_with_the_method_kept() {
    let stage = stage().await;
    admin::rename(stage.sandbox.world(), &stage.at, "acme/handbook").unwrap();
    let moved = post(&stage, "/repos/acme/docs/hooks", json!({})).await;
    assert_eq!(moved.status, 307);
    let to = moved.headers["location"].to_str().unwrap();
    assert!(
        to.ends_with("/gitea/api/v1/repos/acme/handbook/hooks"),
        "{to}"
    );
}
