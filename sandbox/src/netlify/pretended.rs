//! Builds that are only pretended: the same doors are knocked at as for a clone, and nothing is cloned and run.

use tempfile::TempDir;

use super::installation;
use super::records::Commit;
use super::runner::Job;
use crate::forge::gate::{self, Wanted};
use crate::git::{CloneError, CommitInfo};
use crate::world::World;

/// A commit whose message says this breaks the build.
const BREAKS: &str = "[break]";

/// Whether the build command would fail on this commit.
pub fn is_broken(commit: &Commit) -> bool {
    let message = commit.message.as_deref();
    message.is_some_and(|message| message.contains(BREAKS))
}

/// What is published.
pub fn page(world: &World) -> anyhow::Result<TempDir> {
    let site = tempfile::Builder::new()
        .prefix("upload-")
        .tempdir_in(&world.data_dir)?;
    let page = "This build was pretended.\n";
    std::fs::write(site.path().join("index.html"), page)?;
    Ok(site)
}

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
