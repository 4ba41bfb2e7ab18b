//! Step `resolve_repository`: reads the repository with everything that would make the link fail.

use time::OffsetDateTime;

use super::{Halt, StepContext, Undone, create_site, install_webhook, installation};
use crate::{
    link::{
        facts::{Fact, Repository},
        failure::FailureCode,
    },
    netlify::sites::{self, Site},
    providers::Look,
    upstream::UpstreamError,
};

/// What is true of the repository can only be read anew.
pub async fn observe(_: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    Ok(None)
}

/// Existence, id, privacy, branch and rights, and whether a site that is there is free, before anything is touched.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let path = &cx.spec.path;
    let looked_at = OffsetDateTime::now_utc();
    let (found, site) = tokio::join!(find(cx, path), site_that_is_there(cx));
    let (mut repository, look) = match (found, lasting_path(cx)) {
        (Err(error), Some(path)) if error.is_missing() => find(cx, &path).await?,
        (found, _) => found?,
    };
    if let Some(site) = site? {
        create_site::free_for(cx.spec, cx.provider_kind, &repository, &site)?;
    }
    installation::check(cx, &repository).await?;
    let no_webhook_at = (look == Look::Missing).then_some(looked_at);
    if let Some(ssh_url) = &cx.spec.ssh_url {
        repository.ssh_url.clone_from(ssh_url);
    }
    match &cx.facts.repository {
        // A name that changed hands must not take our key with it.
        Some(known) if known.id != repository.id => Err(Halt::stop(
            FailureCode::RepositoryReplaced,
            format!(
                "the link is for repository {}; {} is {} now",
                known.id, repository.path, repository.id
            ),
        )),
        _ => Ok(Fact::Repository(repository, no_webhook_at)),
    }
}

/// A site that may not be taken is refused before key and webhook are placed for it.
async fn site_that_is_there(cx: &StepContext<'_>) -> Result<Option<Site>, Halt> {
    match &cx.spec.site.id {
        Some(id) => Ok(Some(sites::get(cx.netlify, id).await?)),
        None => Ok(None),
    }
}

/// A webhook that the link has already is not looked for.
async fn find(cx: &StepContext<'_>, path: &str) -> Result<(Repository, Look), UpstreamError> {
    let branch = cx.spec.branch.as_deref();
    if cx.facts.webhook.is_some() {
        let repository = cx.provider.resolve(path, branch).await?;
        return Ok((repository, Look::Unknown));
    }
    let url = install_webhook::usual_address(cx);
    cx.provider.resolve_and_look(path, branch, &url).await
}

/// Where a repository that was found before is found after a rename.
fn lasting_path(cx: &StepContext<'_>) -> Option<String> {
    let known = cx.facts.repository.as_ref()?;
    cx.provider.lasting_path(known)
}

/// A look leaves nothing behind.
pub async fn undo(_: &StepContext<'_>) -> Result<Undone, Halt> {
    Ok(Vec::new())
}
