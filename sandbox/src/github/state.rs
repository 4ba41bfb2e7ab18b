//! What GitHub remembers: people, tokens, repositories with their keys, hooks and deliveries.

use std::collections::{BTreeMap, HashMap};

use axum::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use super::apps::{App, Installation};
use super::limits::Budget;
pub use crate::forge::{Access, Permissions};
use crate::git::{PublicKey, RefUpdate};

/// The kinds of tokens that differ in what they are told and refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// `ghp_…`: scopes, listed in every answer.
    #[default]
    Classic,
    /// `github_pat_…`: permissions, no scope header.
    FineGrained,
    /// `ghs_…`, of a GitHub App.
    Installation,
}

/// An access token.
#[derive(Clone, Debug)]
pub struct Token {
    pub login: String,
    pub kind: TokenKind,
    /// Of a classic token.
    pub scopes: Vec<String>,
    /// Of the other kinds: `administration`, `repository_hooks`, `contents` to `read` or `write`.
    pub grants: BTreeMap<String, String>,
    pub permissions: Permissions,
    /// Address at which the token must be let into organisations that demand single sign-on.
    pub sso_url: Option<String>,
    pub expires_at: Option<OffsetDateTime>,
    /// Of an installation token: by which installation its access is decided anew with every call.
    pub installation: Option<u64>,
}

/// A person's own SSH key.
#[derive(Clone, Debug)]
pub struct PersonKey {
    pub login: String,
    pub key: PublicKey,
    pub permissions: Permissions,
}

/// A deploy key on a repository.
#[derive(Clone, Debug)]
pub struct DeployKey {
    pub id: u64,
    pub title: String,
    pub key: PublicKey,
    pub read_only: bool,
    pub added_by: String,
    /// The token that made it: deleting a personal token deletes its keys (docs: managing deploy keys).
    pub added_with: String,
    pub created_at: OffsetDateTime,
    pub last_used: Option<OffsetDateTime>,
}

/// Where and how a hook delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookConfig {
    pub url: String,
    /// `json` or `form`, the default.
    pub content_type: String,
    pub insecure_ssl: String,
    pub secret: Option<String>,
}

/// A repository webhook.
#[derive(Clone, Debug)]
pub struct Hook {
    pub id: u64,
    pub active: bool,
    pub events: Vec<String>,
    pub config: HookConfig,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub deliveries: Vec<Delivery>,
}

impl Hook {
    /// Whether this event is one of the hook's.
    pub fn listens_to(&self, event: &str) -> bool {
        event == "ping" || self.events.iter().any(|e| e == "*" || e == event)
    }
}

/// One attempt to deliver an event.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: u64,
    /// The same for all deliveries of one event.
    pub guid: String,
    pub delivered_at: OffsetDateTime,
    pub redelivery: bool,
    /// Seconds.
    pub duration: f64,
    /// `OK`, or what went wrong.
    pub status: String,
    pub status_code: u16,
    pub event: String,
    pub url: String,
    pub request_headers: BTreeMap<String, String>,
    pub payload: Value,
    pub response_headers: BTreeMap<String, String>,
    pub response_body: String,
}

impl Delivery {
    /// GitHub counts 2xx and 3xx answers as success.
    pub fn succeeded(&self) -> bool {
        (200..400).contains(&self.status_code)
    }
}

/// A repository.
#[derive(Clone, Debug)]
pub struct Repository {
    pub id: u64,
    pub owner: String,
    pub name: String,
    pub description: Option<String>,
    pub private: bool,
    pub default_branch: String,
    pub archived: bool,
    /// Off by default in organisations made since 2025 (facts: vito #949).
    pub deploy_keys_enabled: bool,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub pushed_at: OffsetDateTime,
    pub size_kib: u64,
    pub keys: Vec<DeployKey>,
    pub hooks: Vec<Hook>,
    /// What `POST …/hooks/{id}/tests` sends again.
    pub last_push: Option<RefUpdate>,
    /// Old to new name of branches that were renamed.
    pub former_branches: BTreeMap<String, String>,
}

impl Repository {
    /// `owner/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// Its name in [`crate::git::Host`], which survives a rename.
    pub fn store_key(&self) -> String {
        format!("github/{}", self.id)
    }

    /// What somebody may do: what is written down, else owners may do everything and everybody may read what is public.
    pub fn access(&self, permissions: &Permissions, login: &str) -> Access {
        permissions
            .on(&self.full_name(), login)
            .unwrap_or_else(|| self.for_anybody())
    }

    /// Access without a token.
    pub fn for_anybody(&self) -> Access {
        if self.private {
            Access::None
        } else {
            Access::Read
        }
    }
}

/// A user or an organisation.
#[derive(Clone, Debug)]
pub struct Account {
    pub id: u64,
    pub login: String,
    pub organization: bool,
    pub created_at: OffsetDateTime,
}

/// How many of each kind were ever made.
#[derive(Clone, Debug, Default)]
pub struct Created {
    pub repositories: u64,
    pub installed_keys: u64,
    pub webhooks: u64,
    pub deliveries: u64,
}

/// All of GitHub.
#[derive(Debug, Default)]
pub struct State {
    last_id: u64,
    /// By login in lower case.
    pub accounts: BTreeMap<String, Account>,
    pub tokens: HashMap<String, Token>,
    /// By slug.
    pub apps: BTreeMap<String, App>,
    pub installations: BTreeMap<u64, Installation>,
    pub person_keys: Vec<PersonKey>,
    pub repositories: BTreeMap<u64, Repository>,
    /// `owner/name` in lower case, of repositories that have another name now.
    pub former_names: HashMap<String, u64>,
    pub budgets: HashMap<String, Budget>,
    pub created: Created,
}

impl State {
    /// A fresh id; one sequence for all kinds, so that ids of different kinds cannot be confused unnoticed.
    pub fn next_id(&mut self) -> u64 {
        // Large from the start, as GitHub's are.
        self.last_id = self.last_id.max(800_000_000) + 1;
        self.last_id
    }

    /// Empties everything and gives the repositories that were there. The sequence of ids goes on: what comes later for a
    /// forgotten one must not meet a new one.
    pub fn forget(&mut self) -> Vec<Repository> {
        let emptied = Self {
            last_id: self.last_id,
            ..Self::default()
        };
        let before = std::mem::replace(self, emptied);
        before.repositories.into_values().collect()
    }

    /// The repository that has this name now.
    pub fn named(&self, full_name: &str) -> Option<&Repository> {
        self.repositories
            .values()
            .find(|r| r.full_name().eq_ignore_ascii_case(full_name))
    }

    /// The repository that has this name or had it, and whether it is the present one.
    pub fn named_ever(&self, full_name: &str) -> Option<(&Repository, bool)> {
        let former = || self.former_names.get(&full_name.to_ascii_lowercase());
        self.named(full_name)
            .map(|repository| (repository, true))
            .or_else(|| Some((self.repositories.get(former()?)?, false)))
    }

    /// The repository with this key in the git host.
    pub fn stored_as(&self, store_key: &str) -> Option<&Repository> {
        self.repositories
            .values()
            .find(|r| r.store_key() == store_key)
    }

    /// A hook by repository and id.
    pub fn hook_mut(&mut self, repository: u64, hook: u64) -> Option<&mut Hook> {
        self.repositories
            .get_mut(&repository)?
            .hooks
            .iter_mut()
            .find(|h| h.id == hook)
    }

    /// Whether a public key is in use anywhere on GitHub: in any repository, by any person.
    pub fn key_in_use(&self, key: &PublicKey) -> bool {
        let deployed = self
            .repositories
            .values()
            .flat_map(|r| &r.keys)
            .any(|k| k.key == *key);
        deployed || self.person_keys.iter().any(|k| k.key == *key)
    }

    /// The account with this login; made when there is none.
    pub fn account(&mut self, login: &str, organization: bool, now: OffsetDateTime) -> Account {
        let key = login.to_ascii_lowercase();
        if let Some(account) = self.accounts.get(&key) {
            return account.clone();
        }
        let account = Account {
            id: self.next_id(),
            login: login.to_owned(),
            organization,
            created_at: now,
        };
        self.accounts.insert(key, account.clone());
        account
    }
}

/// Whether a method changes something.
pub fn writes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
