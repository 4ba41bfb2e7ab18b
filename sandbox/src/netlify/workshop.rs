//! The work of a build: clone with the deploy key, read the settings, run the command, collect the files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;

use super::command::{self, Outcome, Setting};
use super::environment;
use super::installation;
use super::pretended;
use super::records::Commit;
use super::repo::Repo;
use super::runner::{Job, log};
use crate::git::{CloneError, CommitInfo};
use crate::world::World;

/// Why a build ended badly, in the words of `deploy.error_message`.
pub struct BuildFailed(pub String);

/// The settings after `netlify.toml` had its say; it wins over the site's.
struct Settings {
    base: PathBuf,
    command: Option<String>,
    publish: String,
}

/// Gives back the folder with the files to serve.
pub async fn clone_and_build(world: &Arc<World>, job: &Job) -> Result<TempDir, BuildFailed> {
    if world.switches.read().netlify.pretend_builds {
        return pretend(world, job).await;
    }
    let scratch = tempfile::Builder::new()
        .prefix("build-")
        .tempdir_in(&world.data_dir)
        .map_err(|error| BuildFailed(format!("Failed during stage 'initializing': {error}")))?;
    let checkout = scratch.path().join("repo");
    let commit = clone(world, job, &checkout).await?;
    let settings = settings(&job.repo, &checkout)?;
    if let Some(command) = &settings.command {
        run_command(world, job, command, &settings, scratch.path(), &commit).await?;
    }
    collect(&settings, &checkout, &world.data_dir)
}

/// A site without a clone and without a command.
async fn pretend(world: &Arc<World>, job: &Job) -> Result<TempDir, BuildFailed> {
    let commit = told(world, job, pretended::clone(world, job).await)?;
    if pretended::is_broken(&commit) {
        return Err(command_failed());
    }
    pretended::page(world)
        .map_err(|error| BuildFailed(format!("Failed during stage 'deploying site': {error:#}")))
}

/// The vendor's own build program answers 2 for every fault of the user's command.
fn command_failed() -> BuildFailed {
    let message =
        "Failed during stage 'building site': Build script returned non-zero exit code: 2";
    BuildFailed(message.to_owned())
}

async fn clone(world: &Arc<World>, job: &Job, into: &Path) -> Result<Commit, BuildFailed> {
    let fetched = fetch(world, job, into).await;
    let commit = told(world, job, fetched)?;
    fetch_submodules(world, job, into).await?;
    Ok(commit)
}

/// Writes down how the cloning ended.
fn told(
    world: &World,
    job: &Job,
    fetched: Result<CommitInfo, CloneError>,
) -> Result<Commit, BuildFailed> {
    let say = |text: &str| log(world, &job.deploy_id, "initializing", text);
    say("Starting to prepare the repo for build");
    say(&format!(
        "Preparing Git Reference refs/heads/{}",
        job.branch
    ));
    match fetched {
        Ok(info) => Ok(found_commit(world, job, info.sha, info.message)),
        Err(error) => {
            error.log.lines().for_each(say);
            let branch = &job.branch;
            if error.log.contains("Remote branch") {
                say(&format!(
                    "git ref refs/heads/{branch} does not exist or you do not have permission"
                ));
            }
            say(&format!(
                "User git error while checking for ref refs/heads/{branch}"
            ));
            say("Failing build: Failed to prepare repo");
            Err(BuildFailed(
                "Failed during stage 'preparing repo': Unable to access repository. The repository may have been \
                 deleted, the branch may not exist, or permissions may have changed: exit status 128"
                    .to_owned(),
            ))
        }
    }
}

async fn fetch(world: &World, job: &Job, into: &Path) -> Result<CommitInfo, CloneError> {
    let key = job.key.as_deref();
    if let Some(seen) = installation::seen(world, &job.repo) {
        let (branch, sha) = (&job.branch, job.wanted_sha.as_deref());
        return world.git.clone_as_app(&seen, branch, sha, into).await;
    }
    let unknown = || CloneError {
        log: format!("fatal: repository '{}' does not exist", job.repo.repo_path),
    };
    let url = job.repo.clone_url(world).ok_or_else(unknown)?;
    let head = world
        .git
        .clone_over_ssh(key, &url, &job.branch, into)
        .await?;
    match &job.wanted_sha {
        Some(wanted) if *wanted != head.sha => {
            world.git.check_out_over_ssh(key, wanted, into).await
        }
        _ => Ok(head),
    }
}

async fn fetch_submodules(world: &World, job: &Job, clone: &Path) -> Result<(), BuildFailed> {
    if !clone.join(".gitmodules").is_file() {
        return Ok(());
    }
    let key = job.key.as_deref();
    let fetched = world.git.update_submodules_over_ssh(key, clone).await;
    fetched.map_err(|error| {
        let said = format!("Error checking out submodules: {}", error.log.trim_end());
        for line in said
            .lines()
            .chain(["Failing build: Failed to prepare repo"])
        {
            log(world, &job.deploy_id, "initializing", line);
        }
        BuildFailed(format!(
            "Failed during stage 'preparing repo': {said}: exit status 1"
        ))
    })
}

/// `commit_ref` filled is the early sign that the key works.
fn found_commit(world: &World, job: &Job, sha: String, message: String) -> Commit {
    let mut netlify = world.netlify.lock();
    let Some(deploy) = netlify.deploys.get_mut(&job.deploy_id) else {
        return Commit::default();
    };
    deploy.commit.sha = Some(sha);
    deploy.commit.message = Some(message);
    deploy.updated_at = world.clock.now();
    deploy.commit.clone()
}

fn settings(repo: &Repo, checkout: &Path) -> Result<Settings, BuildFailed> {
    let filled = |value: &Option<String>| value.clone().filter(|v| !v.is_empty());
    let base = inside(checkout, repo.base.as_deref().unwrap_or_default());
    let Some(base) = base.filter(|b| b.is_dir()) else {
        let base = repo.base.as_deref().unwrap_or_default();
        return Err(BuildFailed(format!(
            "Failed during stage 'Reading and parsing configuration files': Base directory does not exist: \
             /opt/build/repo/{base}"
        )));
    };
    let file = toml_build(&base)?;
    let of_file = |field: &str| file.get(field).and_then(|v| v.as_str()).map(str::to_owned);
    Ok(Settings {
        command: of_file("command").or_else(|| filled(&repo.cmd)),
        publish: of_file("publish")
            .or_else(|| filled(&repo.dir))
            .unwrap_or_default(),
        base,
    })
}

/// The `[build]` table of `netlify.toml`; empty when there is no file.
fn toml_build(base: &Path) -> Result<toml::Table, BuildFailed> {
    let path = base.join("netlify.toml");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(toml::Table::new());
    };
    let file: toml::Table = text.parse().map_err(|error| {
        BuildFailed(format!(
            "Failed during stage 'Reading and parsing configuration files': When resolving config file \
             /opt/build/repo/netlify.toml: Could not parse configuration file: {error}"
        ))
    })?;
    let build = file.get("build").and_then(|b| b.as_table());
    Ok(build.cloned().unwrap_or_default())
}

async fn run_command(
    world: &Arc<World>,
    job: &Job,
    command: &str,
    settings: &Settings,
    home: &Path,
    commit: &Commit,
) -> Result<(), BuildFailed> {
    let limit_ms = world.switches.read().netlify.times.command_limit_ms;
    let setting = Setting {
        folder: &settings.base,
        home,
        variables: variables(world, job, commit),
        limit: Duration::from_millis(limit_ms),
    };
    let say = |line: String| log(world, &job.deploy_id, "building", &line);
    say(format!("$ {command}"));
    let failed = |message: String| {
        Err(BuildFailed(format!(
            "Failed during stage 'building site': {message}"
        )))
    };
    match command::run(command, &setting, &say).await {
        Ok(Outcome::Exited(status)) if status.success() => Ok(()),
        Ok(Outcome::Exited(status)) => {
            let code = status.code().unwrap_or(137);
            say("\"build.command\" failed".to_owned());
            say("─".repeat(64));
            say("  Error message".to_owned());
            say(format!("  Command failed with exit code {code}: {command}"));
            say("Failing build: Failed to build site".to_owned());
            Err(command_failed())
        }
        Ok(Outcome::TimedOut) => failed("Command did not finish within the time limit".to_owned()),
        Err(error) => failed(format!(
            "Build script returned non-zero exit code: 4 ({error})"
        )),
    }
}

/// The vendor's own variables win over the site's.
fn variables(world: &World, job: &Job, commit: &Commit) -> Vec<(String, String)> {
    let is_production = job.branch == job.repo.branch;
    let url = format!("http://{}.localhost:{}", job.site_name, world.addr.port());
    let context = match is_production {
        true => "production",
        false => "branch-deploy",
    };
    let own = [
        ("CI", "true".to_owned()),
        ("NETLIFY", "true".to_owned()),
        ("SITE_ID", job.site_id.clone()),
        ("SITE_NAME", job.site_name.clone()),
        ("DEPLOY_ID", job.deploy_id.clone()),
        ("BUILD_ID", job.build_id.clone()),
        ("BRANCH", job.branch.clone()),
        ("HEAD", job.branch.clone()),
        ("COMMIT_REF", commit.sha.clone().unwrap_or_default()),
        ("CONTEXT", context.to_owned()),
        ("PULL_REQUEST", "false".to_owned()),
        ("URL", url),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    let netlify = world.netlify.lock();
    let mut variables = environment::of_build(&netlify, &job.site_id, &job.branch, context);
    variables.extend(own);
    variables
}

/// Copies the publish folder out of the checkout, without `.git` and without links that could lead out of it.
fn collect(settings: &Settings, checkout: &Path, data_dir: &Path) -> Result<TempDir, BuildFailed> {
    let publish = inside(&settings.base, &settings.publish);
    let Some(source) = publish.filter(|p| p.is_dir() && p.starts_with(checkout)) else {
        return Err(BuildFailed(format!(
            "Failed during stage 'building site': Deploy directory '{}' does not exist",
            settings.publish
        )));
    };
    let copied = || -> anyhow::Result<TempDir> {
        let target = tempfile::Builder::new()
            .prefix("upload-")
            .tempdir_in(data_dir)?;
        copy_files(&source, target.path())?;
        Ok(target)
    };
    copied()
        .map_err(|error| BuildFailed(format!("Failed during stage 'deploying site': {error:#}")))
}

fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() && entry.file_name() != ".git" {
            copy_files(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), &target)
                .with_context(|| entry.path().display().to_string())?;
        }
    }
    Ok(())
}

/// `root/path`, unless that leads out of `root`.
fn inside(root: &Path, path: &str) -> Option<PathBuf> {
    let joined = root.join(path.trim_start_matches('/'));
    let climbs = Path::new(path)
        .components()
        .any(|c| c == std::path::Component::ParentDir);
    (!climbs).then_some(joined)
}
