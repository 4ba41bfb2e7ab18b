//! GitHub as a stateful local service (builder B's part; this is only the shell's idea of its outside).
//!
//! The admin door (A) will call these, please offer them with serde types for bodies and answers:
//! - `create_repository(&Arc<World>, NewRepository { owner, name, private, default_branch, files: BTreeMap<String, String>,
//!   template: Option<"site">, archived, description, .. }) -> anyhow::Result<Value>` (answer has id, full_name, path, ssh_url, head)
//! - `commit(&Arc<World>, full_name, NewCommit { files, message, branch }) -> anyhow::Result<Value>` (sha; delivers the push)
//! - `rename(&Arc<World>, full_name, new_full_name)`, `archive(&Arc<World>, full_name, bool)`
//! - `add_token(&Arc<World>, NewToken { token, login, scopes, permissions: BTreeMap<full_name, admin|push|read|none>, .. })`
//! - `world_view(&World) -> Value` (repositories with keys, hooks, deliveries; never a secret)
//! - `counts(&World) -> BTreeMap<&'static str, Count>` with `admin::Count { created, alive }` for installed_keys, webhooks,
//!   repositories, deliveries
//! - `reset(&Arc<World>)` back to the state after `start`
//!
//! Background work (push watcher, webhook delivery) goes through `World::spawn`.

use std::sync::Arc;

use axum::Router;
use serde::{Deserialize, Serialize};

use crate::world::World;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {}

#[derive(Debug, Default)]
pub struct State {}

pub async fn start(_world: &Arc<World>) -> anyhow::Result<()> {
    Ok(())
}

pub fn router() -> Router<Arc<World>> {
    Router::new()
}
