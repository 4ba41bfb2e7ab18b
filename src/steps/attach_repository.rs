//! Step `attach_repository`: the site learns its repository, and Netlify starts the first build.

use super::{Halt, StepContext, Undone};
use crate::{
    link::facts::{self, Fact, SiteBefore},
    netlify::sites::{self, Attach, Site},
};

/// The site knows our repository, branch and key already. A second attaching would build again.
pub async fn observe(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    let site = sites::get(cx.netlify, &cx.site()?.id).await?;
    Ok(is_attached(cx, &site)?.then(|| Fact::Attachment(site.attachment())))
}

fn is_attached(cx: &StepContext<'_>, site: &Site) -> Result<bool, Halt> {
    let repository = cx.repository()?;
    let has_path = match site.repository_path() {
        Some(path) => is_ours(cx, path)?,
        None => false,
    };
    let has_key = cx.clone_key()?.is_kept(site);
    Ok(has_path && has_key && site.branch() == Some(&repository.branch))
}

/// Attaches it. Netlify's answer is read back: a site that kept no key is deaf. What the caller says nothing about stays
/// as it was on a site that is there.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    free_from_other(cx).await?;
    let before = cx.facts.site_before.clone().unwrap_or_default();
    let was_attached = before.repository.is_some();
    let kept = was_attached.then_some(&before.allowed_branches[..]);
    let asked = cx.spec.allowed_branches.as_deref().or(kept);
    let repository = cx.repository()?;
    // The gate is opened once.
    let is_first = cx.facts.build.is_none() && cx.facts.ended_builds.is_empty();
    let attach = Attach {
        provider: cx.provider_kind,
        repository,
        key: cx.clone_key()?,
        build: cx.spec.build.over(&before.build),
        allowed_branches: &allowed_branches(asked, &repository.branch),
        stop_builds: is_first && cx.way().is_gated(),
    };
    let site = sites::attach(cx.netlify, &cx.site()?.id, &attach).await?;
    Ok(Fact::Attachment(site.attachment()))
}

/// Takes the site from the repository that has it: attaching over another one is said to change nothing but the settings.
async fn free_from_other(cx: &StepContext<'_>) -> Result<(), Halt> {
    let before = cx.facts.site_before.as_ref();
    let Some(other) = before.and_then(|before| before.repository.as_ref()) else {
        return Ok(());
    };
    if is_ours(cx, &other.path)? {
        return Ok(());
    }
    // An interrupted try may have done it already, and our own repository must not be let go of.
    let site = sites::get(cx.netlify, &cx.site()?.id).await?;
    match site.repository_path() {
        Some(path) if !is_ours(cx, path)? => {
            sites::unlink_repo(cx.netlify, &site.id).await?;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn is_ours(cx: &StepContext<'_>, path: &str) -> Result<bool, Halt> {
    let ours = sites::repository_path(cx.provider_kind, cx.repository()?);
    Ok(path.eq_ignore_ascii_case(ours))
}

/// Netlify takes an empty list for every branch. A list without the production branch would make a
/// link that builds once and never again.
fn allowed_branches(asked: Option<&[String]>, production: &str) -> Vec<String> {
    match asked {
        Some([]) => Vec::new(),
        Some(branches) if branches.iter().any(|branch| branch == production) => branches.to_vec(),
        other => std::iter::once(production.to_owned())
            .chain(other.into_iter().flatten().cloned())
            .collect(),
    }
}

/// Detaches a site that stays; one that goes takes its attachment with it. Netlify deletes the
/// site's keys when it detaches, which is what `reserve_deploy_key` would do next; a standing key has to stay, so that
/// a site with one keeps its repository and is kept from building. A site that was there gets back what was attached to
/// it, unless its key is gone.
pub async fn undo(cx: &StepContext<'_>) -> Result<Undone, Halt> {
    let (Some(site), Some(_)) = (&cx.facts.site, &cx.facts.attachment) else {
        return Ok(Vec::new());
    };
    if !cx.stays(site) {
        return Ok(Vec::new());
    }
    match &cx.facts.site_before {
        Some(before) if can_be_put_back(cx, before)? => put_back(cx, site, before).await?,
        _ if cx.facts.deploy_key.as_ref().is_some_and(|key| key.standing) => {
            sites::stop_builds(cx.netlify, &site.id).await?;
        }
        _ => {
            sites::unlink_repo(cx.netlify, &site.id).await?;
        }
    }
    Ok(Vec::new())
}

/// Taking the site from another repository deleted that one's key.
fn can_be_put_back(cx: &StepContext<'_>, before: &SiteBefore) -> Result<bool, Halt> {
    match &before.repository {
        Some(repository) => {
            Ok(repository.installation_id.is_some() || is_ours(cx, &repository.path)?)
        }
        None => Ok(false),
    }
}

/// Every attaching starts a build, so it is done once: while the site clones by our key.
async fn put_back(
    cx: &StepContext<'_>,
    site: &facts::Site,
    before: &SiteBefore,
) -> Result<(), Halt> {
    let now = match sites::get(cx.netlify, &site.id).await {
        Err(error) if error.is_missing() => return Ok(()),
        found => found?,
    };
    match cx.clone_key()?.is_kept(&now) {
        true => Ok(sites::put_back(cx.netlify, &site.id, before).await?),
        false => Ok(()),
    }
}
