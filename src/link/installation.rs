//! A GitHub App on an account: what lets the app, and whoever speaks for it, see repositories there.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An app on one account of the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Installation {
    /// The provider's id.
    pub id: u64,
    /// Login of the user or organisation.
    pub account: String,
    /// Whether it covers all repositories of the account, or only selected ones.
    pub all_repositories: bool,
    /// Whether somebody has suspended it: nothing works then.
    pub suspended: bool,
}
