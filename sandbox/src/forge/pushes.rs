//! A push, whoever made it: found out by the git host, remembered by the repository, told to the webhooks.

use std::sync::Arc;

use super::{Forge, Repository, outbox};
use crate::git::{CommitInfo, RefUpdate, ZERO_SHA};
use crate::github;
use crate::world::World;

/// Everything that an event about a push can say.
#[derive(Clone, Debug)]
pub struct Push {
    /// As it is after the push.
    pub repository: Repository,
    pub update: RefUpdate,
    /// What the push brought, oldest first.
    pub commits: Vec<CommitInfo>,
    /// The ref's new commit; `None` when the ref is gone.
    pub head: Option<CommitInfo>,
    pub forced: bool,
    /// Login of whoever pushed.
    pub pusher: String,
}

impl Push {
    /// Whether the ref is new.
    pub fn is_creation(&self) -> bool {
        self.update.before == ZERO_SHA
    }

    /// Whether the ref is gone.
    pub fn is_deletion(&self) -> bool {
        self.update.after == ZERO_SHA
    }

    /// Name of the branch; `None` for tags.
    pub fn branch(&self) -> Option<&str> {
        self.update.reference.strip_prefix("refs/heads/")
    }

    /// Whether the branch is one that a pattern such as `release/*` means; tags are what no pattern is about.
    pub fn is_on(&self, pattern: &str) -> bool {
        let pattern = format!("^{}$", regex::escape(pattern).replace(r"\*", ".*"));
        let regex = regex::Regex::new(&pattern);
        self.branch()
            .is_none_or(|branch| regex.is_ok_and(|regex| regex.is_match(branch)))
    }

    /// Name of the branch or tag.
    pub fn ref_name(&self) -> &str {
        let mut parts = self.update.reference.splitn(3, '/');
        parts.nth(2).unwrap_or(&self.update.reference)
    }
}

/// Tells the webhooks about pushes that came by git itself, until the world stops.
pub async fn watch(world: Arc<World>) {
    loop {
        let updates = match world.git.pushes().next().await {
            Ok(updates) => updates,
            Err(error) => {
                tracing::error!(%error, "pushes are not noticed any more");
                return;
            }
        };
        for update in updates {
            let told = match world.forges.storing(&update.store_key) {
                Some(forge) => pushed(&world, forge, &update).await,
                None => github::pushed(&world, &update).await,
            };
            if let Err(error) = told {
                tracing::error!(%error, store_key = update.store_key, "a push was not told to the webhooks");
            }
        }
    }
}

/// Takes notice of a push and tells all webhooks that listen.
///
/// # Errors
/// When the repository cannot be read.
pub async fn pushed(world: &Arc<World>, forge: &Forge, update: &RefUpdate) -> anyhow::Result<()> {
    let Some(repository) = note(world, forge, update).await? else {
        tracing::warn!(
            store_key = update.store_key,
            "a push to a repository that is gone"
        );
        return Ok(());
    };
    let push = read(world, repository, update).await?;
    let listeners = forge.vendor.listeners(&forge.lock(), &push.repository);
    for (holder, hook) in listeners {
        if let Some(message) = forge.vendor.announce(world, &hook, &push) {
            outbox::send(world, forge.provider, (holder, hook.id), message);
        }
    }
    Ok(())
}

/// A push of a branch's last commit that did not happen, for tests of webhooks; `None` when there is no such branch.
///
/// # Errors
/// When the repository cannot be read.
pub async fn sample(
    world: &World,
    repository: Repository,
    branch: &str,
) -> anyhow::Result<Option<Push>> {
    let store_key = repository.store_key();
    let Some(sha) = world.git.repository(&store_key).head(branch).await? else {
        return Ok(None);
    };
    let head = world.git.show(&store_key, &sha).await?;
    let update = RefUpdate {
        before: head.parents.first().cloned().unwrap_or_else(|| sha.clone()),
        after: sha,
        pusher: None,
        reference: format!("refs/heads/{branch}"),
        store_key,
    };
    Ok(Some(Push {
        pusher: first_owner(&repository),
        commits: vec![head.clone()],
        head: Some(head),
        forced: false,
        repository,
        update,
    }))
}

/// The latest push of a repository once more, for tests of webhooks; `None` while the repository is empty.
///
/// # Errors
/// When the repository cannot be read.
pub async fn latest(world: &World, repository: Repository) -> anyhow::Result<Option<Push>> {
    let Some(update) = repository.last_push.clone() else {
        return Ok(None);
    };
    read(world, repository, &update).await.map(Some)
}

/// Remembers the push in the repository's row; `None` when there is no such repository.
async fn note(
    world: &World,
    forge: &Forge,
    update: &RefUpdate,
) -> anyhow::Result<Option<Repository>> {
    let size_kib = world.git.repository(&update.store_key).size_kib().await;
    let now = world.clock.now();
    let mut state = forge.lock();
    let id = state.stored_as(&update.store_key).map(|r| r.id);
    let Some(repository) = id.and_then(|id| state.repositories.get_mut(&id)) else {
        return Ok(None);
    };
    repository.size_kib = size_kib?;
    repository.pushed_at = now;
    repository.last_push = Some(update.clone());
    Ok(Some(repository.clone()))
}

async fn read(world: &World, repository: Repository, update: &RefUpdate) -> anyhow::Result<Push> {
    let brought = world.git.brought(update).await?;
    let head = match update.after.as_str() {
        ZERO_SHA => None,
        sha => Some(world.git.show(&update.store_key, sha).await?),
    };
    Ok(Push {
        commits: brought.commits,
        forced: brought.forced,
        pusher: update
            .pusher
            .clone()
            .unwrap_or_else(|| first_owner(&repository)),
        head,
        repository,
        update: update.clone(),
    })
}

/// Who is said to have pushed when nobody knows.
fn first_owner(repository: &Repository) -> String {
    let owner = repository.owner().split('/').next();
    owner.unwrap_or_default().to_owned()
}
