//! The life of a build from `new` to `ready` or `error`: queue, states, publishing, cancelling. The work is in `workshop`.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::notifications;
use super::records::{DeployState, LogLine, Verdict};
use super::repo::Repo;
use super::workshop::{BuildFailed, clone_and_build};
use crate::git::KeyPair;
use crate::world::World;

/// Message of a deploy that a person or a client stopped.
pub const CANCELED: &str = "Canceled build";

/// Lines kept per deploy; a runaway command must not fill the memory.
const LOG_LIMIT: usize = 10_000;

/// What a build needs to know about its site, read once when it starts.
pub struct Job {
    pub deploy_id: String,
    pub build_id: String,
    pub site_id: String,
    pub site_name: String,
    pub repo: Repo,
    pub branch: String,
    /// `None` is the head of the branch.
    pub wanted_sha: Option<String>,
    pub key: Option<Arc<KeyPair>>,
    queue: Arc<Semaphore>,
}

/// Runs the build of this deploy until it ends or is cancelled.
pub async fn run(world: Arc<World>, deploy_id: String) {
    let start = world
        .netlify
        .lock()
        .deploys
        .get(&deploy_id)
        .map(|d| (d.cancel.clone(), d.cause.verdict));
    let Some((cancel, verdict)) = start else {
        return;
    };
    match verdict {
        Verdict::Run => {
            cancel.run_until_cancelled(build(&world, &deploy_id)).await;
        }
        Verdict::Skip => skip(&world, &deploy_id, "Skipped"),
        Verdict::OutOfCredit => skip(
            &world,
            &deploy_id,
            "Skipped due to account credit usage exceeded",
        ),
        Verdict::Blocked => block(&world, &deploy_id),
    }
}

async fn build(world: &Arc<World>, deploy_id: &str) {
    let times = world.switches.read().netlify.times.clone();
    pause(times.new_ms).await;
    let Some(job) = job(world, deploy_id) else {
        return;
    };
    advance(world, deploy_id, DeployState::Enqueued);
    let Ok(_slot) = job.queue.acquire().await else {
        return;
    };
    advance(world, deploy_id, DeployState::Building);
    notifications::fire(world, deploy_id, "deploy_building");
    let (built, ()) = tokio::join!(clone_and_build(world, &job), pause(times.building_ms));
    match built {
        Ok(published) => publish(world, &job, published, times.publishing_ms).await,
        Err(BuildFailed(message)) => {
            log(world, deploy_id, "building", &message);
            fail(world, deploy_id, &message);
        }
    }
}

fn job(world: &World, deploy_id: &str) -> Option<Job> {
    let concurrent = world.switches.read().netlify.concurrent_builds.max(1);
    let mut netlify = world.netlify.lock();
    let deploy = netlify.deploys.get(deploy_id)?;
    let site = netlify.sites.get(&deploy.site_id)?;
    let repo = site.repo.clone()?;
    let key = repo
        .deploy_key_id
        .as_ref()
        .and_then(|id| netlify.keys.get(id));
    let account_id = site.account_id.clone();
    let job = Job {
        deploy_id: deploy.id.clone(),
        build_id: deploy.build_id.clone(),
        site_id: site.id.clone(),
        site_name: site.name.clone(),
        branch: deploy.cause.branch.clone(),
        wanted_sha: deploy.cause.wanted_sha.clone(),
        key: key.map(|k| k.pair.clone()),
        queue: Arc::new(Semaphore::new(concurrent)),
        repo,
    };
    let queue = netlify
        .queues
        .entry(account_id)
        .or_insert(job.queue.clone())
        .clone();
    Some(Job { queue, ..job })
}

async fn publish(world: &Arc<World>, job: &Job, files: Option<TempDir>, pause_ms: u64) {
    use DeployState::{Prepared, Processing, Uploaded, Uploading};
    for state in [Uploading, Uploaded, Prepared, Processing] {
        advance(world, &job.deploy_id, state);
        pause(pause_ms).await;
    }
    match files.map_or(Ok(()), |files| serve(world, job, files)) {
        Ok(()) => go_live(world, job),
        Err(error) => fail(
            world,
            &job.deploy_id,
            &format!("Failed during stage 'deploying site': {error}"),
        ),
    }
}

fn serve(world: &World, job: &Job, files: TempDir) -> std::io::Result<()> {
    let folder = super::served::folder(&world.data_dir, &job.deploy_id);
    std::fs::create_dir_all(folder.parent().unwrap_or(&world.data_dir))?;
    std::fs::rename(files.keep(), &folder)
}

fn go_live(world: &Arc<World>, job: &Job) {
    log(world, &job.deploy_id, "deploying", "Site is live ✨");
    let now = world.clock.now();
    let mut netlify = world.netlify.lock();
    let Some(site) = netlify.sites.get(&job.site_id) else {
        return;
    };
    let present = site
        .published
        .as_ref()
        .and_then(|id| netlify.deploys.get(id));
    let may_publish =
        job.branch == job.repo.branch && present.is_none_or(|p| !p.locked && p.id < job.deploy_id);
    if let Some(deploy) = netlify.deploys.get_mut(&job.deploy_id) {
        deploy.state = DeployState::Ready;
        deploy.updated_at = now;
        deploy.published_at = may_publish.then_some(now);
        deploy.deploy_time = deploy.started_at.map(|s| (now - s).whole_seconds());
    }
    if let Some(site) = netlify.sites.get_mut(&job.site_id) {
        site.updated_at = now;
        if may_publish {
            site.published = Some(job.deploy_id.clone());
        }
        site.announced.take_if(|id| *id == job.deploy_id);
    }
    drop(netlify);
    notifications::fire(world, &job.deploy_id, "deploy_created");
}

/// Moves a running deploy on.
fn advance(world: &World, deploy_id: &str, state: DeployState) {
    let now = world.clock.now();
    if let Some(deploy) = world.netlify.lock().deploys.get_mut(deploy_id)
        && !deploy.state.is_final()
    {
        deploy.state = state;
        deploy.updated_at = now;
        if state == DeployState::Building {
            deploy.started_at = Some(now);
        }
    }
}

/// Ends a deploy that has not ended yet as `error`, stops its work and tells subscribers.
pub fn fail(world: &Arc<World>, deploy_id: &str, message: &str) {
    let mut netlify = world.netlify.lock();
    let Some(deploy) = netlify
        .deploys
        .get_mut(deploy_id)
        .filter(|d| !d.state.is_final())
    else {
        return;
    };
    deploy.state = DeployState::Error;
    deploy.error_message = Some(message.to_owned());
    deploy.updated_at = world.clock.now();
    deploy.cancel.cancel();
    let site_id = deploy.site_id.clone();
    if let Some(site) = netlify.sites.get_mut(&site_id) {
        site.announced.take_if(|id| id == deploy_id);
    }
    drop(netlify);
    notifications::fire(world, deploy_id, "deploy_failed");
}

/// Ends a deploy as skipped, which Netlify shows as an `error` too.
pub fn skip(world: &Arc<World>, deploy_id: &str, message: &str) {
    if let Some(deploy) = world.netlify.lock().deploys.get_mut(deploy_id) {
        deploy.skipped = true;
    }
    fail(world, deploy_id, message);
}

fn block(world: &Arc<World>, deploy_id: &str) {
    if let Some(deploy) = world.netlify.lock().deploys.get_mut(deploy_id) {
        deploy.blocked = true;
    }
    let message = "Build blocked: Unrecognized Git contributor. This plan allows only verified account members to \
                   push to private repos";
    fail(world, deploy_id, message);
}

/// Adds a line to the log of a deploy.
pub fn log(world: &World, deploy_id: &str, section: &'static str, message: &str) {
    let at = world.clock.now();
    if let Some(deploy) = world.netlify.lock().deploys.get_mut(deploy_id)
        && deploy.log.len() < LOG_LIMIT
    {
        deploy.log.push(LogLine {
            at,
            section,
            message: message.to_owned(),
        });
    }
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
