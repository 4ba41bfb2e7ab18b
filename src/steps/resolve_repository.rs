//! Step `resolve_repository`: reads the repository with everything that would make the link fail.

use super::{Halt, StepContext, Undone};
use crate::link::facts::Fact;

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
    Ok(Fact::Repository(repository))
}

/// A look leaves nothing behind.
pub async fn undo(_: &StepContext<'_>) -> Result<Undone, Halt> {
    Ok(Vec::new())
}
