//! A frontend follows one link with a token of its own.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use linkbroker::api::caller::Scope;
use linkbroker::vault::{KeyRing, SignedPurpose};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Answer, Client, Setup, World, docs};

async fn issue(client: &Client, link: &str) -> Answer {
    let path = format!("/links/{link}/status-tokens");
    client.send(Method::POST, &path, |request| request).await
}

async fn stream(client: &Client, path: &str) -> Answer {
    client
        .send(Method::GET, path, |request| {
            request.header("accept", "text/event-stream")
        })
        .await
}

#[tokio::test]
async fn a_browser_follows_a_link_to_its_end() {
    let world = World::usual().await;
    let id = world.client.link(docs()).await;
    let portal = world.client_of("acme", &[Scope::LinksRead]);
    let issued = issue(&portal, &id).await.expect(201);
    assert_eq!(issued.header("cache-control"), Some("no-store"));
    let token = issued.body["token"].as_str().expect("a token");
    let url = issued.body["url"].as_str().expect("a url");
    assert_eq!(url, format!("/links/{id}/events?token={token}"));

    // `EventSource` sends no headers but `Accept`.
    let browser = world.client.with_token(&world.server.address, None);
    let events = stream(&browser, url).await.expect(200).text;
    assert!(
        events.contains("event: link.status_changed") && events.contains("event: end"),
        "{events}"
    );
    let bearer = world
        .client
        .with_token(&world.server.address, Some(token.to_owned()));
    assert_eq!(bearer.read(&id).await["status"], "live");
    let polled = bearer
        .get(&format!("/links/{id}?wait=1&after=1"))
        .await
        .expect(200);
    assert!(polled.header("etag").is_some());
    bearer.get(&format!("/links/{id}/events")).await.expect(200);
    assert!(
        stream(&bearer, &format!("/links/{id}/events"))
            .await
            .expect(200)
            .text
            .contains("event: end")
    );
}

#[tokio::test]
async fn it_opens_nothing_else() {
    let world = World::usual().await;
    let id = world.client.link(docs()).await;
    world.repository("other").await;
    let other = json!({"repository": "https://github.com/acme/other"});
    let other = world.client.link(other).await;
    let token = issue(&world.client, &id).await.expect(201).body["token"].clone();
    let token = token.as_str().expect("a token");
    let bearer = world
        .client
        .with_token(&world.server.address, Some(token.to_owned()));
    let browser = world.client.with_token(&world.server.address, None);

    let mut refusals = Vec::new();
    for path in [
        "/links",
        &format!("/links/{other}"),
        &format!("/links/{other}/events"),
        "/connections",
        "/audit",
        "/links/lnk_x",
    ] {
        refusals.push(bearer.get(path).await.expect(401));
    }
    for (method, path) in [
        (Method::DELETE, format!("/links/{id}")),
        (Method::POST, format!("/links/{id}/retry")),
        (Method::POST, format!("/links/{id}/status-tokens")),
    ] {
        refusals.push(
            bearer
                .send(method, &path, |request| request)
                .await
                .expect(401),
        );
    }
    // In the query for streams alone, and not beside a header.
    refusals.push(
        browser
            .get(&format!("/links/{id}/events?token={token}"))
            .await
            .expect(401),
    );
    refusals.push(
        browser
            .get(&format!("/links/{id}?token={token}"))
            .await
            .expect(401),
    );
    refusals.push(
        stream(&browser, &format!("/links/{id}?token={token}x"))
            .await
            .expect(401),
    );
    refusals.push(
        stream(&bearer, &format!("/links/{id}/events?token={token}"))
            .await
            .expect(401),
    );
    refusals.push(
        stream(&browser, &format!("/links/{other}/events?token={token}"))
            .await
            .expect(401),
    );
    refusals.push(
        stream(&browser, &format!("/links/{id}/events?token=a.b.c"))
            .await
            .expect(401),
    );
    for forged in [
        format!("{token}A"),
        token.replace("lbs_", "lbs_A"),
        expired(&world, &id),
        "lbs_".to_owned(),
    ] {
        let bearer = world.client.with_token(&world.server.address, Some(forged));
        refusals.push(bearer.get(&format!("/links/{id}")).await.expect(401));
    }
    let mut bodies: Vec<_> = refusals.into_iter().map(without_request_id).collect();
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:#?}");
}

/// A token with the server's own signature whose time is over.
fn expired(world: &World, link: &str) -> String {
    let ring = KeyRing::load(&world.data_dir().join("dev-keyring")).expect("the server's ring");
    let link = uuid::Uuid::try_parse(&link[4..]).expect("an id");
    let sign = |exp: i64| {
        let claims = json!({"key": ring.active(), "tenant": "acme", "link": link, "exp": exp});
        let claims = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
        let signature = ring
            .sign(SignedPurpose::StatusToken, claims.as_bytes())
            .expect("a signature");
        format!("lbs_{claims}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    };
    sign(time::OffsetDateTime::now_utc().unix_timestamp() - 1)
}

fn without_request_id(answer: Answer) -> Value {
    let mut body = answer.body;
    body["request_id"] = Value::Null;
    body
}

#[tokio::test]
async fn only_a_reader_of_the_link_makes_one() {
    let world = World::usual().await;
    let id = world.client.link(docs()).await;
    let umbrella = world.client_of("umbrella", Scope::ALL);
    let foreign = issue(&umbrella, &id).await.expect(404);
    let absent = issue(&umbrella, "lnk_00000000000000000000000000000000")
        .await
        .expect(404);
    assert_eq!(without_request_id(foreign), without_request_id(absent));
    let writer = world.client_of("acme", &[Scope::ConnectionsWrite]);
    issue(&writer, &id).await.expect(403);
}

#[tokio::test]
async fn tokens_are_never_logged_and_never_stored() {
    let settings = vec![("LINKBROKER_LOG", "trace".to_owned())];
    let world = World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    let id = world.client.link(docs()).await;
    let issued = issue(&world.client, &id).await.expect(201).body;
    let (token, url) = (
        issued["token"].as_str().expect("a token"),
        issued["url"].as_str().expect("a url"),
    );
    let browser = world.client.with_token(&world.server.address, None);
    stream(&browser, url).await.expect(200);
    // Refused ones neither.
    stream(&browser, &format!("{url}x")).await.expect(401);
    let bearer = world
        .client
        .with_token(&world.server.address, Some(token.to_owned()));
    bearer
        .get(&format!("/links/{id}?unknown=1"))
        .await
        .expect(400);
    let log = world.server.log();
    assert!(log.contains("/events"), "the log tells of requests");
    assert!(!log.contains("lbs_") && !log.contains(&token[4..]));
    let stored = Value::Object(world.database.dump().await).to_string();
    assert!(!stored.contains("lbs_") && !stored.contains(&token[4..]));
}
