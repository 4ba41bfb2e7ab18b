//! `env` of a link: the first build has the variables, nobody sees their values, and unlinking takes back what was set.

use linkbroker::api::caller::Scope;
use reqwest::Method;
use serde_json::{Value, json};

use crate::existing_sites::{bare_site, netlify, to};
use crate::lost_answers::assert_one_of_each;
use crate::world::{Setup, World, docs, receipts, text, until};

const URL: &str = "https://api.acme.example/v1";
const TOKEN: &str = "the-value-of-the-secret";
const ENV: &str = "/accounts/sandbox/env";

/// Shows what the build has, on a page beside the site's.
fn with(env: Value) -> Value {
    let mut request = docs();
    request["env"] = env;
    request["build"]["command"] =
        json!("sh build.sh && printf '%s' \"$API_URL|$TOKEN|$PREVIEW|$SITE_NAME\" > dist/env.txt");
    request
}

fn usual() -> Value {
    json!({
        "API_URL": URL,
        "TOKEN": {"value": TOKEN, "secret": true},
        "PREVIEW": {"value": "only there", "contexts": ["deploy-preview", "branch:next"]},
        "SITE_NAME": "not ours to choose",
    })
}

/// What the published build had.
async fn built_with(world: &World, site: &str) -> String {
    let url = format!("{}/sites/{site}/env.txt", world.sandbox.world().origin());
    let answer = reqwest::get(url).await.expect("an answer of the sandbox");
    answer.text().await.expect("a body")
}

/// The variables at Netlify, as `NAME contexts secret`.
fn variables(world: &World) -> Vec<String> {
    let state = world.state();
    let variables = state["netlify"]["env_variables"]
        .as_array()
        .expect("variables");
    let line = |variable: &Value| {
        let values = variable["values"].as_array().expect("values");
        let contexts: Vec<_> = values.iter().map(|value| text(&value["context"])).collect();
        let mark = if variable["is_secret"] == true {
            " secret"
        } else {
            ""
        };
        format!("{} {}{mark}", text(&variable["key"]), contexts.join(","))
    };
    variables.iter().map(line).collect()
}

/// The writes to variables, as `METHOD path`.
fn writes(world: &World) -> Vec<String> {
    let calls = world.sandbox.calls();
    let about_env = calls
        .iter()
        .filter(|call| call.path.contains("/env") && call.method != "GET");
    let line = |path: &str| {
        path.split('?')
            .next()
            .unwrap_or_default()
            .rsplit("/api/v1")
            .next()
            .map(str::to_owned)
    };
    about_env
        .map(|call| format!("{} {}", call.method, line(&call.path).unwrap_or_default()))
        .collect()
}

fn fates(link: &Value) -> Vec<(String, String)> {
    let resources = link["resources"].as_array().expect("resources");
    let variables = resources.iter().filter(|it| it["kind"] == "env_variable");
    let fate = |it: &Value| (text(&it["id"]), text(&it["receipt"]));
    let mut fates: Vec<_> = variables.map(fate).collect();
    fates.sort();
    fates
}

fn pair(name: &str, receipt: &str) -> (String, String) {
    (name.to_owned(), receipt.to_owned())
}

#[tokio::test]
async fn the_first_build_has_the_variables_of_its_context() {
    let world = World::usual().await;
    let link = world.client.link_settled(with(usual())).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let built = built_with(&world, "acme-docs").await;
    assert_eq!(built, format!("{URL}|{TOKEN}||acme-docs"));
    assert_eq!(
        variables(&world),
        [
            "API_URL all",
            "PREVIEW branch,deploy-preview",
            "SITE_NAME all",
            "TOKEN production,deploy-preview,branch-deploy secret",
        ]
    );
    assert_eq!(writes(&world), [format!("POST {ENV}")]);
    assert!(world.sandbox.violations().is_empty());
    assert_one_of_each(&world);
}

#[tokio::test]
async fn a_link_shows_names_and_contexts_and_never_a_value() {
    let world = World::usual().await;
    let link = world.client.link_settled(with(usual())).await;
    let shown = json!({
        "API_URL": {"secret": false},
        "TOKEN": {"secret": true},
        "PREVIEW": {"contexts": ["branch:next", "deploy-preview"], "secret": false},
        "SITE_NAME": {"secret": false},
    });
    assert_eq!(link["request"]["env"], shown, "{link:#}");
    let id = text(&link["id"]);
    for part in ["events?limit=100", "steps", "resources"] {
        world
            .client
            .get(&format!("/links/{id}/{part}"))
            .await
            .expect(200);
    }
    let seen = world.client.seen();
    let dump = Value::Object(world.database.dump().await).to_string();
    for (place, text) in [
        ("an answer", seen),
        ("a row", dump),
        ("the log", world.server.log()),
    ] {
        for value in [URL, TOKEN, "only there", "not ours to choose"] {
            assert!(!text.contains(value), "{place} holds {value}");
        }
    }
}

#[tokio::test]
async fn the_values_are_deleted_when_the_link_is_over() {
    let world = World::usual().await;
    let link = world.client.link_settled(with(usual())).await;
    let rows = async || {
        world.database.dump().await["environments"]
            .as_array()
            .map(Vec::len)
    };
    assert_eq!(rows().await, Some(1));
    let link = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(link["status"], "unlinked", "{link:#}");
    assert_eq!(rows().await, Some(0));
    // The site took them along; no call of their own was needed.
    let deleted = ["API_URL", "PREVIEW", "SITE_NAME", "TOKEN"].map(|name| pair(name, "deleted"));
    assert_eq!(fates(&link), deleted);
    assert_eq!(writes(&world).len(), 1);
    assert_eq!(world.count("env_variables"), (4, 0));
}

#[tokio::test]
async fn a_site_that_is_kept_loses_what_the_link_had_set() {
    let world = World::usual().await;
    let link = world.client.link_settled(with(usual())).await;
    let link = world
        .client
        .unlink(&text(&link["id"]), "?keep_site=true")
        .await;
    assert_eq!(link["status"], "unlinked", "{link:#}");
    assert_eq!(world.count("env_variables"), (4, 0));
    assert!(receipts(&link).contains(&pair("site", "kept")));
    assert!(fates(&link).contains(&pair("TOKEN", "deleted")));
}

/// Somebody's own variable on their site.
async fn theirs(world: &World, site: &str, name: &str) {
    let path = format!("{ENV}?client=owner&site_id={site}");
    let variable = json!([{"key": name, "values": [{"value": "theirs", "context": "all"}], "is_secret": false}]);
    netlify(world, Method::POST, &path, variable).await;
}

fn request_to(site: &str) -> Value {
    let mut request = with(usual());
    request["site"] = to(site)["site"].clone();
    request
}

#[tokio::test]
async fn on_a_site_that_is_there_known_variables_are_replaced_and_stay_and_new_ones_go() {
    let world = World::usual().await;
    let site = bare_site(&world).await;
    theirs(&world, &site, "API_URL").await;
    theirs(&world, &site, "OTHER").await;
    let before = writes(&world).len();
    let link = world.client.link_settled(request_to(&site)).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let built = built_with(&world, "theirs").await;
    assert_eq!(built, format!("{URL}|{TOKEN}||theirs"));
    assert_eq!(
        writes(&world)[before..],
        [format!("PUT {ENV}/API_URL"), format!("POST {ENV}")]
    );

    let link = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(link["status"], "unlinked", "{link:#}");
    assert_eq!(
        fates(&link),
        [
            pair("API_URL", "kept_foreign"),
            pair("PREVIEW", "deleted"),
            pair("SITE_NAME", "deleted"),
            pair("TOKEN", "deleted"),
        ]
    );
    assert_eq!(variables(&world), ["API_URL all", "OTHER all"]);
    assert!(world.sandbox.violations().is_empty());
}

/// A variable that comes between the look and the call is replaced, and is not ours.
async fn meets_a_variable_that_was_made_meanwhile(switches: Value) {
    let world = World::with(Setup {
        switches,
        ..Setup::default()
    })
    .await;
    let site = bare_site(&world).await;
    world.fault(json!({"upstream": "netlify", "method": "POST", "path": r"/env\?site_id", "fault": {"delay_ms": 1000}}));
    let id = world.client.link(request_to(&site)).await;
    until("the site to be taken", async || {
        let steps = world
            .client
            .get(&format!("/links/{id}/steps"))
            .await
            .expect(200)
            .body;
        let steps = steps["steps"].as_array().expect("steps").clone();
        let step = steps.iter().find(|step| step["name"] == "set_environment");
        (step?["state"] == "running").then_some(())
    })
    .await;
    theirs(&world, &site, "API_URL").await;
    let link = world.client.settled(&id).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let built = built_with(&world, "theirs").await;
    assert_eq!(built, format!("{URL}|{TOKEN}||theirs"));
    let link = world.client.unlink(&id, "").await;
    assert!(
        fates(&link).contains(&pair("API_URL", "kept_foreign")),
        "{link:#}"
    );
    assert!(variables(&world).contains(&"API_URL all".to_owned()));
}

#[tokio::test]
async fn a_variable_that_was_made_meanwhile_is_replaced() {
    meets_a_variable_that_was_made_meanwhile(json!({})).await;
}

#[tokio::test]
async fn a_variable_that_was_made_meanwhile_is_replaced_where_netlify_makes_the_others_all_the_same()
 {
    meets_a_variable_that_was_made_meanwhile(json!({"netlify": {"env_create_is_partial": true}}))
        .await;
}

#[tokio::test]
async fn what_the_plan_does_not_allow_is_named_and_retry_goes_on() {
    let world = World::with(Setup {
        switches: json!({"netlify": {"env_refused": true}}),
        ..Setup::default()
    })
    .await;
    let link = world.client.link_settled(with(usual())).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "environment_refused");
    let detail = text(&link["diagnosis"]["detail"]);
    assert!(detail.contains("not available on this plan"), "{detail}");
    assert_eq!(
        world.count("builds"),
        (0, 0),
        "nothing is built without them"
    );

    world
        .sandbox
        .patch_switches(&json!({"netlify": {"env_refused": false}}))
        .expect("a switch");
    let link = world.client.retry(&text(&link["id"])).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert!(built_with(&world, "acme-docs").await.contains(TOKEN));
}

#[tokio::test]
async fn the_answer_to_the_setting_is_lost() {
    let world = World::usual().await;
    world.fault(
        json!({"upstream": "netlify", "method": "POST", "path": "/env", "fault": "lost_answer"}),
    );
    let link = world.client.link_settled(with(usual())).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(
        writes(&world),
        [format!("POST {ENV}")],
        "seen, and not set again"
    );
    assert_eq!(world.count("env_variables"), (4, 4));
    assert_one_of_each(&world);
    let link = world
        .client
        .unlink(&text(&link["id"]), "?keep_site=true")
        .await;
    assert_eq!(link["status"], "unlinked", "{link:#}");
    assert_eq!(
        world.count("env_variables"),
        (4, 0),
        "known as ours all the same"
    );
}

#[tokio::test]
async fn a_server_that_dies_between_the_setting_and_its_answer_sets_once() {
    let settings = vec![("LINKBROKER_LEASE_SECONDS", "3".to_owned())];
    let switches = json!({"latency_ms": 600});
    let mut world = World::with(Setup {
        settings,
        switches,
        ..Setup::default()
    })
    .await;
    let id = world.client.link(with(usual())).await;
    world.made("env_variables").await;
    world.crash().await;
    world.calls_take(0);
    let link = world.client.settled(&id).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(writes(&world), [format!("POST {ENV}")]);
    assert_one_of_each(&world);
}

#[tokio::test]
async fn a_build_that_prints_a_value_does_not_bring_it_into_the_diagnosis() {
    let world = World::usual().await;
    let mut request = with(usual());
    request["build"]["command"] = json!("echo \"uses $TOKEN\"; exit 1");
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "build_failed", "{link:#}");
    let evidence = link["diagnosis"]["evidence"].to_string();
    assert!(evidence.contains("uses [redacted]"), "{evidence}");
    assert!(!world.client.seen().contains(TOKEN));
}

#[tokio::test]
async fn other_variables_make_another_link() {
    let world = World::usual().await;
    let put = async |env: Value| {
        let body = with(env);
        let path = "/links/by-ref/docs";
        world
            .client
            .send(Method::PUT, path, |request| request.json(&body))
            .await
    };
    let made = put(usual()).await.expect(202);
    world.client.settled(&made.id()).await;
    // The same in another spelling.
    let mut same = usual();
    same["API_URL"] = json!({"value": URL, "secret": false});
    same["PREVIEW"]["contexts"] = json!(["branch:next", "deploy-preview"]);
    put(same).await.expect(200);
    for (field, other) in [
        ("/TOKEN/value", json!("another")),
        ("/TOKEN/secret", json!(false)),
        ("/PREVIEW/contexts", json!(["deploy-preview"])),
        ("/API_URL", json!("another")),
    ] {
        let mut differing = usual();
        *differing.pointer_mut(field).expect("a field") = other;
        let refused = put(differing).await.expect(409);
        assert_eq!(refused.code(), "link_exists");
        assert_eq!(
            refused.body["errors"][0]["pointer"], "/env",
            "{field}: {}",
            refused.text
        );
        assert_eq!(refused.body["errors"].as_array().map(Vec::len), Some(1));
    }
    put(json!({})).await.expect(409);
}

#[tokio::test]
async fn what_netlify_would_not_take_is_refused_at_once_and_not_repeated() {
    let world = World::usual().await;
    let long = "x".repeat(5001);
    let many: Value = (0..101)
        .map(|n| (format!("A{n}"), json!("x")))
        .collect::<serde_json::Map<_, _>>()
        .into();
    for (env, pointer) in [
        (json!({"1A": "x"}), "/env/1A"),
        (json!({"A/B": "x"}), "/env/A~1B"),
        (json!({"A": ""}), "/env/A"),
        (json!({"A": long}), "/env/A"),
        (json!({"A": "with \u{0} in it"}), "/env/A"),
        (json!({"A": 5}), "/env/A"),
        (json!({"A": {"value": 5}}), "/env/A/value"),
        (json!({"A": {}}), "/env/A/value"),
        (
            json!({"A": {"value": "x", "scopes": ["builds"]}}),
            "/env/A/scopes",
        ),
        (json!({"A": {"value": "x", "contexts": []}}), "/env/A"),
        (
            json!({"A": {"value": "x", "contexts": ["prod"]}}),
            "/env/A/contexts",
        ),
        (
            json!({"A": {"value": "x", "contexts": ["branch:"]}}),
            "/env/A/contexts",
        ),
        (
            json!({"A": {"value": "x", "contexts": ["dev"], "secret": true}}),
            "/env/A/contexts",
        ),
        (many, "/env"),
    ] {
        let refused = world
            .client
            .post("/links", with(env.clone()))
            .await
            .expect(422);
        let pointers: Vec<_> = refused.body["errors"]
            .as_array()
            .expect("errors")
            .iter()
            .map(|error| text(&error["pointer"]))
            .collect();
        assert_eq!(pointers, [pointer], "{env:.200}");
    }
    let array = world.client.post("/links", with(json!(["x"]))).await;
    assert_eq!(array.expect(422).body["errors"][0]["pointer"], "/env");
}

#[tokio::test]
async fn the_plan_tells_of_the_variables_and_stores_nothing() {
    let world = World::usual().await;
    let path = "/links?validate_only=true";
    let plan = world
        .client
        .post(path, with(usual()))
        .await
        .expect(200)
        .body;
    let rounds = plan["rounds"].as_array().expect("rounds");
    let names = |round: &Value| {
        round["steps"]
            .as_array()
            .expect("steps")
            .iter()
            .map(|step| text(&step["name"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&rounds[2]), ["set_environment"]);
    assert_eq!(names(&rounds[3]), ["attach_repository"]);
    assert_eq!(
        rounds[2]["steps"][0]["calls"][0]["path"],
        "/accounts/{account_id}/env"
    );
    assert_eq!(world.database.dump().await["environments"], json!([]));
    assert!(!world.client.seen().contains(TOKEN));
}

#[tokio::test]
async fn the_command_line_takes_secrets_from_its_own_environment() {
    let world = World::usual().await;
    let arguments = [
        "link",
        "https://github.com/acme/docs",
        "--url",
        &world.server.address,
        "--site",
        "acme-docs",
        "--command",
        "sh build.sh && printf '%s' \"$API_URL|$TOKEN\" > dist/env.txt",
        "--publish",
        "dist",
        "--env",
        &format!("API_URL={URL}"),
        "--secret-env",
        "TOKEN",
        "--wait",
    ];
    let token = world.client.token().expect("a token");
    let run = async |secret: Option<&str>| {
        let mut command = world.command(&arguments);
        command.env("LINKBROKER_TOKEN", &token);
        if let Some(secret) = secret {
            command.env("TOKEN", secret);
        }
        crate::world::Done::from(command.output().await.expect("the program"))
    };
    let refused = run(None).await.expect(2);
    assert!(
        refused.stderr.contains("no variable of this name"),
        "{}",
        refused.stderr
    );
    let done = run(Some(TOKEN)).await.expect(0);
    assert_eq!(done.json()["request"]["env"]["TOKEN"]["secret"], true);
    assert!(!done.stdout.contains(TOKEN));
    assert_eq!(
        built_with(&world, "acme-docs").await,
        format!("{URL}|{TOKEN}")
    );
}

#[tokio::test]
async fn a_variable_that_people_set_again_after_another_tenants_link_had_removed_it_stays() {
    let world = World::usual().await;
    let other = world.client_of("umbrella", Scope::ALL);
    world.connect(&other).await;
    let site = bare_site(&world).await;
    let link = world.client.link_settled(request_to(&site)).await;
    let link = world.client.unlink(&text(&link["id"]), "").await;
    assert!(
        fates(&link).contains(&pair("API_URL", "deleted")),
        "{link:#}"
    );
    theirs(&world, &site, "API_URL").await;

    let link = other.link_settled(request_to(&site)).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let link = other.unlink(&text(&link["id"]), "").await;
    assert!(
        fates(&link).contains(&pair("API_URL", "kept_foreign")),
        "{link:#}"
    );
    assert_eq!(variables(&world), ["API_URL all"]);
}

#[tokio::test]
async fn what_was_taken_back_is_not_told_otherwise_when_the_rest_is_asked_for_again() {
    let world = World::usual().await;
    let link = world.client.link_settled(with(usual())).await;
    let refused = json!({"status": 403, "body": {"message": "Forbidden"}});
    world.fault(json!({"upstream": "github", "method": "DELETE", "path": "/hooks/", "times": 99, "fault": refused}));
    let id = text(&link["id"]);
    for _ in 0..2 {
        let stuck = world.client.unlink(&id, "").await;
        assert_eq!(stuck["status"], "action_required", "{stuck:#}");
        let told = fates(&stuck);
        assert_eq!(told.len(), 4, "{stuck:#}");
        assert!(told.iter().all(|(_, fate)| fate == "deleted"), "{stuck:#}");
    }
    world.sandbox.world().faults.clear();
    let over = world.client.unlink(&id, "").await;
    assert_eq!(over["status"], "unlinked", "{over:#}");
    assert!(
        fates(&over).iter().all(|(_, fate)| fate == "deleted"),
        "{over:#}"
    );
}
