//! `POST /preflights`: what reading tells of a link before it is made, and that nothing is written for it.

use std::time::Duration;

use linkbroker::api::caller::Scope;
use linkbroker_sandbox::{
    AZURE_DEVOPS_TOKEN, BITBUCKET_EMAIL, BITBUCKET_TOKEN, GITEA_TOKEN, GITHUB_TOKEN, GITLAB_TOKEN,
    NETLIFY_TOKEN, Provider,
    github::{self, NewRepository, NewToken, archive, set_deploy_keys_enabled},
    recorder::{Call, Upstream, rounds},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::github_app::with_app;
use crate::installations::{self, everywhere, granted};
use crate::world::{Answer, Client, Setup, World, docs, text, until};

/// Asks for a preflight and waits until it is done.
async fn preflight(world: &World, request: Value) -> Value {
    let asked = world.client.post("/preflights", request).await.expect(202);
    assert_eq!(asked.header("retry-after"), Some("1"));
    done(&world.client, asked).await
}

async fn done(client: &Client, asked: Answer) -> Value {
    let path = asked.header("location").expect("a location").to_owned();
    assert_eq!(path, format!("/preflights/{}", asked.id()));
    let preflight = until("the preflight to be done", async || {
        let answer = client.get(&path).await.expect(200);
        let waits = answer.body.get("poll_after_ms").is_some();
        assert_eq!(answer.header("retry-after").is_some(), waits);
        (!waits).then_some(answer.body)
    })
    .await;
    assert_eq!(preflight["state"], "done");
    assert_ne!(preflight.get("checked_at"), None);
    preflight
}

/// What was found of one topic.
fn of<'a>(preflight: &'a Value, topic: &str) -> &'a Value {
    let findings = preflight["findings"].as_array().expect("findings");
    let mut about = findings.iter().filter(|it| it["topic"] == topic);
    let finding = about
        .next()
        .unwrap_or_else(|| panic!("{topic}: {preflight:#}"));
    assert_eq!(about.next(), None, "{topic} twice");
    finding
}

/// What stands in the way, or may: topic, status and code of each.
fn obstacles(preflight: &Value) -> Vec<(String, String, String)> {
    let findings = preflight["findings"].as_array().expect("findings");
    let obstacles = findings
        .iter()
        .filter(|it| it["status"] == "fail" || it["status"] == "warn");
    obstacles
        .map(|it| (text(&it["topic"]), text(&it["status"]), text(&it["code"])))
        .collect()
}

fn obstacle(topic: &str, status: &str, code: &str) -> Vec<(String, String, String)> {
    vec![(topic.to_owned(), status.to_owned(), code.to_owned())]
}

/// The calls to both vendors, none of which writes.
fn reads(world: &World) -> Vec<Call> {
    let calls = world.sandbox.calls();
    for call in &calls {
        assert_eq!(call.method, "GET", "{call:#?}");
    }
    calls
}

fn turn(world: &World, shown: Value) {
    let patch = json!({"netlify": {"shown": shown}});
    world.sandbox.patch_switches(&patch).expect("switches");
}

#[tokio::test]
async fn nothing_is_held_against_a_link_that_will_live() {
    let world = World::usual().await;
    world.calls_take(200);
    let preflight = preflight(&world, docs()).await;
    assert_eq!(obstacles(&preflight), [], "{preflight:#}");
    assert_eq!(preflight["outcome"], "pass", "{preflight:#}");
    assert_eq!(preflight["findings"].as_array().map(Vec::len), Some(13));
    // GitHub shows it at keys that are there, and none is.
    assert_eq!(of(&preflight, "deploy_keys")["status"], "unknown");
    let calls = reads(&world);
    assert!(calls.len() <= 10, "{calls:#?}");
    for upstream in [Upstream::Netlify, Upstream::Github] {
        let calls: Vec<_> = calls
            .iter()
            .filter(|it| it.upstream == upstream)
            .cloned()
            .collect();
        assert_eq!(rounds(&calls), 2, "{calls:#?}");
    }
    assert!(world.sandbox.violations().is_empty());
    let links = world.client.get("/links").await.expect(200).body;
    assert_eq!(links["links"], json!([]));

    world.calls_take(0);
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(link["request"], preflight["request"]);
}

#[tokio::test]
async fn who_prefers_to_wait_gets_the_findings_at_once() {
    let world = World::usual().await;
    let answer = world
        .client
        .send(Method::POST, "/preflights", |request| {
            request.header("prefer", "wait=20").json(&docs())
        })
        .await
        .expect(201);
    assert_eq!(answer.body["outcome"], "pass", "{:#}", answer.body);
    assert_eq!(answer.header("preference-applied"), Some("wait=20"));
    assert_eq!(answer.header("retry-after"), None);
}

#[tokio::test]
async fn who_waits_gets_findings_of_which_nobody_lived_to_tell_long_before_the_wait_is_over() {
    let settings = vec![("LINKBROKER_ROLE", "api".to_owned())];
    let world = World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    let asked = world.client.send(Method::POST, "/preflights", |request| {
        request.header("prefer", "wait=30").json(&docs())
    });
    let waiting = tokio::time::timeout(Duration::from_secs(20), asked);
    let silently_done = async {
        world.has_a_waiting_reader().await;
        let mut database = world.database.connection().await;
        let done = "update preflights set state = 'done', findings = '[]', checked_at = now(), due_at = null";
        let done = sqlx::query(done).execute(&mut database).await;
        assert_eq!(done.expect("an update").rows_affected(), 1);
    };
    let (answer, ()) = tokio::join!(waiting, silently_done);
    let answer = answer.expect("an answer in time").expect(201);
    assert_eq!(answer.body["state"], "done", "{:#}", answer.body);
}

#[tokio::test]
async fn what_is_wrong_with_the_repository_is_predicted_as_the_link_then_says_it() {
    let world = World::usual().await;
    for (name, archived) in [("old", true), ("empty", false)] {
        let new = NewRepository {
            name: name.to_owned(),
            template: archived.then(|| "site".to_owned()),
            archived,
            ..NewRepository::default()
        };
        let made = world.sandbox.create_repository(new).await;
        made.expect("a repository");
    }
    for (name, branch, topic, code) in [
        (
            "none",
            None,
            "repository",
            "repository_not_found_or_no_access",
        ),
        ("old", None, "repository", "repository_archived"),
        ("empty", None, "repository", "repository_empty"),
        ("docs", Some("absent"), "branch", "branch_missing"),
    ] {
        let repository = format!("https://github.com/acme/{name}");
        let request = json!({"repository": repository, "branch": branch});
        let preflight = preflight(&world, request.clone()).await;
        assert_eq!(obstacles(&preflight), obstacle(topic, "fail", code));
        assert_eq!(preflight["outcome"], "fail");
        let finding = of(&preflight, topic);
        assert_eq!(finding["upstream"]["upstream"], "github", "{finding:#}");
        assert_ne!(finding["remedy"], "");
        reads(&world);
    }
}

#[tokio::test]
async fn a_token_that_lacks_rights_a_scope_or_time_is_predicted() {
    let world = World::empty(Default::default()).await;
    world.repository("docs").await;
    world.github_token("reader", json!({"acme/docs": "read"}));
    let in_a_week = time::OffsetDateTime::now_utc().unix_timestamp() + 7 * 86_400;
    for (token, scopes, expires_at) in [
        ("unscoped", json!(["read:user"]), Value::Null),
        ("short-lived", json!(["repo"]), json!(in_a_week)),
    ] {
        let new = json!({"token": token, "login": "ann", "permissions": {"acme/docs": "admin"}, "kind": "classic", "scopes": scopes, "expires_at": expires_at});
        let new: NewToken = serde_json::from_value(new).expect("a token's description");
        github::add_token(world.sandbox.world(), new).expect("a token");
    }
    world
        .connect_with(&world.client, NETLIFY_TOKEN, "reader")
        .await;
    for (token, topic, status, code) in [
        ("reader", "rights", "fail", "admin_required"),
        (
            "unscoped",
            "repository",
            "fail",
            "repository_not_found_or_no_access",
        ),
        (
            "short-lived",
            "provider_credential",
            "warn",
            "credential_refused",
        ),
        (
            "nobody's",
            "provider_credential",
            "fail",
            "credential_refused",
        ),
    ] {
        replace(&world, "github", token).await;
        let preflight = preflight(&world, docs()).await;
        assert_eq!(
            obstacles(&preflight),
            obstacle(topic, status, code),
            "{token}"
        );
        reads(&world);
    }
}

/// Gives a connection another token.
async fn replace(world: &World, kind: &str, token: &str) {
    let list = world.client.get("/connections").await.expect(200).body;
    let mut list = list["connections"].as_array().expect("connections").iter();
    let connection = list.find(|it| it["kind"] == kind).expect("a connection");
    let path = format!("/connections/{}/credential", text(&connection["id"]));
    let credential = json!({"type": "token", "token": token});
    let put = world
        .client
        .send(Method::PUT, &path, |request| request.json(&credential));
    put.await.expect(204);
}

#[tokio::test]
async fn keys_that_the_owner_forbids_are_predicted_where_a_key_shows_it() {
    let world = World::usual().await;
    let key = json!({"title": "theirs", "key": github_key(&world).await, "read_only": true});
    world
        .github(Method::POST, "/repos/acme/docs/keys", Some(key))
        .await;
    let allowed = preflight(&world, docs()).await;
    assert_eq!(of(&allowed, "deploy_keys")["status"], "pass");
    set_deploy_keys_enabled(world.sandbox.world(), "acme/docs", false).expect("a repository");
    let preflight = preflight(&world, docs()).await;
    let expected = obstacle("deploy_keys", "fail", "deploy_keys_disabled");
    assert_eq!(obstacles(&preflight), expected);
}

/// A public key that nobody uses.
async fn github_key(world: &World) -> String {
    let url = format!("{}/deploy_keys", world.sandbox.netlify_url());
    let request = reqwest::Client::new().post(url).bearer_auth(NETLIFY_TOKEN);
    let key: Value = request
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("a key");
    text(&key["public_key"])
}

/// Makes a webhook as somebody else would.
async fn hook(world: &World, url: &str, events: Value, active: bool) {
    let hook = json!({"name": "web", "active": active, "events": events, "config": {"url": url, "content_type": "json"}});
    world
        .github(Method::POST, "/repos/acme/docs/hooks", Some(hook))
        .await;
}

#[tokio::test]
async fn webhooks_that_are_off_doubled_or_too_many_are_told() {
    let world = World::usual().await;
    let netlify = world
        .sandbox
        .netlify_url()
        .replace("/api/v1", "/hooks/github");
    hook(
        &world,
        &netlify,
        json!(["push", "pull_request", "delete"]),
        false,
    )
    .await;
    let off = preflight(&world, docs()).await;
    assert_eq!(obstacles(&off), obstacle("webhook", "warn", ""));
    assert!(text(&of(&off, "webhook")["detail"]).contains("switched off"));

    // GitHub takes a second one as long as no event is in both.
    hook(&world, &netlify, json!(["create"]), true).await;
    let doubled = preflight(&world, docs()).await;
    assert_eq!(obstacles(&doubled), obstacle("webhook", "warn", ""));
    assert!(text(&of(&doubled, "webhook")["detail"]).contains("2 webhooks"));

    world.repository("full").await;
    for at in 0..20 {
        let url = format!("http://127.0.0.1:9/{at}");
        let hook = json!({"name": "web", "events": ["push"], "config": {"url": url, "content_type": "json"}});
        world
            .github(Method::POST, "/repos/acme/full/hooks", Some(hook))
            .await;
    }
    let full = json!({"repository": "https://github.com/acme/full"});
    let expected = obstacle("webhook", "fail", "webhook_limit_reached");
    assert_eq!(obstacles(&preflight(&world, full).await), expected);
}

#[tokio::test]
async fn what_netlify_would_refuse_is_predicted() {
    let world = World::usual().await;
    let mut elsewhere = docs();
    elsewhere["site"]["team"] = json!("nobody");
    let expected = obstacle("team", "fail", "team_not_found");
    assert_eq!(obstacles(&preflight(&world, elsewhere).await), expected);

    for (shown, topic, code) in [
        (json!({"role": "Reviewer"}), "team", "netlify_forbidden"),
        (
            json!({"private_organisations": false}),
            "plan",
            "netlify_forbidden",
        ),
        (
            json!({"plan": "Starter", "connected": []}),
            "contributors",
            "build_blocked",
        ),
        (json!({"minutes": 300}), "builds", "account_cannot_build"),
    ] {
        turn(&world, shown.clone());
        let preflight = preflight(&world, docs()).await;
        assert_eq!(
            obstacles(&preflight),
            obstacle(topic, "warn", code),
            "{shown}"
        );
        turn(
            &world,
            json!({"role": "Owner", "private_organisations": true, "plan": "Pro", "connected": ["github"], "minutes": 0}),
        );
    }
    let no_credits = json!({"netlify": {"credits_exhausted": true}});
    world.sandbox.patch_switches(&no_credits).expect("a switch");
    let expected = obstacle("builds", "warn", "account_cannot_build");
    assert_eq!(obstacles(&preflight(&world, docs()).await), expected);
    reads(&world);

    replace(&world, "netlify", "nobody's").await;
    let expected = obstacle("netlify_credential", "fail", "credential_refused");
    assert_eq!(obstacles(&preflight(&world, docs()).await), expected);
}

#[tokio::test]
async fn a_public_repository_needs_neither_plan_nor_known_people() {
    let world = World::usual().await;
    let new = NewRepository {
        name: "open".to_owned(),
        template: Some("site".to_owned()),
        private: false,
        ..NewRepository::default()
    };
    world
        .sandbox
        .create_repository(new)
        .await
        .expect("a repository");
    turn(
        &world,
        json!({"private_organisations": false, "plan": "Starter", "connected": []}),
    );
    let request = json!({"repository": "https://github.com/acme/open"});
    assert_eq!(obstacles(&preflight(&world, request).await), []);
}

#[tokio::test]
async fn a_site_that_cannot_be_had_is_predicted() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let before = world.sandbox.calls().len();
    let expected = obstacle("site", "fail", "site_name_taken");
    assert_eq!(obstacles(&preflight(&world, docs()).await), expected);

    world.repository("other").await;
    let other = |site: Value| json!({"repository": "https://github.com/acme/other", "site": site});
    let id = &link["site"]["id"];
    let attached = preflight(&world, other(json!({"id": id}))).await;
    let expected = obstacle("site", "fail", "site_linked_elsewhere");
    assert_eq!(obstacles(&attached), expected);
    let taken = preflight(&world, other(json!({"id": id, "relink": true}))).await;
    assert_eq!(obstacles(&taken), obstacle("site", "warn", ""));
    let gone = json!({"id": "00000000-0000-4000-8000-000000000000"});
    let gone = preflight(&world, other(gone)).await;
    assert_eq!(obstacles(&gone), obstacle("site", "fail", "site_gone"));
    let calls = world.sandbox.calls();
    let by_us = calls[before..]
        .iter()
        .filter(|call| call.upstream != Upstream::NetlifyHooks);
    for call in by_us {
        assert_eq!(call.method, "GET", "{call:#?}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_now_is_unknown_and_blocks_nothing() {
    let world = World::usual().await;
    let reset = time::OffsetDateTime::now_utc().unix_timestamp() + 60;
    let headers = json!({"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset.to_string()});
    let limited =
        json!({"status": 403, "body": {"message": "API rate limit exceeded"}, "headers": headers});
    world.fault(json!({"upstream": "github", "path": ".*", "times": 9, "fault": limited}));
    world.fault(json!({"upstream": "netlify", "path": "/accounts$", "fault": {"status": 503}}));
    world.fault(json!({"upstream": "netlify", "path": "/user$", "fault": {"delay_ms": 4000}}));
    let preflight = preflight(&world, docs()).await;
    assert_eq!(obstacles(&preflight), [], "{preflight:#}");
    assert_eq!(preflight["outcome"], "unknown");
    for (topic, code) in [
        ("provider_credential", "rate_limited"),
        ("repository", "rate_limited"),
        ("team", "upstream_unavailable"),
        ("netlify_credential", "upstream_unavailable"),
    ] {
        let finding = of(&preflight, topic);
        assert_eq!(finding["status"], "unknown", "{finding:#}");
        assert_eq!(finding["code"], code, "{finding:#}");
    }
    assert_eq!(of(&preflight, "site")["status"], "pass");
}

#[tokio::test]
async fn what_people_will_have_to_do_is_told_beforehand() {
    let world = World::empty(Default::default()).await;
    let new = NewRepository {
        name: "docs".to_owned(),
        template: Some("site".to_owned()),
        private: false,
        ..NewRepository::default()
    };
    world
        .sandbox
        .create_repository(new)
        .await
        .expect("a repository");
    world.connect(&world.client).await;
    let anonymous =
        json!({"name": "nobody", "kind": "github", "credential": {"type": "anonymous"}});
    world
        .client
        .post("/connections", anonymous)
        .await
        .expect(201);
    let mut request = docs();
    request["connections"] = json!({"provider": "nobody"});
    let preflight = preflight(&world, request).await;
    let mut expected = obstacle("deploy_keys", "warn", "key_to_be_placed");
    expected.extend(obstacle("webhook", "warn", "webhook_to_be_placed"));
    assert_eq!(obstacles(&preflight), expected);
}

#[tokio::test]
async fn every_provider_is_read_and_nothing_is_held_against_a_good_repository() {
    let world = World::empty(Default::default()).await;
    let token = |token: &str| json!({"type": "token", "token": token});
    let basic = |user: &str, secret: &str| json!({"type": "basic", "user": user, "secret": secret});
    let netlify = json!({"name": "netlify", "kind": "netlify", "credential": token(NETLIFY_TOKEN)});
    world.client.post("/connections", netlify).await.expect(201);
    let azure = "https://dev.azure.com/acme/web/_git/docs";
    // Azure DevOps has no API for keys, and Netlify names the webhook for Gitea only later.
    for (provider, kind, owner, address, credential, expected) in [
        (
            Provider::Gitlab,
            "gitlab",
            "acme",
            "https://gitlab.com/acme/docs",
            token(GITLAB_TOKEN),
            vec![],
        ),
        (
            Provider::Gitea,
            "gitea",
            "acme",
            "https://code.example.com/acme/docs",
            token(GITEA_TOKEN),
            vec![],
        ),
        (
            Provider::Bitbucket,
            "bitbucket",
            "acme",
            "https://bitbucket.org/acme/docs",
            basic(BITBUCKET_EMAIL, BITBUCKET_TOKEN),
            vec![],
        ),
        (
            Provider::AzureDevops,
            "azure_devops",
            "acme/web",
            azure,
            basic("acme", AZURE_DEVOPS_TOKEN),
            obstacle("deploy_keys", "warn", "key_to_be_placed"),
        ),
    ] {
        let connection = json!({"name": kind, "kind": kind, "credential": credential});
        world
            .client
            .post("/connections", connection)
            .await
            .expect(201);
        let new = NewRepository {
            provider,
            owner: owner.to_owned(),
            name: "docs".to_owned(),
            template: Some("site".to_owned()),
            ..NewRepository::default()
        };
        world
            .sandbox
            .create_repository(new)
            .await
            .expect("a repository");
        let before = world.sandbox.calls().len();
        let preflight = preflight(&world, json!({"repository": address})).await;
        assert_eq!(obstacles(&preflight), expected, "{kind}: {preflight:#}");
        assert_eq!(
            of(&preflight, "repository")["status"],
            "pass",
            "{preflight:#}"
        );
        let calls = reads(&world).split_off(before);
        assert!(calls.len() <= 10, "{kind}: {calls:#?}");
    }
    assert!(world.sandbox.violations().is_empty());
}

#[tokio::test]
async fn a_link_by_an_installation_is_read_for_the_app_instead_of_key_and_webhook() {
    let (world, _folder) = granted(everywhere(), json!({})).await;
    let asked = async || preflight(&world, installations::request()).await;
    let found = asked().await;
    let findings = found["findings"].as_array().expect("findings");
    let is_about =
        |topics: &[&str], finding: &Value| topics.contains(&text(&finding["topic"]).as_str());
    let placed = findings
        .iter()
        .find(|it| is_about(&["deploy_keys", "webhook"], it));
    assert_eq!(placed, None);
    assert_eq!(of(&found, "installation")["status"], "unknown", "{found:#}");

    // Owners may ask.
    let owner = json!({"token": GITHUB_TOKEN, "login": "sandbox", "everywhere": "admin",
        "scopes": ["repo", "admin:repo_hook", "read:org"]});
    let owner: NewToken = serde_json::from_value(owner).expect("a token's description");
    github::add_token(world.sandbox.world(), owner).expect("a token");
    assert_eq!(of(&asked().await, "installation")["status"], "pass");
    let mut some = everywhere();
    some["repositories"] = json!(["blog"]);
    world.install(some);
    assert_eq!(of(&asked().await, "installation")["status"], "unknown");
    let mut suspended = everywhere();
    suspended["suspended"] = json!(true);
    world.install(suspended);
    let expected = obstacle("installation", "fail", "installation_not_usable");
    assert_eq!(obstacles(&asked().await), expected);
    reads(&world);
}

#[tokio::test]
async fn an_app_of_ones_own_that_sees_other_repositories_alone_is_predicted() {
    let elsewhere = json!({"app": "acme-broker", "account": "acme", "repositories": ["blog"]});
    let (world, ..) = with_app(Setup::default(), elsewhere).await;
    let found = preflight(&world, docs()).await;
    let repository = of(&found, "repository");
    assert_eq!(repository["code"], "app_not_installed", "{found:#}");
    assert_eq!(found["outcome"], "fail");
    let writes = world.sandbox.calls();
    let mut writes = writes.iter().filter(|call| call.method != "GET");
    assert!(writes.all(|call| call.path.ends_with("/access_tokens")));
}

#[tokio::test]
async fn an_app_of_ones_own_that_is_suspended_is_predicted() {
    let suspended = json!({"app": "acme-broker", "account": "acme", "suspended": true});
    let (world, ..) = with_app(Setup::default(), suspended).await;
    let found = preflight(&world, docs()).await;
    let repository = of(&found, "repository");
    assert_eq!(repository["code"], "app_suspended", "{found:#}");
    assert_eq!(found["outcome"], "fail");
}

#[tokio::test]
async fn requests_that_cannot_become_links_are_refused_at_once() {
    let world = World::usual().await;
    let mut bad = docs();
    bad["site"]["name"] = json!("No");
    let refused = world.client.post("/preflights", bad).await.expect(422);
    assert_eq!(refused.body["errors"][0]["pointer"], "/site/name");
    let mut bad = docs();
    bad["connections"] = json!({"netlify": "no-such"});
    let refused = world.client.post("/preflights", bad).await.expect(422);
    assert_eq!(refused.body["errors"][0]["pointer"], "/connections/netlify");
    assert!(world.sandbox.calls().is_empty());
}

#[tokio::test]
async fn strangers_see_none_and_readers_ask_for_none() {
    let world = World::usual().await;
    let preflight = preflight(&world, docs()).await;
    let path = format!("/preflights/{}", text(&preflight["id"]));
    let stranger = world.client_of("stranger", Scope::ALL);
    stranger.get(&path).await.expect(404);
    let reader = world.client_of(crate::world::TENANT, &[Scope::LinksRead]);
    assert_eq!(reader.get(&path).await.expect(200).body, preflight);
    reader.post("/preflights", docs()).await.expect(403);
    let writer = world.client_of(crate::world::TENANT, &[Scope::LinksWrite]);
    writer.get(&path).await.expect(403);
}

#[tokio::test]
async fn a_preflight_survives_its_worker() {
    let mut world = World::usual().await;
    world.calls_take(2000);
    let asked = world.client.post("/preflights", docs()).await.expect(202);
    let path = format!("/preflights/{}", asked.id());
    until("the preflight to run", async || {
        let preflight = world.client.get(&path).await.expect(200).body;
        (preflight["state"] == "running").then_some(())
    })
    .await;
    world.server.stop().await;
    world.calls_take(0);
    world.start_again().await;
    assert_eq!(done(&world.client, asked).await["outcome"], "pass");
}

#[tokio::test]
async fn the_command_tells_the_findings_and_ends_as_the_link_would() {
    let mut world = World::empty(Default::default()).await;
    world.repository("docs").await;
    world.sign_in();
    world
        .connect_with(&world.client, NETLIFY_TOKEN, GITHUB_TOKEN)
        .await;
    let check = [
        "check",
        "https://github.com/acme/docs",
        "--site",
        "acme-docs",
    ];
    let good = world.run(&check).await.expect(0).json();
    assert_eq!(good["outcome"], "pass", "{good:#}");
    archive(world.sandbox.world(), "acme/docs", true).expect("a repository");
    let bad = world.run(&check).await.expect(3).json();
    assert_eq!(of(&bad, "repository")["code"], "repository_archived");
    archive(world.sandbox.world(), "acme/docs", false).expect("a repository");
    world.github_token("reader", json!({"acme/docs": "read"}));
    replace(&world, "github", "reader").await;
    let told = Command::new(env!("CARGO_BIN_EXE_linkbroker"))
        .args(check)
        .env_clear()
        .envs(world.settings().iter().map(|(name, value)| (name, value)))
        .current_dir(world.folder())
        .output()
        .await
        .expect("the program");
    assert_eq!(told.status.code(), Some(4), "{told:#?}");
    let told = String::from_utf8_lossy(&told.stdout);
    assert!(told.contains("admin_required"), "{told}");
    assert!(told.contains("The link would fail."), "{told}");
    reads(&world);
}

#[tokio::test]
async fn they_count_as_new_links_among_the_quotas() {
    let settings = vec![("LINKBROKER_QUOTA_LINKS_PER_MINUTE", "1".to_owned())];
    let setup = Setup {
        settings,
        ..Setup::default()
    };
    let world = World::with(setup).await;
    world.client.post("/preflights", docs()).await.expect(202);
    let refused = world.client.post("/preflights", docs()).await.expect(429);
    assert_eq!(refused.code(), "rate_limited");
    world.client.post("/links", docs()).await.expect(429);
}
