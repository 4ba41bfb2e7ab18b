//! What the admin door shows of GitHub: everything that can be read, and how much there is of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::state::{Hook, Repository};
use super::{deliveries, shapes};
use crate::admin::Count;
use crate::world::World;

/// Everything that can be read, and no secret: repositories with keys, hooks and deliveries.
pub fn world_view(world: &World) -> Value {
    let state = world.github.lock();
    let repositories: Vec<Value> = state
        .repositories
        .values()
        .map(|r| view(world, r))
        .collect();
    json!({"repositories": repositories, "former_names": state.former_names})
}

/// What was made ever, and what is there now.
pub fn counts(world: &World) -> BTreeMap<&'static str, Count> {
    let state = world.github.lock();
    let alive =
        |of: fn(&Repository) -> usize| state.repositories.values().map(of).sum::<usize>() as u64;
    let created = &state.created;
    let deliveries = |r: &Repository| r.hooks.iter().map(|h| h.deliveries.len()).sum();
    [
        (
            "repositories",
            created.repositories,
            state.repositories.len() as u64,
        ),
        (
            "installed_keys",
            created.installed_keys,
            alive(|r| r.keys.len()),
        ),
        ("webhooks", created.webhooks, alive(|r| r.hooks.len())),
        ("deliveries", created.deliveries, alive(deliveries)),
    ]
    .map(|(kind, created, alive)| (kind, Count { created, alive }))
    .into()
}

/// One repository with its keys, hooks and deliveries.
pub fn view(world: &World, repository: &Repository) -> Value {
    let at = super::addresses(world);
    let full_name = repository.full_name();
    let keys: Vec<Value> = repository
        .keys
        .iter()
        .map(|k| shapes::deploy_key(k, repository, &at))
        .collect();
    let hook = |hook: &Hook| {
        let mut shape = shapes::hook(hook, repository, &at);
        shape["deliveries"] = hook
            .deliveries
            .iter()
            .map(|d| deliveries::item(d, repository.id))
            .collect();
        shape
    };
    json!({
        "id": repository.id, "full_name": full_name, "private": repository.private,
        "default_branch": repository.default_branch, "archived": repository.archived,
        "deploy_keys_enabled": repository.deploy_keys_enabled,
        "path": world.git.repository(&repository.store_key()).path(),
        "ssh_url": world.git.ssh_url(&full_name),
        "head": repository.last_push.as_ref().map(|push| &push.after),
        "keys": keys, "hooks": repository.hooks.iter().map(hook).collect::<Vec<_>>(),
    })
}
