//! What people and vendors change behind a link's back: found, told, and put back where it is linkbroker's to put back.

use linkbroker_sandbox::forge::Hook;
use linkbroker_sandbox::{NETLIFY_TOKEN, NewRepository, Provider, admin};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{Answer, Setup, Way, World, docs, text, until};

/// Where somebody points a webhook.
const ELSEWHERE: &str = "http://127.0.0.1:9/ci";

/// Says no to healing by itself.
fn reporting() -> Value {
    let mut request = docs();
    request["drift"] = json!("report");
    request
}

/// A call of Netlify's API, as people make it with its pages.
async fn netlify(world: &World, method: Method, path: &str, body: Value) -> Value {
    let url = format!("{}{path}", world.sandbox.netlify_url());
    let call = reqwest::Client::new().request(method, url);
    let call = call.bearer_auth(NETLIFY_TOKEN).json(&body);
    let answer = call.send().await.expect("an answer of the sandbox");
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    answer.json().await.unwrap_or_default()
}

async fn change_site(world: &World, settings: Value) {
    let site = text(&world.state()["netlify"]["sites"][0]["id"]);
    let settings = json!({ "build_settings": settings });
    netlify(world, Method::PATCH, &format!("/sites/{site}"), settings).await;
}

fn repository(world: &World) -> Value {
    world.state()["github"]["repositories"][0].clone()
}

async fn remove_key(world: &World) {
    let path = format!(
        "/repos/acme/docs/keys/{}",
        repository(world)["keys"][0]["id"]
    );
    world.github(Method::DELETE, &path, None).await;
}

fn hook(world: &World) -> String {
    format!(
        "/repos/acme/docs/hooks/{}",
        repository(world)["hooks"][0]["id"]
    )
}

async fn remove_hook(world: &World) {
    world.github(Method::DELETE, &hook(world), None).await;
}

async fn change_hook(world: &World, change: Value) {
    world
        .github(Method::PATCH, &hook(world), Some(change))
        .await;
}

/// The site forgets what it clones with, as sites do that were linked halfway.
fn lose_clone_key(world: &World) {
    let mut netlify = world.sandbox.world().netlify.lock();
    let mut sites = netlify.sites.values_mut();
    let repo = sites.next().and_then(|site| site.repo.as_mut());
    repo.expect("an attached repository").deploy_key_id = None;
}

async fn ask(world: &World, id: &str, verb: &str) -> Answer {
    let path = format!("/links/{id}/{verb}");
    world
        .client
        .send(Method::POST, &path, |request| request)
        .await
}

/// Has the link looked at; what it is like when that, and what follows from it, is over.
async fn checked(world: &World, id: &str) -> Value {
    let asked = ask(world, id, "check").await.expect(202);
    assert!(asked.body["poll_after_ms"].is_number(), "{}", asked.text);
    world.client.settled(id).await
}

async fn heal(world: &World, id: &str, what: Value) -> Value {
    let path = format!("/links/{id}/heal");
    let asked = world.client.post(&path, json!({ "drift": what })).await;
    asked.expect(202);
    world.client.settled(id).await
}

fn kinds(link: &Value) -> Vec<String> {
    let drift = link["drift"].as_array().cloned().unwrap_or_default();
    drift.iter().map(|drift| text(&drift["kind"])).collect()
}

async fn events(world: &World, id: &str, kind: &str) -> Vec<Value> {
    let mut events = Vec::new();
    let mut path = format!("/links/{id}/events?limit=100");
    loop {
        let page = world.client.get(&path).await.expect(200).body;
        let these = page["events"].as_array().expect("events").clone();
        if these.is_empty() {
            return events;
        }
        events.extend(these.into_iter().filter(|it| it["type"] == kind));
        let cursor = text(&page["next_cursor"]);
        path = format!("/links/{id}/events?limit=100&cursor={cursor}");
    }
}

/// The link is live, and a push shows that it is.
async fn builds_pushes(world: &World, link: &Value, words: &str) {
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(kinds(link), [""; 0], "{link:#}");
    world.push("docs", words).await;
    until("the push to be on the site", async || {
        world.page("acme-docs").await.contains(words).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_look_that_finds_nothing_new_changes_nothing() {
    let setup = Setup {
        settings: vec![("LINKBROKER_INSPECT_SECONDS", "1".to_owned())],
        ..Setup::default()
    };
    let world = World::with(setup).await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    let path = format!("/links/{id}/drift");
    let first = until("a first look", async || {
        let drift = world.client.get(&path).await.expect(200).body;
        drift.get("checked_at").is_some().then_some(drift)
    })
    .await;
    assert_eq!(
        (&first["policy"], &first["drift"]),
        (&json!("heal"), &json!([]))
    );
    until("a second look", async || {
        let drift = world.client.get(&path).await.expect(200).body;
        (drift["checked_at"] != first["checked_at"]).then_some(())
    })
    .await;
    let now = world.client.read(&id).await;
    assert_eq!(now["version"], link["version"]);
    assert_eq!(now["updated_at"], link["updated_at"]);
    let in_sync = now["conditions"].as_array().expect("conditions").last();
    let in_sync = in_sync.expect("a condition");
    assert_eq!(
        (&in_sync["type"], &in_sync["status"]),
        (&json!("InSync"), &json!("true"))
    );
    assert!(world.sandbox.violations().is_empty());
}

#[tokio::test]
async fn a_look_is_one_read_at_netlify_and_what_has_not_changed_is_free_at_github() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    let look = async || {
        let before = world.sandbox.calls().len();
        checked(&world, &id).await;
        let calls = world.sandbox.calls().split_off(before);
        let about = calls
            .into_iter()
            .filter(|call| !call.path.ends_with("/user"));
        let about = about.map(|call| (call.upstream, call.status));
        let mut about: Vec<_> = about.collect();
        about.sort();
        about
    };
    use linkbroker_sandbox::Upstream::{Github, Netlify};
    let ok = |upstream| (upstream, Some(200));
    let first = look().await;
    assert_eq!(first, [ok(Netlify), ok(Github), ok(Github), ok(Github)]);
    let unchanged = (Github, Some(304));
    assert_eq!(look().await, [ok(Netlify), unchanged, unchanged, unchanged]);
    // What is told apart from nothing: a change is seen.
    remove_key(&world).await;
    assert_eq!(checked(&world, &id).await["status"], "live");
    assert_eq!(events(&world, &id, "link.healed").await.len(), 1);
}

#[tokio::test]
async fn what_linkbroker_placed_is_put_back_by_itself_and_pushes_build_again() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    let url = &repository(&world)["hooks"][0]["config"]["url"];
    let form = json!({"content_type": "form", "url": url});
    for (kind, how) in [
        ("key_missing", ""),
        ("webhook_missing", ""),
        ("webhook_disabled", ""),
        ("webhook_changed", "form"),
        ("webhook_changed", "address"),
        ("clone_key_missing", ""),
    ] {
        match (kind, how) {
            ("key_missing", _) => remove_key(&world).await,
            ("webhook_missing", _) => remove_hook(&world).await,
            ("webhook_disabled", _) => change_hook(&world, json!({"active": false})).await,
            ("webhook_changed", "form") => {
                change_hook(&world, json!({"events": ["push"], "config": form})).await;
            }
            ("webhook_changed", _) => {
                let config = json!({"config": {"url": ELSEWHERE, "content_type": "json"}});
                change_hook(&world, config).await;
            }
            _ => lose_clone_key(&world),
        }
        let healed = checked(&world, &id).await;
        builds_pushes(&world, &healed, &format!("after {kind} {how}")).await;
        let told = events(&world, &id, "link.healed").await;
        let last = told.last().expect("an event");
        assert_eq!(last["detail"]["kinds"], json!([kind]), "{healed:#}");
        assert!(healed["verification"]["level"].as_u64() >= Some(2));
    }
    let told = events(&world, &id, "link.drifted").await;
    assert_eq!(told.len(), 6);
    let moved = text(&told[4]["detail"]["drift"][0]);
    assert!(moved.contains(ELSEWHERE), "{moved}");
    let repository = repository(&world);
    assert_eq!(repository["keys"].as_array().map(Vec::len), Some(1));
    // What somebody has pointed elsewhere is somebody's by now.
    let hooks = repository["hooks"].as_array().expect("webhooks").iter();
    let addresses: Vec<_> = hooks.map(|hook| text(&hook["config"]["url"])).collect();
    assert_eq!(addresses, [ELSEWHERE, url.as_str().expect("an address")]);
    assert!(world.sandbox.violations().is_empty());
    let unlinked = world.client.unlink(&id, "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    assert_eq!(world.count("webhooks").1, 1);
    assert_eq!(world.count("installed_keys").1, 0);
}

/// The webhooks that a link has met: their ids, and what became of them.
fn webhooks(link: &Value) -> Vec<(String, String)> {
    let resources = link["resources"].as_array().expect("resources").iter();
    let webhooks = resources.filter(|it| it["kind"] == "webhook");
    webhooks
        .map(|it| (text(&it["id"]), text(&it["receipt"])))
        .collect()
}

/// Does something to a webhook that a link knows by this id, as somebody with the provider's pages.
fn with_hook<T>(world: &World, way: &Way, id: &str, act: impl FnOnce(&mut Hook) -> T) -> T {
    let mut state = way.forge(world).lock();
    let mut hooks = state.repositories.values_mut().flat_map(|it| &mut it.hooks);
    let is_it = |hook: &&mut Hook| {
        hook.id.to_string() == id || id.trim_matches(['{', '}']) == hook.uuid.to_string()
    };
    act(hooks.find(is_it).expect("the webhook"))
}

/// Makes another webhook of the same kind, as somebody does; its id.
fn put_beside(world: &World, way: &Way, hook: Hook) -> u64 {
    let mut state = way.forge(world).lock();
    let id = state.next_id();
    let mut repositories = state.repositories.values_mut();
    let repository = repositories.next().expect("the repository");
    let uuid = Uuid::new_v4();
    repository.hooks.push(Hook { id, uuid, ..hook });
    id
}

#[tokio::test]
async fn a_webhook_of_ours_is_switched_on_again_though_somebody_has_one_beside_it() {
    for way in [Way::GITLAB, Way::GITEA, Way::BITBUCKET, Way::AZURE_STANDING] {
        let world = way.world().await;
        let mut request = way.request(&world);
        request["drift"] = json!("report");
        let id = world.client.link(request).await;
        let link = way.go_on(&world, &id).await;
        assert_eq!(link["status"], "live", "{}: {link:#}", way.name);
        let ours = webhooks(&link);
        let switched_off = |hook: &mut Hook| {
            match way.provider {
                // It has no switch and gives up after failures.
                Provider::Gitlab => hook.failures = 40,
                _ => hook.active = false,
            }
        };
        let before = with_hook(&world, &way, &ours[0].0, |hook| hook.clone());
        with_hook(&world, &way, &ours[0].0, switched_off);
        let told = checked(&world, &id).await;
        assert_eq!(kinds(&told), ["webhook_disabled"], "{}: {told:#}", way.name);
        let stays = json!(put_beside(&world, &way, before));
        world.client.retry(&id).await;
        let mended = way.go_on(&world, &id).await;
        assert_eq!(webhooks(&mended), ours, "{}: {mended:#}", way.name);
        let told = checked(&world, &id).await;
        assert_eq!(told["status"], "live", "{}: {told:#}", way.name);
        assert_eq!(kinds(&told), ["webhook_doubled"], "{}: {told:#}", way.name);
        let is_on = |hook: &mut Hook| hook.active && hook.failures == 0;
        assert!(with_hook(&world, &way, &ours[0].0, is_on), "{}", way.name);

        let unlinked = world.client.unlink(&id, "").await;
        let deleted = (ours[0].0.clone(), "deleted".to_owned());
        assert_eq!(webhooks(&unlinked), [deleted], "{}", way.name);
        let left = way.repository(&world)["hooks"].clone();
        let left = left.as_array().expect("webhooks").iter();
        let left: Vec<_> = left.map(|hook| hook["id"].clone()).collect();
        assert_eq!(left, [stays], "{}", way.name);
    }
}

#[tokio::test]
async fn the_receipt_tells_whether_a_webhook_was_pointed_elsewhere_or_was_gone() {
    for way in [
        Way::GITHUB,
        Way::GITLAB,
        Way::GITEA,
        Way::BITBUCKET,
        Way::AZURE_STANDING,
    ] {
        let world = way.world().await;
        let id = text(&way.link(&world).await["id"]);
        let mut fates = Vec::new();
        for (is_gone, receipt) in [(false, "kept_foreign"), (true, "already_gone")] {
            let link = world.client.read(&id).await;
            let ours = webhooks(&link).pop().expect("a webhook").0;
            match (way.provider, is_gone) {
                (Provider::Github, true) => {
                    let path = format!("/repos/acme/docs/hooks/{ours}");
                    world.github(Method::DELETE, &path, None).await;
                }
                (Provider::Github, false) => {
                    let config = json!({"config": {"url": ELSEWHERE, "content_type": "json"}});
                    change_hook(&world, config).await;
                }
                (_, true) => {
                    let hook = with_hook(&world, &way, &ours, |hook| hook.id);
                    let mut state = way.forge(&world).lock();
                    let repositories = state.repositories.values_mut();
                    repositories.for_each(|it| it.hooks.retain(|it| it.id != hook));
                }
                (_, false) => {
                    with_hook(&world, &way, &ours, |hook| hook.url = ELSEWHERE.to_owned())
                }
            }
            checked(&world, &id).await;
            let healed = way.go_on(&world, &id).await;
            assert_eq!(healed["status"], "live", "{}: {healed:#}", way.name);
            fates.push((ours, receipt.to_owned()));
            let met = webhooks(&healed);
            assert_eq!(met[..met.len() - 1], fates, "{}: {healed:#}", way.name);
            assert_eq!(met[met.len() - 1].1, "", "{}: {healed:#}", way.name);
        }
    }
}

#[tokio::test]
async fn what_people_changed_on_purpose_is_told_and_stays_until_somebody_asks() {
    let world = World::with(Setup {
        settings: vec![("LINKBROKER_PROOF_SECONDS", "5".to_owned())],
        ..Setup::default()
    })
    .await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    let changed = json!({
        "branch": "next", "repo_branch": "next", "cmd": "make", "dir": "public",
        "allowed_branches": ["next"], "stop_builds": true
    });
    change_site(&world, changed.clone()).await;
    let told = checked(&world, &id).await;
    assert_eq!(told["status"], "degraded", "{told:#}");
    assert_eq!(
        kinds(&told),
        [
            "branch_changed",
            "builds_stopped",
            "build_command_changed",
            "build_publish_changed",
            "allowed_branches_changed"
        ]
    );
    let command = &told["drift"][2];
    assert_eq!(
        (&command["field"], &command["expected"], &command["found"]),
        (
            &json!("build.command"),
            &json!("sh build.sh"),
            &json!("make")
        )
    );
    assert_eq!(command["healable"], "on_request");
    assert_eq!(told["diagnosis"]["code"], "drifted");
    // Nor does a retry overwrite it.
    world.client.retry(&id).await;
    let settings = |world: &World| world.state()["netlify"]["sites"][0]["build_settings"].clone();
    for (field, value) in changed.as_object().expect("fields") {
        assert_eq!(settings(&world)[field], *value, "{field}");
    }

    let path = format!("/links/{id}/heal");
    let strange = world
        .client
        .post(&path, json!({"drift": ["branch_changed", "site_gone"]}))
        .await
        .expect(422);
    assert_eq!(strange.body["errors"][0]["pointer"], "/drift/1");
    let some = heal(&world, &id, json!(["branch_changed", "builds_stopped"])).await;
    assert_eq!(some["status"], "degraded", "{some:#}");
    assert_eq!(settings(&world)["repo_branch"], "main");
    assert_eq!(settings(&world)["cmd"], "make");
    let healed = heal(&world, &id, json!("all")).await;
    builds_pushes(&world, &healed, "words after all").await;
    assert_eq!(settings(&world)["cmd"], "sh build.sh");
    assert_eq!(checked(&world, &id).await["status"], "live");
    let none = world.client.post(&path, json!({"drift": "all"})).await;
    assert_eq!(none.expect(409).code(), "illegal_transition");
    assert!(world.sandbox.violations().is_empty());
}

#[tokio::test]
async fn a_link_that_only_reports_is_degraded_until_the_drift_is_gone() {
    let world = World::usual().await;
    let link = world.client.link_settled(reporting()).await;
    let id = text(&link["id"]);
    assert_eq!(link["request"]["drift"], "report");
    change_hook(&world, json!({"active": false})).await;
    let told = checked(&world, &id).await;
    assert_eq!(told["status"], "degraded", "{told:#}");
    assert_eq!(kinds(&told), ["webhook_disabled"]);
    let again = checked(&world, &id).await;
    assert_eq!(again["drift"], told["drift"]);
    let filtered = world.client.get("/links?condition=InSync:false").await;
    assert_eq!(filtered.expect(200).body["links"][0]["id"], json!(id));

    change_hook(&world, json!({"active": true})).await;
    let live = checked(&world, &id).await;
    assert_eq!(live["status"], "live", "{live:#}");
    assert!(live["diagnosis"].is_null());
    assert_eq!(events(&world, &id, "link.drift_gone").await.len(), 1);
    assert_eq!(events(&world, &id, "link.healed").await.len(), 0);
}

#[tokio::test]
async fn the_policy_is_changed_at_the_link_and_where_it_is_put() {
    let world = World::usual().await;
    let put = async |policy: &str| {
        let mut request = docs();
        request["drift"] = json!(policy);
        let answer = world
            .client
            .send(Method::PUT, "/links/by-ref/docs", |call| {
                call.json(&request)
            });
        answer.await
    };
    let link = put("report").await.expect(202).body;
    let id = text(&link["id"]);
    world.client.settled(&id).await;
    remove_hook(&world).await;
    assert_eq!(kinds(&checked(&world, &id).await), ["webhook_missing"]);
    let changed = put("heal").await.expect(200).body;
    assert_eq!(changed["request"]["drift"], "heal");
    let healed = checked(&world, &id).await;
    builds_pushes(&world, &healed, "words after the change").await;

    let path = format!("/links/{id}/drift");
    let set = async |policy: &str| {
        let change = json!({ "policy": policy });
        let set = world
            .client
            .send(Method::PATCH, &path, |it| it.json(&change));
        set.await
    };
    let before = world.client.read(&id).await["version"].clone();
    let same = set("heal").await.expect(200);
    assert_eq!(same.body["policy"], "heal");
    assert_eq!(world.client.read(&id).await["version"], before);
    let changed = set("report").await.expect(200);
    assert_eq!(changed.body["policy"], "report");
    assert_eq!(set("ignore").await.expect(422).code(), "invalid_request");
    remove_hook(&world).await;
    let told = checked(&world, &id).await;
    assert_eq!(kinds(&told), ["webhook_missing"]);
    assert_eq!(told["request"]["drift"], "report");
    let by = events(&world, &id, "link.drift_policy_changed").await;
    assert_eq!(by.len(), 2);
    world.client.unlink(&id, "").await;
    assert_eq!(set("heal").await.expect(409).code(), "illegal_transition");
}

#[tokio::test]
async fn a_look_that_is_asked_for_while_another_is_under_way_comes_after_it() {
    let world = World::usual().await;
    let id = text(&world.client.link_settled(reporting()).await["id"]);
    // What the first one reads is true for a moment, and told late; the second one takes longer than that.
    for (nth, late_ms) in [(1, 1500), (2, 3000)] {
        world.fault(json!({"upstream": "github", "method": "GET", "path": "/hooks", "nth": nth, "fault": {"late_ms": late_ms}}));
    }
    let before = world.sandbox.calls().len();
    ask(&world, &id, "check").await.expect(202);
    until("the first look to be under way", async || {
        (world.sandbox.calls().len() > before).then_some(())
    })
    .await;
    remove_hook(&world).await;
    ask(&world, &id, "check").await.expect(202);
    let looked_at = world.client.settled(&id).await;
    assert_eq!(kinds(&looked_at), ["webhook_missing"], "{looked_at:#}");
    // The first one tells what it has seen all the same.
    let found = events(&world, &id, "link.checked").await.into_iter();
    let found: Vec<_> = found
        .map(|event| event["detail"]["drift"].clone())
        .collect();
    assert_eq!(found, [0, 1]);
}

#[tokio::test]
async fn who_waits_for_a_look_hears_that_nothing_could_be_seen() {
    let world = World::usual().await;
    let id = text(&world.client.link_settled(docs()).await["id"]);
    world.fault(json!({"upstream": "github", "path": "/hooks", "fault": {"delay_ms": 1000}}));
    world.fault(json!({"upstream": "github", "path": "/docs$", "times": 100, "fault": {"status": 503, "body": "down"}}));
    let asked = ask(&world, &id, "check").await.expect(202);
    let version = asked.body["version"].as_i64().expect("a version");
    let path = format!("/links/{id}?wait=20&after={version}");
    let told = world.client.get(&path).await.expect(200).body;
    assert!(told["version"].as_i64() > Some(version), "{told:#}");
    assert_eq!(
        events(&world, &id, "link.check_failed").await.len(),
        1,
        "{told:#}"
    );
}

#[tokio::test]
async fn a_repository_that_cannot_be_worked_with_is_told_and_left_alone() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    let at = || (linkbroker_sandbox::Provider::Github, "acme/docs").into();
    admin::archive(world.sandbox.world(), &at(), true).expect("an archive");
    let archived = checked(&world, &id).await;
    assert_eq!(archived["status"], "degraded", "{archived:#}");
    assert_eq!(kinds(&archived), ["repository_archived"]);
    admin::archive(world.sandbox.world(), &at(), false).expect("no archive");
    assert_eq!(checked(&world, &id).await["status"], "live");

    // Somebody else's repository under the old name must not get our key.
    admin::rename(world.sandbox.world(), &at(), "acme/elsewhere").expect("a rename");
    let new = NewRepository {
        name: "docs".to_owned(),
        template: Some("site".to_owned()),
        ..NewRepository::default()
    };
    world.sandbox.create_repository(new).await.expect("another");
    let before = world.count("installed_keys");
    let replaced = checked(&world, &id).await;
    assert_eq!(replaced["status"], "degraded", "{replaced:#}");
    assert_eq!(replaced["drift"][0]["kind"], "repository_replaced");
    let healable = |drift: &Value| drift["healable"] != "no";
    let drift = replaced["drift"].as_array().expect("drift");
    assert!(!drift.iter().any(healable), "{replaced:#}");
    assert_eq!(world.count("installed_keys"), before);
}

#[tokio::test]
async fn a_site_that_is_gone_is_told() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    let site = format!("/sites/{}", text(&link["site"]["id"]));
    netlify(&world, Method::DELETE, &site, json!({})).await;
    let gone = checked(&world, &id).await;
    assert_eq!(gone["status"], "degraded", "{gone:#}");
    assert_eq!(kinds(&gone), ["site_gone"]);
    assert_eq!(gone["drift"][0]["healable"], "no");
}

#[tokio::test]
async fn a_site_that_was_detached_by_hand_stays_so_until_somebody_asks() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    let site = format!("/sites/{}", text(&link["site"]["id"]));
    netlify(
        &world,
        Method::PUT,
        &format!("{site}/unlink_repo"),
        json!({}),
    )
    .await;
    let told = checked(&world, &id).await;
    assert_eq!(told["status"], "degraded", "{told:#}");
    assert_eq!(kinds(&told), ["site_unlinked"]);
    let healed = heal(&world, &id, json!(["site_unlinked"])).await;
    builds_pushes(&world, &healed, "words after the detour").await;
    // Netlify had deleted the key with the attachment: there is a new one, and nothing is left of the old.
    assert_eq!(world.count("installed_keys"), (2, 1));
    assert_eq!(world.count("deploy_keys").1, 1);
    let other = json!({"repo": {"provider": "github", "repo": "acme/other", "repo_path": "acme/other",
                                "id": 1, "branch": "main", "repo_branch": "main"}});
    netlify(&world, Method::PATCH, &site, other).await;
    let told = checked(&world, &id).await;
    assert_eq!(kinds(&told), ["site_relinked"]);
    let healed = heal(&world, &id, json!("all")).await;
    builds_pushes(&world, &healed, "words after another repository").await;
    let unlinked = world.client.unlink(&id, "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    assert_eq!(
        world.count("deploy_keys").1 + world.count("installed_keys").1,
        0
    );
}

#[tokio::test]
async fn a_repository_with_another_name_is_attached_under_it() {
    for way in [Way::GITHUB, Way::GITLAB, Way::BITBUCKET, Way::AZURE_BY_API] {
        let world = way.world().await;
        let link = way.link(&world).await;
        assert_eq!(link["status"], "live", "{}: {link:#}", way.name);
        let id = text(&link["id"]);
        way.rename(&world, way.moved);
        let healed = checked(&world, &id).await;
        assert_eq!(healed["status"], "live", "{}: {healed:#}", way.name);
        let told = events(&world, &id, "link.healed").await;
        assert_eq!(told.len(), 1, "{}: {healed:#}", way.name);
        assert_eq!(told[0]["detail"]["kinds"], json!(["repository_renamed"]));
        way.push(&world, &format!("words under the new name at {}", way.name))
            .await;
        let again = checked(&world, &id).await;
        assert_eq!(kinds(&again), [""; 0], "{}: {again:#}", way.name);
    }
}

#[tokio::test]
async fn the_end_of_a_credential_is_announced_while_the_link_is_live() {
    let world = World::empty(Setup::default()).await;
    world.repository("docs").await;
    let ends = time::OffsetDateTime::now_utc() + time::Duration::days(2);
    let token = json!({"token": "ends-soon", "login": "acme", "expires_at": ends.unix_timestamp(),
                       "everywhere": "admin"});
    let token = serde_json::from_value(token).expect("a token's description");
    linkbroker_sandbox::github::add_token(world.sandbox.world(), token).expect("a token");
    world
        .connect_with(&world.client, NETLIFY_TOKEN, "ends-soon")
        .await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    // The first look has the connection checked, the second one knows the end.
    let told = until("the end to be told", async || {
        let told = checked(&world, &id).await;
        (!kinds(&told).is_empty()).then_some(told)
    })
    .await;
    assert_eq!(told["status"], "live", "{told:#}");
    assert_eq!(kinds(&told), ["provider_credential_expiring"]);
    let found = text(&told["drift"][0]["found"]);
    assert!(found.ends_with("in less than 3 days"), "{found}");
    checked(&world, &id).await;
    assert_eq!(events(&world, &id, "link.drifted").await.len(), 1);
}
