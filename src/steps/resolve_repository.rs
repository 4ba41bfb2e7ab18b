//! Step `resolve_repository`: reads the repository with everything that would make the link fail.

use time::OffsetDateTime;

use super::{Halt, StepContext, Undone, install_webhook, installation};
use crate::{
    link::{facts::Fact, failure::FailureCode},
    providers::Look,
};

/// What is true of the repository can only be read anew.
pub async fn observe(_: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    Ok(None)
}

/// Existence, id, privacy, branch and rights, before anything is touched.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let (path, branch) = (&cx.spec.path, cx.spec.branch.as_deref());
    let looked_at = OffsetDateTime::now_utc();
    let url = install_webhook::usual_address(cx);
    let (mut repository, look) = cx.provider.resolve_and_look(path, branch, &url).await?;
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

/// A look leaves nothing behind.
pub async fn undo(_: &StepContext<'_>) -> Result<Undone, Halt> {
    Ok(Vec::new())
}
