//! Links by an installation of Netlify's GitHub App: neither key nor webhook, and silent failures that get a name.

use std::time::Duration;

use linkbroker_sandbox::NewRepository;
use linkbroker_sandbox::recorder::Call;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{Setup, World, docs, file_setting, text, until};

/// The installation that acme may use.
const INSTALLATION: u64 = 4711;

/// How long a push may take to be built.
const PROOF: Duration = Duration::from_secs(2);

const GRANTS: &str = r#"
[[grant]]
tenant = "acme"
installation_id = 4711
repositories = ["github.com/acme/*"]
team = "sandbox"
"#;

/// A world in which acme may use Netlify's app, installed like this. Its file of grants stays as long as the folder.
pub async fn granted(installation: Value, switches: Value) -> (World, TempDir) {
    let (folder, setting) = file_setting("LINKBROKER_GRANTS", GRANTS);
    let proof = PROOF.as_secs().to_string();
    let setup = Setup {
        settings: vec![setting, ("LINKBROKER_PROOF_SECONDS", proof)],
        switches,
        ..Setup::default()
    };
    let world = World::with(setup).await;
    world.install(installation);
    (world, folder)
}

pub fn request() -> Value {
    let mut request = docs();
    request["access"] = json!({"installation_id": INSTALLATION});
    request
}

pub fn everywhere() -> Value {
    json!({"app": "netlify", "account": "acme", "id": INSTALLATION})
}

fn call(call: &Call) -> String {
    let route = call.route.as_ref().unwrap_or(&call.path);
    format!("{} {route}", call.method)
}

fn writes(calls: &[Call]) -> Vec<String> {
    let writes = calls.iter().filter(|call| call.method != "GET");
    writes.map(call).collect()
}

/// The link once it asks for a push.
async fn asking(world: &World, id: &str) -> Value {
    until("the link to ask for a push", async || {
        let link = world.client.read(id).await;
        let asks = link["diagnosis"]["code"] == "push_awaited";
        assert_ne!(link["status"], "live", "nobody has pushed: {link:#}");
        asks.then_some(link)
    })
    .await
}

/// The link once it has gone on by itself.
async fn becomes(world: &World, id: &str, status: &str) -> Value {
    until("the link to go on by itself", async || {
        let link = world.client.read(id).await;
        (link["status"] == status).then_some(link)
    })
    .await
}

#[tokio::test]
async fn a_link_by_an_installation_is_live_after_the_next_push_without_key_and_webhook() {
    let (world, _folder) = granted(everywhere(), json!({})).await;
    let id = world.client.link(request()).await;
    let link = asking(&world, &id).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    assert_eq!(
        link["diagnosis"]["action"]["what"]["kind"], "push_commit",
        "{link:#}"
    );
    assert_eq!(link["deploy"]["state"], "ready");
    world.push("docs", "a second text").await;
    let link = becomes(&world, &id, "live").await;
    assert!(
        link["verification"]["level"].as_u64() >= Some(2),
        "{link:#}"
    );
    assert_eq!(link["access"], Value::Null);
    assert_eq!(
        link["request"]["access"],
        json!({"installation_id": INSTALLATION})
    );
    for kind in ["deploy_keys", "installed_keys", "webhooks"] {
        assert_eq!(world.count(kind), (0, 0), "{kind}");
    }
    assert_eq!(world.count("builds").0, 2);
    let states = link["steps"].as_array().expect("steps").iter();
    let skipped: Vec<_> = states
        .filter(|step| step["state"] == "skipped")
        .map(|step| text(&step["name"]))
        .collect();
    assert_eq!(
        skipped,
        [
            "reserve_deploy_key",
            "install_deploy_key",
            "install_webhook",
            "set_environment",
            "align_webhook",
            "open_gate",
            "subscribe_notifications",
            "replay_push",
            "retire_key"
        ]
    );
    assert!(
        world.sandbox.violations().is_empty(),
        "{:#?}",
        world.sandbox.violations()
    );

    let unlinked = world.client.unlink(&id, "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    assert_eq!(world.count("sites"), (1, 0));
}

#[tokio::test]
async fn four_calls_are_enough_and_the_first_build_can_be_the_proof() {
    let (world, _folder) = granted(everywhere(), json!({})).await;
    let mut request = request();
    request["verify"] = json!("build");
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let calls = world.sandbox.calls();
    let first: Vec<_> = calls.iter().take(4).map(call).collect();
    let netlify = |rest: &str| rest.replace('~', "/netlify/api/v1");
    assert_eq!(first[0], "GET /github/repos/{owner}/{repo}");
    assert_eq!(first[1], netlify("POST ~/{account}/sites"));
    assert_eq!(first[2], netlify("PATCH ~/sites/{site_id}"));
    assert!(
        first[3].starts_with(&netlify("GET ~/deploys/")),
        "{first:#?}"
    );
    assert_eq!(writes(&calls).len(), 2);
}

#[tokio::test]
async fn the_plan_of_a_link_by_an_installation_has_neither_key_nor_webhook() {
    let (world, _folder) = granted(everywhere(), json!({})).await;
    let path = "/links?validate_only=true";
    let plan = world.client.post(path, request()).await.expect(200).body;
    let rounds = plan["rounds"].as_array().expect("rounds");
    let names: Vec<Vec<_>> = rounds
        .iter()
        .map(|round| {
            round["steps"]
                .as_array()
                .expect("steps")
                .iter()
                .map(|step| text(&step["name"]))
                .collect()
        })
        .collect();
    let wanted: [&[&str]; 6] = [
        &["resolve_repository"],
        &["create_site"],
        &["attach_repository"],
        &["find_build"],
        &["watch_deploy"],
        &["prove_push"],
    ];
    assert_eq!(names, wanted);
    assert_eq!(world.sandbox.calls().len(), 0);
}

/// The guide's thread: "Site gets created but CI/CD is not setup. […] No errors but site is not linked."
#[tokio::test]
async fn an_installation_that_is_accepted_but_sets_nothing_up_is_named_with_both_remedies() {
    let elsewhere =
        json!({"app": "netlify", "account": "acme", "repositories": ["blog"], "id": INSTALLATION});
    let (world, _folder) = granted(elsewhere, json!({})).await;
    let link = world.client.link_settled(request()).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    let diagnosis = &link["diagnosis"];
    assert_eq!(diagnosis["code"], "installation_not_delivering");
    let remedy = text(&diagnosis["remedy"]);
    assert!(
        remedy.contains("Netlify app") && remedy.contains("deploy key"),
        "{remedy}"
    );
    let place = format!(
        "https://github.com/organizations/acme/settings/installations/{}",
        INSTALLATION
    );
    assert!(
        text(&diagnosis["evidence"][0]["text"]).starts_with(&place),
        "{diagnosis:#}"
    );

    // The first remedy: the repository is added to the app.
    world.install(json!({"app": "netlify", "account": "acme", "repositories": ["blog", "docs"], "id": INSTALLATION}));
    let path = format!("/links/{}/retry", text(&link["id"]));
    world
        .client
        .send(Method::POST, &path, |request| request)
        .await
        .expect(202);
    let id = text(&link["id"]);
    asking(&world, &id).await;
    world.push("docs", "a second text").await;
    becomes(&world, &id, "live").await;
}

#[tokio::test]
async fn the_other_remedy_is_a_link_by_key_and_webhook() {
    let (world, _folder) = granted(
        everywhere(),
        json!({"netlify": {"installations_set_up": false}}),
    )
    .await;
    let link = world.client.link_settled(request()).await;
    assert_eq!(
        link["diagnosis"]["code"], "installation_not_delivering",
        "{link:#}"
    );
    world.client.unlink(&text(&link["id"]), "").await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
}

#[tokio::test]
async fn a_push_that_builds_nothing_degrades_the_link() {
    let (world, _folder) = granted(
        everywhere(),
        json!({"netlify": {"installations_deliver": false}}),
    )
    .await;
    let id = world.client.link(request()).await;
    asking(&world, &id).await;
    world.push("docs", "a second text").await;
    let link = becomes(&world, &id, "degraded").await;
    assert_eq!(link["diagnosis"]["code"], "installation_not_delivering");

    let deliver = json!({"netlify": {"installations_deliver": true}});
    world.sandbox.patch_switches(&deliver).expect("a switch");
    let link = world.client.retry(&id).await;
    assert_eq!(link["diagnosis"]["code"], "push_awaited", "{link:#}");
    world.push("docs", "a third text").await;
    becomes(&world, &id, "live").await;
}

#[tokio::test]
async fn a_build_that_failed_for_its_own_reasons_says_so_and_is_built_again() {
    let (world, _folder) = granted(everywhere(), json!({})).await;
    let mut request = request();
    request["build"] = json!({"command": "exit 3", "publish": "dist"});
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "build_failed", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "build_command_failed");
    let link = world.client.retry(&text(&link["id"])).await;
    assert_eq!(link["status"], "build_failed", "{link:#}");
    assert_eq!(world.count("builds").0, 2);
    let attached = world
        .sandbox
        .calls()
        .into_iter()
        .filter(|call| call.method == "PATCH");
    assert_eq!(attached.count(), 1);
}

#[tokio::test]
async fn another_proof_waits_for_another_push() {
    let (world, _folder) = granted(everywhere(), json!({})).await;
    let id = world.client.link(request()).await;
    asking(&world, &id).await;
    world.push("docs", "a second text").await;
    becomes(&world, &id, "live").await;

    let path = format!("/links/{id}/verify");
    let verify = world.client.send(Method::POST, &path, |request| request);
    verify.await.expect(202);
    asking(&world, &id).await;
    // Longer than a push may take to be built, and the branch still shows the commit that was built before.
    let asked_at = std::time::Instant::now();
    until("looks that find nothing", async || {
        let link = world.client.read(&id).await;
        assert_eq!(link["diagnosis"]["code"], "push_awaited", "{link:#}");
        (asked_at.elapsed() > PROOF + PROOF / 2).then_some(())
    })
    .await;
    world.push("docs", "a third text").await;
    becomes(&world, &id, "live").await;
}

#[tokio::test]
async fn a_connection_without_a_credential_is_not_enough_for_an_installation() {
    let (world, _folder) = granted(everywhere(), json!({})).await;
    let anonymous =
        json!({"name": "nobody", "kind": "github", "credential": {"type": "anonymous"}});
    world
        .client
        .post("/connections", anonymous)
        .await
        .expect(201);
    let open = NewRepository {
        name: "open".to_owned(),
        private: false,
        template: Some("site".to_owned()),
        ..NewRepository::default()
    };
    world
        .sandbox
        .create_repository(open)
        .await
        .expect("a public repository");
    let mut request = request();
    request["repository"] = json!("https://github.com/acme/open");
    request["connections"] = json!({"provider": "nobody"});
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "admin_required", "{link:#}");
    assert_eq!(writes(&world.sandbox.calls()), Vec::<String>::new());
}

#[tokio::test]
async fn an_owners_token_finds_what_is_wrong_with_the_installation_before_anything_is_made() {
    let suspended =
        json!({"app": "netlify", "account": "acme", "suspended": true, "id": INSTALLATION});
    let (world, _folder) = granted(suspended, json!({})).await;
    let owner = json!({"token": linkbroker_sandbox::GITHUB_TOKEN, "login": "sandbox", "everywhere": "admin",
        "scopes": ["repo", "admin:repo_hook", "read:org"]});
    let owner = serde_json::from_value(owner).expect("a token's description");
    linkbroker_sandbox::github::add_token(world.sandbox.world(), owner).expect("a token");
    let link = world.client.link_settled(request()).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "installation_not_usable");
    assert_eq!(writes(&world.sandbox.calls()), Vec::<String>::new());

    // Of another app, though granted.
    world.github_app(json!({"slug": "other"}));
    world.install(json!({"app": "other", "account": "acme", "id": INSTALLATION}));
    let link = world.client.retry(&text(&link["id"])).await;
    assert_eq!(link["diagnosis"]["code"], "installation_not_usable");
    assert_eq!(writes(&world.sandbox.calls()), Vec::<String>::new());
}

#[tokio::test]
async fn odd_ways_to_name_an_installation_are_refused() {
    let world = World::usual().await;
    for (access, pointer) in [
        (json!({"installation_id": 0}), "/access/installation_id"),
        (
            json!({"installation_id": 9_007_199_254_740_992_u64}),
            "/access/installation_id",
        ),
        (json!({"installation_id": -1}), "/access"),
        (json!({"installation_id": "7"}), "/access"),
        (json!({"installation_id": 7, "deploy_key": true}), "/access"),
        (json!("installation_id"), "/access"),
        (json!({}), "/access"),
    ] {
        let mut request = docs();
        request["access"] = access.clone();
        let problem = world.client.post("/links", request).await;
        assert_eq!(problem.status, 422, "{access}: {}", problem.text);
        assert_eq!(problem.body["errors"][0]["pointer"], pointer, "{access}");
    }
    let mut request = docs();
    request["access"] = json!({"installation_id": 7});
    request["site"] = json!({"id": "7f6a4d0e-3c0c-4b8e-9b53-0c9b5b0f6a11"});
    let problem = world.client.post("/links", request).await.expect(422).body;
    assert_eq!(
        problem["errors"][0]["pointer"], "/access/installation_id",
        "an existing site"
    );
    let mut request = docs();
    request["access"] = json!({"installation_id": 7});
    request["site"] = json!({"name": "acme-docs"});
    let problem = world.client.post("/links", request).await.expect(422).body;
    assert_eq!(problem["errors"][0]["pointer"], "/site/team");
}

#[tokio::test]
async fn the_operator_changes_grants_while_the_service_runs() {
    let (world, folder) = granted(everywhere(), json!({})).await;
    let file = folder.path().join("setting.toml");
    let refused = async || {
        world
            .client
            .post("/links?validate_only=true", request())
            .await
            .status
            == 403
    };
    assert!(!refused().await);

    let hang_up = || {
        let pid = i32::try_from(world.server.pid()).expect("a process id");
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGHUP,
        )
        .expect("a process that can be told");
    };
    std::fs::write(&file, "").expect("the file of grants");
    hang_up();
    until("the grant to be gone", async || {
        refused().await.then_some(())
    })
    .await;

    // A file that is wrong changes nothing.
    std::fs::write(&file, "[[grant]]\ntenant = 7\n").expect("the file of grants");
    hang_up();
    until("the mistake to be told", async || {
        let log = world.server.log();
        log.contains("the grants stay as they were").then_some(())
    })
    .await;
    assert!(refused().await);

    std::fs::write(&file, GRANTS).expect("the file of grants");
    hang_up();
    until("the grant to be back", async || {
        (!refused().await).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_command_line_links_by_an_installation() {
    let (mut world, _folder) = granted(everywhere(), json!({})).await;
    world.sign_in();
    let link = [
        "link",
        "https://github.com/acme/docs",
        "--site",
        "acme-docs",
        "--installation-id",
        "4711",
    ];
    world.run(&link).await.expect(2);
    let with_team = [
        &link[..],
        &["--team", "sandbox", "--verify", "build", "--wait"],
    ]
    .concat();
    let linked = world.run(&with_team).await.expect(0).json();
    assert_eq!(linked["status"], "live", "{linked:#}");
    assert_eq!(
        linked["request"]["access"],
        json!({"installation_id": INSTALLATION})
    );
    assert_eq!(world.count("deploy_keys"), (0, 0));
}
