//! `PUT /links/by-ref/{ref}`: the caller says what there shall be.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Answer, World, docs, text};

const PATH: &str = "/links/by-ref/team-a%2Fdocs";

async fn put(world: &World, body: &Value) -> Answer {
    world
        .client
        .send(Method::PUT, PATH, |request| request.json(body))
        .await
}

#[tokio::test]
async fn the_first_put_makes_the_link_and_the_next_finds_it() {
    let world = World::usual().await;
    let made = put(&world, &docs()).await.expect(202);
    let location = made.header("location").expect("a location").to_owned();
    assert_eq!(location, format!("/links/{}", made.id()));
    assert_eq!(made.body["ref"], "team-a/docs");
    let link = world.client.settled(&made.id()).await;
    assert_eq!(link["status"], "live", "{link:#}");

    let found = put(&world, &docs()).await.expect(200);
    assert_eq!(found.body, link);
    assert_eq!(
        found.header("etag"),
        Some(format!("\"{}\"", link["version"]).as_str())
    );
    // What is left to us fits what was chosen; other spellings name the same repository.
    let less = json!({"repository": "git@github.com:ACME/docs.git", "ref": "team-a/docs", "site": {"team": "sandbox"},
        "build": {"command": "sh build.sh", "publish": "dist"}});
    assert_eq!(put(&world, &less).await.expect(200).body, link);
    assert_eq!(world.count("sites"), (1, 1));
}

#[tokio::test]
async fn equal_puts_at_once_make_one_link() {
    let world = World::usual().await;
    let answers = join_all((0..20).map(|_| async { put(&world, &docs()).await })).await;
    let made = answers.iter().filter(|answer| answer.status == 202).count();
    let found = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((made, found), (1, 19));
    assert!(answers.iter().all(|answer| answer.id() == answers[0].id()));
}

#[tokio::test]
async fn labels_may_change_and_that_is_a_new_version() {
    let world = World::usual().await;
    let id = put(&world, &docs()).await.expect(202).id();
    let link = world.client.settled(&id).await;
    let mut labelled = docs();
    labelled["labels"] = json!({"portal": "backstage"});
    let changed = put(&world, &labelled).await.expect(200).body;
    assert_eq!(changed["labels"], labelled["labels"]);
    assert_eq!(
        changed["version"].as_i64(),
        link["version"].as_i64().map(|version| version + 1)
    );
    assert_eq!(put(&world, &labelled).await.expect(200).body, changed);
    let events = world
        .client
        .get(&format!("/links/{id}/events?limit=100"))
        .await
        .expect(200)
        .body;
    let last = events["events"]
        .as_array()
        .and_then(|events| events.last())
        .expect("an event")
        .clone();
    assert_eq!(last["type"], "link.labels_changed");
    assert_eq!(world.client.read(&id).await["status"], "live");
}

#[tokio::test]
async fn fixed_fields_that_differ_are_named() {
    let world = World::usual().await;
    let made = put(&world, &docs()).await.expect(202);
    let other = json!({"repository": "https://github.com/acme/other", "branch": "next", "verify": "build",
        "site": {"name": "other", "team": "sandbox"}, "build": {"command": "make", "publish": "dist"},
        "connections": {"provider": "other"}, "allowed_branches": []});
    let refused = put(&world, &other).await.expect(409);
    assert_eq!(refused.code(), "link_exists");
    assert_eq!(refused.header("location"), made.header("location"));
    let errors = refused.body["errors"].as_array().expect("errors").iter();
    let pointers: Vec<_> = errors.map(|error| text(&error["pointer"])).collect();
    assert_eq!(
        pointers,
        [
            "/repository",
            "/branch",
            "/site/name",
            "/build/command",
            "/verify",
            "/allowed_branches",
            "/connections/provider",
        ]
    );
    let unnamed = put(
        &world,
        &json!({"repository": "https://github.com/acme/docs", "ref": "another"}),
    )
    .await;
    assert_eq!(unnamed.expect(422).body["errors"][0]["pointer"], "/ref");
}

#[tokio::test]
async fn a_ref_is_free_again_when_its_link_is_over() {
    let world = World::usual().await;
    let first = put(&world, &docs()).await.expect(202).id();
    world.client.settled(&first).await;
    world
        .client
        .delete(&format!("/links/{first}"))
        .await
        .expect(202);
    let meanwhile = put(&world, &docs()).await;
    if meanwhile.status != 202 {
        assert_eq!(meanwhile.expect(409).code(), "illegal_transition");
    }
    world.client.settled(&first).await;
    let second = put(&world, &docs()).await;
    assert!([200, 202].contains(&second.status), "{}", second.text);
    assert_ne!(second.id(), first);
}
