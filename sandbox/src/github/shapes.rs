//! GitHub's JSON for accounts, repositories, keys and hooks, as full as its own description demands.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::state::{Access, Account, DeployKey, Hook, HookConfig, Repository};
use crate::clock::seconds;

/// Templates that hang below a repository's API address, by field.
const REPOSITORY_LINKS: [(&str, &str); 37] = [
    ("archive_url", "/{archive_format}{/ref}"),
    ("assignees_url", "/assignees{/user}"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("branches_url", "/branches{/branch}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("comments_url", "/comments{/number}"),
    ("commits_url", "/commits{/sha}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("contents_url", "/contents/{+path}"),
    ("contributors_url", "/contributors"),
    ("deployments_url", "/deployments"),
    ("downloads_url", "/downloads"),
    ("events_url", "/events"),
    ("forks_url", "/forks"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("hooks_url", "/hooks"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("issue_events_url", "/issues/events{/number}"),
    ("issues_url", "/issues{/number}"),
    ("keys_url", "/keys{/key_id}"),
    ("labels_url", "/labels{/name}"),
    ("languages_url", "/languages"),
    ("merges_url", "/merges"),
    ("milestones_url", "/milestones{/number}"),
    (
        "notifications_url",
        "/notifications{?since,all,participating}",
    ),
    ("pulls_url", "/pulls{/number}"),
    ("releases_url", "/releases{/id}"),
    ("stargazers_url", "/stargazers"),
    ("statuses_url", "/statuses/{sha}"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("tags_url", "/tags"),
    ("teams_url", "/teams"),
    ("trees_url", "/git/trees{/sha}"),
    ("url", ""),
];

/// Counters of a repository that nobody looks at yet.
const ZEROS: [&str; 8] = [
    "forks",
    "forks_count",
    "open_issues",
    "open_issues_count",
    "stargazers_count",
    "watchers",
    "watchers_count",
    "network_count",
];

/// Addresses that go into answers.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The API's base, without a slash at the end.
    pub api: String,
    /// `127.0.0.1:2222`, of the SSH front.
    pub ssh: String,
}

impl Addresses {
    /// API address of a repository.
    pub fn repository(&self, full_name: &str) -> String {
        format!("{}/repos/{full_name}", self.api)
    }
}

/// A `simple-user`.
pub fn account(account: &Account, at: &Addresses) -> Value {
    let Account {
        id,
        login,
        organization,
        ..
    } = account;
    let base = format!("{}/users/{login}", at.api);
    json!({
        "login": login, "id": id, "node_id": node_id("U", *id),
        "avatar_url": format!("https://avatars.githubusercontent.com/u/{id}?v=4"), "gravatar_id": "",
        "url": base, "html_url": format!("https://github.com/{login}"),
        "followers_url": format!("{base}/followers"),
        "following_url": format!("{base}/following{{/other_user}}"),
        "gists_url": format!("{base}/gists{{/gist_id}}"),
        "starred_url": format!("{base}/starred{{/owner}}{{/repo}}"),
        "subscriptions_url": format!("{base}/subscriptions"),
        "organizations_url": format!("{base}/orgs"),
        "repos_url": format!("{base}/repos"),
        "events_url": format!("{base}/events{{/privacy}}"),
        "received_events_url": format!("{base}/received_events"),
        "type": if *organization { "Organization" } else { "User" },
        "user_view_type": "public", "site_admin": false,
    })
}

/// A `public-user`, what `GET /user` answers to a token without the scope `user`.
pub fn public_user(user: &Account, at: &Addresses) -> Value {
    let more = json!({
        "name": null, "company": null, "blog": "", "location": null, "email": null, "hireable": null, "bio": null,
        "twitter_username": null, "public_repos": 0, "public_gists": 0, "followers": 0, "following": 0,
        "created_at": seconds(user.created_at), "updated_at": seconds(user.created_at),
    });
    merged(account(user, at), more)
}

/// A `full-repository`, with the visitor's own rights when he has a token.
pub fn repository(
    repository: &Repository,
    owner: &Account,
    access: Option<Access>,
    at: &Addresses,
) -> Value {
    let full_name = repository.full_name();
    let web = format!("https://github.com/{full_name}");
    let mut shape = json!({
        "id": repository.id, "node_id": node_id("R", repository.id),
        "name": repository.name, "full_name": full_name, "owner": account(owner, at),
        "private": repository.private, "visibility": if repository.private { "private" } else { "public" },
        "html_url": web, "description": repository.description, "homepage": null, "language": null,
        "fork": false, "license": null, "mirror_url": null, "topics": [], "is_template": false,
        "default_branch": repository.default_branch, "size": repository.size_kib,
        "archived": repository.archived, "disabled": false, "allow_forking": true,
        "web_commit_signoff_required": false,
        "has_issues": true, "has_projects": true, "has_wiki": true, "has_pages": false, "has_downloads": true,
        "has_discussions": false, "subscribers_count": 1,
        "created_at": seconds(repository.created_at), "updated_at": seconds(repository.updated_at),
        "pushed_at": seconds(repository.pushed_at),
        "git_url": format!("git://github.com/{full_name}.git"),
        "ssh_url": format!("ssh://git@{}/{full_name}.git", at.ssh),
        "clone_url": format!("{web}.git"), "svn_url": web,
    });
    let base = at.repository(&full_name);
    for (field, tail) in REPOSITORY_LINKS {
        shape[field] = format!("{base}{tail}").into();
    }
    for field in ZEROS {
        shape[field] = 0.into();
    }
    if owner.organization {
        shape["organization"] = account(owner, at);
    }
    if let Some(access) = access {
        shape["permissions"] = permissions(access);
    }
    shape
}

fn permissions(access: Access) -> Value {
    json!({
        "admin": access == Access::Admin,
        "maintain": access == Access::Admin,
        "push": access >= Access::Push,
        "triage": access >= Access::Push,
        "pull": access >= Access::Read,
    })
}

/// A `deploy-key`; the comment of the key is gone, as at GitHub.
pub fn deploy_key(key: &DeployKey, repository: &Repository, at: &Addresses) -> Value {
    json!({
        "id": key.id, "key": key.key,
        "url": format!("{}/keys/{}", at.repository(&repository.full_name()), key.id),
        "title": key.title, "verified": true, "created_at": seconds(key.created_at),
        "read_only": key.read_only, "added_by": key.added_by,
        "last_used": key.last_used.map(seconds), "enabled": repository.deploy_keys_enabled,
    })
}

/// A `hook`.
pub fn hook(hook: &Hook, repository: &Repository, at: &Addresses) -> Value {
    let url = format!(
        "{}/hooks/{}",
        at.repository(&repository.full_name()),
        hook.id
    );
    json!({
        "type": "Repository", "id": hook.id, "name": "web", "active": hook.active, "events": hook.events,
        "config": hook_config(&hook.config),
        "created_at": seconds(hook.created_at), "updated_at": seconds(hook.updated_at),
        "url": url, "test_url": format!("{url}/test"), "ping_url": format!("{url}/pings"),
        "deliveries_url": format!("{url}/deliveries"), "last_response": last_response(hook),
    })
}

/// A `webhook-config`; a secret shows as stars.
pub fn hook_config(config: &HookConfig) -> Value {
    let mut shape = json!({
        "content_type": config.content_type, "insecure_ssl": config.insecure_ssl, "url": config.url,
    });
    if config.secret.is_some() {
        shape["secret"] = "********".into();
    }
    shape
}

fn last_response(hook: &Hook) -> Value {
    match hook.deliveries.last() {
        None => json!({"code": null, "status": "unused", "message": null}),
        Some(last) if last.succeeded() => {
            json!({"code": last.status_code, "status": "active", "message": last.status})
        }
        Some(last) => {
            json!({"code": last.status_code, "status": "misconfigured", "message": last.status})
        }
    }
}

/// GitHub's opaque global id; the real ones are base64 too, of something else.
pub fn node_id(kind: &str, id: u64) -> String {
    use base64::Engine;
    let encoded = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(id.to_be_bytes());
    format!("{kind}_{encoded}")
}

/// The repository inside an event, where two times are Unix seconds.
pub fn event_repository(
    shape: Value,
    created_at: OffsetDateTime,
    pushed_at: OffsetDateTime,
) -> Value {
    let default_branch = shape["default_branch"].clone();
    let more = json!({
        "created_at": created_at.unix_timestamp(), "pushed_at": pushed_at.unix_timestamp(),
        "stargazers": 0, "master_branch": default_branch,
    });
    merged(shape, more)
}

/// `left` with the members of `right` laid over it.
fn merged(mut left: Value, right: Value) -> Value {
    if let (Value::Object(left), Value::Object(right)) = (&mut left, right) {
        left.extend(right);
    }
    left
}
