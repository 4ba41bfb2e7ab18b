//! Calls about the caller and the instance: `/user`, `/rate_limit`, `/meta`, and what only a token of a GitHub App may ask.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::answer::Refusal;
use super::door::Visitor;
use super::shapes;
use crate::world::World;

/// `GET /user`.
pub async fn current(
    Shared(world): Shared<Arc<World>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<Value>, Refusal> {
    let login = visitor.login().ok_or_else(unauthenticated)?;
    let at = super::addresses(&world);
    let now = world.clock.now();
    let user = world.github.lock().account(login, false, now);
    Ok(Json(shapes::public_user(&user, &at)))
}

/// `GET /rate_limit`; costs nothing.
pub async fn rate_limit(
    Shared(world): Shared<Arc<World>>,
    visitor: Option<Extension<Visitor>>,
) -> Result<Json<Value>, Refusal> {
    let Extension(visitor) = visitor.ok_or_else(unauthenticated)?;
    let limits = world.switches.read().github.limits.clone();
    let rate = visitor.payer().rate(&mut world.github.lock(), &limits);
    Ok(Json(
        json!({"resources": {"core": rate, "search": rate}, "rate": rate}),
    ))
}

/// `GET /meta`: where deliveries come from and the SSH front's host key.
pub async fn meta(Shared(world): Shared<Arc<World>>) -> Result<Json<Value>, Refusal> {
    let known_hosts = std::fs::read_to_string(world.git.known_hosts());
    let known_hosts = known_hosts.map_err(|error| Refusal::internal(&error.into()))?;
    let keys = known_hosts
        .lines()
        .filter_map(|line| Some(line.split_once(' ')?.1));
    Ok(Json(json!({
        "verifiable_password_authentication": false,
        "ssh_keys": keys.collect::<Vec<_>>(),
        "hooks": ["127.0.0.0/8", "::1/128"],
    })))
}

/// `GET /user/installations`: only tokens that a GitHub App issued may ask.
pub async fn user_installations() -> Refusal {
    Refusal::forbidden(
        "You must authenticate with an access token authorized to a GitHub App in order to list installations",
    )
}

fn unauthenticated() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "Requires authentication")
}
