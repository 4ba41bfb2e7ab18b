//! What GitLab answers, as far as linking needs it, and what it says about rights.

use serde::Deserialize;
use time::{
    Date, OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description,
};

use crate::{
    link::{
        facts::{Repository, Webhook},
        failure::FailureCode,
    },
    providers::{Delivery, RepositoryKey, WebhookFault, same_address},
    upstream::{Answer, UpstreamError},
};

/// The role that may manage deploy keys and webhooks.
const MAINTAINER: u8 = 40;

#[derive(Deserialize)]
pub(super) struct User {
    pub(super) username: String,
}

#[derive(Deserialize)]
pub(super) struct Project {
    pub(super) id: u64,
    pub(super) path_with_namespace: String,
    web_url: String,
    /// Absent where the instance has SSH switched off.
    ssh_url_to_repo: Option<String>,
    /// Absent in an empty repository.
    default_branch: Option<String>,
    empty_repo: Option<bool>,
    visibility: Option<String>,
    archived: Option<bool>,
    repository_access_level: Option<String>,
    import_status: Option<String>,
    marked_for_deletion_on: Option<String>,
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    project_access: Option<Role>,
    group_access: Option<Role>,
}

#[derive(Deserialize)]
struct Role {
    access_level: u8,
}

impl Project {
    pub(super) fn check_state(&self, answer: &Answer) -> Result<(), UpstreamError> {
        let path = &self.path_with_namespace;
        let refuse = |code, what| Err(answer.refused(code, format!("`{path}` {what}.")));
        if self.archived == Some(true) {
            return refuse(FailureCode::RepositoryArchived, "is archived");
        }
        if self.marked_for_deletion_on.is_some() {
            return refuse(FailureCode::ProviderRefused, "is about to be deleted");
        }
        if self.repository_access_level.as_deref() == Some("disabled") {
            return refuse(
                FailureCode::ProviderRefused,
                "has its repository switched off",
            );
        }
        Ok(())
    }

    /// Whether the project itself says that the credential's user is a Maintainer, here or by the group.
    pub(super) fn is_maintained(&self) -> bool {
        self.role().is_some_and(|role| role >= MAINTAINER)
    }

    fn role(&self) -> Option<u8> {
        let permissions = self.permissions.as_ref()?;
        let roles = [&permissions.project_access, &permissions.group_access];
        roles
            .into_iter()
            .flatten()
            .map(|role| role.access_level)
            .max()
    }

    pub(super) fn lacking_role(&self) -> String {
        let has = self.role().map_or("no role", role_name);
        let path = &self.path_with_namespace;
        format!("The credential has {has} in `{path}`: deploy keys and webhooks need Maintainer.")
    }

    pub(super) fn default_branch(&self, answer: &Answer) -> Result<&str, UpstreamError> {
        let importing = matches!(self.import_status.as_deref(), Some("scheduled" | "started"));
        match &self.default_branch {
            Some(branch) if self.empty_repo != Some(true) => Ok(branch),
            _ => {
                let detail = match importing {
                    true => "The repository is still being imported.",
                    false => "The repository has no commits yet.",
                };
                Err(answer.refused(FailureCode::RepositoryEmpty, detail))
            }
        }
    }

    pub(super) fn into_repository(
        self,
        host: &str,
        branch: String,
        answer: &Answer,
    ) -> Result<Repository, UpstreamError> {
        let Some(ssh_url) = self.ssh_url_to_repo else {
            let detail = "This GitLab has git over SSH switched off, by which Netlify clones.";
            return Err(answer.refused(FailureCode::ProviderRefused, detail));
        };
        Ok(Repository {
            host: host.to_owned(),
            id: self.id.to_string(),
            path: self.path_with_namespace,
            web_url: self.web_url,
            ssh_url,
            // `internal` needs a login, so it is private to Netlify; what is unknown is, too.
            private: self.visibility.as_deref() != Some("public"),
            branch,
        })
    }
}

/// <https://docs.gitlab.com/api/access_requests/#valid-access-levels>
fn role_name(level: u8) -> &'static str {
    match level {
        0..=9 => "no access",
        10..=14 => "the role Guest",
        15..=19 => "the role Planner",
        20..=29 => "the role Reporter",
        30..MAINTAINER => "the role Developer",
        _ => "a higher role",
    }
}

/// A key in somebody's profile.
#[derive(Deserialize)]
pub(super) struct ProfileKey {
    pub(super) key: String,
}

#[derive(Deserialize)]
pub(super) struct Key {
    pub(super) id: u64,
    pub(super) key: String,
    can_push: Option<bool>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    created_at: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
    last_used_at: Option<String>,
}

impl Key {
    /// What does not say that it cannot push, may.
    pub(super) fn is_read_only(&self) -> bool {
        self.can_push == Some(false)
    }

    pub(super) fn without_push(self) -> Self {
        Self {
            can_push: Some(false),
            ..self
        }
    }

    pub(super) fn into_repository_key(self, now: OffsetDateTime) -> RepositoryKey {
        RepositoryKey {
            id: self.id.to_string(),
            read_only: self.is_read_only(),
            enabled: self.expires_at.is_none_or(|expiry| expiry > now),
            created_at: self.created_at,
            last_used: self.last_used_at,
            expires_at: self.expires_at,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Hook {
    pub(super) id: u64,
    url: String,
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(super) created_at: Option<OffsetDateTime>,
    push_events: Option<bool>,
    merge_requests_events: Option<bool>,
    enable_ssl_verification: Option<bool>,
    /// Absent before GitLab 15.
    alert_status: Option<String>,
    push_events_branch_filter: Option<String>,
    branch_filter_strategy: Option<String>,
}

impl Hook {
    pub(super) fn points_at(&self, url: &str) -> bool {
        same_address(&self.url, url)
    }

    pub(super) fn fact(self) -> Webhook {
        Webhook {
            id: self.id.to_string(),
            url: self.url,
        }
    }

    pub(super) fn is_active(&self) -> bool {
        self.alert_status
            .as_deref()
            .is_none_or(|status| status == "executable")
    }

    pub(super) fn faults(&self, branch: &str) -> Vec<WebhookFault> {
        let missing = self.missing_events();
        [
            (!self.is_active()).then_some(WebhookFault::Inactive),
            (!missing.is_empty()).then_some(WebhookFault::MissingEvents(missing)),
            self.hides(branch).then_some(WebhookFault::HidesBranches),
            (self.enable_ssl_verification == Some(false)).then_some(WebhookFault::InsecureTls),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn missing_events(&self) -> Vec<String> {
        let events = [
            ("push_events", self.push_events),
            ("merge_requests_events", self.merge_requests_events),
        ];
        let missing = events.iter().filter(|(_, heard)| *heard == Some(false));
        missing.map(|(event, _)| (*event).to_owned()).collect()
    }

    /// Whether a filter that somebody set may keep pushes to the branch back. A pattern that is not plainly the branch
    /// or everything counts, because what it matches is GitLab's business.
    fn hides(&self, branch: &str) -> bool {
        let filter = self
            .push_events_branch_filter
            .as_deref()
            .unwrap_or_default();
        let strategy = self.branch_filter_strategy.as_deref();
        strategy != Some("all_branches") && !filter.is_empty() && filter != "*" && filter != branch
    }
}

#[derive(Deserialize)]
pub(super) struct SentEvent {
    id: u64,
    trigger: Option<String>,
    /// Text of a number, or words where nobody answered.
    response_status: Option<serde_json::Value>,
    created_at: Option<String>,
}

impl SentEvent {
    pub(super) fn is_push(&self) -> bool {
        self.trigger.as_deref() == Some("push_hooks")
    }
}

impl From<SentEvent> for Delivery {
    fn from(sent: SentEvent) -> Self {
        let status = sent.response_status.and_then(|status| match status {
            serde_json::Value::String(text) => text.parse().ok(),
            other => other.as_u64().and_then(|code| u16::try_from(code).ok()),
        });
        Self {
            id: sent.id.to_string(),
            status: status.filter(|code| *code != 0),
            at: sent.created_at.as_deref().and_then(moment),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Token {
    scopes: Option<Vec<String>>,
    expires_at: Option<String>,
}

impl Token {
    pub(super) fn into_facts(self) -> (Option<Vec<String>>, Option<OffsetDateTime>) {
        let expiry = self.expires_at.as_deref().and_then(moment);
        (self.scopes, expiry)
    }
}

/// A moment, or a day: then its beginning, when GitLab's tokens stop working.
fn moment(text: &str) -> Option<OffsetDateTime> {
    let day = format_description!("[year]-[month]-[day]");
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .or_else(|| Some(Date::parse(text, day).ok()?.midnight().assume_utc()))
}
