//! What GitHub accepts as a webhook: its members, its events, and when two hooks are doubles.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::answer::{self, Refusal};
use super::hooks::refused;
use super::state::{Hook, HookConfig};

/// GitHub's bound on hooks per event of a repository.
const MOST_PER_EVENT: usize = 20;

/// Events a repository webhook can have (GitHub's page on webhook events).
const EVENTS: [&str; 59] = [
    "*",
    "branch_protection_configuration",
    "branch_protection_rule",
    "check_run",
    "check_suite",
    "code_scanning_alert",
    "commit_comment",
    "create",
    "custom_property_values",
    "delete",
    "dependabot_alert",
    "deploy_key",
    "deployment",
    "deployment_protection_rule",
    "deployment_review",
    "deployment_status",
    "discussion",
    "discussion_comment",
    "fork",
    "gollum",
    "issue_comment",
    "issue_dependencies",
    "issues",
    "label",
    "member",
    "merge_group",
    "meta",
    "milestone",
    "org_block",
    "organization",
    "package",
    "page_build",
    "ping",
    "project",
    "project_card",
    "project_column",
    "public",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "pull_request_review_thread",
    "push",
    "registry_package",
    "release",
    "repository",
    "repository_advisory",
    "repository_dispatch",
    "repository_import",
    "repository_ruleset",
    "repository_vulnerability_alert",
    "secret_scanning_alert",
    "secret_scanning_alert_location",
    "security_and_analysis",
    "star",
    "status",
    "sub_issues",
    "watch",
    "workflow_job",
    "workflow_run",
];

/// The body of a POST or PATCH.
pub struct Change {
    config: Option<Map<String, Value>>,
    events: Option<Vec<String>>,
    add_events: Vec<String>,
    remove_events: Vec<String>,
    active: Option<bool>,
    now: OffsetDateTime,
}

impl Change {
    /// Reads the members of a body.
    pub fn parse(members: &Map<String, Value>, now: OffsetDateTime) -> Result<Self, Refusal> {
        if answer::text(members, "name")?.is_some_and(|name| name != "web") {
            return Err(invalid("name"));
        }
        Ok(Self {
            config: answer::object(members, "config")?,
            events: answer::texts(members, "events")?,
            add_events: answer::texts(members, "add_events")?.unwrap_or_default(),
            remove_events: answer::texts(members, "remove_events")?.unwrap_or_default(),
            active: answer::flag(members, "active")?,
            now,
        })
    }

    /// A new hook; it listens to pushes when nothing is said.
    pub fn into_new(self, id: u64) -> Result<Hook, Refusal> {
        Ok(Hook {
            id,
            active: self.active.unwrap_or(true),
            config: HookConfig::parse(&self.config.unwrap_or_default(), None)?,
            events: self.events.unwrap_or_else(|| vec!["push".to_owned()]),
            created_at: self.now,
            updated_at: self.now,
            deliveries: Vec::new(),
        })
    }

    /// Changes a hook.
    pub fn apply(self, hook: &mut Hook) -> Result<(), Refusal> {
        if let Some(config) = &self.config {
            hook.config = HookConfig::parse(config, None)?;
        }
        if let Some(events) = self.events {
            hook.events = events;
        }
        hook.events
            .retain(|event| !self.remove_events.contains(event));
        for event in self.add_events {
            if !hook.events.contains(&event) {
                hook.events.push(event);
            }
        }
        hook.active = self.active.unwrap_or(hook.active);
        hook.updated_at = self.now;
        Ok(())
    }
}

impl HookConfig {
    /// Reads a config; what is not sent comes from `present`, else it is GitHub's default (`content_type`: form!).
    pub fn parse(members: &Map<String, Value>, present: Option<&Self>) -> Result<Self, Refusal> {
        let url = answer::text(members, "url")?.or(present.map(|p| p.url.clone()));
        let url = url.ok_or_else(|| refused(Some("url"), "url cannot be blank"))?;
        let http = url::Url::parse(&url).is_ok_and(|u| matches!(u.scheme(), "http" | "https"));
        if !http {
            return Err(invalid("url"));
        }
        let content_type =
            answer::text(members, "content_type")?.or(present.map(|p| p.content_type.clone()));
        let content_type = content_type.unwrap_or_else(|| "form".to_owned());
        if !matches!(content_type.as_str(), "json" | "form") {
            return Err(invalid("content_type"));
        }
        // Documented as text or number.
        let insecure_ssl = match members.get("insecure_ssl") {
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => answer::text(members, "insecure_ssl")?.or(present.map(|p| p.insecure_ssl.clone())),
        };
        Ok(Self {
            url,
            content_type,
            insecure_ssl: insecure_ssl.unwrap_or_else(|| "0".to_owned()),
            secret: answer::text(members, "secret")?.or(present.and_then(|p| p.secret.clone())),
        })
    }
}

/// Checks a hook, new or changed, against all hooks of its repository.
///
/// Two hooks may share a config only while their events do not overlap, and an event has at most 20 hooks
/// (documentation of "create a repository webhook"; recorded texts).
pub fn check(hook: &Hook, hooks: &[Hook]) -> Result<(), Refusal> {
    if hook.events.is_empty() || hook.events.iter().any(|e| !EVENTS.contains(&e.as_str())) {
        return Err(invalid("events"));
    }
    let others: Vec<&Hook> = hooks.iter().filter(|h| h.id != hook.id).collect();
    if others
        .iter()
        .any(|other| other.config == hook.config && overlap(&other.events, &hook.events))
    {
        return Err(refused(None, "Hook already exists on this repository"));
    }
    let crowded =
        |event: &&String| others.iter().filter(|o| o.listens_to(event)).count() >= MOST_PER_EVENT;
    let crowded: Vec<Value> = hook
        .events
        .iter()
        .filter(crowded)
        .map(|event| too_many(event))
        .collect();
    if crowded.is_empty() {
        Ok(())
    } else {
        Err(Refusal::invalid(crowded))
    }
}

fn overlap(left: &[String], right: &[String]) -> bool {
    let all = |events: &[String]| events.iter().any(|e| e == "*");
    all(left) || all(right) || left.iter().any(|event| right.contains(event))
}

fn too_many(event: &str) -> Value {
    let message = format!("The \"{event}\" event cannot have more than {MOST_PER_EVENT} hooks");
    answer::custom("Hook", None, &message)
}

fn invalid(field: &str) -> Refusal {
    Refusal::invalid(vec![
        json!({"resource": "Hook", "code": "invalid", "field": field}),
    ])
}
