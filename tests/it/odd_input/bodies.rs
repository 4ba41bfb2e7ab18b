//! Bodies.

use proptest::{prelude::*, sample::select};
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::{Value, json};

use super::{
    Odd,
    json::{body, odd_string},
    queries::encoded,
    send_all, world,
};
use crate::world::docs;

const OTHER_TYPES: [&str; 5] = [
    "application/json; charset=utf-16",
    "text/json",
    "application/merge-patch+json",
    "*/*",
    ";",
];

/// With every field that there is.
fn full_link() -> Value {
    json!({
        "repository": "https://github.com/acme/docs", "branch": "main",
        "site": {"name": "another", "team": "sandbox"},
        "build": {"command": "sh build.sh", "publish": "dist", "base": "", "functions": ""},
        "access": "deploy_key", "verify": "push", "allowed_branches": ["main", "next"],
        "connections": {"netlify": "netlify", "provider": "github"},
        "ref": "team-a/docs", "labels": {"portal": "backstage", "team": "a"},
    })
}

fn full_connection() -> Value {
    json!({"name": "third", "kind": "github", "host": "github.com", "credential": {"type": "token", "token": "secret"}})
}

fn credential() -> Value {
    json!({"credential": {"type": "token", "token": "secret"}})
}

/// Where bodies go, each with good ones.
fn targets(link: &str, connection: &str) -> Vec<(Method, String, Vec<Value>)> {
    let links = vec![full_link(), docs()];
    let place = |path: &str| {
        path.replace("{link}", link)
            .replace("{connection}", connection)
    };
    let target = |method, path, good: &[Value]| (method, place(path), good.to_vec());
    vec![
        target(Method::POST, "/links", &links),
        target(Method::POST, "/links?validate_only=true", &links),
        target(Method::PUT, "/links/by-ref/team-a%2Fdocs", &links),
        target(Method::POST, "/connections", &[full_connection()]),
        target(
            Method::PUT,
            "/connections/{connection}/credential",
            &[credential()],
        ),
        target(Method::POST, "/links/{link}/status-tokens", &[json!({})]),
        target(Method::POST, "/links/{link}/retry", &[json!({})]),
        target(
            Method::POST,
            "/connections/{connection}/check",
            &[json!({})],
        ),
    ]
}

fn content_type() -> impl Strategy<Value = HeaderValue> {
    let usual = Just("application/json").boxed();
    prop_oneof![9 => usual, 1 => select(OTHER_TYPES.as_slice())].prop_map(HeaderValue::from_static)
}

fn requests(targets: Vec<(Method, String, Vec<Value>)>) -> impl Strategy<Value = Odd> {
    let to_one = |(method, path, good): (Method, String, Vec<Value>)| {
        let parts = (Just(method), Just(path), body(good), content_type());
        parts.prop_map(|(method, path, body, content_type)| Odd {
            method,
            path,
            headers: vec![(CONTENT_TYPE, content_type)],
            body: Some(body),
        })
    };
    select(targets).prop_flat_map(to_one)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_is_too_odd() {
    let (world, link, connection) = world().await;
    send_all(&world, &requests(targets(&link, &connection)).boxed());
    world.client.get("/readyz").await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_of_a_link_is_too_odd() {
    let (world, ..) = world().await;
    let put = |name: String| Odd {
        method: Method::PUT,
        path: format!("/links/by-ref/{}", encoded(&name)),
        headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body: Some(docs().to_string().into_bytes()),
    };
    // Those two mean another path, whoever sends them.
    let names =
        odd_string().prop_filter("a name", |name| !["", ".", ".."].contains(&name.as_str()));
    send_all(&world, &names.prop_map(put).boxed());
}
