//! `GET /links/{id}/steps`, `builds`, `diagnosis` and `resources`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Setup, World, docs, text};

const PARTS: [&str; 4] = ["steps", "builds", "diagnosis", "resources"];

#[tokio::test]
async fn parts_show_what_the_link_shows() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    let part = async |name: &str| {
        let answer = world
            .client
            .get(&format!("/links/{id}/{name}"))
            .await
            .expect(200);
        assert_eq!(
            answer.header("etag"),
            Some(format!("\"{}\"", link["version"]).as_str())
        );
        answer.body
    };
    assert_eq!(part("steps").await["steps"], link["steps"]);
    assert_eq!(part("resources").await["resources"], link["resources"]);
    let diagnosis = part("diagnosis").await;
    assert_eq!(
        diagnosis,
        json!({"status": "live", "verbs": ["rebuild", "verify", "check", "heal", "rotate-key", "unlink"]})
    );

    let builds = part("builds").await["builds"]
        .as_array()
        .expect("builds")
        .clone();
    assert_eq!(builds.len(), 2);
    // Newest first.
    let (proof, first) = (&builds[0], &builds[1]);
    assert_eq!(
        (&first["role"], &proof["role"]),
        (&json!("followed"), &json!("proof"))
    );
    assert_eq!(first["id"], link["build"]["id"]);
    assert_eq!(first["state"], "ready");
    assert_eq!(first["commit_ref"], link["deploy"]["commit_ref"]);
    assert_eq!(first["url"], link["deploy"]["url"]);
    assert_eq!(proof["id"], link["verification"]["build"]["id"]);
    assert_eq!(proof["error_message"], "Canceled build");
}

#[tokio::test]
async fn a_poller_of_a_part_hears_nothing_while_nothing_changes() {
    let world = World::usual().await;
    let id = text(&world.client.link_settled(docs()).await["id"]);
    for part in PARTS {
        let path = format!("/links/{id}/{part}");
        let etag = world.client.get(&path).await.expect(200);
        let etag = etag.header("etag").expect("an ETag").to_owned();
        let again = world.client.send(Method::GET, &path, |request| {
            request.header("if-none-match", etag)
        });
        assert_eq!(again.await.expect(304).text, "");
    }
}

#[tokio::test]
async fn the_diagnosis_names_the_step_and_what_can_be_asked() {
    let world = World::usual().await;
    let mut request = docs();
    request["repository"] = json!("https://github.com/acme/no-such");
    let link = world.client.link_settled(request).await;
    let path = format!("/links/{}/diagnosis", text(&link["id"]));
    let found = world.client.get(&path).await.expect(200).body;
    assert_eq!(found["status"], "failed");
    assert_eq!(found["step"], "resolve_repository");
    assert_eq!(found["diagnosis"], link["diagnosis"]);
    assert_eq!(found["verbs"], json!(["retry", "unlink"]));
}

#[tokio::test]
async fn after_unlinking_the_resources_are_the_receipt() {
    let world = World::usual().await;
    let id = text(&world.client.link_settled(docs()).await["id"]);
    world.client.unlink(&id, "").await;
    let list = world
        .client
        .get(&format!("/links/{id}/resources"))
        .await
        .expect(200)
        .body;
    let receipts: Vec<&Value> = list["resources"]
        .as_array()
        .expect("resources")
        .iter()
        .map(|it| &it["receipt"])
        .collect();
    assert_eq!(receipts, vec!["deleted"; 4]);
}

#[tokio::test]
async fn foreign_and_absent_links_have_no_parts() {
    let world = World::usual().await;
    let id = text(&world.client.link_settled(docs()).await["id"]);
    let stranger = world.client_of("stranger", linkbroker::api::caller::Scope::ALL);
    let absent = World::empty(Setup::default()).await;
    for part in PARTS {
        let path = format!("/links/{id}/{part}");
        let foreign = stranger.get(&path).await.expect(404);
        let gone = absent.client.get(&path).await.expect(404);
        assert_eq!((foreign.code(), gone.code()), ("not_found", "not_found"));
    }
}
