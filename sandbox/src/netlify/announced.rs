//! Push events in the shapes of all providers, read into what Netlify wants to know of them.

mod requests;

use axum::http::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::git::ZERO_SHA;

pub use requests::{Request, of_github as request_of_github, read as read_request};

/// Providers with an address of their own below `/hooks`.
pub const PROVIDERS: [&str; 4] = ["github", "gitlab", "bitbucket", "azure_devops"];

/// A ref that moved; GitHub's event is read as it is.
#[derive(Deserialize)]
pub struct Push {
    #[serde(rename = "ref")]
    pub reference: String,
    pub after: String,
    #[serde(default)]
    pub deleted: bool,
    pub repository: PushedRepository,
    pub head_commit: Option<HeadCommit>,
    pub pusher: Option<Pusher>,
}

#[derive(Deserialize)]
pub struct PushedRepository {
    /// In the provider's own type: compared with what was attached.
    pub id: Value,
    pub full_name: String,
    #[serde(default)]
    pub private: bool,
}

#[derive(Deserialize)]
pub struct HeadCommit {
    pub message: String,
    pub url: Option<String>,
}

/// Who pushed; GitHub says `name`, Gitea says `username`.
#[derive(Deserialize)]
pub struct Pusher {
    #[serde(alias = "username")]
    pub name: String,
}

/// The refs that an event moved and that are still there. `None`: not understood (a form, no JSON, not the event's shape);
/// empty: understood and of no consequence. Without a provider, the address is a site's own and the event says whose it is.
pub fn read(provider: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Option<Vec<Push>> {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    if !header("content-type").is_some_and(|t| t.starts_with("application/json")) {
        return None;
    }
    let json: Value = serde_json::from_slice(body).ok()?;
    let provider = provider.unwrap_or_else(|| speaker(headers, &json));
    let pushes = match provider {
        "gitlab" => match header("x-gitlab-event")? {
            "Push Hook" => shaped::<GitlabPush>(json)?.into_pushes(),
            _ => json.is_object().then(Vec::new)?,
        },
        "bitbucket" => match header("x-event-key")? {
            "repo:push" => shaped::<BitbucketPush>(json)?.into_pushes(),
            _ => json.is_object().then(Vec::new)?,
        },
        "azure_devops" => match json["eventType"].as_str()? {
            "git.push" => shaped::<AzurePush>(json)?.into_pushes(),
            _ => Vec::new(),
        },
        _ => match header("x-github-event") {
            Some("push") | None => vec![shaped(json)?],
            Some(_) => json.is_object().then(Vec::new)?,
        },
    };
    let stays = |push: &Push| !push.deleted && push.after != ZERO_SHA;
    Some(pushes.into_iter().filter(stays).collect())
}

/// Whose event this is, by what providers always say.
fn speaker(headers: &HeaderMap, event: &Value) -> &'static str {
    if headers.contains_key("x-gitlab-event") {
        "gitlab"
    } else if headers.contains_key("x-event-key") {
        "bitbucket"
    } else if event["eventType"].is_string() {
        "azure_devops"
    } else {
        "github"
    }
}

fn shaped<T: DeserializeOwned>(event: Value) -> Option<T> {
    serde_json::from_value(event)
        .inspect_err(|error| tracing::debug!(%error, "an event of another shape"))
        .ok()
}

#[derive(Deserialize)]
struct GitlabPush {
    #[serde(rename = "ref")]
    reference: String,
    after: String,
    project_id: Value,
    project: GitlabProject,
    user_username: String,
    commits: Vec<GitlabCommit>,
}

#[derive(Deserialize)]
struct GitlabProject {
    path_with_namespace: String,
    visibility_level: u8,
}

#[derive(Deserialize)]
struct GitlabCommit {
    id: String,
    message: String,
    url: Option<String>,
}

impl GitlabPush {
    fn into_pushes(self) -> Vec<Push> {
        let after = self.after;
        let head = self.commits.into_iter().find(|c| c.id == after);
        vec![Push {
            reference: self.reference,
            deleted: false,
            repository: PushedRepository {
                id: self.project_id,
                full_name: self.project.path_with_namespace,
                // What only signed-in people see (10) is private too.
                private: self.project.visibility_level < 20,
            },
            head_commit: head.map(|c| HeadCommit {
                message: c.message,
                url: c.url,
            }),
            pusher: Some(Pusher {
                name: self.user_username,
            }),
            after,
        }]
    }
}

#[derive(Deserialize)]
struct BitbucketPush {
    push: BitbucketChanges,
    repository: BitbucketRepository,
    actor: BitbucketActor,
}

#[derive(Deserialize)]
struct BitbucketChanges {
    changes: Vec<BitbucketChange>,
}

#[derive(Deserialize)]
struct BitbucketChange {
    /// Null when the branch is gone.
    new: Option<BitbucketRef>,
}

#[derive(Deserialize)]
struct BitbucketRef {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    target: BitbucketTarget,
}

#[derive(Deserialize)]
struct BitbucketTarget {
    hash: String,
    message: String,
}

#[derive(Deserialize)]
struct BitbucketRepository {
    full_name: String,
    is_private: bool,
}

#[derive(Deserialize)]
struct BitbucketActor {
    display_name: String,
}

impl BitbucketPush {
    /// Netlify's id of a repository is its `workspace/slug`.
    fn into_pushes(self) -> Vec<Push> {
        let there = self
            .push
            .changes
            .into_iter()
            .filter_map(|change| change.new);
        let push = |to: BitbucketRef| Push {
            reference: match to.kind.as_str() {
                "tag" => format!("refs/tags/{}", to.name),
                _ => format!("refs/heads/{}", to.name),
            },
            after: to.target.hash,
            deleted: false,
            repository: PushedRepository {
                id: self.repository.full_name.clone().into(),
                full_name: self.repository.full_name.clone(),
                private: self.repository.is_private,
            },
            head_commit: Some(HeadCommit {
                message: to.target.message,
                url: None,
            }),
            pusher: Some(Pusher {
                name: self.actor.display_name.clone(),
            }),
        };
        there.map(push).collect()
    }
}

#[derive(Deserialize)]
struct AzurePush {
    resource: AzureResource,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureResource {
    /// Absent when the subscription asks for less.
    #[serde(default)]
    commits: Vec<AzureCommit>,
    ref_updates: Vec<AzureRef>,
    repository: AzureRepository,
    pushed_by: AzurePerson,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureCommit {
    commit_id: String,
    comment: String,
    url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureRef {
    name: String,
    new_object_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureRepository {
    id: String,
    name: String,
    project: AzureProject,
    remote_url: String,
}

#[derive(Deserialize)]
struct AzureProject {
    name: String,
    visibility: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzurePerson {
    display_name: String,
}

impl AzurePush {
    fn into_pushes(self) -> Vec<Push> {
        let AzureResource {
            commits,
            ref_updates,
            repository,
            pushed_by,
        } = self.resource;
        let repository = PushedRepository::from(repository);
        let push = |moved: AzureRef| Push {
            deleted: false,
            repository: PushedRepository {
                id: repository.id.clone(),
                full_name: repository.full_name.clone(),
                private: repository.private,
            },
            head_commit: commits
                .iter()
                .find(|c| c.commit_id == moved.new_object_id)
                .map(|c| HeadCommit {
                    message: c.comment.clone(),
                    url: c.url.clone(),
                }),
            pusher: Some(Pusher {
                name: pushed_by.display_name.clone(),
            }),
            reference: moved.name,
            after: moved.new_object_id,
        };
        ref_updates.into_iter().map(push).collect()
    }
}

impl From<AzureRepository> for PushedRepository {
    fn from(repository: AzureRepository) -> Self {
        Self {
            full_name: repository.full_name(),
            private: repository.project.visibility != "public",
            id: repository.id.into(),
        }
    }
}

impl AzureRepository {
    /// `organization/project/_git/repository`; the organisation is known by the clone address alone.
    fn full_name(&self) -> String {
        let rest = self
            .remote_url
            .split_once("://")
            .map_or("", |(_, rest)| rest);
        let organization = rest.split('/').nth(1).unwrap_or_default();
        format!("{organization}/{}/_git/{}", self.project.name, self.name)
    }
}
