//! Sends events to hooks and keeps the deliveries.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use uuid::Uuid;

use super::payloads;
use super::state::{Delivery, HookConfig};
use crate::forge::post::{Silence, post};
use crate::forge::{Encoding, NewPullRequest, pull_requests};
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
        tell(world, id, &event);
    }
    Ok(())
}

/// Opens a pull request and tells all hooks that listen; its number.
///
/// # Errors
/// When there is no such repository, or the branch has no commits.
pub async fn open_pull_request(
    world: &Arc<World>,
    full_name: &str,
    new: NewPullRequest,
) -> anyhow::Result<u64> {
    let (repository, number) = {
        let mut state = world.github.lock();
        let number = state.next_id();
        let found = state.named(full_name).cloned();
        (
            found.with_context(|| format!("there is no {full_name}"))?,
            number,
        )
    };
    let (store_key, default) = (repository.store_key(), &repository.default_branch);
    let request = pull_requests::describe(world, &store_key, default, number, new).await?;
    let payload = payloads::pull_request(world, repository.id, &request)?;
    let event = Event::new("pull_request", payload);
    tell(world, repository.id, &event);
    Ok(number)
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

/// Tells Netlify's app, and all hooks that listen.
fn tell(world: &Arc<World>, repository: u64, event: &Event) {
    crate::netlify::told_by_app(world, &event.name, &event.payload);
    for hook in listeners(world, repository, &event.name) {
        send(world, repository, hook, event.clone());
    }
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
    let body = encoding(config).text(&event.payload);
    let request_headers = headers(repository, hook, config, &event, &body);
    let delivered_at = world.clock.now();
    let answer = post(&world.http, &config.url, &request_headers, body).await;
    let (status, status_code) = told(answer.status);
    Delivery {
        id: world.github.lock().next_id(),
        guid: event.guid,
        delivered_at,
        redelivery: event.redelivery,
        duration: (answer.seconds * 100.0).round() / 100.0,
        status,
        status_code,
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

/// Status and code as GitHub shows them; for no answer, a gateway's code.
fn told(status: Result<u16, Silence>) -> (String, u16) {
    let (text, code) = match status {
        Ok(code @ 200..400) => ("OK", code),
        Ok(code) => return (format!("Invalid HTTP Response: {code}"), code),
        Err(Silence::TimedOut) => ("timed out", 504),
        Err(Silence::CannotConnect) => ("failed to connect to host", 502),
        Err(Silence::Ended) => ("connection ended without an answer", 502),
    };
    (text.to_owned(), code)
}

fn encoding(config: &HookConfig) -> Encoding {
    match config.content_type.as_str() {
        "json" => Encoding::Json,
        _ => Encoding::Form,
    }
}

fn headers(
    repository: u64,
    hook: u64,
    config: &HookConfig,
    event: &Event,
    body: &str,
) -> BTreeMap<String, String> {
    let content_type = encoding(config).content_type();
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
