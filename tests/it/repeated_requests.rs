//! A request with an `Idempotency-Key` may be sent again: it is done once.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Answer, Client, TENANT, World, docs, text, until};

/// Sends a body with a key; the answer whatever it is.
async fn post(client: &Client, path: &str, key: &str, body: &Value) -> Answer {
    client
        .send(Method::POST, path, |request| {
            request.header("idempotency-key", key).json(body)
        })
        .await
}

/// Sends again as long as the answer says that the request is being done.
async fn post_patiently(client: &Client, path: &str, key: &str, body: &Value) -> Answer {
    until("the request to be done", async || {
        let answer = post(client, path, key, body).await;
        if answer.status == 409 {
            assert_eq!(answer.code(), "idempotency_in_progress");
            assert_eq!(answer.header("retry-after"), Some("1"));
            return None;
        }
        Some(answer)
    })
    .await
}

#[tokio::test]
async fn a_hundred_equal_requests_at_once_make_one_link() {
    let world = World::usual().await;
    let body = docs();
    let requests = (0..100).map(|_| post_patiently(&world.client, "/links", "deploy-docs", &body));
    let answers = join_all(requests).await;

    let first = &answers[0];
    for answer in &answers {
        assert_eq!(answer.status, 202, "{}", answer.text);
        assert_eq!(answer.text, first.text, "byte for byte");
        for header in ["location", "etag", "retry-after", "content-type"] {
            assert_eq!(answer.header(header), first.header(header), "{header}");
        }
    }
    let replayed = |answer: &&Answer| answer.header("idempotency-replayed") == Some("true");
    assert_eq!(answers.iter().filter(replayed).count(), 99);
    let links = world.client.get("/links").await.expect(200).body;
    assert_eq!(links["links"].as_array().map(Vec::len), Some(1));
    let link = world.client.settled(&first.id()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("sites"), (1, 1));
}

#[tokio::test]
async fn another_spelling_is_the_same_request_and_another_body_is_not() {
    let world = World::usual().await;
    let first = post(&world.client, "/links", "k", &docs())
        .await
        .expect(202);

    let spelled = r#"{ "site": {"team": "sandbox", "name": "acme-docs"},
        "build": {"publish": "dist", "command": "sh build.sh"}, "repository": "https://github.com/acme/docs" }"#;
    let again = world.client.send(Method::POST, "/links", |request| {
        let request = request.header("idempotency-key", "k");
        request
            .header("content-type", "application/json")
            .body(spelled)
    });
    let again = again.await.expect(202);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.text, first.text);

    let mut other = docs();
    other["branch"] = json!("main");
    let refused = post(&world.client, "/links", "k", &other).await.expect(422);
    assert_eq!(refused.code(), "idempotency_conflict");
    let connection =
        json!({"name": "k", "kind": "github", "credential": {"type": "token", "token": "t"}});
    let refused = post(&world.client, "/connections", "k", &connection).await;
    assert_eq!(refused.expect(422).code(), "idempotency_conflict");
}

#[tokio::test]
async fn a_refused_request_keeps_nothing() {
    let world = World::usual().await;
    let mut body = docs();
    body["connections"] = json!({"netlify": "no-such"});
    post(&world.client, "/links", "k", &body).await.expect(422);
    let made = post(&world.client, "/links", "k", &docs())
        .await
        .expect(202);
    assert_eq!(made.header("idempotency-replayed"), None);
    // Without the key the site is taken, with it the answer is the first one.
    world.client.post("/links", docs()).await.expect(409);
    post(&world.client, "/links", "k", &docs())
        .await
        .expect(202);
    let taken = post(&world.client, "/links", "another", &docs()).await;
    assert_eq!(taken.expect(409).code(), "link_exists");
}

#[tokio::test]
async fn tenants_have_keys_of_their_own() {
    let world = World::usual().await;
    let other = world.client_of("other", linkbroker::api::caller::Scope::ALL);
    world.connect(&other).await;
    let ours = post(&world.client, "/links", "k", &docs())
        .await
        .expect(202);
    let theirs = post(&other, "/links", "k", &docs()).await.expect(202);
    assert_ne!(ours.id(), theirs.id());
    assert_eq!(theirs.header("idempotency-replayed"), None);
}

#[tokio::test]
async fn a_connections_secret_leaves_no_trace_that_could_be_guessed_at() {
    let world = World::usual().await;
    let connection = |token: &str| json!({"name": "second", "kind": "github", "credential": {"type": "token", "token": token}});
    let made = post(&world.client, "/connections", "k", &connection("canary-1"))
        .await
        .expect(201);
    let again = post(&world.client, "/connections", "k", &connection("canary-1"))
        .await
        .expect(201);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(
        (again.text, again.headers.get("location")),
        (made.text.clone(), made.headers.get("location"))
    );
    let refused = post(&world.client, "/connections", "k", &connection("canary-2")).await;
    assert_eq!(refused.expect(422).code(), "idempotency_conflict");

    let kept = kept(&world).await;
    assert_eq!(kept[0]["tenant"], TENANT);
    assert!(!kept[0].to_string().contains("canary"));
    // Equal requests of another tenant look different: the fingerprint is keyed.
    let other = world.client_of("other", linkbroker::api::caller::Scope::ALL);
    post(&other, "/connections", "k", &connection("canary-1"))
        .await
        .expect(201);
    let prints: Vec<_> = self::kept(&world)
        .await
        .iter()
        .map(|row| text(&row["fingerprint"]))
        .collect();
    assert_ne!(prints[0], prints[1]);
}

#[tokio::test]
async fn keys_that_cannot_be_are_refused_by_name() {
    let world = World::usual().await;
    for key in ["", "two words", &"x".repeat(256), "ümlaut"] {
        let refused = world.client.send(Method::POST, "/links", |request| {
            let value = reqwest::header::HeaderValue::from_bytes(key.as_bytes());
            request
                .header("idempotency-key", value.expect("a header"))
                .json(&docs())
        });
        let refused = refused.await.expect(400);
        assert_eq!(refused.code(), "invalid_header");
        assert_eq!(refused.body["errors"][0]["parameter"], "Idempotency-Key");
    }
    let longest = "x".repeat(255);
    post(&world.client, "/links", &longest, &docs())
        .await
        .expect(202);
}

#[tokio::test]
async fn an_answer_is_kept_for_a_day_and_then_deleted() {
    let mut world = World::usual().await;
    let first = post(&world.client, "/links", "k", &docs())
        .await
        .expect(202);
    world.client.settled(&first.id()).await;
    age(&world, "23 hours 59 minutes").await;
    let again = post(&world.client, "/links", "k", &docs())
        .await
        .expect(202);
    assert_eq!(again.id(), first.id());

    age(&world, "24 hours").await;
    let done_anew = post(&world.client, "/links", "k", &docs())
        .await
        .expect(409);
    assert_eq!(done_anew.code(), "link_exists");
    world.start_again().await;
    until("the outdated answer to be deleted", async || {
        kept(&world).await.is_empty().then_some(())
    })
    .await;
}

/// Makes every kept answer this old.
async fn age(world: &World, age: &str) {
    sqlx::query("update idempotency_keys set created_at = now() - $1::text::interval")
        .bind(age)
        .execute(&mut world.database.connection().await)
        .await
        .expect("an update");
}

/// The answers that are kept, as rows.
async fn kept(world: &World) -> Vec<Value> {
    let rows = sqlx::query_scalar("select to_jsonb(k) from idempotency_keys k");
    let rows = rows.fetch_all(&mut world.database.connection().await).await;
    rows.expect("rows")
}
