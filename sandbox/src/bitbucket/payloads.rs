//! The body and headers of Bitbucket's push and pull request events, in the shape of its page "Event payloads".

use serde_json::{Value, json};
use uuid::Uuid;

use super::shapes::{self, braced};
use crate::forge::{Encoding, Hook, Message, Opened, Push};
use crate::git::CommitInfo;
use crate::world::World;

/// How many commits an event lists.
const MOST_COMMITS: usize = 5;

/// A push of one ref; a branch that is gone has no `new`.
pub fn push(world: &World, hook: &Hook, push: &Push) -> Message {
    let repository = &push.repository;
    let (owner, actor) = {
        let mut state = world.forges.bitbucket.lock();
        let owner = state.person(repository.owner(), repository.created_at);
        (owner, state.person(&push.pusher, repository.created_at))
    };
    let kind = push.branch().map_or("tag", |_| "branch");
    let reference =
        |target: Value| json!({"type": kind, "name": push.ref_name(), "target": target});
    let shape = |commit: &CommitInfo| shapes::commit(commit, repository);
    let old = (!push.is_creation())
        .then(|| reference(json!({"type": "commit", "hash": push.update.before})));
    let latest = push.commits.iter().rev().take(MOST_COMMITS).map(shape);
    let body = json!({
        "push": {"changes": [{
            "old": old, "new": push.head.as_ref().map(|head| reference(shape(head))),
            "created": push.is_creation(), "closed": push.is_deletion(), "forced": push.forced,
            "truncated": push.commits.len() > MOST_COMMITS, "commits": latest.collect::<Vec<_>>(),
        }]},
        "repository": shapes::repository(world, repository, &owner, &owner.login), "actor": shapes::user(&actor),
    });
    message(hook, "repo:push", body)
}

/// A pull request that was made.
pub fn pull_request(world: &World, hook: &Hook, opened: &Opened) -> Message {
    let Opened {
        repository,
        request,
    } = opened;
    let owner = {
        let mut state = world.forges.bitbucket.lock();
        state.person(repository.owner(), repository.created_at)
    };
    let side = |branch: &str, commit: Value| json!({"branch": {"name": branch}, "commit": commit});
    let body = json!({
        "pullrequest": {
            "type": "pullrequest", "id": request.number, "title": request.title, "state": "OPEN",
            "source": side(&request.branch, json!({"type": "commit", "hash": request.head.sha})),
            "destination": side(&request.into, Value::Null), "author": shapes::user(&owner),
        },
        "repository": shapes::repository(world, repository, &owner, &owner.login), "actor": shapes::user(&owner),
    });
    message(hook, "pullrequest:created", body)
}

fn message(hook: &Hook, event: &str, body: Value) -> Message {
    Message {
        event: event.to_owned(),
        headers: vec![
            ("User-Agent", "Bitbucket-Webhooks/2.0".to_owned()),
            ("X-Event-Key", event.to_owned()),
            ("X-Hook-UUID", hook.uuid.to_string()),
            ("X-Request-UUID", braced(Uuid::new_v4())),
            ("X-Attempt-Number", "1".to_owned()),
        ],
        body,
        encoding: Encoding::Json,
    }
}
