//! Links that stand while their build does not: the real cause, with evidence, and the way back.

use linkbroker_sandbox::git::NewCommit;
use linkbroker_sandbox::github::set_deploy_keys_enabled;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Setup, World, docs, text, until};

fn assert_build_failed(link: &Value, code: &str) {
    assert_eq!(link["status"], "build_failed", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], code, "{link:#}");
    assert_eq!(link["deploy"]["state"], "error", "{link:#}");
}

/// All lines of evidence as one text.
fn evidence(link: &Value) -> String {
    let lines = link["diagnosis"]["evidence"].as_array().expect("evidence");
    let lines: Vec<_> = lines.iter().map(|line| text(&line["text"])).collect();
    lines.join("\n")
}

#[tokio::test]
async fn a_key_that_is_removed_before_the_clone_is_named_and_retry_puts_it_back() {
    let world = World::usual().await;
    world.fault(json!({"upstream": "netlify", "method": "PATCH", "path": "/sites/", "fault": {"delay_ms": 1000}}));
    let id = world.client.link(docs()).await;
    world.made("installed_keys").await;
    let key = &world.state()["github"]["repositories"][0]["keys"][0]["id"];
    let path = format!("/repos/acme/docs/keys/{key}");
    world.github(Method::DELETE, &path, None).await;

    let link = world.client.settled(&id).await;
    assert_build_failed(&link, "key_missing");
    assert_eq!(link["diagnosis"]["certainty"], "certain");
    assert_eq!(link["diagnosis"]["healable"], true);
    let evidence = evidence(&link);
    assert!(
        evidence.contains("Permission denied (publickey)"),
        "{evidence}"
    );
    assert!(
        evidence.contains("the deploy key is not installed"),
        "{evidence}"
    );
    assert_eq!(
        condition(&link, "FirstDeployReady"),
        ("false".to_owned(), "key_missing".to_owned())
    );

    let healed = world.client.retry(&id).await;
    assert_eq!(healed["status"], "live", "{healed:#}");
    assert_eq!(healed["diagnosis"], Value::Null);
    assert_ne!(healed["build"]["id"], link["build"]["id"]);
    assert_eq!(world.count("installed_keys"), (2, 1));
    for kind in ["deploy_keys", "webhooks", "sites"] {
        assert_eq!(world.count(kind), (1, 1), "{kind}");
    }
    assert!(
        world
            .page("acme-docs")
            .await
            .contains("Hello from the first commit")
    );
}

#[tokio::test]
async fn a_key_that_is_there_and_does_not_work_is_told_from_one_that_is_missing() {
    let world = World::usual().await;
    world.fault(json!({"upstream": "netlify", "method": "PATCH", "path": "/sites/", "fault": {"delay_ms": 1000}}));
    let id = world.client.link(docs()).await;
    world.made("installed_keys").await;
    // GitHub then lets nobody in with a deploy key, and shows the keys as before.
    let allow = |allowed| set_deploy_keys_enabled(world.sandbox.world(), "acme/docs", allowed);
    allow(false).expect("a repository");
    let link = world.client.settled(&id).await;
    assert_build_failed(&link, "deploy_keys_disabled");
    assert_eq!(link["diagnosis"]["certainty"], "certain");
    let evidence = evidence(&link);
    assert!(
        evidence.contains("Permission denied (publickey)"),
        "{evidence}"
    );

    allow(true).expect("a repository");
    let healed = world.client.retry(&id).await;
    assert_eq!(healed["status"], "live", "{healed:#}");
    assert_eq!(world.count("installed_keys"), (1, 1));
}

fn condition(link: &Value, kind: &str) -> (String, String) {
    let conditions = link["conditions"].as_array().expect("conditions");
    let condition = conditions
        .iter()
        .find(|condition| condition["type"] == kind);
    let condition = condition.expect("the condition");
    (text(&condition["status"]), text(&condition["reason"]))
}

#[tokio::test]
async fn a_build_command_that_fails_is_named_with_the_end_of_its_log() {
    let world = World::usual().await;
    let broken = "#!/bin/sh\necho 'the flux capacitor is missing' >&2\nexit 3\n";
    commit(&world, "build.sh", broken).await;
    let link = world.client.link_settled(docs()).await;
    assert_build_failed(&link, "build_command_failed");
    assert_eq!(link["diagnosis"]["fault"], "caller");
    let evidence = evidence(&link);
    assert!(
        evidence.contains("the flux capacitor is missing"),
        "{evidence}"
    );

    commit(
        &world,
        "build.sh",
        "mkdir -p dist && echo mended > dist/index.html\n",
    )
    .await;
    until("the mended page", async || {
        world
            .page("acme-docs")
            .await
            .contains("mended")
            .then_some(())
    })
    .await;
    let healed = world.client.retry(&text(&link["id"])).await;
    assert_eq!(healed["status"], "live", "{healed:#}");
}

async fn commit(world: &World, path: &str, content: &str) {
    let new = NewCommit {
        message: format!("Change {path}"),
        files: [(path.to_owned(), content.to_owned())].into(),
        ..NewCommit::default()
    };
    world
        .sandbox
        .commit("acme/docs", new)
        .await
        .expect("a commit");
}

#[tokio::test]
async fn a_publish_directory_that_is_not_there_is_named() {
    let world = World::usual().await;
    let mut request = docs();
    request["build"]["publish"] = json!("public");
    let link = world.client.link_settled(request).await;
    assert_build_failed(&link, "publish_dir_missing");
}

#[tokio::test]
async fn a_replayed_push_that_starts_nothing_leaves_the_link_degraded() {
    let settings = vec![("LINKBROKER_PROOF_SECONDS", "1".to_owned())];
    let world = World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    world.fault(json!({"upstream": "netlify_hooks", "path": "/hooks/github", "times": 9, "fault": {"status": 204}}));
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "degraded", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "push_unverified");
    assert_eq!(link["diagnosis"]["certainty"], "unknown");
    assert!(evidence(&link).contains("Netlify answered 204"), "{link:#}");
    assert_eq!(link["verification"]["level"], 0);
    assert_eq!(condition(&link, "FirstDeployReady").0, "true");
    assert_eq!(condition(&link, "PushTriggersBuild").0, "false");
    assert_eq!(world.count("builds"), (1, 1));

    world.sandbox.world().faults.clear();
    let healed = world.client.retry(&text(&link["id"])).await;
    assert_eq!(healed["status"], "live", "{healed:#}");
    assert_eq!(world.count("webhooks"), (1, 1));
}

#[tokio::test]
async fn a_private_submodule_that_the_key_does_not_open_is_named() {
    let world = World::with(Setup {
        settings: vec![("LINKBROKER_PATROL_IDLE_SECONDS", "1".to_owned())],
        ..Setup::default()
    })
    .await;
    let library = world.repository("lib").await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let (address, head) = (text(&library["ssh_url"]), text(&library["head"]));
    let module = format!("[submodule \"lib\"]\n\tpath = lib\n\turl = {address}\n");
    let new = NewCommit {
        message: "Lean on the library".to_owned(),
        files: [(".gitmodules".to_owned(), module)].into(),
        submodules: [("lib".to_owned(), head)].into(),
        ..NewCommit::default()
    };
    let pushed = world.sandbox.commit("acme/docs", new).await;
    pushed.expect("a push");
    let id = text(&link["id"]);
    let failed = until("the build to fail", async || {
        let link = world.client.read(&id).await;
        (link["status"] == "build_failed").then_some(link)
    })
    .await;
    // The words could be those of the repository itself, and the link's key is where it should be.
    assert_build_failed(&failed, "submodule_denied");
    let evidence = evidence(&failed);
    assert!(evidence.contains("Repository not found"), "{evidence}");
    assert_eq!(failed["diagnosis"]["certainty"], "certain");
    assert_eq!(failed["diagnosis"]["fault"], "caller");

    // The files are brought into the repository.
    let new = NewCommit {
        message: "Bring the library's files".to_owned(),
        delete: vec![".gitmodules".to_owned(), "lib".to_owned()],
        ..NewCommit::default()
    };
    let pushed = world.sandbox.commit("acme/docs", new).await;
    pushed.expect("a push");
    until("the site to be built again", async || {
        let link = world.client.read(&id).await;
        (link["status"] == "live").then_some(())
    })
    .await;
}
