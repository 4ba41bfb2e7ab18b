//! GitLab's JSON for projects, branches, keys and webhooks.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::hooks::EVENTS;
use super::{DISABLED_AFTER, is_executable};
use crate::clock::milliseconds;
use crate::forge::credentials::Visitor;
use crate::forge::gate::ssh_url;
use crate::forge::{Access, Delivery, DeployKey, Hook, Person, PersonKey, Provider, Repository};
use crate::git::CommitInfo;
use crate::world::World;

/// Addresses that go into answers.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub api: String,
    /// Where the pages are.
    pub web: String,
    /// Base of the clone addresses.
    ssh: String,
}

impl Addresses {
    /// The instance's.
    pub fn of(world: &World) -> Self {
        Self {
            api: format!("{}/gitlab/api/v4", world.origin()),
            ssh: ssh_url(world, Provider::Gitlab, ""),
            web: world.switches.read().gitlab.web_url.clone(),
        }
    }

    /// API address of a project.
    pub fn project_api(&self, id: u64) -> String {
        format!("{}/projects/{id}", self.api)
    }

    fn ssh(&self, path: &str) -> String {
        self.ssh.replace("/.git", &format!("/{path}.git"))
    }
}

/// `10` guest … `50` owner; null for those who do not belong.
const fn access_level(access: Access) -> Option<u8> {
    match access {
        Access::None => None,
        Access::Read => Some(20),
        Access::Push => Some(30),
        Access::Admin => Some(40),
    }
}

/// An SSH key in somebody's profile.
pub fn person_key(key: &PersonKey) -> Value {
    json!({
        "id": key.id, "title": key.title, "key": key.key.as_str(), "usage_type": "auth_and_signing",
        "created_at": milliseconds(key.created_at), "expires_at": key.expires_at.map(milliseconds),
    })
}

/// A project with the visitor's own rights.
pub fn project(project: &Repository, owner: &Person, visitor: &Visitor, at: &Addresses) -> Value {
    let web = format!("{}/{}", at.web, project.path);
    let api = at.project_api(project.id);
    let level = access_level(visitor.membership(project));
    let branch = (!project.is_empty()).then_some(&project.default_branch);
    let mut shape = json!({
        "id": project.id, "description": project.description, "name": project.name(), "path": project.name(),
        "name_with_namespace": project.path.replace('/', " / "), "path_with_namespace": project.path,
        "created_at": milliseconds(project.created_at), "last_activity_at": milliseconds(project.pushed_at),
        "default_branch": branch, "topics": [], "tag_list": [], "star_count": 0, "forks_count": 0,
        "ssh_url_to_repo": at.ssh(&project.path), "http_url_to_repo": format!("{web}.git"), "web_url": web,
        "readme_url": null, "avatar_url": null,
        "namespace": namespace(project.owner(), owner, at),
        "visibility": if project.private { "private" } else { "public" },
        "empty_repo": project.is_empty(), "archived": project.archived, "creator_id": owner.id,
        "import_status": "none", "repository_access_level": "enabled", "mirror": false,
        "marked_for_deletion_at": null, "marked_for_deletion_on": null, "shared_with_groups": [],
        "_links": {"self": api, "repo_branches": format!("{api}/repository/branches")},
    });
    if visitor.token.is_some() {
        // Rights of a member of the group count as much as those of a member of the project.
        let group = level.map(|level| json!({"access_level": level, "notification_level": 3}));
        shape["permissions"] = json!({"project_access": null, "group_access": group});
    }
    shape
}

/// The group or user in which projects live.
pub fn namespace(path: &str, owner: &Person, at: &Addresses) -> Value {
    json!({
        "id": owner.id, "name": path.rsplit('/').next(), "path": path.rsplit('/').next(), "kind": "group",
        "full_path": path, "parent_id": null, "avatar_url": null,
        "web_url": format!("{}/groups/{path}", at.web),
    })
}

/// A branch with its head.
pub fn branch(name: &str, commit: &CommitInfo, project: &Repository, at: &Addresses) -> Value {
    let web = format!("{}/{}", at.web, project.path);
    json!({
        "name": name, "merged": false, "protected": name == project.default_branch,
        "developers_can_push": false, "developers_can_merge": false, "can_push": true,
        "default": name == project.default_branch, "web_url": format!("{web}/-/tree/{name}"),
        "commit": {
            "id": commit.sha, "short_id": commit.sha.get(..8), "created_at": commit.committed_at,
            "parent_ids": commit.parents, "title": commit.message.lines().next(), "message": commit.message,
            "author_name": commit.author.name, "author_email": commit.author.email,
            "authored_date": commit.authored_at, "committer_name": commit.committer.name,
            "committer_email": commit.committer.email, "committed_date": commit.committed_at,
            "trailers": {}, "extended_trailers": {}, "web_url": format!("{web}/-/commit/{}", commit.sha),
        },
    })
}

/// A deploy key; of its comment the first word is left (python-gitlab #930).
pub fn deploy_key(key: &DeployKey) -> Value {
    let text = format!("{} {}", key.key.as_str(), key.comment);
    json!({
        "id": key.id, "title": key.title, "created_at": milliseconds(key.created_at),
        "expires_at": key.expires_at.map(milliseconds), "last_used_at": key.last_used.map(milliseconds),
        "key": text.trim_end(), "usage_type": "auth", "can_push": key.can_push,
        // An instance in FIPS mode has no MD5, and no client should look at it.
        "fingerprint": null, "fingerprint_sha256": key.key.fingerprint(),
    })
}

/// A webhook; its token is never shown.
pub fn hook(hook: &Hook, project: u64, now: OffsetDateTime) -> Value {
    let suspended = hook.suspended_until.filter(|_| !is_executable(hook, now));
    let status = match suspended {
        _ if hook.failures >= DISABLED_AFTER => "disabled",
        Some(_) => "temporarily_disabled",
        None => "executable",
    };
    let mut shape = json!({
        "id": hook.id, "url": hook.url, "name": null, "description": null, "project_id": project,
        "created_at": milliseconds(hook.created_at), "enable_ssl_verification": true,
        "alert_status": status, "disabled_until": suspended.map(milliseconds), "url_variables": [],
        "custom_headers": [], "push_events_branch_filter": null, "branch_filter_strategy": "wildcard",
        "custom_webhook_template": null, "organization_id": 1,
    });
    for (name, value) in &hook.settings {
        shape[name] = value.clone();
    }
    for event in EVENTS {
        shape[event] = hook.events.contains(event).into();
    }
    shape
}

/// One row of the delivery log.
pub fn delivery(delivery: &Delivery) -> Value {
    let answer = &delivery.answer;
    json!({
        "id": delivery.id, "url": delivery.url, "trigger": delivery.event,
        "request_headers": delivery.request_headers, "request_data": delivery.payload,
        "response_headers": answer.headers, "response_body": answer.body,
        "execution_duration": answer.seconds, "response_status": outcome(delivery),
    })
}

/// The status as text, or GitLab's word for none.
pub fn outcome(delivery: &Delivery) -> String {
    let status = delivery.answer.status;
    status.map_or_else(|_| "internal error".to_owned(), |s| s.to_string())
}
