//! Around the API: tokens, limits, request ids, served hosts, and the admin door over HTTP.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{World, read, text};

#[tokio::test]
async fn wrong_tokens_are_refused_in_two_shapes() {
    let world = World::start().await;
    let url = format!("{}/user", world.sandbox.netlify_url());
    let refused = world
        .call(Method::GET, &url, "wrong", None)
        .await
        .expect(401);
    assert_eq!(refused, json!({"code": 401, "message": "Access Denied"}));
    world
        .sandbox
        .patch_switches(&json!({"netlify": {"text_401": true}}))
        .expect("a switch");
    let refused = world.call(Method::GET, &url, "wrong", None).await;
    assert!(
        refused.headers["content-type"]
            .to_str()
            .is_ok_and(|t| t.starts_with("text/plain"))
    );
    assert!(refused.headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn an_unknown_route_is_a_text_404_and_an_unknown_thing_a_json_one() {
    let world = World::start().await;
    let thing = world.netlify(Method::GET, "/sites/none", None).await;
    assert_eq!(
        thing.expect(404),
        json!({"code": 404, "message": "Not Found"})
    );
    let route = world.netlify(Method::GET, "/no/such/route", None).await;
    assert_eq!(
        (route.status.as_u16(), route.text.as_str()),
        (404, "Not Found")
    );
}

#[tokio::test]
async fn the_rate_limit_counts_down_and_opens_again_at_its_reset() {
    let world = World::with_switches(json!({"netlify": {"rate_limit_per_minute": 2}})).await;
    let first = world.netlify(Method::GET, "/user", None).await;
    assert_eq!(first.headers["x-ratelimit-limit"], "2");
    assert_eq!(first.headers["x-ratelimit-remaining"], "1");
    world.get("/user").await;
    let refused = world.netlify(Method::GET, "/user", None).await;
    let reset: i64 = refused.headers["x-ratelimit-reset"]
        .to_str()
        .expect("text")
        .parse()
        .expect("unix seconds");
    let body = json!({"code": 429, "message": "API Request rate limit surpassed for application"});
    assert_eq!(refused.expect(429), body);
    let wait = reset - world.sandbox.world().clock.unix();
    assert!((0..=60).contains(&wait), "{wait}");
    world
        .sandbox
        .world()
        .clock
        .advance(Duration::from_secs(wait.unsigned_abs()));
    world.get("/user").await;
}

#[tokio::test]
async fn a_site_is_served_by_host_name_too() {
    let world = World::start().await;
    let linked = world.link("docs", json!({})).await;
    world.settled(linked.site_id(), 1).await;
    let served = async |host: &str, path: &str| {
        let request = world
            .http
            .get(format!("{}{path}", world.sandbox.world().origin()));
        read(
            request
                .header("host", host)
                .send()
                .await
                .expect("an answer"),
        )
        .await
    };
    let deploy_host = text(&linked.site, "deploy_url")
        .strip_prefix("http://")
        .expect("an address")
        .to_owned();
    for host in ["docs.localhost", "docs.localhost:80", &deploy_host] {
        assert!(
            served(host, "/").await.text.contains("first text"),
            "{host}"
        );
    }
    assert_eq!(served("other.localhost", "/").await.status, 404);
    assert_eq!(
        served("docs.localhost", "/%2e%2e/%2e%2e/git/pushes")
            .await
            .status,
        404
    );
    assert_eq!(
        world.page("docs", "").await.headers["content-type"],
        "text/html"
    );
    let bare = read(
        world
            .http
            .get(format!("{}/sites/docs", world.sandbox.world().origin()))
            .send()
            .await
            .expect("it"),
    )
    .await;
    assert_eq!(
        (bare.status.as_u16(), bare.headers["location"].to_str().ok()),
        (308, Some("/sites/docs/"))
    );
}

#[tokio::test]
async fn the_admin_door_tells_a_whole_story() {
    let world = World::start().await;
    let new = json!({"owner": "acme", "name": "docs", "template": "site"});
    let made = admin(&world, Method::POST, "/repositories", Some(new)).await;
    assert_eq!(made["full_name"], "acme/docs");
    let commit = json!({"message": "More", "files": {"content/text.txt": "more\n"}});
    let made = admin(
        &world,
        Method::POST,
        "/repositories/acme/docs/commits",
        Some(commit),
    )
    .await;
    assert_eq!(text(&made, "sha").len(), 40);
    admin(
        &world,
        Method::POST,
        "/repositories/acme/docs/rename",
        Some(json!({"to": "acme/manual"})),
    )
    .await;
    admin(
        &world,
        Method::POST,
        "/repositories/acme/manual/archive",
        Some(json!({})),
    )
    .await;
    let token = json!({"netlify": {"token": "second", "accounts": ["sandbox", "team-b"]}});
    admin(&world, Method::POST, "/tokens", Some(token)).await;
    let url = format!("{}/accounts", world.sandbox.netlify_url());
    assert_eq!(
        world
            .call(Method::GET, &url, "second", None)
            .await
            .json()
            .as_array()
            .map(Vec::len),
        Some(2)
    );

    let seen = admin(&world, Method::GET, "/world", None).await;
    assert_eq!(seen["github"]["repositories"][0]["archived"], true);
    assert!(
        !seen.to_string().contains("PRIVATE KEY")
            && !seen.to_string().contains("sandbox-netlify-token")
    );
    let calls = admin(&world, Method::GET, "/calls", None).await;
    assert_eq!(calls[0]["route"], "/netlify/api/v1/accounts");
    let counts = admin(&world, Method::GET, "/counts", None).await;
    assert_eq!(
        (&counts["calls"]["netlify"], &counts["rounds"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        admin(&world, Method::GET, "/violations", None).await,
        json!([])
    );

    let fault = json!({"upstream": "netlify", "path": "/user", "fault": {"status": 500}});
    admin(&world, Method::POST, "/faults", Some(fault)).await;
    world.netlify(Method::GET, "/user", None).await.expect(500);
    admin(&world, Method::DELETE, "/faults", None).await;
    admin(
        &world,
        Method::POST,
        "/clock",
        Some(json!({"advance_seconds": 3600})),
    )
    .await;
    let switches = admin(
        &world,
        Method::PATCH,
        "/switches",
        Some(json!({"netlify": {"text_401": true}})),
    )
    .await;
    assert_eq!(switches["netlify"]["text_401"], true);
    admin(&world, Method::POST, "/reset", None).await;
    let switches = admin(&world, Method::GET, "/switches", None).await;
    assert_eq!(switches["netlify"]["text_401"], false);
    assert_eq!(admin(&world, Method::GET, "/calls", None).await, json!([]));
}

#[tokio::test]
async fn the_admin_door_explains_what_it_refuses() {
    let world = World::start().await;
    let url = |path: &str| format!("{}{path}", world.sandbox.admin_url());
    let wrong = json!({"netlify": {"no_such_switch": true}});
    let refused = world
        .call(Method::PATCH, &url("/switches"), "", Some(wrong))
        .await
        .expect(400);
    assert!(
        text(&refused, "error").contains("no_such_switch"),
        "{refused}"
    );
    let wrong = json!({"upstream": "netlify", "path": "(", "fault": "reset"});
    world
        .call(Method::POST, &url("/faults"), "", Some(wrong))
        .await
        .expect(400);
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let world = World::start().await;
    let linked = world.link("docs", json!({"cmd": "sleep 600"})).await;
    let deploy = world.deploys(linked.site_id()).await.swap_remove(0);
    world
        .until("the command runs", async || {
            let log = world
                .netlify(
                    Method::GET,
                    &format!("/deploys/{}/log", text(&deploy, "id")),
                    None,
                )
                .await;
            log.text.contains("$ sleep 600")
        })
        .await;
    let folder = world.sandbox.world().data_dir.clone();
    world.sandbox.shutdown().await;
    assert!(!folder.exists(), "{} is left", folder.display());
}

async fn admin(world: &World, method: Method, path: &str, body: Option<Value>) -> Value {
    let url = format!("{}{path}", world.sandbox.admin_url());
    let reply = world.call(method, &url, "", body).await;
    assert!(reply.status.is_success(), "{path}: {reply:?}");
    if reply.text.is_empty() {
        Value::Null
    } else {
        reply.json()
    }
}
