//! How the first build starts, and that there is one.

use serde_json::{Value, json};

use crate::world::{Setup, Way, World, text};

fn gated(switches: Value) -> Setup {
    Setup {
        settings: vec![
            ("LINKBROKER_FIRST_BUILD", "gate".to_owned()),
            ("LINKBROKER_PROOF_SECONDS", "3".to_owned()),
        ],
        switches,
        ..Setup::default()
    }
}

fn deploys(world: &World) -> Vec<Value> {
    let state = world.state();
    state["netlify"]["deploys"]
        .as_array()
        .expect("deploys")
        .clone()
}

/// The link is live by a build that a push has started, and no other build has gone to its end.
fn assert_one_pushed(world: &World, link: &Value) {
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(link["verification"]["level"], 3, "{link:#}");
    assert_eq!(link["verification"]["build"], link["build"]);
    assert_eq!(link["deploy"]["source"], "git");
    let deploys = deploys(world);
    let mut ready = deploys.iter().filter(|deploy| deploy["state"] == "ready");
    assert_eq!(
        ready.next().expect("a deploy")["id"],
        link["build"]["deploy_id"]
    );
    assert!(ready.next().is_none(), "{deploys:#?}");
    let violations = world.sandbox.violations();
    assert!(violations.is_empty(), "{violations:#?}");
}

#[tokio::test]
async fn behind_the_gate_the_replayed_push_is_the_one_first_build() {
    for way in [Way::GITHUB, Way::GITLAB, Way::GITEA, Way::AZURE_STANDING] {
        let world = way.world_with(gated(Value::Null)).await;
        let link = way.link(&world).await;
        assert_one_pushed(&world, &link);
        assert_eq!(world.count("builds"), (1, 1), "{}", way.name);
    }
}

#[tokio::test]
async fn where_the_gate_does_not_hold_the_build_that_starts_by_itself_is_canceled() {
    let switches =
        json!({"netlify": {"stop_builds_honoured": false, "times": {"building_ms": 3000}}});
    let world = Way::GITHUB.world_with(gated(switches)).await;
    let link = Way::GITHUB.link(&world).await;
    assert_one_pushed(&world, &link);
    assert_eq!(world.count("builds").0, 2);
}

#[tokio::test]
async fn behind_the_gate_a_silent_webhook_leaves_the_site_with_its_build_and_the_link_unproven() {
    let world = Way::GITHUB.world_with(gated(Value::Null)).await;
    world.fault(
        json!({"upstream": "netlify_hooks", "path": ".", "times": 99, "fault": {"status": 204}}),
    );
    let link = Way::GITHUB.link(&world).await;
    assert_eq!(link["status"], "degraded", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "push_unverified", "{link:#}");
    assert_eq!(link["deploy"]["state"], "ready");
    assert_eq!(world.count("builds"), (1, 1));

    world.sandbox.world().faults.clear();
    let healed = world.client.retry(&text(&link["id"])).await;
    assert_eq!(healed["status"], "live", "{healed:#}");
}

#[tokio::test]
async fn where_no_push_can_be_replayed_there_is_no_gate() {
    let world = Way::BITBUCKET.world_with(gated(Value::Null)).await;
    let link = Way::BITBUCKET.link(&world).await;
    assert_eq!(link["status"], "live", "{link:#}");
}
