//! Projects at GitLab, here one below a path: numeric ids, nested groups, keys and webhooks as GitLab wants them.

use linkbroker_sandbox::forge::{self, Access, Forge, NewPersonKey, NewToken, NewWebhook};
use linkbroker_sandbox::git::NewCommit;
use linkbroker_sandbox::recorder::{Upstream, rounds};
use linkbroker_sandbox::{GITLAB_TOKEN, NETLIFY_TOKEN, NewRepository, Place, Provider};
use reqwest::Method;
use serde_json::{Value, json};

use crate::planning::assert_as_planned;
use crate::world::{Setup, World, receipts, text, until};

const PATH: &str = "acme/web/docs";
const KINDS: [&str; 4] = ["deploy_keys", "installed_keys", "webhooks", "sites"];

/// The private project [`PATH`], and connections to Netlify and GitLab.
async fn world() -> World {
    world_with(GITLAB_TOKEN, Setup::default()).await
}

async fn world_with(token: &str, setup: Setup) -> World {
    let world = World::empty(setup).await;
    let new = NewRepository {
        provider: Provider::Gitlab,
        owner: "acme/web".to_owned(),
        name: "docs".to_owned(),
        template: Some("site".to_owned()),
        ..NewRepository::default()
    };
    let made = world.sandbox.create_repository(new).await;
    made.expect("a project");
    for (kind, token) in [("netlify", NETLIFY_TOKEN), ("gitlab", token)] {
        let credential = json!({"type": "token", "token": token});
        let connection = json!({"name": kind, "kind": kind, "credential": credential});
        let made = world.client.post("/connections", connection).await;
        made.expect(201);
    }
    world
}

fn docs() -> Value {
    json!({
        "repository": "https://gitlab.com/acme/web/docs/-/tree/main",
        "site": {"name": "acme-docs", "team": "sandbox"},
        "build": {"command": "sh build.sh", "publish": "dist"},
    })
}

fn forge(world: &World) -> &Forge {
    &world.sandbox.world().forges.gitlab
}

/// The project as the sandbox keeps it.
fn project(world: &World) -> Value {
    world.state()["gitlab"]["repositories"][0].clone()
}

/// A token whose owner has this access to the project.
fn token(world: &World, token: &str, access: Access, scopes: &[&str]) {
    let new = NewToken {
        token: token.to_owned(),
        login: "limited".to_owned(),
        scopes: Some(scopes.iter().map(|scope| (*scope).to_owned()).collect()),
        permissions: [(PATH.to_owned(), access)].into(),
        ..NewToken::default()
    };
    forge::add_token(world.sandbox.world(), forge(world), new).expect("a token");
}

async fn push(world: &World, path: &str, words: &str) {
    let commit = NewCommit {
        message: format!("Say {words}"),
        files: [("content/text.txt".to_owned(), format!("{words}\n"))].into(),
        ..NewCommit::default()
    };
    let at: Place = (Provider::Gitlab, path).into();
    world.sandbox.commit(at, commit).await.expect("a commit");
    until("the page to have what was pushed", async || {
        let page = world.page("acme-docs").await;
        page.contains(words).then_some(())
    })
    .await;
}

/// Calls of clients, in order.
fn calls(world: &World) -> Vec<linkbroker_sandbox::Call> {
    let mut calls = world.sandbox.calls();
    calls.retain(|call| call.upstream != Upstream::NetlifyHooks);
    calls
}

fn assert_lawful(world: &World) {
    let violations = world.sandbox.violations();
    assert!(violations.is_empty(), "{violations:#?}");
}

/// Unlinks; nothing that the link made is left.
async fn leaves_nothing(world: &World, link: &Value) {
    let unlinked = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    for kind in KINDS {
        assert_eq!(world.count(kind).1, 0, "{kind}");
    }
}

#[tokio::test]
async fn a_private_project_in_nested_groups_goes_live_is_rebuilt_and_taken_back() {
    let world = world().await;
    let plan = world.client.post("/links?validate_only=true", docs()).await;
    let plan = plan.expect(200).body;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_as_planned(&plan, &link, world.sandbox.calls());
    assert!(link["verification"]["level"].as_u64() >= Some(2));
    assert_eq!(link["repository"]["path"], PATH);
    for kind in KINDS {
        assert_eq!(world.count(kind), (1, 1), "{kind}");
    }
    let id = text(&link["repository"]["id"]);
    let site = &world.state()["netlify"]["sites"][0];
    assert!(site.to_string().contains(&id), "{site:#}");

    push(&world, PATH, "second words").await;
    leaves_nothing(&world, &link).await;
    assert_lawful(&world);
}

#[tokio::test]
async fn armed_with_a_known_deploy_after_eight_calls_in_four_rounds() {
    let switches = json!({"latency_ms": 60});
    let setup = Setup {
        switches,
        ..Setup::default()
    };
    let world = world_with(GITLAB_TOKEN, setup).await;
    world.sandbox.warm_up().await;
    let link = world.client.link_settled(docs()).await;
    let deploy = text(&link["build"]["deploy_id"]);
    let calls = calls(&world);
    let known = calls.iter().position(|call| call.path.contains(&deploy));
    let armed = &calls[..=known.expect("a call about the deploy")];
    let lines: Vec<_> = armed
        .iter()
        .map(|call| format!("{} {}", call.method, call.path))
        .collect();
    assert!(armed.len() <= 8, "{lines:#?}");
    assert!(rounds(armed) <= 4, "{lines:#?}");
}

#[tokio::test]
async fn a_project_that_moved_is_built_and_taken_back_all_the_same() {
    let world = world().await;
    let link = world.client.link_settled(docs()).await;
    forge::rename(world.sandbox.world(), forge(&world), PATH, "umbrella/site").expect("a move");
    push(&world, "umbrella/site", "words after the move").await;
    leaves_nothing(&world, &link).await;
}

#[tokio::test]
async fn a_project_is_linked_by_the_path_that_it_had() {
    let world = world().await;
    forge::rename(world.sandbox.world(), forge(&world), PATH, "umbrella/site").expect("a move");
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(link["repository"]["path"], "umbrella/site");
    leaves_nothing(&world, &link).await;
    assert_lawful(&world);
}

/// Links while GitLab does not take keys, until the link gives up; its key by then.
async fn refused_for_now(world: &World) -> (String, String) {
    world.fault(json!({"upstream": "gitlab", "method": "POST", "path": "/deploy_keys$", "times": 1000, "fault": {"status": 503}}));
    let link = world.client.link_settled(docs()).await;
    assert_eq!(
        link["diagnosis"]["code"], "upstream_unavailable",
        "{link:#}"
    );
    let keys = &world.state()["netlify"]["deploy_keys"];
    let key = text(&keys[0]["public_key"]);
    assert!(!key.is_empty(), "{keys:#}");
    world.sandbox.world().faults.clear();
    (text(&link["id"]), key)
}

fn put_in_profile(world: &World, login: &str, key: String) {
    let new = NewPersonKey {
        provider: Provider::Gitlab,
        login: login.to_owned(),
        title: "from the guide".to_owned(),
        key,
        ..NewPersonKey::default()
    };
    forge::add_person_key(world.sandbox.world(), forge(world), new).expect("a key");
}

#[tokio::test]
async fn a_key_that_somebody_put_into_a_profile_is_exchanged_for_another() {
    for (login, code) in [
        (linkbroker_sandbox::LOGIN, "key_in_profile_not_project"),
        ("stranger", "key_in_use_elsewhere"),
    ] {
        let world = world().await;
        let (id, key) = refused_for_now(&world).await;
        put_in_profile(&world, login, key);
        let link = world.client.retry(&id).await;
        assert_eq!(link["status"], "live", "{link:#}");
        let events = world.client.get(&format!("/links/{id}/events")).await;
        let events = events.expect(200).body["events"].clone();
        let mut events = events.as_array().expect("events").iter();
        let reopened = events.find(|event| event["type"] == "step.reopened");
        assert_eq!(reopened.expect("why")["detail"]["code"], code);
        assert_eq!(world.count("installed_keys"), (1, 1));
        assert_lawful(&world);
    }
}

/// A webhook with Netlify's address that somebody made before.
fn webhook_before(world: &World) -> u64 {
    let new = NewWebhook {
        provider: Provider::Gitlab,
        repository: PATH.to_owned(),
        url: format!("{}/netlify/hooks/gitlab", world.sandbox.world().origin()),
        ..NewWebhook::default()
    };
    let made = forge::install_webhook(world.sandbox.world(), forge(world), new);
    made.expect("a webhook")["id"].as_u64().expect("an id")
}

#[tokio::test]
async fn a_webhook_that_gitlab_switched_off_is_woken_and_stays_when_the_link_goes() {
    let world = world().await;
    let hook = webhook_before(&world);
    let project = project(&world)["id"].as_u64().expect("an id");
    forge(&world)
        .lock()
        .hook_mut(project, hook)
        .expect("the webhook")
        .failures = 40;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("webhooks"), (1, 1));
    let failures = forge(&world)
        .lock()
        .hook_mut(project, hook)
        .map(|hook| hook.failures);
    assert_eq!(failures, Some(0));
    push(&world, PATH, "second words").await;

    let unlinked = world.client.unlink(&text(&link["id"]), "").await;
    let kept = ("webhook".to_owned(), "kept_foreign".to_owned());
    assert!(receipts(&unlinked).contains(&kept), "{unlinked:#}");
    assert_eq!(world.count("webhooks"), (1, 1));
    assert_lawful(&world);
}

#[tokio::test]
async fn a_webhook_that_hides_the_branch_is_opened() {
    let world = world().await;
    let hook = webhook_before(&world);
    let project = project(&world)["id"].as_u64().expect("an id");
    let filter =
        json!({"push_events_branch_filter": "release/*", "branch_filter_strategy": "wildcard"});
    forge(&world)
        .lock()
        .hook_mut(project, hook)
        .expect("the webhook")
        .settings
        .extend(filter.as_object().cloned().expect("settings"));
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("webhooks"), (1, 1));
    push(&world, PATH, "second words").await;
    assert_lawful(&world);
}

#[tokio::test]
async fn a_developer_is_told_the_role_that_is_missing_and_nothing_is_made() {
    let world = world_with("glpat-developer", Setup::default()).await;
    token(&world, "glpat-developer", Access::Push, &["api"]);
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "admin_required");
    let detail = text(&link["diagnosis"]["detail"]);
    assert!(
        detail.contains("Developer") && detail.contains("Maintainer"),
        "{detail}"
    );
    for kind in ["installed_keys", "webhooks", "sites"] {
        assert_eq!(world.count(kind), (0, 0), "{kind}");
    }
}

#[tokio::test]
async fn a_token_that_may_only_read_is_told_the_scope_that_is_missing() {
    let world = world_with("glpat-reader", Setup::default()).await;
    token(&world, "glpat-reader", Access::Admin, &["read_api"]);
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "scope_missing");
    assert!(text(&link["diagnosis"]["detail"]).contains("`api`"));
}

#[tokio::test]
async fn an_answer_that_was_lost_makes_no_second_key_or_webhook() {
    for path in ["/deploy_keys$", "/hooks$"] {
        let world = world().await;
        world.fault(
            json!({"upstream": "gitlab", "method": "POST", "path": path, "fault": "lost_answer"}),
        );
        let link = world.client.link_settled(docs()).await;
        assert_eq!(link["status"], "live", "{path}: {link:#}");
        for kind in KINDS {
            assert_eq!(world.count(kind), (1, 1), "{path}: {kind}");
        }
        leaves_nothing(&world, &link).await;
    }
}

#[tokio::test]
async fn a_branch_that_gitlab_does_not_test_waits_for_its_first_push() {
    let world = world().await;
    let commit = NewCommit {
        branch: "next".to_owned(),
        files: forge::site_template::files("From the other branch"),
        ..NewCommit::default()
    };
    let at: Place = (Provider::Gitlab, PATH).into();
    world.sandbox.commit(at, commit).await.expect("a commit");
    let mut request = docs();
    request["branch"] = json!("next");
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "push_awaited", "{link:#}");
    let what = &link["diagnosis"]["action"]["what"];
    assert_eq!(*what, json!({"kind": "push_commit", "branch": "next"}));
    assert_eq!(link["deploy"]["state"], "ready");

    let commit = NewCommit {
        branch: "next".to_owned(),
        files: [(
            "content/text.txt".to_owned(),
            "words that prove it\n".to_owned(),
        )]
        .into(),
        ..NewCommit::default()
    };
    let at: Place = (Provider::Gitlab, PATH).into();
    world.sandbox.commit(at, commit).await.expect("a commit");
    let id = text(&link["id"]);
    let live = until("the link to see the push", async || {
        let link = world.client.read(&id).await;
        (link["status"] == "live").then_some(link)
    })
    .await;
    assert!(live["verification"]["level"].as_u64() >= Some(2));
    leaves_nothing(&world, &live).await;
}

#[tokio::test]
async fn a_check_tells_login_scopes_and_expiry() {
    let world = World::empty(Setup::default()).await;
    let new = NewToken {
        token: "glpat-short".to_owned(),
        login: "ann".to_owned(),
        scopes: Some(vec!["api".to_owned()]),
        expires_at: Some(1_900_000_000),
        ..NewToken::default()
    };
    forge::add_token(world.sandbox.world(), forge(&world), new).expect("a token");
    let credential = json!({"type": "token", "token": "glpat-short"});
    let connection = json!({"name": "gitlab", "kind": "gitlab", "credential": credential});
    let made = world
        .client
        .post("/connections", connection)
        .await
        .expect(201);
    let path = format!("/connections/{}", text(&made.body["id"]));
    let check = format!("{path}/check");
    let asked = world
        .client
        .send(Method::POST, &check, |request| request)
        .await;
    asked.expect(202);
    let check = until("the check to be over", async || {
        let check = world.client.get(&path).await.expect(200).body["check"].clone();
        check.get("poll_after_ms").is_none().then_some(check)
    })
    .await;
    assert_eq!(check["state"], "passed", "{check:#}");
    assert_eq!(
        (&check["identity"], &check["scopes"]),
        (&json!("ann"), &json!(["api"]))
    );
    assert_eq!(check["expires_at"], "2030-03-17T00:00:00Z");
}
