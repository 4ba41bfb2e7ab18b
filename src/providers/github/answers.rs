//! What GitHub answers, as far as linking needs it, and what it says about rights.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::well_known::Rfc3339,
    macros::format_description,
};

use super::EVENTS;
use crate::{
    link::{facts::Webhook, failure::FailureCode, installation::Installation},
    providers::{Delivery, RepositoryKey, WebhookFault, same_address},
    upstream::{Answer, UpstreamError},
};

#[derive(Deserialize)]
pub(super) struct User {
    pub(super) login: String,
}

#[derive(Deserialize)]
pub(super) struct App {
    pub(super) name: String,
    #[serde(default)]
    pub(super) permissions: BTreeMap<String, String>,
}

/// An app on one account; whose app it is, when an owner asks about all of them.
#[derive(Deserialize)]
pub(super) struct AppInstallation {
    pub(super) id: u64,
    account: Option<Account>,
    repository_selection: String,
    suspended_at: Option<String>,
    #[serde(default)]
    app_slug: String,
}

#[derive(Deserialize)]
pub(super) struct AppInstallations {
    installations: Vec<AppInstallation>,
}

impl AppInstallations {
    pub(super) fn of_app(self, slug: &str) -> Vec<Installation> {
        let of_app = self.installations.into_iter();
        let of_app = of_app.filter(|it| it.app_slug == slug);
        of_app.map(Into::into).collect()
    }
}

#[derive(Deserialize)]
pub(super) struct GitRef {
    pub(super) object: GitObject,
}

#[derive(Deserialize)]
pub(super) struct GitObject {
    pub(super) sha: String,
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    login: String,
}

impl From<AppInstallation> for Installation {
    fn from(it: AppInstallation) -> Self {
        Self {
            id: it.id,
            account: it.account.map(|account| account.login).unwrap_or_default(),
            all_repositories: it.repository_selection == "all",
            suspended: it.suspended_at.is_some(),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Repo {
    pub(super) id: u64,
    pub(super) full_name: String,
    pub(super) private: bool,
    pub(super) html_url: String,
    pub(super) ssh_url: String,
    pub(super) default_branch: String,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    disabled: bool,
    /// Kilobytes, measured by GitHub now and then.
    pub(super) size: Option<u64>,
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    admin: bool,
}

impl Repo {
    pub(super) fn check_state(&self, answer: &Answer) -> Result<(), UpstreamError> {
        let path = &self.full_name;
        if self.archived {
            let detail = format!("`{path}` is archived.");
            return Err(answer.refused(FailureCode::RepositoryArchived, detail));
        }
        if self.disabled {
            let detail = format!("GitHub has disabled `{path}`.");
            return Err(answer.refused(FailureCode::ProviderRefused, detail));
        }
        Ok(())
    }

    /// Rights of the person, then scopes of a classic token. What GitHub does not say (fine-grained tokens have no
    /// scopes) is unknown, not refused.
    pub(super) fn check_rights(&self, answer: &Answer) -> Result<(), UpstreamError> {
        let path = &self.full_name;
        if self.permissions.as_ref().is_some_and(|may| !may.admin) {
            let detail = format!("The credential has no admin rights on `{path}`.");
            return Err(answer.refused(FailureCode::AdminRequired, detail));
        }
        match scopes(answer).and_then(|scopes| missing_scope(&scopes, self.private)) {
            None => Ok(()),
            Some(scope) => {
                let detail = format!("The token needs the scope `{scope}` for `{path}`.");
                Err(answer.refused(FailureCode::ScopeMissing, detail))
            }
        }
    }
}

/// The scope that a classic token lacks for managing deploy keys and webhooks.
///
/// <https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps>
pub(super) fn missing_scope(scopes: &[String], private: bool) -> Option<&'static str> {
    let has = |wanted: &[&str]| scopes.iter().any(|scope| wanted.contains(&scope.as_str()));
    if has(&["repo"]) {
        None
    } else if private || !has(&["public_repo"]) {
        Some("repo")
    } else if has(&["write:repo_hook", "admin:repo_hook"]) {
        None
    } else {
        Some("write:repo_hook")
    }
}

/// Scopes of a classic token; `None` for tokens that have none by nature.
pub(super) fn scopes(answer: &Answer) -> Option<Vec<String>> {
    let list = answer.header("x-oauth-scopes")?;
    let scopes = list
        .split(',')
        .map(str::trim)
        .filter(|scope| !scope.is_empty());
    Some(scopes.map(str::to_owned).collect())
}

/// `2026-11-30 10:00:00 UTC`, or with an offset such as `+0200` instead.
pub(super) fn token_expiry(text: &str) -> Option<OffsetDateTime> {
    let utc = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let offset = format_description!(
        "[year]-[month]-[day] [hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]"
    );
    PrimitiveDateTime::parse(text, utc)
        .map(PrimitiveDateTime::assume_utc)
        .or_else(|_| OffsetDateTime::parse(text, offset))
        .ok()
}

#[derive(Deserialize)]
pub(super) struct Key {
    id: u64,
    pub(super) key: String,
    #[serde(default)]
    read_only: bool,
    /// Absent on older servers.
    pub(super) enabled: Option<bool>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    created_at: Option<OffsetDateTime>,
    last_used: Option<String>,
}

impl From<Key> for RepositoryKey {
    fn from(key: Key) -> Self {
        Self {
            id: key.id.to_string(),
            read_only: key.read_only,
            enabled: key.enabled.unwrap_or(true),
            created_at: key.created_at,
            last_used: key.last_used,
            expires_at: None,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Hook {
    pub(super) id: u64,
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(super) created_at: Option<OffsetDateTime>,
    pub(super) active: bool,
    events: Vec<String>,
    config: HookConfig,
}

#[derive(Deserialize)]
struct HookConfig {
    url: Option<String>,
    content_type: Option<String>,
    /// `"0"`, `"1"`, or the number.
    insecure_ssl: Option<Value>,
}

impl Hook {
    pub(super) fn points_at(&self, url: &str) -> bool {
        self.config
            .url
            .as_deref()
            .is_some_and(|own| same_address(own, url))
    }

    pub(super) fn fact(self) -> Webhook {
        Webhook {
            id: self.id.to_string(),
            url: self.config.url.unwrap_or_default(),
        }
    }

    pub(super) fn faults(&self) -> Vec<WebhookFault> {
        let missing = self.missing_events();
        let insecure =
            matches!(&self.config.insecure_ssl, Some(value) if value == "1" || value == 1);
        [
            (!self.active).then_some(WebhookFault::Inactive),
            (!missing.is_empty()).then_some(WebhookFault::MissingEvents(missing)),
            (self.config.content_type.as_deref() != Some("json")).then_some(WebhookFault::NotJson),
            insecure.then_some(WebhookFault::InsecureTls),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn missing_events(&self) -> Vec<String> {
        let missing = EVENTS.iter().filter(|event| !self.hears(event));
        missing.map(|event| (*event).to_owned()).collect()
    }

    pub(super) fn hears(&self, event: &str) -> bool {
        self.events.iter().any(|own| own == event || own == "*")
    }
}

#[derive(Deserialize)]
pub(super) struct SentDelivery {
    id: u64,
    pub(super) event: String,
    /// 0 when nobody answered.
    status_code: Option<u16>,
    delivered_at: Option<String>,
}

impl From<SentDelivery> for Delivery {
    fn from(sent: SentDelivery) -> Self {
        Self {
            id: sent.id.to_string(),
            status: sent.status_code.filter(|code| *code != 0),
            at: sent
                .delivered_at
                .and_then(|at| OffsetDateTime::parse(&at, &Rfc3339).ok()),
        }
    }
}
