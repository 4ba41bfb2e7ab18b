//! Links that cannot be: each refusal has its name, and comes before anybody could see an effect.

use linkbroker_sandbox::github::{NewRepository, archive, set_deploy_keys_enabled};
use linkbroker_sandbox::netlify;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, docs, text, until};

/// No site, webhook or key at the provider was ever made.
fn assert_nothing_visible(world: &World) {
    for kind in ["installed_keys", "webhooks", "sites", "builds"] {
        assert_eq!(world.count(kind), (0, 0), "{kind}");
    }
}

fn assert_stands(link: &Value, status: &str, code: &str) {
    assert_eq!(link["status"], status, "{link:#}");
    assert_eq!(link["diagnosis"]["code"], code, "{link:#}");
    for word in ["title", "detail", "remedy"] {
        assert_ne!(link["diagnosis"][word], "", "{word}");
    }
}

#[tokio::test]
async fn a_token_without_admin_rights_touches_nothing_and_its_key_serves_the_next_link() {
    let world = World::empty(Default::default()).await;
    world.repository("docs").await;
    world.github_token("reader", json!({"acme/docs": "read"}));
    let netlify = linkbroker_sandbox::NETLIFY_TOKEN;
    world.connect_with(&world.client, netlify, "reader").await;

    let link = world.client.link_settled(docs()).await;
    assert_stands(&link, "action_required", "admin_required");
    assert_eq!(link["diagnosis"]["fault"], "caller");
    assert_nothing_visible(&world);
    assert_eq!(world.count("deploy_keys"), (1, 1));

    world.github_token("reader", json!({"acme/docs": "admin"}));
    let mut other = docs();
    other["site"]["name"] = json!("acme-docs-2");
    let next = world.client.link_settled(other).await;
    assert_eq!(next["status"], "live", "{next:#}");
    assert_eq!(world.count("deploy_keys"), (1, 1));

    let healed = world.client.retry(&text(&link["id"])).await;
    assert_eq!(healed["status"], "live", "{healed:#}");
    assert_eq!(world.count("deploy_keys"), (2, 2));
}

#[tokio::test]
async fn repositories_that_cannot_be_linked_are_named() {
    let world = World::usual().await;
    for (name, archived) in [("old", true), ("empty", false)] {
        let new = NewRepository {
            name: name.to_owned(),
            template: archived.then(|| "site".to_owned()),
            archived,
            ..NewRepository::default()
        };
        world
            .sandbox
            .create_repository(new)
            .await
            .expect("a repository");
    }
    let cases = [
        ("none", None, "repository_not_found_or_no_access"),
        ("old", None, "repository_archived"),
        ("empty", None, "repository_empty"),
        ("docs", Some("absent"), "branch_missing"),
    ];
    for (name, branch, code) in cases {
        let repository = format!("https://github.com/acme/{name}");
        let request = json!({"repository": repository, "branch": branch});
        let link = world.client.link_settled(request).await;
        assert_stands(&link, "failed", code);
    }
    assert_nothing_visible(&world);
    // The key of the first served all the others.
    assert_eq!(world.count("deploy_keys"), (1, 1));
}

#[tokio::test]
async fn an_archived_repository_can_be_linked_once_it_is_back() {
    let world = World::usual().await;
    archive(world.sandbox.world(), "acme/docs", true).expect("a repository");
    let link = world.client.link_settled(docs()).await;
    assert_stands(&link, "failed", "repository_archived");

    archive(world.sandbox.world(), "acme/docs", false).expect("a repository");
    let healed = world.client.retry(&text(&link["id"])).await;
    assert_eq!(healed["status"], "live", "{healed:#}");
}

#[tokio::test]
async fn credentials_that_are_refused_are_named_and_can_be_replaced() {
    let world = World::empty(Default::default()).await;
    world.repository("docs").await;
    world
        .connect_with(&world.client, "wrong-netlify-token", "wrong-github-token")
        .await;
    for text_401 in [false, true] {
        let patch = json!({"netlify": {"text_401": text_401}});
        world.sandbox.patch_switches(&patch).expect("a switch");
        let request = json!({"repository": "https://github.com/acme/docs"});
        let link = world.client.link_settled(request).await;
        assert_stands(&link, "action_required", "credential_refused");
        assert_eq!(link["diagnosis"]["upstream"]["status"], 401);
    }
    let link = world.client.link_settled(docs()).await;
    assert_nothing_visible(&world);

    let connections = world.client.get("/connections").await.expect(200).body;
    for connection in connections["connections"].as_array().expect("connections") {
        let token = match connection["kind"].as_str() {
            Some("netlify") => linkbroker_sandbox::NETLIFY_TOKEN,
            _ => linkbroker_sandbox::GITHUB_TOKEN,
        };
        let path = format!("/connections/{}/credential", text(&connection["id"]));
        let credential = json!({"type": "token", "token": token});
        let replaced = world
            .client
            .send(Method::PUT, &path, |request| request.json(&credential));
        replaced.await.expect(204);
    }
    // With the second credential it goes on by itself.
    let id = text(&link["id"]);
    until("the link to be live", async || {
        (world.client.read(&id).await["status"] == "live").then_some(())
    })
    .await;
}

#[tokio::test]
async fn netlifys_refusal_of_the_token_is_named_as_netlifys() {
    for text_401 in [false, true] {
        let world = World::empty(Default::default()).await;
        world.repository("docs").await;
        let github = linkbroker_sandbox::GITHUB_TOKEN;
        world
            .connect_with(&world.client, "wrong-netlify-token", github)
            .await;
        let patch = json!({"netlify": {"text_401": text_401}});
        world.sandbox.patch_switches(&patch).expect("a switch");
        let link = world.client.link_settled(docs()).await;
        assert_stands(&link, "action_required", "credential_refused");
        assert_eq!(link["diagnosis"]["upstream"]["upstream"], "netlify");
        assert_nothing_visible(&world);
    }
}

#[tokio::test]
async fn a_site_name_that_others_have_is_named_and_unlinking_cleans_up() {
    let world = World::usual().await;
    let stranger = json!({"token": "stranger", "accounts": ["elsewhere"]});
    let stranger: netlify::NewToken = serde_json::from_value(stranger).expect("a token");
    let sandbox = world.sandbox.world();
    sandbox
        .netlify
        .lock()
        .add_token(stranger, sandbox.clock.now());
    let taken = reqwest::Client::new()
        .post(format!("{}/sites", world.sandbox.netlify_url()))
        .bearer_auth("stranger")
        .json(&json!({"name": "acme-docs"}));
    assert_eq!(taken.send().await.expect("an answer").status(), 201);

    let link = world.client.link_settled(docs()).await;
    assert_stands(&link, "failed", "site_name_taken");
    assert_eq!(world.count("sites"), (1, 1));
    let unlinked = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    for kind in ["deploy_keys", "installed_keys", "webhooks"] {
        assert_eq!(world.count(kind).1, 0, "{kind}");
    }
    assert_eq!(world.count("sites"), (1, 1));
}

#[tokio::test]
async fn an_unknown_team_is_named() {
    let world = World::usual().await;
    let mut request = docs();
    request["site"]["team"] = json!("nobody");
    let link = world.client.link_settled(request).await;
    assert_stands(&link, "failed", "team_not_found");
}

#[tokio::test]
async fn a_key_that_is_in_use_elsewhere_is_exchanged_for_a_fresh_one_once() {
    let world = World::usual().await;
    world.repository("other").await;
    // A refused link leaves its key in stock, where somebody else gets hold of it.
    let missing = json!({"repository": "https://github.com/acme/none"});
    world.client.link_settled(missing).await;
    let key = text(&world.state()["netlify"]["deploy_keys"][0]["public_key"]);
    let installed = json!({"title": "elsewhere", "key": key, "read_only": true});
    world
        .github(Method::POST, "/repos/acme/other/keys", Some(installed))
        .await;

    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("deploy_keys").0, 2);
    assert_eq!(world.count("installed_keys"), (2, 2));

    let unlinked = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    assert_eq!(world.count("deploy_keys"), (2, 0));
}

#[tokio::test]
async fn keys_that_are_always_in_use_elsewhere_end_after_the_second() {
    let world = World::usual().await;
    let body = json!({"message": "Validation Failed", "errors": [
        {"resource": "PublicKey", "code": "custom", "field": "key", "message": "key is already in use"},
    ]});
    world.fault(
        json!({"upstream": "github", "method": "POST", "path": "/keys$", "times": 9,
        "fault": {"status": 422, "body": body}}),
    );
    let link = world.client.link_settled(docs()).await;
    assert_stands(&link, "failed", "key_in_use_elsewhere");
    assert_eq!(world.count("deploy_keys").0, 2);
}

#[tokio::test]
async fn deploy_keys_that_the_owner_forbids_are_named() {
    let world = World::usual().await;
    let allow = |allowed| set_deploy_keys_enabled(world.sandbox.world(), "acme/docs", allowed);
    allow(false).expect("a repository");
    let link = world.client.link_settled(docs()).await;
    assert_stands(&link, "action_required", "deploy_keys_disabled");
    assert_eq!(world.count("builds"), (0, 0));

    allow(true).expect("a repository");
    let healed = world.client.retry(&text(&link["id"])).await;
    assert_eq!(healed["status"], "live", "{healed:#}");
    for kind in ["deploy_keys", "installed_keys", "webhooks", "sites"] {
        assert_eq!(world.count(kind), (1, 1), "{kind}");
    }
}

#[tokio::test]
async fn a_repository_without_room_for_a_webhook_is_named() {
    let world = World::usual().await;
    let mut hooks = Vec::new();
    for at in 0..20 {
        let url = format!("http://127.0.0.1:9/{at}");
        let hook = json!({"name": "web", "events": ["push"], "config": {"url": url, "content_type": "json"}});
        hooks.push(
            world
                .github(Method::POST, "/repos/acme/docs/hooks", Some(hook))
                .await,
        );
    }
    let link = world.client.link_settled(docs()).await;
    assert_stands(&link, "action_required", "webhook_limit_reached");
    assert_eq!(world.count("builds"), (0, 0));

    let path = format!("/repos/acme/docs/hooks/{}", hooks[0]["id"]);
    world.github(Method::DELETE, &path, None).await;
    let healed = world.client.retry(&text(&link["id"])).await;
    assert_eq!(healed["status"], "live", "{healed:#}");
    assert_eq!(world.count("sites"), (1, 1));
}
