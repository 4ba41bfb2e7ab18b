//! Key pairs by which Netlify clones: made by Netlify, owned by the token's user, never deduplicated.

use crate::{
    link::facts::DeployKey,
    upstream::{Access, Call, UpstreamError},
};

/// Makes a new pair. There is no natural key: after an uncertain call only the difference of two lists tells.
///
/// # Errors
/// As [`Access::send`].
pub async fn create(access: &Access) -> Result<DeployKey, UpstreamError> {
    access.send(Call::post(["deploy_keys"])).await?.json()
}

/// All pairs of the token's user, also those that others made with the same user.
///
/// # Errors
/// As [`Access::send`].
pub async fn list(access: &Access) -> Result<Vec<DeployKey>, UpstreamError> {
    access.pages(Call::get(["deploy_keys"])).await
}

/// Deletes a pair; absent is fine.
///
/// # Errors
/// As [`Access::send`].
pub async fn delete(access: &Access, id: &str) -> Result<(), UpstreamError> {
    match access.send(Call::delete(["deploy_keys", id])).await {
        Err(error) if !error.is_missing() => Err(error),
        _ => Ok(()),
    }
}
