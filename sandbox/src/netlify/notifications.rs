//! Outgoing hooks: Netlify tells a subscriber's URL about deploys, signed when a secret was given.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use url::{Host, Url};

use super::access::Caller;
use super::answer::{Answer, ApiError, created, no_content, ok};
use super::records::{Notification, object_id};
use super::sites::{object, own_site_id};
use super::state;
use super::view;
use crate::world::World;

const EVENTS: [&str; 12] = [
    "deploy_building",
    "deploy_created",
    "deploy_failed",
    "deploy_locked",
    "deploy_unlocked",
    "deploy_request_pending",
    "deploy_request_accepted",
    "deploy_request_rejected",
    "deploy_deleted",
    "deploy_restored",
    "deploy_failed_previous_success",
    "submission_created",
];

const TYPES: [&str; 6] = [
    "url",
    "email",
    "slack",
    "github_commit_status",
    "github_app_commit_status",
    "github_app_checks",
];

#[derive(Deserialize)]
pub struct SiteQuery {
    site_id: Option<String>,
    event: Option<String>,
}

/// GET `/hooks?site_id=`
pub async fn list(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<SiteQuery>,
) -> Answer {
    let netlify = world.netlify.lock();
    let site_id = own_site_id(
        &netlify,
        &caller,
        query.site_id.as_deref().unwrap_or_default(),
    )?;
    let of_site = netlify
        .notifications
        .values()
        .filter(|n| n.site_id == site_id);
    let wanted = of_site.filter(|n| query.event.as_ref().is_none_or(|e| *e == n.event));
    let listed = wanted.filter(|n| view::is_listed(&world, n.created_at));
    ok(listed.map(view::notification).collect())
}

/// POST `/hooks?site_id=`; the site may be named in the body instead. One event per hook.
pub async fn create(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<SiteQuery>,
    body: Bytes,
) -> Answer {
    let body = object(&body)?;
    let text = |field: &str| body.get(field).and_then(Value::as_str).map(str::to_owned);
    let site_id = query
        .site_id
        .or_else(|| text("site_id"))
        .unwrap_or_default();
    let kind = known(text("type"), "type", &TYPES)?;
    let event = known(text("event"), "event", &EVENTS)?;
    let data = body
        .get("data")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    check_data(&world, &kind, &data)?;
    let mut netlify = world.netlify.lock();
    let now = world.clock.now();
    let hook = Notification {
        id: object_id(now),
        site_id: own_site_id(&netlify, &caller, &site_id)?,
        user_id: caller.user_id,
        kind,
        event,
        data,
        created_at: now,
        updated_at: now,
        failures: 0,
        disabled: false,
        delivered: 0,
    };
    let answer = view::notification(&hook);
    netlify.notifications.insert(hook.id.clone(), hook);
    netlify.count_created("notifications");
    created(answer)
}

/// GET `/hooks/{hook_id}`
pub async fn get(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(hook_id): Path<String>,
) -> Answer {
    let mut netlify = world.netlify.lock();
    ok(view::notification(own(&mut netlify, &caller, &hook_id)?))
}

/// PUT `/hooks/{hook_id}`
pub async fn update(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(hook_id): Path<String>,
    body: Bytes,
) -> Answer {
    let body = object(&body)?;
    let mut netlify = world.netlify.lock();
    let hook = own(&mut netlify, &caller, &hook_id)?;
    if let Some(event) = body.get("event").and_then(Value::as_str) {
        hook.event = known(Some(event.to_owned()), "event", &EVENTS)?;
    }
    if let Some(data) = body.get("data").and_then(Value::as_object) {
        check_data(&world, &hook.kind, data)?;
        hook.data = data.clone();
    }
    hook.updated_at = world.clock.now();
    ok(view::notification(hook))
}

/// POST `/hooks/{hook_id}/enable`
pub async fn enable(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(hook_id): Path<String>,
) -> Answer {
    let mut netlify = world.netlify.lock();
    let hook = own(&mut netlify, &caller, &hook_id)?;
    hook.disabled = false;
    hook.failures = 0;
    ok(view::notification(hook))
}

/// DELETE `/hooks/{hook_id}`
pub async fn delete(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(hook_id): Path<String>,
) -> Answer {
    let mut netlify = world.netlify.lock();
    own(&mut netlify, &caller, &hook_id)?;
    netlify.notifications.remove(&hook_id);
    no_content()
}

/// GET `/hooks/types`
pub async fn types() -> Answer {
    let events: Vec<&str> = EVENTS.to_vec();
    ok(TYPES
        .iter()
        .map(|name| json!({"name": name, "events": events, "fields": []}))
        .collect())
}

/// Sends the deploy to every enabled `url` hook of its site for this event, in the background.
pub fn fire(world: &Arc<World>, deploy_id: &str, event: &str) {
    let netlify = world.netlify.lock();
    let Some(deploy) = netlify.deploys.get(deploy_id) else {
        return;
    };
    let body = view::deploy(world, &netlify, deploy).to_string();
    let hooks = netlify.notifications.values();
    for hook in hooks.filter(|n| n.site_id == deploy.site_id && n.event == event && !n.disabled) {
        if hook.kind == "url" {
            world.spawn(deliver(world.clone(), hook.clone(), body.clone()));
        }
    }
}

/// The body is the deploy itself, without an envelope and without the event's name.
async fn deliver(world: Arc<World>, hook: Notification, body: String) {
    let text = |field: &str| hook.data.get(field).and_then(Value::as_str);
    let mut request = world
        .http
        .post(text("url").unwrap_or_default())
        .header("content-type", "application/json");
    if let Some(secret) = text("signature_secret") {
        request = request.header("x-webhook-signature", signature(secret, &body));
    }
    let delivered = match request.body(body).send().await {
        Ok(answer) => answer.status().is_success(),
        Err(error) => {
            tracing::info!(%error, hook = hook.id, "a notification was not delivered");
            false
        }
    };
    let allowed = world.switches.read().netlify.notification_failures_allowed;
    if let Some(hook) = world.netlify.lock().notifications.get_mut(&hook.id) {
        hook.failures = if delivered { 0 } else { hook.failures + 1 };
        hook.delivered += u64::from(delivered);
        hook.disabled |= hook.failures >= allowed;
    }
}

/// A JWS over the hash of the body; as captured, its claims are `iss` and `sha256` only: no expiry, no id.
fn signature(secret: &str, body: &str) -> String {
    let encode = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let hash: String = Sha256::digest(body)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let header = encode(json!({"typ": "JWT", "alg": "HS256"}));
    let signed = format!(
        "{header}.{}",
        encode(json!({"iss": "netlify", "sha256": hash}))
    );
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(signed.as_bytes());
    format!(
        "{signed}.{}",
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    )
}

fn own<'a>(
    netlify: &'a mut state::State,
    caller: &Caller,
    hook_id: &str,
) -> Result<&'a mut Notification, ApiError> {
    let hook = netlify
        .notifications
        .get(hook_id)
        .ok_or(ApiError::NOT_FOUND)?;
    own_site_id(netlify, caller, &hook.site_id)?;
    netlify
        .notifications
        .get_mut(hook_id)
        .ok_or(ApiError::NOT_FOUND)
}

fn known(value: Option<String>, field: &'static str, allowed: &[&str]) -> Result<String, ApiError> {
    let problem = match value {
        Some(value) if allowed.contains(&value.as_str()) => return Ok(value),
        Some(_) => "is not included in the list",
        None => "can't be blank",
    };
    Err(ApiError::Fields(field, problem.to_owned()))
}

fn check_data(world: &World, kind: &str, data: &Map<String, Value>) -> Result<(), ApiError> {
    if kind != "url" {
        return Ok(());
    }
    let url = data.get("url").and_then(Value::as_str).unwrap_or_default();
    let refuse_private = world
        .switches
        .read()
        .netlify
        .refuse_private_notification_urls;
    match Url::parse(url) {
        Ok(url)
            if matches!(url.scheme(), "http" | "https")
                && !(refuse_private && is_private(&url)) =>
        {
            Ok(())
        }
        _ => Err(ApiError::Fields("url", "is invalid".to_owned())),
    }
}

fn is_private(url: &Url) -> bool {
    let private = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => {
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified()
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => private(ip.into()),
        Some(Host::Ipv6(ip)) => private(ip.into()),
        None => true,
    }
}
