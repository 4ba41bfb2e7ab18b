//! Deploy keys of a repository: `…/keys`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use time::OffsetDateTime;

use super::answer::{self, Refusal, custom};
use super::door::Visitor;
use super::paging::Page;
use super::shapes;
use super::state::DeployKey;
use super::target::{Need, Target};
use crate::git::{BadKey, PublicKey};
use crate::world::World;

/// `GET …/keys`.
pub async fn list(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    Query(page): Query<Page>,
) -> Result<Response, Refusal> {
    let at = super::addresses(&world);
    let mut state = world.github.lock();
    let repository = target.check(&mut state, Need::DeployKeys)?;
    let keys = repository
        .keys
        .iter()
        .filter(|key| world.is_listed(key.created_at))
        .map(|key| shapes::deploy_key(key, repository, &at))
        .collect();
    Ok(page.of(keys, &format!("{}/repositories/{}/keys", at.api, target.id)))
}

/// `GET …/keys/{key_id}`.
pub async fn show(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let id = target.number("key_id")?;
    let at = super::addresses(&world);
    let mut state = world.github.lock();
    let repository = target.check(&mut state, Need::DeployKeys)?;
    let key = repository
        .keys
        .iter()
        .find(|k| k.id == id)
        .ok_or_else(Refusal::not_found)?;
    Ok(Json(shapes::deploy_key(key, repository, &at)))
}

/// `DELETE …/keys/{key_id}`.
pub async fn remove(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<StatusCode, Refusal> {
    let id = target.number("key_id")?;
    let mut state = world.github.lock();
    let keys = &mut target.check(&mut state, Need::DeployKeys)?.keys;
    let index = keys
        .iter()
        .position(|k| k.id == id)
        .ok_or_else(Refusal::not_found)?;
    keys.remove(index);
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/keys`.
pub async fn create(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    body: Bytes,
) -> Result<Response, Refusal> {
    let at = super::addresses(&world);
    let now = world.clock.now();
    let mut state = world.github.lock();
    let allowed = target
        .check(&mut state, Need::DeployKeys)?
        .deploy_keys_enabled;
    let wanted = Wanted::parse(&body)?;
    if !allowed {
        return Err(refused(
            None,
            "Deploy keys are disabled for this repository",
        ));
    }
    if state.key_in_use(&wanted.key) {
        return Err(refused(Some("key"), "key is already in use"));
    }
    let key = wanted.into_key(state.next_id(), &target.visitor, now);
    state.created.installed_keys += 1;
    let repository = target.check(&mut state, Need::DeployKeys)?;
    let shape = shapes::deploy_key(&key, repository, &at);
    repository.keys.push(key);
    let location = shape["url"].as_str().unwrap_or_default().to_owned();
    let headers = [(header::LOCATION, location)];
    Ok((StatusCode::CREATED, headers, Json(shape)).into_response())
}

struct Wanted {
    title: String,
    key: PublicKey,
    read_only: bool,
}

impl Wanted {
    fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let members = answer::members(body)?;
        let text = answer::text(&members, "key")?;
        let text = text.ok_or_else(|| Refusal::malformed("\"key\" wasn't supplied."))?;
        Ok(Self {
            // Without a title GitHub takes the comment of the key.
            title: match answer::text(&members, "title")? {
                Some(title) if !title.trim().is_empty() => title,
                _ => text
                    .split_whitespace()
                    .nth(2)
                    .unwrap_or("Deploy key")
                    .to_owned(),
            },
            read_only: answer::flag(&members, "read_only")?.unwrap_or(false),
            key: text
                .parse()
                .map_err(|bad| refused(Some("key"), explain(bad)))?,
        })
    }

    fn into_key(self, id: u64, visitor: &Visitor, now: OffsetDateTime) -> DeployKey {
        DeployKey {
            id,
            title: self.title,
            key: self.key,
            read_only: self.read_only,
            added_by: visitor.login().unwrap_or_default().to_owned(),
            added_with: visitor.secret.clone(),
            created_at: now,
            last_used: None,
        }
    }
}

fn explain(bad: BadKey) -> &'static str {
    match bad {
        BadKey::UnknownType => {
            "key is invalid. It must begin with 'ssh-ed25519', 'ssh-rsa', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', \
             'ecdsa-sha2-nistp521', 'sk-ecdsa-sha2-nistp256@openssh.com' or 'sk-ssh-ed25519@openssh.com'. Check that \
             you're copying the public half of the key"
        }
        BadKey::Malformed => "key is invalid. You must supply a key in OpenSSH public key format",
    }
}

fn refused(field: Option<&str>, message: &str) -> Refusal {
    Refusal::invalid(vec![custom("PublicKey", field, message)])
}
