//! A link that stands still says why: the cause as it really is, how sure that is, the proof, and what to do.

use linkbroker_sandbox::git::NewCommit;
use reqwest::Method;
use serde_json::{Value, json};

use crate::existing_sites::netlify;
use crate::world::{Setup, World, docs, text, until};

/// What a diagnosis must show.
struct Shown {
    code: &'static str,
    certainty: &'static str,
    healable: bool,
    /// Source and a part of the text of one line of its evidence.
    evidence: (&'static str, &'static str),
}

const fn certain(code: &'static str, source: &'static str, says: &'static str) -> Shown {
    Shown {
        code,
        certainty: "certain",
        healable: false,
        evidence: (source, says),
    }
}

const fn healable(code: &'static str, source: &'static str, says: &'static str) -> Shown {
    Shown {
        healable: true,
        ..certain(code, source, says)
    }
}

/// Looks at a link the way a program and the way a person does.
async fn shows(world: &World, id: &str, wanted: &Shown) {
    let path = format!("/links/{id}/diagnosis");
    let part = world.client.get(&path).await.expect(200).body;
    let diagnosis = &part["diagnosis"];
    assert_eq!(diagnosis["code"], wanted.code, "{diagnosis:#}");
    assert_eq!(diagnosis["certainty"], wanted.certainty, "{diagnosis:#}");
    assert_eq!(diagnosis["healable"], wanted.healable, "{diagnosis:#}");
    let (source, says) = wanted.evidence;
    let evidence = diagnosis["evidence"].as_array().expect("evidence");
    let proves = |line: &Value| line["source"] == source && text(&line["text"]).contains(says);
    assert!(
        evidence.iter().any(proves),
        "{source}: {says}: {diagnosis:#}"
    );
    let page = world
        .client
        .get(&text(&diagnosis["docs"]))
        .await
        .expect(200);
    assert_eq!(page.body["code"], wanted.code);

    let told = on_a_terminal(world, id).await;
    for words in [
        wanted.code,
        says,
        &text(&diagnosis["title"]),
        &text(&diagnosis["remedy"]),
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

/// What `linkbroker status` prints for a person.
async fn on_a_terminal(world: &World, id: &str) -> String {
    let mut status = world.command(&["status", id, "--output", "human"]);
    let token = world.client.token().expect("a token");
    status.env("LINKBROKER_URL", &world.server.address);
    let printed = status.env("LINKBROKER_TOKEN", token).output().await;
    let printed = printed.expect("the program");
    assert!(printed.stderr.is_empty(), "{printed:?}");
    String::from_utf8_lossy(&printed.stdout).into_owned()
}

async fn impatient() -> World {
    World::with(Setup {
        settings: vec![("LINKBROKER_PROOF_SECONDS", "1".to_owned())],
        ..Setup::default()
    })
    .await
}

async fn verified(world: &World, id: &str) -> Value {
    let path = format!("/links/{id}/verify");
    let asked = world.client.send(Method::POST, &path, |request| request);
    asked.await.expect(202);
    world.client.settled(id).await
}

/// The link's webhook at GitHub, and a change of it as a person makes it.
async fn change_webhook(world: &World, change: Value) {
    let hooks = world
        .github(Method::GET, "/repos/acme/docs/hooks", None)
        .await;
    let path = format!("/repos/acme/docs/hooks/{}", hooks[0]["id"]);
    world.github(Method::PATCH, &path, Some(change)).await;
}

async fn goes_deaf(world: &World, id: &str, wanted: &Shown) {
    let link = verified(world, id).await;
    assert_eq!(link["status"], "degraded", "{}: {link:#}", wanted.code);
    shows(world, id, wanted).await;
}

async fn hears_again(world: &World, id: &str) {
    let link = world.client.retry(id).await;
    assert_eq!(link["status"], "live", "{link:#}");
}

#[tokio::test]
async fn what_is_wrong_with_a_webhook_is_seen_and_mended_by_a_retry() {
    let world = impatient().await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    let url = &world.state()["github"]["repositories"][0]["hooks"][0]["config"]["url"];
    let form = json!({"config": {"url": url, "content_type": "form", "insecure_ssl": "0"}});
    let elsewhere = json!({"config": {"url": "http://127.0.0.1:9/ci", "content_type": "json", "insecure_ssl": "0"}});
    let webhook = "provider.webhooks";
    for (change, wanted) in [
        (
            json!({"active": false}),
            healable("webhook_disabled", webhook, "is switched off"),
        ),
        (
            form,
            healable(
                "webhook_misconfigured",
                webhook,
                "sends forms instead of JSON",
            ),
        ),
        (
            json!({"events": ["pull_request"]}),
            healable("webhook_misconfigured", webhook, "does not hear of pushes"),
        ),
        (
            elsewhere,
            healable(
                "webhook_url_mismatch",
                webhook,
                "points to http://127.0.0.1:9/ci",
            ),
        ),
    ] {
        change_webhook(&world, change).await;
        goes_deaf(&world, &id, &wanted).await;
        hears_again(&world, &id).await;
    }
    let hooks = world
        .github(Method::GET, "/repos/acme/docs/hooks", None)
        .await;
    for hook in hooks.as_array().expect("webhooks") {
        let path = format!("/repos/acme/docs/hooks/{}", hook["id"]);
        world.github(Method::DELETE, &path, None).await;
    }
    let missing = healable("webhook_missing", webhook, "no webhook points to Netlify");
    goes_deaf(&world, &id, &missing).await;
    hears_again(&world, &id).await;
}

#[tokio::test]
async fn a_webhook_that_is_off_proves_nothing_though_its_test_arrives() {
    let world = World::with(Setup {
        settings: vec![("LINKBROKER_PROOF_SECONDS", "1".to_owned())],
        switches: json!({"github": {"tests_reach_inactive_webhooks": true}}),
        ..Setup::default()
    })
    .await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    change_webhook(&world, json!({"active": false})).await;
    let off = healable("webhook_disabled", "provider.webhooks", "is switched off");
    goes_deaf(&world, &id, &off).await;
}

#[tokio::test]
async fn what_keeps_a_site_from_hearing_pushes_is_seen() {
    let world = impatient().await;
    let link = world.client.link_settled(docs()).await;
    let (id, site) = (text(&link["id"]), text(&link["site"]["id"]));
    let path = format!("/sites/{site}");
    let settings = async |change: Value| {
        netlify(
            &world,
            Method::PATCH,
            &path,
            json!({"build_settings": change}),
        )
        .await;
    };
    let at_netlify = "netlify.site";
    for (change, back, wanted) in [
        (
            json!({"stop_builds": true}),
            json!({"stop_builds": false}),
            certain("builds_stopped", at_netlify, "builds are stopped"),
        ),
        (
            json!({"repo_branch": "release", "allowed_branches": ["release"]}),
            json!({"repo_branch": "main", "allowed_branches": ["main"]}),
            certain("branch_not_allowed", at_netlify, "the branch is not built"),
        ),
    ] {
        settings(change).await;
        goes_deaf(&world, &id, &wanted).await;
        settings(back).await;
        hears_again(&world, &id).await;
    }
    netlify(
        &world,
        Method::PUT,
        &format!("{path}/unlink_repo"),
        json!({}),
    )
    .await;
    let detached = certain("site_detached", at_netlify, "no repository is attached");
    goes_deaf(&world, &id, &detached).await;
}

#[tokio::test]
async fn a_delivery_that_fails_is_told_from_one_that_is_ignored() {
    let world = impatient().await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    let fault = json!({"upstream": "netlify_hooks", "path": "/hooks/github", "times": 9, "fault": {"status": 502}});
    world.fault(fault);
    let failed = certain(
        "webhook_not_delivered",
        "provider.webhook.deliveries",
        "Netlify answered 502",
    );
    goes_deaf(&world, &id, &failed).await;
    world.sandbox.world().faults.clear();
    hears_again(&world, &id).await;
}

#[tokio::test]
async fn a_diagnosis_costs_a_dozen_reads_at_most_and_changes_nothing() {
    let world = impatient().await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    world.fault(json!({"upstream": "netlify_hooks", "path": "/hooks/github", "times": 9, "fault": {"status": 204}}));
    let before = world.sandbox.calls().len();
    // The provider does not answer one of the reads; the rest is told all the same.
    world.fault(json!({"upstream": "github", "method": "GET", "path": "/deliveries", "times": 9, "fault": {"status": 500}}));
    let unknown = Shown {
        certainty: "unknown",
        ..certain(
            "push_unverified",
            "provider.webhook.deliveries",
            "could not be read",
        )
    };
    goes_deaf(&world, &id, &unknown).await;
    let calls = world.sandbox.calls();
    let calls = &calls[before..];
    let written = calls
        .iter()
        .filter(|call| call.method != "GET" && !call.path.contains("/netlify/hooks/"));
    let written: Vec<_> = written.map(|call| call.path.clone()).collect();
    assert_eq!(written.len(), 1, "the replay alone: {written:?}");
    let looks_at_builds = |path: &str| path.contains("/builds?") || path.ends_with("/builds");
    let read = calls
        .iter()
        .filter(|call| call.method == "GET" && !looks_at_builds(&call.path));
    let read: Vec<_> = read.map(|call| call.path.clone()).collect();
    assert!(read.len() <= 12, "{read:#?}");
}

#[tokio::test]
async fn builds_that_fail_for_their_own_reasons_are_named_for_sure() {
    let world = World::with(Setup {
        switches: json!({"netlify": {"times": {"command_limit_ms": 500}}}),
        ..Setup::default()
    })
    .await;
    let (message, log) = ("netlify.deploy.error_message", "netlify.deploy.log");
    for (name, build, wanted) in [
        (
            "no-program",
            json!({"command": "gatsby-is-not-here build", "publish": "dist"}),
            certain("command_missing", log, "exit code 127"),
        ),
        (
            "no-base",
            json!({"command": "true", "base": "website", "publish": "dist"}),
            certain("base_dir_missing", message, "Base directory does not exist"),
        ),
        (
            "no-publish",
            json!({"command": "true", "publish": "public"}),
            certain("publish_dir_missing", message, "'public' does not exist"),
        ),
        (
            "no-end",
            json!({"command": "sleep 600", "publish": "dist"}),
            certain("build_timeout", message, "time limit"),
        ),
        (
            "no-luck",
            json!({"command": "echo 'git@github.com: Permission denied (publickey).'; exit 1", "publish": "dist"}),
            certain("build_command_failed", log, "Permission denied (publickey)"),
        ),
    ] {
        let mut request = docs();
        request["site"]["name"] = json!(name);
        request["build"] = build;
        let link = world.client.link_settled(request).await;
        assert_eq!(link["status"], "build_failed", "{name}: {link:#}");
        shows(&world, &text(&link["id"]), &wanted).await;
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_is_named() {
    let world = World::usual().await;
    let files = [(
        "netlify.toml".to_owned(),
        "[build\n<<<<<<< HEAD\n".to_owned(),
    )];
    let new = NewCommit {
        message: "Merge".to_owned(),
        files: files.into(),
        ..NewCommit::default()
    };
    world
        .sandbox
        .commit("acme/docs", new)
        .await
        .expect("a commit");
    let link = world.client.link_settled(docs()).await;
    let wanted = certain(
        "build_config_invalid",
        "netlify.deploy.error_message",
        "netlify.toml",
    );
    shows(&world, &text(&link["id"]), &wanted).await;
}

#[tokio::test]
async fn a_branch_that_is_gone_is_named_after_the_provider_was_asked() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let (id, site) = (text(&link["id"]), text(&link["site"]["id"]));
    let change = json!({"build_settings": {"repo_branch": "release"}});
    netlify(&world, Method::PATCH, &format!("/sites/{site}"), change).await;
    let path = format!("/links/{id}/rebuild");
    let asked = world.client.send(Method::POST, &path, |request| request);
    asked.await.expect(202);
    let link = world.client.settled(&id).await;
    assert_eq!(link["status"], "build_failed", "{link:#}");
    let gone = certain("ref_missing", "provider.repository", "the branch is not");
    shows(&world, &id, &gone).await;
}

#[tokio::test]
async fn used_up_credits_are_the_owners_affair() {
    let world = World::with(Setup {
        switches: json!({"netlify": {"credits_exhausted": true}}),
        ..Setup::default()
    })
    .await;
    let link = world.client.link_settled(docs()).await;
    let wanted = certain(
        "account_cannot_build",
        "netlify.deploy.error_message",
        "credit usage exceeded",
    );
    shows(&world, &text(&link["id"]), &wanted).await;
    assert_eq!(link["diagnosis"]["fault"], "owner");
}

#[tokio::test]
async fn a_build_that_somebody_cancels_is_no_mystery() {
    let world = World::with(Setup {
        switches: json!({"netlify": {"times": {"building_ms": 60000}}}),
        ..Setup::default()
    })
    .await;
    let id = world.client.link(docs()).await;
    let deploy = until("a deploy", async || {
        let link = world.client.read(&id).await;
        link["build"]["deploy_id"].as_str().map(str::to_owned)
    })
    .await;
    netlify(
        &world,
        Method::POST,
        &format!("/deploys/{deploy}/cancel"),
        json!({}),
    )
    .await;
    let link = world.client.settled(&id).await;
    assert_eq!(link["status"], "build_failed", "{link:#}");
    let wanted = certain(
        "build_canceled",
        "netlify.deploy.error_message",
        "Canceled build",
    );
    shows(&world, &id, &wanted).await;
}

#[tokio::test]
async fn when_the_provider_cannot_be_asked_the_verdict_is_only_likely() {
    let world = World::usual().await;
    world.fault(json!({"upstream": "netlify", "method": "PATCH", "path": "/sites/", "fault": {"delay_ms": 1000}}));
    let id = world.client.link(docs()).await;
    world.made("installed_keys").await;
    let key = &world.state()["github"]["repositories"][0]["keys"][0]["id"];
    world
        .github(
            Method::DELETE,
            &format!("/repos/acme/docs/keys/{key}"),
            None,
        )
        .await;
    world.fault(json!({"upstream": "github", "method": "GET", "path": "/keys", "times": 9, "fault": {"status": 502}}));
    let link = world.client.settled(&id).await;
    assert_eq!(link["status"], "build_failed", "{link:#}");
    let unread = Shown {
        certainty: "likely",
        ..certain("clone_denied", "provider.deploy_keys", "could not be read")
    };
    shows(&world, &id, &unread).await;
}
