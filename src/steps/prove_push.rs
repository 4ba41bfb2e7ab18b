//! Step `prove_push`: a build started from a push, the replayed one or, where providers replay none, the next one of
//! people.
//!
//! That it started is the proof. When it builds the commit that the first build has deployed, it is
//! a double and is canceled as soon as it is seen.

use super::{Halt, StepContext, Undone, ask, diagnose, installation, known};
use crate::{
    link::{
        action::{Deed, GoesOn},
        facts::{Deploy, Fact, Proof},
        failure::FailureCode,
    },
    netlify::{
        builds,
        deploys::{self, Verdict},
    },
    providers::Place,
};

/// Whether people have pushed meanwhile. A replayed push is looked for by `ensure`: canceling a double is harmless when
/// repeated.
pub async fn observe(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    if cx.way().replays_pushes() {
        return Ok(None);
    }
    let proof = pushed(cx).await?;
    if proof.is_none() {
        installation::check_delivery(cx).await?;
    }
    Ok(proof.map(Fact::Proof))
}

/// Done when a new build is there.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    if cx.way().replays_pushes() {
        return see_replayed(cx).await;
    }
    match pushed(cx).await? {
        Some(proof) => Ok(Fact::Proof(proof)),
        None => Err(await_push(cx).await?),
    }
}

/// Asks for a push, and remembers from where on.
async fn await_push(cx: &StepContext<'_>) -> Result<Halt, Halt> {
    let repository = cx.repository()?;
    let mut proof = cx.facts.proof.clone().unwrap_or_default();
    if proof.head.is_none() && cx.spec.access.installation_id().is_some() {
        proof.head = cx.provider.branch_head(repository).await?;
    }
    let deed = Deed::PushCommit {
        branch: repository.branch.clone(),
    };
    Ok(ask(
        Fact::Proof(proof),
        FailureCode::PushAwaited,
        deed,
        Place::default(),
        GoesOn::BySeeing,
    ))
}

/// The proof that people gave by pushing: a build that a push started, of another commit than the first build's.
pub async fn pushed(cx: &StepContext<'_>) -> Result<Option<Proof>, Halt> {
    let proof = cx.facts.proof.clone().unwrap_or_default();
    let builds = builds::list_for_site(cx.netlify, &cx.site()?.id).await?;
    let is_new = |build: &builds::Build| {
        let other_commit = build.sha.is_some() && build.sha.as_deref() != deployed_commit(cx);
        let is_ours = cx
            .facts
            .build
            .as_ref()
            .is_some_and(|ours| ours.id == build.id);
        other_commit
            && !is_ours
            && proof
                .since
                .is_none_or(|since| build.made_at() >= Some(since))
    };
    for build in builds.iter().filter(|build| is_new(build)) {
        let Some(named) = build.fact() else { continue };
        let deploy = deploys::get(cx.netlify, &named.deploy_id).await?;
        if deploy.source.as_deref() == Some("git") {
            return Ok(Some(Proof {
                level: level(&deploy),
                build: Some(named),
                deploy: Some(deploy),
                ..proof
            }));
        }
    }
    Ok(None)
}

fn deployed_commit<'a>(cx: &'a StepContext<'_>) -> Option<&'a str> {
    cx.facts.deploy.as_ref()?.commit_ref.as_deref()
}

/// What a build that a push started proves.
fn level(deploy: &Deploy) -> u8 {
    match deploys::verdict(deploy) {
        Verdict::Ready => 3,
        _ => 2,
    }
}

/// Without a build in time, says how the delivery ended.
async fn see_replayed(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let proof = known(cx.facts.proof.as_ref(), "replayed push")?;
    let started = builds::list_for_site(cx.netlify, &cx.site()?.id).await?;
    let new: Vec<_> = started
        .iter()
        .filter(|build| !proof.known_builds.contains(&build.id))
        .collect();
    if !new.is_empty() {
        if proof.since.is_some() {
            diagnose::check_webhook(cx).await?;
        }
        return proven(cx, proof, &new).await;
    }
    if cx.elapsed < cx.pace.proof {
        let note = "waits for the replayed push to start a build";
        return Err(Halt::wait(cx.pace.watch_min, note));
    }
    let patience = cx.pace.proof.as_secs();
    let detail = format!("no build started within {patience} s of the replayed push");
    Err(diagnose::unbuilt_push(cx, &detail).await?.into())
}

/// A look leaves nothing behind.
pub async fn undo(_: &StepContext<'_>) -> Result<Undone, Halt> {
    Ok(Vec::new())
}

async fn proven(cx: &StepContext<'_>, proof: &Proof, new: &[&builds::Build]) -> Result<Fact, Halt> {
    let deployed = deployed_commit(cx);
    let mut seen = None;
    for (build, named) in new.iter().filter_map(|build| Some((build, build.fact()?))) {
        let deploy = match build.sha.is_some() && build.sha.as_deref() == deployed {
            true => deploys::cancel(cx.netlify, &named.deploy_id).await?,
            // Somebody has pushed in the meantime, and wants to see that built.
            false => deploys::get(cx.netlify, &named.deploy_id).await?,
        };
        seen = Some((named, deploy));
    }
    let (build, deploy) =
        seen.ok_or_else(|| Halt::wait(cx.pace.watch_min, "waits for Netlify to name the deploy"))?;
    Ok(Fact::Proof(Proof {
        level: level(&deploy),
        build: Some(build),
        deploy: Some(deploy),
        ..proof.clone()
    }))
}
