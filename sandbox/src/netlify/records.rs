//! What Netlify keeps: one struct per kind of record.

use std::sync::Arc;

use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::repo::Repo;
use crate::ACCOUNT;
use crate::git::KeyPair;

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
    /// The pull or merge request that it shows.
    pub review: Option<u64>,
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

pub fn default_accounts() -> Vec<String> {
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
