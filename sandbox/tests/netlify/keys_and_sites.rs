//! Accounts, deploy keys and sites: shapes, refusals, pages, side effects.

use linkbroker_sandbox::ACCOUNT;
use linkbroker_sandbox::netlify::NewToken;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{World, text};

#[tokio::test]
async fn user_and_accounts_are_those_of_the_token() {
    let world = World::start().await;
    let accounts = world.get("/accounts").await;
    assert_eq!(accounts[0]["slug"], ACCOUNT);
    let id = text(&accounts[0], "id");
    assert_eq!(world.get(&format!("/accounts/{id}")).await, accounts[0]);
    assert_eq!(world.get("/user").await["account_id"], accounts[0]["id"]);
    world
        .netlify(Method::GET, "/accounts/nobody", None)
        .await
        .expect(404);
    world.assert_lawful();
}

#[tokio::test]
async fn deploy_keys_are_new_each_time_and_of_the_user_alone() {
    let world = World::start().await;
    let (one, two) = tokio::join!(world.deploy_key(), world.deploy_key());
    assert_ne!(one["public_key"], two["public_key"]);
    assert!(text(&one, "public_key").starts_with("ssh-rsa AAAA"));
    assert!(text(&one, "id").len() == 24 && !one.to_string().contains("PRIVATE"));
    assert_eq!(
        world.get("/deploy_keys").await.as_array().map(Vec::len),
        Some(2)
    );

    let path = format!("/deploy_keys/{}", text(&one, "id"));
    assert_eq!(world.get(&path).await, one);
    let stranger = world.sandbox.netlify_url();
    let other = NewToken {
        token: "other".to_owned(),
        accounts: vec!["other".to_owned()],
        user: None,
    };
    let inner = world.sandbox.world();
    inner.netlify.lock().add_token(other, inner.clock.now());
    world
        .call(Method::GET, &format!("{stranger}{path}"), "other", None)
        .await
        .expect(404);
    world.netlify(Method::DELETE, &path, None).await.expect(204);
    world.netlify(Method::GET, &path, None).await.expect(404);
    world.netlify(Method::DELETE, &path, None).await.expect(404);
    assert_eq!(world.sandbox.counts().of("deploy_keys").created, 2);
    assert_eq!(world.sandbox.counts().of("deploy_keys").alive, 1);
    world.assert_lawful();
}

#[tokio::test]
async fn names_are_global_and_looked_up_by_part() {
    let world = World::start().await;
    let site = world.bare_site("acme-docs").await;
    assert_eq!(
        (&site["build_id"], &site["deploy_id"]),
        (&json!(""), &json!(""))
    );
    let again = json!({"name": "acme-docs"});
    let taken = world
        .netlify(Method::POST, "/sites", Some(again))
        .await
        .expect(422);
    assert_eq!(taken, json!({"errors": {"subdomain": ["must be unique"]}}));
    for bad in ["with space", "under_score", &"x".repeat(64)] {
        let refused = world
            .netlify(Method::POST, "/sites", Some(json!({"name": bad})))
            .await
            .expect(422);
        assert!(refused["errors"]["subdomain"].is_array(), "{refused}");
    }
    assert_eq!(
        world.get("/sites/acme-docs.netlify.app").await["id"],
        site["id"]
    );
    assert_eq!(world.get("/sites?name=me-do").await[0]["id"], site["id"]);
    assert_eq!(world.get("/sites?name=nothing").await, json!([]));
    assert_eq!(
        world
            .get(&format!("/{ACCOUNT}/sites?name=acme"))
            .await
            .as_array()
            .map(Vec::len),
        Some(1)
    );

    let path = format!("/sites/{}", text(&site, "id"));
    world.netlify(Method::DELETE, &path, None).await.expect(204);
    world.netlify(Method::GET, &path, None).await.expect(404);
    world.bare_site("acme-docs").await;
    world.assert_lawful();
}

#[tokio::test]
async fn an_empty_body_makes_a_site_with_a_random_name() {
    let world = World::start().await;
    let one = world
        .netlify(Method::POST, "/sites", None)
        .await
        .expect(201);
    let two = world
        .netlify(Method::POST, "/sites", None)
        .await
        .expect(201);
    assert_ne!(one["name"], two["name"]);
    world
        .netlify(Method::POST, "/nobody/sites", None)
        .await
        .expect(404);
}

#[tokio::test]
async fn lists_have_pages_with_links() {
    let world = World::start().await;
    for number in 0..5 {
        world.bare_site(&format!("site-{number}")).await;
    }
    let first = world
        .netlify(Method::GET, "/sites?per_page=2&sort_by=alphabetical", None)
        .await;
    let link = first.headers["link"].to_str().expect("text").to_owned();
    assert!(
        link.contains("page=2&per_page=2>; rel=\"next\"")
            && link.contains("page=3&per_page=2>; rel=\"last\""),
        "{link}"
    );
    let next = link
        .split(['<', '>'])
        .nth(1)
        .expect("an address")
        .to_owned();
    assert!(
        next.contains("sort_by=alphabetical") && next.starts_with(&world.sandbox.netlify_url()),
        "{next}"
    );
    let last = world
        .netlify(
            Method::GET,
            "/sites?per_page=2&page=3&sort_by=alphabetical",
            None,
        )
        .await;
    assert!(last.headers.get("link").is_none());
    assert_eq!(last.json()[0]["name"], "site-4");
}

#[tokio::test]
async fn lists_may_lag() {
    let world = World::with_switches(json!({"netlify": {"list_lag_seconds": 30}})).await;
    let site = world.bare_site("late").await;
    assert_eq!(world.get("/sites").await, json!([]));
    assert_eq!(
        world.get(&format!("/sites/{}", text(&site, "id"))).await["name"],
        "late"
    );
    world
        .sandbox
        .world()
        .clock
        .advance(std::time::Duration::from_secs(31));
    assert_eq!(world.get("/sites").await[0]["name"], "late");
}

#[tokio::test]
async fn every_spelling_of_a_repository_is_read_and_one_is_shown() {
    let world = World::start().await;
    let old = json!({"provider": "github", "repo_path": "acme/docs", "repo_branch": "trunk", "id": 7, "stop_builds": true});
    let new = json!({"provider": "github", "repo": "acme/docs", "branch": "trunk", "repo_id": "7", "stop_builds": true,
                     "private": true});
    for (name, repo) in [("old", old), ("new", new)] {
        let site = world
            .netlify(
                Method::POST,
                "/sites",
                Some(json!({"name": name, "repo": repo})),
            )
            .await
            .expect(201);
        let settings = &site["build_settings"];
        assert_eq!(
            (&settings["repo_path"], &settings["repo_branch"]),
            (&json!("acme/docs"), &json!("trunk"))
        );
        assert_eq!(
            (&settings["repo_url"], &settings["branch"]),
            (&json!("https://github.com/acme/docs"), &json!("trunk"))
        );
        assert!(settings.get("id").is_none() && settings["public_repo"] == false);
    }
    world.assert_lawful();
    let nothing = json!({"repo": {"branch": "main"}});
    let refused = world
        .netlify(Method::POST, "/sites", Some(nothing))
        .await
        .expect(422);
    assert_eq!(refused, json!({"errors": {"repo": ["can't be blank"]}}));
    assert_eq!(world.sandbox.counts().of("sites").created, 2);
}

#[tokio::test]
async fn unlinking_takes_the_key_and_the_notifications_along() {
    let world = World::start().await;
    let linked = world.link("docs", json!({})).await;
    let hook =
        json!({"type": "url", "event": "deploy_created", "data": {"url": "http://127.0.0.1:1/"}});
    let path = format!("/hooks?site_id={}", linked.site_id());
    world
        .netlify(Method::POST, &path, Some(hook))
        .await
        .expect(201);
    let unlink = format!("/sites/{}/unlink_repo", linked.site_id());
    let site = world.netlify(Method::PUT, &unlink, None).await.expect(200);
    assert_eq!(site["build_settings"], json!({}));
    let counts = world.sandbox.counts();
    assert_eq!(
        (
            counts.of("deploy_keys").alive,
            counts.of("notifications").alive
        ),
        (0, 0)
    );
    // The provider keeps what it has.
    assert_eq!(
        (
            counts.of("installed_keys").alive,
            counts.of("webhooks").alive
        ),
        (1, 1)
    );
    world.assert_lawful();
}

#[tokio::test]
async fn metadata_is_free_json() {
    let world = World::start().await;
    let site = world.bare_site("docs").await;
    let path = format!("/sites/{}/metadata", text(&site, "id"));
    assert_eq!(world.get(&path).await, json!({}));
    world
        .netlify(Method::PUT, &path, Some(json!({"link": "lnk_1"})))
        .await
        .expect(204);
    assert_eq!(world.get(&path).await, json!({"link": "lnk_1"}));
    world.assert_lawful();
}

#[tokio::test]
async fn a_rename_frees_the_old_name_and_a_taken_one_is_refused() {
    let world = World::start().await;
    world.bare_site("taken").await;
    let site = world.bare_site("before").await;
    let path = format!("/sites/{}", text(&site, "id"));
    world
        .netlify(Method::PATCH, &path, Some(json!({"name": "taken"})))
        .await
        .expect(422);
    let renamed = world
        .netlify(Method::PATCH, &path, Some(json!({"name": "after"})))
        .await
        .expect(200);
    assert_eq!(
        (&renamed["name"], &renamed["published_deploy"]),
        (&json!("after"), &Value::Null)
    );
    world.bare_site("before").await;
}
