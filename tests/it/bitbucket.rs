//! Repositories at Bitbucket Cloud, which replays no push: people's next one proves the link.

use linkbroker_sandbox::git::NewCommit;
use linkbroker_sandbox::{
    BITBUCKET_ACCESS_TOKEN, BITBUCKET_EMAIL, BITBUCKET_TOKEN, NETLIFY_TOKEN, NewRepository,
    Provider,
};
use serde_json::{Value, json};

use crate::world::{Setup, World, docs, receipts, text, until};

fn api_token() -> Value {
    json!({"type": "basic", "user": BITBUCKET_EMAIL, "secret": BITBUCKET_TOKEN})
}

/// The private repository `acme/docs` at Bitbucket, and connections.
async fn world(credential: Value) -> World {
    let world = World::empty(Setup::default()).await;
    let new = NewRepository {
        provider: Provider::Bitbucket,
        name: "docs".to_owned(),
        template: Some("site".to_owned()),
        ..NewRepository::default()
    };
    let made = world.sandbox.create_repository(new).await;
    made.expect("a repository");
    for (kind, credential) in [
        ("netlify", json!({"type": "token", "token": NETLIFY_TOKEN})),
        ("bitbucket", credential),
    ] {
        let connection = json!({"name": kind, "kind": kind, "credential": credential});
        let made = world.client.post("/connections", connection).await;
        made.expect(201);
    }
    world
}

fn at_bitbucket() -> Value {
    let mut request = docs();
    request["repository"] = json!("https://bitbucket.org/acme/docs/src/main/");
    request
}

async fn push(world: &World, text: &str) {
    let commit = NewCommit {
        message: text.to_owned(),
        files: [("news.txt".to_owned(), text.to_owned())].into(),
        ..NewCommit::default()
    };
    let place = (Provider::Bitbucket, "acme/docs");
    world.sandbox.commit(place, commit).await.expect("a commit");
}

async fn until_live(world: &World, id: &str) -> Value {
    until("the link to be live", async || {
        let link = world.client.read(id).await;
        (link["status"] == "live").then_some(link)
    })
    .await
}

fn assert_counts(world: &World, alive: u64) {
    let counts = world.sandbox.counts();
    for kind in ["installed_keys", "webhooks"] {
        let count = counts.at(Provider::Bitbucket, kind);
        assert_eq!((count.created, count.alive), (1, alive), "{kind}");
    }
    for kind in ["deploy_keys", "sites"] {
        assert_eq!(world.count(kind), (1, alive), "{kind}");
    }
}

#[tokio::test]
async fn a_private_repository_is_linked_proved_by_a_push_and_unlinked() {
    let world = world(api_token()).await;
    let link = world.client.link_settled(at_bitbucket()).await;
    assert_eq!(link["diagnosis"]["code"], "push_awaited", "{link:#}");
    assert_eq!(link["deploy"]["state"], "ready", "{link:#}");
    assert_eq!(link["repository"]["path"], "acme/docs");
    assert_counts(&world, 1);

    push(&world, "Second").await;
    let id = text(&link["id"]);
    let link = until_live(&world, &id).await;
    assert!(
        link["verification"]["level"].as_u64() >= Some(2),
        "{link:#}"
    );

    let link = world.client.unlink(&id, "").await;
    assert_eq!(link["status"], "unlinked", "{link:#}");
    let receipts = receipts(&link);
    assert!(
        receipts.iter().all(|(_, receipt)| receipt == "deleted"),
        "{receipts:?}"
    );
    assert_counts(&world, 0);
    let violations = world.sandbox.violations();
    assert!(violations.is_empty(), "{violations:#?}");
}

#[tokio::test]
async fn an_access_token_of_a_workspace_links_too() {
    let credential = json!({"type": "token", "token": BITBUCKET_ACCESS_TOKEN});
    let world = world(credential).await;
    let mut request = at_bitbucket();
    request["verify"] = json!("build");
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_counts(&world, 1);
}

#[tokio::test]
async fn a_webhook_that_is_there_is_mended_used_and_left() {
    let world = world(api_token()).await;
    let url = format!(
        "{}/hooks/bitbucket",
        world.sandbox.netlify_url().trim_end_matches("/api/v1")
    );
    let hook = json!({
        "description": "Netlify", "url": url, "active": false, "events": ["repo:push", "repo:fork"],
    });
    let hooks = format!(
        "{}/repositories/acme/docs/hooks",
        world.sandbox.bitbucket_url()
    );
    let http = reqwest::Client::new();
    let made = http.post(&hooks).json(&hook);
    let made = made
        .basic_auth(BITBUCKET_EMAIL, Some(BITBUCKET_TOKEN))
        .send();
    assert_eq!(made.await.expect("an answer").status(), 201);

    let mut request = at_bitbucket();
    request["verify"] = json!("build");
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let listed = http.get(&hooks);
    let listed = listed
        .basic_auth(BITBUCKET_EMAIL, Some(BITBUCKET_TOKEN))
        .send();
    let listed: Value = listed.await.expect("an answer").json().await.expect("JSON");
    let [found] = listed["values"].as_array().expect("webhooks").as_slice() else {
        panic!("{listed:#}");
    };
    assert_eq!(found["active"], true, "{found:#}");
    let events = found["events"].as_array().expect("events");
    assert!(
        events.contains(&json!("repo:fork")) && events.len() == 6,
        "{found:#}"
    );

    let link = world.client.unlink(&text(&link["id"]), "").await;
    let kept = ("webhook".to_owned(), "kept_foreign".to_owned());
    assert!(receipts(&link).contains(&kept), "{link:#}");
}

#[tokio::test]
async fn a_check_tells_whose_the_token_is() {
    let world = world(api_token()).await;
    let list = world.client.get("/connections?limit=100").await.expect(200);
    let list = list.body["connections"]
        .as_array()
        .expect("connections")
        .clone();
    let mut list = list.iter();
    let connection = list
        .find(|it| it["kind"] == "bitbucket")
        .expect("a connection");
    let path = format!("/connections/{}", text(&connection["id"]));
    let check = format!("{path}/check");
    let asked = world
        .client
        .send(reqwest::Method::POST, &check, |request| request);
    asked.await.expect(202);
    let checked = until("the check to be over", async || {
        let check = world.client.get(&path).await.expect(200).body["check"].clone();
        check.get("poll_after_ms").is_none().then_some(check)
    })
    .await;
    assert_eq!(checked["state"], "passed", "{checked:#}");
    assert!(!text(&checked["identity"]).is_empty());
}
