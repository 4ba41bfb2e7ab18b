//! Where linkbroker may only read: a person places key and webhook, told exactly what to do, and the link goes on.

use linkbroker_sandbox::forge::{self, Forge, NewDeployKey, NewWebhook};
use linkbroker_sandbox::git::NewCommit;
use linkbroker_sandbox::{NETLIFY_TOKEN, NewRepository, Place, Provider};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Setup, World, docs, receipts, text, until};

/// The public repository `acme/docs`, and a connection to GitHub without any credential.
async fn public_repository() -> World {
    let world = World::empty(Setup::default()).await;
    let new = NewRepository {
        name: "docs".to_owned(),
        private: false,
        template: Some("site".to_owned()),
        ..NewRepository::default()
    };
    world
        .sandbox
        .create_repository(new)
        .await
        .expect("a repository");
    for (kind, credential) in [
        ("netlify", json!({"type": "token", "token": NETLIFY_TOKEN})),
        ("github", json!({"type": "anonymous"})),
    ] {
        let connection = json!({"name": kind, "kind": kind, "credential": credential});
        world
            .client
            .post("/connections", connection)
            .await
            .expect(201);
    }
    world
}

async fn place_key(world: &World, link: &Value) {
    let action = &link["diagnosis"]["action"];
    assert_eq!(action["what"]["kind"], "place_deploy_key", "{link:#}");
    assert_eq!(action["then"], "by_retry", "{link:#}");
    assert_eq!(
        action["page"],
        "https://github.com/acme/docs/settings/keys/new"
    );
    let key = json!({"title": "Netlify", "key": action["what"]["public_key"], "read_only": true});
    world
        .github(Method::POST, "/repos/acme/docs/keys", Some(key))
        .await;
}

async fn place_webhook(world: &World, link: &Value) {
    let action = &link["diagnosis"]["action"];
    assert_eq!(action["what"]["kind"], "place_webhook", "{link:#}");
    assert_eq!(
        action["page"],
        "https://github.com/acme/docs/settings/hooks/new"
    );
    let config = json!({"url": action["what"]["url"], "content_type": "json"});
    let hook = json!({"name": "web", "active": true, "events": ["push"], "config": config});
    world
        .github(Method::POST, "/repos/acme/docs/hooks", Some(hook))
        .await;
}

async fn push(world: &World) {
    let commit = NewCommit {
        message: "Second".to_owned(),
        files: [("news.txt".to_owned(), "news".to_owned())].into(),
        ..NewCommit::default()
    };
    world
        .sandbox
        .commit("acme/docs", commit)
        .await
        .expect("a commit");
}

async fn until_live(world: &World, id: &str) -> Value {
    until("the link to be live", async || {
        let link = world.client.read(id).await;
        (link["status"] == "live").then_some(link)
    })
    .await
}

#[tokio::test]
async fn a_public_repository_without_rights_is_linked_by_doing_what_the_link_asks_for() {
    let world = public_repository().await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "key_to_be_placed");
    let id = text(&link["id"]);

    place_key(&world, &link).await;
    let link = world.client.retry(&id).await;
    assert_eq!(
        link["diagnosis"]["code"], "webhook_to_be_placed",
        "{link:#}"
    );
    assert_eq!(link["deploy"]["state"], "ready", "{link:#}");

    place_webhook(&world, &link).await;
    push(&world).await;
    let link = until_live(&world, &id).await;
    assert!(
        link["verification"]["level"].as_u64() >= Some(2),
        "{link:#}"
    );
    assert_eq!(link["diagnosis"], Value::Null);

    let link = world.client.unlink(&id, "").await;
    assert_eq!(link["status"], "unlinked", "{link:#}");
    let kept = |kind: &str| (kind.to_owned(), "kept_foreign".to_owned());
    let receipts = receipts(&link);
    assert!(receipts.contains(&kept("installed_key")), "{receipts:?}");
    assert!(receipts.contains(&kept("webhook")), "{receipts:?}");
    assert_eq!(world.count("sites").1, 0);
}

#[tokio::test]
async fn a_link_that_waits_for_a_person_stays_as_it_is_until_he_acts() {
    let world = public_repository().await;
    let link = world.client.link_settled(docs()).await;
    place_key(&world, &link).await;
    let id = text(&link["id"]);
    let waiting = world.client.retry(&id).await;

    // Several looks go by.
    let looks = || {
        world
            .sandbox
            .calls()
            .iter()
            .filter(|call| call.path.contains("/builds?"))
            .count()
    };
    let before = looks();
    until("looks for a push", async || {
        (looks() > before + 2).then_some(())
    })
    .await;
    let still = world.client.read(&id).await;
    assert_eq!(still["version"], waiting["version"], "{still:#}");
    assert_eq!(still["status"], "action_required");
}

#[tokio::test]
async fn the_caller_may_say_that_the_webhook_is_there_and_the_next_push_proves_it() {
    let world = public_repository().await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    place_key(&world, &link).await;
    let link = world.client.retry(&id).await;
    place_webhook(&world, &link).await;

    let link = world.client.retry(&id).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "push_awaited");
    assert_eq!(link["diagnosis"]["action"]["what"]["branch"], "main");
    push(&world).await;
    until_live(&world, &id).await;
}

#[tokio::test]
async fn who_does_not_want_to_push_asks_for_a_build_as_proof() {
    let world = public_repository().await;
    let mut request = docs();
    request["verify"] = json!("build");
    let link = world.client.link_settled(request).await;
    let id = text(&link["id"]);
    place_key(&world, &link).await;
    let link = world.client.retry(&id).await;
    assert_eq!(link["diagnosis"]["action"]["then"], "by_retry", "{link:#}");
    place_webhook(&world, &link).await;
    let link = world.client.retry(&id).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(link["verification"]["level"], 0);
}

#[tokio::test]
async fn a_key_that_was_not_placed_is_asked_for_again_after_the_clone_failed() {
    let world = public_repository().await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    let link = world.client.retry(&id).await;
    assert_eq!(link["status"], "build_failed", "{link:#}");
    let link = world.client.retry(&id).await;
    assert_eq!(link["diagnosis"]["code"], "key_to_be_placed", "{link:#}");
}

/// A git host with SSH and nothing else; the address of its repository `acme/docs`.
async fn plain_host(world: &World) -> String {
    let new = NewRepository {
        provider: Provider::Plain,
        name: "docs".to_owned(),
        template: Some("site".to_owned()),
        ..NewRepository::default()
    };
    let made = world
        .sandbox
        .create_repository(new)
        .await
        .expect("a repository");
    text(&made["ssh_url"])
}

fn plain(world: &World) -> &Forge {
    &world.sandbox.world().forges.plain
}

#[tokio::test]
async fn a_git_host_that_knows_only_ssh_is_linked_with_a_persons_hands() {
    let world = World::empty(Setup::default()).await;
    let address = plain_host(&world).await;
    let mut request = docs();
    request["repository"] = json!(address);
    request["branch"] = json!("main");

    let answer = world
        .client
        .post("/links", request.clone())
        .await
        .expect(422);
    let detail = text(&answer.body["errors"][0]["detail"]);
    assert!(detail.contains("kind `manual`"), "{detail}");
    for connection in [
        json!({"name": "netlify", "kind": "netlify", "credential": {"type": "token", "token": NETLIFY_TOKEN}}),
        json!({"name": "our-git", "kind": "manual", "host": "127.0.0.1", "credential": {"type": "anonymous"}}),
    ] {
        world
            .client
            .post("/connections", connection)
            .await
            .expect(201);
    }

    let link = world.client.link_settled(request).await;
    let id = text(&link["id"]);
    let action = &link["diagnosis"]["action"];
    assert_eq!(action["what"]["kind"], "place_deploy_key", "{link:#}");
    let key = NewDeployKey {
        repository: "acme/docs".to_owned(),
        key: text(&action["what"]["public_key"]),
        ..NewDeployKey::default()
    };
    forge::install_key(world.sandbox.world(), plain(&world), key).expect("a key");

    let link = world.client.retry(&id).await;
    let action = &link["diagnosis"]["action"];
    assert_eq!(action["what"]["kind"], "place_webhook", "{link:#}");
    assert_eq!(link["deploy"]["state"], "ready", "the key works: {link:#}");
    let webhook = NewWebhook {
        repository: "acme/docs".to_owned(),
        url: text(&action["what"]["url"]),
        ..NewWebhook::default()
    };
    forge::install_webhook(world.sandbox.world(), plain(&world), webhook).expect("a webhook");
    let commit = NewCommit {
        message: "Second".to_owned(),
        files: [("content/text.txt".to_owned(), "second words\n".to_owned())].into(),
        ..NewCommit::default()
    };
    let at: Place = (Provider::Plain, "acme/docs").into();
    world.sandbox.commit(at, commit).await.expect("a commit");
    until_live(&world, &id).await;
    until("the page to have what was pushed", async || {
        world
            .page("acme-docs")
            .await
            .contains("second words")
            .then_some(())
    })
    .await;

    let link = world.client.unlink(&id, "").await;
    assert_eq!(link["status"], "unlinked", "{link:#}");
    assert_eq!(world.count("sites").1, 0);
    assert_eq!(world.count("deploy_keys").1, 0);
    let violations = world.sandbox.violations();
    assert!(violations.is_empty(), "{violations:#?}");
}

#[tokio::test]
async fn a_repository_without_an_api_needs_its_branch_named_and_its_connection_a_host() {
    let world = World::empty(Setup::default()).await;
    let mut request = docs();
    request["repository"] = json!("git@git.example.com:team/docs.git");
    let answer = world.client.post("/links", request).await.expect(422);
    assert_eq!(
        answer.body["errors"][0]["pointer"], "/branch",
        "{}",
        answer.text
    );
    for (connection, pointer) in [
        (
            json!({"name": "x", "kind": "manual", "credential": {"type": "anonymous"}}),
            "/host",
        ),
        (
            json!({"name": "x", "kind": "manual", "host": "a b", "credential": {"type": "anonymous"}}),
            "/host",
        ),
        (
            json!({"name": "x", "kind": "manual", "host": "h", "credential": {"type": "token", "token": "t"}}),
            "/credential/type",
        ),
    ] {
        let answer = world
            .client
            .post("/connections", connection)
            .await
            .expect(422);
        assert_eq!(
            answer.body["errors"][0]["pointer"], pointer,
            "{}",
            answer.text
        );
    }
}
