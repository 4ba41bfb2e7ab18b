//! Step `create_site`: a bare site, so that Netlify builds nothing before it can clone.

use super::{Halt, StepContext, Undone, remove};
use crate::{
    link::resource::{Receipt, ResourceKind},
    link::{
        facts::{self, Fact, Origin, Repository, SiteBefore},
        failure::{Failure, FailureCode},
        request::LinkSpec,
    },
    netlify::{
        builds, environment,
        sites::{self, NewSite, Site},
    },
    upstream::UpstreamKind,
};

/// The site with our name, when it can only be ours: visible to our credential, of no other link, and bare or with our
/// key. The name is its natural key (limits.md C2).
pub async fn observe(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    match &cx.spec.site.id {
        Some(id) if cx.is_of_another(id) => return Ok(None),
        Some(id) => return take(cx, id).await.map(Some),
        None => {}
    }
    let found = sites::find_by_name(cx.netlify, &cx.spec.site.name).await?;
    Ok(found.filter(|site| is_ours(cx, site)).map(|site| {
        let known = cx
            .facts
            .site
            .as_ref()
            .is_some_and(|known| known.id == site.id);
        let origin = if known {
            Origin::Made
        } else {
            cx.origin_at_netlify(site.made_at())
        };
        Fact::Site(site.fact(), origin)
    }))
}

fn is_ours(cx: &StepContext<'_>, site: &Site) -> bool {
    let is_attached_by_us = cx.clone_key().is_ok_and(|key| key.is_kept(site));
    let known = cx
        .facts
        .site
        .as_ref()
        .is_some_and(|known| known.id == site.id);
    let made_now = cx.origin_at_netlify(site.made_at()) == Origin::Made;
    let team = cx.spec.site.team.as_deref();
    let in_team = team.is_none() || site.account_slug.as_deref() == team;
    in_team
        && (known || made_now)
        && !cx.is_of_another(&site.id)
        && (site.repository_path().is_none() || is_attached_by_us)
}

/// A site that is there, unless another link leans on it or another repository is attached to it. What it is like is
/// remembered before anything is changed.
async fn take(cx: &StepContext<'_>, id: &str) -> Result<Fact, Halt> {
    if cx.is_of_another(id) {
        let detail = "nothing was asked of the site, and nothing changed";
        return Err(Halt::stop(FailureCode::SiteInUse, detail));
    }
    let (site, builds) = tokio::try_join!(
        sites::get(cx.netlify, id),
        builds::list_for_site(cx.netlify, id)
    )?;
    free_for(cx.spec, cx.provider_kind, cx.repository()?, &site)?;
    let before = SiteBefore {
        builds: builds.into_iter().map(|build| build.id).collect(),
        variables: variables(cx, &site.fact()).await?,
        ..site.before()
    };
    Ok(Fact::SiteThatWas(site.fact(), Box::new(before)))
}

/// Those that the link overwrites are not its to remove later.
async fn variables(cx: &StepContext<'_>, site: &facts::Site) -> Result<Vec<String>, Halt> {
    if cx.environment.is_empty() {
        return Ok(Vec::new());
    }
    let there = environment::list(cx.netlify, site).await?;
    Ok(there.into_iter().map(|variable| variable.name).collect())
}

/// A site that is there can be linked unless another repository is attached to it that it may not be taken from.
pub(super) fn free_for(
    spec: &LinkSpec,
    provider: UpstreamKind,
    repository: &Repository,
    site: &Site,
) -> Result<(), Failure> {
    match site.repository_path() {
        Some(path) if !is_attached_to(provider, repository, site) && !spec.site.relink => {
            let detail = format!("`{path}` is attached to the site `{}`.", site.name);
            Err(Failure::new(FailureCode::SiteLinkedElsewhere, detail))
        }
        _ => Ok(()),
    }
}

/// Whether this very repository is attached to the site.
pub(super) fn is_attached_to(provider: UpstreamKind, repository: &Repository, site: &Site) -> bool {
    let ours = sites::repository_path(provider, repository);
    site.repository_path()
        .is_some_and(|path| path.eq_ignore_ascii_case(ours))
}

/// Makes it, or takes the one that is there.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    if let Some(id) = &cx.spec.site.id {
        return take(cx, id).await;
    }
    let new = NewSite {
        name: &cx.spec.site.name,
        team: cx.spec.site.team.as_deref(),
    };
    match sites::create(cx.netlify, &new).await {
        Ok(site) => Ok(Fact::Site(site.fact(), Origin::Made)),
        Err(error) if error.code == FailureCode::SiteNameTaken && cx.intent_at.is_some() => {
            observe(cx).await?.ok_or_else(|| error.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Deletes the site, unless the caller wants it to stay or it is not ours. Its environment variables and notifications go with it.
pub async fn undo(cx: &StepContext<'_>) -> Result<Undone, Halt> {
    let Some(site) = &cx.facts.site else {
        return Ok(Vec::new());
    };
    if cx.keep_site {
        return Ok(vec![(ResourceKind::Site, site.id.clone(), Receipt::Kept)]);
    }
    let delete = sites::delete(cx.netlify, &site.id);
    let mut receipts = remove(cx, ResourceKind::Site, &site.id, delete).await?;
    if let [(_, _, gone @ (Receipt::Deleted | Receipt::AlreadyGone))] = receipts[..] {
        let variables = cx.facts.environment.iter();
        receipts.extend(variables.map(|set| (ResourceKind::EnvVariable, set.name.clone(), gone)));
        let hooks = cx.facts.notifications.iter();
        receipts.extend(hooks.map(|hook| (ResourceKind::Notification, hook.id.clone(), gone)));
    }
    Ok(receipts)
}
