//! Teams and the person behind a token.

use serde::Deserialize;

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
    pub connected_accounts: Option<serde_json::Map<String, serde_json::Value>>,
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
