//! `POST /links/{id}/rotate-key`: a new deploy key without a failed build.

use linkbroker_sandbox::git::NewCommit;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Answer, Setup, Way, World, docs, text, until};

async fn ask(world: &World, id: &str) -> Answer {
    let path = format!("/links/{id}/rotate-key");
    world
        .client
        .send(Method::POST, &path, |request| request)
        .await
}

/// Netlify's id of the key that the link leans on.
fn key_of(link: &Value) -> String {
    let resources = link["resources"].as_array().expect("resources");
    let in_use = |it: &&Value| it["kind"] == "deploy_key" && it.get("receipt").is_none();
    text(&resources.iter().find(in_use).expect("a deploy key")["id"])
}

/// Deploys that failed, and were not canceled or skipped.
fn failed(world: &World) -> Vec<Value> {
    let deploys = world.state()["netlify"]["deploys"].clone();
    let mut deploys = deploys.as_array().expect("deploys").clone();
    deploys.retain(|it| it["state"] == "error" && it["error_message"] != "Canceled build");
    deploys
}

async fn all_built(world: &World) {
    until("every build to end", async || {
        let deploys = world.state()["netlify"]["deploys"].clone();
        let ended = |it: &Value| it["state"] == "ready" || it["state"] == "error";
        let deploys = deploys.as_array().expect("deploys");
        deploys.iter().all(ended).then_some(())
    })
    .await;
}

#[tokio::test]
async fn keys_are_exchanged_while_people_push_and_no_build_fails() {
    exchange(3).await;
}

/// `./dev test a_hundred_keys --run-ignored all`
#[tokio::test]
#[ignore = "takes minutes"]
async fn a_hundred_keys_are_exchanged_while_people_push_and_no_build_fails() {
    exchange(100).await;
}

async fn exchange(rounds: usize) {
    // So many in a minute use up a token's limit, which is not what this is about.
    let world = World::with(Setup {
        switches: json!({"netlify": {"rate_limit_per_minute": 100_000}}),
        ..Setup::default()
    })
    .await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    let mut before = key_of(&link);
    for round in 0..rounds {
        let words = format!("words of round {round}");
        // One before, whose build is in the queue with the old key, and one meanwhile.
        world.push("docs", &format!("before the {words}")).await;
        ask(&world, &id).await.expect(202);
        world.push("docs", &words).await;
        let rotated = world.client.settled(&id).await;
        assert_eq!(rotated["status"], "live", "{rotated:#}");
        assert!(
            rotated["key_rotation"].get("failure").is_none(),
            "{rotated:#}"
        );
        let now = key_of(&rotated);
        assert_ne!(now, before);
        before = now;
        all_built(&world).await;
        assert_eq!(failed(&world), Vec::<Value>::new());
        assert_eq!(world.count("deploy_keys").1, 1);
        assert_eq!(world.count("installed_keys").1, 1);
        assert!(world.page("acme-docs").await.contains(&words));
    }
    let unlinked = world.client.unlink(&id, "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    assert_eq!(
        world.count("deploy_keys").1 + world.count("installed_keys").1,
        0
    );
    assert!(world.sandbox.violations().is_empty());
}

#[tokio::test]
async fn a_key_that_cannot_be_placed_leaves_the_link_with_the_one_that_it_has() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let (id, before) = (text(&link["id"]), key_of(&link));
    let refusal = json!({"message": "Not Found"});
    world.fault(
        json!({"upstream": "github", "method": "POST", "path": "/keys$", "times": 9,
                       "fault": {"status": 404, "body": refusal}}),
    );
    ask(&world, &id).await.expect(202);
    let kept = world.client.settled(&id).await;
    assert_eq!(kept["status"], "live", "{kept:#}");
    assert_eq!(key_of(&kept), before);
    assert!(
        kept["key_rotation"]["failure"]["code"].is_string(),
        "{kept:#}"
    );
    assert_eq!(kept["build"], link["build"]);
    assert_eq!(world.count("deploy_keys").1, 1);
    world.push("docs", "words after it failed").await;
    all_built(&world).await;
    assert_eq!(failed(&world), Vec::<Value>::new());
}

#[tokio::test]
async fn a_new_key_that_does_not_clone_is_taken_back() {
    let world = World::with(Setup::default()).await;
    let link = world.client.link_settled(docs()).await;
    let (id, before) = (text(&link["id"]), key_of(&link));
    // GitHub takes the key, and somebody removes it before Netlify clones.
    let slow = json!({"netlify": {"times": {"new_ms": 3000}}});
    world.sandbox.patch_switches(&slow).expect("a switch");
    ask(&world, &id).await.expect(202);
    let new = until("the new key to be placed", async || {
        let keys = world.state()["github"]["repositories"][0]["keys"].clone();
        let keys = keys.as_array().expect("keys").clone();
        (keys.len() == 2).then(|| keys[1]["id"].clone())
    })
    .await;
    world
        .github(
            Method::DELETE,
            &format!("/repos/acme/docs/keys/{new}"),
            None,
        )
        .await;
    let kept = world.client.settled(&id).await;
    assert_eq!(kept["status"], "live", "{kept:#}");
    assert_eq!(key_of(&kept), before);
    assert_eq!(kept["key_rotation"]["failure"]["retryable"], true);
    assert_eq!(world.count("deploy_keys").1, 1);
    world.push("docs", "words with the old key").await;
    until("the push to be on the site", async || {
        let page = world.page("acme-docs").await;
        page.contains("words with the old key").then_some(())
    })
    .await;
}

#[tokio::test]
async fn keys_that_people_place_are_not_exchanged() {
    let world = Way::AZURE_STANDING.world().await;
    let link = Way::AZURE_STANDING.link(&world).await;
    let refused = ask(&world, &text(&link["id"])).await.expect(409);
    assert_eq!(refused.code(), "illegal_transition");
}

#[tokio::test]
async fn a_link_whose_exchange_came_to_nothing_keeps_its_key_through_a_failed_build() {
    let world = World::with(Setup {
        settings: vec![("LINKBROKER_PATROL_IDLE_SECONDS", "1".to_owned())],
        ..Setup::default()
    })
    .await;
    let link = world.client.link_settled(docs()).await;
    let (id, before) = (text(&link["id"]), key_of(&link));
    let refusal = json!({"message": "Forbidden"});
    world.fault(
        json!({"upstream": "netlify", "method": "POST", "path": "/deploy_keys$", "times": 9,
                       "fault": {"status": 403, "body": refusal}}),
    );
    ask(&world, &id).await.expect(202);
    let kept = world.client.settled(&id).await;
    assert_eq!(kept["status"], "live", "{kept:#}");
    let broken = NewCommit {
        files: [("build.sh".to_owned(), "exit 3\n".to_owned())].into(),
        ..NewCommit::default()
    };
    world
        .sandbox
        .commit("acme/docs", broken)
        .await
        .expect("a commit");
    let failed = until("the build to fail", async || {
        let link = world.client.read(&id).await;
        (link["status"] == "build_failed").then_some(link)
    })
    .await;
    assert_eq!(key_of(&failed), before);
    // Which nobody may take from stock then.
    let other = json!({"repository": "https://github.com/acme/other", "site": {"name": "another"}});
    world.repository("other").await;
    world.sandbox.world().faults.clear();
    let other = world.client.link_settled(other).await;
    assert_eq!(other["status"], "live", "{other:#}");
    assert_ne!(key_of(&other), before);

    let unlinked = world.client.unlink(&id, "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    assert_eq!(world.count("deploy_keys").1, 1, "the other's");
}
