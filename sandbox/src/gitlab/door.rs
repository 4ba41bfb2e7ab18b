//! What happens to every GitLab call before and after its handler: token, scope, rate limits, headers.

use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::refused;
use crate::forge::Token;
use crate::forge::credentials::{Credentials, Visitor};
use crate::forge::refusal::{Refusal, insert};
use crate::forge::usage::{Limit, Rate};
use crate::world::World;

/// Wraps GitLab's API.
pub async fn receive(
    Shared(world): Shared<Arc<World>>,
    mut request: Request,
    next: Next,
) -> Response {
    let visitor = match admit(&world, &request) {
        Ok(visitor) => visitor,
        Err(refusal) => return sign(refusal.into_response()),
    };
    let rate = pay(&world, &visitor, &request);
    let mut response = if rate.is_exceeded() {
        let wait = rate.wait_seconds().to_string();
        let refusal = Refusal::text(StatusCode::TOO_MANY_REQUESTS, "Retry later\n");
        refusal.with("retry-after", &wait).into_response()
    } else {
        request.extensions_mut().insert(visitor);
        next.run(request).await
    };
    if world.switches.read().gitlab.rate_limit_headers {
        describe(&rate, response.headers_mut());
    }
    sign(response)
}

/// Finds out who calls, and whether his token may.
fn admit(world: &World, request: &Request) -> Result<Visitor, Refusal> {
    let Some(secret) = secret(request.headers())? else {
        return Ok(Visitor { token: None });
    };
    let token = world.forges.gitlab.lock().tokens.get(&secret).cloned();
    let token = token.ok_or_else(unauthorized)?;
    if token.is_over(world.clock.now()) {
        let why = "Token is expired. You can either do re-authorization or token refresh.";
        let body = json!({"error": "invalid_token", "error_description": why});
        return Err(Refusal::json(StatusCode::UNAUTHORIZED, body));
    }
    check_scope(&token, request)?;
    Ok(Visitor { token: Some(token) })
}

/// The token in `PRIVATE-TOKEN`, or of any kind as a bearer token.
fn secret(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    if let Some(value) = headers.get("private-token") {
        let text = value.to_str().map_err(|_| unauthorized())?;
        return Ok(Some(text.to_owned()));
    }
    match Credentials::of(headers) {
        None => Ok(None),
        Some(Some(Credentials::Bearer(token))) => Ok(Some(token)),
        Some(_) => Err(unauthorized()),
    }
}

/// 401 in GitLab's words.
pub fn unauthorized() -> Refusal {
    refused(StatusCode::UNAUTHORIZED, "401 Unauthorized")
}

fn check_scope(token: &Token, request: &Request) -> Result<(), Refusal> {
    let path = request.uri().path();
    let wanted: &[&str] = match *request.method() {
        _ if path.ends_with("/personal_access_tokens/self") => return Ok(()),
        Method::GET | Method::HEAD if path.ends_with("/user") => &["api", "read_api", "read_user"],
        Method::GET | Method::HEAD => &["api", "read_api"],
        _ => &["api"],
    };
    if token.has_any(wanted) {
        return Ok(());
    }
    let why = "The request requires higher privileges than provided by the access token.";
    let scope = wanted.join(" ");
    let body = json!({"error": "insufficient_scope", "error_description": why, "scope": scope});
    Err(Refusal::json(StatusCode::FORBIDDEN, body))
}

/// The narrower of the two limits when reading a project, else the general one.
fn pay(world: &World, visitor: &Visitor, request: &Request) -> Rate {
    let switches = world.switches.read().gitlab.clone();
    let now = world.clock.now();
    let caller = visitor.login().unwrap_or_default().to_ascii_lowercase();
    let mut state = world.forges.gitlab.lock();
    let per_minute = |calls| Limit { calls, seconds: 60 };
    let general = per_minute(switches.calls_per_minute).take(&mut state, &caller, now);
    let path = request.uri().path().trim_start_matches("/projects/");
    let reads_project = request.method() == Method::GET
        && request.uri().path().starts_with("/projects/")
        && !path.contains('/');
    if general.is_exceeded() || !reads_project {
        return general;
    }
    let caller = format!("{caller} reads projects");
    per_minute(switches.project_reads_per_minute).take(&mut state, &caller, now)
}

fn describe(rate: &Rate, headers: &mut HeaderMap) {
    headers.insert("ratelimit-limit", rate.limit.into());
    headers.insert("ratelimit-observed", rate.used.into());
    headers.insert("ratelimit-remaining", rate.remaining().into());
    headers.insert("ratelimit-reset", rate.resets_at.into());
    insert(headers, "ratelimit-name", "throttle_authenticated_api");
    let reset = OffsetDateTime::from_unix_timestamp(rate.resets_at).ok();
    if let Some(text) = reset.and_then(|at| at.format(&Rfc2822).ok()) {
        insert(
            headers,
            "ratelimit-resettime",
            &text.replace("+0000", "GMT"),
        );
    }
}

/// The header that even a refused caller gets.
fn sign(mut response: Response) -> Response {
    let id = uuid::Uuid::new_v4().simple().to_string();
    insert(
        response.headers_mut(),
        "x-request-id",
        &format!("01{}", &id[..24]),
    );
    response
}
