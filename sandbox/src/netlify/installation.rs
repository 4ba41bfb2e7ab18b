//! Sites linked through Netlify's GitHub App (`installation_id`): no deploy key, no webhook; the app clones and hears of pushes.

use std::sync::Arc;

use serde_json::Value;

use super::incoming;
use super::repo::Repo;
use crate::github;
use crate::world::World;

/// The repository's name in the git host, when the site's installation lets Netlify see it.
pub fn seen(world: &World, repo: &Repo) -> Option<String> {
    let installation = repo.installation_id?.try_into().ok()?;
    let id = repo.repo_id.as_ref().and_then(Value::as_u64);
    let state = world.github.lock();
    let repository = github::seen_by_netlify(&state, installation, id, &repo.repo_path)?;
    Some(repository.store_key())
}

/// Whether Netlify does anything about a site that was attached with an installation. The answer to the attaching is the same
/// either way: an installation that does not cover the repository fails silently (netlify.md, finding 6).
pub fn is_set_up(world: &World, repo: &Repo) -> bool {
    repo.installation_id.is_none()
        || (world.switches.read().netlify.installations_set_up && seen(world, repo).is_some())
}

/// What happens in a repository, as GitHub tells the app about it.
pub fn told_by_app(world: &Arc<World>, event: &str, payload: &Value) {
    if !world.switches.read().netlify.installations_deliver {
        return;
    }
    match event {
        "push" => incoming::push_to_app(world, payload),
        "pull_request" => incoming::request_to_app(world, payload),
        _ => {}
    }
}
