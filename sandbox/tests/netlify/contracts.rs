//! Calls that the vendor's description forbids are recorded, and answered all the same.

use linkbroker_sandbox::{Side, Upstream};
use reqwest::Method;
use serde_json::json;

use crate::client::World;

#[tokio::test]
async fn what_a_client_gets_wrong_is_recorded() {
    let world = World::start().await;
    let wrong = [
        (
            Method::POST,
            "/sites",
            Some(json!({"nane": "docs"})),
            "nane",
        ),
        (
            Method::POST,
            "/sites",
            Some(json!({"repo": {"provider": 1}})),
            "/repo/provider",
        ),
        (Method::GET, "/sites?nmae=docs", None, "nmae"),
        (Method::GET, "/sites?page=one", None, "wrong type"),
        (Method::GET, "/hooks", None, "`site_id` is required"),
        (
            Method::POST,
            "/deploy_keys",
            Some(json!({"title": "x"})),
            "no body is described",
        ),
        (Method::GET, "/no/such/thing", None, "no such operation"),
    ];
    for (method, path, body, expected) in wrong {
        world.sandbox.world().contracts.clear();
        world.netlify(method, path, body).await;
        let found = world.sandbox.violations();
        assert_eq!(found.len(), 1, "{path}: {found:?}");
        assert!(found[0].message.contains(expected), "{path}: {found:?}");
        assert_eq!(
            (found[0].side, found[0].upstream),
            (Side::Request, Upstream::Netlify)
        );
    }
}

#[tokio::test]
async fn a_form_is_not_json() {
    let world = World::start().await;
    let url = format!("{}/sites", world.sandbox.netlify_url());
    let request = world
        .http
        .post(url)
        .bearer_auth(linkbroker_sandbox::NETLIFY_TOKEN);
    request
        .header("content-type", "text/plain")
        .body("{\"name\":\"x\"}")
        .send()
        .await
        .expect("an answer");
    assert!(world.sandbox.violations()[0].message.contains("text/plain"));
}

#[tokio::test]
async fn spellings_that_contradict_each_other_are_recorded() {
    let world = World::start().await;
    let site = world.bare_site("docs").await;
    let repo =
        json!({"provider": "github", "repo": "a/b", "repo_path": "a/c", "stop_builds": true});
    let path = format!("/sites/{}", crate::client::text(&site, "id"));
    world
        .netlify(Method::PATCH, &path, Some(json!({"repo": repo})))
        .await
        .expect(200);
    assert!(
        world.sandbox.violations()[0]
            .message
            .contains("repo_path/repo")
    );
}

#[tokio::test]
async fn github_is_checked_too() {
    let world = World::start().await;
    world.repository("docs").await;
    world
        .github(
            Method::POST,
            "/repos/acme/docs/keys",
            Some(json!({"title": "no key"})),
        )
        .await;
    let found = world.sandbox.violations();
    assert!(
        found
            .iter()
            .any(|v| v.side == Side::Request && v.message.contains("key")),
        "{found:?}"
    );
}
