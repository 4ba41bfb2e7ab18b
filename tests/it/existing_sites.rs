//! Sites that were there before the link: taken as they are, and given back as they were.

use linkbroker_sandbox::NETLIFY_TOKEN;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Way, World, docs, receipts, text};

/// A call of Netlify's API as the site's owner would make it.
pub async fn netlify(world: &World, method: Method, path: &str, body: Value) -> Value {
    let url = format!("{}{path}", world.sandbox.netlify_url());
    let request = reqwest::Client::new()
        .request(method, url)
        .bearer_auth(NETLIFY_TOKEN);
    let answer = request.json(&body).send().await.expect("an answer");
    let status = answer.status();
    let body = answer.text().await.expect("a body");
    assert!(status.is_success(), "{path}: {status} {body}");
    serde_json::from_str(&body).unwrap_or_default()
}

/// A site that somebody made, bare.
pub async fn bare_site(world: &World) -> String {
    let site = netlify(
        world,
        Method::POST,
        "/sandbox/sites",
        json!({"name": "theirs"}),
    )
    .await;
    text(&site["id"])
}

/// Attaches a repository to the site as its owner would, with a key of its own.
async fn attach(world: &World, site: &str, path: &str) -> String {
    let key = netlify(world, Method::POST, "/deploy_keys", json!({})).await;
    let repo = json!({
        "provider": "github", "repo_path": path, "repo_branch": "main", "deploy_key_id": key["id"],
        "cmd": "sh build.sh", "dir": "dist", "base": "", "allowed_branches": ["main", "next"],
    });
    netlify(
        world,
        Method::PATCH,
        &format!("/sites/{site}"),
        json!({"repo": repo}),
    )
    .await;
    text(&key["id"])
}

pub fn to(site: &str) -> Value {
    let mut request = docs();
    request["site"] = json!({"id": site});
    request
}

async fn settings(world: &World, site: &str) -> Value {
    let site = netlify(world, Method::GET, &format!("/sites/{site}"), Value::Null).await;
    site["build_settings"].clone()
}

/// Takes the link back, after which the site is there, with nothing attached.
async fn is_given_back_bare(world: &World, link: &Value, site: &str) {
    let link = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(link["status"], "unlinked", "{link:#}");
    let kept = ("site".to_owned(), "kept_foreign".to_owned());
    assert!(receipts(&link).contains(&kept), "{link:#}");
    assert_eq!(world.count("sites"), (1, 1), "the site stays");
    assert!(settings(world, site).await["repo_path"].is_null());
}

#[tokio::test]
async fn a_bare_site_is_linked_and_given_back_bare() {
    let world = World::usual().await;
    let site = bare_site(&world).await;
    let link = world.client.link_settled(to(&site)).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(link["site"]["id"], site.as_str());
    assert_eq!(link["site"]["name"], "theirs");
    assert_eq!(link["request"]["site_id"], site.as_str());
    assert_eq!(world.count("sites"), (1, 1));

    is_given_back_bare(&world, &link, &site).await;
    for kind in ["installed_keys", "webhooks"] {
        assert_eq!(world.count(kind).1, 0, "{kind}");
    }
}

#[tokio::test]
async fn a_site_of_the_same_repository_keeps_its_settings_and_gets_its_own_key_back() {
    let world = World::usual().await;
    let site = bare_site(&world).await;
    let theirs = attach(&world, &site, "acme/docs").await;
    let mut request = to(&site);
    request["build"] = json!({"command": "sh ./build.sh"});
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let linked = settings(&world, &site).await;
    assert_ne!(linked["deploy_key_id"], theirs.as_str());
    assert_eq!(linked["cmd"], "sh ./build.sh");
    assert_eq!(
        linked["dir"], "dist",
        "what the request says nothing about stays"
    );
    assert_eq!(linked["allowed_branches"], json!(["main", "next"]));

    let link = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(link["status"], "unlinked", "{link:#}");
    let back = settings(&world, &site).await;
    assert_eq!(back["deploy_key_id"], theirs.as_str());
    assert_eq!(back["cmd"], "sh build.sh");
    assert_eq!(world.count("deploy_keys").1, 1, "theirs");
}

#[tokio::test]
async fn a_site_of_another_repository_is_refused_before_anything_is_written_anywhere() {
    let world = World::usual().await;
    let site = bare_site(&world).await;
    let theirs = attach(&world, &site, "acme/other").await;
    let link = world.client.link_settled(to(&site)).await;
    assert_eq!(link["status"], "failed", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "site_linked_elsewhere");
    assert!(text(&link["diagnosis"]["detail"]).contains("acme/other"));
    assert_eq!(
        settings(&world, &site).await["deploy_key_id"],
        theirs.as_str()
    );
    for kind in ["installed_keys", "webhooks"] {
        assert_eq!(world.count(kind), (0, 0), "{kind}");
    }
}

#[tokio::test]
async fn a_site_is_taken_from_another_repository_when_the_caller_says_so() {
    let world = World::usual().await;
    let site = bare_site(&world).await;
    attach(&world, &site, "acme/other").await;
    let mut request = to(&site);
    request["site"]["relink"] = json!(true);
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(settings(&world, &site).await["repo_path"], "acme/docs");
    let calls = world.sandbox.calls();
    let unlinked = calls
        .iter()
        .filter(|call| call.path.ends_with("/unlink_repo"))
        .count();
    assert_eq!(unlinked, 1, "taken once, by Netlify's own call for it");
}

#[tokio::test]
async fn builds_from_before_are_nobodys_proof() {
    let world = World::usual().await;
    let site = bare_site(&world).await;
    attach(&world, &site, "acme/docs").await;
    let before = world.state()["netlify"]["deploys"]
        .as_array()
        .expect("deploys")
        .len();
    assert_eq!(before, 1);
    let link = world.client.link_settled(to(&site)).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let state = world.state();
    let deploys = state["netlify"]["deploys"].as_array().expect("deploys");
    let old = deploys
        .iter()
        .min_by_key(|deploy| text(&deploy["created_at"]))
        .expect("the old one");
    assert_ne!(link["build"]["id"], old["build_id"]);
    assert_ne!(link["verification"]["build"]["id"], old["build_id"]);
}

#[tokio::test]
async fn a_site_that_is_not_there_fails_the_link_by_name() {
    let world = World::usual().await;
    let link = world
        .client
        .link_settled(to("0b0f9f6e-3d5c-4a6e-9a69-6c8a6c4f2f11"))
        .await;
    assert_eq!(link["diagnosis"]["code"], "site_gone", "{link:#}");
}

#[tokio::test]
async fn a_site_is_either_there_or_to_be_made() {
    let world = World::usual().await;
    for (site, pointer) in [
        (json!({"id": "theirs"}), "/site/id"),
        (
            json!({"id": "0b0f9f6e-3d5c-4a6e-9a69-6c8a6c4f2f11", "name": "mine"}),
            "/site",
        ),
        (json!({"name": "mine", "relink": true}), "/site/relink"),
    ] {
        let mut request = docs();
        request["site"] = site;
        let answer = world.client.post("/links", request).await.expect(422);
        assert_eq!(
            answer.body["errors"][0]["pointer"], pointer,
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn a_site_that_an_earlier_link_has_made_and_left_stays_when_the_next_link_is_over() {
    let world = World::usual().await;
    let first = world.client.link_settled(docs()).await;
    let site = text(&first["site"]["id"]);
    world
        .client
        .unlink(&text(&first["id"]), "?keep_site=true")
        .await;
    let link = world.client.link_settled(to(&site)).await;
    assert_eq!(link["status"], "live", "{link:#}");

    is_given_back_bare(&world, &link, &site).await;
}

#[tokio::test]
async fn what_people_attach_to_a_site_that_stays_is_theirs_when_the_link_is_over() {
    let world = World::usual().await;
    let site = bare_site(&world).await;
    let link = world.client.link_settled(to(&site)).await;
    assert_eq!(link["status"], "live", "{link:#}");
    netlify(
        &world,
        Method::PUT,
        &format!("/sites/{site}/unlink_repo"),
        Value::Null,
    )
    .await;
    let theirs = attach(&world, &site, "acme/other").await;

    let link = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(link["status"], "unlinked", "{link:#}");
    let now = settings(&world, &site).await;
    assert_eq!(now["repo_path"], "acme/other");
    assert_eq!(now["deploy_key_id"], theirs.as_str());
    assert_eq!(world.count("deploy_keys").1, 1, "theirs");
    for kind in ["installed_keys", "webhooks"] {
        assert_eq!(world.count(kind).1, 0, "{kind}");
    }
}

#[tokio::test]
async fn a_site_that_was_taken_from_an_installation_gets_it_back_when_the_attaching_is_refused() {
    let world = World::usual().await;
    let site = bare_site(&world).await;
    let repo = json!({"provider": "github", "repo_path": "acme/other", "repo_branch": "main", "installation_id": 4711});
    let path = format!("/sites/{site}");
    netlify(&world, Method::PATCH, &path, json!({"repo": repo})).await;
    world.fault(json!({"upstream": "netlify", "method": "PATCH", "path": "/sites/", "fault": {"status": 403}}));
    let mut request = to(&site);
    request["site"]["relink"] = json!(true);
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    assert!(settings(&world, &site).await["repo_path"].is_null());

    let link = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(link["status"], "unlinked", "{link:#}");
    let back = settings(&world, &site).await;
    assert_eq!(back["repo_path"], "acme/other");
    assert_eq!(back["installation_id"], 4711);
}

#[tokio::test]
async fn a_site_that_kept_no_key_is_given_back_bare() {
    let world = World::usual().await;
    let site = bare_site(&world).await;
    let mut deaf = netlify(&world, Method::GET, &format!("/sites/{site}"), Value::Null).await;
    deaf["build_settings"] = json!({"repo_path": "acme/docs"});
    world.fault(json!({"upstream": "netlify", "method": "PATCH", "path": "/sites/", "fault": {"body": deaf.to_string()}}));
    let link = world.client.link_settled(to(&site)).await;
    assert_eq!(link["diagnosis"]["code"], "link_deaf", "{link:#}");
    assert_eq!(settings(&world, &site).await["repo_path"], "acme/docs");

    let link = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(link["status"], "unlinked", "{link:#}");
    assert!(settings(&world, &site).await["repo_path"].is_null());
}

#[tokio::test]
async fn a_site_is_given_back_bare_also_when_the_repository_has_another_name_by_now() {
    let way = Way::GITHUB;
    let world = way.world().await;
    let site = bare_site(&world).await;
    let mut request = way.request(&world);
    request["site"] = json!({"id": site});
    request["drift"] = json!("report");
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let id = text(&link["id"]);
    way.rename(&world, "acme/elsewhere");
    let path = format!("/links/{id}/check");
    world
        .client
        .send(Method::POST, &path, |it| it)
        .await
        .expect(202);
    let moved = world.client.settled(&id).await;
    assert_eq!(moved["drift"][0]["kind"], "repository_renamed", "{moved:#}");
    world.client.retry(&id).await;

    let link = world.client.unlink(&id, "").await;
    assert_eq!(link["status"], "unlinked", "{link:#}");
    assert!(settings(&world, &site).await["repo_path"].is_null());
    assert_eq!(world.count("deploy_keys").1, 0);
}
