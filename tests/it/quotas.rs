//! How much one tenant may do, and that others do not feel it.

use std::time::Duration;

use linkbroker::api::caller::Scope;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Answer, Setup, World, until};

/// A world in which links are accepted and stay queued.
async fn world(quota: &'static str, most: u32) -> World {
    let settings = vec![
        (quota, most.to_string()),
        ("LINKBROKER_ROLE", "api".to_owned()),
    ];
    World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await
}

fn request(number: usize) -> Value {
    json!({"repository": "https://github.com/acme/docs", "site": {"name": format!("site-{number}")}})
}

fn assert_refused(answer: &Answer, policy: &str, remaining: &str) {
    assert_eq!(
        (answer.status, answer.code()),
        (429, "rate_limited"),
        "{}",
        answer.text
    );
    assert_eq!(answer.header("ratelimit-policy"), Some(policy));
    let limit = answer.header("ratelimit").expect("a header");
    assert!(limit.starts_with(remaining), "{limit}");
    let wait: u32 = answer
        .header("retry-after")
        .and_then(|wait| wait.parse().ok())
        .expect("a number");
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(limit.ends_with(&format!(";t={wait}")), "{limit}");
}

#[tokio::test]
async fn requests_of_a_minute() {
    // Two were sent to connect.
    let world = world("LINKBROKER_QUOTA_REQUESTS_PER_MINUTE", 12).await;
    let portal = world.client_of("acme", &[Scope::LinksRead]);
    for _ in 0..10 {
        let answer = portal.get("/links").await.expect(200);
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some(r#""requests";q=12;w=60"#)
        );
        let left = answer.header("ratelimit").expect("a header");
        assert!(left.starts_with(r#""requests";r="#), "{left}");
    }
    let refused = until("the quota to be used up", async || {
        let answer = world.client.get("/links").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_refused(&refused, r#""requests";q=12;w=60"#, r#""requests";r=0;t="#);
    world
        .client_of("umbrella", Scope::ALL)
        .get("/links")
        .await
        .expect(200);
    world.client.get("/readyz").await.expect(204);
    // Nobody knows whose request a forged token would be.
    let forged = world
        .client
        .with_token(&world.server.address, Some("a.b.c".to_owned()));
    forged.get("/links").await.expect(401);
}

#[tokio::test]
async fn new_links_of_a_minute() {
    let world = world("LINKBROKER_QUOTA_LINKS_PER_MINUTE", 2).await;
    for number in 0..2 {
        world
            .client
            .post("/links", request(number))
            .await
            .expect(202);
    }
    let refused = world.client.post("/links", request(2)).await;
    assert_refused(&refused, r#""links";q=2;w=60"#, r#""links";r=0;t="#);
    // A request that could not be accepted anyway costs nothing, and says what is wrong with it.
    let wrong = json!({"repository": "no repository"});
    world.client.post("/links", wrong).await.expect(422);
    let links = world.client.get("/links").await.expect(200).body;
    assert_eq!(links["links"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn links_under_way_over_all_processes() {
    let world = world("LINKBROKER_QUOTA_LINKS_IN_FLIGHT", 2).await;
    let first = world.client.link(request(0)).await;
    let second = crate::world::Server::start(world.settings(), world.folder()).await;
    let client = world.client_of("acme", Scope::ALL);
    let elsewhere = client.with_token(&second.address, client.token());
    elsewhere.link(request(1)).await;
    let refused = world.client.post("/links", request(2)).await;
    assert_refused(
        &refused,
        r#""links-in-flight";q=2"#,
        r#""links-in-flight";r=0;t="#,
    );
    let umbrella = world.client_of("umbrella", Scope::ALL);
    world.connect(&umbrella).await;
    umbrella.link(request(3)).await;
    // A link that has settled does not count.
    let settle = "update links set status = 'canceled', next_run_at = null where id = $1";
    let id = uuid::Uuid::try_parse(&first[4..]).expect("an id");
    let mut db = world.database.connection().await;
    sqlx::query(settle)
        .bind(id)
        .execute(&mut db)
        .await
        .expect("an update");
    world.client.link(request(2)).await;
}

#[tokio::test]
async fn readers_that_wait() {
    let world = world("LINKBROKER_QUOTA_WAITING_READERS", 1).await;
    let id = world.client.link(request(0)).await;
    let path = format!("/links/{id}?wait=20");
    let patient = tokio::spawn({
        let (client, path) = (world.client.clone(), path.clone());
        async move {
            // A glance of the test may sit in the only place for a moment.
            while client.get(&path).await.status == 429 {
                tokio::task::yield_now().await;
            }
        }
    });
    let refused = until("the first reader to wait", async || {
        let answer = world.client.get(&format!("/links/{id}?wait=0")).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_refused(
        &refused,
        r#""waiting-readers";q=1"#,
        r#""waiting-readers";r=0;t="#,
    );
    // A stream waits too; a plain read does not.
    let stream = format!("/links/{id}/events");
    let accept = |request: reqwest::RequestBuilder| request.header("accept", "text/event-stream");
    world
        .client
        .send(Method::GET, &stream, accept)
        .await
        .expect(429);
    world.client.get(&format!("/links/{id}")).await.expect(200);
    // Who makes a link and cannot wait for it has made it.
    let prefer = |http: reqwest::RequestBuilder| http.header("prefer", "wait=20").json(&request(1));
    world
        .client
        .send(Method::POST, "/links", prefer)
        .await
        .expect(202);
    // A reader that has left makes room.
    patient.abort();
    tokio::time::timeout(Duration::from_secs(20), async {
        until("the place to be free", async || {
            let answer = world.client.get(&format!("/links/{id}?wait=0")).await;
            (answer.status == 200).then_some(())
        })
        .await;
    })
    .await
    .expect("a free place");
}
