//! Netlify's records: accounts, users, tokens, keys, sites, deploys, notifications. No HTTP here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::repo::Repo;
use crate::clock::Clock;
use crate::git::KeyPair;
use crate::{ACCOUNT, NETLIFY_TOKEN};

/// Everything Netlify knows.
#[derive(Default)]
pub struct State {
    pub accounts: Vec<Account>,
    pub users: Vec<User>,
    pub tokens: HashMap<String, Token>,
    pub keys: BTreeMap<String, DeployKey>,
    pub sites: BTreeMap<String, Site>,
    pub deploys: BTreeMap<String, Deploy>,
    pub notifications: BTreeMap<String, Notification>,
    /// Created since the start (or the last reset), by kind.
    pub created: BTreeMap<&'static str, u64>,
    /// One queue per account id; builds wait in the order in which they came.
    pub queues: HashMap<String, Arc<Semaphore>>,
}

/// A team.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    pub id: String,
    pub slug: String,
    pub name: String,
}

/// The person behind tokens; deploy keys belong to it.
#[derive(Clone, Debug)]
pub struct User {
    pub id: String,
    pub full_name: String,
    pub email: String,
    pub account_ids: Vec<String>,
    pub created_at: OffsetDateTime,
}

/// A token and its rate-limit window.
#[derive(Clone, Debug)]
pub struct Token {
    pub user_id: String,
    /// Unix second at which the present window began.
    pub window_start: i64,
    pub used: u32,
}

/// What the admin door takes to add a token: with its own user, in the named accounts, which are made when absent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    pub token: String,
    #[serde(default = "default_accounts")]
    pub accounts: Vec<String>,
    #[serde(default)]
    pub user: Option<String>,
}

pub struct DeployKey {
    pub id: String,
    pub user_id: String,
    pub pair: Arc<KeyPair>,
    pub created_at: OffsetDateTime,
}

pub struct Site {
    pub id: String,
    pub name: String,
    pub account_id: String,
    pub user_id: String,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub repo: Option<Repo>,
    /// Path segment of the site's own webhook, for provider `manual`.
    pub own_hook: String,
    /// The build started by the last attach; shown in site answers until it is published.
    pub announced: Option<String>,
    /// The deploy that visitors see.
    pub published: Option<String>,
    pub metadata: Value,
    /// Other writable fields, given back as they came.
    pub settings: Map<String, Value>,
}

/// One run: Netlify shows it both as a build and as its deploy, one to one.
pub struct Deploy {
    pub id: String,
    pub build_id: String,
    pub site_id: String,
    pub user_id: String,
    pub state: DeployState,
    pub cause: Cause,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub started_at: Option<OffsetDateTime>,
    pub published_at: Option<OffsetDateTime>,
    /// Seconds of the run, once it completed.
    pub deploy_time: Option<i64>,
    pub error_message: Option<String>,
    pub skipped: bool,
    pub blocked: bool,
    pub locked: bool,
    pub commit: Commit,
    pub log: Vec<LogLine>,
    /// Before this moment builds show an empty deploy id.
    pub visible_at: OffsetDateTime,
    pub cancel: CancellationToken,
}

/// Why a build starts and what it should build.
#[derive(Clone, Debug, Default)]
pub struct Cause {
    /// `api` or `git`.
    pub source: &'static str,
    pub branch: String,
    pub title: Option<String>,
    /// `None` builds the head of the branch.
    pub wanted_sha: Option<String>,
    pub commit: Commit,
    /// How long the deploy id stays hidden.
    pub hidden_ms: u64,
    pub verdict: Verdict,
}

/// Whether a build may run at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    #[default]
    Run,
    /// `[skip ci]` in the commit.
    Skip,
    /// No credits.
    OutOfCredit,
    /// Contributor verification.
    Blocked,
}

#[derive(Clone, Debug, Default)]
pub struct Commit {
    pub sha: Option<String>,
    pub message: Option<String>,
    pub url: Option<String>,
    /// Login of whoever pushed.
    pub committer: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeployState {
    New,
    Enqueued,
    Building,
    Uploading,
    Uploaded,
    Prepared,
    Processing,
    Ready,
    Error,
}

impl DeployState {
    pub fn is_final(self) -> bool {
        matches!(self, Self::Ready | Self::Error)
    }
}

#[derive(Clone, Debug)]
pub struct LogLine {
    pub at: OffsetDateTime,
    pub section: &'static str,
    pub message: String,
}

/// An outgoing hook.
#[derive(Clone, Debug)]
pub struct Notification {
    pub id: String,
    pub site_id: String,
    pub user_id: String,
    pub kind: String,
    pub event: String,
    pub data: Map<String, Value>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub failures: u32,
    pub disabled: bool,
    pub delivered: u64,
}

impl State {
    /// A fresh Netlify with the default token and account.
    pub fn new(clock: &Clock) -> Self {
        let mut state = Self::default();
        state.add_token(
            NewToken {
                token: NETLIFY_TOKEN.to_owned(),
                accounts: default_accounts(),
                user: None,
            },
            clock.now(),
        );
        state
    }

    /// Forgets everything but the default token; running builds are stopped.
    pub fn reset(&mut self, clock: &Clock) {
        for deploy in self.deploys.values() {
            deploy.cancel.cancel();
        }
        *self = Self::new(clock);
    }

    /// Adds a token with a user of its own, or one more token for `user`.
    pub fn add_token(&mut self, new: NewToken, now: OffsetDateTime) {
        let account_ids: Vec<String> = new
            .accounts
            .iter()
            .map(|slug| self.account_named(slug))
            .collect();
        let name = new.user.unwrap_or_else(|| new.token.clone());
        let user_id = match self.users.iter_mut().find(|u| u.full_name == name) {
            Some(user) => {
                user.account_ids.extend(account_ids);
                user.id.clone()
            }
            None => self.add_user(name, account_ids, now),
        };
        let token = Token {
            user_id,
            window_start: 0,
            used: 0,
        };
        self.tokens.insert(new.token, token);
    }

    fn add_user(
        &mut self,
        full_name: String,
        account_ids: Vec<String>,
        now: OffsetDateTime,
    ) -> String {
        let id = object_id(now);
        self.users.push(User {
            id: id.clone(),
            email: format!("{}@example.com", id),
            full_name,
            account_ids,
            created_at: now,
        });
        id
    }

    fn account_named(&mut self, slug: &str) -> String {
        if let Some(account) = self.accounts.iter().find(|a| a.slug == slug) {
            return account.id.clone();
        }
        let id = object_id(OffsetDateTime::now_utc());
        self.accounts.push(Account {
            id: id.clone(),
            slug: slug.to_owned(),
            name: slug.to_owned(),
        });
        id
    }

    /// The user's account with this slug or id.
    pub fn account_of(&self, user_id: &str, slug_or_id: &str) -> Option<&Account> {
        self.accounts_of(user_id)
            .find(|a| a.slug == slug_or_id || a.id == slug_or_id)
    }

    /// All accounts of a user, in the order in which they were made.
    pub fn accounts_of<'a>(&'a self, user_id: &str) -> impl Iterator<Item = &'a Account> + use<'a> {
        let user = self.users.iter().find(|u| u.id == user_id);
        self.accounts
            .iter()
            .filter(move |a| user.is_some_and(|u| u.account_ids.contains(&a.id)))
    }

    /// The site with this id, name or default domain, if the user is in its account.
    pub fn site_of(&self, user_id: &str, id_or_domain: &str) -> Option<&Site> {
        let site = match self.sites.get(id_or_domain) {
            Some(site) => site,
            None => {
                let name = id_or_domain.strip_suffix(".netlify.app")?;
                self.site_named(name)?
            }
        };
        self.account_of(user_id, &site.account_id).map(|_| site)
    }

    pub fn site_named(&self, name: &str) -> Option<&Site> {
        self.sites.values().find(|s| s.name == name)
    }

    /// Deploys of a site, newest first.
    pub fn deploys_of(&self, site_id: &str) -> Vec<&Deploy> {
        let mut deploys: Vec<&Deploy> = self
            .deploys
            .values()
            .filter(|d| d.site_id == site_id)
            .collect();
        deploys.sort_by(|a, b| b.id.cmp(&a.id));
        deploys
    }

    pub fn by_build(&self, build_id: &str) -> Option<&Deploy> {
        self.deploys.values().find(|d| d.build_id == build_id)
    }

    pub fn count_created(&mut self, kind: &'static str) {
        *self.created.entry(kind).or_default() += 1;
    }
}

fn default_accounts() -> Vec<String> {
    vec![ACCOUNT.to_owned()]
}

/// A 24-hex id that sorts by creation: seconds, then a process-wide counter, then chance.
pub fn object_id(now: OffsetDateTime) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
    let chance: u32 = rand::rng().next_u32();
    format!(
        "{:08x}{:08x}{:08x}",
        now.unix_timestamp() as u32,
        counter,
        chance
    )
}
