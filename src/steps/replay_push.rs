//! Step `replay_push`: the provider sends its last push once more, so that the build it starts proves the link.

use super::{Halt, StepContext, Undone, known};
use crate::{
    link::facts::{Fact, Proof},
    netlify::builds,
};

/// A replay leaves no trace of its own; a doubled one costs a build that `prove_push` cancels.
pub async fn observe(_: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    Ok(None)
}

/// Notes the newest build and asks for the replay.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let known_builds = builds::list_for_site(cx.netlify, &cx.site()?.id).await?;
    let webhook = known(cx.facts.webhook.as_ref(), "webhook")?;
    cx.provider.replay_push(cx.repository()?, webhook).await?;
    let proof = Proof {
        known_builds: known_builds.into_iter().map(|build| build.id).collect(),
        ..Proof::default()
    };
    Ok(Fact::Proof(proof))
}

/// What was sent cannot be taken back.
pub async fn undo(_: &StepContext<'_>) -> Result<Undone, Halt> {
    Ok(Vec::new())
}
