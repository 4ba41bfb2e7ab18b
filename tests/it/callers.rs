//! Who may do what: tokens, scopes, and tenants that do not see each other.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use linkbroker::api::caller::Scope;
use reqwest::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::world::{Client, TENANT, World, docs, text};

#[tokio::test]
async fn without_a_valid_token_nobody_is_let_in() {
    let world = World::empty(Default::default()).await;
    let as_bearer = |token: Option<&str>| {
        world
            .client
            .with_token(&world.server.address, token.map(str::to_owned))
    };
    // The same claims with a later end are good: it is the end that counts.
    let good = as_bearer(Some(&signed(&world, 60)));
    good.get("/links").await.expect(200);

    let expired = signed(&world, -120);
    let forged = format!("{}x", signed(&world, 60));
    for (name, token) in [
        ("none", None),
        ("garbage", Some("garbage")),
        ("expired", Some(expired.as_str())),
        ("forged", Some(forged.as_str())),
    ] {
        let answer = as_bearer(token).get("/links").await.expect(401);
        assert_eq!(answer.code(), "unauthorized", "{name}");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(
            challenge.starts_with("Bearer realm="),
            "{name}: {challenge}"
        );
        assert_eq!(
            challenge.contains("invalid_token"),
            token.is_some(),
            "{name}: {challenge}"
        );
        // Also where there is nothing to find, and before the body is read.
        as_bearer(token).get("/links/lnk_1").await.expect(401);
        as_bearer(token)
            .post("/links", json!({"nonsense": true}))
            .await
            .expect(401);
    }
    for open in ["/livez", "/readyz"] {
        as_bearer(None).get(open).await.expect(204);
    }
}

/// A token with the developer mode's key that ends so many seconds from now.
fn signed(world: &World, seconds: i64) -> String {
    let pem = std::fs::read(world.data_dir().join("dev-issuer.pem")).expect("the issuer's key");
    let key = EncodingKey::from_ed_pem(&pem).expect("a key");
    let claims = json!({
        "iss": "linkbroker-dev", "aud": "linkbroker", "sub": "tester", "tenant": TENANT,
        "scope": "links:read links:write", "exp": OffsetDateTime::now_utc().unix_timestamp() + seconds,
    });
    encode(&Header::new(Algorithm::EdDSA), &claims, &key).expect("a token")
}

#[tokio::test]
async fn each_verb_needs_its_scope() {
    let world = World::usual().await;
    let id = world.client.link(docs()).await;
    world.client.settled(&id).await;
    let link = format!("/links/{id}");
    let retry = format!("/links/{id}/retry");
    let calls = [
        (Scope::LinksRead, Method::GET, "/links"),
        (Scope::LinksRead, Method::GET, link.as_str()),
        (Scope::LinksWrite, Method::POST, "/links"),
        (Scope::LinksWrite, Method::POST, retry.as_str()),
        (Scope::LinksWrite, Method::DELETE, link.as_str()),
        (Scope::ConnectionsRead, Method::GET, "/connections"),
        (Scope::ConnectionsWrite, Method::POST, "/connections"),
    ];
    for (scope, method, path) in calls {
        let others: Vec<_> = Scope::ALL
            .iter()
            .copied()
            .filter(|other| *other != scope)
            .collect();
        let caller = world.client_of(TENANT, &others);
        let answer = caller
            .send(method.clone(), path, |request| request.json(&docs()))
            .await;
        let kept_out = (answer.status, answer.code()) == (403, "forbidden")
            || path == "/connections" && answer.status == 422;
        assert!(kept_out, "{method} {path}: {}", answer.text);
        if answer.status == 403 {
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert!(
                challenge.contains(&format!("scope=\"{scope}\"")),
                "{challenge}"
            );
        }
    }
    assert_eq!(world.client.read(&id).await["status"], "live");
}

#[tokio::test]
async fn what_others_have_looks_like_what_nobody_has() {
    let world = World::usual().await;
    let id = world.client.link(docs()).await;
    let connections = world.client.get("/connections").await.expect(200).body;
    let connection = text(&connections["connections"][0]["id"]);
    world.client.settled(&id).await;

    let other = world.client_of("umbrella", Scope::ALL);
    let absent = "00000000000000000000000000000000";
    for (method, theirs, nobodys) in [
        (
            Method::GET,
            format!("/links/{id}"),
            format!("/links/lnk_{absent}"),
        ),
        (
            Method::DELETE,
            format!("/links/{id}"),
            format!("/links/lnk_{absent}"),
        ),
        (
            Method::POST,
            format!("/links/{id}/retry"),
            format!("/links/lnk_{absent}/retry"),
        ),
        (
            Method::GET,
            format!("/connections/{connection}"),
            format!("/connections/con_{absent}"),
        ),
        (
            Method::DELETE,
            format!("/connections/{connection}"),
            format!("/connections/con_{absent}"),
        ),
    ] {
        let theirs = not_found(&other, method.clone(), &theirs).await;
        let nobodys = not_found(&other, method, &nobodys).await;
        assert_eq!(theirs, nobodys);
    }
    assert_eq!(
        other.get("/links").await.expect(200).body,
        json!({"links": []})
    );
    assert_eq!(
        other.get("/connections").await.expect(200).body,
        json!({"connections": []})
    );
    assert_eq!(world.client.read(&id).await["status"], "live");
}

/// The body of a 404, without the id of the request.
async fn not_found(caller: &Client, method: Method, path: &str) -> Value {
    let mut body = caller
        .send(method, path, |request| request)
        .await
        .expect(404)
        .body;
    body["request_id"].take();
    body
}

#[tokio::test]
async fn two_tenants_use_the_same_names_without_noticing() {
    let world = World::usual().await;
    let other = world.client_of("umbrella", Scope::ALL);
    world.connect(&other).await;
    let mut request = docs();
    request["ref"] = json!("the-docs");
    let ours = world.client.link(request.clone()).await;
    request["site"]["name"] = json!("umbrella-docs");
    let theirs = other.link(request).await;
    assert_ne!(ours, theirs);
    for (caller, id) in [(&world.client, &ours), (&other, &theirs)] {
        let found = caller.get("/links?ref=the-docs").await.expect(200).body;
        assert_eq!(found["links"].as_array().map(Vec::len), Some(1));
        assert_eq!(&text(&found["links"][0]["id"]), id);
        caller.settled(id).await;
    }
}

#[tokio::test]
async fn the_database_hides_other_tenants_rows_even_from_a_query_that_does_not_ask() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live");
    let rows = async |tenant: &str, table: &str| -> i64 {
        let mut connection = world.database.connection_of(tenant).await;
        let query = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        sqlx::query_scalar(query)
            .fetch_one(&mut connection)
            .await
            .expect("a count")
    };
    for table in [
        "connections",
        "data_keys",
        "events",
        "links",
        "resource_uses",
        "resources",
        "step_runs",
    ] {
        assert!(rows(TENANT, table).await > 0, "{table}");
        assert_eq!(rows("umbrella", table).await, 0, "{table}");
        assert_eq!(rows("", table).await, 0, "{table}");
    }
}
