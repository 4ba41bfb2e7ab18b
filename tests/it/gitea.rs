//! Repositories at Gitea and Forgejo, which Netlify knows as `manual`: key and webhook are placed all the same.

use linkbroker_sandbox::forge::{self, Forge, NewPersonKey};
use linkbroker_sandbox::git::NewCommit;
use linkbroker_sandbox::{GITEA_TOKEN, NETLIFY_TOKEN, NewRepository, Place, Provider};
use serde_json::{Value, json};

use crate::planning::assert_as_planned;
use crate::world::{Setup, World, text, until};

const KINDS: [&str; 4] = ["deploy_keys", "installed_keys", "webhooks", "sites"];

/// The private repository `acme/docs`, and connections to Netlify and the Forgejo of the operator's file.
async fn world() -> World {
    let world = World::empty(Setup::default()).await;
    let new = NewRepository {
        provider: Provider::Gitea,
        name: "docs".to_owned(),
        template: Some("site".to_owned()),
        ..NewRepository::default()
    };
    let made = world.sandbox.create_repository(new).await;
    made.expect("a repository");
    for (kind, token) in [("netlify", NETLIFY_TOKEN), ("gitea", GITEA_TOKEN)] {
        let credential = json!({"type": "token", "token": token});
        let connection = json!({"name": kind, "kind": kind, "credential": credential});
        let made = world.client.post("/connections", connection).await;
        made.expect(201);
    }
    world
}

fn docs(site: &str) -> Value {
    json!({
        "repository": "https://code.example.com/acme/docs/src/branch/main",
        "site": {"name": site, "team": "sandbox"},
        "build": {"command": "sh build.sh", "publish": "dist"},
    })
}

fn forge(world: &World) -> &Forge {
    &world.sandbox.world().forges.gitea
}

async fn push(world: &World, words: &str) {
    let commit = NewCommit {
        message: format!("Say {words}"),
        files: [("content/text.txt".to_owned(), format!("{words}\n"))].into(),
        ..NewCommit::default()
    };
    let at: Place = (Provider::Gitea, "acme/docs").into();
    world.sandbox.commit(at, commit).await.expect("a commit");
}

async fn shows(world: &World, site: &str, words: &str) {
    until("the page to have what was pushed", async || {
        world.page(site).await.contains(words).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_private_repository_goes_live_is_rebuilt_and_taken_back() {
    let world = world().await;
    let request = docs("acme-docs");
    let plan = world
        .client
        .post("/links?validate_only=true", request.clone())
        .await;
    let plan = plan.expect(200).body;
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_as_planned(&plan, &link, world.sandbox.calls());
    assert!(
        link["verification"]["level"].as_u64() >= Some(2),
        "{link:#}"
    );
    for kind in KINDS {
        assert_eq!(world.count(kind), (1, 1), "{kind}");
    }
    push(&world, "second words").await;
    shows(&world, "acme-docs", "second words").await;

    let unlinked = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    for kind in KINDS {
        assert_eq!(world.count(kind).1, 0, "{kind}");
    }
    let violations = world.sandbox.violations();
    assert!(violations.is_empty(), "{violations:#?}");
}

#[tokio::test]
async fn two_sites_of_one_repository_have_a_webhook_each() {
    let world = world().await;
    let first = world.client.link_settled(docs("acme-docs")).await;
    let second = world.client.link_settled(docs("acme-docs-2")).await;
    assert_eq!(second["status"], "live", "{second:#}");
    assert_eq!(world.count("webhooks"), (2, 2));
    push(&world, "words for both").await;
    shows(&world, "acme-docs", "words for both").await;
    shows(&world, "acme-docs-2", "words for both").await;

    world.client.unlink(&text(&first["id"]), "").await;
    assert_eq!(world.count("webhooks"), (2, 1));
    push(&world, "words for one").await;
    shows(&world, "acme-docs-2", "words for one").await;
}

#[tokio::test]
async fn an_answer_that_was_lost_makes_no_second_key_webhook_or_build() {
    for (upstream, method, path) in [
        ("gitea", "POST", "/keys$"),
        ("gitea", "POST", "/hooks$"),
        ("netlify", "PATCH", "/sites/"),
    ] {
        let world = world().await;
        world.fault(
            json!({"upstream": upstream, "method": method, "path": path, "fault": "lost_answer"}),
        );
        let link = world.client.link_settled(docs("acme-docs")).await;
        assert_eq!(link["status"], "live", "{path}: {link:#}");
        for kind in KINDS {
            assert_eq!(world.count(kind), (1, 1), "{path}: {kind}");
        }
        let deploys = world.state()["netlify"]["deploys"].clone();
        let deploys = deploys.as_array().expect("deploys").iter();
        let ready = deploys.filter(|deploy| deploy["state"] == "ready");
        assert_eq!(ready.count(), 1, "{path}");
    }
}

#[tokio::test]
async fn a_key_in_somebodys_profile_is_exchanged_for_another() {
    let world = world().await;
    world.fault(json!({"upstream": "gitea", "method": "POST", "path": "/keys$", "times": 1000, "fault": {"status": 503}}));
    let link = world.client.link_settled(docs("acme-docs")).await;
    assert_eq!(
        link["diagnosis"]["code"], "upstream_unavailable",
        "{link:#}"
    );
    let new = NewPersonKey {
        provider: Provider::Gitea,
        login: "ann".to_owned(),
        title: "from the guide".to_owned(),
        key: text(&world.state()["netlify"]["deploy_keys"][0]["public_key"]),
        ..NewPersonKey::default()
    };
    forge::add_person_key(world.sandbox.world(), forge(&world), new).expect("a key");
    world.sandbox.world().faults.clear();

    let id = text(&link["id"]);
    let link = world.client.retry(&id).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let events = world.client.get(&format!("/links/{id}/events")).await;
    let events = events.expect(200).body["events"].clone();
    let mut events = events.as_array().expect("events").iter();
    let reopened = events.find(|event| event["type"] == "step.reopened");
    assert_eq!(
        reopened.expect("why")["detail"]["code"],
        "key_in_profile_not_project"
    );
}
