//! Sends events to hooks and keeps the deliveries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use uuid::Uuid;

use super::payloads;
use super::state::{Delivery, HookConfig};
use crate::git::{RefUpdate, ZERO_SHA};
use crate::world::World;

/// How many deliveries of a hook are kept; GitHub forgets them after days.
const MOST_DELIVERIES: usize = 1000;

/// Something to tell one hook.
#[derive(Clone, Debug)]
pub struct Event {
    pub name: String,
    /// The same for all hooks that are told, and for redeliveries.
    pub guid: String,
    pub payload: Value,
    pub redelivery: bool,
}

impl Event {
    fn new(name: &str, payload: Value) -> Self {
        Self {
            name: name.to_owned(),
            guid: Uuid::new_v4().to_string(),
            payload,
            redelivery: false,
        }
    }
}

/// Takes notice of a push and tells all hooks that listen.
///
/// # Errors
/// When the repository cannot be read.
pub async fn pushed(world: &Arc<World>, update: &RefUpdate) -> anyhow::Result<()> {
    let Some(id) = note(world, update).await? else {
        tracing::warn!(
            store_key = update.store_key,
            "a push to a repository that is gone"
        );
        return Ok(());
    };
    let mut events = vec![Event::new("push", payloads::push(world, id, update).await?)];
    if update.before == ZERO_SHA {
        events.push(Event::new(
            "create",
            payloads::ref_event(world, id, update)?,
        ));
    }
    if update.after == ZERO_SHA {
        events.push(Event::new(
            "delete",
            payloads::ref_event(world, id, update)?,
        ));
    }
    for event in events {
        if event.name == "push" {
            crate::netlify::pushed_by_app(world, &event.payload);
        }
        for hook in listeners(world, id, &event.name) {
            send(world, id, hook, event.clone());
        }
    }
    Ok(())
}

/// Sends the latest push once more to one hook, as a new event.
///
/// # Errors
/// When the repository cannot be read.
pub async fn replay(
    world: &Arc<World>,
    repository: u64,
    hook: u64,
    update: &RefUpdate,
) -> anyhow::Result<()> {
    let payload = payloads::push(world, repository, update).await?;
    send(world, repository, hook, Event::new("push", payload));
    Ok(())
}

/// Sends a ping.
pub fn ping(world: &Arc<World>, repository: u64, hook: u64) {
    if let Some(payload) = payloads::ping(world, repository, hook) {
        send(world, repository, hook, Event::new("ping", payload));
    }
}

/// Delivers in the background.
pub fn send(world: &Arc<World>, repository: u64, hook: u64, event: Event) {
    let task = world.clone();
    world.spawn(async move {
        let config = task
            .github
            .lock()
            .hook_mut(repository, hook)
            .map(|h| h.config.clone());
        // A hook that was deleted meanwhile gets nothing.
        if let Some(config) = config {
            let delivery = deliver(&task, repository, hook, &config, event).await;
            record(&task, repository, hook, delivery);
        }
    });
}

/// Remembers the push in the repository's row; `None` when there is no such repository.
async fn note(world: &World, update: &RefUpdate) -> anyhow::Result<Option<u64>> {
    let id = world
        .github
        .lock()
        .stored_as(&update.store_key)
        .map(|r| r.id);
    let Some(id) = id else { return Ok(None) };
    let size_kib = world.git.repository(&update.store_key).size_kib().await?;
    let now = world.clock.now();
    let mut state = world.github.lock();
    let Some(repository) = state.repositories.get_mut(&id) else {
        return Ok(None);
    };
    repository.size_kib = size_kib;
    repository.pushed_at = now;
    repository.last_push = Some(update.clone());
    Ok(Some(id))
}

fn listeners(world: &World, repository: u64, event: &str) -> Vec<u64> {
    let state = world.github.lock();
    let hooks = state
        .repositories
        .get(&repository)
        .map_or(&[][..], |r| &r.hooks);
    let listening = hooks.iter().filter(|h| h.active && h.listens_to(event));
    listening.map(|h| h.id).collect()
}

async fn deliver(
    world: &World,
    repository: u64,
    hook: u64,
    config: &HookConfig,
    event: Event,
) -> Delivery {
    let body = body(config, &event.payload);
    let request_headers = headers(repository, hook, config, &event, &body);
    let delivered_at = world.clock.now();
    let started = Instant::now();
    let request = world.http.post(&config.url).body(body);
    let request = request_headers
        .iter()
        .fold(request, |request, (name, value)| {
            request.header(name, value)
        });
    let answer = match request.send().await {
        Ok(response) => Answer::read(response).await,
        Err(error) => Answer::failed(&error),
    };
    Delivery {
        id: world.github.lock().next_id(),
        guid: event.guid,
        delivered_at,
        redelivery: event.redelivery,
        duration: (started.elapsed().as_secs_f64() * 100.0).round() / 100.0,
        status: answer.status,
        status_code: answer.status_code,
        event: event.name,
        url: config.url.clone(),
        request_headers,
        payload: event.payload,
        response_headers: answer.headers,
        response_body: answer.body,
    }
}

fn record(world: &World, repository: u64, hook: u64, delivery: Delivery) {
    let mut state = world.github.lock();
    state.created.deliveries += 1;
    if let Some(hook) = state.hook_mut(repository, hook) {
        hook.deliveries.push(delivery);
        let too_many = hook.deliveries.len().saturating_sub(MOST_DELIVERIES);
        hook.deliveries.drain(..too_many);
    }
}

/// What the receiver said.
struct Answer {
    status: String,
    status_code: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    async fn read(response: reqwest::Response) -> Self {
        let code = response.status();
        let headers = readable(response.headers());
        match response.text().await {
            Err(error) => Self::failed(&error),
            Ok(body) => Self {
                status: if code.is_success() || code.is_redirection() {
                    "OK".to_owned()
                } else {
                    format!("Invalid HTTP Response: {}", code.as_u16())
                },
                status_code: code.as_u16(),
                headers,
                body,
            },
        }
    }

    /// No answer; GitHub shows a gateway's code for these.
    fn failed(error: &reqwest::Error) -> Self {
        let (status, status_code) = match error {
            error if error.is_timeout() => ("timed out", 504),
            error if error.is_connect() => ("failed to connect to host", 502),
            _ => ("connection ended without an answer", 502),
        };
        Self {
            status: status.to_owned(),
            status_code,
            headers: BTreeMap::new(),
            body: String::new(),
        }
    }
}

fn readable(headers: &HeaderMap) -> BTreeMap<String, String> {
    let pair = |name: &axum::http::HeaderName, value: &axum::http::HeaderValue| {
        (
            name.to_string(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    };
    headers
        .iter()
        .map(|(name, value)| pair(name, value))
        .collect()
}

fn body(config: &HookConfig, payload: &Value) -> String {
    if config.content_type == "json" {
        return payload.to_string();
    }
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("payload", &payload.to_string()).finish()
}

fn headers(
    repository: u64,
    hook: u64,
    config: &HookConfig,
    event: &Event,
    body: &str,
) -> BTreeMap<String, String> {
    let content_type = match config.content_type.as_str() {
        "json" => "application/json",
        _ => "application/x-www-form-urlencoded",
    };
    let mut headers: BTreeMap<String, String> = [
        ("Accept", "*/*"),
        ("Content-Type", content_type),
        ("User-Agent", "GitHub-Hookshot/5a4b0de"),
        ("X-GitHub-Delivery", &event.guid),
        ("X-GitHub-Event", &event.name),
        ("X-GitHub-Hook-ID", &hook.to_string()),
        (
            "X-GitHub-Hook-Installation-Target-ID",
            &repository.to_string(),
        ),
        ("X-GitHub-Hook-Installation-Target-Type", "repository"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    if let Some(secret) = &config.secret {
        headers.insert("X-Hub-Signature-256".to_owned(), signature(secret, body));
    }
    headers
}

fn signature(secret: &str, body: &str) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(body.as_bytes());
    let digest = mac.finalize().into_bytes();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}
