//! Builds: what Netlify starts when a repository is attached, a push arrives, or we ask.

use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::present;
use crate::{
    link::{facts, failure::FailureCode},
    upstream::{Access, Call, UpstreamError},
};

/// A build as Netlify describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Build {
    /// Netlify's id.
    pub id: String,
    deploy_id: Option<String>,
    /// What was built: a commit, or a ref such as `pull/1/head`.
    pub sha: Option<String>,
    /// Whether the build is over; publishing is the deploy's business.
    #[serde(default)]
    pub done: Option<bool>,
    /// RFC 3339, by Netlify's clock.
    pub created_at: Option<String>,
}

impl Build {
    /// When it began, by Netlify's clock.
    pub fn made_at(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(self.created_at.as_deref()?, &Rfc3339).ok()
    }

    /// What a link remembers; `None` for the seconds in which Netlify has not named the deploy yet.
    pub fn fact(&self) -> Option<facts::Build> {
        Some(facts::Build {
            id: self.id.clone(),
            deploy_id: present(self.deploy_id.clone())?,
        })
    }
}

/// The site's latest builds (at most 100), newest first. The list may lag behind the truth by minutes.
///
/// # Errors
/// `site_gone`.
pub async fn list_for_site(access: &Access, site_id: &str) -> Result<Vec<Build>, UpstreamError> {
    let call = Call::get(["sites", site_id, "builds"]).query("per_page", "100");
    let answer = access.send(call).await.map_err(|error| {
        let detail = format!("Netlify has no site with the id {site_id} for this credential.");
        error.if_missing(FailureCode::SiteGone, detail)
    })?;
    answer.json()
}

/// One build, with its deploy once that exists.
///
/// # Errors
/// As [`Access::send`]; [`UpstreamError::is_missing`] for an unknown id.
pub async fn get(access: &Access, id: &str) -> Result<Build, UpstreamError> {
    access.send(Call::get(["builds", id])).await?.json()
}

/// Whether a build may use what earlier builds left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// Use it.
    Keep,
    /// Begin from nothing.
    Clear,
}

/// Starts a build of the production branch. `title` marks it as ours: after an uncertain call it is found by it.
///
/// # Errors
/// `account_cannot_build` for 404, which is how Netlify says so here when the site itself exists.
pub async fn start(
    access: &Access,
    site_id: &str,
    title: &str,
    cache: Cache,
) -> Result<Build, UpstreamError> {
    let mut call = Call::post(["sites", site_id, "builds"]).query("title", title);
    if cache == Cache::Clear {
        call = call.query("clear_cache", "true");
    }
    let answer = access.send(call).await.map_err(|error| {
        let detail =
            "Netlify starts no build for the site: the team cannot build, or the site is gone.";
        error.if_missing(FailureCode::AccountCannotBuild, detail)
    })?;
    answer.json::<OneOrMany>().and_then(|builds| {
        builds
            .first()
            .ok_or_else(|| answer.contract_changed("names no build"))
    })
}

/// Netlify's own tools guard against a list here.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Build),
    Many(Vec<Build>),
}

impl OneOrMany {
    fn first(self) -> Option<Build> {
        match self {
            Self::One(build) => Some(build),
            Self::Many(builds) => builds.into_iter().next(),
        }
    }
}
