//! Step `resolve_repository`: reads the repository with everything that would make the link fail.

use super::{Halt, StepContext, Undone, installation};
use crate::link::{facts::Fact, failure::FailureCode};

/// What is true of the repository can only be read anew.
pub async fn observe(_: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    Ok(None)
}

/// Existence, id, privacy, branch and rights, before anything is touched.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let repository = cx
        .provider
        .resolve(&cx.spec.path, cx.spec.branch.as_deref())
        .await?;
    installation::check(cx, &repository).await?;
    match &cx.facts.repository {
        // A name that changed hands must not take our key with it.
        Some(known) if known.id != repository.id => Err(Halt::stop(
            FailureCode::RepositoryReplaced,
            format!(
                "the link is for repository {}; {} is {} now",
                known.id, repository.path, repository.id
            ),
        )),
        _ => Ok(Fact::Repository(repository)),
    }
}

/// A look leaves nothing behind.
pub async fn undo(_: &StepContext<'_>) -> Result<Undone, Halt> {
    Ok(Vec::new())
}
