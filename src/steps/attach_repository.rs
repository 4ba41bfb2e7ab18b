//! Step `attach_repository`: the site learns its repository, and Netlify starts the first build.

mod settings;

use super::{Halt, StepContext, Undone};
use crate::{
    link::{
        drift::{
            Drift,
            DriftKind::{
                BranchChanged, BuildsStopped, CloneKeyChanged, CloneKeyMissing, SiteDisabled,
                SiteGone, SiteRelinked, SiteUnlinked,
            },
        },
        facts::{Fact, SiteBefore},
        failure::{Failure, FailureCode},
        resource::{ResourceKind, Right},
    },
    netlify::sites::{self, Attach, Change, Site},
};
use settings::Settings;

/// The site knows our repository and key already, and the settings that have to be ours. A second attaching would build
/// again.
pub async fn observe(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    if cx.facts.attachment.is_none() && cx.is_of_another(&cx.site()?.id) {
        return Ok(None);
    }
    let site = sites::get(cx.netlify, &cx.site()?.id).await?;
    let amiss = amiss(cx, &site)?;
    Ok(amiss
        .is_empty()
        .then(|| Fact::Attachment(site.attachment())))
}

/// Where the site is other than it was made.
pub async fn drift(cx: &StepContext<'_>) -> Result<Vec<Drift>, Halt> {
    let id = &cx.site()?.id;
    match sites::get(cx.netlify, id).await {
        Ok(site) => differences(cx, &site),
        Err(error) if error.code == FailureCode::SiteGone => {
            Ok(vec![Drift::new(SiteGone, Some(id.clone()), None)])
        }
        Err(error) => Err(error.into()),
    }
}

/// What the step has to bring about. Settings people may have changed on purpose: they count while the site is attached first,
/// later only when somebody asked to have them put back.
fn amiss(cx: &StepContext<'_>, site: &Site) -> Result<Vec<Drift>, Halt> {
    let is_first = cx.facts.attachment.is_none();
    let counts = |drift: &Drift| match drift.kind {
        SiteUnlinked | SiteRelinked | CloneKeyMissing | CloneKeyChanged => true,
        BranchChanged if is_first => true,
        kind => cx.facts.healing.contains(&kind),
    };
    let mut drift = differences(cx, site)?;
    drift.retain(counts);
    Ok(drift)
}

fn differences(cx: &StepContext<'_>, site: &Site) -> Result<Vec<Drift>, Halt> {
    let ours = sites::repository_path(cx.provider_kind, cx.repository()?).to_owned();
    let Some(path) = site.repository_path() else {
        return Ok(vec![Drift::new(SiteUnlinked, Some(ours), None)]);
    };
    if !is_ours(cx, path)? {
        let other = Some(path.to_owned());
        return Ok(vec![Drift::new(SiteRelinked, Some(ours), other)]);
    }
    let mut drift = key_differs(cx, site)?;
    let is_on = |on| Some(if on { "on" } else { "off" }.to_owned());
    if site.builds_are_stopped() {
        drift.push(Drift::new(BuildsStopped, is_on(true), is_on(false)));
    }
    if site.disabled == Some(true) {
        drift.push(Drift::new(SiteDisabled, is_on(true), is_on(false)));
    }
    drift.extend(Settings::asked(cx)?.differ(&Settings::of(site), cx.spec));
    Ok(drift)
}

fn key_differs(cx: &StepContext<'_>, site: &Site) -> Result<Vec<Drift>, Halt> {
    let key = cx.clone_key()?;
    if key.is_kept(site) {
        return Ok(Vec::new());
    }
    let kind = match site.is_deaf() {
        true => CloneKeyMissing,
        false => CloneKeyChanged,
    };
    let installed = site.installation_id().map(|id| id.to_string());
    let found = site.deploy_key_id().map(str::to_owned).or(installed);
    Ok(vec![Drift::new(kind, Some(key.to_string()), found)])
}

/// Attaches it, or mends what is left of an attachment. Netlify's answer is read back: a site that kept no key is deaf.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    // The gate is opened once.
    let is_first = cx.facts.build.is_none() && cx.facts.ended_builds.is_empty();
    let settings = match cx.facts.attachment {
        None => {
            free_of_other_links(cx)?;
            free_from_other(cx).await?;
            Settings::asked(cx)?
        }
        Some(_) => {
            let site = sites::get(cx.netlify, &cx.site()?.id).await?;
            // With nothing amiss it is attached once more: for an app that was let in later.
            if !amiss(cx, &site)?.is_empty()
                && let Some(mended) = mend(cx, &site).await?
            {
                return Ok(Fact::Attachment(mended.attachment()));
            }
            match cx.facts.healing.contains(&SiteRelinked) {
                true => {
                    detach(cx, &site.id).await?;
                    Settings::asked(cx)?
                }
                false => Settings::left(cx, &site)?,
            }
        }
    };
    let attach = Attach {
        provider: cx.provider_kind,
        repository: &settings.of_repository(cx.repository()?),
        key: cx.clone_key()?,
        build: settings.build,
        allowed_branches: &settings.allowed_branches,
        stop_builds: is_first && cx.way().is_gated(),
    };
    let site = sites::attach(cx.netlify, &cx.site()?.id, &attach).await?;
    Ok(Fact::Attachment(site.attachment()))
}

/// A site that the repository is still attached to gets key and settings back, which starts no build; attaching would.
/// Nothing when that was not enough.
async fn mend(cx: &StepContext<'_>, site: &Site) -> Result<Option<Site>, Halt> {
    match site.repository_path() {
        Some(path) if is_ours(cx, path)? => {}
        _ => return Ok(None),
    }
    let settings = Settings::left(cx, site)?;
    let change = Change {
        key: cx.clone_key()?,
        branch: &settings.branch,
        build: &settings.build,
        allowed_branches: &settings.allowed_branches,
        resumes_builds: cx.facts.healing.contains(&BuildsStopped),
    };
    let changed = sites::change(cx.netlify, &site.id, &change).await?;
    Ok(amiss(cx, &changed)?.is_empty().then_some(changed))
}

/// Two links may have taken the same site at the same moment: by now each has noted that it leans on it, one after the other
/// (`store::resources::record`).
fn free_of_other_links(cx: &StepContext<'_>) -> Result<(), Halt> {
    match cx.is_of_another(&cx.site()?.id) {
        true => {
            let detail =
                "another link has taken the site at the same time; nothing was asked of it";
            Err(Halt::stop(FailureCode::SiteInUse, detail))
        }
        false => Ok(()),
    }
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
        Some(path) if !is_ours(cx, path)? => detach(cx, &site.id).await,
        _ => Ok(()),
    }
}

/// Takes a site from its repository that was there a moment ago: attached over it, it would keep the other one's key.
async fn detach(cx: &StepContext<'_>, site: &str) -> Result<(), Halt> {
    match sites::unlink_repo(cx.netlify, site).await? {
        true => Ok(()),
        false => {
            let detail = "Netlify does not find the site that it has just shown";
            Err(Failure::new(FailureCode::SiteGone, detail).into())
        }
    }
}

fn is_ours(cx: &StepContext<'_>, path: &str) -> Result<bool, Halt> {
    let ours = sites::repository_path(cx.provider_kind, cx.repository()?);
    Ok(path.eq_ignore_ascii_case(ours))
}

/// Detaches a site that stays; one that goes takes its attachment with it. Netlify deletes the
/// site's keys when it detaches, which is what `reserve_deploy_key` would do next; a standing key has to stay, so that
/// a site with one keeps its repository and is kept from building. A site that was there gets back what was attached to
/// it, unless its key is gone. What others have attached meanwhile is theirs, and stays.
pub async fn undo(cx: &StepContext<'_>) -> Result<Undone, Halt> {
    let Some(site) = cx.facts.site.as_ref().filter(|site| cx.stays(site)) else {
        return Ok(Vec::new());
    };
    let now = match sites::get(cx.netlify, &site.id).await {
        Err(error) if error.is_missing() => return Ok(Vec::new()),
        found => found?,
    };
    // Also when the attaching has failed halfway: the site is deaf then, or was only taken from the repository before.
    let is_to_be_mended = match now.repository_path() {
        // Whatever the repository is called by now.
        Some(_) if clones_by_our_key(cx, &now) && !key_is_shared(cx) => true,
        Some(_) if cx.right(ResourceKind::Site, &site.id) == Some(Right::Shared) => false,
        Some(path) => {
            let is_deaf_by_us = now.is_deaf() && !was_deaf(cx);
            is_ours(cx, path)? && (is_deaf_by_us || clones_by_our_key(cx, &now))
        }
        None => cx.facts.attachment.is_none(),
    };
    if !is_to_be_mended {
        return Ok(Vec::new());
    }
    match &cx.facts.site_before {
        // This starts a build, so it is done once: then the site no longer clones by our key.
        Some(before) if can_be_put_back(cx, before)? => {
            sites::put_back(cx.netlify, &site.id, before).await?;
        }
        _ if now.repository_path().is_none() => {}
        _ if cx.facts.deploy_key.as_ref().is_some_and(|key| key.standing) => {
            sites::stop_builds(cx.netlify, &site.id).await?;
        }
        _ => {
            sites::unlink_repo(cx.netlify, &site.id).await?;
        }
    }
    Ok(Vec::new())
}

/// Whether other links may have the same key: an installation, or the operator's.
fn key_is_shared(cx: &StepContext<'_>) -> bool {
    cx.facts.deploy_key.as_ref().is_none_or(|key| key.standing)
}

fn was_deaf(cx: &StepContext<'_>) -> bool {
    let before = cx.facts.site_before.as_ref();
    let repository = before.and_then(|before| before.repository.as_ref());
    repository.is_some_and(|it| it.deploy_key_id.is_none() && it.installation_id.is_none())
}

/// By the link's key or, while it is exchanged, by the one before.
fn clones_by_our_key(cx: &StepContext<'_>, site: &Site) -> bool {
    let former = cx.facts.rotation.as_ref().and_then(|it| it.key.as_ref());
    let is_former = former.is_some_and(|key| site.deploy_key_id() == Some(key.id.as_str()));
    is_former || cx.clone_key().is_ok_and(|key| key.is_kept(site))
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
