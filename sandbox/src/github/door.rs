//! What happens to every GitHub call before and after its handler: User-Agent, token, rate limits, headers, ETag.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::answer::Refusal;
use super::app_token;
use super::apps::permissions_of;
use super::limits::Payer;
use super::state::{Access, Repository, State, Token, TokenKind};
use crate::world::World;

/// Who calls; in the extensions of every request that reaches a handler.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// `None` without a token.
    pub token: Option<Token>,
    /// Slug of the app that came with its own JWT.
    pub app: Option<String>,
    /// The token's text, to remember with what a key was made.
    pub secret: String,
    pub now: i64,
}

impl Visitor {
    /// Login of the token's owner.
    pub fn login(&self) -> Option<&str> {
        self.token.as_ref().map(|t| t.login.as_str())
    }

    /// The app that came with its own JWT.
    ///
    /// # Errors
    /// 401 for anybody else, in the recorded words.
    pub fn app(&self) -> Result<&str, Refusal> {
        self.app.as_deref().ok_or_else(|| {
            let message = "A JSON web token could not be decoded";
            Refusal::new(StatusCode::UNAUTHORIZED, message)
        })
    }

    /// What the visitor may do with a repository.
    pub fn access(&self, repository: &Repository) -> Access {
        match &self.token {
            Some(token) => repository.access(&token.permissions, &token.login),
            None => repository.for_anybody(),
        }
    }

    /// Whose rate limit the visitor uses.
    pub fn payer(&self) -> Payer {
        Payer {
            login: self.login().or(self.app.as_deref()).map(str::to_owned),
            now: self.now,
        }
    }
}

/// Wraps GitHub's router.
pub async fn receive(
    Shared(world): Shared<Arc<World>>,
    mut request: Request,
    next: Next,
) -> Response {
    let creates = request.method() == Method::POST;
    let wanted_etag = (request.method() == Method::GET)
        .then(|| request.headers().get(header::IF_NONE_MATCH).cloned())
        .flatten();
    let visitor = match admit(&world, request.headers()) {
        Ok(visitor) => visitor,
        Err(refusal) => return sign(refusal.into_response()),
    };
    // Reading one's own limit is free.
    let paid = if request.uri().path().ends_with("/rate_limit") {
        Ok(())
    } else {
        pay(&world, &visitor, creates)
    };
    let mut response = match paid {
        Ok(()) => {
            request.extensions_mut().insert(visitor.clone());
            not_modified(next.run(request).await, wanted_etag).await
        }
        Err(refusal) => refusal.into_response(),
    };
    if response.status() == StatusCode::NOT_MODIFIED {
        visitor.payer().give_back(&mut world.github.lock());
    }
    add_headers(&world, &visitor, response.headers_mut());
    sign(response)
}

/// Finds out who calls.
fn admit(world: &World, headers: &HeaderMap) -> Result<Visitor, Refusal> {
    if headers
        .get(header::USER_AGENT)
        .is_none_or(|agent| agent.is_empty())
    {
        return Err(Refusal::forbidden("Missing or invalid User Agent string"));
    }
    let now = world.clock.unix();
    let nobody = Visitor {
        token: None,
        app: None,
        secret: String::new(),
        now,
    };
    let Some(authorization) = headers.get(header::AUTHORIZATION) else {
        return Ok(nobody);
    };
    let bad = || Refusal::new(StatusCode::UNAUTHORIZED, "Bad credentials");
    let secret = authorization
        .to_str()
        .ok()
        .and_then(secret_of)
        .ok_or_else(bad)?;
    let state = world.github.lock();
    if app_token::is_jwt(&secret) {
        let app = Some(app_token::verify(&state, &secret, now)?);
        return Ok(Visitor { app, ..nobody });
    }
    let alive = |token: &&Token| {
        token
            .expires_at
            .is_none_or(|end| end.unix_timestamp() > now)
    };
    let token = state.tokens.get(&secret).filter(alive).cloned();
    let token = with_access(&state, token.ok_or_else(bad)?)?;
    Ok(Visitor {
        token: Some(token),
        secret,
        ..nobody
    })
}

/// What an installation may see can change during its token's life.
fn with_access(state: &State, token: Token) -> Result<Token, Refusal> {
    let Some(id) = token.installation else {
        return Ok(token);
    };
    let bad = || Refusal::new(StatusCode::UNAUTHORIZED, "Bad credentials");
    let installation = state.installations.get(&id).ok_or_else(bad)?;
    if installation.suspended {
        return Err(Refusal::forbidden("This installation has been suspended"));
    }
    let permissions = permissions_of(state, installation);
    Ok(Token {
        permissions,
        ..token
    })
}

/// The token in `Bearer …`, `token …` or as the password of `Basic …`.
fn secret_of(authorization: &str) -> Option<String> {
    let (scheme, rest) = authorization.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "token" => Some(rest.trim().to_owned()),
        "basic" => {
            let pair = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
            Some(pair.split_once(':')?.1.to_owned())
        }
        _ => None,
    }
}

fn pay(world: &World, visitor: &Visitor, creates: bool) -> Result<(), Refusal> {
    let limits = world.switches.read().github.limits.clone();
    visitor
        .payer()
        .take(&mut world.github.lock(), &limits, creates)
}

/// Adds an ETag to a good answer; answers 304 when the caller has it already.
async fn not_modified(response: Response, wanted: Option<HeaderValue>) -> Response {
    if response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Refusal::internal(&error.into()).into_response(),
    };
    let etag = etag(&body);
    if wanted.is_some_and(|wanted| wanted.as_bytes().ends_with(etag.as_bytes())) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    parts.headers.insert(header::ETAG, etag);
    Response::from_parts(parts, Body::from(body))
}

fn etag(body: &Bytes) -> HeaderValue {
    let digest = Sha256::digest(body);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("\"{hex}\"")).expect("hexadecimal digits are header text")
}

const EXPIRY: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");

fn add_headers(world: &World, visitor: &Visitor, headers: &mut HeaderMap) {
    let limits = world.switches.read().github.limits.clone();
    let rate = visitor.payer().rate(&mut world.github.lock(), &limits);
    headers.extend(rate.headers());
    let Some(token) = &visitor.token else { return };
    if token.kind == TokenKind::Classic {
        insert(headers, "x-oauth-scopes", &token.scopes.join(", "));
        // The scopes that a call wants are set by handlers that want some.
        headers
            .entry("x-accepted-oauth-scopes")
            .or_insert(HeaderValue::from_static(""));
    }
    if let Some(end) = token.expires_at.and_then(|end| end.format(EXPIRY).ok()) {
        insert(headers, "github-authentication-token-expiration", &end);
    }
}

/// The headers that even a refused caller gets.
fn sign(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let id = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
    insert(
        headers,
        "x-github-request-id",
        &format!("{}:{}:{}", &id[..4], &id[4..10], &id[10..17]),
    );
    insert(headers, "x-github-media-type", "github.v3; format=json");
    insert(headers, "x-github-api-version-selected", "2022-11-28");
    insert(headers, "server", "github.com");
    response
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => {
            headers.insert(HeaderName::from_static(name), value);
        }
        Err(error) => tracing::warn!(%error, name, "a header was left out"),
    }
}
