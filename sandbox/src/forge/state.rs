//! All of a provider's records, and how they are found. No HTTP here.

use std::collections::{BTreeMap, HashMap};

use time::OffsetDateTime;
use uuid::Uuid;

use super::usage::Window;
use super::{DeployKey, Hook, Person, PersonKey, Repository, Token};
use crate::git::PublicKey;

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

    /// Whether somebody with this login is (still) here.
    pub fn has_person(&self, login: &str) -> bool {
        self.people.contains_key(&login.to_ascii_lowercase())
    }

    /// Forgets a person with tokens and keys of his own; what he made stays.
    pub fn remove_person(&mut self, login: &str) -> Option<Person> {
        let own = |other: &str| other.eq_ignore_ascii_case(login);
        self.tokens.retain(|_, token| !own(&token.login));
        self.person_keys.retain(|key| !own(&key.login));
        self.people.remove(&login.to_ascii_lowercase())
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
