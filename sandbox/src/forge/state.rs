//! What a provider remembers: people, tokens, repositories with their keys, webhooks and deliveries.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use super::post::Answer;
use super::usage::Window;
use super::{Access, Permissions, Provider};
use crate::git::{PublicKey, RefUpdate};

/// The kinds of tokens that differ in how they are presented and in what they are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// A person's own: GitLab's and Azure's personal access tokens, Bitbucket's API tokens.
    #[default]
    Personal,
    /// Of a project, repository or workspace, with a bot behind it.
    Access,
    /// Bearer tokens that live for hours: OAuth, Microsoft Entra.
    Oauth,
    /// Bitbucket's app passwords, which it accepts no longer.
    AppPassword,
}

/// An access token.
#[derive(Clone, Debug)]
pub struct Token {
    pub id: u64,
    pub login: String,
    pub kind: TokenKind,
    pub scopes: Vec<String>,
    pub permissions: Permissions,
    pub created_at: OffsetDateTime,
    pub expires_at: Option<OffsetDateTime>,
}

impl Token {
    /// Whether it has one of these scopes.
    pub fn has_any(&self, scopes: &[&str]) -> bool {
        self.scopes.iter().any(|s| scopes.contains(&s.as_str()))
    }

    /// Whether it has expired.
    pub fn is_over(&self, now: OffsetDateTime) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// A user.
#[derive(Clone, Debug)]
pub struct Person {
    pub id: u64,
    pub uuid: Uuid,
    pub login: String,
    pub created_at: OffsetDateTime,
}

impl Person {
    /// The address with which the person signs in.
    pub fn email(&self) -> String {
        format!("{}@example.com", self.login)
    }
}

/// A person's own SSH key.
#[derive(Clone, Debug)]
pub struct PersonKey {
    pub id: u64,
    pub uuid: Uuid,
    pub login: String,
    pub title: String,
    pub key: PublicKey,
    pub permissions: Permissions,
    /// Whether a client made it by an API, not a person in the browser.
    pub by_api: bool,
    pub created_at: OffsetDateTime,
    pub expires_at: Option<OffsetDateTime>,
}

/// A key on a repository.
#[derive(Clone, Debug)]
pub struct DeployKey {
    pub id: u64,
    pub title: String,
    pub key: PublicKey,
    /// What stood behind the key's text.
    pub comment: String,
    pub can_push: bool,
    pub added_by: String,
    pub created_at: OffsetDateTime,
    pub expires_at: Option<OffsetDateTime>,
    pub last_used: Option<OffsetDateTime>,
}

/// A webhook (at Azure, a service hook subscription).
#[derive(Clone, Debug)]
pub struct Hook {
    pub id: u64,
    pub uuid: Uuid,
    pub url: String,
    pub active: bool,
    /// In the provider's words.
    pub events: BTreeSet<String>,
    pub secret: Option<String>,
    /// What else was written, in the provider's own shape.
    pub settings: Map<String, Value>,
    pub added_by: String,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    /// Failed deliveries in a row.
    pub failures: u32,
    /// Nothing is sent before.
    pub suspended_until: Option<OffsetDateTime>,
    pub deliveries: Vec<Delivery>,
}

/// One message to a webhook, with all attempts to deliver it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: u64,
    pub uuid: Uuid,
    pub event: String,
    pub url: String,
    pub sent_at: OffsetDateTime,
    pub attempts: u32,
    pub request_headers: BTreeMap<String, String>,
    pub payload: Value,
    /// To the last attempt.
    pub answer: Answer,
}

/// A repository.
#[derive(Clone, Debug)]
pub struct Repository {
    pub provider: Provider,
    pub id: u64,
    pub uuid: Uuid,
    /// `owner/name`; groups may be nested, and an owner may be `organization/project`.
    pub path: String,
    pub description: Option<String>,
    pub private: bool,
    pub archived: bool,
    pub default_branch: String,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub pushed_at: OffsetDateTime,
    pub size_kib: u64,
    pub keys: Vec<DeployKey>,
    pub hooks: Vec<Hook>,
    /// What a test of a webhook sends again; absent while the repository is empty.
    pub last_push: Option<RefUpdate>,
}

impl Repository {
    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Everything before the name.
    pub fn owner(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(owner, _)| owner)
    }

    /// Its name in [`crate::git::Host`], which survives a rename.
    pub fn store_key(&self) -> String {
        format!("{}/{}", self.provider.word(), self.id)
    }

    /// Access without a token.
    pub fn for_anybody(&self) -> Access {
        if self.private {
            Access::None
        } else {
            Access::Read
        }
    }

    /// Whether nothing was ever pushed.
    pub fn is_empty(&self) -> bool {
        self.last_push.is_none()
    }
}

/// How many of each kind were ever made.
#[derive(Clone, Debug, Default)]
pub struct Created {
    pub repositories: u64,
    pub installed_keys: u64,
    pub webhooks: u64,
    pub deliveries: u64,
}

/// All of a provider.
#[derive(Debug, Default)]
pub struct State {
    last_id: u64,
    /// By login in lower case.
    people: BTreeMap<String, Person>,
    pub tokens: HashMap<String, Token>,
    pub person_keys: Vec<PersonKey>,
    pub repositories: BTreeMap<u64, Repository>,
    /// Paths in lower case, of repositories that have another path now.
    pub former_paths: HashMap<String, u64>,
    /// What callers have used of their rate limits, by a name that the provider chooses.
    pub usage: HashMap<String, Window>,
    pub created: Created,
}

impl State {
    /// An empty state whose ids come after `first_id`.
    pub fn starting_at(first_id: u64) -> Self {
        Self {
            last_id: first_id,
            ..Self::default()
        }
    }

    /// A fresh id; one sequence for all kinds, so that ids of different kinds cannot be confused unnoticed.
    pub fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Empties everything and gives the repositories that were there. The sequence of ids goes on: what comes later for a
    /// forgotten one must not meet a new one.
    pub fn forget(&mut self) -> Vec<Repository> {
        let before = std::mem::replace(self, Self::starting_at(self.last_id));
        before.repositories.into_values().collect()
    }

    /// The repository that has this path now.
    pub fn at_path(&self, path: &str) -> Option<&Repository> {
        self.repositories
            .values()
            .find(|r| r.path.eq_ignore_ascii_case(path))
    }

    /// The repository that has this path or had it, and whether it is the present one.
    pub fn at_path_ever(&self, path: &str) -> Option<(&Repository, bool)> {
        let former = || self.former_paths.get(&path.to_ascii_lowercase());
        self.at_path(path)
            .map(|repository| (repository, true))
            .or_else(|| Some((self.repositories.get(former()?)?, false)))
    }

    /// The repository with this key in the git host.
    pub fn stored_as(&self, store_key: &str) -> Option<&Repository> {
        let (_, id) = store_key.split_once('/')?;
        self.repositories.get(&id.parse().ok()?)
    }

    /// A webhook by repository and id.
    pub fn hook_mut(&mut self, repository: u64, hook: u64) -> Option<&mut Hook> {
        let hooks = &mut self.repositories.get_mut(&repository)?.hooks;
        hooks.iter_mut().find(|h| h.id == hook)
    }

    /// The person with this login; made when there is none.
    pub fn person(&mut self, login: &str, now: OffsetDateTime) -> Person {
        let key = login.to_ascii_lowercase();
        if let Some(person) = self.people.get(&key) {
            return person.clone();
        }
        let person = Person {
            id: self.next_id(),
            uuid: Uuid::new_v4(),
            login: login.to_owned(),
            created_at: now,
        };
        self.people.insert(key, person.clone());
        person
    }

    /// The person with this id.
    pub fn person_with_id(&self, id: u64) -> Option<&Person> {
        self.people.values().find(|p| p.id == id)
    }

    /// Adds a webhook to a repository and gives it back; `None` when the repository is gone.
    pub fn add_hook(&mut self, repository: u64, hook: Hook) -> Option<&Hook> {
        let repository = self.repositories.get_mut(&repository)?;
        repository.hooks.push(hook);
        self.created.webhooks += 1;
        repository.hooks.last()
    }

    /// Adds a key to a repository and gives it back; `None` when the repository is gone.
    pub fn add_key(&mut self, repository: u64, key: DeployKey) -> Option<&DeployKey> {
        let repository = self.repositories.get_mut(&repository)?;
        repository.keys.push(key);
        self.created.installed_keys += 1;
        repository.keys.last()
    }
}

/// Where a public key is in use.
impl State {
    /// The repositories on which a key is installed.
    pub fn installed<'s>(
        &'s self,
        key: &PublicKey,
    ) -> impl Iterator<Item = (&'s Repository, &'s DeployKey)> + use<'s> {
        let key = key.clone();
        let pairs = self
            .repositories
            .values()
            .flat_map(|r| r.keys.iter().map(move |k| (r, k)));
        pairs.filter(move |(_, k)| k.key == key)
    }

    /// Whether a key is somebody's own.
    pub fn is_personal(&self, key: &PublicKey) -> bool {
        self.person_keys.iter().any(|k| k.key == *key)
    }
}
