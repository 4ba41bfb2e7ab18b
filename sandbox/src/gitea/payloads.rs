//! The body and headers of Gitea's push and pull request events, which look like GitHub's but for the pusher.

use serde_json::{Value, json};
use uuid::Uuid;

use super::repositories::{WEB, shape, user};
use crate::forge::{Encoding, Hook, Message, Opened, Push};
use crate::git::CommitInfo;
use crate::world::World;

/// A push.
pub fn push(world: &World, hook: &Hook, push: &Push) -> Message {
    let repository = &push.repository;
    let (owner, pusher) = {
        let mut state = world.forges.gitea.lock();
        let owner = state.person(repository.owner(), repository.created_at);
        (owner, state.person(&push.pusher, repository.created_at))
    };
    let web = format!("{WEB}/{}", repository.path);
    let commit = |commit: &CommitInfo| commit_shape(commit, &web);
    let body = json!({
        "ref": push.update.reference, "before": push.update.before, "after": push.update.after,
        "compare_url": format!("{web}/compare/{}...{}", push.update.before, push.update.after),
        "commits": push.commits.iter().map(commit).collect::<Vec<_>>(), "total_commits": push.commits.len(),
        "head_commit": push.head.as_ref().map(commit), "repository": shape(world, repository, &owner),
        "pusher": user(&pusher), "sender": user(&pusher),
    });
    message(hook, "push", body)
}

/// A pull request that was opened.
pub fn pull_request(world: &World, hook: &Hook, opened: &Opened) -> Message {
    let Opened {
        repository,
        request,
    } = opened;
    let owner = {
        let mut state = world.forges.gitea.lock();
        state.person(repository.owner(), repository.created_at)
    };
    let body = json!({
        "action": "opened", "number": request.number,
        "pull_request": {
            "number": request.number, "title": request.title, "state": "open",
            "html_url": format!("{WEB}/{}/pulls/{}", repository.path, request.number),
            "head": {"ref": request.branch, "sha": request.head.sha}, "base": {"ref": request.into},
        },
        "repository": shape(world, repository, &owner), "sender": user(&owner),
    });
    message(hook, "pull_request", body)
}

fn message(hook: &Hook, event: &str, body: Value) -> Message {
    let form = hook
        .settings
        .get("content_type")
        .is_some_and(|t| t == "form");
    Message {
        event: event.to_owned(),
        headers: headers(event),
        body,
        encoding: if form { Encoding::Form } else { Encoding::Json },
    }
}

/// Gitea speaks for its ancestors and its model too.
fn headers(event: &str) -> Vec<(&'static str, String)> {
    let delivery = Uuid::new_v4().to_string();
    let events = [
        "X-Gitea-Event",
        "X-Gitea-Event-Type",
        "X-Gogs-Event",
        "X-GitHub-Event",
    ];
    let deliveries = ["X-Gitea-Delivery", "X-Gogs-Delivery", "X-GitHub-Delivery"];
    let events = events.map(|name| (name, event.to_owned()));
    let deliveries = deliveries.map(|name| (name, delivery.clone()));
    events.into_iter().chain(deliveries).collect()
}

fn commit_shape(commit: &CommitInfo, web: &str) -> Value {
    let person = json!({"name": commit.author.name, "email": commit.author.email, "username": ""});
    json!({
        "id": commit.sha, "message": commit.message, "url": format!("{web}/commit/{}", commit.sha),
        "author": person, "committer": person, "timestamp": commit.committed_at,
        "added": commit.changes.added, "removed": commit.changes.removed, "modified": commit.changes.modified,
    })
}
