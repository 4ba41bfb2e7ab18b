//! Every sentence of trouble under Netlify's guide to linking by API, as a test with its name: the right status, cause and remedy.

use linkbroker_sandbox::github::NewRepository;
use linkbroker_sandbox::recorder::Upstream;
use linkbroker_sandbox::{GITHUB_TOKEN, NETLIFY_TOKEN, Provider, forge};
use reqwest::Method;
use serde_json::{Value, json};

use crate::installations::{self, everywhere, granted};
use crate::world::{Setup, Way, World, docs, text, until};

/// Asserts where a link stands and why, and that the remedy speaks of all this.
fn assert_diagnosed(link: &Value, status: &str, code: &str, remedy: &[&str]) {
    assert_eq!(link["status"], status, "{link:#}");
    let diagnosis = &link["diagnosis"];
    assert_eq!(diagnosis["code"], code, "{link:#}");
    let said = text(&diagnosis["remedy"]);
    for words in remedy {
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// Does one of the verbs of a link and waits until it settles.
async fn ask(world: &World, id: &str, verb: &str) -> Value {
    let path = format!("/links/{id}/{verb}");
    let asked = world.client.send(Method::POST, &path, |request| request);
    asked.await.expect(202);
    world.client.settled(id).await
}

fn impatient(switches: Value) -> Setup {
    Setup {
        settings: vec![("LINKBROKER_PROOF_SECONDS", "2".to_owned())],
        switches,
        ..Setup::default()
    }
}

/// "Site gets created but CI/CD is not setup. […] No errors but site is not linked."
#[tokio::test]
async fn app_installation_accepted_but_nothing_set_up() {
    let silent = json!({"netlify": {"installations_set_up": false}});
    let (world, _folder) = granted(everywhere(), silent).await;
    let link = world.client.link_settled(installations::request()).await;
    assert_diagnosed(
        &link,
        "action_required",
        "installation_not_delivering",
        &["Netlify app", "deploy key"],
    );
    assert_eq!(world.count("builds"), (0, 0));
}

/// "Confirmed: can deploy from public repo without deploy_key or installation_id." Only while Netlify knows the owner by chance.
#[tokio::test]
async fn public_repository_without_key() {
    let world = World::empty(Setup::default()).await;
    let open = NewRepository {
        name: "docs".to_owned(),
        template: Some("site".to_owned()),
        private: false,
        ..NewRepository::default()
    };
    let made = world.sandbox.create_repository(open).await;
    made.expect("a repository");
    world
        .connect_with(&world.client, NETLIFY_TOKEN, GITHUB_TOKEN)
        .await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    for kind in ["deploy_keys", "installed_keys"] {
        assert_eq!(world.count(kind), (1, 1), "{kind}: made all the same");
    }

    // Without any rights there, a person is asked for it.
    let nobody = json!({"name": "nobody", "kind": "github", "credential": {"type": "anonymous"}});
    world.client.post("/connections", nobody).await.expect(201);
    let mut request = docs();
    request["connections"] = json!({"provider": "nobody"});
    request["site"]["name"] = json!("acme-docs-2");
    let link = world.client.link_settled(request).await;
    assert_diagnosed(&link, "action_required", "key_to_be_placed", &["action"]);
    let what = &link["diagnosis"]["action"]["what"];
    assert!(text(&what["public_key"]).starts_with("ssh-rsa "), "{what}");
}

/// "I see 2 builds in the queue right away which seems unnecessary. Any way to reduce it to just 1?"
#[tokio::test]
async fn two_builds_at_the_start() {
    let twice =
        json!({"netlify": {"second_build_on_attach": true, "times": {"building_ms": 1500}}});
    let world = World::with(Setup {
        switches: twice,
        ..Setup::default()
    })
    .await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(link["diagnosis"], Value::Null);
    assert_eq!(link["deploy"]["state"], "ready");
    let state = world.state();
    let deploys = state["netlify"]["deploys"].as_array().expect("deploys");
    let with = |state: &str| deploys.iter().filter(|it| it["state"] == state).count();
    let built = (with("ready"), with("error"));
    let replays = 1;
    assert_eq!(built, (1, 1 + replays), "one is built: {deploys:#?}");
    // Nor did linkbroker start one more.
    let calls = world.sandbox.calls();
    let mut started = calls.iter().filter(|call| call.method == "POST");
    assert!(!started.any(|call| call.path.ends_with("/builds")));
}

/// "Github is successfully sending the webhook event, and getting a 204 response, but netlify doesn't kick off the build."
#[tokio::test]
async fn webhook_204_without_a_build() {
    let way = &Way::GITLAB;
    let world = way.world_with(impatient(Value::Null)).await;
    world.fault(
        json!({"upstream": "netlify_hooks", "path": ".", "times": 99, "fault": {"status": 204}}),
    );
    let link = way.link(&world).await;
    assert_diagnosed(&link, "degraded", "push_unverified", &["retry the link"]);
    let evidence = link["diagnosis"]["evidence"].as_array().expect("evidence");
    let mut evidence = evidence.iter().map(|it| text(&it["text"]));
    assert!(
        evidence.any(|it| it.contains("Netlify answered 204")),
        "{link:#}"
    );

    world.sandbox.world().faults.clear();
    let healed = world.client.retry(&text(&link["id"])).await;
    assert_eq!(healed["status"], "live", "{healed:#}");
}

/// "Finally I had added the deploy key in project settings and not in profile settings!"
#[tokio::test]
async fn key_in_the_profile_instead_of_the_project() {
    let way = &Way::GITLAB;
    let world = way.world().await;
    // While a key is on its way to the project, a person puts it into the profile; and the one that is made in its place too.
    let hold = |nth: u64| {
        world.fault(json!({"upstream": "gitlab", "method": "POST", "path": "/deploy_keys$", "nth": nth, "fault": "hold_request"}))
    };
    let mut under_way = hold(1);
    let id = world.client.link(way.request(&world)).await;
    for key in 0..2 {
        until("a key to be on its way", async || {
            (under_way.count() > 0).then_some(())
        })
        .await;
        let key = &world.state()["netlify"]["deploy_keys"][key]["public_key"];
        put_in_profile(&world, &text(key));
        world.sandbox.world().faults.clear();
        // The one held comes again first, and is refused.
        under_way = hold(2);
    }
    let link = world.client.settled(&id).await;
    assert_diagnosed(
        &link,
        "action_required",
        "key_in_profile_not_project",
        &["profile", "retry"],
    );

    // The remedy.
    world.sandbox.world().faults.clear();
    way.forge(&world).lock().person_keys.clear();
    let link = world.client.retry(&id).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("installed_keys"), (1, 1));
}

fn put_in_profile(world: &World, key: &str) {
    let new = forge::NewPersonKey {
        provider: Provider::Gitlab,
        login: linkbroker_sandbox::LOGIN.to_owned(),
        title: "from the guide".to_owned(),
        key: key.to_owned(),
        ..forge::NewPersonKey::default()
    };
    let added = linkbroker_sandbox::admin::add_person_key(world.sandbox.world(), new);
    added.expect("a key in the profile");
}

/// "I tried before with token param set to Netlify deploy public key but webhook was not added."
#[tokio::test]
async fn gitlab_token_parameter() {
    let way = &Way::GITLAB;
    let world = way.world().await;
    let link = way.link(&world).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let hooks: Vec<_> = {
        let state = way.forge(&world).lock();
        let repositories = state.repositories.values();
        repositories
            .flat_map(|repository| repository.hooks.clone())
            .map(|hook| hook.secret)
            .collect()
    };
    assert_eq!(hooks, [None], "one webhook, and no token");
}

/// "It works for the site creation and the first build/deploy but then when I push another commit, nothing happens."
#[tokio::test]
async fn first_build_good_but_pushes_do_nothing() {
    let way = &Way::GITLAB;
    let world = way.world_with(impatient(Value::Null)).await;
    let link = way.link(&world).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let id = text(&link["id"]);

    // Somebody points the webhook elsewhere.
    let elsewhere = "http://127.0.0.1:9/hooks".to_owned();
    let before = set_address(way, &world, elsewhere);
    let link = ask(&world, &id, "verify").await;
    assert_diagnosed(
        &link,
        "degraded",
        "webhook_url_mismatch",
        &["Retry the link"],
    );
    assert_eq!(link["deploy"]["state"], "ready", "the site itself is good");

    set_address(way, &world, before);
    let link = ask(&world, &id, "verify").await;
    assert_eq!(link["status"], "live", "{link:#}");
    way.push(&world, "words of one more push").await;
}

/// Points the only webhook elsewhere; where it pointed before.
fn set_address(way: &Way, world: &World, url: String) -> String {
    let mut state = way.forge(world).lock();
    let mut hooks = state
        .repositories
        .values_mut()
        .flat_map(|repository| repository.hooks.iter_mut());
    let hook = hooks.next().expect("a webhook");
    std::mem::replace(&mut hook.url, url)
}

/// "If what you are trying to link is a private repo within a GitHub organization […] you'd need to be on the pro plan."
#[tokio::test]
async fn private_organisation_repository_on_a_free_plan() {
    let free = json!({"netlify": {"unrecognized_contributor": true,
        "shown": {"plan": "Starter", "private_organisations": false, "connected": []}}});
    let world = World::with(impatient(free)).await;

    // Known before anything is made …
    let asked = world.client.post("/preflights", docs()).await.expect(202);
    let path = asked.header("location").expect("a location").to_owned();
    let preflight = until("the preflight to be done", async || {
        let answer = world.client.get(&path).await.expect(200);
        (answer.body["state"] == "done").then_some(answer.body)
    })
    .await;
    let findings = preflight["findings"].as_array().expect("findings").iter();
    let warnings: Vec<_> = findings
        .filter(|finding| finding["status"] == "warn")
        .map(|finding| (text(&finding["topic"]), text(&finding["code"])))
        .collect();
    let expected = [
        ("plan", "netlify_forbidden"),
        ("contributors", "build_blocked"),
    ];
    for (topic, code) in expected {
        let expected = (topic.to_owned(), code.to_owned());
        assert!(warnings.contains(&expected), "{warnings:?}");
    }

    // … and named when it is tried all the same.
    let link = world.client.link_settled(docs()).await;
    assert_diagnosed(&link, "degraded", "build_blocked", &["member", "plan"]);
}

/// "After successful POST /api/v1/sites I only get back build_id and deploy_id is empty. Is there a way to get it somehow?"
#[tokio::test]
async fn empty_deploy_id_after_creation() {
    let late = json!({"netlify": {"deploy_id_delay_ms": 1500}});
    let world = World::with(Setup {
        switches: late,
        ..Setup::default()
    })
    .await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_ne!(text(&link["build"]["deploy_id"]), "");
    assert_eq!(link["build"]["deploy_id"], link["deploy"]["id"]);
    let calls = world.sandbox.calls();
    let asks = calls.iter().filter(|call| {
        call.upstream == Upstream::Netlify && call.method == "GET" && call.path.contains("/builds/")
    });
    assert!(asks.count() <= 4, "{calls:#?}");
}
