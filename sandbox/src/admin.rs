//! The admin door `/__sandbox/…`: what a test or a demo may see and change behind the vendors' backs.
//!
//! The functions here act at whatever provider a repository has; `door` is the same as JSON, described in `sandbox/README.md`.

mod door;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::forge::{self, Access, NewPersonKey, NewRepository, Place, Provider, TokenKind};
use crate::git::NewCommit;
use crate::recorder::{Call, Upstream, per_upstream, rounds};
use crate::world::World;
use crate::{github, netlify};

pub use door::router;

/// How many of one kind were made since the start, and how many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub created: u64,
    pub alive: u64,
}

/// What exists and what was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// `deploy_keys`, `sites`, `builds`, `deploys`, `notifications`, and of all providers
    /// together `repositories`, `installed_keys`, `webhooks`, `deliveries`.
    #[serde(flatten)]
    pub kinds: BTreeMap<&'static str, Count>,
    /// The providers' share of the last four, by provider.
    pub providers: BTreeMap<Provider, BTreeMap<&'static str, Count>>,
    pub calls: BTreeMap<Upstream, u64>,
    /// Sequential rounds in which clients called.
    pub rounds: u64,
}

impl Counts {
    /// The count of a kind at one provider.
    pub fn at(&self, provider: Provider, kind: &str) -> Count {
        let kinds = self.providers.get(&provider);
        kinds.and_then(|k| k.get(kind)).copied().unwrap_or_default()
    }

    /// The count of a kind; zero for a kind that was never met.
    pub fn of(&self, kind: &str) -> Count {
        self.kinds.get(kind).copied().unwrap_or_default()
    }
}

/// Counts; calls and rounds only of calls with a number above `since`.
pub fn counts(world: &World, since: u64) -> Counts {
    counts_of(world, &world.recorder.since(since))
}

fn counts_of(world: &World, calls: &[Call]) -> Counts {
    let mut kinds = netlify::counts(&world.netlify.lock());
    let github = [(Provider::Github, github::counts(world))];
    let others = world.forges.all().map(|f| (f.provider, forge::counts(f)));
    let providers: BTreeMap<_, _> = github.into_iter().chain(others).collect();
    for (kind, count) in providers.values().flatten() {
        let sum: &mut Count = kinds.entry(kind).or_default();
        sum.created += count.created;
        sum.alive += count.alive;
    }
    Counts {
        kinds,
        providers,
        calls: per_upstream(calls),
        rounds: rounds(calls),
    }
}

/// Back to the state right after the start, with the switches of the start.
///
/// # Errors
/// Never in practice.
pub fn reset(world: &World) -> anyhow::Result<()> {
    world.netlify.lock().reset(&world.clock);
    forget_providers(world)?;
    world.recorder.clear();
    world.faults.clear();
    world.contracts.clear();
    world.restore_switches();
    Ok(())
}

/// Empties all providers and makes the tokens that exist from the start.
///
/// # Errors
/// When a repository's folder cannot be deleted.
pub(crate) fn forget_providers(world: &World) -> anyhow::Result<()> {
    github::reset(world)?;
    for forge in world.forges.all() {
        forge::reset(world, forge)?;
        for (token, kind) in first_tokens(forge.provider) {
            let new = forge::NewToken {
                token: (*token).to_owned(),
                login: crate::LOGIN.to_owned(),
                kind: *kind,
                everywhere: Some(Access::Admin),
                ..forge::NewToken::default()
            };
            forge::add_token(world, forge, new)?;
        }
    }
    Ok(())
}

/// The tokens that exist from the start.
const fn first_tokens(provider: Provider) -> &'static [(&'static str, TokenKind)] {
    match provider {
        Provider::Github | Provider::Plain => &[],
        Provider::Gitlab => &[(crate::GITLAB_TOKEN, TokenKind::Personal)],
        Provider::Gitea => &[(crate::GITEA_TOKEN, TokenKind::Personal)],
        Provider::Bitbucket => &[
            (crate::BITBUCKET_TOKEN, TokenKind::Personal),
            (crate::BITBUCKET_ACCESS_TOKEN, TokenKind::Access),
        ],
        Provider::AzureDevops => &[(crate::AZURE_DEVOPS_TOKEN, TokenKind::Personal)],
    }
}

/// Makes a repository at any provider.
///
/// # Errors
/// When the path is taken or not acceptable.
pub async fn create_repository(world: &Arc<World>, new: NewRepository) -> anyhow::Result<Value> {
    match world.forges.of(new.provider) {
        Some(forge) => forge::create_repository(world, forge, new).await,
        None => github::create_repository(world, new).await,
    }
}

/// Commits at any provider and tells the webhooks.
///
/// # Errors
/// When there is no such repository or it is archived.
pub async fn commit(world: &Arc<World>, at: &Place, new: NewCommit) -> anyhow::Result<Value> {
    match world.forges.of(at.provider) {
        Some(forge) => forge::commit(world, forge, &at.path, new).await,
        None => github::commit(world, &at.path, new).await,
    }
}

/// Gives a repository another path; the old one leads there.
///
/// # Errors
/// When there is no such repository or the path is taken.
pub fn rename(world: &World, at: &Place, to: &str) -> anyhow::Result<()> {
    match world.forges.of(at.provider) {
        Some(forge) => forge::rename(world, forge, &at.path, to),
        None => github::rename(world, &at.path, to),
    }
}

/// Archives a repository, or takes it back.
///
/// # Errors
/// When there is no such repository.
pub fn archive(world: &World, at: &Place, archived: bool) -> anyhow::Result<()> {
    match world.forges.of(at.provider) {
        Some(forge) => forge::archive(forge, &at.path, archived),
        None => github::archive(world, &at.path, archived),
    }
}

/// Adds a person's SSH key.
///
/// # Errors
/// When the text is no key, or the key is in use.
pub fn add_person_key(world: &World, new: NewPersonKey) -> anyhow::Result<()> {
    match world.forges.of(new.provider) {
        Some(forge) => forge::add_person_key(world, forge, new),
        None => github::add_person_key(world, new),
    }
}
