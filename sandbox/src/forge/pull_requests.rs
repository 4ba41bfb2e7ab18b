//! Pull and merge requests, as far as webhooks hear of them: one is opened, and whoever listens is told.

use std::sync::Arc;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Forge, Place, Repository, outbox};
use crate::git::CommitInfo;
use crate::github;
use crate::world::World;

/// What somebody asks to be merged.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPullRequest {
    /// A branch of the repository; its commits were pushed before.
    pub branch: String,
    /// Where they are to go; the default branch when empty.
    #[serde(default)]
    pub into: String,
    #[serde(default)]
    pub title: String,
}

/// Everything that an event about an opened request can say.
#[derive(Clone, Debug)]
pub struct PullRequest {
    pub number: u64,
    pub branch: String,
    pub into: String,
    pub title: String,
    /// The branch's newest commit.
    pub head: CommitInfo,
}

/// A request of a repository at a provider other than GitHub.
#[derive(Clone, Debug)]
pub struct Opened {
    pub repository: Repository,
    pub request: PullRequest,
}

/// Opens a request at any provider and tells the webhooks that listen; its number.
///
/// # Errors
/// When there is no such repository, or the branch has no commits.
pub async fn open(world: &Arc<World>, at: &Place, new: NewPullRequest) -> anyhow::Result<Value> {
    let number = match world.forges.of(at.provider) {
        Some(forge) => open_at(world, forge, &at.path, new).await?,
        None => github::open_pull_request(world, &at.path, new).await?,
    };
    Ok(json!({ "number": number }))
}

async fn open_at(
    world: &Arc<World>,
    forge: &Forge,
    path: &str,
    new: NewPullRequest,
) -> anyhow::Result<u64> {
    let (repository, number) = {
        let mut state = forge.lock();
        let number = state.next_id();
        let found = state.at_path(path).cloned();
        (
            found.with_context(|| format!("there is no {path}"))?,
            number,
        )
    };
    let store_key = repository.store_key();
    let request = describe(world, &store_key, &repository.default_branch, number, new).await?;
    let opened = Opened {
        repository,
        request,
    };
    let listeners = forge.vendor.listeners(&forge.lock(), &opened.repository);
    for (holder, hook) in listeners {
        if let Some(message) = forge.vendor.announce_request(world, &hook, &opened) {
            outbox::send(world, forge.provider, (holder, hook.id), message);
        }
    }
    Ok(number)
}

/// The request with everything that was not said.
///
/// # Errors
/// When the branch has no commits, or is to go into itself.
pub async fn describe(
    world: &World,
    store_key: &str,
    default_branch: &str,
    number: u64,
    new: NewPullRequest,
) -> anyhow::Result<PullRequest> {
    let into = match new.into.as_str() {
        "" => default_branch.to_owned(),
        into => into.to_owned(),
    };
    ensure!(into != new.branch, "a branch cannot be merged into itself");
    let head = world.git.repository(store_key).head(&new.branch).await?;
    let head = head.with_context(|| format!("there is no branch {}", new.branch))?;
    let head = world.git.show(store_key, &head).await?;
    let title = match new.title.as_str() {
        "" => head.message.lines().next().unwrap_or_default().to_owned(),
        title => title.to_owned(),
    };
    Ok(PullRequest {
        number,
        branch: new.branch,
        into,
        title,
        head,
    })
}
