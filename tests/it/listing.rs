//! `GET /links`: filters and pages.

use serde_json::{Value, json};

use crate::world::{Client, World, text};

/// The site names of the links that a query finds, newest first.
async fn sites(client: &Client, query: &str) -> Vec<String> {
    let page = client.get(&format!("/links{query}")).await.expect(200).body;
    let links = page["links"].as_array().expect("links").iter();
    links
        .map(|link| text(&link["request"]["site_name"]))
        .collect()
}

/// Three links: `one` is live, `two` has labels and a ref, `three` names a repository that does not exist.
async fn three_links() -> World {
    let world = World::usual().await;
    world.repository("app").await;
    let one = json!({"repository": "https://github.com/acme/docs", "site": {"name": "one"}, "verify": "build"});
    let two = json!({"repository": "git@github.com:acme/app.git", "site": {"name": "two"}, "verify": "build",
        "ref": "team-a/two", "labels": {"portal": "backstage", "team": "a"}});
    let three = json!({"repository": "https://github.com/acme/no-such", "site": {"name": "three"},
        "labels": {"portal": "backstage"}});
    for request in [one, two, three] {
        world.client.link_settled(request).await;
    }
    world
}

#[tokio::test]
async fn filters_are_joined_by_and() {
    let world = three_links().await;
    for (query, found) in [
        ("", vec!["three", "two", "one"]),
        ("?status=live", vec!["two", "one"]),
        ("?status=failed", vec!["three"]),
        ("?provider=github", vec!["three", "two", "one"]),
        ("?provider=gitlab", vec![]),
        ("?repository=github.com/acme/app", vec!["two"]),
        (
            "?repository=https%3A%2F%2Fgithub.com%2FAcme%2FApp.git",
            vec!["two"],
        ),
        (
            "?repository=git%40github.com%3Aacme%2Fdocs.git",
            vec!["one"],
        ),
        ("?site=two", vec!["two"]),
        ("?ref=team-a%2Ftwo", vec!["two"]),
        ("?label.portal=backstage", vec!["three", "two"]),
        ("?label.portal=backstage&label.team=a", vec!["two"]),
        ("?label.portal=backstage&label.team=b", vec![]),
        ("?label.portal=backstage&status=failed", vec!["three"]),
        ("?condition=FirstDeployReady:true", vec!["two", "one"]),
        ("?condition=RepositoryResolved:false", vec!["three"]),
        ("?condition=FirstDeployReady:unknown", vec!["three"]),
        (
            "?condition=PushTriggersBuild:unknown",
            vec!["three", "two", "one"],
        ),
        (
            "?updated_after=2020-01-01T00:00:00Z",
            vec!["three", "two", "one"],
        ),
        ("?updated_after=2120-01-01T00:00:00Z", vec![]),
    ] {
        assert_eq!(sites(&world.client, query).await, found, "{query}");
    }
}

#[tokio::test]
async fn what_changed_since_a_poll_is_found_by_its_time() {
    let world = three_links().await;
    let page = world.client.get("/links?site=two").await.expect(200).body;
    let at = text(&page["links"][0]["updated_at"]).replace('+', "%2B");
    assert_eq!(
        sites(&world.client, &format!("?updated_after={at}")).await,
        ["three"]
    );
}

#[tokio::test]
async fn conditions_found_are_the_conditions_shown() {
    let world = three_links().await;
    let page = world.client.get("/links").await.expect(200).body;
    for listed in page["links"].as_array().expect("links") {
        let link = world.client.read(&text(&listed["id"])).await;
        let name = text(&link["request"]["site_name"]);
        for condition in link["conditions"].as_array().expect("conditions") {
            for status in ["true", "false", "unknown"] {
                let query = format!("?condition={}:{status}", text(&condition["type"]));
                let found = sites(&world.client, &query).await.contains(&name);
                assert_eq!(found, condition["status"] == status, "{name} {query}");
            }
        }
    }
}

#[tokio::test]
async fn pages_follow_one_another_and_keep_to_the_filter() {
    let world = three_links().await;
    let first = world
        .client
        .get("/links?limit=1&label.portal=backstage")
        .await
        .expect(200)
        .body;
    assert_eq!(first["links"][0]["request"]["site_name"], "three");
    let cursor = text(&first["next_cursor"]);
    let path = format!("/links?limit=1&label.portal=backstage&cursor={cursor}");
    let second = world.client.get(&path).await.expect(200).body;
    assert_eq!(second["links"][0]["request"]["site_name"], "two");
    assert_eq!(second.get("next_cursor"), None);
}

#[tokio::test]
async fn filters_that_cannot_be_are_refused_by_name() {
    let world = World::empty(crate::world::Setup::default()).await;
    for (query, parameter) in [
        ("status=lively", "status"),
        ("provider=cvs", "provider"),
        ("repository=docs", "repository"),
        ("repository=example.com/acme/docs", "repository"),
        (
            "repository=https%3A%2F%2Fme%3Ahunter2%40github.com%2Fa%2Fb",
            "repository",
        ),
        ("condition=PushTriggersBuild", "condition"),
        ("condition=Sunny:true", "condition"),
        ("condition=PushTriggersBuild:maybe", "condition"),
        ("updated_after=yesterday", "updated_after"),
        ("label.a=1&label.a=2", "label.a"),
        ("limit=0", "limit"),
        ("cursor=%3F", "cursor"),
        ("colour=red", "colour"),
    ] {
        let refused = world
            .client
            .get(&format!("/links?{query}"))
            .await
            .expect(400);
        assert_eq!(refused.code(), "invalid_query", "{query}");
        let errors: &Value = &refused.body["errors"][0];
        assert!(!refused.text.contains("hunter2"));
        match parameter {
            "colour" => assert!(
                text(&errors["detail"]).contains("unknown field"),
                "{errors}"
            ),
            _ => assert_eq!(errors["parameter"], parameter, "{query}: {errors}"),
        }
    }
}
