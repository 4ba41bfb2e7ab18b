//! From one `POST /links` to a site that every push rebuilds.

use std::path::Path;

use linkbroker_sandbox::recorder::{Call, Upstream, rounds};
use serde_json::{Value, json};

use crate::world::{Setup, World, docs, until};

#[tokio::test]
async fn a_private_repository_becomes_a_live_site() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;

    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(link["diagnosis"], Value::Null);
    assert_eq!(link["verification"]["level"], 2);
    assert_all_done(&link);
    assert_one_of_each(&world);
    assert_ids_are_netlifys(&world, &link);
    let key = &world.state()["github"]["repositories"][0]["keys"][0];
    assert_eq!(key["read_only"], true);
    let page = world.page("acme-docs").await;
    assert!(page.contains("Hello from the first commit"), "{page}");
    let violations = world.sandbox.violations();
    assert!(violations.is_empty(), "{violations:#?}");
}

/// Every step is through, without variables to set and without an address for notifications, and every condition holds.
fn assert_all_done(link: &Value) {
    for step in link["steps"].as_array().expect("steps") {
        let expected = match step["name"].as_str() {
            Some("set_environment" | "open_gate" | "subscribe_notifications" | "retire_key") => {
                "skipped"
            }
            _ => "done",
        };
        assert_eq!(step["state"], expected, "{step:#}");
        assert_eq!(step["attempts"], 0, "{step:#}");
    }
    let conditions = link["conditions"].as_array().expect("conditions");
    assert_eq!(conditions.len(), 7);
    // Whether it stays so is looked at later.
    let of_steps = conditions.iter().filter(|it| it["type"] != "InSync");
    for condition in of_steps {
        assert_eq!(condition["status"], "true", "{condition:#}");
    }
}

/// Exactly one of everything, but for the build that proved the push: it was canceled.
fn assert_one_of_each(world: &World) {
    for kind in ["deploy_keys", "installed_keys", "webhooks", "sites"] {
        assert_eq!(world.count(kind), (1, 1), "{kind}");
    }
    let state = world.state();
    let deploys = state["netlify"]["deploys"].as_array().expect("deploys");
    let (ready, others): (Vec<_>, Vec<_>) = deploys
        .iter()
        .partition(|deploy| deploy["state"] == "ready");
    assert_eq!((ready.len(), others.len()), (1, 1), "{deploys:#?}");
    assert_eq!(others[0]["error_message"], "Canceled build");
}

/// The link shows the build and the deploy that Netlify has, under Netlify's own ids.
fn assert_ids_are_netlifys(world: &World, link: &Value) {
    let state = world.state();
    let deploys = state["netlify"]["deploys"].as_array().expect("deploys");
    let first = deploys.iter().find(|deploy| deploy["state"] == "ready");
    let first = first.expect("the first deploy");
    assert_eq!(link["build"]["id"], first["build_id"]);
    assert_eq!(link["build"]["deploy_id"], first["id"]);
    assert_eq!(link["deploy"]["id"], first["id"]);
    assert_eq!(link["deploy"]["state"], "ready");
    let head = &state["github"]["repositories"][0]["head"];
    assert_eq!(&link["deploy"]["commit_ref"], head);
    let proof = deploys.iter().find(|deploy| deploy["state"] == "error");
    let proof = proof.expect("the canceled deploy");
    assert_eq!(link["verification"]["build"]["id"], proof["build_id"]);
    let site = &state["netlify"]["sites"][0];
    assert_eq!(link["site"]["id"], site["id"]);
    assert_eq!(link["site"]["name"], "acme-docs");
}

#[tokio::test]
async fn armed_with_a_known_deploy_after_seven_calls_in_four_rounds() {
    // With a latency, calls that are sent together overlap.
    let switches = json!({"latency_ms": 60});
    let world = World::with(Setup {
        switches,
        ..Setup::default()
    })
    .await;
    world.sandbox.warm_up().await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");

    let calls = world.sandbox.calls();
    let calls: Vec<_> = calls
        .into_iter()
        .filter(|call| call.upstream != Upstream::NetlifyHooks)
        .collect();
    let deploy = link["build"]["deploy_id"].as_str().expect("a deploy id");
    let known = calls.iter().position(|call| call.path.contains(deploy));
    let armed = &calls[..=known.expect("a call about the deploy")];
    assert!(armed.len() <= 7, "{}", list(armed));
    assert!(rounds(armed) <= 4, "{}", list(armed));
    assert!(world.sandbox.violations().is_empty());
}

fn list(calls: &[Call]) -> String {
    let line = |call: &Call| {
        format!(
            "{:.0}-{:.0} {} {}\n",
            call.started_ms, call.ended_ms, call.method, call.path
        )
    };
    calls.iter().map(line).collect()
}

#[tokio::test]
async fn a_plain_git_push_rebuilds_the_site() {
    let world = World::empty(Setup::default()).await;
    let repository = world.repository("docs").await;
    world.connect(&world.client).await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");

    let work = world.folder().join("work");
    let bare = repository["path"].as_str().expect("a path");
    git(world.folder(), &["clone", "--quiet", bare, "work"]).await;
    std::fs::write(
        work.join("content/text.txt"),
        "Hello from the second commit\n",
    )
    .expect("a file");
    git(
        &work,
        &["commit", "--quiet", "--all", "--message", "Second"],
    )
    .await;
    git(&work, &["push", "--quiet", "origin", "HEAD:main"]).await;

    until("the new page", async || {
        let page = world.page("acme-docs").await;
        page.contains("Hello from the second commit").then_some(())
    })
    .await;
    assert_eq!(
        world.client.read(link["id"].as_str().expect("an id")).await["status"],
        "live"
    );
}

async fn git(folder: &Path, arguments: &[&str]) {
    let output = tokio::process::Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .await
        .expect("git");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn everything_but_the_repository_has_a_default() {
    let world = World::usual().await;
    let request = json!({"repository": "git@github.com:acme/docs.git"});
    let link = world.client.link_settled(request).await;
    // Without a build command Netlify publishes the repository as it is.
    assert_eq!(link["status"], "live", "{link:#}");
    let name = link["request"]["site_name"].as_str().expect("a name");
    assert!(name.starts_with("docs-"), "{name}");
    assert_eq!(link["site"]["name"], name);
    assert_eq!(link["repository"]["branch"], "main");
    assert_eq!(
        link["request"]["connections"],
        json!({"netlify": "netlify", "provider": "github"})
    );
}

#[tokio::test]
async fn a_link_that_needs_no_proof_is_live_with_the_first_build_alone() {
    let world = World::usual().await;
    let mut request = docs();
    request["verify"] = json!("build");
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(link["verification"]["level"], 0);
    assert_eq!(world.count("builds"), (1, 1));
}
