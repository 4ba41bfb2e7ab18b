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
    /// Why it ended badly.
    error: Option<String>,
    /// RFC 3339, by Netlify's clock.
    pub created_at: Option<String>,
}

impl Build {
    /// When it began, by Netlify's clock.
    pub fn made_at(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(self.created_at.as_deref()?, &Rfc3339).ok()
    }

    /// Whether it ended without a new version of the site.
    pub fn has_failed(&self) -> bool {
        self.done == Some(true) && present(self.error.clone()).is_some()
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

/// What runs in a team, as far as Netlify tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Running {
    /// Its builds that are not over, with their deploys as far as these are described here; by Netlify's id of the site.
    Listed(Vec<(String, facts::Deploy)>),
    /// Numbers alone: the older of the two descriptions of this call.
    Counted,
}

/// The builds of a team that are not over.
///
/// # Errors
/// As [`Access::send`].
pub async fn running(access: &Access, team: &str) -> Result<Running, UpstreamError> {
    let newer = Call::get(["accounts", team, "builds", "status"]);
    let answer = match access.send(newer).await {
        Err(error) if error.is_missing() => {
            let older = Call::get([team, "builds", "status"]);
            access.send(older).await?
        }
        answer => answer?,
    };
    let Listing(lines) = answer.json()?;
    let listed: Option<Vec<_>> = lines.into_iter().map(RunningBuild::deploy).collect();
    Ok(listed.map_or(Running::Counted, Running::Listed))
}

/// The older description has a list of one line, of which one line alone has been seen too.
#[derive(Deserialize)]
#[serde(from = "OneOrMany<RunningBuild>")]
struct Listing(Vec<RunningBuild>);

impl From<OneOrMany<RunningBuild>> for Listing {
    fn from(lines: OneOrMany<RunningBuild>) -> Self {
        Self(match lines {
            OneOrMany::One(line) => vec![line],
            OneOrMany::Many(lines) => lines,
        })
    }
}

/// A line of the team's build status. The older description's lines have numbers instead.
#[derive(Deserialize)]
struct RunningBuild {
    id: Option<String>,
    site_id: Option<String>,
    deploy_id: Option<String>,
    deploy_state: Option<String>,
    state: Option<String>,
    context: Option<String>,
    branch: Option<String>,
    commit_ref: Option<String>,
    error_message: Option<String>,
    deploy_ssl_url: Option<String>,
    created_at: Option<String>,
    title: Option<String>,
}

impl RunningBuild {
    fn deploy(self) -> Option<(String, facts::Deploy)> {
        let deploy = facts::Deploy {
            id: present(self.deploy_id)?,
            build_id: present(self.id),
            state: present(self.deploy_state).or(present(self.state))?,
            context: present(self.context),
            branch: present(self.branch),
            commit_ref: present(self.commit_ref),
            error_message: present(self.error_message),
            url: present(self.deploy_ssl_url),
            created_at: present(self.created_at),
            published_at: None,
            deploy_time: None,
            title: present(self.title),
            source: None,
            skipped: false,
            unknown_contributor: false,
        };
        Some((present(self.site_id)?, deploy))
    }
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
    let builds: OneOrMany<Build> = answer.json()?;
    builds
        .first()
        .ok_or_else(|| answer.contract_changed("names no build"))
}

/// Netlify's own tools guard against a list here.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> OneOrMany<T> {
    fn first(self) -> Option<T> {
        match self {
            Self::One(one) => Some(one),
            Self::Many(many) => many.into_iter().next(),
        }
    }
}
