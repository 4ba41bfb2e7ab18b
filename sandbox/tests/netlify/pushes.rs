//! What a push event does: builds exactly where repository id, branch and state match; 204 either way.

use std::process::Command;

use linkbroker_sandbox::git::NewCommit;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::{Linked, World, read, text};

#[tokio::test]
async fn a_push_with_plain_git_is_built_and_served() {
    let world = World::start().await;
    let linked = world.link("docs", json!({})).await;
    world.settled(linked.site_id(), 1).await;
    push_with_git(&world, &linked.full_name, "second text");

    let deploys = world.settled(linked.site_id(), 2).await;
    assert_eq!(deploys[0]["state"], "ready", "{deploys:#?}");
    assert_eq!(deploys[0]["deploy_source"], "git");
    assert_eq!(deploys[0]["context"], "production");
    assert_eq!(deploys[0]["title"], "Change the text");
    let page = world.page(linked.site_name(), "").await;
    assert!(page.text.contains("second text"), "{page:?}");

    let counts = world.sandbox.counts();
    for (kind, made) in [
        ("deploy_keys", 1),
        ("sites", 1),
        ("webhooks", 1),
        ("installed_keys", 1),
        ("builds", 2),
    ] {
        assert_eq!(counts.of(kind).created, made, "{kind}");
    }
    world.assert_lawful();
}

#[tokio::test]
async fn a_site_without_the_repository_id_is_deaf() {
    let world = World::start().await;
    let linked = world
        .link("docs", json!({"id": null, "repo_id": null}))
        .await;
    world.settled(linked.site_id(), 1).await;
    assert_eq!(push(&world, &linked, |_| {}).await, StatusCode::NO_CONTENT);
    assert_eq!(world.deploys(linked.site_id()).await.len(), 1);

    world
        .sandbox
        .patch_switches(&json!({"netlify": {"deaf_without_id": false}}))
        .expect("a switch");
    assert_eq!(push(&world, &linked, |_| {}).await, StatusCode::NO_CONTENT);
    world.settled(linked.site_id(), 2).await;
}

#[tokio::test]
async fn only_matching_pushes_build() {
    let world = World::start().await;
    let linked = world.link("docs", json!({"stop_builds": true})).await;
    push(&world, &linked, |_| {}).await;
    let running = json!({"build_settings": {"stop_builds": false}});
    let path = format!("/sites/{}", linked.site_id());
    world
        .netlify(Method::PATCH, &path, Some(running))
        .await
        .expect(200);
    push(&world, &linked, |p| p["repository"]["id"] = json!(4711)).await;
    push(&world, &linked, |p| p["ref"] = json!("refs/heads/feature")).await;
    push(&world, &linked, |p| p["ref"] = json!("refs/tags/main")).await;
    push(&world, &linked, |p| p["deleted"] = json!(true)).await;
    assert!(world.deploys(linked.site_id()).await.is_empty());

    let every_branch = json!({"build_settings": {"allowed_branches": []}});
    world
        .netlify(Method::PATCH, &path, Some(every_branch))
        .await
        .expect(200);
    let new = NewCommit {
        branch: "feature".to_owned(),
        message: "On a branch".to_owned(),
        ..change()
    };
    world
        .sandbox
        .commit(&linked.full_name, new)
        .await
        .expect("a commit");
    let deploys = world.settled(linked.site_id(), 1).await;
    assert_eq!(deploys[0]["context"], "branch-deploy");
    assert_eq!(deploys[0]["published_at"], Value::Null);
}

#[tokio::test]
async fn a_skipped_and_a_blocked_push_end_as_errors() {
    let world = World::start().await;
    let linked = world.link("docs", json!({"stop_builds": false})).await;
    world.settled(linked.site_id(), 1).await;
    push(&world, &linked, |p| {
        p["head_commit"]["message"] = json!("Tidy [skip ci]")
    })
    .await;
    let deploys = world.settled(linked.site_id(), 2).await;
    assert_eq!(
        (&deploys[0]["skipped"], &deploys[0]["error_message"]),
        (&json!(true), &json!("Skipped"))
    );

    world
        .sandbox
        .patch_switches(&json!({"netlify": {"unrecognized_contributor": true}}))
        .expect("a switch");
    push(&world, &linked, |p| {
        p["repository"]["private"] = json!(true)
    })
    .await;
    let deploys = world.settled(linked.site_id(), 3).await;
    assert!(
        text(&deploys[0], "error_message")
            .starts_with("Build blocked: Unrecognized Git contributor")
    );
    assert_eq!(deploys[0]["strict_contributor_verification_failure"], true);
}

#[tokio::test]
async fn a_newer_push_may_skip_waiting_builds() {
    let slow = json!({"netlify": {"skip_superseded": true, "times": {"new_ms": 500}}});
    let world = World::with_switches(slow).await;
    let linked = world.link("docs", json!({})).await;
    push(&world, &linked, |_| {}).await;
    let deploys = world.settled(linked.site_id(), 2).await;
    assert_eq!(deploys[0]["state"], "ready");
    assert_eq!(deploys[1]["error_message"], "Skipped");
}

#[tokio::test]
async fn a_build_is_of_the_commit_that_was_pushed() {
    let slow = json!({"netlify": {"times": {"new_ms": 300}}});
    let world = World::with_switches(slow).await;
    let linked = world.link("docs", json!({"stop_builds": false})).await;
    world.settled(linked.site_id(), 1).await;
    let mut pushed = Vec::new();
    for content in ["older\n", "newer\n"] {
        let files = [("content/text.txt".to_owned(), content.to_owned())].into();
        let new = NewCommit { files, ..change() };
        let made = world
            .sandbox
            .commit(&linked.full_name, new)
            .await
            .expect("a commit");
        pushed.push(made["sha"].clone());
    }
    let deploys = world.settled(linked.site_id(), 3).await;
    assert_eq!(
        (&deploys[1]["commit_ref"], &deploys[0]["commit_ref"]),
        (&pushed[0], &pushed[1])
    );
    assert!(
        world
            .page(linked.site_name(), "")
            .await
            .text
            .contains("newer")
    );

    let path = format!(
        "/sites/{}/builds?commit_sha={}",
        linked.site_id(),
        "1".repeat(40)
    );
    world.netlify(Method::POST, &path, None).await.expect(200);
    let deploys = world.settled(linked.site_id(), 4).await;
    assert!(text(&deploys[0], "error_message").contains("Unable to access repository"));
}

#[tokio::test]
async fn the_receiver_is_picky_about_form_and_address() {
    let world = World::start().await;
    let linked = world.link("docs", json!({})).await;
    let hook = text(&linked.site, "deploy_hook").to_owned();
    assert!(hook.ends_with("/netlify/hooks/github"), "{hook}");
    let send = async |url: &str, content_type: &str, event: &str, body: &str| {
        let request = world
            .http
            .post(url)
            .header("content-type", content_type)
            .header("x-github-event", event);
        read(
            request
                .body(body.to_owned())
                .send()
                .await
                .expect("an answer"),
        )
        .await
        .status
        .as_u16()
    };
    assert_eq!(
        send(&hook, "application/json", "ping", "{\"zen\": \"x\"}").await,
        204
    );
    assert_eq!(
        send(
            &hook,
            "application/x-www-form-urlencoded",
            "push",
            "payload=%7B%7D"
        )
        .await,
        422
    );
    assert_eq!(send(&hook, "application/json", "push", "{}").await, 422);
    assert_eq!(
        send(&hook, "application/json", "push", "not json").await,
        422
    );
    let unknown = hook.replace("/github", "/0123456789abcdef01234567");
    assert_eq!(send(&unknown, "application/json", "push", "{}").await, 404);
    world.settled(linked.site_id(), 1).await;
}

#[tokio::test]
async fn a_manual_site_has_a_hook_of_its_own() {
    let world = World::start().await;
    let address = world.sandbox.world().git.ssh_url("acme/docs");
    let manual = json!({"provider": "manual", "id": null, "repo_id": null, "repo": address, "repo_path": address});
    let linked = world.link("docs", manual).await;
    world.settled(linked.site_id(), 1).await;
    push(&world, &linked, |_| {}).await;
    world.settled(linked.site_id(), 2).await;
}

fn change() -> NewCommit {
    let files = [("content/text.txt".to_owned(), "changed\n".to_owned())];
    NewCommit {
        message: "Change the text".to_owned(),
        files: files.into(),
        ..NewCommit::default()
    }
}

/// Sends GitHub's event by hand to the site's `deploy_hook`, after a change of the event.
async fn push(world: &World, linked: &Linked, edit: impl FnOnce(&mut Value)) -> StatusCode {
    let mut event = json!({
        "ref": "refs/heads/main", "before": "0".repeat(40), "after": repository(world, &linked.full_name)["head"], "deleted": false,
        "repository": {"id": linked.repo_id, "full_name": linked.full_name, "private": false},
        "head_commit": {"message": "By hand", "url": "https://github.com/acme/docs/commit/1"},
        "pusher": {"name": "octocat"},
    });
    edit(&mut event);
    let site = world.get(&format!("/sites/{}", linked.site_id())).await;
    let request = world
        .http
        .post(text(&site, "deploy_hook"))
        .header("x-github-event", "push");
    let reply = read(request.json(&event).send().await.expect("an answer")).await;
    assert_eq!(reply.status, 204, "{reply:?}");
    reply.status
}

/// What a person does: clone, edit, commit, push.
fn push_with_git(world: &World, full_name: &str, new_text: &str) {
    let repository = repository(world, full_name);
    let folder = tempfile::tempdir().expect("a folder");
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(folder.path()).args([
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@example.com",
        ]);
        let output = git.args(arguments).output().expect("git");
        assert!(output.status.success(), "{output:?}");
    };
    git(&["clone", "-q", text(&repository, "path"), "."]);
    std::fs::write(folder.path().join("content/text.txt"), new_text).expect("a change");
    git(&["commit", "-qam", "Change the text"]);
    git(&["push", "-q"]);
}

fn repository(world: &World, full_name: &str) -> Value {
    let view = linkbroker_sandbox::github::world_view(world.sandbox.world());
    let repositories = view["repositories"].as_array().expect("a list");
    let named = repositories.iter().find(|r| r["full_name"] == full_name);
    named.expect("the repository").clone()
}
