//! Step `open_gate`: the attached site may build, now that everything is in place.

use super::{Halt, StepContext, Undone};
use crate::{link::facts::Fact, netlify::sites};

/// Nothing keeps the site from building.
pub async fn observe(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    let site = sites::get(cx.netlify, &cx.site()?.id).await?;
    Ok((!site.builds_are_stopped()).then_some(Fact::Nothing))
}

/// Lets it build: the next push starts the first build.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    sites::let_build(cx.netlify, &cx.site()?.id).await?;
    Ok(Fact::Nothing)
}

/// `attach_repository` detaches the site.
pub async fn undo(_: &StepContext<'_>) -> Result<Undone, Halt> {
    Ok(Vec::new())
}
