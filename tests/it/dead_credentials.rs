//! Credentials that an upstream refuses: nobody goes on calling with them, and a new one sets everything going again.

use linkbroker_sandbox::GITHUB_TOKEN;
use linkbroker_sandbox::recorder::Upstream;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Setup, World, docs, text, until};

const LINKS: usize = 30;

fn request(number: usize) -> Value {
    json!({
        "repository": "https://github.com/acme/docs",
        "site": {"name": format!("site-{number}"), "team": "sandbox"},
        "build": {"command": "sh build.sh", "publish": "dist"},
        "verify": "build",
    })
}

/// Calls at GitHub so far.
fn calls(world: &World) -> usize {
    let calls = world.sandbox.calls();
    let at_github = calls
        .iter()
        .filter(|call| call.upstream == Upstream::Github);
    at_github.count()
}

async fn connection(world: &World, kind: &str) -> Value {
    let connections = world.client.get("/connections").await.expect(200).body;
    let connections = connections["connections"].as_array().expect("connections");
    let found = connections.iter().find(|known| known["kind"] == kind);
    found.expect("a connection").clone()
}

async fn replace(world: &World, kind: &str, token: &str) {
    let connection = connection(world, kind).await;
    let path = format!("/connections/{}/credential", text(&connection["id"]));
    let good = json!({"type": "token", "token": token});
    let put = world
        .client
        .send(Method::PUT, &path, |request| request.json(&good));
    put.await.expect(204);
}

async fn becomes(world: &World, id: &str, status: &str) -> Value {
    until(status, async || {
        let link = world.client.read(id).await;
        (link["status"] == status).then_some(link)
    })
    .await
}

#[tokio::test]
async fn many_links_with_a_dead_one_call_a_few_times_and_go_on_by_themselves_with_another() {
    let switches = json!({"netlify": {"rate_limit_per_minute": 1_000_000}});
    let world = World::empty(Setup {
        switches,
        ..Setup::default()
    })
    .await;
    world.repository("docs").await;
    world
        .connect_with(&world.client, linkbroker_sandbox::NETLIFY_TOKEN, "ghp_dead")
        .await;
    let mut links = Vec::new();
    for number in 0..LINKS {
        links.push(world.client.link(request(number)).await);
    }
    for id in &links {
        let link = world.client.settled(id).await;
        assert_eq!(link["status"], "action_required", "{link:#}");
        assert_eq!(link["diagnosis"]["code"], "credential_refused", "{link:#}");
    }
    // Whoever tries again, and whoever comes later, waits without a call.
    for id in &links[..3] {
        let link = world.client.retry(id).await;
        assert_eq!(link["diagnosis"]["code"], "credential_refused", "{link:#}");
    }
    let late = world.client.link_settled(request(LINKS)).await;
    assert_eq!(late["diagnosis"]["code"], "credential_refused", "{late:#}");
    let wasted = calls(&world);
    println!(
        "{wasted} calls with the dead credential for {} links",
        LINKS + 1
    );
    assert!((1..=10).contains(&wasted), "{wasted} calls");

    let github = connection(&world, "github").await;
    assert_eq!(
        github["check"]["failure"]["code"], "credential_refused",
        "{github:#}"
    );
    replace(&world, "github", GITHUB_TOKEN).await;
    for id in &links {
        let link = until("the link to go on by itself", async || {
            let link = world.client.read(id).await;
            (link["status"] == "live").then_some(link)
        });
        assert_eq!(link.await["diagnosis"], Value::Null);
    }
}

#[tokio::test]
async fn a_look_that_meets_one_notes_it_and_another_ends_it() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    let check = async || {
        let path = format!("/links/{id}/check");
        let asked = world.client.send(Method::POST, &path, |it| it).await;
        asked.expect(202);
        world.client.settled(&id).await
    };
    // Something else differs when the credential dies.
    let site = world.state()["netlify"]["sites"][0]["id"].clone();
    let change = json!({"build_settings": {"cmd": "make"}});
    let path = format!("/sites/{}", text(&site));
    crate::existing_sites::netlify(&world, Method::PATCH, &path, change).await;
    world
        .fault(json!({"upstream": "github", "path": ".*", "fault": {"status": 401}, "times": 100}));
    let kinds = |link: &Value| {
        let drift = link["drift"].as_array().cloned().unwrap_or_default();
        let kinds = drift.iter().map(|drift| text(&drift["kind"]));
        kinds.collect::<Vec<_>>()
    };
    let expected = ["build_command_changed", "provider_credential_refused"];
    let told = check().await;
    assert_eq!(told["status"], "degraded", "{told:#}");
    assert_eq!(kinds(&told), expected);
    // The look has asked for a check of the credential too, which must not find it good again.
    let github = until("the check to be over", async || {
        let github = connection(&world, "github").await;
        (github["check"]["state"] == "failed").then_some(github)
    })
    .await;
    assert_eq!(github["check"]["failure"]["code"], "credential_refused");

    // Nobody calls with it any more, and a look says so all the same.
    world.sandbox.world().faults.clear();
    let before = calls(&world);
    let again = check().await;
    assert_eq!(again["status"], "degraded", "{again:#}");
    assert_eq!(again["drift"], told["drift"]);
    assert_eq!(calls(&world), before);
    let page = format!("/links/{id}/events?limit=100");
    let events = world.client.get(&page).await.expect(200).text;
    assert_eq!(events.matches("link.drifted").count(), 1, "{events}");
    assert_eq!(events.matches("link.check_failed").count(), 0, "{events}");

    replace(&world, "github", GITHUB_TOKEN).await;
    let looked_at = until("the next look", async || {
        let link = world.client.read(&id).await;
        (kinds(&link) == ["build_command_changed"]).then_some(link)
    });
    assert_eq!(looked_at.await["drift"][0]["healable"], "on_request");
}

/// Holds the next call at GitHub back for a second: what it was made with is replaced meanwhile.
fn github_is_slow(world: &World) {
    world.fault(json!({"upstream": "github", "path": ".*", "fault": {"delay_ms": 1000}}));
}

#[tokio::test]
async fn one_that_is_replaced_while_its_refusal_is_under_way_holds_no_link_back() {
    let world = World::empty(Setup::default()).await;
    world.repository("docs").await;
    world
        .connect_with(&world.client, linkbroker_sandbox::NETLIFY_TOKEN, "ghp_dead")
        .await;
    github_is_slow(&world);
    let id = world.client.link(docs()).await;
    // Netlify is called at the same time.
    world.made("deploy_keys").await;
    replace(&world, "github", GITHUB_TOKEN).await;
    becomes(&world, &id, "live").await;
    // Nobody is asked for what was done already.
    let page = format!("/links/{id}/events?limit=100");
    let events = world.client.get(&page).await.expect(200).text;
    assert!(events.contains("link.resumed"), "{events}");
    assert!(!events.contains("action_required"), "{events}");
}

#[tokio::test]
async fn of_two_the_one_that_is_still_dead_is_named() {
    let world = World::empty(Setup::default()).await;
    world.repository("docs").await;
    world
        .connect_with(&world.client, "nfp_dead", "ghp_dead")
        .await;
    let netlify_is_slow = json!({"delay_ms": 1500});
    world.fault(json!({"upstream": "netlify", "path": ".*", "fault": netlify_is_slow}));
    let id = world.client.link(docs()).await;
    until("GitHub's refusal", async || {
        (calls(&world) > 0).then_some(())
    })
    .await;
    replace(&world, "github", GITHUB_TOKEN).await;
    let link = world.client.settled(&id).await;
    assert_eq!(link["diagnosis"]["code"], "credential_refused", "{link:#}");
    assert_eq!(link["diagnosis"]["upstream"]["upstream"], "netlify");
    replace(&world, "netlify", linkbroker_sandbox::NETLIFY_TOKEN).await;
    becomes(&world, &id, "live").await;
}

#[tokio::test]
async fn one_whose_owner_may_not_set_variables_serves_all_other_links() {
    let world = World::usual().await;
    world.fault(json!({"upstream": "netlify", "path": "/accounts/[^/]+/env", "times": 100, "fault": {"status": 401, "body": {"code": 401, "message": "Unauthorized"}}}));
    world.fault(json!({"upstream": "github", "method": "POST", "path": "/keys$", "fault": {"delay_ms": 2500}}));
    let other = world.client.link(request(1)).await;
    // Its key is on the way.
    world.made("deploy_keys").await;
    let mut with_variables = docs();
    with_variables["env"] = json!({"COLOUR": "green"});
    let refused = world.client.link_settled(with_variables).await;
    assert_eq!(refused["diagnosis"]["code"], "environment_refused");
    becomes(&world, &other, "live").await;
    let netlify = connection(&world, "netlify").await;
    assert_eq!(netlify.get("check"), None, "{netlify:#}");
}

#[tokio::test]
async fn one_that_is_replaced_while_a_look_is_refused_is_looked_with_again() {
    let world = World::usual().await;
    let id = text(&world.client.link_settled(docs()).await["id"]);
    replace(&world, "github", "ghp_dead").await;
    github_is_slow(&world);
    let before = world.sandbox.calls().len();
    let path = format!("/links/{id}/check");
    let asked = world.client.send(Method::POST, &path, |it| it).await;
    asked.expect(202);
    // Netlify is called at the same time.
    until("the look to be under way", async || {
        (world.sandbox.calls().len() > before).then_some(())
    })
    .await;
    replace(&world, "github", GITHUB_TOKEN).await;
    let page = format!("/links/{id}/events?limit=100");
    until("the look to end well", async || {
        let events = world.client.get(&page).await.expect(200).text;
        events.contains("link.checked").then_some(())
    })
    .await;
    let looked_at = world.client.read(&id).await;
    assert_eq!(looked_at["status"], "live", "{looked_at:#}");
    assert_eq!(looked_at["drift"], Value::Null, "{looked_at:#}");
}

#[tokio::test]
async fn one_that_dies_while_a_build_runs_is_no_end_of_the_build() {
    let switches = json!({"netlify": {"times": {"building_ms": 4_000}}});
    let world = World::with(Setup {
        switches,
        ..Setup::default()
    })
    .await;
    let mut request = docs();
    request["verify"] = json!("build");
    let id = world.client.link(request).await;
    becomes(&world, &id, "building").await;
    until("the build to be known", async || {
        let link = world.client.read(&id).await;
        link["build"]["deploy_id"].is_string().then_some(())
    })
    .await;
    world.fault(
        json!({"upstream": "netlify", "path": ".*", "fault": {"status": 401}, "times": 10_000}),
    );
    let stopped = becomes(&world, &id, "action_required").await;
    assert_eq!(
        stopped["diagnosis"]["code"], "credential_refused",
        "{stopped:#}"
    );
    world.sandbox.world().faults.clear();
    replace(&world, "netlify", linkbroker_sandbox::NETLIFY_TOKEN).await;
    let live = becomes(&world, &id, "live").await;
    assert_eq!(live["diagnosis"], Value::Null);
    assert_eq!(live["deploy"]["state"], "ready");
    let page = format!("/links/{id}/events?limit=100");
    let events = world.client.get(&page).await.expect(200).text;
    assert!(!events.contains("build_failed"), "{events}");
    assert_eq!(world.count("builds").0, 1);
}
