//! The body of Azure's push and pull request events, in the shape of its page "Service hooks events".

use serde_json::{Value, json};
use uuid::Uuid;

use super::shapes;
use super::target::project_identity;
use crate::clock::milliseconds;
use crate::forge::{Encoding, Hook, Message, Opened, Push};
use crate::git::CommitInfo;
use crate::world::World;

/// A push.
pub fn push(world: &World, hook: &Hook, push: &Push) -> Message {
    let repository = &push.repository;
    let organization = repository.path.split('/').next().unwrap_or_default();
    let (project, account, pusher) = {
        let mut state = world.forges.azure.lock();
        let project = project_identity(&mut state, world, repository.owner());
        let account = project_identity(&mut state, world, organization);
        (
            project,
            account,
            state.person(&push.pusher, repository.created_at),
        )
    };
    let link = shapes::api(world, repository);
    let commits: Vec<Value> = push
        .commits
        .iter()
        .rev()
        .map(|c| commit(c, &link))
        .collect();
    let text = format!(
        "{} pushed updates to {}:{}.",
        pusher.login,
        repository.name(),
        push.ref_name()
    );
    let resource = json!({
        "commits": commits,
        "refUpdates": [{"name": push.update.reference, "oldObjectId": push.update.before, "newObjectId": push.update.after}],
        "repository": shapes::repository(world, repository, &project), "pushedBy": shapes::identity(&pusher),
        "pushId": 1, "date": milliseconds(repository.pushed_at), "url": format!("{link}/pushes/1"),
    });
    let containers = json!({
        "collection": {"id": account.uuid}, "account": {"id": account.uuid}, "project": {"id": project.uuid},
    });
    message(hook, "git.push", &text, resource, containers)
}

/// The invented push of a test without real data; no site is linked to its repository.
pub fn sample(hook: &Hook) -> Message {
    let resource = json!({
        "commits": [], "refUpdates": [{
            "name": "refs/heads/main", "oldObjectId": "aad331d8d3b131fa9ae03cf5e53965b51942618a",
            "newObjectId": "33b55f7cb7e7e245323987634f960cf4a6e6bc74"}],
        "repository": {
            "id": "278d5cd2-584d-4b63-824a-2ba458937249", "name": "Fabrikam-Fiber-Git",
            "remoteUrl": "https://dev.azure.com/fabrikam-fiber-inc/Fabrikam-Fiber-Git/_git/Fabrikam-Fiber-Git",
            "project": {"id": "6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c", "name": "Fabrikam-Fiber-Git",
                "visibility": "private", "state": "wellFormed"}},
        "pushedBy": {"displayName": "Jamal Hartnett"}, "pushId": 14,
    });
    let text = "Jamal Hartnett pushed updates.";
    message(hook, "git.push", text, resource, json!({}))
}

/// A pull request that was made.
pub fn pull_request(world: &World, hook: &Hook, opened: &Opened) -> Message {
    let Opened {
        repository,
        request,
    } = opened;
    let project = {
        let mut state = world.forges.azure.lock();
        project_identity(&mut state, world, repository.owner())
    };
    let resource = json!({
        "pullRequestId": request.number, "status": "active", "title": request.title,
        "sourceRefName": format!("refs/heads/{}", request.branch), "targetRefName": format!("refs/heads/{}", request.into),
        "lastMergeSourceCommit": {"commitId": request.head.sha},
        "repository": shapes::repository(world, repository, &project),
    });
    let text = format!("Somebody created pull request {}.", request.number);
    message(hook, "git.pullrequest.created", &text, resource, json!({}))
}

fn message(hook: &Hook, event: &str, text: &str, resource: Value, containers: Value) -> Message {
    let words = json!({"text": text, "html": text, "markdown": text});
    Message {
        event: event.to_owned(),
        headers: vec![("User-Agent", "VSServices/18.0 (service hooks)".to_owned())],
        body: json!({
            "subscriptionId": hook.uuid, "notificationId": hook.deliveries.len() + 1, "id": Uuid::new_v4(),
            "eventType": event, "publisherId": "tfs", "message": words, "detailedMessage": words,
            "resource": resource, "resourceVersion": "1.0", "resourceContainers": containers,
            "createdDate": milliseconds(time::OffsetDateTime::now_utc()),
        }),
        encoding: Encoding::Json,
    }
}

fn commit(commit: &CommitInfo, repository: &str) -> Value {
    let person =
        |name: &str, email: &str, date: &str| json!({"name": name, "email": email, "date": date});
    json!({
        "commitId": commit.sha, "comment": commit.message, "url": format!("{repository}/commits/{}", commit.sha),
        "author": person(&commit.author.name, &commit.author.email, &commit.authored_at),
        "committer": person(&commit.committer.name, &commit.committer.email, &commit.committed_at),
    })
}
