//! Step `watch_deploy`: follows the deploy of the first build to its end.

use super::{Halt, StepContext, Undone, diagnose, known};
use crate::{
    link::facts::{Deploy, Fact},
    netlify::deploys::{self, Ending, Verdict},
};

/// Looking is all that this step does.
pub async fn observe(_: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    Ok(None)
}

/// Done when the deploy is live; a failed one is diagnosed; else looks again later.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let build = known(cx.facts.build.as_ref(), "build")?;
    if let Some(seen) = &cx.facts.deploy
        && cx.elapsed < cx.pace.watch_min
        && deploys::verdict(seen) == Verdict::Running
    {
        // `find_build` saw it a moment ago.
        return Err(Halt::wait(cx.pace.watch_min, note(seen)));
    }
    let deploy = deploys::get(cx.netlify, &build.deploy_id).await?;
    match deploys::verdict(&deploy) {
        Verdict::Ready | Verdict::Failed(Ending::Unchanged) => Ok(Fact::Deploy(deploy)),
        Verdict::Failed(_) => Err(Halt::Stop {
            failure: diagnose::failed_build(cx, &deploy).await?,
            fact: Some(Box::new(Fact::Deploy(deploy))),
        }),
        Verdict::Running | Verdict::InReview => Err(Halt::Wait {
            after: cx.pace.pause(cx.elapsed),
            note: note(&deploy),
            fact: Some(Box::new(Fact::Deploy(deploy))),
        }),
    }
}

/// A look leaves nothing behind.
pub async fn undo(_: &StepContext<'_>) -> Result<Undone, Halt> {
    Ok(Vec::new())
}

fn note(deploy: &Deploy) -> String {
    format!("the deploy is `{}`", deploy.state)
}
