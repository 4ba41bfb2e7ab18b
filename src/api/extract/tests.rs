//! Bad requests through a router, each with its answer.

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::super::problem;
use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only their types matter")]
struct Order {
    name: String,
    #[serde(default)]
    site: Site,
    #[serde(default)]
    tags: Vec<u8>,
    #[serde(default)]
    access: Access,
    secret: Option<Secret>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only their types matter")]
struct Site {
    team: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Access {
    #[default]
    DeployKey,
    App,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(dead_code, reason = "only their types matter")]
enum Secret {
    Token { token: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    limit: u8,
}

fn router() -> Router {
    Router::new()
        .route("/orders", post(async |Json(order): Json<Order>| order.name))
        .route(
            "/orders/{id}",
            get(async |Path(id): Path<uuid::Uuid>| id.to_string()),
        )
        .route(
            "/pages",
            get(async |Query(page): Query<Page>| page.limit.to_string()),
        )
        .route(
            "/broken",
            get(async || -> Problem { Problem::internal(anyhow::anyhow!("s3cret")) }),
        )
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn(problem::identify))
}

async fn send(request: axum::http::request::Builder, body: impl Into<Body>) -> (Parts, Value) {
    let request = request.body(body.into()).unwrap();
    let response = router().oneshot(request).await.unwrap();
    let (head, body) = axum::http::Response::into_parts(response);
    let bytes = body.collect().await.unwrap().to_bytes();
    let value = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    (head, value)
}

type Parts = axum::http::response::Parts;

async fn order(body: impl Into<Body>) -> (Parts, Value) {
    let request = Request::post("/orders").header("content-type", "application/json");
    send(request, body).await
}

/// Status, code and the first error of an answer, which must be a complete problem document.
fn told(answer: (Parts, Value)) -> (u16, String, String, String) {
    let (head, body) = answer;
    assert_eq!(
        head.headers["content-type"], "application/problem+json",
        "{body}"
    );
    assert_eq!(
        head.headers["x-request-id"],
        body["request_id"].as_str().unwrap()
    );
    assert_eq!(body["status"], head.status.as_u16());
    assert_eq!(
        body["type"],
        format!("/errors/{}", body["code"].as_str().unwrap())
    );
    assert!(body["title"].is_string() && body["remedy"].is_string());
    let error = &body["errors"][0];
    let place = error["pointer"].as_str().or(error["parameter"].as_str());
    let detail = error["detail"].as_str().or(body["detail"].as_str());
    (
        head.status.as_u16(),
        body["code"].as_str().unwrap().to_owned(),
        place.unwrap_or_default().to_owned(),
        detail.unwrap_or_default().to_owned(),
    )
}

#[tokio::test]
async fn a_good_body_is_read() {
    let (head, body) = order(r#"{"name": "docs", "access": "app"}"#).await;
    assert_eq!((head.status, body), (StatusCode::OK, json!("docs")));
}

#[tokio::test]
async fn each_bad_body_has_its_code_pointer_and_text() {
    for (body, status, code, place, text) in [
        ("", 400, "invalid_body", "", "the body is empty"),
        (" \n", 400, "invalid_body", "", "the body is empty"),
        (
            "{\"name\":\n  oops}",
            400,
            "invalid_body",
            "",
            "the JSON breaks at line 2 column 3",
        ),
        (
            "{\"name\": \"x\"",
            400,
            "invalid_body",
            "",
            "the JSON ends too early, at line 1 column 12",
        ),
        (
            r#"{"name": "x"} {}"#,
            400,
            "invalid_body",
            "",
            "the JSON breaks at line 1 column 15",
        ),
        (
            "{\"name\": \"\u{1}\"}",
            400,
            "invalid_body",
            "",
            "the JSON breaks at line 1 column 11",
        ),
        (
            r#"{"name": "x", "nmae": 1}"#,
            422,
            "invalid_request",
            "/nmae",
            "unknown field",
        ),
        (
            r#"{"name": "x", "a/b~c": 1}"#,
            422,
            "invalid_request",
            "/a~1b~0c",
            "unknown field",
        ),
        (
            r#"{"name": "x", "site": {"taem": 1}}"#,
            422,
            "invalid_request",
            "/site/taem",
            "unknown field",
        ),
        (
            r#"["x"]"#,
            422,
            "invalid_request",
            "",
            "expected an object, found sequence",
        ),
        (
            r#"{"name": 5}"#,
            422,
            "invalid_request",
            "/name",
            "expected a string, found integer",
        ),
        (
            r#"{"name": "x", "tags": [1, 300]}"#,
            422,
            "invalid_request",
            "/tags/1",
            "expected u8, found integer",
        ),
        (
            r#"{"site": {}}"#,
            422,
            "invalid_request",
            "/name",
            "missing field",
        ),
        (
            r#"{"name": "x", "name": "y"}"#,
            422,
            "invalid_request",
            "/name",
            "duplicate field",
        ),
        (
            r#"{"name": "x", "access": "magic"}"#,
            422,
            "invalid_request",
            "/access",
            "unknown variant, expected",
        ),
        (r#"[]"#, 422, "invalid_request", "", "expected"),
        (r#"null"#, 422, "invalid_request", "", "found null"),
    ] {
        let (got_status, got_code, got_place, got_text) = told(order(body).await);
        assert_eq!(
            (got_status, got_code.as_str(), got_place.as_str()),
            (status, code, place),
            "{body}"
        );
        assert!(got_text.contains(text), "{body}: {got_text}");
    }
}

#[tokio::test]
async fn values_of_the_request_are_not_repeated() {
    for body in [
        r#"{"name": "x", "secret": "ghp_canary"}"#,
        r#"{"name": "x", "tags": "ghp_canary"}"#,
        r#"{"name": "x", "tags": "a, expected ghp_canary"}"#,
        r#"{"name": "x", "tags": ["ghp_canary\" at line 1"]}"#,
        r#"{"name": "x", "access": "ghp_canary"}"#,
        r#"{"name": "x", "secret": {"type": "ghp_canary"}}"#,
        r#"{"name": "x", "secret": {"type": "token", "token": ["ghp_canary"]}}"#,
    ] {
        let (_, answer) = order(body).await;
        assert_eq!(answer["code"], "invalid_request", "{body}");
        assert!(!answer.to_string().contains("canary"), "{answer}");
    }
}

#[tokio::test]
async fn deep_nesting_is_refused() {
    let body = "[".repeat(10_000);
    assert_eq!(told(order(body).await).0, 422);
    let body = format!(r#"{{"name": "x", "secret": {}"#, "[".repeat(10_000));
    assert!(told(order(body).await).0 < 500);
}

#[tokio::test]
async fn large_bodies_are_refused_and_the_largest_is_not() {
    let body = |bytes: usize| format!(r#"{{"name": "{}"}}"#, "x".repeat(bytes - 12));
    assert_eq!(order(body(BODY_LIMIT)).await.0.status, StatusCode::OK);
    assert_eq!(told(order(body(BODY_LIMIT + 1)).await).1, "body_too_large");
    let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>("x".repeat(1024)));
    assert_eq!(told(order(Body::from_stream(endless)).await).0, 413);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    let broken = futures_util::stream::iter([Ok("{"), Err(std::io::Error::other("reset"))]);
    assert_eq!(
        told(order(Body::from_stream(broken)).await).1,
        "invalid_body"
    );
}

#[tokio::test]
async fn only_json_is_taken() {
    for (content_type, status) in [
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("application/merge-patch+json", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("text/json+json", 415),
        ("", 415),
    ] {
        let request = Request::post("/orders").header("content-type", content_type);
        let (head, _) = send(request, r#"{"name": "x"}"#).await;
        assert_eq!(head.status, status, "{content_type}");
    }
    let (head, _) = send(Request::post("/orders"), "{}").await;
    assert_eq!(head.status, 415);
}

#[tokio::test]
async fn queries_are_checked() {
    assert_eq!(send(Request::get("/pages?limit=5"), "").await.1, json!(5));
    for (query, place, text) in [
        ("limit=many", "limit", "invalid digit"),
        ("limit=300", "limit", "too large"),
        ("limit=%00", "limit", "NUL"),
        ("limti=5", "limti", "unknown field"),
        ("limit=1&limit=2", "limit", "duplicate"),
    ] {
        let (_, code, got_place, got_text) =
            told(send(Request::get(format!("/pages?{query}")), "").await);
        assert_eq!(
            (code.as_str(), got_place.as_str()),
            ("invalid_query", place)
        );
        assert!(got_text.contains(text), "{query}: {got_text}");
    }
}

#[tokio::test]
async fn unknown_paths_ids_and_methods_are_problems() {
    assert_eq!(
        told(send(Request::get("/nowhere"), "").await).1,
        "not_found"
    );
    assert_eq!(
        told(send(Request::get("/orders/not-an-id"), "").await).1,
        "not_found"
    );
    let answer = send(Request::delete("/orders"), "").await;
    assert_eq!(answer.0.headers["allow"], "POST");
    assert_eq!(told(answer).1, "method_not_allowed");
}

#[tokio::test]
async fn causes_are_kept_from_callers() {
    let (head, body) = send(Request::get("/broken"), "").await;
    assert_eq!(head.status, 500);
    assert!(!body.to_string().contains("s3cret"));
}

#[tokio::test]
async fn a_reasonable_request_id_is_kept() {
    for (sent, kept) in [
        ("abc-1.2", true),
        ("", false),
        ("a b", false),
        (&"x".repeat(129), false),
    ] {
        let (head, _) = send(Request::get("/nowhere").header("x-request-id", sent), "").await;
        assert_eq!(head.headers["x-request-id"] == sent, kept, "{sent}");
    }
}
