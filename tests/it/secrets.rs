//! Credentials go in and are seen nowhere again: not in answers, not in the log at its finest, not in metrics, not in rows.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use linkbroker_sandbox::netlify;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Row;

use crate::world::{Setup, World, docs, text, until};

/// No known shape of a token: what hides them must not be their prefix.
const NETLIFY: &str = "canary-of-the-netlify-connection-5f1d";
const GITHUB: &str = "canary-of-the-github-connection-77ab";
const REPLACED: &str = "canary-of-the-replaced-credential-0c3e";
const VARIABLE: &str = "canary-of-a-variable-of-the-site-91d4";

#[tokio::test]
async fn no_secret_is_seen_again() {
    let settings = vec![("LINKBROKER_LOG", "trace".to_owned())];
    let world = World::empty(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    world.repository("docs").await;
    world.connect_with(&world.client, NETLIFY, GITHUB).await;
    fail_in_many_ways(&world).await;
    admit(&world).await;
    let link = world.client.link_settled(docs()).await;
    let link = match link["status"] == "live" {
        true => link,
        false => world.client.retry(&text(&link["id"])).await,
    };
    assert_eq!(link["status"], "live", "{link:#}");
    replace_a_credential(&world).await;
    world.client.unlink(&text(&link["id"]), "").await;
    set_variables(&world).await;

    let metrics = world.client.get("/metrics").await.expect(200).text;
    assert!(
        metrics.contains("linkbroker_upstream_calls_total"),
        "{metrics}"
    );
    let places = [
        ("the log", world.server.log()),
        ("an answer", world.client.seen()),
        ("the metrics", metrics),
        ("a row", rows(&world).await),
    ];
    assert!(
        places[0].1.contains("\"TRACE\""),
        "the log is at its finest"
    );
    for (place, text) in &places {
        for secret in [NETLIFY, GITHUB, REPLACED, VARIABLE] {
            for (form, shown) in forms(secret.as_bytes()) {
                let line = text.lines().find(|line| line.contains(&shown));
                assert_eq!(line, None, "{place} holds the canary {secret} as {form}");
            }
        }
    }
    let sealed = sealed(&world).await;
    assert_eq!(sealed.len(), 4);
    for bytes in sealed {
        for (place, text) in &places[..3] {
            for (form, shown) in forms(&bytes) {
                assert!(
                    !text.contains(&shown),
                    "{place} holds sealed bytes as {form}"
                );
            }
        }
    }
}

/// Empty here: API keys have a test of their own, notifications need a public address, and the others hold numbers alone.
const EMPTY: [&str; 6] = [
    "api_keys",
    "subscriptions",
    "budgets",
    "spent_writes",
    "uncertain_keys",
    "watches",
];

/// All rows of all tables. An empty table would prove nothing.
async fn rows(world: &World) -> String {
    let dump = world.database.dump().await;
    let empty: Vec<_> = dump
        .iter()
        .filter(|(table, rows)| **rows == json!([]) && !EMPTY.contains(&table.as_str()))
        .map(|(table, _)| table)
        .collect();
    assert!(empty.is_empty(), "there is nothing to see in {empty:?}");
    Value::Object(dump).to_string()
}

/// Refused credentials, and an upstream that repeats what it was sent.
async fn fail_in_many_ways(world: &World) {
    let wait = |request: reqwest::RequestBuilder| request.header("prefer", "wait=20");
    let preflight = world.client.send(Method::POST, "/preflights", |request| {
        wait(request).json(&docs())
    });
    assert_eq!(preflight.await.expect(201).body["outcome"], "fail");
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["diagnosis"]["code"], "credential_refused", "{link:#}");
    world.client.unlink(&text(&link["id"]), "").await;
    let echo = |token: &str| json!({"message": format!("Validation Failed for {token} and Bearer {token}")});
    for (upstream, path, token) in [
        ("github", "/hooks$", GITHUB),
        ("netlify", "/sites$", NETLIFY),
    ] {
        world.fault(json!({"upstream": upstream, "method": "POST", "path": path,
            "fault": {"status": 422, "body": echo(token),
                "headers": {"x-request-id": token, "x-github-request-id": token}}}));
    }
}

/// Makes the tokens of the connections good, and has that seen: a credential that was refused is not tried again.
async fn admit(world: &World) {
    let sandbox = world.sandbox.world();
    let netlify = json!({"token": NETLIFY, "user": linkbroker_sandbox::NETLIFY_TOKEN});
    let netlify: netlify::NewToken = serde_json::from_value(netlify).expect("a token");
    sandbox
        .netlify
        .lock()
        .add_token(netlify, sandbox.clock.now());
    world.github_token(GITHUB, json!({"acme/docs": "admin"}));
    let listed = world.client.get("/connections").await.expect(200).body;
    for connection in listed["connections"].as_array().expect("connections") {
        check(world, &text(&connection["id"])).await;
    }
}

async fn check(world: &World, connection: &str) {
    let path = format!("/connections/{connection}");
    let check = format!("{path}/check");
    let asked = world.client.send(Method::POST, &check, |request| request);
    asked.await.expect(202);
    until("the check to be over", async || {
        let connection = world.client.get(&path).await.expect(200).body;
        connection["check"]
            .get("poll_after_ms")
            .is_none()
            .then_some(())
    })
    .await;
}

/// One more credential that goes in, and comes in twice.
async fn replace_a_credential(world: &World) {
    let credential = json!({"type": "basic", "user": "ann@acme.example", "secret": REPLACED});
    let connection = json!({"name": "third", "kind": "bitbucket", "credential": credential});
    let made = world
        .client
        .send(Method::POST, "/connections", |request| {
            request.header("idempotency-key", "once").json(&connection)
        })
        .await
        .expect(201);
    world
        .client
        .post("/connections", connection)
        .await
        .expect(409);
    let path = format!("/connections/{}/credential", made.id());
    let replaced = world
        .client
        .send(Method::PUT, &path, |request| request.json(&credential));
    replaced.await.expect(204);
    check(world, &made.id()).await;
}

/// A link with variables, one marked as secret and one not, that are refused at first by an upstream that repeats them. It
/// stays, as do their sealed values.
async fn set_variables(world: &World) {
    let echo = json!({"msg": format!("Validation Failed for {VARIABLE}")});
    world.fault(
        json!({"upstream": "netlify", "method": "POST", "path": "/env",
        "fault": {"status": 422, "body": echo, "headers": {"x-request-id": VARIABLE}}}),
    );
    let mut request = docs();
    request["site"]["name"] = json!("acme-variables");
    request["env"] = json!({"OPEN": VARIABLE, "HIDDEN": {"value": VARIABLE, "secret": true}});
    let link = world.client.link_settled(request).await;
    assert_eq!(link["diagnosis"]["code"], "environment_refused", "{link:#}");
    let link = world.client.retry(&text(&link["id"])).await;
    assert_eq!(link["status"], "live", "{link:#}");
}

async fn sealed(world: &World) -> Vec<Vec<u8>> {
    let mut connection = world.database.connection().await;
    let rows =
        sqlx::query("select sealed from connections union all select sealed from environments")
            .fetch_all(&mut connection)
            .await;
    rows.expect("the rows")
        .iter()
        .map(|row| row.get("sealed"))
        .collect()
}

/// The bytes as they could appear: plain, hexadecimal, and in the middle of base64 text at each of its three alignments.
fn forms(secret: &[u8]) -> Vec<(&'static str, String)> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![
        ("hexadecimal", hex.clone()),
        ("hexadecimal", hex.to_uppercase()),
    ];
    if let Ok(plain) = std::str::from_utf8(secret) {
        forms.push(("plain text", plain.to_owned()));
    }
    for skipped in 0..3 {
        // Whole groups of three bytes look the same whatever surrounds them.
        let whole = &secret[skipped..];
        let whole = &whole[..whole.len() / 3 * 3];
        forms.push(("base64", BASE64_STANDARD_NO_PAD.encode(whole)));
        forms.push(("base64", BASE64_URL_SAFE_NO_PAD.encode(whole)));
    }
    forms
}
