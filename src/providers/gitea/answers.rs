//! What Gitea and Forgejo answer, as far as linking needs it.

use std::collections::HashMap;

use serde::Deserialize;
use time::OffsetDateTime;

use super::EVENTS;
use crate::{
    link::{
        facts::{Repository, Webhook},
        failure::FailureCode,
    },
    providers::{RepositoryKey, WebhookFault, same_address},
    upstream::{Answer, UpstreamError},
};

#[derive(Deserialize)]
pub(super) struct User {
    pub(super) login: String,
}

#[derive(Deserialize)]
pub(super) struct Repo {
    pub(super) id: u64,
    pub(super) full_name: String,
    html_url: String,
    ssh_url: String,
    pub(super) default_branch: String,
    private: bool,
    /// Only for those who are logged in.
    #[serde(default)]
    internal: bool,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    empty: bool,
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
        if self.empty {
            let detail = format!("`{path}` has no commits yet.");
            return Err(answer.refused(FailureCode::RepositoryEmpty, detail));
        }
        Ok(())
    }

    /// What is not said is unknown, not refused.
    pub(super) fn check_rights(&self, answer: &Answer) -> Result<(), UpstreamError> {
        match self.permissions.as_ref().is_some_and(|may| !may.admin) {
            true => {
                let path = &self.full_name;
                let detail = format!("The credential has no admin rights on `{path}`.");
                Err(answer.refused(FailureCode::AdminRequired, detail))
            }
            false => Ok(()),
        }
    }

    pub(super) fn into_repository(self, host: &str, branch: String) -> Repository {
        Repository {
            host: host.to_owned(),
            id: self.id.to_string(),
            path: self.full_name,
            web_url: self.html_url,
            ssh_url: self.ssh_url,
            private: self.private || self.internal,
            branch,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Key {
    id: u64,
    /// Absent for deploy keys that are no SSH keys.
    #[serde(default)]
    pub(super) key: String,
    #[serde(default)]
    read_only: bool,
    #[serde(default, with = "time::serde::rfc3339::option")]
    created_at: Option<OffsetDateTime>,
}

impl From<Key> for RepositoryKey {
    fn from(key: Key) -> Self {
        Self {
            id: key.id.to_string(),
            read_only: key.read_only,
            enabled: true,
            created_at: key.created_at,
            last_used: None,
            expires_at: None,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Hook {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) active: bool,
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(super) created_at: Option<OffsetDateTime>,
    events: Option<Vec<String>>,
    config: Option<HashMap<String, String>>,
    branch_filter: Option<String>,
}

impl Hook {
    fn setting(&self, name: &str) -> Option<&str> {
        self.config.as_ref()?.get(name).map(String::as_str)
    }

    pub(super) fn points_at(&self, url: &str) -> bool {
        self.setting("url")
            .is_some_and(|own| same_address(own, url))
    }

    pub(super) fn fact(self) -> Webhook {
        Webhook {
            id: self.id.to_string(),
            url: self.setting("url").unwrap_or_default().to_owned(),
        }
    }

    /// The branches that it tells about: nothing, or a pattern.
    pub(super) fn branches(&self) -> String {
        self.branch_filter.clone().unwrap_or_default()
    }

    /// Its events and those that it lacks.
    pub(super) fn events_with(&self, wanted: &[&str]) -> Vec<String> {
        let mut events = self.events.clone().unwrap_or_default();
        for event in wanted {
            if !events.iter().any(|own| own == event) {
                events.push((*event).to_owned());
            }
        }
        events
    }

    pub(super) fn faults(&self, branch: &str) -> Vec<WebhookFault> {
        let own = self.events.as_deref().unwrap_or_default();
        let missing: Vec<_> = self.events_with(&EVENTS).split_off(own.len());
        let filter = self.branches();
        [
            (!self.active).then_some(WebhookFault::Inactive),
            (!missing.is_empty()).then_some(WebhookFault::MissingEvents(missing)),
            (self.setting("content_type") != Some("json")).then_some(WebhookFault::NotJson),
            (!["", "*", "**", branch].contains(&filter.as_str()))
                .then_some(WebhookFault::HidesBranches),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
