//! Teams and the person behind a token.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::upstream::{Access, Call, UpstreamError};

/// A team that the credential belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// Netlify's id.
    pub id: String,
    /// The name used in addresses; what callers call the team.
    pub slug: String,
    /// Name for people.
    pub name: Option<String>,
    /// Plan, e.g. `Starter`.
    pub type_name: Option<String>,
    /// What the credential's person is in the team, e.g. `Owner`.
    pub role: Option<String>,
    /// What the plan allows, an open map.
    capabilities: Option<Map<String, Value>>,
    /// Allowances that are used up.
    configurable_limits_exceeded: Option<Vec<ExceededLimit>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct ExceededLimit {
    usage_type: Option<String>,
}

impl Account {
    /// Whether the plan lets private repositories of organisations be built; `None`: Netlify does not say.
    pub fn builds_private_organisations(&self) -> Option<bool> {
        let known = self.capabilities.as_ref()?.get("private_corp_repos")?;
        known
            .as_bool()
            .or_else(|| known.get("in_compliance")?.as_bool())
    }

    /// The allowances that are used up, in Netlify's words.
    pub fn exceeded_limits(&self) -> Vec<&str> {
        let exceeded = self.configurable_limits_exceeded.iter().flatten();
        exceeded
            .map(|limit| limit.usage_type.as_deref().unwrap_or("usage"))
            .collect()
    }
}

/// How busy a team's builds are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BuildQueue {
    /// Builds that wait for a free slot.
    pub waiting: u64,
    /// Whether the minutes of the plan are used up.
    pub minutes_are_used_up: bool,
}

/// One line of the team's build status: the older description's numbers. The newer one lists builds under the same name;
/// of those nothing is read.
#[derive(Deserialize)]
struct BuildStatus {
    enqueued: Option<u64>,
    minutes: Option<Minutes>,
}

#[derive(Deserialize)]
struct Minutes {
    current: Option<u64>,
    /// Text in the description.
    included_minutes_with_packs: Option<Value>,
}

impl Minutes {
    fn are_used_up(&self) -> bool {
        let included = self.included_minutes_with_packs.as_ref();
        let included =
            included.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        match (self.current, included) {
            (Some(current), Some(included)) => included > 0 && current >= included,
            _ => false,
        }
    }
}

/// The person behind a token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct User {
    /// Netlify's id.
    pub id: String,
    /// Name for people.
    pub full_name: Option<String>,
    /// Login by provider, when the person linked their account there: pushes by other people to private
    /// repositories may be blocked on small plans.
    #[serde(default)]
    pub connected_accounts: Option<Map<String, Value>>,
}

/// The credential's teams.
///
/// # Errors
/// As [`Access::send`].
pub async fn list(access: &Access) -> Result<Vec<Account>, UpstreamError> {
    access.pages(Call::get(["accounts"])).await
}

/// Whom the token belongs to; the cheapest check of a token.
///
/// # Errors
/// `credential_refused` when the token is no longer good.
pub async fn current_user(access: &Access) -> Result<User, UpstreamError> {
    access.send(Call::get(["user"])).await?.json()
}

/// How busy the builds of a team are, by Netlify's id of it.
///
/// # Errors
/// As [`Access::send`].
pub async fn build_queue(access: &Access, team: &str) -> Result<BuildQueue, UpstreamError> {
    let answer = access.send(Call::get([team, "builds", "status"])).await?;
    let status: Vec<BuildStatus> = answer.json()?;
    let mut minutes = status.iter().filter_map(|line| line.minutes.as_ref());
    Ok(BuildQueue {
        waiting: status.iter().filter_map(|line| line.enqueued).sum(),
        minutes_are_used_up: minutes.any(Minutes::are_used_up),
    })
}
