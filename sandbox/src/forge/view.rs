//! What the admin door shows of a provider: everything that can be read, and how much there is of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Delivery, DeployKey, Forge, Hook, PersonKey, Repository};
use crate::admin::Count;
use crate::clock::seconds;
use crate::world::World;

/// Everything that can be read, and no secret.
pub fn world_view(world: &World, forge: &Forge) -> Value {
    let state = forge.lock();
    let repositories = state.repositories.values().map(|r| view(world, r));
    json!({
        "repositories": repositories.collect::<Vec<_>>(), "former_paths": state.former_paths,
        "person_keys": state.person_keys.iter().map(person_key).collect::<Vec<_>>(),
    })
}

/// What was made ever, and what is there now.
pub fn counts(forge: &Forge) -> BTreeMap<&'static str, Count> {
    let state = forge.lock();
    let repositories = state.repositories.values();
    let alive = |of: fn(&Repository) -> usize| repositories.clone().map(of).sum::<usize>() as u64;
    let deliveries = |r: &Repository| r.hooks.iter().map(|h| h.deliveries.len()).sum();
    // Azure DevOps has no keys on repositories: clients install them on accounts.
    let by_api = state.person_keys.iter().filter(|k| k.by_api).count();
    let created = &state.created;
    [
        ("repositories", created.repositories, alive(|_| 1)),
        (
            "installed_keys",
            created.installed_keys,
            alive(|r| r.keys.len()) + by_api as u64,
        ),
        ("webhooks", created.webhooks, alive(|r| r.hooks.len())),
        ("deliveries", created.deliveries, alive(deliveries)),
    ]
    .map(|(kind, created, alive)| (kind, Count { created, alive }))
    .into()
}

/// One repository with its keys, webhooks and deliveries.
pub fn view(world: &World, repository: &Repository) -> Value {
    json!({
        "provider": repository.provider, "id": repository.id, "uuid": repository.uuid,
        "full_name": repository.path, "private": repository.private, "archived": repository.archived,
        "default_branch": repository.default_branch,
        "path": world.git.repository(&repository.store_key()).path(),
        "ssh_url": super::gate::ssh_url(world, repository.provider, &repository.path),
        "head": repository.last_push.as_ref().map(|push| &push.after),
        "keys": repository.keys.iter().map(key).collect::<Vec<_>>(),
        "hooks": repository.hooks.iter().map(hook).collect::<Vec<_>>(),
    })
}

fn key(key: &DeployKey) -> Value {
    json!({
        "id": key.id, "title": key.title, "key": key.key, "comment": key.comment, "can_push": key.can_push,
        "created_at": seconds(key.created_at), "last_used": key.last_used.map(seconds),
    })
}

fn person_key(key: &PersonKey) -> Value {
    json!({
        "id": key.id, "login": key.login, "title": key.title, "key": key.key,
        "expires_at": key.expires_at.map(seconds),
    })
}

fn hook(hook: &Hook) -> Value {
    json!({
        "id": hook.id, "uuid": hook.uuid, "url": hook.url, "active": hook.active, "events": hook.events,
        "settings": hook.settings, "failures": hook.failures, "suspended_until": hook.suspended_until.map(seconds),
        "deliveries": hook.deliveries.iter().map(delivery).collect::<Vec<_>>(),
    })
}

fn delivery(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id, "event": delivery.event, "url": delivery.url, "sent_at": seconds(delivery.sent_at),
        "attempts": delivery.attempts, "status_code": delivery.answer.status.ok(),
    })
}
