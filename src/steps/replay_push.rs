//! Step `replay_push`: the provider sends its last push once more, so that the build it starts proves the link.

use super::{Halt, StepContext, Undone, diagnose, known};
use crate::{
    link::{
        facts::{Fact, Origin, Proof},
        failure::{Failure, FailureCode},
    },
    netlify::builds::{self, Build},
    upstream::UpstreamError,
};

/// A build that began after the interrupted try shows that the replay went out. Without one it is
/// sent again; should the first one still arrive, `prove_push` cancels both builds.
pub async fn observe(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    let first = known(cx.facts.build.as_ref(), "build")?;
    let builds = builds::list_for_site(cx.netlify, &cx.site()?.id).await?;
    let is_new = |build: &Build| build.id != first.id && cx.origin(build.made_at()) == Origin::Made;
    let (new, known_builds): (Vec<_>, Vec<_>) = builds.into_iter().partition(is_new);
    Ok((!new.is_empty()).then(|| proof(cx, known_builds)))
}

/// Notes the newest build and asks for the replay.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let known_builds = builds::list_for_site(cx.netlify, &cx.site()?.id).await?;
    let webhook = known(cx.facts.webhook.as_ref(), "webhook")?;
    match cx.provider.replay_push(cx.repository()?, webhook).await {
        Ok(()) => Ok(proof(cx, known_builds)),
        Err(error) if error.is_missing() || error.code == FailureCode::WebhookNotDelivered => {
            Err(unsent(cx, error).await?.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The webhook is not what it was: what is wrong with it can be read.
async fn unsent(cx: &StepContext<'_>, error: UpstreamError) -> Result<Failure, Halt> {
    let failure = diagnose::unbuilt_push(cx, &error.detail).await?;
    Ok(match failure.code {
        FailureCode::PushUnverified => error.into(),
        _ => failure,
    })
}

fn proof(cx: &StepContext<'_>, known_builds: Vec<Build>) -> Fact {
    Fact::Proof(Proof {
        known_builds: known_builds.into_iter().map(|build| build.id).collect(),
        since: cx.facts.proof.as_ref().and_then(|proof| proof.since),
        ..Proof::default()
    })
}

/// What was sent cannot be taken back.
pub async fn undo(_: &StepContext<'_>) -> Result<Undone, Halt> {
    Ok(Vec::new())
}
