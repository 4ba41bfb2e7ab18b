//! What a link knows about the world: the objects that its steps found or made.
//!
//! Facts are what one step hands to the next. They hold ids and public data, never a secret.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The repository as its provider describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Repository {
    /// Host of the provider instance, e.g. `github.com`.
    pub host: String,
    /// The provider's lasting id, as text; GitHub's is a number.
    pub id: String,
    /// The provider's own spelling of owner and name, e.g. `acme/docs`.
    pub path: String,
    /// Address for people.
    pub web_url: String,
    /// Address that Netlify clones from.
    pub ssh_url: String,
    /// Whether anonymous people cannot read it.
    pub private: bool,
    /// The branch that the link builds.
    pub branch: String,
}

/// Netlify's key pair of the link; the private half never leaves Netlify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeployKey {
    /// Netlify's id, 24 hexadecimal digits.
    pub id: String,
    /// One line in OpenSSH form.
    pub public_key: String,
}

/// The public half of the deploy key, installed at the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstalledKey {
    /// The provider's id.
    pub id: String,
    /// Netlify's id of the pair that it belongs to.
    pub deploy_key_id: String,
}

/// The webhook by which the provider tells Netlify about pushes; one per repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Webhook {
    /// The provider's id.
    pub id: String,
    /// Where deliveries go.
    pub url: String,
}

/// The site on Netlify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Site {
    /// Netlify's id.
    pub id: String,
    /// Name, unique across Netlify.
    pub name: String,
    /// Address that visitors use.
    pub url: String,
    /// Address of the site's page in Netlify's dashboard.
    pub admin_url: String,
    /// Slug of the team that owns it.
    pub team: String,
}

/// What Netlify answered when the repository was attached to the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attachment {
    /// Where Netlify wants the provider's webhook to point.
    pub deploy_hook: Option<String>,
    /// Build that Netlify started by itself, when the answer names one.
    pub build_id: Option<String>,
    /// Deploy that the answer names or that its deploy address begins with; unconfirmed.
    pub deploy_id: Option<String>,
}

/// A build and the deploy that it makes, with Netlify's own states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Build {
    /// Netlify's id of the build.
    pub id: String,
    /// Netlify's id of the deploy that the build makes.
    pub deploy_id: String,
}

/// A deploy as Netlify describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deploy {
    /// Netlify's id.
    pub id: String,
    /// Netlify's id of the build behind it; absent for file uploads.
    pub build_id: Option<String>,
    /// Netlify's own word, e.g. `building`, `ready`, `error`; new words may appear.
    pub state: String,
    /// `production`, `branch-deploy` or `deploy-preview`.
    pub context: Option<String>,
    /// Branch that was built.
    pub branch: Option<String>,
    /// Commit that was built; present as soon as the clone worked.
    pub commit_ref: Option<String>,
    /// Netlify's own error text.
    pub error_message: Option<String>,
    /// Address of exactly this deploy.
    pub url: Option<String>,
    /// RFC 3339, by Netlify's clock.
    pub created_at: Option<String>,
    /// RFC 3339, by Netlify's clock; absent when it was not published.
    pub published_at: Option<String>,
    /// Title of the build; ours when we started it.
    #[serde(default)]
    pub title: Option<String>,
    /// What started it: `git` for a push, `api` for a call; new words may appear.
    #[serde(default)]
    pub source: Option<String>,
    /// Whether Netlify decided not to build.
    #[serde(default)]
    pub skipped: bool,
    /// Whether Netlify refused to build because it does not know who pushed.
    #[serde(default)]
    pub unknown_contributor: bool,
}

/// How far it is proven that a push to the repository builds the site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// 0 installed, 1 delivered, 2 built from a push, 3 deployed from a push.
    pub level: u8,
    /// Build that the proving push started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
}
