//! Step `resolve_repository`: reads the repository with everything that would make the link fail.

use time::OffsetDateTime;

use super::{Halt, StepContext, Undone, create_site, install_webhook, installation};
use crate::{
    link::{
        drift::{Drift, DriftKind},
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

/// Whether the repository is still the one that the link knows, by the path that it had last.
pub async fn drift(cx: &StepContext<'_>) -> Result<Vec<Drift>, Halt> {
    let known = cx.repository()?;
    let found = match find_again(cx, known).await {
        Ok(found) => found,
        Err(error) => return in_the_way(error),
    };
    if found.id != known.id {
        let drift = Drift::new(
            DriftKind::RepositoryReplaced,
            Some(known.id.clone()),
            Some(found.id),
        );
        return Ok(vec![drift]);
    }
    let privacy = |private| Some(if private { "private" } else { "public" }.to_owned());
    let fields = [
        (
            DriftKind::RepositoryRenamed,
            Some(known.path.clone()),
            Some(found.path),
        ),
        (
            DriftKind::VisibilityChanged,
            privacy(known.private),
            privacy(found.private),
        ),
    ];
    let differing = fields
        .into_iter()
        .filter(|(_, known, found)| known != found);
    Ok(differing
        .map(|(kind, known, found)| Drift::new(kind, known, found))
        .collect())
}

async fn find_again(cx: &StepContext<'_>, known: &Repository) -> Result<Repository, UpstreamError> {
    let branch = Some(known.branch.as_str());
    match (
        cx.provider.resolve(&known.path, branch).await,
        lasting_path(cx),
    ) {
        (Err(error), Some(path)) if error.is_missing() => cx.provider.resolve(&path, branch).await,
        (found, _) => found,
    }
}

/// What keeps the repository from being read is drift, when it is not passing trouble.
fn in_the_way(error: UpstreamError) -> Result<Vec<Drift>, Halt> {
    let kind = match error.code {
        FailureCode::RepositoryNotFoundOrNoAccess | FailureCode::ProviderRefused => {
            DriftKind::RepositoryUnreachable
        }
        FailureCode::RepositoryArchived => DriftKind::RepositoryArchived,
        FailureCode::BranchMissing | FailureCode::RepositoryEmpty => DriftKind::BranchMissing,
        FailureCode::AdminRequired
        | FailureCode::ScopeMissing
        | FailureCode::SsoRequired
        | FailureCode::AppNotInstalled
        | FailureCode::AppSuspended => DriftKind::RightsLost,
        _ => return Err(error.into()),
    };
    Ok(vec![Drift::new(kind, None, Some(error.detail))])
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
