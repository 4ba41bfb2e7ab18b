//! `POST /connections/{id}/check`: is the credential good, whose is it, when does it expire?

use linkbroker_sandbox::github::{self, NewToken};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Client, Setup, World, text, until};

/// The connection of a kind.
pub async fn connection(client: &Client, kind: &str) -> Value {
    let list = client.get("/connections").await.expect(200).body;
    let mut list = list["connections"].as_array().expect("connections").iter();
    list.find(|it| it["kind"] == kind)
        .expect("a connection")
        .clone()
}

/// Asks for a check and waits until it is over; the connection then.
async fn check(client: &Client, connection: &Value) -> Value {
    let path = format!("/connections/{}", text(&connection["id"]));
    let accepted = client
        .send(Method::POST, &format!("{path}/check"), |request| request)
        .await
        .expect(202);
    assert_eq!(accepted.header("location"), Some(path.as_str()));
    over(client, &path).await
}

async fn over(client: &Client, path: &str) -> Value {
    until("the check to be over", async || {
        let answer = client.get(path).await.expect(200);
        let waits = answer.body["check"].get("poll_after_ms").is_some();
        assert_eq!(answer.header("retry-after").is_some(), waits);
        (!waits).then_some(answer.body)
    })
    .await
}

#[tokio::test]
async fn netlify_tells_the_person_and_the_teams() {
    let world = World::usual().await;
    let before = connection(&world.client, "netlify").await;
    assert_eq!(before.get("check"), None);
    let checked = check(&world.client, &before).await["check"].clone();
    assert_eq!(checked["state"], "passed", "{checked:#}");
    assert!(!text(&checked["identity"]).is_empty());
    assert_eq!(checked["teams"], json!(["sandbox"]));
    assert_eq!(checked.get("scopes"), None);
    assert!(checked.get("checked_at").is_some());
    assert_eq!(connection(&world.client, "netlify").await["check"], checked);
    assert!(world.sandbox.violations().is_empty());
}

#[tokio::test]
async fn github_tells_login_scopes_and_expiry() {
    let world = World::empty(Setup::default()).await;
    let expires_at = 1_900_000_000;
    let new = json!({"token": "ghp-short-lived", "login": "ann", "kind": "classic", "scopes": ["repo"], "expires_at": expires_at});
    let new: NewToken = serde_json::from_value(new).expect("a token's description");
    github::add_token(world.sandbox.world(), new).expect("a token");
    world
        .connect_with(
            &world.client,
            linkbroker_sandbox::NETLIFY_TOKEN,
            "ghp-short-lived",
        )
        .await;
    let checked =
        check(&world.client, &connection(&world.client, "github").await).await["check"].clone();
    assert_eq!(checked["state"], "passed", "{checked:#}");
    assert_eq!(
        (&checked["identity"], &checked["scopes"]),
        (&json!("ann"), &json!(["repo"]))
    );
    assert_eq!(checked["expires_at"], "2030-03-17T17:46:40Z");
}

#[tokio::test]
async fn a_refused_credential_fails_with_its_diagnosis_and_a_new_one_starts_anew() {
    let world = World::empty(Setup::default()).await;
    world
        .connect_with(&world.client, "no-such-token", "no-such-token")
        .await;
    for kind in ["netlify", "github"] {
        let checked =
            check(&world.client, &connection(&world.client, kind).await).await["check"].clone();
        assert_eq!(checked["state"], "failed", "{checked:#}");
        assert_eq!(checked["failure"]["code"], "credential_refused");
        assert_eq!(checked["failure"]["upstream"]["status"], 401);
        assert_eq!(checked.get("identity"), None);
    }
    let github = connection(&world.client, "github").await;
    let path = format!("/connections/{}", text(&github["id"]));
    let good = json!({"type": "token", "token": linkbroker_sandbox::GITHUB_TOKEN});
    let credential = format!("{path}/credential");
    let put = |request: reqwest::RequestBuilder| request.json(&good);
    let replaced = world.client.send(Method::PUT, &credential, put);
    replaced.await.expect(204);
    assert_eq!(
        world.client.get(&path).await.expect(200).body.get("check"),
        None
    );
    assert_eq!(
        check(&world.client, &github).await["check"]["state"],
        "passed"
    );
}

#[tokio::test]
async fn asking_many_times_is_asking_once() {
    let world = World::usual().await;
    world
        .sandbox
        .patch_switches(&json!({"latency_ms": 300}))
        .expect("a switch");
    let github = connection(&world.client, "github").await;
    let path = format!("/connections/{}", text(&github["id"]));
    for _ in 0..5 {
        let asked = world
            .client
            .send(Method::POST, &format!("{path}/check"), |request| request)
            .await
            .expect(202);
        assert_eq!(asked.header("retry-after"), Some("1"));
    }
    assert_eq!(over(&world.client, &path).await["check"]["state"], "passed");
    let calls = world.sandbox.calls();
    assert_eq!(
        calls
            .iter()
            .filter(|call| call.path.ends_with("/user"))
            .count(),
        1,
        "{calls:#?}"
    );
}

#[tokio::test]
async fn a_check_survives_its_worker() {
    let mut world = World::usual().await;
    world
        .sandbox
        .patch_switches(&json!({"latency_ms": 2000}))
        .expect("a switch");
    let github = connection(&world.client, "github").await;
    let path = format!("/connections/{}", text(&github["id"]));
    world
        .client
        .send(Method::POST, &format!("{path}/check"), |request| request)
        .await
        .expect(202);
    until("the check to run", async || {
        let check = world.client.get(&path).await.expect(200).body["check"].clone();
        (check["state"] == "running").then_some(())
    })
    .await;
    // Told to stop it lets go at once, and the next process takes the check up.
    world.server.stop().await;
    world
        .sandbox
        .patch_switches(&json!({"latency_ms": 0}))
        .expect("a switch");
    world.start_again().await;
    assert_eq!(over(&world.client, &path).await["check"]["state"], "passed");
}

#[tokio::test]
async fn strangers_and_readers_cannot_check() {
    use linkbroker::api::caller::Scope;
    let world = World::usual().await;
    let github = connection(&world.client, "github").await;
    let path = format!("/connections/{}/check", text(&github["id"]));
    let stranger = world.client_of("stranger", Scope::ALL);
    stranger
        .send(Method::POST, &path, |request| request)
        .await
        .expect(404);
    let reader = world.client_of(crate::world::TENANT, &[Scope::ConnectionsRead]);
    reader
        .send(Method::POST, &path, |request| request)
        .await
        .expect(403);
    assert!(world.sandbox.calls().is_empty());
}

#[tokio::test]
async fn a_check_of_the_credential_before_says_nothing_of_the_one_that_took_its_place() {
    let world = World::empty(Setup::default()).await;
    world
        .connect_with(&world.client, linkbroker_sandbox::NETLIFY_TOKEN, "ghp_dead")
        .await;
    for (credential, late_ms) in [("ghp_dead", 1000), (linkbroker_sandbox::GITHUB_TOKEN, 2500)] {
        world.fault(json!({"upstream": "github", "path": ".*", "credential": credential, "fault": {"late_ms": late_ms}}));
    }
    let path = format!(
        "/connections/{}",
        text(&connection(&world.client, "github").await["id"])
    );
    let ask = async || {
        let check = format!("{path}/check");
        let asked = world.client.send(Method::POST, &check, |request| request);
        asked.await.expect(202);
        until("the check to be under way", async || {
            let connection = world.client.get(&path).await.expect(200).body;
            (connection["check"]["state"] == "running").then_some(())
        })
        .await;
    };
    ask().await;
    let good = json!({"type": "token", "token": linkbroker_sandbox::GITHUB_TOKEN});
    let place = format!("{path}/credential");
    let replaced = world
        .client
        .send(Method::PUT, &place, |request| request.json(&good));
    replaced.await.expect(204);
    ask().await;
    let checked = over(&world.client, &path).await;
    assert_eq!(checked["check"]["state"], "passed", "{checked:#}");
}
