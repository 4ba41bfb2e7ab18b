//! What a provider keeps: one struct per kind of record.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use super::post::Answer;
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
    /// The key is good for paths below this one only: Azure's keys belong to one organisation.
    pub within: Option<String>,
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
