//! A GitHub App of the tenant's own instead of somebody's personal token.

use linkbroker_sandbox::NETLIFY_TOKEN;
use linkbroker_sandbox::recorder::Call;
use reqwest::Method;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::world::{Client, Setup, World, docs, text, until};

/// A world with an app that is installed on `acme`, and connections to Netlify and by the app.
pub async fn with_app(setup: Setup, installation: Value) -> (World, Value, u64) {
    let world = World::empty(setup).await;
    world.repository("docs").await;
    let app = world.github_app(json!({"slug": "acme-broker"}));
    let installation = world.install(installation);
    world
        .connect_as(&world.client, "netlify", "netlify", NETLIFY_TOKEN)
        .await;
    connect(&world.client, credential(&app))
        .await
        .expect("a connection");
    (world, app, installation)
}

fn everywhere() -> Value {
    json!({"app": "acme-broker", "account": "acme"})
}

fn credential(app: &Value) -> Value {
    json!({"type": "github_app", "app_id": app["client_id"], "private_key": app["private_key"]})
}

async fn connect(client: &Client, credential: Value) -> Result<String, Value> {
    let connection = json!({"name": "app", "kind": "github", "credential": credential});
    let answer = client.post("/connections", connection).await;
    match answer.status {
        201 => Ok(answer.id()),
        _ => Err(answer.body),
    }
}

fn minted(calls: &[Call]) -> usize {
    let mints = calls
        .iter()
        .filter(|call| call.path.ends_with("/access_tokens"));
    mints.count()
}

#[tokio::test]
async fn an_app_links_like_a_person_with_one_token_for_many_links() {
    let (world, _, _) = with_app(Setup::default(), everywhere()).await;
    world.repository("blog").await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let blog = json!({"repository": "https://github.com/acme/blog",
        "build": {"command": "sh build.sh", "publish": "dist"}});
    let (one, other) = tokio::join!(
        world.client.link_settled(blog.clone()),
        world.client.link_settled(blog)
    );
    for link in [one, other] {
        assert_eq!(link["status"], "live", "{link:#}");
    }
    let calls = world.sandbox.calls();
    assert_eq!(minted(&calls), 1);
    let lookups = calls
        .iter()
        .filter(|call| call.path.ends_with("/installation"));
    assert_eq!(lookups.count(), 1);
    let unlinked = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    assert_eq!(
        world.sandbox.violations().len(),
        0,
        "{:#?}",
        world.sandbox.violations()
    );
}

#[tokio::test]
async fn links_that_begin_together_share_the_first_token() {
    let (world, _, _) = with_app(Setup::default(), everywhere()).await;
    world.calls_take(60);
    let request = |site: &str| {
        let mut request = docs();
        request["site"]["name"] = json!(site);
        request
    };
    let links = ["a-docs", "b-docs", "c-docs", "d-docs"].map(request);
    let settled = links.map(|link| world.client.link_settled(link));
    for link in futures_util::future::join_all(settled).await {
        assert_eq!(link["status"], "live", "{link:#}");
    }
    assert_eq!(minted(&world.sandbox.calls()), 1);
}

#[tokio::test]
async fn a_token_is_renewed_before_its_hour_is_over() {
    let (world, _, _) = with_app(Setup::default(), everywhere()).await;
    let grants = json!({"administration": "write", "contents": "read", "metadata": "read", "repository_hooks": "write"});
    let token = json!({"token": "ghs_almost_over", "login": "acme-broker[bot]", "kind": "installation",
        "grants": grants, "permissions": {"acme/docs": "admin"}});
    let token = serde_json::from_value(token).expect("a token's description");
    linkbroker_sandbox::github::add_token(world.sandbox.world(), token).expect("a token");
    let soon = OffsetDateTime::now_utc() + Duration::minutes(4);
    let soon = soon.format(&Rfc3339).expect("a time");
    let answer = json!({"token": "ghs_almost_over", "expires_at": soon, "permissions": grants});
    world.fault(json!({"upstream": "github", "method": "POST", "path": "/access_tokens$", "fault": {"body": answer.to_string()}}));
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(minted(&world.sandbox.calls()), 2);
}

#[tokio::test]
async fn an_installation_that_may_too_little_is_told_which_permission_it_lacks() {
    let world = World::empty(Setup::default()).await;
    world.repository("docs").await;
    let permissions = json!({"administration": "write", "contents": "read", "metadata": "read"});
    let app = world.github_app(json!({"slug": "acme-broker", "permissions": permissions}));
    world.install(everywhere());
    world
        .connect_as(&world.client, "netlify", "netlify", NETLIFY_TOKEN)
        .await;
    connect(&world.client, credential(&app))
        .await
        .expect("a connection");
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["diagnosis"]["code"], "scope_missing", "{link:#}");
    let detail = text(&link["diagnosis"]["detail"]);
    assert!(detail.contains("repository_hooks: write"), "{detail}");
    assert_eq!(world.count("installed_keys"), (0, 0));
}

#[tokio::test]
async fn a_repository_outside_the_installation_asks_for_the_app_there() {
    let selected = json!({"app": "acme-broker", "account": "acme", "repositories": ["blog"]});
    let (world, _, installation) = with_app(Setup::default(), selected).await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "app_not_installed");
    assert_eq!(world.count("installed_keys"), (0, 0));

    let selected = json!({"app": "acme-broker", "account": "acme", "repositories": ["docs"], "id": installation});
    world.install(selected);
    let link = world.client.retry(&text(&link["id"])).await;
    assert_eq!(link["status"], "live", "{link:#}");
}

#[tokio::test]
async fn a_suspended_installation_is_named_and_its_token_is_not_kept() {
    let (world, _, installation) = with_app(Setup::default(), everywhere()).await;
    let link = world.client.link_settled(docs()).await;
    let suspended = |yes: bool| json!({"app": "acme-broker", "account": "acme", "suspended": yes, "id": installation});
    world.install(suspended(true));
    let mut second = docs();
    second["site"]["name"] = json!("acme-docs-2");
    let stopped = world.client.link_settled(second).await;
    assert_eq!(stopped["status"], "action_required", "{stopped:#}");
    assert_eq!(stopped["diagnosis"]["code"], "app_suspended");
    world.install(suspended(false));
    let retried = world.client.retry(&text(&stopped["id"])).await;
    assert_eq!(retried["status"], "live", "{retried:#}");
    assert_eq!(minted(&world.sandbox.calls()), 2);
    assert_eq!(link["status"], "live");
}

#[tokio::test]
async fn a_check_shows_the_app_its_permissions_and_where_it_is_installed() {
    let (world, _, installation) = with_app(Setup::default(), everywhere()).await;
    let listed = world.client.get("/connections").await.expect(200).body;
    let app = listed["connections"]
        .as_array()
        .expect("connections")
        .iter();
    let app = app.clone().find(|it| it["name"] == "app").expect("the app");
    assert_eq!(app["credential_type"], "github_app");
    let path = format!("/connections/{}", text(&app["id"]));
    let check = format!("{path}/check");
    let asked = world.client.send(Method::POST, &check, |request| request);
    asked.await.expect(202);
    let check = until("the check to be over", async || {
        let check = world.client.get(&path).await.expect(200).body["check"].clone();
        check.get("poll_after_ms").is_none().then_some(check)
    });
    let check = check.await;
    assert_eq!(check["state"], "passed", "{check:#}");
    assert_eq!(check["identity"], "acme-broker");
    let scopes = check["scopes"].as_array().expect("scopes");
    assert!(scopes.contains(&json!("administration:write")), "{check:#}");
    let where_to = json!([{"id": installation, "account": "acme", "all_repositories": true, "suspended": false}]);
    assert_eq!(check["installations"], where_to);
}

#[tokio::test]
async fn a_check_finds_an_installation_that_is_not_the_apps() {
    let world = World::empty(Setup::default()).await;
    let app = world.github_app(json!({"slug": "acme-broker"}));
    let mut named = credential(&app);
    named["installation_id"] = json!(99);
    let id = connect(&world.client, named).await.expect("a connection");
    let path = format!("/connections/{id}");
    let check = format!("{path}/check");
    let asked = world.client.send(Method::POST, &check, |request| request);
    asked.await.expect(202);
    let check = until("the check to be over", async || {
        let check = world.client.get(&path).await.expect(200).body["check"].clone();
        check.get("poll_after_ms").is_none().then_some(check)
    });
    let check = check.await;
    assert_eq!(check["failure"]["code"], "app_not_installed", "{check:#}");
}

#[tokio::test]
async fn neither_key_nor_tokens_of_an_app_are_seen_again() {
    let settings = vec![("LINKBROKER_LOG", "trace".to_owned())];
    let setup = Setup {
        settings,
        ..Setup::default()
    };
    let (world, app, _) = with_app(setup, everywhere()).await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let key = text(&app["private_key"]);
    let line = key.lines().nth(5).expect("a line of the key");
    let rows = Value::Object(world.database.dump().await).to_string();
    for (place, shown) in [
        ("the log", world.server.log()),
        ("an answer", world.client.seen()),
        ("a row", rows),
    ] {
        assert!(!shown.contains(line), "{place} holds the app's key");
        assert!(
            !shown.contains("ghs_"),
            "{place} holds an installation's token"
        );
        assert!(
            !shown.contains("eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9"),
            "{place} holds the app's token"
        );
    }
}

#[tokio::test]
async fn what_is_no_app_is_refused_where_it_is_wrong() {
    let world = World::empty(Setup::default()).await;
    let app = world.github_app(json!({"slug": "acme-broker"}));
    let good = credential(&app);
    let with = |field: &str, value: Value| {
        let mut bad = good.clone();
        bad[field] = value;
        bad
    };
    for (bad, pointer) in [
        (
            with("private_key", json!("ghp_not_a_key")),
            "/credential/private_key",
        ),
        (with("app_id", json!("a b")), "/credential/app_id"),
        (
            with("installation_id", json!(0)),
            "/credential/installation_id",
        ),
    ] {
        let problem = connect(&world.client, bad).await.expect_err("a refusal");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem:#}");
    }
    let netlify = json!({"name": "app", "kind": "netlify", "credential": good});
    let problem = world
        .client
        .post("/connections", netlify)
        .await
        .expect(422)
        .body;
    assert_eq!(problem["errors"][0]["pointer"], "/credential/type");
    let token =
        json!({"name": "app", "kind": "netlify", "credential": {"type": "token", "token": "t"}});
    let id = world
        .client
        .post("/connections", token)
        .await
        .expect(201)
        .id();
    let path = format!("/connections/{id}/credential");
    let replaced = world
        .client
        .send(Method::PUT, &path, |request| request.json(&good));
    assert_eq!(
        replaced.await.expect(422).body["errors"][0]["pointer"],
        "/type"
    );
}

#[tokio::test]
async fn the_command_line_connects_an_app_by_the_file_of_its_key() {
    let mut world = World::empty(Setup::default()).await;
    world.sign_in();
    world.repository("docs").await;
    let app = world.github_app(json!({"slug": "acme-broker"}));
    world.install(everywhere());
    world
        .connect_as(&world.client, "netlify", "netlify", NETLIFY_TOKEN)
        .await;
    let key = world.folder().join("app.pem");
    std::fs::write(&key, text(&app["private_key"])).expect("a file");
    let (id, key) = (text(&app["client_id"]), key.display().to_string());
    let connect = ["connect", "github", "--app-id", &id];
    world.run(&connect).await.expect(2);
    let connect = [&connect[..], &["--private-key-file", &key]].concat();
    let connected = world.run(&connect).await.expect(0);
    assert_eq!(connected.json()["credential_type"], "github_app");
    assert!(!connected.stdout.contains("PRIVATE KEY"));
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
}
