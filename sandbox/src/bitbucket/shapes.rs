//! Bitbucket's JSON for repositories, branches, keys, webhooks and accounts.

use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::forge::gate::ssh_url;
use crate::forge::{DeployKey, Hook, Person, Provider, Repository};
use crate::git::CommitInfo;
use crate::world::World;

const WEB: &str = "https://bitbucket.org";

/// `{uuid}`, as Bitbucket writes them.
pub fn braced(uuid: Uuid) -> String {
    format!("{{{uuid}}}")
}

/// `2026-11-22T09:38:00.123000+00:00`.
fn stamp(at: OffsetDateTime) -> String {
    crate::clock::milliseconds(at).replace('Z', "000+00:00")
}

fn api(world: &World, repository: &Repository) -> String {
    format!(
        "{}/bitbucket/2.0/repositories/{}",
        world.origin(),
        repository.path
    )
}

/// A person's account.
pub fn user(person: &Person) -> Value {
    json!({
        "type": "user", "uuid": braced(person.uuid), "display_name": person.login, "nickname": person.login,
        "account_id": format!("557058:{}", person.uuid), "account_status": "active",
        "created_on": stamp(person.created_at), "links": {"html": {"href": format!("{WEB}/%7B{}%7D/", person.uuid)}},
    })
}

/// The workspace that belongs to an owner of repositories.
pub fn workspace(owner: &Person) -> Value {
    json!({
        "type": "workspace", "uuid": braced(owner.uuid), "slug": owner.login, "name": owner.login, "is_private": true,
        "created_on": stamp(owner.created_at), "links": {"html": {"href": format!("{WEB}/{}/", owner.login)}},
    })
}

/// A repository; its address for https carries the caller's name.
pub fn repository(world: &World, repository: &Repository, owner: &Person, login: &str) -> Value {
    let web = format!("{WEB}/{}", repository.path);
    let mainbranch = json!({"type": "branch", "name": repository.default_branch});
    json!({
        "type": "repository", "uuid": braced(repository.uuid), "full_name": repository.path, "name": repository.name(),
        "slug": repository.name(), "is_private": repository.private, "scm": "git", "fork_policy": "no_public_forks",
        "description": repository.description.clone().unwrap_or_default(), "language": "", "has_issues": false,
        "has_wiki": false, "size": repository.size_kib * 1024, "parent": null,
        "created_on": stamp(repository.created_at), "updated_on": stamp(repository.updated_at),
        "mainbranch": if repository.is_empty() { Value::Null } else { mainbranch },
        "owner": {"type": "team", "uuid": braced(owner.uuid), "display_name": owner.login},
        "workspace": workspace(owner),
        "project": {"type": "project", "key": "SAND", "name": "Sandbox", "uuid": braced(Uuid::nil())},
        "links": {
            "self": {"href": api(world, repository)}, "html": {"href": web},
            "hooks": {"href": format!("{}/hooks", api(world, repository))},
            "clone": [
                {"name": "https", "href": format!("https://{login}@bitbucket.org/{}.git", repository.path)},
                {"name": "ssh", "href": ssh_url(world, Provider::Bitbucket, &repository.path)},
            ],
        },
    })
}

/// A branch with its head.
pub fn branch(world: &World, name: &str, head: &CommitInfo, repository: &Repository) -> Value {
    let link = format!("{}/refs/branches/{name}", api(world, repository));
    json!({
        "type": "branch", "name": name, "target": commit(head, repository),
        "merge_strategies": ["merge_commit", "squash", "fast_forward"], "default_merge_strategy": "merge_commit",
        "links": {"self": {"href": link}, "html": {"href": format!("{WEB}/{}/branch/{name}", repository.path)}},
    })
}

/// A commit.
pub fn commit(commit: &CommitInfo, repository: &Repository) -> Value {
    let parent = |sha: &String| json!({"type": "commit", "hash": sha});
    let raw = format!("{} <{}>", commit.author.name, commit.author.email);
    json!({
        "type": "commit", "hash": commit.sha, "date": commit.committed_at, "message": commit.message,
        "author": {"type": "author", "raw": raw}, "parents": commit.parents.iter().map(parent).collect::<Vec<_>>(),
        "links": {"html": {"href": format!("{WEB}/{}/commits/{}", repository.path, commit.sha)}},
    })
}

/// An access key; its comment stands apart.
pub fn key(world: &World, key: &DeployKey, repository: &Repository) -> Value {
    json!({
        "type": "deploy_key", "id": key.id, "key": key.key, "label": key.title, "comment": key.comment,
        "added_on": stamp(key.created_at), "last_used": key.last_used.map(stamp),
        "links": {"self": {"href": format!("{}/deploy-keys/{}", api(world, repository), key.id)}},
        "repository": {"type": "repository", "full_name": repository.path, "name": repository.name(),
            "uuid": braced(repository.uuid)},
    })
}

/// A webhook; its secret is never shown.
pub fn hook(world: &World, hook: &Hook, repository: &Repository) -> Value {
    let uuid = braced(hook.uuid);
    let setting = |name: &str| hook.settings.get(name).cloned();
    json!({
        "type": "webhook_subscription", "uuid": uuid, "url": hook.url, "active": hook.active, "events": hook.events,
        "description": setting("description").unwrap_or_else(|| "".into()),
        "skip_cert_verification": setting("skip_cert_verification").unwrap_or_else(|| false.into()),
        "created_at": stamp(hook.created_at), "secret_set": hook.secret.is_some(), "history_enabled": false,
        "source": null, "read_only": null, "subject_type": "repository",
        "subject": {"type": "repository", "full_name": repository.path, "name": repository.name(),
            "uuid": braced(repository.uuid)},
        "links": {"self": {"href": format!("{}/hooks/%7B{}%7D", api(world, repository), hook.uuid)}},
    })
}
