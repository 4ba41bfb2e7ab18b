//! Networks that fail: whatever gets lost on the way, there is exactly one of everything at the end.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::existing_sites::netlify;
use crate::world::{Setup, World, docs, text};

/// Links while these faults are set: the link becomes live, and nothing is doubled.
async fn becomes_live_despite(faults: impl IntoIterator<Item = Value>) {
    let world = World::usual().await;
    let faults: Vec<_> = faults.into_iter().collect();
    for fault in &faults {
        world.fault(fault.clone());
    }
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let struck = world
        .sandbox
        .calls()
        .into_iter()
        .filter(|call| call.fault.is_some());
    assert_eq!(struck.count(), faults.len(), "each fault has struck");
    assert_one_of_each(&world);

    let unlinked = world
        .client
        .unlink(link["id"].as_str().expect("an id"), "")
        .await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    for kind in ["deploy_keys", "installed_keys", "webhooks", "sites"] {
        assert_eq!(world.count(kind), (1, 0), "{kind}");
    }
}

pub fn assert_one_of_each(world: &World) {
    for kind in ["deploy_keys", "installed_keys", "webhooks", "sites"] {
        assert_eq!(world.count(kind), (1, 1), "{kind}");
    }
    let state = world.state();
    let deploys = state["netlify"]["deploys"].as_array().expect("deploys");
    let first = deploys.iter().filter(|deploy| deploy["state"] == "ready");
    assert_eq!(first.count(), 1, "{deploys:#?}");
}

/// The calls that make a link, as method and path.
const CALLS: [(&str, &str, &str); 9] = [
    ("github", "GET", "/repos/acme/docs$"),
    ("netlify", "POST", "/deploy_keys$"),
    ("netlify", "POST", "/sites$"),
    ("github", "POST", "/keys$"),
    ("github", "POST", "/hooks$"),
    ("netlify", "PATCH", "/sites/"),
    ("netlify", "GET", "/deploys/"),
    ("github", "POST", "/hooks/[0-9]+/tests$"),
    ("netlify", "POST", "/cancel$"),
];

fn on((upstream, method, path): (&str, &str, &str), fault: Value) -> Value {
    json!({"upstream": upstream, "method": method, "path": path, "fault": fault})
}

#[tokio::test]
async fn the_answer_with_the_deploy_key_is_lost() {
    becomes_live_despite([on(CALLS[1], json!("lost_answer"))]).await;
}

#[tokio::test]
async fn the_answer_with_the_site_is_lost() {
    becomes_live_despite([on(CALLS[2], json!("lost_answer"))]).await;
}

#[tokio::test]
async fn the_answer_with_the_installed_key_is_lost() {
    becomes_live_despite([on(CALLS[3], json!("lost_answer"))]).await;
}

#[tokio::test]
async fn the_answer_with_the_webhook_is_lost() {
    becomes_live_despite([on(CALLS[4], json!("lost_answer"))]).await;
}

#[tokio::test]
async fn the_answer_is_lost_and_the_look_for_its_effect_fails_too() {
    for (made, look) in [
        (CALLS[3], ("github", "GET", "/keys")),
        (CALLS[4], ("github", "GET", "/hooks")),
    ] {
        let fault = json!({"status": 503, "body": "down"});
        becomes_live_despite([on(made, json!("lost_answer")), on(look, fault)]).await;
    }
}

#[tokio::test]
async fn the_answer_to_the_attaching_is_lost() {
    becomes_live_despite([on(CALLS[5], json!("lost_answer"))]).await;
}

#[tokio::test]
async fn the_answer_to_the_replay_and_the_cancel_are_lost() {
    becomes_live_despite([
        on(CALLS[7], json!("lost_answer")),
        on(CALLS[8], json!("lost_answer")),
    ])
    .await;
}

#[tokio::test]
async fn every_answer_is_garbled_once() {
    // The reads come again by themselves; the writes had their effect.
    let garbled = json!({"body": "<html>Bad gateway</html>"});
    becomes_live_despite(CALLS[..7].iter().map(|call| on(*call, garbled.clone()))).await;
}

#[tokio::test]
async fn every_call_fails_once_with_an_error_of_the_upstream() {
    let error = json!({"status": 500, "body": {"message": "Internal error"}});
    becomes_live_despite(CALLS.map(|call| on(call, error.clone()))).await;
}

#[tokio::test]
async fn every_connection_breaks_once_before_the_effect() {
    becomes_live_despite(CALLS.map(|call| on(call, json!("reset")))).await;
}

#[tokio::test]
async fn a_call_that_never_had_its_effect_keeps_no_link_from_being_taken_back() {
    for call in &CALLS[2..6] {
        let world = World::usual().await;
        let mut resets = on(*call, json!("reset"));
        resets["times"] = json!(99);
        let strikes = world.fault(resets);
        let id = world.client.link(docs()).await;
        strikes.first().await;
        let path = format!("/links/{id}/cancel");
        let canceled = world.client.send(Method::POST, &path, |it| it).await;
        canceled.expect(202);
        let link = world.client.settled(&id).await;
        assert_eq!(link["status"], "canceled", "{call:?}: {link:#}");
        for kind in ["installed_keys", "webhooks", "sites"] {
            assert_eq!(world.count(kind).1, 0, "{call:?}: {kind}");
        }
    }
}

#[tokio::test]
async fn a_site_that_others_have_removed_keeps_no_link_from_being_taken_back_whose_attaching_was_interrupted()
 {
    let world = World::usual().await;
    let lasting = |call, fault| {
        let mut rule = on(call, fault);
        rule["times"] = json!(99);
        world.fault(rule)
    };
    let attach = lasting(CALLS[5], json!("reset"));
    let away = json!({"status": 503, "body": "down"});
    let looks = lasting(("netlify", "GET", "/sites/[^/]+$"), away);
    let id = world.client.link(docs()).await;
    attach.first().await;
    let path = format!("/links/{id}/cancel");
    let canceled = world.client.send(Method::POST, &path, |it| it).await;
    canceled.expect(202);
    looks.first().await;
    let vendors = world.sandbox.world();
    vendors.netlify.lock().sites.clear();
    vendors.faults.clear();
    let link = world.client.settled(&id).await;
    assert_eq!(link["status"], "canceled", "{link:#}");
}

#[tokio::test]
async fn an_upstream_that_stays_away_fails_the_link_and_retry_heals_it() {
    let world = World::usual().await;
    let fault = json!({"status": 503, "body": {"message": "Service unavailable"}});
    world.fault(json!({"upstream": "netlify", "method": "POST", "path": "/sites$", "times": 99, "fault": fault}));
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "failed", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "upstream_unavailable");
    assert_eq!(link["diagnosis"]["retryable"], true);

    world.sandbox.world().faults.clear();
    let healed = world
        .client
        .retry(link["id"].as_str().expect("an id"))
        .await;
    assert_eq!(healed["status"], "live", "{healed:#}");
    assert_one_of_each(&world);
}

/// Takes the link back, or lets it go on, after nobody could see what a call had done whose answer was lost.
async fn is_remembered_although_the_look_is_refused(
    made: (&str, &str, &str),
    look: (&str, &str, &str),
    kind: &str,
    cancels: bool,
) {
    let world = World::usual().await;
    let lost = world.fault(on(made, json!("lost_answer")));
    let refusal = json!({"status": 403, "body": {"message": "Forbidden"}});
    let mut refused = on(look, refusal);
    refused["times"] = json!(99);
    world.fault(refused);
    let id = world.client.link(docs()).await;
    lost.first().await;
    if cancels {
        let path = format!("/links/{id}/cancel");
        let canceled = world.client.send(Method::POST, &path, |it| it).await;
        canceled.expect(202);
    }
    let link = world.client.settled(&id).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    assert_eq!(world.count(kind), (1, 1));
    world.sandbox.world().faults.clear();
    let link = world.client.retry(&id).await;
    let link = match cancels {
        true => link,
        false => {
            assert_eq!(link["status"], "live", "{link:#}");
            assert_one_of_each(&world);
            world.client.unlink(&id, "").await
        }
    };
    assert_eq!(link["status"], "unlinked", "{link:#}");
    for kind in ["installed_keys", "webhooks", "sites"] {
        assert_eq!(world.count(kind).1, 0, "{kind}: {link:#}");
    }
}

#[tokio::test]
async fn what_a_lost_answer_has_left_is_taken_back_also_after_the_look_for_it_was_refused() {
    is_remembered_although_the_look_is_refused(
        CALLS[2],
        ("netlify", "GET", "/sites"),
        "sites",
        true,
    )
    .await;
    is_remembered_although_the_look_is_refused(
        CALLS[4],
        ("github", "GET", "/hooks"),
        "webhooks",
        true,
    )
    .await;
}

#[tokio::test]
async fn what_a_lost_answer_has_left_is_the_links_also_after_the_look_for_it_was_refused() {
    is_remembered_although_the_look_is_refused(
        CALLS[2],
        ("netlify", "GET", "/sites"),
        "sites",
        false,
    )
    .await;
    is_remembered_although_the_look_is_refused(
        CALLS[4],
        ("github", "GET", "/hooks"),
        "webhooks",
        false,
    )
    .await;
}

#[tokio::test]
async fn what_the_last_try_has_made_whose_answer_was_lost_is_the_links_when_it_is_retried() {
    let world = World::with(Setup {
        settings: vec![("LINKBROKER_RETRY_ATTEMPTS", "1".to_owned())],
        ..Setup::default()
    })
    .await;
    world.fault(on(CALLS[4], json!("lost_answer")));
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "failed", "{link:#}");
    let id = text(&link["id"]);
    let link = world.client.retry(&id).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_one_of_each(&world);
    let link = world.client.unlink(&id, "").await;
    assert_eq!(link["status"], "unlinked", "{link:#}");
    assert_eq!(world.count("webhooks"), (1, 0), "{link:#}");
}

#[tokio::test]
async fn what_people_make_after_a_link_came_to_rest_is_theirs_although_a_call_of_the_link_is_uncertain()
 {
    for verb in ["cancel", "retry"] {
        let world = World::usual().await;
        world.fault(on(CALLS[2], json!("reset")));
        let mut refused = on(
            ("netlify", "GET", "/sites"),
            json!({"status": 403, "body": {"message": "Forbidden"}}),
        );
        refused["times"] = json!(99);
        world.fault(refused);
        let link = world.client.link_settled(docs()).await;
        assert_eq!(link["status"], "action_required", "{link:#}");
        assert_eq!(world.count("sites"), (0, 0));
        world.sandbox.world().faults.clear();
        // Half an hour later somebody makes a site of that name, and another half an hour later the link goes on.
        let mut database = world.database.connection().await;
        let earlier = "update step_runs set intent_at = intent_at - interval '1 hour', finished_at = finished_at - interval '1 hour'";
        sqlx::query(earlier)
            .execute(&mut database)
            .await
            .expect("an update");
        let new = json!({"name": "acme-docs"});
        netlify(&world, Method::POST, "/sandbox/sites", new).await;
        for site in world.sandbox.world().netlify.lock().sites.values_mut() {
            site.created_at -= Duration::from_secs(1800);
        }

        let id = text(&link["id"]);
        let path = format!("/links/{id}/{verb}");
        world
            .client
            .send(Method::POST, &path, |it| it)
            .await
            .expect(202);
        let over = world.client.settled(&id).await;
        let over = match verb {
            "cancel" => over,
            _ => {
                assert_eq!(over["diagnosis"]["code"], "site_name_taken", "{over:#}");
                world.client.unlink(&id, "").await
            }
        };
        assert_eq!(world.count("sites"), (1, 1), "{verb}: {over:#}");
    }
}

#[tokio::test]
async fn a_webhook_whose_answer_was_lost_while_it_was_put_back_is_the_links_also_after_a_rebuild() {
    let world = World::usual().await;
    let mut request = docs();
    request["drift"] = json!("report");
    let link = world.client.link_settled(request).await;
    let id = text(&link["id"]);
    let hook = world.state()["github"]["repositories"][0]["hooks"][0]["id"].clone();
    world
        .github(
            Method::DELETE,
            &format!("/repos/acme/docs/hooks/{hook}"),
            None,
        )
        .await;
    let ask = async |verb: &str, body: Value| {
        let path = format!("/links/{id}/{verb}");
        let asked = world
            .client
            .send(Method::POST, &path, |it| it.json(&body))
            .await;
        asked.expect(202);
        world.client.settled(&id).await
    };
    let told = ask("check", json!({})).await;
    assert_eq!(told["drift"][0]["kind"], "webhook_missing", "{told:#}");
    world.fault(on(CALLS[4], json!("lost_answer")));
    let mut refused = on(
        ("github", "GET", r"/hooks(\?|$)"),
        json!({"status": 403, "body": {"message": "Forbidden"}}),
    );
    (refused["nth"], refused["times"]) = (json!(4), json!(99));
    world.fault(refused);
    let stuck = ask("heal", json!({"drift": "all"})).await;
    assert_eq!(stuck["status"], "degraded", "{stuck:#}");
    assert_eq!(world.count("webhooks"), (2, 1));
    world.sandbox.world().faults.clear();
    ask("rebuild", json!({})).await;
    let over = world.client.unlink(&id, "").await;
    assert_eq!(over["status"], "unlinked", "{over:#}");
    assert_eq!(world.count("webhooks"), (2, 0), "{over:#}");
}
