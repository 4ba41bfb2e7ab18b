//! Step `attach_repository`: the site learns its repository, and Netlify starts the first build.

use super::{Halt, StepContext, Undone};
use crate::{
    link::facts::{Attachment, Fact},
    link::request::AccessMode,
    link::resource::{ResourceKind, Right},
    netlify::sites::{self, Attach, CloneKey, Site},
};

/// The site knows our repository, branch and key already. A second attaching would build again.
pub async fn observe(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    let site = sites::get(cx.netlify, &cx.site()?.id).await?;
    Ok(is_attached(cx, &site)?.then(|| Fact::Attachment(site.attachment())))
}

fn is_attached(cx: &StepContext<'_>, site: &Site) -> Result<bool, Halt> {
    let repository = cx.repository()?;
    let has_path = site
        .repository_path()
        .is_some_and(|path| path.eq_ignore_ascii_case(&repository.path));
    Ok(has_path && clone_key(cx)?.is_kept(site) && site.branch() == Some(&repository.branch))
}

fn clone_key<'a>(cx: &'a StepContext<'_>) -> Result<CloneKey<'a>, Halt> {
    Ok(match cx.spec.access {
        AccessMode::DeployKey => CloneKey::DeployKey(&cx.deploy_key()?.id),
        AccessMode::InstallationId(id) => CloneKey::Installation(id),
    })
}

/// Attaches it. Netlify's answer is read back: a site that kept no key is deaf.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let build = &cx.spec.build;
    let repository = cx.repository()?;
    let allowed = allowed_branches(cx.spec.allowed_branches.as_deref(), &repository.branch);
    let attach = Attach {
        provider: cx.provider_kind,
        repository,
        key: clone_key(cx)?,
        command: build.command.as_deref().unwrap_or_default(),
        publish: build.publish.as_deref().unwrap_or_default(),
        base: build.base.as_deref().unwrap_or_default(),
        functions: build.functions.as_deref().unwrap_or_default(),
        allowed_branches: &allowed,
        stop_builds: false,
    };
    let site = sites::attach(cx.netlify, &cx.site()?.id, &attach).await?;
    Ok(Fact::Attachment(site.attachment()))
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
/// site's keys when it detaches, which is what `reserve_deploy_key` would do next.
pub async fn undo(cx: &StepContext<'_>) -> Result<Undone, Halt> {
    let Some(site) = &cx.facts.site else {
        return Ok(Vec::new());
    };
    let stays = cx.keep_site || cx.right(ResourceKind::Site, &site.id) != Right::Ours;
    let was_attached = matches!(cx.facts.attachment, Some(Attachment { .. }));
    if stays && was_attached {
        sites::unlink_repo(cx.netlify, &site.id).await?;
    }
    Ok(Vec::new())
}
