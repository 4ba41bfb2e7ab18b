//! Builds after the first one: their history, what they change about a link, and what following them costs.

use linkbroker_sandbox::git::NewCommit;
use linkbroker_sandbox::recorder::Upstream;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Setup, World, docs, text, until};

/// Looks every second where nothing runs.
fn attentive() -> Setup {
    Setup {
        settings: vec![("LINKBROKER_PATROL_IDLE_SECONDS", "1".to_owned())],
        ..Setup::default()
    }
}

async fn history(world: &World, link: &Value) -> Vec<Value> {
    let path = format!("/links/{}/builds", text(&link["id"]));
    let page = world.client.get(&path).await.expect(200).body;
    page["builds"].as_array().expect("builds").clone()
}

/// The build of this commit once it is over.
async fn built(world: &World, link: &Value, commit: &Value) -> Value {
    until("the build to be in the history", async || {
        let builds = history(world, link).await.into_iter();
        let mut over = builds.filter(|it| it["outcome"] != "running");
        over.find(|it| it["commit_ref"] == *commit)
    })
    .await
}

fn head(world: &World) -> Value {
    world.state()["github"]["repositories"][0]["head"].clone()
}

async fn becomes(world: &World, link: &Value, status: &str) -> Value {
    let id = text(&link["id"]);
    until(status, async || {
        let link = world.client.read(&id).await;
        (link["status"] == status).then_some(link)
    })
    .await
}

async fn commit(world: &World, path: &str, content: &str) {
    let new = NewCommit {
        message: format!("Change {path}"),
        files: [(path.to_owned(), content.to_owned())].into(),
        ..NewCommit::default()
    };
    let committed = world.sandbox.commit("acme/docs", new).await;
    committed.expect("a commit");
}

#[tokio::test]
async fn a_push_of_peoples_is_in_the_history_and_proves_the_link_to_the_end() {
    let world = World::with(attentive()).await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["verification"]["level"], 2, "{link:#}");
    world.push("docs", "the second words").await;
    let build = built(&world, &link, &head(&world)).await;
    assert_eq!(build["outcome"], "ready", "{build:#}");
    assert_eq!(build["cause"], "push");
    assert_eq!(build["branch"], "main");
    assert_eq!(build["context"], "production");
    assert!(build["duration_seconds"].is_number(), "{build:#}");
    assert!(build["url"].is_string(), "{build:#}");
    assert_eq!(history(&world, &link).await[0]["id"], build["id"]);

    let proven = until("the proof", async || {
        let link = world.client.read(&text(&link["id"])).await;
        (link["verification"]["level"] == 3).then_some(link)
    })
    .await;
    assert_eq!(proven["status"], "live");
    assert_eq!(proven["verification"]["build"]["id"], build["id"]);
    let path = format!("/links/{}/events", text(&link["id"]));
    let events = world.client.get(&path).await.expect(200).text;
    for kind in ["build.started", "build.finished"] {
        assert!(events.contains(kind), "{events}");
    }
    let violations = world.sandbox.violations();
    assert!(violations.is_empty(), "{violations:#?}");
}

#[tokio::test]
async fn a_push_that_breaks_the_build_is_told_and_the_next_good_one_makes_the_link_live_again() {
    let world = World::with(attentive()).await;
    let link = world.client.link_settled(docs()).await;
    commit(
        &world,
        "build.sh",
        "echo the flux capacitor is missing\nexit 3\n",
    )
    .await;
    let failed = becomes(&world, &link, "build_failed").await;
    assert_eq!(
        failed["diagnosis"]["code"], "build_command_failed",
        "{failed:#}"
    );
    assert_eq!(failed["deploy"]["commit_ref"], head(&world));
    let build = built(&world, &link, &head(&world)).await;
    assert_eq!(build["role"], "followed");
    assert_eq!(
        build["diagnosis"]["code"], "build_command_failed",
        "{build:#}"
    );
    let log = build["log_tail"].to_string();
    assert!(log.contains("the flux capacitor is missing"), "{log}");

    commit(
        &world,
        "build.sh",
        "mkdir -p dist && echo mended > dist/index.html\n",
    )
    .await;
    let mended = becomes(&world, &link, "live").await;
    assert_eq!(mended["diagnosis"], Value::Null);
    assert_eq!(mended["deploy"]["commit_ref"], head(&world));
    assert_eq!(mended["live_at"], link["live_at"]);
}

#[tokio::test]
async fn a_good_build_that_ends_while_the_failed_one_is_explained_makes_the_link_live_again() {
    let world = World::with(attentive()).await;
    let link = world.client.link_settled(docs()).await;
    world.push("docs", "the second words").await;
    until("the proof", async || {
        let link = world.client.read(&text(&link["id"])).await;
        (link["verification"]["level"] == 3).then_some(())
    })
    .await;
    // The patrol reads the log first, then the worker that asks why.
    let asks_why = world.fault(
        json!({"upstream": "netlify", "path": "/deploys/[^/]+/log", "nth": 2, "fault": {"late_ms": 8000}}),
    );
    commit(&world, "build.sh", "exit 3\n").await;
    built(&world, &link, &head(&world)).await;
    commit(
        &world,
        "build.sh",
        "mkdir -p dist && echo mended > dist/index.html\n",
    )
    .await;
    let mended = built(&world, &link, &head(&world)).await;
    assert_eq!(mended["outcome"], "ready", "{mended:#}");
    asks_why.first().await;
    until("the good build to count", async || {
        let link = world.client.read(&text(&link["id"])).await;
        let is_mended = link["deploy"]["commit_ref"] == mended["commit_ref"];
        (link["status"] == "live" && is_mended).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_build_ends_although_the_list_of_running_ones_cannot_be_read() {
    let world = World::usual().await;
    world.fault(json!({"upstream": "netlify", "path": "/builds/status", "times": 100_000, "fault": {"status": 500, "body": "down"}}));
    let mut request = docs();
    request["verify"] = json!("build");
    let id = world.client.link(request).await;
    let link = world.client.settled_at_last(&id).await;
    assert_eq!(link["status"], "live", "{link:#}");
}

#[tokio::test]
async fn a_first_build_that_failed_is_forgiven_by_the_next_good_push() {
    let world = World::with(attentive()).await;
    commit(&world, "build.sh", "exit 3\n").await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "build_failed", "{link:#}");
    commit(
        &world,
        "build.sh",
        "mkdir -p dist && echo mended > dist/index.html\n",
    )
    .await;
    let live = becomes(&world, &link, "live").await;
    assert_eq!(live["verification"]["level"], 3, "{live:#}");
    assert_eq!(world.count("sites"), (1, 1));
}

#[tokio::test]
async fn logs_in_the_history_hold_no_value_of_the_environment() {
    let world = World::with(attentive()).await;
    let mut request = docs();
    request["env"] = json!({"TOKEN": {"value": "nobody-may-know-this", "secret": true}});
    request["allowed_branches"] = json!(["main", "next"]);
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let new = NewCommit {
        message: "Break another branch".to_owned(),
        branch: "next".to_owned(),
        files: [(
            "build.sh".to_owned(),
            "echo \"it is $TOKEN\"\nexit 3\n".to_owned(),
        )]
        .into(),
        ..NewCommit::default()
    };
    let committed = world.sandbox.commit("acme/docs", new).await;
    committed.expect("a commit");
    let build = until("the failed build", async || {
        let builds = history(&world, &link).await.into_iter();
        let mut failed = builds.filter(|it| it["outcome"] == "failed");
        failed.next()
    })
    .await;
    assert_eq!(build["branch"], "next", "{build:#}");
    assert_eq!(build["context"], "branch-deploy");
    let log = build["log_tail"].to_string();
    assert!(log.contains("it is [redacted]"), "{log}");
    assert!(!log.contains("nobody-may-know-this"), "{log}");
    // What is built for another branch says nothing of the site.
    let still = world.client.read(&text(&link["id"])).await;
    assert_eq!(still["status"], "live", "{still:#}");
}

#[tokio::test]
async fn the_history_comes_in_pages_newest_first() {
    let world = World::with(attentive()).await;
    let link = world.client.link_settled(docs()).await;
    world.push("docs", "the second words").await;
    built(&world, &link, &head(&world)).await;
    // From then on nothing changes.
    until("the proof", async || {
        let link = world.client.read(&text(&link["id"])).await;
        (link["verification"]["level"] == 3).then_some(())
    })
    .await;
    let all = history(&world, &link).await;
    assert_eq!(all.len(), 3, "{all:#?}");
    let mut paged = Vec::new();
    let mut path = format!("/links/{}/builds?limit=1", text(&link["id"]));
    loop {
        let page = world.client.get(&path).await.expect(200).body;
        let builds = page["builds"].as_array().expect("builds");
        assert_eq!(builds.len(), 1);
        paged.extend(builds.clone());
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!(
            "/links/{}/builds?limit=1&cursor={cursor}",
            text(&link["id"])
        );
    }
    assert_eq!(paged, all);
    let forged = format!("/links/{}/builds?cursor=bm8", text(&link["id"]));
    let refused = world.client.get(&forged).await.expect(400);
    assert_eq!(refused.code(), "invalid_query");
}

#[tokio::test]
async fn a_team_of_which_only_numbers_are_told_is_followed_build_by_build() {
    let world = World::with(attentive()).await;
    world.fault(
        json!({"upstream": "netlify", "path": "/accounts/[^/]+/builds/status", "times": 9999,
        "fault": {"status": 404, "body": {"code": 404, "message": "Not Found"}}}),
    );
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    world.push("docs", "the second words").await;
    let build = built(&world, &link, &head(&world)).await;
    assert_eq!(build["outcome"], "ready", "{build:#}");
}

#[tokio::test]
async fn a_look_at_the_builds_that_fails_is_soon_repeated() {
    let world = World::usual().await;
    let failed = world.fault(
        json!({"upstream": "netlify", "path": "/accounts/[^/]+/builds/status", "times": 2,
        "fault": {"status": 500, "body": {"code": 500, "message": "Internal error"}}}),
    );
    // Sooner than the link would look itself.
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(failed.count(), 2);
}

#[tokio::test]
async fn a_build_that_waits_for_its_turn_says_for_how_many_and_is_canceled_when_it_waits_too_long()
{
    let world = World::with(Setup {
        settings: vec![("LINKBROKER_QUEUE_SECONDS", "3".to_owned())],
        switches: json!({"netlify": {"times": {"building_ms": 600_000}}}),
        ..Setup::default()
    })
    .await;
    world.repository("guide").await;
    let busy = world.client.link(docs()).await;
    until("the first build to run", async || {
        let link = world.client.read(&busy).await;
        (link["deploy"]["state"] == "building").then_some(())
    })
    .await;
    let mut request = docs();
    request["repository"] = json!("https://github.com/acme/guide");
    request["site"]["name"] = json!("acme-guide");
    let id = world.client.link(request).await;
    until("the place in the queue", async || {
        let link = world.client.read(&id).await;
        let steps = link["steps"].as_array().expect("steps").iter();
        let mut watching = steps.filter(|step| step["name"] == "watch_deploy");
        let reason = text(&watching.next().expect("the step")["reason"]);
        (reason == "the build waits for a slot, 1 ahead").then_some(())
    })
    .await;
    let stuck = world.client.settled(&id).await;
    assert_eq!(stuck["status"], "build_failed", "{stuck:#}");
    assert_eq!(stuck["diagnosis"]["code"], "build_stuck");
    assert_eq!(stuck["deploy"]["error_message"], "Canceled build");
    // One that runs may take its time.
    assert_eq!(world.client.read(&busy).await["status"], "building");
}

#[tokio::test]
async fn of_two_builds_at_the_start_one_is_kept_and_the_other_canceled() {
    let world = World::with(Setup {
        switches: json!({"netlify": {"second_build_on_attach": true, "times": {"building_ms": 1500}}}),
        ..Setup::default()
    })
    .await;
    let mut request = docs();
    request["verify"] = json!("build");
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let state = world.state();
    let deploys = state["netlify"]["deploys"].as_array().expect("deploys");
    assert_eq!(deploys.len(), 2);
    let (kept, canceled): (Vec<_>, Vec<_>) = deploys
        .iter()
        .partition(|deploy| deploy["id"] == link["build"]["deploy_id"]);
    assert_eq!(kept[0]["state"], "ready");
    assert_eq!(canceled[0]["error_message"], "Canceled build");
}

/// Links to so many repositories, all live by their first builds.
async fn many_links(world: &World, count: usize) -> Vec<Value> {
    let mut ids = Vec::new();
    for number in 0..count {
        let name = format!("site-{number}");
        world.repository(&name).await;
        let mut request = docs();
        request["repository"] = json!(format!("https://github.com/acme/{name}"));
        request["site"]["name"] = json!(format!("acme-{name}"));
        request["verify"] = json!("build");
        ids.push(world.client.link(request).await);
    }
    let mut links = Vec::new();
    for id in ids {
        let link = world.client.settled(&id).await;
        assert_eq!(link["status"], "live", "{link:#}");
        links.push(link);
    }
    links
}

#[tokio::test]
async fn builds_of_many_links_cost_less_than_three_reads_each() {
    const LINKS: usize = 12;
    let settings = vec![
        ("LINKBROKER_WATCH_MIN_MS", "1000".to_owned()),
        ("LINKBROKER_WATCH_MAX_MS", "2000".to_owned()),
    ];
    let world = World::with(Setup {
        settings,
        switches: json!({"netlify": {"pretend_builds": true, "concurrent_builds": LINKS}}),
        ..Setup::default()
    })
    .await;
    let links = many_links(&world, LINKS).await;
    let before = world.sandbox.calls().len();
    for link in &links {
        let path = format!("/links/{}/rebuild", text(&link["id"]));
        let asked = world.client.send(Method::POST, &path, |request| request);
        asked.await.expect(202);
    }
    for link in &links {
        let rebuilt = world.client.settled(&text(&link["id"])).await;
        assert_eq!(rebuilt["status"], "live", "{rebuilt:#}");
        assert_ne!(rebuilt["build"], link["build"]);
    }
    let calls = world.sandbox.calls().split_off(before);
    let of_netlify = calls
        .iter()
        .filter(|call| call.upstream == Upstream::Netlify);
    assert!(of_netlify.clone().all(|call| call.status != Some(429)));
    let reads = of_netlify.filter(|call| call.method == "GET").count();
    assert!(reads <= 3 * LINKS, "{reads} reads for {LINKS} builds");
}

#[tokio::test]
async fn a_push_by_somebody_whom_netlify_does_not_know_is_told_as_blocked() {
    let world = World::with(attentive()).await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let stranger = json!({"netlify": {"unrecognized_contributor": true}});
    world.sandbox.patch_switches(&stranger).expect("a switch");
    world.push("docs", "words of a stranger").await;
    let blocked = becomes(&world, &link, "build_failed").await;
    assert_eq!(blocked["diagnosis"]["code"], "build_blocked", "{blocked:#}");
    assert_eq!(blocked["diagnosis"]["fault"], "owner");
    let newest = history(&world, &link).await[0].clone();
    assert_eq!(newest["outcome"], "blocked", "{newest:#}");
    assert_eq!(newest["diagnosis"]["code"], "build_blocked");

    let known = json!({"netlify": {"unrecognized_contributor": false}});
    world.sandbox.patch_switches(&known).expect("a switch");
    world.push("docs", "words of a member").await;
    becomes(&world, &link, "live").await;
    assert!(world.page("acme-docs").await.contains("words of a member"));
}

#[tokio::test]
async fn the_history_is_shown_on_the_command_line() {
    let world = World::with(attentive()).await;
    let link = world.client.link_settled(docs()).await;
    commit(&world, "build.sh", "exit 3\n").await;
    becomes(&world, &link, "build_failed").await;
    let builds = async |arguments: &[&str]| {
        let mut command = world.command(&[&["builds", "acme-docs"], arguments].concat());
        command.env("LINKBROKER_URL", &world.server.address);
        command.env("LINKBROKER_TOKEN", world.client.token().expect("a token"));
        let printed = command.output().await.expect("the program");
        assert!(printed.status.success(), "{printed:?}");
        String::from_utf8_lossy(&printed.stdout).into_owned()
    };
    let page: Value = serde_json::from_str(&builds(&["--all"]).await).expect("JSON");
    assert_eq!(page["builds"], json!(history(&world, &link).await));
    let table = builds(&["--output", "human", "--limit", "1"]).await;
    for words in ["OUTCOME", "failed", "main", "build_command_failed"] {
        assert!(table.contains(words), "{words}: {table}");
    }
    assert!(!table.contains("ready"), "{table}");
}
