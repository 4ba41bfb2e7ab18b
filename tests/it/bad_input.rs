//! What cannot be a request is refused with a stable code and the place, and nothing is stored.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Answer, World, docs};

/// The pointers of a problem's errors.
fn pointers(answer: &Answer) -> Vec<&str> {
    let errors = answer.body["errors"].as_array();
    let errors = errors.into_iter().flatten();
    errors
        .filter_map(|error| error["pointer"].as_str().or(error["parameter"].as_str()))
        .collect()
}

async fn assert_nothing_stored(world: &World) {
    let links = world.client.get("/links").await.expect(200);
    assert_eq!(links.body, json!({"links": []}));
    assert_eq!(world.sandbox.calls().len(), 0);
}

/// The usual request with one place changed.
fn changed(pointer: &str, value: Value) -> Value {
    let mut request = docs();
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    let parent = request.pointer_mut(parent).expect("a place");
    parent[field] = value;
    request
}

#[tokio::test]
async fn fields_are_refused_with_their_place() {
    let world = World::usual().await;
    let cases = [
        ("/repository", json!("not an address")),
        ("/repository", json!("")),
        ("/repository", json!("ftp://github.com/acme/docs")),
        ("/repository", json!("https://github.com/")),
        ("/repository", json!("https://github.com/acme")),
        ("/repository", json!("https://git.example.com/acme/docs")),
        ("/repository", json!("https://gitlab.com/acme")),
        ("/repository", json!(7)),
        ("/branch", json!("feature..x")),
        ("/branch", json!("-x")),
        ("/branch", json!("x".repeat(256))),
        ("/site/name", json!("Not A Name")),
        ("/site/name", json!("x".repeat(64))),
        ("/site/name", json!("-x")),
        ("/site/team", json!("a/b")),
        ("/site/id", json!("unknown here")),
        ("/build/publish", json!("/etc")),
        ("/build/base", json!("../other")),
        ("/build/command", json!("x".repeat(1025))),
        ("/build/command", json!("one\ntwo")),
        ("/access", json!("magic")),
        ("/verify", json!("hope")),
        ("/allowed_branches", json!("main")),
        ("/ref", json!("x".repeat(201))),
        ("/ref", json!("")),
        ("/ref", json!("..")),
        ("/labels", json!({"x": 7})),
        ("/unknown", json!(1)),
    ];
    for (pointer, value) in cases {
        let answer = world
            .client
            .post("/links", changed(pointer, value.clone()))
            .await;
        assert_eq!(
            (answer.status, answer.code()),
            (422, "invalid_request"),
            "{pointer} {value}"
        );
        let found = pointers(&answer);
        assert!(
            found.iter().any(|found| found.starts_with(pointer)),
            "{pointer} {value}: {found:?}"
        );
        assert_ne!(answer.body["request_id"], Value::Null);
    }
    assert_nothing_stored(&world).await;
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let world = World::usual().await;
    let request = json!({
        "repository": "nowhere", "branch": "a b", "site": {"name": "A"}, "allowed_branches": ["x", "y~"],
        "labels": {"a/b": "x".repeat(64)},
    });
    let answer = world.client.post("/links", request).await.expect(422);
    let expected = [
        "/repository",
        "/branch",
        "/site/name",
        "/allowed_branches/1",
        "/allowed_branches",
        "/labels/a~1b",
    ];
    assert_eq!(pointers(&answer), expected, "{}", answer.text);
    assert_nothing_stored(&world).await;
}

#[tokio::test]
async fn branches_that_leave_out_the_production_branch_are_refused() {
    let world = World::usual().await;
    let mut request = docs();
    request["branch"] = json!("main");
    request["allowed_branches"] = json!(["develop"]);
    let answer = world.client.post("/links", request).await.expect(422);
    assert_eq!(pointers(&answer), ["/allowed_branches"]);
    assert_nothing_stored(&world).await;
}

#[tokio::test]
async fn bodies_that_are_no_request_are_refused() {
    let world = World::usual().await;
    let large = format!("{{\"repository\": \"{}\"}}", "x".repeat(1024 * 1024));
    let json_type = Some("application/json");
    let cases = [
        (json_type, "", 400, "invalid_body"),
        (json_type, "   ", 400, "invalid_body"),
        (json_type, "{\"repository\": ", 400, "invalid_body"),
        (
            json_type,
            "{\"repository\": \"x\"} trailing",
            400,
            "invalid_body",
        ),
        (json_type, "[]", 422, "invalid_request"),
        (json_type, "null", 422, "invalid_request"),
        (json_type, "{}", 422, "invalid_request"),
        (
            json_type,
            "{\"repository\":\"a\",\"repository\":\"b\"}",
            422,
            "invalid_request",
        ),
        (json_type, &large, 413, "body_too_large"),
        (Some("text/plain"), &large, 413, "body_too_large"),
        (Some("text/plain"), "{}", 415, "unsupported_media_type"),
        (
            Some("application/x-www-form-urlencoded"),
            "repository=x",
            415,
            "unsupported_media_type",
        ),
        (None, "{}", 415, "unsupported_media_type"),
    ];
    for (content_type, body, status, code) in cases {
        let body = body.to_owned();
        let start = body.chars().take(40).collect::<String>();
        let answer = world
            .client
            .send(Method::POST, "/links", |request| match content_type {
                Some(content_type) => request.header("content-type", content_type).body(body),
                None => request.body(body),
            });
        let answer = answer.await;
        assert_eq!(
            (answer.status, answer.code()),
            (status, code),
            "{content_type:?} {start}: {}",
            answer.text
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
    }
    assert_nothing_stored(&world).await;
}

#[tokio::test]
async fn a_password_in_the_address_is_refused_and_repeated_nowhere() {
    let world = World::usual().await;
    let addresses = [
        "https://ann:hunter2-secret@github.com/acme/docs",
        "https://hunter2-secret:x-oauth-basic@github.com/acme/docs",
        "ann:hunter2-secret@github.com/acme/docs",
        "https://x-access-token:hunter2-secret@github.com/acme/docs.git",
    ];
    for address in addresses {
        let answer = world
            .client
            .post("/links", changed("/repository", json!(address)))
            .await
            .expect(422);
        assert_eq!(pointers(&answer), ["/repository"], "{address}");
    }
    assert!(!world.client.seen().contains("hunter2"));
    assert!(!world.server.log().contains("hunter2"));
    assert_nothing_stored(&world).await;
}

#[tokio::test]
async fn connections_that_are_missing_or_ambiguous_are_asked_for() {
    let world = World::empty(Default::default()).await;
    world.repository("docs").await;
    let refused = async |request: Value, pointer: &str| {
        let answer = world.client.post("/links", request).await.expect(422);
        assert_eq!(pointers(&answer), [pointer], "{}", answer.text);
    };
    refused(docs(), "/connections/provider").await;
    world.connect(&world.client).await;
    refused(
        changed("/connections", json!({"netlify": "other"})),
        "/connections/netlify",
    )
    .await;
    refused(
        changed("/connections", json!({"provider": "netlify"})),
        "/connections/provider",
    )
    .await;

    let credential = json!({"type": "token", "token": "another"});
    let second = json!({"name": "second", "kind": "github", "credential": credential});
    world.client.post("/connections", second).await.expect(201);
    refused(docs(), "/connections/provider").await;
    assert_nothing_stored(&world).await;
}

#[tokio::test]
async fn connections_are_checked_too() {
    let world = World::empty(Default::default()).await;
    let good = json!({"name": "a", "kind": "github", "credential": {"type": "token", "token": "secret-abc"}});
    let with = |pointer: &str, value: Value| {
        let mut connection = good.clone();
        *connection.pointer_mut(pointer).expect("a place") = value;
        connection
    };
    let basic = |user: &str, secret: &str| json!({"type": "basic", "user": user, "secret": secret});
    let at_bitbucket = |user: &str, secret: &str| json!({"name": "a", "kind": "bitbucket", "credential": basic(user, secret)});
    let mut foreign = good.clone();
    foreign["host"] = json!("github.example.com");
    let mut unknown = good.clone();
    unknown["extra"] = json!(1);
    let cases = [
        (with("/name", json!("")), "/name"),
        (with("/name", json!("x".repeat(101))), "/name"),
        (with("/name", json!("a b")), "/name"),
        (with("/kind", json!("sourceforge")), "/kind"),
        (with("/credential/type", json!("magic")), "/credential"),
        (with("/credential/token", json!("")), "/credential/token"),
        (
            with("/credential/token", json!("secret-abc with blanks")),
            "/credential/token",
        ),
        (
            with("/credential/token", json!("x".repeat(4097))),
            "/credential/token",
        ),
        (
            with("/credential", basic("ann", "secret-abc")),
            "/credential/type",
        ),
        (at_bitbucket("ann", "secret-abc"), "/credential/user"),
        (
            at_bitbucket("ann@acme.example", "ATBBsecret-abc"),
            "/credential/secret",
        ),
        (foreign, "/host"),
        (unknown, "/extra"),
    ];
    for (connection, pointer) in cases {
        let answer = world
            .client
            .post("/connections", connection.clone())
            .await
            .expect(422);
        let found = pointers(&answer);
        assert!(
            found.iter().any(|found| found.starts_with(pointer)),
            "{connection}: {found:?}"
        );
    }
    assert!(!world.client.seen().contains("secret-abc"));
    let connections = world.client.get("/connections").await.expect(200);
    assert_eq!(connections.body, json!({"connections": []}));
}

#[tokio::test]
async fn queries_are_checked() {
    let world = World::usual().await;
    let cases = [
        ("/links?limit=0", "limit"),
        ("/links?limit=101", "limit"),
        ("/links?limit=many", "limit"),
        ("/links?cursor=%21%21", "cursor"),
        ("/links?cursor=bm90LWEtdXVpZA", "cursor"),
        ("/links?status=happy", "status"),
        ("/links?colour=red", ""),
        ("/connections?limit=0", "limit"),
        ("/connections?colour=red", ""),
    ];
    for (path, parameter) in cases {
        let answer = world.client.get(path).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "invalid_query"),
            "{path}: {}",
            answer.text
        );
        let found = pointers(&answer);
        assert!(
            found.iter().any(|found| found.starts_with(parameter)),
            "{path}: {found:?}"
        );
    }
}

#[tokio::test]
async fn ids_that_cannot_be_are_not_found() {
    let world = World::usual().await;
    let con = "con_00000000000000000000000000000000";
    let ids = [
        "lnk_1",
        "1",
        con,
        "lnk_zz000000000000000000000000000000",
        "lnk_00000000-0000-0000-0000-000000000000",
        "%00",
        "lnk_%2e%2e",
    ];
    for id in ids {
        for (method, tail) in [
            (Method::GET, ""),
            (Method::DELETE, ""),
            (Method::POST, "/retry"),
        ] {
            let path = format!("/links/{id}{tail}");
            let answer = world.client.send(method, &path, |request| request).await;
            assert_eq!((answer.status, answer.code()), (404, "not_found"), "{path}");
        }
    }
    let answer = world.client.get("/nowhere").await;
    assert_eq!((answer.status, answer.code()), (404, "not_found"));
    let answer = world
        .client
        .send(Method::PUT, "/links", |request| request)
        .await;
    assert_eq!((answer.status, answer.code()), (405, "method_not_allowed"));
    assert!(
        answer
            .header("allow")
            .is_some_and(|allow| allow.contains("POST")),
        "{:?}",
        answer.headers
    );
}
