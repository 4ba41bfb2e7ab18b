//! Builds that are only pretended: the same doors are knocked at as for a clone, and nothing is cloned.

use super::installation;
use super::runner::Job;
use crate::forge::gate::{self, Wanted};
use crate::git::{CloneError, CommitInfo};
use crate::world::World;

/// The commit that a clone would check out.
pub async fn clone(world: &World, job: &Job) -> Result<CommitInfo, CloneError> {
    let store_key = store_key(world, job).map_err(|log| CloneError { log })?;
    let failed = |error: anyhow::Error| CloneError {
        log: format!("fatal: {error:#}"),
    };
    let head = match &job.wanted_sha {
        Some(sha) => Some(sha.clone()),
        None => world
            .git
            .repository(&store_key)
            .head(&job.branch)
            .await
            .map_err(failed)?,
    };
    let head = head.ok_or_else(|| CloneError {
        log: format!(
            "fatal: Remote branch {} not found in upstream origin",
            job.branch
        ),
    })?;
    world.git.show(&store_key, &head).await.map_err(failed)
}

fn store_key(world: &World, job: &Job) -> Result<String, String> {
    if let Some(seen) = installation::seen(world, &job.repo) {
        return Ok(seen);
    }
    let missing = || format!("fatal: repository '{}' does not exist", job.repo.repo_path);
    let url = job.repo.clone_url(world).ok_or_else(missing)?;
    let key = job.key.as_ref().ok_or_else(gate::denied)?;
    let path = path_of(&url).ok_or_else(missing)?;
    let opened = gate::open(world, key.public(), path, Wanted::Read)?;
    Ok(opened.store_key)
}

/// The path in `ssh://git@host:port/{path}.git`.
fn path_of(url: &str) -> Option<&str> {
    let (_, path) = url.strip_prefix("ssh://")?.split_once('/')?;
    Some(path.strip_suffix(".git").unwrap_or(path))
}
