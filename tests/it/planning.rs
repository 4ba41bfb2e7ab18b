//! `POST /links?validate_only=true`: the plan, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use linkbroker_sandbox::recorder::{Call, Upstream};
use serde_json::{Value, json};

use crate::world::{World, docs, text};

const PATH: &str = "/links?validate_only=true";

#[tokio::test]
async fn the_plan_is_what_linking_then_does() {
    let world = World::usual().await;
    assert_eq!(rounds_as_planned(&world, docs()).await, 7);
}

#[tokio::test]
async fn the_plan_with_variables_is_what_linking_then_does() {
    let world = World::usual().await;
    let mut request = docs();
    request["env"] = json!({"API_URL": "https://api.acme.example"});
    assert_eq!(rounds_as_planned(&world, request).await, 8);
}

/// Plans, links, and compares; how many rounds it were.
async fn rounds_as_planned(world: &World, request: Value) -> usize {
    let plan = world.client.post(PATH, request.clone()).await;
    let plan = plan.expect(200).body;
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(plan["request"], link["request"]);
    assert_as_planned(&plan, &link, world.sandbox.calls());
    plan["rounds"].as_array().expect("rounds").len()
}

/// The link has the objects and steps of its plan, and made the calls of its plan and no others.
pub fn assert_as_planned(plan: &Value, link: &Value, calls: Vec<Call>) {
    let made: BTreeMap<_, _> = link["resources"]
        .as_array()
        .expect("resources")
        .iter()
        .filter(|it| it["origin"] == "made")
        .map(|it| (text(&it["kind"]), ()))
        .collect();
    let planned: BTreeMap<_, _> = plan["objects"]
        .as_array()
        .expect("objects")
        .iter()
        .map(|it| (text(&it["kind"]), ()))
        .collect();
    assert_eq!(planned, made);
    // In the plan by rounds, in the link as people think of them.
    let steps: BTreeSet<_> = steps(plan).map(|step| text(&step["name"])).collect();
    let taken: BTreeSet<_> = link["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .filter(|step| step["state"] != "skipped")
        .map(|step| text(&step["name"]))
        .collect();
    assert_eq!(steps, taken);

    let mut calls: Vec<_> = calls
        .iter()
        .filter(|call| call.upstream != Upstream::NetlifyHooks)
        .map(|call| (call.method.to_string(), call.path.clone()))
        .collect();
    // Each planned call was made, and no call was made that is not planned. Those that are only made at times have what is left.
    let planned = self::steps(plan).flat_map(|step| step["calls"].as_array().expect("calls"));
    let (at_times, always): (Vec<_>, Vec<_>) = planned.partition(|call| call.get("when").is_some());
    for call in always.into_iter().chain(at_times) {
        let fits = |made: &(String, String)| {
            made.0 == text(&call["method"]) && fits(&made.1, &text(&call["path"]))
        };
        let found = calls.iter().position(fits);
        assert!(
            found.is_some() || call.get("when").is_some(),
            "{call:#} of {calls:#?}"
        );
        match call["repeated"] == true {
            true => calls.retain(|made| !fits(made)),
            false => drop(found.map(|at| calls.remove(at))),
        }
    }
    // What a patrol reads of builds that people started belongs to no link, and what gets an app its token to none alone.
    calls.retain(|(method, path)| {
        let of_builds = method == "GET" && fits(path, "/deploys/{deploy_id}");
        !of_builds && !path.ends_with("/installation") && !path.ends_with("/access_tokens")
    });
    assert!(calls.is_empty(), "not planned: {calls:#?}");
}

fn steps(plan: &Value) -> impl Iterator<Item = &Value> {
    let rounds = plan["rounds"].as_array().expect("rounds").iter();
    rounds.flat_map(|round| round["steps"].as_array().expect("steps"))
}

/// Whether a path that was called is the operation's, behind whatever prefix.
fn fits(path: &str, template: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let (path, template): (Vec<_>, Vec<_>) = (
        path.split('/').collect(),
        template.split('/').skip(1).collect(),
    );
    let Some(start) = path.len().checked_sub(template.len()) else {
        return false;
    };
    let pairs = path[start..].iter().zip(&template);
    pairs
        .into_iter()
        .all(|(given, wanted)| wanted.starts_with('{') || given == wanted)
}

#[tokio::test]
async fn nothing_is_stored_and_nobody_is_called() {
    let world = World::usual().await;
    let answer = world.client.post(PATH, docs()).await.expect(200);
    assert_eq!(answer.header("location"), None);
    let links = world.client.get("/links").await.expect(200).body;
    assert_eq!(links["links"], json!([]));
    assert!(world.sandbox.calls().is_empty());
    let unnamed = json!({"repository": "https://github.com/acme/docs", "verify": "build"});
    let plan = world.client.post(PATH, unnamed).await.expect(200).body;
    assert!(text(&plan["request"]["site_name"]).starts_with("docs-"));
    assert!(!steps(&plan).any(|step| step["name"] == "replay_push"));
    assert_eq!(
        plan["request"]["connections"],
        json!({"netlify": "netlify", "provider": "github"})
    );
}

#[tokio::test]
async fn what_would_be_refused_is_refused() {
    let world = World::usual().await;
    let bad = json!({"repository": "https://example.com/acme/docs", "site": {"name": "No"}});
    world.client.post(PATH, bad).await.expect(422);
    let mut other = docs();
    other["connections"] = json!({"netlify": "no-such"});
    let refused = world.client.post(PATH, other).await.expect(422);
    assert_eq!(refused.body["errors"][0]["pointer"], "/connections/netlify");
    let id = world.client.link(docs()).await;
    let taken = world.client.post(PATH, docs()).await.expect(409);
    assert_eq!(taken.code(), "link_exists");
    assert_eq!(
        taken.header("location"),
        Some(format!("/links/{id}").as_str())
    );
}
