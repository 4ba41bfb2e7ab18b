//! What a person does by hand where a provider has no API, or where a test wants it done behind the API: keys and webhooks.

use std::collections::BTreeSet;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::Url;
use uuid::Uuid;

use super::repositories::find;
use super::{DeployKey, Forge, Hook, Provider};
use crate::world::World;

/// A key to install on a repository.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewDeployKey {
    pub provider: Provider,
    /// Path of the repository.
    pub repository: String,
    pub title: String,
    /// `ssh-ed25519 AAAA… comment`
    pub key: String,
    pub can_push: bool,
}

/// A webhook to install on a repository.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewWebhook {
    pub provider: Provider,
    /// Path of the repository.
    pub repository: String,
    pub url: String,
    /// In the provider's words; only pushes when absent.
    pub events: BTreeSet<String>,
}

/// Installs a key.
///
/// # Errors
/// When there is no such repository, or the text is no key or the repository has it.
pub fn install_key(world: &World, forge: &Forge, new: NewDeployKey) -> anyhow::Result<Value> {
    let key = new.key.parse()?;
    let now = world.clock.now();
    let mut state = forge.lock();
    let id = find(&state, &new.repository)?.id;
    anyhow::ensure!(
        state.installed(&key).all(|(r, _)| r.id != id),
        "the repository has this key"
    );
    let key = DeployKey {
        id: state.next_id(),
        title: new.title,
        key,
        comment: comment(&new.key),
        can_push: new.can_push,
        added_by: crate::LOGIN.to_owned(),
        created_at: now,
        expires_at: None,
        last_used: None,
    };
    let key = state.add_key(id, key).context("the repository is gone")?;
    Ok(json!({"id": key.id}))
}

/// Installs a webhook.
///
/// # Errors
/// When there is no such repository, or the address is none.
pub fn install_webhook(world: &World, forge: &Forge, new: NewWebhook) -> anyhow::Result<Value> {
    Url::parse(&new.url).with_context(|| format!("{} is no address", new.url))?;
    let now = world.clock.now();
    let mut state = forge.lock();
    let repository = find(&state, &new.repository)?.id;
    let events = match new.events {
        none if none.is_empty() => BTreeSet::from([push_event(forge.provider).to_owned()]),
        named => named,
    };
    let hook = Hook {
        id: state.next_id(),
        uuid: Uuid::new_v4(),
        url: new.url,
        active: true,
        events,
        secret: None,
        settings: Map::new(),
        added_by: crate::LOGIN.to_owned(),
        created_at: now,
        updated_at: now,
        failures: 0,
        suspended_until: None,
        deliveries: Vec::new(),
    };
    let hook = state
        .add_hook(repository, hook)
        .context("the repository is gone")?;
    Ok(json!({"id": hook.id, "uuid": hook.uuid}))
}

/// What stands behind the key's two words.
pub fn comment(line: &str) -> String {
    line.split_whitespace()
        .skip(2)
        .collect::<Vec<_>>()
        .join(" ")
}

const fn push_event(provider: Provider) -> &'static str {
    match provider {
        Provider::Gitlab => "push_events",
        Provider::Bitbucket => "repo:push",
        Provider::AzureDevops => "git.push",
        Provider::Github | Provider::Gitea | Provider::Plain => "push",
    }
}
