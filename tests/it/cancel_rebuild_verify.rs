//! `POST /links/{id}/cancel`, `rebuild` and `verify`.

use linkbroker_sandbox::git::NewCommit;
use reqwest::Method;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::world::{Answer, Setup, World, docs, text, until};

async fn ask(world: &World, link: &Value, verb: &str) -> Answer {
    let path = format!("/links/{}/{verb}", text(&link["id"]));
    world
        .client
        .send(Method::POST, &path, |request| request)
        .await
}

async fn ask_and_wait(world: &World, link: &Value, verb: &str) -> Value {
    ask(world, link, verb).await.expect(202);
    world.client.settled(&text(&link["id"])).await
}

fn deploys(world: &World) -> Vec<Value> {
    let state = world.state();
    state["netlify"]["deploys"]
        .as_array()
        .expect("deploys")
        .clone()
}

async fn builds(world: &World, link: &Value) -> Vec<Value> {
    let path = format!("/links/{}/builds", text(&link["id"]));
    let list = world.client.get(&path).await.expect(200).body;
    list["builds"].as_array().expect("builds").clone()
}

#[tokio::test]
async fn a_rebuild_is_one_more_build_that_the_link_follows() {
    let world = World::usual().await;
    let first = world.client.link_settled(docs()).await;
    let before = deploys(&world).len();

    let accepted = ask(&world, &first, "rebuild").await.expect(202);
    assert_eq!(accepted.body["status"], "building");
    let again = ask(&world, &first, "rebuild").await.expect(409);
    assert_eq!(again.code(), "illegal_transition");
    let rebuilt = world.client.settled(&text(&first["id"])).await;
    assert_eq!(rebuilt["status"], "live", "{rebuilt:#}");
    assert_ne!(rebuilt["build"]["id"], first["build"]["id"]);
    assert_eq!(rebuilt["deploy"]["state"], "ready");
    assert_eq!(rebuilt["verification"], first["verification"]);
    assert_eq!(rebuilt["live_at"], first["live_at"]);
    assert_eq!(deploys(&world).len(), before + 1);

    let roles: Vec<_> = builds(&world, &first)
        .await
        .iter()
        .map(|it| (text(&it["role"]), it["id"].clone()))
        .collect();
    assert_eq!(
        roles,
        [
            ("followed".to_owned(), rebuilt["build"]["id"].clone()),
            (
                "proof".to_owned(),
                first["verification"]["build"]["id"].clone()
            ),
            ("earlier".to_owned(), first["build"]["id"].clone()),
        ]
    );
    // Each rebuild is a build of its own.
    let third = ask_and_wait(&world, &first, "rebuild?clear_cache=true").await;
    assert_eq!(third["status"], "live");
    assert_eq!(deploys(&world).len(), before + 2);
    assert!(world.sandbox.violations().is_empty());
}

#[tokio::test]
async fn a_push_in_the_meantime_is_not_taken_for_the_rebuild() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let hook = &world.state()["github"]["repositories"][0]["hooks"][0]["id"];
    let path = format!("/repos/acme/docs/hooks/{hook}/tests");
    let before = deploys(&world).len();
    world.github(Method::POST, &path, None).await;
    until("the push to be built", async || {
        let deploys = deploys(&world);
        let ready = deploys
            .iter()
            .all(|it| it["state"] == "ready" || it["state"] == "error");
        (ready && deploys.len() > before).then_some(())
    })
    .await;
    let rebuilt = ask_and_wait(&world, &link, "rebuild").await;
    assert_eq!(rebuilt["status"], "live", "{rebuilt:#}");
    assert_eq!(deploys(&world).len(), before + 2);
    let title = rebuilt["deploy"]["title"].as_str().expect("a title");
    assert!(title.starts_with("linkbroker "), "{title}");
}

#[tokio::test]
async fn a_rebuild_whose_answer_was_lost_is_found_again() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let before = deploys(&world).len();
    world.fault(json!({"upstream": "netlify", "method": "POST", "path": "/sites/[^/]+/builds$", "fault": "lost_answer"}));
    let rebuilt = ask_and_wait(&world, &link, "rebuild").await;
    assert_eq!(rebuilt["status"], "live", "{rebuilt:#}");
    assert_eq!(deploys(&world).len(), before + 1);
}

#[tokio::test]
async fn a_failed_rebuild_says_so_and_a_good_one_makes_it_live_again() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let limit = |ms: u64| json!({"netlify": {"times": {"command_limit_ms": ms}}});
    world.sandbox.patch_switches(&limit(1)).expect("a switch");
    let failed = ask_and_wait(&world, &link, "rebuild").await;
    assert_eq!(failed["status"], "build_failed", "{failed:#}");
    assert_eq!(failed["diagnosis"]["code"], "build_timeout");
    world
        .sandbox
        .patch_switches(&limit(60_000))
        .expect("a switch");
    let rebuilt = ask_and_wait(&world, &link, "rebuild").await;
    assert_eq!(rebuilt["status"], "live", "{rebuilt:#}");
    assert_eq!(builds(&world, &link).await.len(), 4);
}

#[tokio::test]
async fn verifying_proves_the_push_anew() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let accepted = ask(&world, &link, "verify").await.expect(202).body;
    assert_eq!(
        (&accepted["status"], &accepted["verification"]["level"]),
        (&json!("building"), &json!(0))
    );
    let verified = world.client.settled(&text(&link["id"])).await;
    assert_eq!(verified["status"], "live", "{verified:#}");
    assert_eq!(verified["verification"]["level"], 2);
    assert_ne!(
        verified["verification"]["build"],
        link["verification"]["build"]
    );
    assert_eq!(verified["build"], link["build"]);
}

#[tokio::test]
async fn a_verified_push_whose_build_is_over_at_once_tells_at_once_that_it_failed() {
    let world = World::with(Setup {
        switches: json!({"netlify": {"pretend_builds": true, "deploy_id_delay_ms": 0,
            "times": {"new_ms": 0, "building_ms": 0, "publishing_ms": 0}}}),
        ..Setup::default()
    })
    .await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let breaking = NewCommit {
        message: "Words that break it [break]".to_owned(),
        files: [("index.html".to_owned(), "words".to_owned())].into(),
        ..NewCommit::default()
    };
    let committed = world.sandbox.commit("acme/docs", breaking).await;
    committed.expect("a commit");
    ask(&world, &link, "verify").await.expect(202);
    let id = text(&link["id"]);
    let failed = world.client.settled_at_last(&id).await;
    assert_eq!(failed["status"], "build_failed", "{failed:#}");
    // Not only when the worker looks for itself.
    let page = format!("/links/{id}/events?limit=100");
    let events = world.client.get(&page).await.expect(200).body["events"].clone();
    let events = events.as_array().expect("events").iter();
    let at = |event: &Value| OffsetDateTime::parse(&text(&event["at"]), &Rfc3339).expect("a time");
    let ended = events.clone().rfind(|it| it["type"] == "build.finished");
    let told = events
        .clone()
        .rfind(|it| it["detail"]["to"] == "build_failed");
    let late = at(told.expect("the failure")) - at(ended.expect("the build's end"));
    assert!(late.whole_seconds() < 30, "{late}");
}

#[tokio::test]
async fn a_proof_that_fails_later_degrades_the_link_and_a_rebuild_proves_again() {
    let settings = vec![("LINKBROKER_PROOF_SECONDS", "1".to_owned())];
    let world = World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    let link = world.client.link_settled(docs()).await;
    let hook = world.state()["github"]["repositories"][0]["hooks"][0]["id"].to_string();
    let path = format!("/repos/acme/docs/hooks/{hook}");
    let hook = world.github(Method::GET, &path, None).await;
    let point = async |url: &Value| {
        let config = json!({"url": url, "content_type": "json", "insecure_ssl": "0"});
        let change = Some(json!({"config": config}));
        world.github(Method::PATCH, &path, change).await;
    };
    point(&json!("http://127.0.0.1:9/hooks")).await;
    let degraded = ask_and_wait(&world, &link, "verify").await;
    assert_eq!(degraded["status"], "degraded", "{degraded:#}");
    assert_eq!(degraded["diagnosis"]["code"], "webhook_url_mismatch");

    point(&hook["config"]["url"]).await;
    let rebuilt = ask_and_wait(&world, &link, "rebuild").await;
    assert_eq!(rebuilt["status"], "live", "{rebuilt:#}");
    assert_eq!(rebuilt["diagnosis"], Value::Null);
    assert_eq!(rebuilt["verification"]["level"], 2);
}

#[tokio::test]
async fn a_link_without_a_proof_cannot_be_verified() {
    let world = World::usual().await;
    let mut request = docs();
    request["verify"] = json!("build");
    let link = world.client.link_settled(request).await;
    let refused = ask(&world, &link, "verify").await.expect(409);
    assert_eq!(refused.code(), "illegal_transition");
    assert!(text(&refused.body["detail"]).contains("verify: build"));
}

#[tokio::test]
async fn canceling_takes_back_what_was_made() {
    let switches = json!({"latency_ms": 200});
    let world = World::with(Setup {
        switches,
        ..Setup::default()
    })
    .await;
    let id = world.client.link(docs()).await;
    until("the key to be made", async || {
        (world.count("deploy_keys").0 == 1).then_some(())
    })
    .await;
    let link = json!({"id": id});
    let canceled = ask_and_wait(&world, &link, "cancel").await;
    assert_eq!(canceled["status"], "canceled", "{canceled:#}");
    for kind in ["installed_keys", "webhooks", "sites"] {
        assert_eq!(world.count(kind).1, 0, "{kind}");
    }
    let refused = ask(&world, &link, "cancel").await.expect(409);
    assert!(
        text(&refused.body["detail"]).contains("nothing can be asked"),
        "{}",
        refused.text
    );
    // The names are free again.
    world
        .sandbox
        .patch_switches(&json!({"latency_ms": 0}))
        .expect("a switch");
    assert_eq!(world.client.link_settled(docs()).await["status"], "live");
}

#[tokio::test]
async fn a_link_that_waits_for_a_person_can_be_canceled() {
    let world = World::empty(Setup::default()).await;
    world.repository("docs").await;
    world
        .connect_with(
            &world.client,
            linkbroker_sandbox::NETLIFY_TOKEN,
            "no-such-token",
        )
        .await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    let canceled = ask_and_wait(&world, &link, "cancel").await;
    assert_eq!(canceled["status"], "canceled", "{canceled:#}");
}

#[tokio::test]
async fn verbs_that_do_not_fit_are_refused_with_those_that_do() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    for verb in ["cancel", "retry"] {
        let refused = ask(&world, &link, verb).await.expect(409);
        assert_eq!(refused.code(), "illegal_transition");
        let detail = text(&refused.body["detail"]);
        assert!(
            detail.ends_with("asked of it now: rebuild, verify, check, heal, rotate-key, unlink."),
            "{detail}"
        );
    }
    // A link that was live is never canceled, not even while it is built again: its site would go.
    ask(&world, &link, "rebuild").await.expect(202);
    ask(&world, &link, "cancel").await.expect(409);
    let unlinked = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    for verb in ["cancel", "retry", "rebuild", "verify"] {
        ask(&world, &link, verb).await.expect(409);
    }
}
