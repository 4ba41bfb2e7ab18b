//! Outgoing hooks: signed deliveries, refusals, and the switch-off after failures.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::client::{World, text};

type Received = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

#[tokio::test]
async fn deploys_are_announced_with_a_signature_and_without_an_envelope() {
    let world = World::start().await;
    let (url, received) = subscriber().await;
    let linked = world.link("docs", json!({"stop_builds": true})).await;
    for event in ["deploy_building", "deploy_created", "deploy_failed"] {
        subscribe(&world, linked.site_id(), event, &url)
            .await
            .expect(201);
    }
    world
        .netlify(
            Method::POST,
            &format!("/sites/{}/builds", linked.site_id()),
            None,
        )
        .await
        .expect(200);
    let arrived = || received.lock().expect("a lock").len();
    world
        .until("both events arrive", async || arrived() == 2)
        .await;

    let received = received.lock().expect("a lock").clone();
    let states: Vec<Value> = received
        .iter()
        .map(|(headers, body)| verified(headers, body)["state"].clone())
        .collect();
    assert_eq!(states, [json!("building"), json!("ready")]);
    world.assert_lawful();
}

#[tokio::test]
async fn hooks_are_kept_changed_and_deleted() {
    let world = World::start().await;
    let site = world.bare_site("docs").await;
    let site_id = text(&site, "id");
    let hook = subscribe(&world, site_id, "deploy_created", "http://127.0.0.1:1/")
        .await
        .expect(201);
    let path = format!("/hooks/{}", text(&hook, "id"));
    assert_eq!(world.get(&path).await, hook);
    assert_eq!(
        world.get(&format!("/hooks?site_id={site_id}")).await,
        json!([hook])
    );
    let changed = world
        .netlify(Method::PUT, &path, Some(json!({"event": "deploy_failed"})))
        .await
        .expect(200);
    assert_eq!(changed["event"], "deploy_failed");
    assert!(
        world
            .get("/hooks/types")
            .await
            .as_array()
            .is_some_and(|t| !t.is_empty())
    );
    world.netlify(Method::DELETE, &path, None).await.expect(204);
    world.netlify(Method::GET, &path, None).await.expect(404);

    subscribe(&world, site_id, "no_such_event", "http://127.0.0.1:1/")
        .await
        .expect(422);
    subscribe(&world, site_id, "deploy_created", "ftp://example.com")
        .await
        .expect(422);
    subscribe(&world, "nowhere", "deploy_created", "http://127.0.0.1:1/")
        .await
        .expect(404);
    world
        .sandbox
        .patch_switches(&json!({"netlify": {"refuse_private_notification_urls": true}}))
        .expect("a switch");
    subscribe(&world, site_id, "deploy_created", "http://127.0.0.1:1/")
        .await
        .expect(422);
    world.assert_lawful();
}

#[tokio::test]
async fn a_subscriber_that_fails_is_switched_off_until_enabled() {
    let world =
        World::with_switches(json!({"netlify": {"notification_failures_allowed": 1}})).await;
    let linked = world.link("docs", json!({"stop_builds": true})).await;
    // Nobody listens on the port of a listener that is gone.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}/", gone.local_addr().expect("an address"));
    drop(gone);
    let hook = subscribe(&world, linked.site_id(), "deploy_created", &url)
        .await
        .expect(201);
    let path = format!("/hooks/{}", text(&hook, "id"));
    world
        .netlify(
            Method::POST,
            &format!("/sites/{}/builds", linked.site_id()),
            None,
        )
        .await
        .expect(200);
    world
        .until("it is disabled", async || {
            world.get(&path).await["disabled"] == true
        })
        .await;
    let enabled = world
        .netlify(Method::POST, &format!("{path}/enable"), None)
        .await
        .expect(200);
    assert_eq!(enabled["disabled"], false);
}

async fn subscribe(world: &World, site_id: &str, event: &str, url: &str) -> crate::client::Reply {
    let body =
        json!({"type": "url", "event": event, "data": {"url": url, "signature_secret": "s3cret"}});
    world
        .netlify(
            Method::POST,
            &format!("/hooks?site_id={site_id}"),
            Some(body),
        )
        .await
}

/// A server that keeps what it gets.
async fn subscriber() -> (String, Received) {
    let received = Received::default();
    let keep = async |State(received): State<Received>, headers: HeaderMap, body: Bytes| {
        received.lock().expect("a lock").push((headers, body));
    };
    let app = Router::new()
        .route("/", post(keep))
        .with_state(received.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, received)
}

/// The body, after its signature was checked as a careful receiver does.
fn verified(headers: &HeaderMap, body: &[u8]) -> Value {
    let jws = headers["x-webhook-signature"].to_str().expect("text");
    let parts: Vec<&str> = jws.split('.').collect();
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(b"s3cret").expect("a key");
    mac.update(format!("{}.{}", parts[0], parts[1]).as_bytes());
    mac.verify_slice(&decode(parts[2]))
        .expect("the right signature");
    let claims: Value = serde_json::from_slice(&decode(parts[1])).expect("claims");
    let hash: String = Sha256::digest(body)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(claims, json!({"iss": "netlify", "sha256": hash}));
    serde_json::from_slice(body).expect("the deploy")
}
