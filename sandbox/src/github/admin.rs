//! What a person would do in the browser, or a test behind GitHub's back, with repositories: make, commit, rename, archive.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use serde_json::{Value, json};

use super::people::{NewToken, add_token};
use super::state::{Access, Repository, State};
use super::view::view;
use super::{apps, webhooks};
use crate::forge::{NewRepository, first_commit};
use crate::git::NewCommit;
use crate::world::World;
use crate::{GITHUB_TOKEN, LOGIN};

/// Makes a repository, with a first commit when there are files. No hook hears of it: there is none yet.
///
/// # Errors
/// When the name is taken or a file or branch name is not acceptable.
pub async fn create_repository(world: &Arc<World>, new: NewRepository) -> anyhow::Result<Value> {
    let word = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    anyhow::ensure!(
        word(&new.owner) && word(&new.name),
        "owner and name need letters, digits, '-', '_' and '.' only"
    );
    let first = first_commit(&new)?;
    let repository = add_row(world, &new)?;
    let (id, store_key) = (repository.id, repository.store_key());
    let filled = fill(world, &store_key, &new, first).await;
    if filled.is_err() {
        world.github.lock().repositories.remove(&id);
    }
    filled?;
    if new.archived {
        archive(world, &repository.full_name(), true)?;
    }
    let state = world.github.lock();
    let repository = state
        .repositories
        .get(&id)
        .context("the repository is gone")?;
    Ok(view(world, repository))
}

/// Commits on top of a branch (the default branch when empty) and tells the hooks, as a push would.
///
/// # Errors
/// When there is no such repository, it is archived, or git refuses a name.
pub async fn commit(
    world: &Arc<World>,
    full_name: &str,
    mut new: NewCommit,
) -> anyhow::Result<Value> {
    let (store_key, owner) = {
        let state = world.github.lock();
        let repository = find(&state, full_name)?;
        anyhow::ensure!(!repository.archived, "{full_name} is archived");
        if new.branch.is_empty() {
            new.branch.clone_from(&repository.default_branch);
        }
        (repository.store_key(), repository.owner.clone())
    };
    let (made, mut update) = world.git.commit(&store_key, &new).await?;
    update.pusher = Some(owner);
    webhooks::pushed(world, &update).await?;
    Ok(
        json!({"sha": made.sha, "before": update.before, "branch": new.branch, "message": made.message}),
    )
}

/// Gives a repository another `owner/name`; the old one redirects until another repository takes it.
///
/// # Errors
/// When there is no such repository or the new name is taken.
pub fn rename(world: &World, full_name: &str, new_full_name: &str) -> anyhow::Result<()> {
    let (owner, name) = new_full_name
        .split_once('/')
        .context("the new name has the form owner/name")?;
    let mut state = world.github.lock();
    let id = find(&state, full_name)?.id;
    anyhow::ensure!(
        state.named(new_full_name).is_none_or(|r| r.id == id),
        "{new_full_name} is taken"
    );
    state
        .former_names
        .insert(full_name.to_ascii_lowercase(), id);
    state
        .former_names
        .remove(&new_full_name.to_ascii_lowercase());
    let repository = state
        .repositories
        .get_mut(&id)
        .context("the repository is gone")?;
    repository.owner = owner.to_owned();
    repository.name = name.to_owned();
    repository.updated_at = world.clock.now();
    Ok(())
}

/// Renames a branch as GitHub's page does: the old name redirects, the default branch stays the default.
///
/// # Errors
/// When repository or branch are not there, or the new name is taken.
pub async fn rename_branch(
    world: &World,
    full_name: &str,
    from: &str,
    to: &str,
) -> anyhow::Result<()> {
    let store_key = find(&world.github.lock(), full_name)?.store_key();
    world
        .git
        .repository(&store_key)
        .rename_branch(from, to)
        .await?;
    edit(world, full_name, |repository| {
        repository.former_branches.remove(to);
        repository
            .former_branches
            .insert(from.to_owned(), to.to_owned());
        if repository.default_branch == from {
            repository.default_branch = to.to_owned();
        }
    })
}

/// Archives a repository, or takes it back.
///
/// # Errors
/// When there is no such repository.
pub fn archive(world: &World, full_name: &str, archived: bool) -> anyhow::Result<()> {
    edit(world, full_name, |repository| {
        repository.archived = archived
    })
}

/// Sets the policy that newer organisations have off: deploy keys are refused, and those that exist stop working.
///
/// # Errors
/// When there is no such repository.
pub fn set_deploy_keys_enabled(
    world: &World,
    full_name: &str,
    enabled: bool,
) -> anyhow::Result<()> {
    edit(world, full_name, |repository| {
        repository.deploy_keys_enabled = enabled
    })
}

/// Forgets everything but the default token.
///
/// # Errors
/// When a repository's folder cannot be deleted.
pub fn reset(world: &World) -> anyhow::Result<()> {
    let forgotten = world.github.lock().forget();
    for repository in forgotten {
        world.git.remove(&repository.store_key())?;
    }
    apps::add_netlifys(&mut world.github.lock(), world.clock.now());
    add_token(
        world,
        NewToken {
            token: GITHUB_TOKEN.to_owned(),
            login: LOGIN.to_owned(),
            everywhere: Some(Access::Admin),
            ..NewToken::default()
        },
    )
}

fn find<'s>(state: &'s State, full_name: &str) -> anyhow::Result<&'s Repository> {
    state
        .named(full_name)
        .with_context(|| format!("no repository {full_name}"))
}

fn edit(
    world: &World,
    full_name: &str,
    change: impl FnOnce(&mut Repository),
) -> anyhow::Result<()> {
    let mut state = world.github.lock();
    let id = find(&state, full_name)?.id;
    let repository = state
        .repositories
        .get_mut(&id)
        .context("the repository is gone")?;
    change(repository);
    Ok(())
}

/// The row, before the folder exists: it takes the name.
fn add_row(world: &World, new: &NewRepository) -> anyhow::Result<Repository> {
    let now = world.clock.now();
    let mut state = world.github.lock();
    let full_name = format!("{}/{}", new.owner, new.name);
    anyhow::ensure!(
        state.named(&full_name).is_none(),
        "{full_name} exists already"
    );
    state.account(&new.owner, new.organization, now);
    // A new repository takes the name from one that merely used to have it.
    state.former_names.remove(&full_name.to_ascii_lowercase());
    let repository = Repository {
        id: state.next_id(),
        owner: new.owner.clone(),
        name: new.name.clone(),
        description: new.description.clone(),
        private: new.private,
        default_branch: new.default_branch.clone(),
        archived: false,
        deploy_keys_enabled: new.deploy_keys_enabled,
        created_at: now,
        updated_at: now,
        pushed_at: now,
        size_kib: 0,
        keys: Vec::new(),
        hooks: Vec::new(),
        last_push: None,
        former_branches: BTreeMap::new(),
    };
    state.repositories.insert(repository.id, repository.clone());
    state.created.repositories += 1;
    Ok(repository)
}

async fn fill(
    world: &Arc<World>,
    store_key: &str,
    new: &NewRepository,
    first: Option<NewCommit>,
) -> anyhow::Result<()> {
    world.git.create(store_key, &new.default_branch).await?;
    let Some(first) = first else { return Ok(()) };
    let (_, mut update) = world.git.commit(store_key, &first).await?;
    update.pusher = Some(new.owner.clone());
    webhooks::pushed(world, &update).await
}
