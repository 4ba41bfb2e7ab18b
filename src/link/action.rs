//! What a person is asked to do, with everything that is needed for it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A thing that only a person can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Action {
    /// What it is.
    pub what: Deed,
    /// Where it is done, when there is a page for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// As whom it is done, when that matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// How the link goes on once it is done.
    pub then: GoesOn,
}

/// The things that people are asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Deed {
    /// Put a public key where the repository can be read with it, without the right to push.
    #[schema(title = "PlaceDeployKey")]
    PlaceDeployKey {
        /// One line in OpenSSH form.
        public_key: String,
    },
    /// Make the git host tell Netlify about pushes: a POST of JSON, without a secret.
    #[schema(title = "PlaceWebhook")]
    PlaceWebhook {
        /// Where it has to deliver.
        url: String,
        /// What it has to deliver, in the git host's words: pushes, which are enough for builds, and what previews of pull
        /// requests take. Empty where the host's words are not known.
        #[serde(default)]
        events: Vec<String>,
    },
    /// Push a commit to the branch that the link builds.
    #[schema(title = "PushCommit")]
    PushCommit {
        /// The branch.
        branch: String,
    },
}

/// How a link goes on after a person did what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GoesOn {
    /// By itself, within minutes of its being done; `retry` makes it look at once.
    BySeeing,
    /// With `POST /links/{id}/retry`: linkbroker cannot see it done.
    ByRetry,
}
