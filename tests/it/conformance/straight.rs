//! Nothing goes wrong: do, repeat, undo, undo what is gone already, and a repository that moves.

use std::collections::HashSet;

use linkbroker_sandbox::recorder::Upstream;
use linkbroker_sandbox::{NETLIFY_TOKEN, Provider};
use reqwest::Method;
use serde_json::{Value, json};

use super::counts::{assert_lawful, assert_leaves_nothing, assert_one_of_each, own_kinds};
use crate::planning::assert_as_planned;
use crate::world::{By, Way, World, receipts, text, until};

/// The plan says what then happens; a push is built; unlinking leaves nothing.
pub async fn goes_live_as_planned_is_rebuilt_and_taken_back(way: &Way) {
    let world = way.world().await;
    let before = way.calls(&world).len();
    let request = way.request(&world);
    let plan = world.client.post("/links?validate_only=true", request);
    let plan = plan.await.expect(200).body;
    assert_is_the_row(way, &plan);

    let link = way.link(&world).await;
    assert_live(way, &link);
    let mut calls = way.calls(&world).split_off(before);
    if way.key == By::Person {
        // After a person's retry the repository is read once more.
        let mut read = HashSet::new();
        calls.retain(|call| {
            let at_provider = call.upstream != Upstream::Netlify && call.method == "GET";
            !at_provider || read.insert(call.path.clone())
        });
    }
    assert_as_planned(&plan, &link, calls);
    assert_one_of_each(way, &world);
    way.push(&world, "words of another push").await;
    assert_leaves_nothing(way, &world, &link).await;
}

pub fn assert_live(way: &Way, link: &Value) {
    assert_eq!(link["status"], "live", "{}: {link:#}", way.name);
    assert_eq!(link["diagnosis"], Value::Null);
    assert!(
        link["verification"]["level"].as_u64() >= Some(2),
        "{link:#}"
    );
}

/// What the table declares of a way is what the product declares of itself.
fn assert_is_the_row(way: &Way, plan: &Value) {
    let rounds = plan["rounds"].as_array().expect("rounds").iter();
    let steps: Vec<_> = rounds
        .flat_map(|round| round["steps"].as_array().expect("steps"))
        .collect();
    let writes = |name: &str| {
        let mut calls = steps
            .iter()
            .filter(|step| step["name"] == name)
            .flat_map(|step| step["calls"].as_array().expect("calls"));
        calls.any(|call| call["upstream"] == way.kind && call["method"] == "POST")
    };
    let by_us = |by: By| by == By::Linkbroker;
    assert_eq!(writes("install_deploy_key"), by_us(way.key), "{}", way.name);
    assert_eq!(
        writes("install_webhook"),
        by_us(way.webhook),
        "{}",
        way.name
    );
    assert_eq!(writes("replay_push"), by_us(way.push), "{}", way.name);
}

/// A pull request is shown by a build of its own, and the link stays as it is. A host that knows only git has none.
pub async fn a_pull_request_is_previewed(way: &Way) {
    if way.provider == Provider::Plain {
        return;
    }
    let world = way.world().await;
    let link = way.link(&world).await;
    assert_live(way, &link);
    way.propose(&world, "words to be merged").await;
    let preview = until("the preview to be ready", async || {
        let state = world.state();
        let deploys = state["netlify"]["deploys"].as_array().expect("deploys");
        let mut previews = deploys
            .iter()
            .filter(|it| it["context"] == "deploy-preview");
        previews.find(|it| it["state"] == "ready").cloned()
    })
    .await;
    assert_eq!(preview["branch"], "proposal", "{preview:#}");
    assert_ne!(preview["review_id"], Value::Null);
    let after = world.client.read(&text(&link["id"])).await;
    assert_eq!(after["status"], "live", "{after:#}");
    assert_eq!(after["deploy"]["id"], link["deploy"]["id"]);
    assert!(!world.page("acme-docs").await.contains("words to be merged"));
    assert_lawful(&world);
}

/// A caller who says the same again gets the same link, and nobody is called for it.
pub async fn the_same_request_again_changes_nothing(way: &Way) {
    let world = way.world().await;
    let request = way.request(&world);
    let put = async || {
        let path = "/links/by-ref/team-a%2Fdocs";
        let send = world.client.send(Method::PUT, path, |it| it.json(&request));
        send.await
    };
    let id = put().await.expect(202).id();
    let link = way.go_on(&world, &id).await;
    assert_live(way, &link);
    let calls = world.calls_of_links().len();
    // A patrol may have more to tell of the builds by now, which makes another version.
    let lasting = |mut link: Value| {
        for passing in ["version", "updated_at"] {
            link[passing].take();
        }
        link
    };
    assert_eq!(lasting(put().await.expect(200).body), lasting(link));
    assert_eq!(world.calls_of_links().len(), calls);
    assert_one_of_each(way, &world);
    assert_lawful(&world);
}

/// Somebody cleans up before: every object of ours is `already_gone`, and the link ends as unlinked.
pub async fn what_somebody_removed_before_is_already_gone(way: &Way) {
    let world = way.world().await;
    let link = way.link(&world).await;
    assert_live(way, &link);
    remove_everything(way, &world, &link).await;

    let unlinked = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    let receipts = receipts(&unlinked);
    for kind in own_kinds(way) {
        let gone = (
            kind.trim_end_matches('s').to_owned(),
            "already_gone".to_owned(),
        );
        assert!(receipts.contains(&gone), "{}: {receipts:?}", way.name);
    }
    assert_lawful(&world);
    let path = format!("/links/{}", text(&link["id"]));
    let again = world.client.delete(&path).await;
    assert!(matches!(again.status, 200 | 202 | 409), "{}", again.text);
    assert_eq!(
        world.client.settled(&text(&link["id"])).await["status"],
        "unlinked"
    );
}

/// Removes keys, webhooks and the site behind the link's back.
async fn remove_everything(way: &Way, world: &World, link: &Value) {
    let site = format!(
        "{}/sites/{}",
        world.sandbox.netlify_url(),
        text(&link["site"]["id"])
    );
    let gone = reqwest::Client::new()
        .delete(site)
        .bearer_auth(NETLIFY_TOKEN);
    let gone = gone.send().await.expect("an answer");
    assert!(gone.status().is_success());
    if way.provider != Provider::Github {
        let mut state = way.forge(world).lock();
        state.person_keys.clear();
        for repository in state.repositories.values_mut() {
            repository.keys.clear();
            repository.hooks.clear();
        }
        return;
    }
    for kind in ["keys", "hooks"] {
        let path = format!("/repos/{}/{kind}", way.path);
        let list = world.github(Method::GET, &path, None).await;
        for it in list.as_array().expect("a list") {
            let path = format!("{path}/{}", it["id"]);
            world.github(Method::DELETE, &path, None).await;
        }
    }
}

/// A repository gets another path: between a failure and the retry, and between the link and its end.
pub async fn a_repository_that_moves_is_linked_and_taken_back(way: &Way) {
    let world = way.world().await;
    let refused = json!({"status": 422, "body": {"errors": {"name": ["is odd"]}}});
    world.fault(json!({"upstream": "netlify", "method": "POST", "path": "/sites$", "times": 99, "fault": refused}));
    let link = way.link(&world).await;
    assert_eq!(link["status"], "failed", "{link:#}");
    world.sandbox.world().faults.clear();
    way.rename(&world, way.moved);

    let id = text(&link["id"]);
    world.client.retry(&id).await;
    let link = way.go_on(&world, &id).await;
    assert_live(way, &link);
    way.rename(&world, way.path);
    // Netlify knows Bitbucket's repositories by their path, and Azure's have no address but the present one.
    if !matches!(way.provider, Provider::Bitbucket | Provider::AzureDevops) {
        way.push(&world, "words after the move").await;
    }
    assert_leaves_nothing(way, &world, &link).await;
}
