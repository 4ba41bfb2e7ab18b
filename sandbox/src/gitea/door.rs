//! What happens to every Gitea call before its handler: whose token is it, and does its scope suffice?

use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::refused;
use crate::forge::Token;
use crate::forge::credentials::{Credentials, Visitor};
use crate::forge::refusal::Refusal;
use crate::world::World;

/// Wraps Gitea's API.
pub async fn receive(
    Shared(world): Shared<Arc<World>>,
    mut request: Request,
    next: Next,
) -> Response {
    match admit(&world, &request) {
        Ok(visitor) => {
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// `token …`, `Bearer …`, or a token as the password (or, with `x-oauth-basic`, as the name) of basic credentials.
fn admit(world: &World, request: &Request) -> Result<Visitor, Refusal> {
    let Some(credentials) = Credentials::of(request.headers()) else {
        return Ok(Visitor { token: None });
    };
    let unknown = || {
        refused(
            StatusCode::UNAUTHORIZED,
            "invalid username, password or token",
        )
    };
    let credentials = credentials.ok_or_else(unknown)?;
    let secret = match &credentials {
        Credentials::Basic { user, password } if password == "x-oauth-basic" => user,
        other => other.secret(),
    };
    let token = world.forges.gitea.lock().tokens.get(secret).cloned();
    let token = token.filter(|t| !t.is_over(world.clock.now()));
    let token = token.ok_or_else(unknown)?;
    check_scope(&token, request)?;
    Ok(Visitor { token: Some(token) })
}

fn check_scope(token: &Token, request: &Request) -> Result<(), Refusal> {
    let area = match request.uri().path() {
        path if path.starts_with("/user") => "user",
        path if path.starts_with("/version") => return Ok(()),
        _ => "repository",
    };
    let write = format!("write:{area}");
    let read = format!("read:{area}");
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let wanted = if reads { &read } else { &write };
    if token.has_any(&["all", &write, wanted]) {
        return Ok(());
    }
    let message = format!(
        "token does not have at least one of required scope(s), required=[{wanted}], token scope={}",
        token.scopes.join(",")
    );
    Err(refused(StatusCode::FORBIDDEN, &message))
}
