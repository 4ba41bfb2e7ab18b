//! Callers without an issuer: a key made by a command, used, revoked.

use linkbroker::vault::new_master_key;
use serde_json::{Value, json};

use crate::world::{Client, Setup, World, until};

async fn world() -> World {
    let settings = vec![("LINKBROKER_API_KEYS", "on".to_owned())];
    World::empty(Setup {
        settings,
        ..Setup::default()
    })
    .await
}

async fn create(world: &World, name: &str, scopes: &[&str]) -> Value {
    let mut arguments = vec!["api-keys", "create", "--tenant", "acme", "--name", name];
    arguments.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
    world.run(&arguments).await.expect(0).json()
}

fn client(world: &World, key: &Value) -> Client {
    let key = key["key"].as_str().expect("a key").to_owned();
    world.client.with_token(&world.server.address, Some(key))
}

#[tokio::test]
async fn a_key_is_made_used_listed_and_revoked_at_once() {
    let world = world().await;
    let key = create(&world, "portal", &["links:read", "connections:write"]).await;
    let bearer = client(&world, &key);
    assert_eq!(
        bearer.get("/links").await.expect(200).body["links"],
        json!([])
    );
    // What it was not given, it may not.
    bearer.get("/connections").await.expect(403);
    let credential = json!({"type": "token", "token": "a-token"});
    let connection = json!({"name": "hub", "kind": "github", "credential": credential});
    bearer.post("/connections", connection).await.expect(201);
    let audit = world.client.get("/audit").await.expect(200).body;
    assert_eq!(audit["entries"][0]["caller"], "api-key:portal");
    assert_eq!(audit["entries"][1]["caller"], "operator", "{audit:#}");
    // The issuer's tokens are accepted beside it.
    assert_eq!(
        world.client.get("/connections").await.expect(200).body["connections"][0]["name"],
        "hub"
    );

    let listed = world
        .run(&["api-keys", "list", "--tenant", "acme"])
        .await
        .expect(0);
    assert!(!listed.stdout.contains(key["key"].as_str().expect("a key")));
    assert!(listed.json()[0]["last_used_at"].is_string(), "{listed:?}");
    let id = key["id"].as_str().expect("an id");
    world.run(&["api-keys", "revoke", id]).await.expect(0);
    let refused = bearer.get("/links").await.expect(401);
    world.run(&["api-keys", "revoke", id]).await.expect(1);
    // The name is free again; the old key stays what it is.
    let next = create(&world, "portal", &["links:read"]).await;
    client(&world, &next).get("/links").await.expect(200);
    assert_eq!(
        bearer.get("/links").await.expect(401).body["code"],
        refused.body["code"]
    );
}

#[tokio::test]
async fn the_secret_is_stored_nowhere_and_its_use_is_noted_once_a_minute() {
    let world = world().await;
    let key = create(&world, "portal", &["links:read"]).await;
    let token = key["key"].as_str().expect("a key");
    let secret = &token[4 + 32 + 1..];
    let bearer = client(&world, &key);
    bearer.get("/links").await.expect(200);
    let first = world.database.dump().await["api_keys"].clone();
    bearer.get("/links").await.expect(200);
    let second = world.database.dump().await["api_keys"].clone();
    assert_eq!(first, second);
    assert!(
        !Value::Object(world.database.dump().await)
            .to_string()
            .contains(secret)
    );
    until("the log", async || {
        world.server.log().contains("listening").then_some(())
    })
    .await;
    assert!(!world.server.log().contains(secret));
}

#[tokio::test]
async fn forged_keys_are_refused_with_one_body() {
    let world = world().await;
    let key = create(&world, "portal", &["links:read"]).await;
    let other = create(&world, "other", &["links:read"]).await;
    let (token, other) = (
        key["key"].as_str().expect("a key"),
        other["key"].as_str().expect("a key"),
    );
    let (head, secret) = token.split_at(4 + 32 + 1);
    let mixed = format!("{}{secret}", &other[..4 + 32 + 1]);
    let unknown = format!("lbk_{}_{secret}", uuid::Uuid::new_v4().simple());
    let mut bodies = Vec::new();
    for forged in [
        head.to_owned(),
        format!("{token}x"),
        token[..token.len() - 1].to_owned(),
        mixed,
        unknown,
        token.to_uppercase(),
        "lbk_".to_owned(),
    ] {
        let bearer = world
            .client
            .with_token(&world.server.address, Some(forged.clone()));
        let mut body = bearer.get("/links").await.expect(401).body;
        body["request_id"] = Value::Null;
        bodies.push(body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:#?}");
}

#[tokio::test]
async fn without_the_setting_keys_are_refused_and_with_it_no_issuer_is_needed() {
    let mut world = World::empty(Setup::default()).await;
    let key = create(&world, "portal", &["links:read"]).await;
    client(&world, &key).get("/links").await.expect(401);

    world.set(
        "LINKBROKER_KEYRING",
        new_master_key("k").expect("a key").to_string(),
    );
    let refused = world.run(&["config", "check"]).await.expect(1).json();
    assert_eq!(
        refused["problems"][0]["setting"], "LINKBROKER_ISSUERS",
        "{refused:#}"
    );
    world.set("LINKBROKER_API_KEYS", "on".to_owned());
    world.run(&["config", "check"]).await.expect(0);
    // Not `--dev`: there is no issuer at all.
    let server =
        crate::world::Server::start_with(&["serve"], world.settings(), world.folder()).await;
    let bearer =
        client(&world, &key).with_token(&server.address, key["key"].as_str().map(str::to_owned));
    bearer.get("/links").await.expect(200);
    world
        .client
        .with_token(&server.address, Some("a.b.c".to_owned()))
        .get("/links")
        .await
        .expect(401);
}
