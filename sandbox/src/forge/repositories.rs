//! Repositories as a person would make and change them in the browser, or a test behind the provider's back.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Forge, Provider, Repository, State, site_template};
use super::{pushes, view};
use crate::git::NewCommit;
use crate::world::World;

/// A repository to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewRepository {
    #[serde(alias = "host")]
    pub provider: Provider,
    /// At GitLab, groups may be nested: `acme/web`; at Azure DevOps, `organization/project`.
    pub owner: String,
    pub name: String,
    /// At GitHub, whether the owner, when it is made along the way, is an organisation.
    pub organization: bool,
    pub description: Option<String>,
    pub private: bool,
    pub default_branch: String,
    /// First commit; without files and template the repository stays empty.
    pub files: BTreeMap<String, String>,
    /// `site`: a small static site that `sh build.sh` builds into `dist`.
    pub template: Option<String>,
    /// The text on the template's page.
    pub text: String,
    pub message: String,
    pub archived: bool,
    /// GitHub's policy.
    pub deploy_keys_enabled: bool,
}

impl Default for NewRepository {
    fn default() -> Self {
        Self {
            provider: Provider::default(),
            owner: "acme".to_owned(),
            name: String::new(),
            organization: true,
            description: None,
            private: true,
            default_branch: "main".to_owned(),
            files: BTreeMap::new(),
            template: None,
            text: "Hello from the first commit".to_owned(),
            message: "First commit".to_owned(),
            archived: false,
            deploy_keys_enabled: true,
        }
    }
}

/// The first commit of a new repository; `None` when it stays empty.
///
/// # Errors
/// When there is no such template.
pub fn first_commit(new: &NewRepository) -> anyhow::Result<Option<NewCommit>> {
    let mut files = match new.template.as_deref() {
        None => BTreeMap::new(),
        Some("site") => site_template::files(&new.text),
        Some(other) => anyhow::bail!("there is no template {other:?}; the only one is \"site\""),
    };
    files.extend(new.files.clone());
    let first = NewCommit {
        branch: new.default_branch.clone(),
        message: new.message.clone(),
        files,
        ..NewCommit::default()
    };
    Ok((!first.files.is_empty()).then_some(first))
}

/// Makes a repository, with a first commit when there are files. No webhook hears of it: there is none yet.
///
/// # Errors
/// When the path is taken or not acceptable, or git refuses a file or branch name.
pub async fn create_repository(
    world: &Arc<World>,
    forge: &Forge,
    new: NewRepository,
) -> anyhow::Result<Value> {
    check_path(forge.provider, &new.owner, &new.name)?;
    let first = first_commit(&new)?;
    let repository = add_row(world, forge, &new)?;
    let id = repository.id;
    if let Err(error) = fill(world, forge, &repository, first).await {
        forge.lock().repositories.remove(&id);
        return Err(error);
    }
    let mut state = forge.lock();
    let repository = state.repositories.get_mut(&id);
    let repository = repository.context("the repository is gone")?;
    repository.archived = new.archived;
    Ok(view(world, repository))
}

/// Commits on top of a branch (the default branch when empty) and tells the webhooks, as a push would.
///
/// # Errors
/// When there is no such repository, it is archived, or git refuses a name.
pub async fn commit(
    world: &Arc<World>,
    forge: &Forge,
    path: &str,
    mut new: NewCommit,
) -> anyhow::Result<Value> {
    let repository = find(&forge.lock(), path)?.clone();
    anyhow::ensure!(!repository.archived, "{path} is archived");
    if new.branch.is_empty() {
        new.branch.clone_from(&repository.default_branch);
    }
    let (made, update) = world.git.commit(&repository.store_key(), &new).await?;
    pushes::pushed(world, forge, &update).await?;
    Ok(
        json!({"sha": made.sha, "before": update.before, "branch": new.branch, "message": made.message}),
    )
}

/// Gives a repository another path; the old one leads there until another repository takes it.
///
/// # Errors
/// When there is no such repository or the new path is taken or not acceptable.
pub fn rename(world: &World, forge: &Forge, path: &str, to: &str) -> anyhow::Result<()> {
    let (owner, name) = to
        .rsplit_once('/')
        .context("the new path has the form owner/name")?;
    check_path(forge.provider, owner, name)?;
    let now = world.clock.now();
    let mut state = forge.lock();
    let id = find(&state, path)?.id;
    anyhow::ensure!(
        state.at_path(to).is_none_or(|r| r.id == id),
        "{to} is taken"
    );
    state.former_paths.insert(path.to_ascii_lowercase(), id);
    state.former_paths.remove(&to.to_ascii_lowercase());
    if let Some(repository) = state.repositories.get_mut(&id) {
        to.clone_into(&mut repository.path);
        repository.updated_at = now;
    }
    Ok(())
}

/// Archives a repository (at Azure DevOps: disables it), or takes it back.
///
/// # Errors
/// When there is no such repository.
pub fn archive(forge: &Forge, path: &str, archived: bool) -> anyhow::Result<()> {
    let mut state = forge.lock();
    let id = find(&state, path)?.id;
    if let Some(repository) = state.repositories.get_mut(&id) {
        repository.archived = archived;
    }
    Ok(())
}

/// Forgets everything.
///
/// # Errors
/// When a repository's folder cannot be deleted.
pub fn reset(world: &World, forge: &Forge) -> anyhow::Result<()> {
    let forgotten = forge.lock().forget();
    for repository in forgotten {
        world.git.remove(&repository.store_key())?;
    }
    Ok(())
}

/// The repository with this path.
///
/// # Errors
/// When there is none.
pub fn find<'s>(state: &'s State, path: &str) -> anyhow::Result<&'s Repository> {
    let found = state.at_path(path);
    found.with_context(|| format!("no repository {path}"))
}

/// How many parts an owner has, and whether blanks are allowed, is the provider's.
fn check_path(provider: Provider, owner: &str, name: &str) -> anyhow::Result<()> {
    let others = match provider {
        Provider::AzureDevops => "-_. ",
        _ => "-_.",
    };
    let word = |part: &str| {
        let fine = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
        !part.is_empty() && part != ".." && part.chars().all(fine)
    };
    let depth = owner.split('/').count();
    let right_depth = match provider {
        Provider::Gitlab => (1..=20).contains(&depth),
        Provider::AzureDevops => depth == 2,
        _ => depth == 1,
    };
    anyhow::ensure!(
        right_depth && owner.split('/').chain([name]).all(word),
        "{owner}/{name} is no path that {} could have",
        provider.word()
    );
    Ok(())
}

/// The row, before the folder exists: it takes the path.
fn add_row(world: &World, forge: &Forge, new: &NewRepository) -> anyhow::Result<Repository> {
    let now = world.clock.now();
    let path = format!("{}/{}", new.owner, new.name);
    let mut state = forge.lock();
    anyhow::ensure!(state.at_path(&path).is_none(), "{path} exists already");
    // A new repository takes the path from one that merely used to have it.
    state.former_paths.remove(&path.to_ascii_lowercase());
    let repository = Repository {
        provider: forge.provider,
        id: state.next_id(),
        uuid: Uuid::new_v4(),
        path,
        description: new.description.clone(),
        private: new.private,
        archived: false,
        default_branch: new.default_branch.clone(),
        created_at: now,
        updated_at: now,
        pushed_at: now,
        size_kib: 0,
        keys: Vec::new(),
        hooks: Vec::new(),
        last_push: None,
    };
    state.repositories.insert(repository.id, repository.clone());
    state.created.repositories += 1;
    Ok(repository)
}

async fn fill(
    world: &Arc<World>,
    forge: &Forge,
    repository: &Repository,
    first: Option<NewCommit>,
) -> anyhow::Result<()> {
    let store_key = repository.store_key();
    world
        .git
        .create(&store_key, &repository.default_branch)
        .await?;
    let Some(first) = first else { return Ok(()) };
    let (_, update) = world.git.commit(&store_key, &first).await?;
    pushes::pushed(world, forge, &update).await
}
