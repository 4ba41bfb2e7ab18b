//! Key pairs by which Netlify clones: made by Netlify, owned by the token's user, never deduplicated.

use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::was_there;
use crate::{
    link::facts,
    upstream::{Access, Call, UpstreamError},
};

/// A key pair as Netlify describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DeployKey {
    /// Netlify's id, 24 hexadecimal digits.
    pub id: String,
    public_key: String,
    created_at: Option<String>,
}

impl DeployKey {
    /// What a link remembers of it.
    pub fn fact(self) -> facts::DeployKey {
        facts::DeployKey {
            id: self.id,
            public_key: self.public_key,
            standing: false,
        }
    }

    /// When it was made, by Netlify's clock.
    pub fn made_at(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(self.created_at.as_deref()?, &Rfc3339).ok()
    }
}

/// Makes a new pair. There is no natural key: after an uncertain call only the difference of two lists tells.
///
/// # Errors
/// As [`Access::send`].
pub async fn create(access: &Access) -> Result<DeployKey, UpstreamError> {
    access.send(Call::post(["deploy_keys"])).await?.json()
}

/// The pair with that id, when it is the token's user's.
///
/// # Errors
/// As [`Access::send`]; "not found" also when it is somebody else's.
pub async fn get(access: &Access, id: &str) -> Result<DeployKey, UpstreamError> {
    access.send(Call::get(["deploy_keys", id])).await?.json()
}

/// All pairs of the token's user, also those that others made with the same user.
///
/// # Errors
/// As [`Access::send`].
pub async fn list(access: &Access) -> Result<Vec<DeployKey>, UpstreamError> {
    access.pages(Call::get(["deploy_keys"])).await
}

/// Deletes a pair; whether it was there.
///
/// # Errors
/// As [`Access::send`].
pub async fn delete(access: &Access, id: &str) -> Result<bool, UpstreamError> {
    was_there(access.send(Call::delete(["deploy_keys", id])).await)
}
