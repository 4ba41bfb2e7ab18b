//! Outgoing hooks: Netlify tells an address of ours about the deploys of a site, one event for each hook.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::was_there;
use crate::upstream::{Access, Call, UpstreamError};

/// The events that say that a build runs, that its deploy is live, and that there will be none.
pub const DEPLOY_EVENTS: [&str; 3] = ["deploy_building", "deploy_created", "deploy_failed"];

/// A hook of a site.
#[derive(Debug, Clone, Deserialize)]
pub struct Hook {
    /// Netlify's id.
    pub id: String,
    /// What it tells.
    pub event: Option<String>,
    #[serde(default)]
    disabled: Option<bool>,
    data: Option<HookData>,
}

#[derive(Debug, Clone, Deserialize)]
struct HookData {
    url: Option<String>,
}

impl Hook {
    /// Where it tells it; hooks of other kinds have no address.
    pub fn url(&self) -> Option<&str> {
        self.data.as_ref()?.url.as_deref()
    }

    /// Whether Netlify has switched it off, after failures.
    pub fn is_disabled(&self) -> bool {
        self.disabled == Some(true)
    }
}

/// The hooks of a site.
///
/// # Errors
/// As [`Access::send`].
pub async fn list(access: &Access, site_id: &str) -> Result<Vec<Hook>, UpstreamError> {
    let call = Call::get(["hooks"]).query("site_id", site_id);
    access.send(call).await?.json()
}

/// Has Netlify tell an address of one kind of event, signed with the secret.
///
/// # Errors
/// As [`Access::send`].
pub async fn create(
    access: &Access,
    site_id: &str,
    event: &str,
    url: &Url,
    secret: &SecretString,
) -> Result<Hook, UpstreamError> {
    let data = json!({ "url": url, "signature_secret": secret.expose_secret() });
    let body = json!({ "type": "url", "event": event, "data": data });
    let call = Call::post(["hooks"])
        .query("site_id", site_id)
        .json(&body)
        .hiding([secret.clone()]);
    access.send(call).await?.json()
}

/// Switches a hook on again.
///
/// # Errors
/// As [`Access::send`].
pub async fn enable(access: &Access, id: &str) -> Result<(), UpstreamError> {
    access.send(Call::post(["hooks", id, "enable"])).await?;
    Ok(())
}

/// Removes a hook; whether there was one.
///
/// # Errors
/// As [`Access::send`].
pub async fn delete(access: &Access, id: &str) -> Result<bool, UpstreamError> {
    was_there(access.send(Call::delete(["hooks", id])).await)
}
