//! Step `watch_deploy`: follows the deploy of the link's build to its end.
//!
//! Patrols look at all running builds of a team at once and wake the link when its build is over; the step reads the deploy
//! itself only when nobody has looked for long.

use std::time::Duration;

use super::{Halt, StepContext, Undone, diagnose, known};
use crate::{
    link::{
        builds::{SeenBuild, waiting_for},
        facts::{Build, Deploy, Fact},
        failure::{Failure, FailureCode},
    },
    netlify::deploys,
};

/// Pause between own looks, behind the patrols.
const SAFETY: Duration = Duration::from_secs(60);
/// Builds that begin so soon after the first one double it.
const DOUBLES_WITHIN: time::Duration = time::Duration::minutes(1);

/// Looking is all that this step does.
pub async fn observe(_: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    Ok(None)
}

/// Done when the deploy is live; a failed one is diagnosed; else waits until it is seen to be over.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let build = known(cx.facts.build.as_ref(), "build")?;
    let seen = cx.builds.iter().find(|seen| seen.build == *build);
    cancel_doubles(cx, build).await?;
    if let Some(over) = seen.filter(|seen| seen.outcome.is_over())
        && let Some(deploy) = over.deploy.clone()
    {
        return ended(cx, deploy).await;
    }
    let latest = seen.and_then(|seen| seen.deploy.clone());
    let latest = latest.or_else(|| cx.facts.deploy.clone());
    let is_over = |deploy: &Deploy| deploys::outcome(deploy).is_over();
    let look = || deploys::get(cx.netlify, &build.deploy_id);
    let others_look = cx.elapsed < SAFETY || (cx.patrolled && seen.is_some());
    let deploy = match latest {
        // Hearsay ends nothing: it may be as old as the nap before this look.
        Some(known) if is_over(&known) || waits_too_long(cx, &known) => Some(look().await?),
        known if others_look => known,
        _ => Some(look().await?),
    };
    match deploy {
        Some(deploy) if is_over(&deploy) => ended(cx, deploy).await,
        Some(deploy) if waits_too_long(cx, &deploy) => Err(give_up(cx, build).await?),
        deploy => Err(wait(cx, deploy, seen)),
    }
}

async fn ended(cx: &StepContext<'_>, deploy: Deploy) -> Result<Fact, Halt> {
    if deploys::outcome(&deploy).is_good() {
        return Ok(Fact::Deploy(deploy));
    }
    Err(Halt::Stop {
        failure: diagnose::failed_build(cx, &deploy).await?,
        fact: Some(Box::new(Fact::Deploy(deploy))),
    })
}

fn wait(cx: &StepContext<'_>, deploy: Option<Deploy>, seen: Option<&SeenBuild>) -> Halt {
    let patience = match deploy.as_ref().is_none_or(waits) {
        true => cx.pace.queue.saturating_sub(cx.elapsed),
        false => SAFETY,
    };
    let state = deploy.as_ref().map(|deploy| deploy.state.as_str());
    Halt::Wait {
        after: patience.clamp(cx.pace.watch_min, SAFETY),
        note: waiting_for(state, seen.and_then(|seen| seen.ahead)),
        fact: deploy.map(|deploy| Box::new(Fact::Deploy(deploy))),
    }
}

/// Netlify may start more than one build when a repository is attached: the one that the link follows is enough.
async fn cancel_doubles(cx: &StepContext<'_>, first: &Build) -> Result<(), Halt> {
    let proof = cx.facts.proof.as_ref();
    let is_proven = proof.is_some_and(|proof| proof.build.is_some());
    if !cx.facts.ended_builds.is_empty() || is_proven {
        return Ok(());
    }
    let followed = cx.builds.iter().find(|seen| seen.build == *first);
    for double in cx.builds.iter().filter(|seen| doubles(followed, seen)) {
        deploys::cancel(cx.netlify, &double.build.deploy_id).await?;
    }
    Ok(())
}

fn doubles(first: Option<&SeenBuild>, other: &SeenBuild) -> bool {
    let Some(first) = first else { return false };
    let (Some(began), Some(other_began)) = (first.created_at, other.created_at) else {
        return false;
    };
    // A build of people's has their commit and its title from the beginning, one that starts by itself has neither.
    let title = other.deploy.as_ref().and_then(|it| it.title.as_ref());
    let same_commit = other.commit().is_some() && other.commit() == first.commit();
    other.build != first.build
        && !other.outcome.is_over()
        && other.is_production()
        && (same_commit || title.is_none())
        && (other_began - began).abs() < DOUBLES_WITHIN
}

/// Whether a build has not begun to run.
fn waits(deploy: &Deploy) -> bool {
    matches!(deploy.state.as_str(), "new" | "enqueued")
}

fn waits_too_long(cx: &StepContext<'_>, deploy: &Deploy) -> bool {
    waits(deploy) && cx.elapsed >= cx.pace.queue
}

/// A build that does not get its turn is canceled, so that it does not come as a surprise later.
async fn give_up(cx: &StepContext<'_>, build: &Build) -> Result<Halt, Halt> {
    let deploy = deploys::cancel(cx.netlify, &build.deploy_id).await?;
    let seconds = cx.pace.queue.as_secs();
    let detail = format!("the build had not begun to run after {seconds} s and was canceled");
    Ok(Halt::Stop {
        failure: Failure::new(FailureCode::BuildStuck, detail),
        fact: Some(Box::new(Fact::Deploy(deploy))),
    })
}

/// A look leaves nothing behind.
pub async fn undo(_: &StepContext<'_>) -> Result<Undone, Halt> {
    Ok(Vec::new())
}
