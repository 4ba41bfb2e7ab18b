//! The bodies of GitHub's events, in the shape of its page "Webhook events and payloads".

use anyhow::Context;
use serde_json::{Value, json};

use super::repositories::owner;
use super::shapes::{self, Addresses};
use super::state::{Repository, State};
use crate::forge::PullRequest;
use crate::git::{Author, Brought, CommitInfo, RefUpdate, ZERO_SHA};
use crate::world::World;

/// `push`.
///
/// # Errors
/// When the repository is gone or cannot be read.
pub async fn push(world: &World, repository: u64, update: &RefUpdate) -> anyhow::Result<Value> {
    let RefUpdate {
        before,
        after,
        reference,
        ..
    } = update;
    let Brought { commits, forced } = world.git.brought(update).await?;
    let head = if after == ZERO_SHA {
        None
    } else {
        Some(world.git.show(&update.store_key, after).await?)
    };
    let scene = Scene::of(world, repository, update.pusher.as_deref())?;
    let shape = |commit: &CommitInfo| commit_shape(commit, &scene.full_name);
    let pusher = update.pusher.as_deref().unwrap_or(&scene.owner);
    Ok(json!({
        "ref": reference, "before": before, "after": after,
        "created": before == ZERO_SHA, "deleted": after == ZERO_SHA, "forced": forced, "base_ref": null,
        "compare": compare(&scene.full_name, before, after),
        "commits": commits.iter().map(shape).collect::<Vec<_>>(),
        "head_commit": head.as_ref().map(shape),
        "pusher": {"name": pusher, "email": format!("{pusher}@users.noreply.github.com")},
        "repository": scene.repository, "sender": scene.sender,
    }))
}

/// `create` and `delete` of a branch or tag.
///
/// # Errors
/// When the repository is gone.
pub fn ref_event(world: &World, repository: u64, update: &RefUpdate) -> anyhow::Result<Value> {
    let scene = Scene::of(world, repository, update.pusher.as_deref())?;
    let name = update
        .reference
        .splitn(3, '/')
        .nth(2)
        .unwrap_or(&update.reference);
    let tag = update.reference.starts_with("refs/tags/");
    Ok(json!({
        "ref": name, "ref_type": if tag { "tag" } else { "branch" }, "full_ref": update.reference,
        "master_branch": scene.repository["master_branch"], "description": scene.repository["description"],
        "pusher_type": "user", "repository": scene.repository, "sender": scene.sender,
    }))
}

/// `pull_request` of one that was opened.
///
/// # Errors
/// When the repository is gone.
pub fn pull_request(
    world: &World,
    repository: u64,
    request: &PullRequest,
) -> anyhow::Result<Value> {
    let scene = Scene::of(world, repository, None)?;
    let number = request.number;
    Ok(json!({
        "action": "opened", "number": number,
        "pull_request": {
            "number": number, "state": "open", "title": request.title,
            "html_url": format!("https://github.com/{}/pull/{number}", scene.full_name),
            "head": {"ref": request.branch, "sha": request.head.sha}, "base": {"ref": request.into},
        },
        "repository": scene.repository, "sender": scene.sender,
    }))
}

/// `ping`; `None` when the hook is gone.
pub fn ping(world: &World, repository: u64, hook: u64) -> Option<Value> {
    let at = super::addresses(world);
    let hook_shape = {
        let state = world.github.lock();
        let repository = state.repositories.get(&repository)?;
        let hook = repository.hooks.iter().find(|h| h.id == hook)?;
        shapes::hook(hook, repository, &at)
    };
    let scene = Scene::of(world, repository, None).ok()?;
    Some(json!({
        "zen": "Keep it logically awesome.", "hook_id": hook, "hook": hook_shape,
        "repository": scene.repository, "sender": scene.sender,
    }))
}

/// Who and where: the parts that all events share.
struct Scene {
    full_name: String,
    owner: String,
    repository: Value,
    sender: Value,
}

impl Scene {
    fn of(world: &World, id: u64, sender: Option<&str>) -> anyhow::Result<Self> {
        let at = super::addresses(world);
        let mut state = world.github.lock();
        let repository = state.repositories.get(&id).cloned();
        let repository = repository.context("the repository is gone")?;
        let sender = sender.unwrap_or(&repository.owner);
        let sender = state.account(sender, false, repository.created_at);
        Ok(Self {
            full_name: repository.full_name(),
            owner: repository.owner.clone(),
            repository: repository_shape(&mut state, &repository, &at),
            sender: shapes::account(&sender, &at),
        })
    }
}

fn repository_shape(state: &mut State, repository: &Repository, at: &Addresses) -> Value {
    let owner = owner(state, &repository.owner, repository.created_at);
    let shape = shapes::repository(repository, &owner, None, at);
    shapes::event_repository(shape, repository.created_at, repository.pushed_at)
}

fn commit_shape(commit: &CommitInfo, full_name: &str) -> Value {
    let person = |person: &Author| json!({"name": person.name, "email": person.email});
    json!({
        "id": commit.sha, "tree_id": commit.tree, "distinct": true, "message": commit.message,
        "timestamp": commit.committed_at, "url": format!("https://github.com/{full_name}/commit/{}", commit.sha),
        "author": person(&commit.author), "committer": person(&commit.committer),
        "added": commit.changes.added, "removed": commit.changes.removed, "modified": commit.changes.modified,
    })
}

fn compare(full_name: &str, before: &str, after: &str) -> String {
    let short = |sha: &str| sha.get(..12).unwrap_or(sha).to_owned();
    let range = if before == ZERO_SHA {
        format!("commit/{}", short(after))
    } else {
        format!("compare/{}...{}", short(before), short(after))
    };
    format!("https://github.com/{full_name}/{range}")
}
