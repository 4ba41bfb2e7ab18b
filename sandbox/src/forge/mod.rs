//! What all git providers have in common: repositories with keys and webhooks, people, tokens, deliveries, the SSH front's gate.
//!
//! A provider of its own (`gitlab`, `gitea`, `bitbucket`, `azure`) adds its API on top of a [`Forge`] and tells the core by
//! [`Vendor`] what it sends to webhooks and how its SSH server refuses. A push walks `pushes` → [`Vendor::announce`] →
//! `outbox` → `post`, an opened request `pull_requests` → [`Vendor::announce_request`] and on. GitHub came first and keeps a state of its own; it shares `access`, `post`, `people`, `site_template`.

mod access;
mod admin;
pub mod credentials;
pub mod gate;
mod outbox;
pub mod paging;
mod people;
mod plain;
pub mod post;
pub mod pull_requests;
pub mod pushes;
mod records;
pub mod refusal;
mod repositories;
pub mod site_template;
mod state;
pub mod usage;
mod view;

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

pub use access::{Access, Permissions};
pub use admin::{NewDeployKey, NewWebhook, install_key, install_webhook};
pub use outbox::{deliver, send};
pub use people::{NewPersonKey, NewToken, add_person_key, add_token, remove_person, revoke_token};
pub use post::Answer;
pub use pull_requests::{NewPullRequest, Opened, PullRequest};
pub use pushes::Push;
pub use records::{Delivery, DeployKey, Hook, Person, PersonKey, Repository, Token, TokenKind};
pub use repositories::{
    NewRepository, archive, commit, create_repository, first_commit, rename, reset,
};
pub use state::State;
pub use view::{counts, view, world_view};

use crate::world::World;

/// A git provider of the sandbox.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    #[default]
    Github,
    Gitlab,
    /// Gitea, and Forgejo with the same API; `manual` at Netlify.
    Gitea,
    Bitbucket,
    AzureDevops,
    /// git over SSH and nothing else; `manual` at Netlify.
    Plain,
}

impl Provider {
    /// As in JSON, in store keys and in SSH paths.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Gitea => "gitea",
            Self::Bitbucket => "bitbucket",
            Self::AzureDevops => "azure_devops",
            Self::Plain => "plain",
        }
    }
}

/// A repository by its provider and path, such as `(Provider::Gitlab, "acme/web/docs")`; a path alone is GitHub's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub provider: Provider,
    pub path: String,
}

impl From<&str> for Place {
    fn from(path: &str) -> Self {
        (Provider::default(), path).into()
    }
}

impl From<&String> for Place {
    fn from(path: &String) -> Self {
        path.as_str().into()
    }
}

impl From<(Provider, &str)> for Place {
    fn from((provider, path): (Provider, &str)) -> Self {
        Self {
            provider,
            path: path.to_owned(),
        }
    }
}

/// What differs between providers where the core acts by itself.
pub trait Vendor: Send + Sync {
    /// What a webhook is told about a push; `None` when it does not listen to it or is suspended.
    fn announce(&self, world: &World, hook: &Hook, push: &Push) -> Option<Message>;

    /// What a webhook is told about a request that was opened; `None` when it does not listen to it, or there are none.
    fn announce_request(&self, _: &World, _: &Hook, _: &Opened) -> Option<Message> {
        None
    }

    /// The webhooks that may be told about a push to a repository, each with the repository that holds it.
    fn listeners(&self, _state: &State, repository: &Repository) -> Vec<(u64, Hook)> {
        let hooks = repository.hooks.iter();
        hooks.map(|hook| (repository.id, hook.clone())).collect()
    }

    /// The pauses before further attempts of a delivery that failed; none where the provider gives up at once.
    fn retries(&self, _world: &World) -> Vec<Duration> {
        Vec::new()
    }

    /// Takes notice of how a delivery ended: providers suspend webhooks that keep failing.
    fn settle(&self, _hook: &mut Hook, _delivered: bool, _now: OffsetDateTime) {}

    /// What git prints for absent and foreign repositories.
    fn not_found(&self, path: &str) -> String;

    /// What git prints when a push is not allowed.
    fn read_only(&self, path: &str) -> String;
}

/// A message to a webhook.
#[derive(Clone, Debug)]
pub struct Message {
    /// The provider's name of the event.
    pub event: String,
    /// Apart from the content type.
    pub headers: Vec<(&'static str, String)>,
    pub body: Value,
    pub encoding: Encoding,
}

/// How a message's body is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    #[default]
    Json,
    /// A form with the JSON text as `payload`.
    Form,
}

impl Encoding {
    /// The `Content-Type` header.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Form => "application/x-www-form-urlencoded",
        }
    }

    /// The body's text.
    pub fn text(self, body: &Value) -> String {
        match self {
            Self::Json => body.to_string(),
            Self::Form => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.append_pair("payload", &body.to_string()).finish()
            }
        }
    }
}

/// A provider's state, and what is special about it.
pub struct Forge {
    pub provider: Provider,
    pub vendor: &'static dyn Vendor,
    state: Mutex<State>,
}

impl Forge {
    fn new(provider: Provider, vendor: &'static dyn Vendor, first_id: u64) -> Self {
        Self {
            provider,
            vendor,
            state: Mutex::new(State::starting_at(first_id)),
        }
    }

    /// The state; as with all locks of the world, for a few lines and never across an `.await`.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// All providers but GitHub. Their ids start far apart, so that one taken for another's is noticed.
pub struct Forges {
    pub gitlab: Forge,
    pub gitea: Forge,
    pub bitbucket: Forge,
    pub azure: Forge,
    pub plain: Forge,
}

impl Default for Forges {
    fn default() -> Self {
        Self {
            gitlab: Forge::new(Provider::Gitlab, &crate::gitlab::Gitlab, 60_000_000),
            gitea: Forge::new(Provider::Gitea, &crate::gitea::Gitea, 1_000),
            bitbucket: Forge::new(
                Provider::Bitbucket,
                &crate::bitbucket::Bitbucket,
                40_000_000,
            ),
            azure: Forge::new(Provider::AzureDevops, &crate::azure::Azure, 20_000),
            plain: Forge::new(Provider::Plain, &plain::Plain, 10),
        }
    }
}

impl Forges {
    /// The provider's forge; GitHub has none.
    pub fn of(&self, provider: Provider) -> Option<&Forge> {
        self.all().into_iter().find(|f| f.provider == provider)
    }

    /// All of them.
    pub fn all(&self) -> [&Forge; 5] {
        let Self {
            gitlab,
            gitea,
            bitbucket,
            azure,
            plain,
        } = self;
        [gitlab, gitea, bitbucket, azure, plain]
    }

    /// The forge of a store key such as `gitlab/60000001`.
    pub fn storing(&self, store_key: &str) -> Option<&Forge> {
        let (word, _) = store_key.split_once('/')?;
        self.all().into_iter().find(|f| f.provider.word() == word)
    }
}
