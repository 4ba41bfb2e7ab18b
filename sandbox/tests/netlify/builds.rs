//! A link builds for real, and each way to fail says why in the vendor's words.

use linkbroker_sandbox::git::NewCommit;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Linked, World, text};

#[tokio::test]
async fn an_attached_repository_is_built_once_and_served() {
    let world = World::start().await;
    let linked = world.link("docs", json!({})).await;
    assert_ne!(linked.site["build_id"], "");
    assert_eq!(
        linked.site["deploy_id"], "",
        "the deploy id is hidden at first"
    );
    let deploy_id = first_label(text(&linked.site, "deploy_url"));

    let deploys = world.settled(linked.site_id(), 1).await;
    assert_eq!(deploys[0]["state"], "ready", "{deploys:#?}");
    assert_eq!(deploys[0]["id"], deploy_id.as_str());
    assert_eq!(deploys[0]["build_id"], linked.site["build_id"]);
    assert!(deploys[0]["commit_ref"].is_string() && deploys[0]["published_at"].is_string());
    let page = world.page(linked.site_name(), "").await;
    assert!(page.text.contains("first text"), "{page:?}");
    assert_eq!(
        world.page(linked.site_name(), "style.css").await.status,
        200
    );
    assert_eq!(world.page(linked.site_name(), "build.sh").await.status, 404);

    let build = world
        .get(&format!("/builds/{}", text(&linked.site, "build_id")))
        .await;
    assert_eq!(
        (&build["done"], &build["error"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(build["deploy_id"], deploys[0]["id"]);
    world.assert_lawful();
    world.sandbox.shutdown().await;
}

#[tokio::test]
async fn a_key_that_is_not_installed_is_refused_by_ssh_itself() {
    let world = World::start().await;
    let linked = world.link("docs", json!({"stop_builds": true})).await;
    let keys = format!("/repos/{}/keys", linked.full_name);
    let installed = world.github(Method::GET, &keys, None).await.expect(200);
    world
        .github(
            Method::DELETE,
            &format!("{keys}/{}", installed[0]["id"]),
            None,
        )
        .await
        .expect(204);

    let (deploy, log) = build_once(&world, &linked).await;
    assert!(
        text(&deploy, "error_message").contains("Unable to access repository"),
        "{deploy}"
    );
    assert!(log.contains("Permission denied (publickey)"), "{log}");
    assert_eq!(deploy["commit_ref"], Value::Null);
}

#[tokio::test]
async fn without_any_key_the_host_is_not_even_known() {
    let world = World::start().await;
    let linked = world
        .link("docs", json!({"deploy_key_id": null, "stop_builds": true}))
        .await;
    let (_, log) = build_once(&world, &linked).await;
    assert!(log.contains("Host key verification failed"), "{log}");
}

#[tokio::test]
async fn an_absent_branch_is_named() {
    let world = World::start().await;
    let missing = json!({"repo_branch": "trunk", "branch": "trunk", "stop_builds": true});
    let linked = world.link("docs", missing).await;
    let (_, log) = build_once(&world, &linked).await;
    let expected = "git ref refs/heads/trunk does not exist or you do not have permission";
    assert!(log.contains(expected), "{log}");
}

#[tokio::test]
async fn a_failing_command_ends_with_the_vendors_words() {
    let world = World::start().await;
    let linked = world
        .link(
            "docs",
            json!({"cmd": "echo one; echo two >&2; exit 7", "stop_builds": true}),
        )
        .await;
    let (deploy, log) = build_once(&world, &linked).await;
    let expected =
        "Failed during stage 'building site': Build script returned non-zero exit code: 2";
    assert_eq!(deploy["error_message"], expected);
    for line in ["one", "two", "\"build.command\" failed", "exit code 7"] {
        assert!(log.contains(line), "{line} is missing in {log}");
    }
}

#[tokio::test]
async fn wrong_folders_are_named() {
    let world = World::start().await;
    let linked = world
        .link("docs", json!({"dir": "public", "stop_builds": true}))
        .await;
    let (deploy, _) = build_once(&world, &linked).await;
    let expected = "Failed during stage 'building site': Deploy directory 'public' does not exist";
    assert_eq!(deploy["error_message"], expected);

    set(&world, &linked, json!({"base": "packages/web"})).await;
    let (deploy, _) = build_once(&world, &linked).await;
    let expected = "Base directory does not exist: /opt/build/repo/packages/web";
    assert!(
        text(&deploy, "error_message").ends_with(expected),
        "{deploy}"
    );

    set(&world, &linked, json!({"base": "", "dir": "../../../etc"})).await;
    let (deploy, _) = build_once(&world, &linked).await;
    assert!(
        text(&deploy, "error_message").contains("'../../../etc' does not exist"),
        "{deploy}"
    );
}

#[tokio::test]
async fn netlify_toml_wins_and_must_be_readable() {
    let world = World::start().await;
    let linked = world.link("docs", json!({"stop_builds": true})).await;
    let toml =
        "[build]\ncommand = \"mkdir out && echo from toml > out/index.html\"\npublish = \"out\"\n";
    commit(&world, &linked, "netlify.toml", toml).await;
    let deploy = start_and_settle(&world, &linked).await;
    assert_eq!(deploy["state"], "ready", "{deploy}");
    assert!(
        world
            .page(linked.site_name(), "")
            .await
            .text
            .contains("from toml")
    );

    commit(&world, &linked, "netlify.toml", "<<<<<<< HEAD").await;
    let (deploy, _) = build_once(&world, &linked).await;
    assert!(
        text(&deploy, "error_message").contains("Could not parse configuration"),
        "{deploy}"
    );
}

#[tokio::test]
async fn files_are_served_as_they_are_without_a_command() {
    let world = World::start().await;
    let linked = world
        .link(
            "docs",
            json!({"cmd": null, "dir": null, "stop_builds": true}),
        )
        .await;
    let deploy = start_and_settle(&world, &linked).await;
    assert_eq!(deploy["state"], "ready", "{deploy}");
    assert!(
        world
            .page(linked.site_name(), "build.sh")
            .await
            .text
            .starts_with("#!/bin/sh")
    );
    assert_eq!(
        world.page(linked.site_name(), ".git/HEAD").await.status,
        404
    );
}

#[tokio::test]
async fn the_command_sees_no_variable_of_ours_and_has_a_time_limit() {
    let limited = json!({"netlify": {"times": {"command_limit_ms": 1500}}});
    let world = World::with_switches(limited).await;
    let linked = world
        .link(
            "docs",
            json!({"cmd": "env; sleep 600", "stop_builds": true}),
        )
        .await;
    let (deploy, log) = build_once(&world, &linked).await;
    let expected =
        "Failed during stage 'building site': Command did not finish within the time limit";
    assert_eq!(deploy["error_message"], expected);
    assert!(
        log.contains("NETLIFY=true") && !log.contains("CARGO"),
        "{log}"
    );
}

#[tokio::test]
async fn a_cancelled_build_is_an_error_and_its_processes_are_gone() {
    let world = World::start().await;
    let linked = world
        .link(
            "docs",
            json!({"cmd": "echo started; sleep 600", "stop_builds": true}),
        )
        .await;
    let build = start(&world, &linked).await;
    let deploy_id = text(&build, "deploy_id");
    let path = format!("/deploys/{deploy_id}");
    world
        .until("the command runs", async || {
            let log = world
                .netlify(Method::GET, &format!("{path}/log"), None)
                .await;
            log.text.contains("started")
        })
        .await;
    let canceled = world
        .netlify(Method::POST, &format!("{path}/cancel"), None)
        .await
        .expect(200);
    assert_eq!(canceled["state"], "error");
    assert_eq!(canceled["error_message"], "Canceled build");
    let other =
        json!({"netlify": {"cancel_answers_201": true, "canceled_shown_as_prepared": true}});
    world.sandbox.patch_switches(&other).expect("switches");
    let canceled = world
        .netlify(Method::POST, &format!("{path}/cancel"), None)
        .await
        .expect(201);
    assert_eq!(
        (&canceled["state"], &canceled["error_message"]),
        (&json!("prepared"), &json!("Canceled build"))
    );
    let scratch = world.sandbox.world().data_dir.clone();
    let builds_left = || {
        std::fs::read_dir(&scratch)
            .expect("the folder")
            .flatten()
            .any(is_build_folder)
    };
    world
        .until("the build's folder is gone", async || !builds_left())
        .await;
    world.assert_lawful();
}

#[tokio::test]
async fn builds_of_one_account_wait_for_each_other() {
    let world = World::start().await;
    let first = world
        .link(
            "one",
            json!({"cmd": "sleep 1; sh build.sh", "stop_builds": true}),
        )
        .await;
    let second = world.link("two", json!({"stop_builds": true})).await;
    let running = start(&world, &first).await;
    world
        .until("the first one builds", async || {
            let build = world
                .get(&format!("/builds/{}", text(&running, "id")))
                .await;
            build["deploy_state"] == "building"
        })
        .await;
    let waiting = start(&world, &second).await;
    world
        .until("the second one waits", async || {
            let build = world
                .get(&format!("/builds/{}", text(&waiting, "id")))
                .await;
            assert_ne!(build["deploy_state"], "building");
            build["deploy_state"] == "enqueued"
        })
        .await;
    let account = text(&first.site, "account_id");
    let status = world.get(&format!("/{account}/builds/status")).await;
    assert_eq!(
        (&status[0]["active"], &status[0]["enqueued"]),
        (&json!(1), &json!(1))
    );
    let builds = world
        .get(&format!("/accounts/{account}/builds/status"))
        .await;
    assert_eq!(builds.as_array().map(Vec::len), Some(2));
    world.settled(second.site_id(), 1).await;
    world.assert_lawful();
}

#[tokio::test]
async fn stopped_builds_are_honoured_or_not() {
    let world = World::start().await;
    let linked = world.link("docs", json!({"stop_builds": true})).await;
    assert_eq!(linked.site["build_id"], "");
    assert!(world.deploys(linked.site_id()).await.is_empty());

    world
        .sandbox
        .patch_switches(&json!({"netlify": {"stop_builds_honoured": false}}))
        .expect("a switch");
    let linked = world.link("more", json!({"stop_builds": true})).await;
    assert_ne!(linked.site["build_id"], "");
    world.settled(linked.site_id(), 1).await;
}

#[tokio::test]
async fn an_attach_may_build_twice_and_credits_may_be_gone() {
    let world = World::with_switches(json!({"netlify": {"second_build_on_attach": true}})).await;
    let linked = world.link("docs", json!({})).await;
    world.settled(linked.site_id(), 2).await;

    let broke = json!({"netlify": {"second_build_on_attach": false, "credits_exhausted": true}});
    world.sandbox.patch_switches(&broke).expect("switches");
    let path = format!("/sites/{}/builds", linked.site_id());
    // 404 where 403 is meant.
    world.netlify(Method::POST, &path, None).await.expect(404);
    let poor = world.link("poor", json!({})).await;
    let deploys = world.settled(poor.site_id(), 1).await;
    assert_eq!(deploys[0]["skipped"], true);
    assert_eq!(
        deploys[0]["error_message"],
        "Skipped due to account credit usage exceeded"
    );
    world
        .netlify(
            Method::GET,
            &format!("/deploys/{}/log", text(&deploys[0], "id")),
            None,
        )
        .await
        .expect(404);
}

async fn start(world: &World, linked: &Linked) -> Value {
    let path = format!("/sites/{}/builds?title=a+title", linked.site_id());
    world.netlify(Method::POST, &path, None).await.expect(200)
}

async fn start_and_settle(world: &World, linked: &Linked) -> Value {
    let before = world.deploys(linked.site_id()).await.len();
    let build = start(world, linked).await;
    assert_ne!(build["deploy_id"], "");
    world
        .settled(linked.site_id(), before + 1)
        .await
        .swap_remove(0)
}

/// A build that fails, and its log.
async fn build_once(world: &World, linked: &Linked) -> (Value, String) {
    let deploy = start_and_settle(world, linked).await;
    assert_eq!(
        (&deploy["state"], &deploy["title"]),
        (&json!("error"), &json!("a title")),
        "{deploy}"
    );
    let log = world.log(text(&deploy, "id")).await;
    (deploy, log)
}

/// Changes only `build_settings`, which starts nothing.
async fn set(world: &World, linked: &Linked, settings: Value) {
    let before = world.deploys(linked.site_id()).await.len();
    let path = format!("/sites/{}", linked.site_id());
    let body = json!({"build_settings": settings});
    world
        .netlify(Method::PATCH, &path, Some(body))
        .await
        .expect(200);
    assert_eq!(world.deploys(linked.site_id()).await.len(), before);
}

async fn commit(world: &World, linked: &Linked, file: &str, content: &str) {
    let new = NewCommit {
        message: format!("Change {file}"),
        files: [(file.to_owned(), content.to_owned())].into(),
        ..NewCommit::default()
    };
    world
        .sandbox
        .commit(&linked.full_name, new)
        .await
        .expect("a commit");
}

fn first_label(url: &str) -> String {
    let host = url.strip_prefix("http://").expect("an address");
    host.split("--").next().expect("a label").to_owned()
}

fn is_build_folder(entry: std::fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with("build-")
}
