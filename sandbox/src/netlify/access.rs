//! Who calls: bearer tokens, the rate limit per token, and the request id of every answer.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::answer::ApiError;
use super::records::Token;
use crate::world::World;

/// Length of a rate-limit window in seconds.
const WINDOW_S: i64 = 60;

/// The user behind the request's token; handlers take it with `Extension<Caller>`.
#[derive(Clone, Debug)]
pub struct Caller {
    pub user_id: String,
}

/// What is left of a token's window.
struct Budget {
    limit: u32,
    remaining: u32,
    reset: i64,
    exceeded: bool,
}

/// Lets a request in when its token is known and not exhausted.
pub async fn admit(State(world): State<Arc<World>>, mut request: Request, next: Next) -> Response {
    let switches = world.switches.read().netlify.clone();
    let now = world.clock.unix();
    let admitted = bearer(request.headers()).and_then(|token| {
        let mut netlify = world.netlify.lock();
        let token = netlify.tokens.get_mut(token)?;
        let budget = spend(token, switches.rate_limit_per_minute, now);
        Some((token.user_id.clone(), budget))
    });
    let Some((user_id, budget)) = admitted else {
        return unauthorized(switches.text_401).into_response();
    };
    let mut response = if budget.exceeded {
        let message = "API Request rate limit surpassed for application";
        ApiError::Plain(StatusCode::TOO_MANY_REQUESTS, message).into_response()
    } else {
        request.extensions_mut().insert(Caller { user_id });
        next.run(request).await
    };
    describe(&budget, response.headers_mut());
    response
}

/// Every answer of the API carries `X-Request-Id`.
pub async fn stamp_request_id(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let id = Uuid::now_v7().simple().to_string();
    let id = HeaderValue::try_from(id).expect("hexadecimal digits are a valid header");
    response.headers_mut().insert("x-request-id", id);
    response
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ")
}

fn unauthorized(as_text: bool) -> ApiError {
    let status = StatusCode::UNAUTHORIZED;
    if as_text {
        ApiError::Text(status, "HTTP Token: Access denied.\n")
    } else {
        ApiError::Plain(status, "Access Denied")
    }
}

fn spend(token: &mut Token, limit: u32, now: i64) -> Budget {
    if now >= token.window_start + WINDOW_S {
        token.window_start = now;
        token.used = 0;
    }
    token.used = token.used.saturating_add(1);
    Budget {
        limit,
        remaining: limit.saturating_sub(token.used),
        reset: token.window_start + WINDOW_S,
        exceeded: token.used > limit,
    }
}

/// `X-RateLimit-Reset` is an absolute time in unix seconds.
fn describe(budget: &Budget, headers: &mut HeaderMap) {
    headers.insert("x-ratelimit-limit", budget.limit.into());
    headers.insert("x-ratelimit-remaining", budget.remaining.into());
    headers.insert("x-ratelimit-reset", budget.reset.into());
}
