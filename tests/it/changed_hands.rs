//! A repository was renamed, and another one has taken its name: what the link made stays on the first, and nothing of ours
//! gets onto the second. At GitHub and Gitea, which know repositories by their names.

use linkbroker_sandbox::{Place, Provider, admin};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Answer, Way, World, receipts, text};

const WAYS: [Way; 3] = [Way::GITHUB, Way::GITHUB_APP, Way::GITEA];
/// The link's repository is in the way of nobody there.
const ELSEWHERE: &str = "acme/elsewhere";

/// A link that is live, and its id.
async fn linked(way: &Way) -> (World, Value, String) {
    let world = way.world().await;
    let link = way.link(&world).await;
    assert_eq!(link["status"], "live", "{}: {link:#}", way.name);
    let id = text(&link["id"]);
    (world, link, id)
}

async fn ask(world: &World, id: &str, verb: &str) -> Answer {
    let path = format!("/links/{id}/{verb}");
    let asked = world.client.send(Method::POST, &path, |it| it).await;
    asked.expect(202)
}

async fn settled_after(world: &World, id: &str, verb: &str) -> Value {
    ask(world, id, verb).await;
    world.client.settled(id).await
}

/// Renames the link's repository, and has somebody make another one under its name.
async fn hand_over(way: &Way, world: &World) {
    way.rename(world, ELSEWHERE);
    way.make_repository(world).await;
}

/// The other repository goes by another name, and the link's has its own again.
fn give_back(way: &Way, world: &World) {
    let theirs: Place = (way.provider, way.path).into();
    admin::rename(world.sandbox.world(), &theirs, "acme/theirs").expect("a rename");
    way.rename(world, way.path);
}

/// Keys and webhooks of the link's repository and of the one that took its name.
fn placed(way: &Way, world: &World) -> [Value; 2] {
    let repositories = world.state()[way.provider.word()]["repositories"].clone();
    [0, 1].map(|number| {
        let repository = &repositories[number];
        json!({"keys": ids(&repository["keys"]), "hooks": ids(&repository["hooks"])})
    })
}

/// What can be changed of the other repository.
fn strangers(way: &Way, world: &World) -> Value {
    let repository = world.state()[way.provider.word()]["repositories"][1].clone();
    let hooks = repository["hooks"].as_array().into_iter().flatten();
    let hooks = hooks.map(|it| json!([it["id"], it["active"], it["events"]]));
    json!({"keys": repository["keys"], "hooks": hooks.collect::<Vec<_>>()})
}

fn ids(objects: &Value) -> Vec<String> {
    let objects = objects.as_array().into_iter().flatten();
    objects.map(|it| it["id"].to_string()).collect()
}

fn kinds(link: &Value) -> Vec<String> {
    let drift = link["drift"].as_array().into_iter().flatten();
    drift.map(|drift| text(&drift["kind"])).collect()
}

#[tokio::test]
async fn an_unlink_says_what_is_left_and_ends_once_the_name_is_back() {
    for way in WAYS {
        let (world, _, id) = linked(&way).await;
        hand_over(&way, &world).await;
        let before = placed(&way, &world);

        let stuck = world.client.unlink(&id, "").await;
        assert_eq!(
            stuck["status"], "action_required",
            "{}: {stuck:#}",
            way.name
        );
        assert_eq!(stuck["diagnosis"]["code"], "repository_replaced");
        assert_eq!(stuck["diagnosis"]["retryable"], true);
        let gone = |(_, receipt): &(String, String)| receipt == "already_gone";
        assert!(
            !receipts(&stuck).iter().any(gone),
            "{}: {stuck:#}",
            way.name
        );
        let evidence = stuck["diagnosis"]["evidence"].to_string();
        let [ours, _] = &before;
        let number = way.repository(&world)["id"].to_string();
        for (kind, ids) in [
            ("installed_key", &ours["keys"]),
            ("webhook", &ours["hooks"]),
        ] {
            let line = format!("{kind} {}: repository {number},", text(&ids[0]));
            assert!(evidence.contains(&line), "{}: {evidence}", way.name);
        }
        assert_eq!(placed(&way, &world), before, "{}", way.name);

        give_back(&way, &world);
        let over = world.client.retry(&id).await;
        assert_eq!(over["status"], "unlinked", "{}: {over:#}", way.name);
        for kind in ["deploy_keys", "installed_keys", "webhooks", "sites"] {
            assert_eq!(world.count(kind), (1, 0), "{}: {kind}", way.name);
        }
        let receipts = receipts(&over);
        for kind in ["installed_key", "webhook"] {
            let deleted = (kind.to_owned(), "deleted".to_owned());
            assert!(receipts.contains(&deleted), "{}: {receipts:?}", way.name);
        }
    }
}

#[tokio::test]
async fn another_key_is_not_placed_with_a_stranger_and_the_link_keeps_its_own() {
    for way in WAYS {
        let (world, link, id) = linked(&way).await;
        hand_over(&way, &world).await;
        let before = placed(&way, &world);
        let told = settled_after(&world, &id, "check").await;
        assert_eq!(told["drift"][0]["kind"], "repository_replaced", "{told:#}");

        let kept = settled_after(&world, &id, "rotate-key").await;
        assert_eq!(placed(&way, &world), before, "{}: {kept:#}", way.name);
        let failure = &kept["key_rotation"]["failure"];
        assert_eq!(
            failure["code"], "repository_replaced",
            "{}: {kept:#}",
            way.name
        );
        assert_eq!(kept["status"], "degraded", "{}: {kept:#}", way.name);
        assert_eq!(kinds(&kept), kinds(&told), "{}: {kept:#}", way.name);
        assert_eq!(kept["build"], link["build"], "{}", way.name);
        // Not even for a while.
        assert_eq!(world.count("installed_keys"), (1, 1), "{}", way.name);
        assert_eq!(world.count("deploy_keys").1, 1, "{}", way.name);

        give_back(&way, &world);
        let live = settled_after(&world, &id, "check").await;
        assert_eq!(live["status"], "live", "{}: {live:#}", way.name);
        way.push(&world, "words with the key that it kept").await;
    }
}

#[tokio::test]
async fn what_is_missing_is_not_put_back_at_a_strangers() {
    for way in WAYS {
        let world = way.world().await;
        let mut request = way.request(&world);
        request["drift"] = json!("report");
        request["verify"] = json!("build");
        let link = world.client.link_settled(request).await;
        assert_eq!(link["status"], "live", "{}: {link:#}", way.name);
        let id = text(&link["id"]);
        let hook = way.repository(&world)["hooks"][0].clone();
        let url = hook["config"].get("url").unwrap_or(&hook["url"]);
        let [ours, _] = placed(&way, &world);
        for (kind, ids) in [("keys", &ours["keys"]), ("hooks", &ours["hooks"])] {
            let path = format!("/repos/{}/{kind}/{}", way.path, text(&ids[0]));
            person(&way, &world, Method::DELETE, &path, None).await;
        }
        let told = settled_after(&world, &id, "check").await;
        assert_eq!(kinds(&told), ["key_missing", "webhook_missing"], "{told:#}");
        hand_over(&way, &world).await;
        // The other one's people have a webhook to Netlify too, and have switched it off.
        let theirs = json!({"name": "web", "type": "gitea", "active": false, "events": ["push"],
                            "config": {"url": url, "content_type": "json"}});
        let path = format!("/repos/{}/hooks", way.path);
        person(&way, &world, Method::POST, &path, Some(theirs)).await;
        let theirs = strangers(&way, &world);

        let all = json!({"drift": "all"});
        let asked = world.client.post(&format!("/links/{id}/heal"), all).await;
        asked.expect(202);
        let stopped = world.client.settled(&id).await;
        assert_eq!(strangers(&way, &world), theirs, "{}: {stopped:#}", way.name);
        assert_eq!(stopped["status"], "degraded", "{}: {stopped:#}", way.name);
        assert_eq!(
            stopped["diagnosis"]["code"], "repository_replaced",
            "{}: {stopped:#}",
            way.name
        );

        give_back(&way, &world);
        let healed = world.client.retry(&id).await;
        assert_eq!(healed["status"], "live", "{}: {healed:#}", way.name);
        way.push(&world, "words after the name was back").await;
    }
}

#[tokio::test]
async fn a_repository_that_only_has_another_name_gets_another_key_and_is_let_go_of() {
    for way in WAYS {
        let (world, _, id) = linked(&way).await;
        way.rename(&world, ELSEWHERE);
        let rotated = settled_after(&world, &id, "rotate-key").await;
        assert!(
            rotated["key_rotation"].is_object() && rotated["key_rotation"]["failure"].is_null(),
            "{}: {rotated:#}",
            way.name
        );
        assert_eq!(world.count("installed_keys"), (2, 1), "{}", way.name);
        let over = world.client.unlink(&id, "").await;
        assert_eq!(over["status"], "unlinked", "{}: {over:#}", way.name);
        for kind in ["deploy_keys", "installed_keys", "webhooks", "sites"] {
            assert_eq!(world.count(kind).1, 0, "{}: {kind}", way.name);
        }
    }
}

/// A call that a person makes at the provider.
async fn person(way: &Way, world: &World, method: Method, path: &str, body: Option<Value>) {
    let (url, token) = match way.kind {
        "gitea" => (world.sandbox.gitea_url(), linkbroker_sandbox::GITEA_TOKEN),
        _ => (world.sandbox.github_url(), linkbroker_sandbox::GITHUB_TOKEN),
    };
    let call = reqwest::Client::new().request(method, format!("{url}{path}"));
    let call = call.bearer_auth(token).header("user-agent", "somebody");
    let call = match body {
        Some(body) => call.json(&body),
        None => call,
    };
    let answer = call.send().await.expect("an answer of the sandbox");
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
}

#[tokio::test]
async fn what_went_with_a_deleted_repository_is_gone_although_another_has_its_name() {
    for way in WAYS {
        let (world, _, id) = linked(&way).await;
        match way.provider {
            Provider::Github => world.sandbox.world().github.lock().repositories.clear(),
            _ => way.forge(&world).lock().repositories.clear(),
        }
        way.make_repository(&world).await;
        let over = world.client.unlink(&id, "").await;
        assert_eq!(over["status"], "unlinked", "{}: {over:#}", way.name);
        let receipts = receipts(&over);
        for kind in ["installed_key", "webhook"] {
            let gone = (kind.to_owned(), "already_gone".to_owned());
            assert!(receipts.contains(&gone), "{}: {receipts:?}", way.name);
        }
        assert_eq!(world.count("deploy_keys").1, 0, "{}", way.name);
    }
}
