//! Opened pull and merge requests in the shapes of all providers, read into what a preview needs.

use axum::http::HeaderMap;
use serde_json::Value;

use super::{AzureRepository, PushedRepository, shaped, speaker};

/// A branch that somebody wants to have merged.
pub struct Request {
    pub repository: PushedRepository,
    pub number: u64,
    pub branch: String,
    pub into: String,
    pub sha: String,
    pub title: String,
}

/// The request that an event opens; `None` for every other event.
pub fn read(provider: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Option<Request> {
    let event: Value = serde_json::from_slice(body).ok()?;
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    match provider.unwrap_or_else(|| speaker(headers, &event)) {
        "gitlab" if header("x-gitlab-event")? == "Merge Request Hook" => of_gitlab(&event),
        "bitbucket" if header("x-event-key")? == "pullrequest:created" => of_bitbucket(&event),
        "azure_devops" if event["eventType"] == "git.pullrequest.created" => of_azure(event),
        "github" if header("x-github-event")? == "pull_request" => of_github(&event),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn of_gitlab(event: &Value) -> Option<Request> {
    let (asked, project) = (&event["object_attributes"], &event["project"]);
    (asked["action"] == "open").then_some(())?;
    Some(Request {
        repository: PushedRepository {
            id: project["id"].clone(),
            full_name: text(&project["path_with_namespace"])?,
            private: project["visibility_level"].as_u64()? < 20,
        },
        number: asked["iid"].as_u64()?,
        branch: text(&asked["source_branch"])?,
        into: text(&asked["target_branch"])?,
        sha: text(&asked["last_commit"]["id"])?,
        title: text(&asked["title"])?,
    })
}

fn of_bitbucket(event: &Value) -> Option<Request> {
    let (asked, repository) = (&event["pullrequest"], &event["repository"]);
    Some(Request {
        repository: PushedRepository {
            id: repository["full_name"].clone(),
            full_name: text(&repository["full_name"])?,
            private: repository["is_private"].as_bool()?,
        },
        number: asked["id"].as_u64()?,
        branch: text(&asked["source"]["branch"]["name"])?,
        into: text(&asked["destination"]["branch"]["name"])?,
        sha: text(&asked["source"]["commit"]["hash"])?,
        title: text(&asked["title"])?,
    })
}

fn of_azure(mut event: Value) -> Option<Request> {
    let mut asked = event["resource"].take();
    let repository: AzureRepository = shaped(asked["repository"].take())?;
    let branch = |name: &Value| text(name)?.strip_prefix("refs/heads/").map(str::to_owned);
    Some(Request {
        number: asked["pullRequestId"].as_u64()?,
        branch: branch(&asked["sourceRefName"])?,
        into: branch(&asked["targetRefName"])?,
        sha: text(&asked["lastMergeSourceCommit"]["commitId"])?,
        title: text(&asked["title"])?,
        repository: repository.into(),
    })
}

pub fn of_github(event: &Value) -> Option<Request> {
    let asked = &event["pull_request"];
    (event["action"] == "opened").then_some(())?;
    Some(Request {
        repository: shaped(event["repository"].clone())?,
        number: event["number"].as_u64()?,
        branch: text(&asked["head"]["ref"])?,
        into: text(&asked["base"]["ref"])?,
        sha: text(&asked["head"]["sha"])?,
        title: text(&asked["title"])?,
    })
}
