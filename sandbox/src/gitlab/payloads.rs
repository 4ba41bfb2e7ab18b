//! The body and headers of GitLab's push and merge request events, in the shape of its page "Webhook events".

use serde_json::{Value, json};
use uuid::Uuid;

use super::shapes::Addresses;
use crate::forge::{Encoding, Hook, Message, Opened, Push, Repository};
use crate::git::CommitInfo;
use crate::world::World;

/// How many commits an event lists.
const MOST_COMMITS: usize = 20;

/// The event that a push is, in the words of a webhook's settings.
pub fn event(push: &Push) -> &'static str {
    match push.branch() {
        Some(_) => "push_events",
        None => "tag_push_events",
    }
}

/// A push or tag push.
pub fn push(world: &World, hook: &Hook, push: &Push) -> Message {
    let at = Addresses::of(world);
    let person = world
        .forges
        .gitlab
        .lock()
        .person(&push.pusher, world.clock.now());
    let (kind, name) = match push.branch() {
        Some(_) => ("push", "Push Hook"),
        None => ("tag_push", "Tag Push Hook"),
    };
    let web = format!("{}/{}", at.web, push.repository.path);
    let latest = push.commits.iter().rev().take(MOST_COMMITS).rev();
    let body = json!({
        "object_kind": kind, "event_name": kind, "before": push.update.before, "after": push.update.after,
        "ref": push.update.reference, "ref_protected": push.branch() == Some(&push.repository.default_branch),
        // Null when the branch is gone.
        "checkout_sha": push.head.as_ref().map(|head| &head.sha), "message": null,
        "user_id": person.id, "user_name": person.login, "user_username": person.login, "user_email": "",
        "user_avatar": null, "project_id": push.repository.id, "project": project(&push.repository, &at),
        "commits": latest.map(|commit| shape(commit, &web)).collect::<Vec<_>>(),
        "total_commits_count": push.commits.len(), "push_options": {},
        "repository": {
            "name": push.repository.name(), "url": format!("{web}.git"), "homepage": web,
            "description": push.repository.description, "git_http_url": format!("{web}.git"),
            "visibility_level": visibility_level(&push.repository),
        },
    });
    Message {
        event: event(push).replace("_events", "_hooks"),
        headers: headers(world, hook.id, name, hook.secret.as_deref()),
        body,
        encoding: Encoding::Json,
    }
}

/// A merge request that was opened.
pub fn merge_request(world: &World, hook: &Hook, opened: &Opened) -> Message {
    let at = Addresses::of(world);
    let Opened {
        repository,
        request,
    } = opened;
    let web = format!("{}/{}", at.web, repository.path);
    let body = json!({
        "object_kind": "merge_request", "event_type": "merge_request",
        "user": {"id": 1, "name": repository.owner(), "username": repository.owner()},
        "project": project(repository, &at),
        "object_attributes": {
            "id": request.number, "iid": request.number, "action": "open", "state": "opened", "title": request.title,
            "source_branch": request.branch, "target_branch": request.into, "source_project_id": repository.id,
            "target_project_id": repository.id, "last_commit": shape(&request.head, &web),
            "url": format!("{web}/-/merge_requests/{}", request.number),
        },
    });
    Message {
        event: "merge_request_hooks".to_owned(),
        headers: headers(world, hook.id, "Merge Request Hook", hook.secret.as_deref()),
        body,
        encoding: Encoding::Json,
    }
}

/// The headers of every message.
pub fn headers(
    world: &World,
    hook: u64,
    event: &str,
    token: Option<&str>,
) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("User-Agent", "GitLab/18.5.0-ee".to_owned()),
        ("X-Gitlab-Event", event.to_owned()),
        (
            "X-Gitlab-Webhook-UUID",
            Uuid::from_u128(hook.into()).to_string(),
        ),
        ("X-Gitlab-Event-UUID", Uuid::new_v4().to_string()),
        ("X-Gitlab-Instance", world.origin()),
        ("Idempotency-Key", Uuid::new_v4().to_string()),
    ];
    headers.extend(token.map(|token| ("X-Gitlab-Token", token.to_owned())));
    headers
}

fn project(project: &Repository, at: &Addresses) -> Value {
    let web = format!("{}/{}", at.web, project.path);
    json!({
        "id": project.id, "name": project.name(), "description": project.description, "web_url": web,
        "avatar_url": null, "git_http_url": format!("{web}.git"), "namespace": project.owner(),
        "visibility_level": visibility_level(project), "path_with_namespace": project.path,
        "default_branch": project.default_branch, "ci_config_path": null,
    })
}

/// 0 private, 10 internal, 20 public.
const fn visibility_level(project: &Repository) -> u8 {
    if project.private { 0 } else { 20 }
}

fn shape(commit: &CommitInfo, web: &str) -> Value {
    json!({
        "id": commit.sha, "message": commit.message, "title": commit.message.lines().next(),
        "timestamp": commit.committed_at, "url": format!("{web}/-/commit/{}", commit.sha),
        "author": {"name": commit.author.name, "email": commit.author.email},
        "added": commit.changes.added, "modified": commit.changes.modified, "removed": commit.changes.removed,
    })
}
