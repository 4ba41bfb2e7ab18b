//! What happens to every Bitbucket call before and after its handler: credentials, rate limit, headers.

use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Switches, refused};
use crate::forge::credentials::{Credentials, Visitor};
use crate::forge::refusal::{Refusal, insert};
use crate::forge::usage::{Limit, Rate};
use crate::forge::{Token, TokenKind};
use crate::world::World;

/// Below this part of the limit (a fifth) a caller is warned.
const NEAR: u64 = 5;

/// Wraps Bitbucket's API.
pub async fn receive(
    Shared(world): Shared<Arc<World>>,
    mut request: Request,
    next: Next,
) -> Response {
    let visitor = match admit(&world, request.headers()) {
        Ok(visitor) => visitor,
        Err(refusal) => return sign(refusal.into_response()),
    };
    let switches = world.switches.read().bitbucket.clone();
    let counted = request.uri().path().starts_with("/repositories/");
    let rate = counted.then(|| pay(&world, &visitor, &switches));
    let token = visitor.token.clone();
    let mut response = match rate.filter(Rate::is_exceeded) {
        Some(rate) => too_many(&rate, &switches).into_response(),
        None => {
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
    };
    if let Some(rate) = rate {
        describe(&rate, response.headers_mut());
    }
    if let Some(token) = token.filter(|_| switches.scope_headers) {
        describe_token(&token, response.headers_mut());
    }
    sign(response)
}

/// People's API tokens come as basic credentials with the e-mail address, access tokens and OAuth's as bearer tokens.
fn admit(world: &World, headers: &HeaderMap) -> Result<Visitor, Refusal> {
    let Some(credentials) = Credentials::of(headers) else {
        return Ok(Visitor { token: None });
    };
    let credentials = credentials.ok_or_else(unsupported)?;
    let mut state = world.forges.bitbucket.lock();
    let token = state.tokens.get(credentials.secret()).cloned();
    let token = token.filter(|t| !t.is_over(world.clock.now()));
    let token = token.ok_or_else(unsupported)?;
    if token.kind == TokenKind::AppPassword {
        let message = "App passwords are no longer supported. Use an API token instead.";
        return Err(refused(StatusCode::UNAUTHORIZED, message));
    }
    let email = state.person(&token.login, token.created_at).email();
    let fits = match (&credentials, token.kind) {
        (Credentials::Basic { user, .. }, TokenKind::Personal) => user.eq_ignore_ascii_case(&email),
        (Credentials::Bearer(_), TokenKind::Access | TokenKind::Oauth) => true,
        _ => false,
    };
    fits.then_some(Visitor { token: Some(token) })
        .ok_or_else(unsupported)
}

/// 401 in Bitbucket's words.
pub fn unsupported() -> Refusal {
    let message = "Token is invalid, expired, or not supported for this endpoint.";
    refused(StatusCode::UNAUTHORIZED, message)
}

fn pay(world: &World, visitor: &Visitor, switches: &Switches) -> Rate {
    let caller = visitor.login().unwrap_or_default().to_ascii_lowercase();
    let limit = Limit {
        // Without credentials, of an address.
        calls: visitor
            .token
            .as_ref()
            .map_or(60, |_| switches.calls_per_hour),
        seconds: 3600,
    };
    limit.take(
        &mut world.forges.bitbucket.lock(),
        &caller,
        world.clock.now(),
    )
}

fn too_many(rate: &Rate, switches: &Switches) -> Refusal {
    let message = "Rate limit for this resource has been exceeded";
    let refusal = refused(StatusCode::TOO_MANY_REQUESTS, message);
    if switches.retry_after {
        refusal.with("retry-after", &rate.wait_seconds().to_string())
    } else {
        refusal
    }
}

fn describe(rate: &Rate, headers: &mut HeaderMap) {
    headers.insert("x-ratelimit-limit", rate.limit.into());
    insert(headers, "x-ratelimit-resource", "api-repositories");
    let near = rate.remaining() * NEAR < rate.limit;
    insert(headers, "x-ratelimit-nearlimit", &near.to_string());
}

fn describe_token(token: &Token, headers: &mut HeaderMap) {
    let kind = match token.kind {
        TokenKind::Personal => "api_token",
        TokenKind::Access => "repo_access_token",
        TokenKind::Oauth => "oauth2",
        TokenKind::AppPassword => "apppassword",
    };
    insert(headers, "x-credential-type", kind);
    insert(headers, "x-oauth-scopes", &token.scopes.join(", "));
}

/// The header that even a refused caller gets.
fn sign(mut response: Response) -> Response {
    let id = uuid::Uuid::new_v4().simple().to_string();
    insert(response.headers_mut(), "x-request-id", &id);
    response
}
