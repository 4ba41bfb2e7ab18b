//! `/hooks/…`: where providers announce pushes. 204 says that the event was understood, never that a build starts.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::announced::{self, Push, PushedRepository, Request};
use super::builds;
use super::installation;
use super::records::{Cause, Commit, DeployState, Site, Verdict};
use super::repo::Repo;
use super::runner;
use super::state;
use crate::world::World;

/// POST `/hooks/{provider | id of a site's own hook}`
pub async fn receive(
    State(world): State<Arc<World>>,
    Path(hook): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(address) = address(&world, &hook) else {
        return (StatusCode::NOT_FOUND, "Not Found").into_response();
    };
    let Some(pushes) = announced::read(address.provider(), &headers, &body) else {
        return (StatusCode::UNPROCESSABLE_ENTITY, "Unprocessable Entity").into_response();
    };
    for push in pushes {
        build_matching_sites(&world, &address, &push);
    }
    if let Some(request) = announced::read_request(address.provider(), &headers, &body) {
        preview_matching_sites(&world, &address, request);
    }
    StatusCode::NO_CONTENT.into_response()
}

/// A push that GitHub told Netlify's app about.
pub fn push_to_app(world: &Arc<World>, payload: &serde_json::Value) {
    match serde_json::from_value::<Push>(payload.clone()) {
        Ok(push) if !push.deleted => build_matching_sites(world, &Address::App, &push),
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "the app does not understand a push"),
    }
}

/// A pull request that GitHub told Netlify's app about.
pub fn request_to_app(world: &Arc<World>, payload: &serde_json::Value) {
    if let Some(request) = announced::request_of_github(payload) {
        preview_matching_sites(world, &Address::App, request);
    }
}

/// Who is meant: by the last part of a hook's path, or by the app.
enum Address {
    Provider(&'static str),
    Site(String),
    App,
}

impl Address {
    fn provider(&self) -> Option<&'static str> {
        match self {
            Self::Provider(provider) => Some(provider),
            Self::Site(_) | Self::App => None,
        }
    }
}

fn address(world: &World, hook: &str) -> Option<Address> {
    let provider = announced::PROVIDERS.into_iter().find(|p| *p == hook);
    if let Some(provider) = provider {
        return Some(Address::Provider(provider));
    }
    let netlify = world.netlify.lock();
    let site = netlify.sites.values().find(|s| s.own_hook == hook)?;
    Some(Address::Site(site.id.clone()))
}

fn build_matching_sites(world: &Arc<World>, address: &Address, push: &Push) {
    let Some(branch) = push.reference.strip_prefix("refs/heads/") else {
        return;
    };
    let switches = world.switches.read().netlify.clone();
    let mut netlify = world.netlify.lock();
    let matching: Vec<String> = netlify
        .sites
        .values()
        .filter(|s| listens(world, s, address, &push.repository, branch))
        .map(|s| s.id.clone())
        .collect();
    let mut superseded = Vec::new();
    for site_id in matching {
        if switches.skip_superseded {
            superseded.extend(waiting(&netlify, &site_id, branch));
        }
        let verdict = verdict(
            push,
            switches.credits_exhausted,
            switches.unrecognized_contributor,
        );
        builds::start(world, &mut netlify, &site_id, cause(push, branch, verdict));
    }
    drop(netlify);
    for deploy_id in superseded {
        runner::skip(world, &deploy_id, "Skipped");
    }
}

/// Shows what a merge would bring, on every site that builds the branch which it is to go into.
fn preview_matching_sites(world: &Arc<World>, address: &Address, request: Request) {
    let mut netlify = world.netlify.lock();
    let wants = |site: &Site| {
        let shows = site.repo.as_ref().is_some_and(|r| r.skip_prs != Some(true));
        shows && listens(world, site, address, &request.repository, &request.into)
    };
    let sites = netlify.sites.values().filter(|site| wants(site));
    let matching: Vec<String> = sites.map(|site| site.id.clone()).collect();
    let cause = Cause {
        source: "git",
        branch: request.branch,
        title: Some(request.title),
        commit: Commit {
            sha: Some(request.sha.clone()),
            ..Commit::default()
        },
        wanted_sha: Some(request.sha),
        review: Some(request.number),
        ..Cause::default()
    };
    for site_id in matching {
        builds::start(world, &mut netlify, &site_id, cause.clone());
    }
}

fn listens(
    world: &World,
    site: &Site,
    address: &Address,
    repository: &PushedRepository,
    branch: &str,
) -> bool {
    let Some(repo) = &site.repo else {
        return false;
    };
    let by_path = !world.switches.read().netlify.deaf_without_id;
    let (id, name) = (&repository.id, &repository.full_name);
    let addressed = match address {
        Address::Site(id) => site.id == *id,
        // A webhook made by hand for a site of the app's gets 204 and no build (netlify.md, finding 5).
        Address::Provider(provider) => {
            repo.installation_id.is_none()
                && repo.provider == *provider
                && repo.is(id, name, by_path)
        }
        Address::App => repo.is(id, name, by_path) && is_apps(world, repo),
    };
    let switches = &world.switches.read().netlify;
    let is_allowed = !switches.allowed_branches_bind_production || repo.lists(branch);
    addressed
        && is_allowed
        && !repo.stop_builds
        && repo.skip_automatic_builds != Some(true)
        && repo.builds(branch)
}

fn is_apps(world: &World, repo: &Repo) -> bool {
    repo.installation_id.is_some() && installation::is_set_up(world, repo)
}

fn waiting(netlify: &state::State, site_id: &str, branch: &str) -> Vec<String> {
    let waits = |s| matches!(s, DeployState::New | DeployState::Enqueued);
    let deploys = netlify.deploys_of(site_id).into_iter();
    deploys
        .filter(|d| waits(d.state) && d.cause.branch == branch)
        .map(|d| d.id.clone())
        .collect()
}

fn verdict(push: &Push, no_credits: bool, unrecognized: bool) -> Verdict {
    let message = push.head_commit.as_ref().map_or("", |c| c.message.as_str());
    if no_credits {
        Verdict::OutOfCredit
    } else if message.contains("[skip ci]") || message.contains("[skip netlify]") {
        Verdict::Skip
    } else if unrecognized && push.repository.private {
        Verdict::Blocked
    } else {
        Verdict::Run
    }
}

fn cause(push: &Push, branch: &str, verdict: Verdict) -> Cause {
    let head = push.head_commit.as_ref();
    let message = head.map(|c| c.message.clone());
    Cause {
        source: "git",
        branch: branch.to_owned(),
        title: message
            .as_ref()
            .and_then(|m| m.lines().next())
            .map(str::to_owned),
        wanted_sha: Some(push.after.clone()),
        commit: Commit {
            sha: Some(push.after.clone()),
            message,
            url: head.and_then(|c| c.url.clone()),
            committer: push.pusher.as_ref().map(|p| p.name.clone()),
        },
        hidden_ms: 0,
        verdict,
        review: None,
    }
}
