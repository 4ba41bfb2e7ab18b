//! The proof of a link whose provider replays no push: somebody's next push starts a build.
//!
//! GitHub keeps the deliveries to Netlify's app to Netlify, and nobody else can have it send one again. So the link waits for a
//! push; when the branch has moved on and no build came of it, the installation does not deliver.

use std::time::Duration;

use super::{Halt, StepContext, installation, known};
use crate::{
    link::{
        facts::{AwaitedPush, Deploy, Fact, Proof},
        failure::{Failure, FailureCode},
    },
    netlify::{
        builds,
        deploys::{self, Verdict},
    },
};

/// What started a build that proves something, in Netlify's words.
const BY_PUSH: &str = "git";
/// Longest pause between two looks: people take their time.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Done when a push has started a build.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let proof = known(cx.facts.proof.as_ref(), "builds so far")?;
    if let Some(proven) = built(cx, proof).await? {
        return Ok(proven);
    }
    let Some(awaited) = &proof.awaited else {
        return Err(look_for_push(cx, proof).await?);
    };
    let since = cx
        .elapsed
        .saturating_sub(Duration::from_millis(awaited.seen_after_ms));
    if since < cx.pace.proof {
        return Err(Halt::wait(
            cx.pace.watch_min,
            "waits for the push to start a build",
        ));
    }
    let detail = format!(
        "no build started within {} s of a push",
        cx.pace.proof.as_secs()
    );
    let failure = installation::not_delivering(cx, detail);
    Err(failure
        .with_evidence("provider.branch.commit", &awaited.commit)
        .into())
}

/// A build that a person or another program asked for proves nothing.
async fn built(cx: &StepContext<'_>, proof: &Proof) -> Result<Option<Fact>, Halt> {
    let started = builds::list_for_site(cx.netlify, &cx.site()?.id).await?;
    let new = started
        .iter()
        .filter(|build| !proof.known_builds.contains(&build.id));
    for build in new.filter_map(builds::Build::fact) {
        let deploy = deploys::get(cx.netlify, &build.deploy_id).await?;
        if deploy.source.as_deref() == Some(BY_PUSH) {
            return Ok(Some(proven(proof, build, deploy)));
        }
    }
    Ok(None)
}

fn proven(proof: &Proof, build: crate::link::facts::Build, deploy: Deploy) -> Fact {
    let level = match deploys::verdict(&deploy) {
        Verdict::Ready => 3,
        _ => 2,
    };
    Fact::Proof(Proof {
        build: Some(build),
        deploy: Some(deploy),
        level,
        ..proof.clone()
    })
}

/// Whether the branch has another commit than the one that is deployed.
async fn look_for_push(cx: &StepContext<'_>, proof: &Proof) -> Result<Halt, Halt> {
    let head = cx.provider.branch_head(cx.repository()?).await?;
    let deployed = cx
        .facts
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.commit_ref.as_ref());
    if let Some(commit) = head.filter(|head| deployed.is_some_and(|deployed| deployed != head)) {
        let seen_after_ms = u64::try_from(cx.elapsed.as_millis()).unwrap_or(u64::MAX);
        let awaited = Some(AwaitedPush {
            commit,
            seen_after_ms,
        });
        return Ok(Halt::Wait {
            after: cx.pace.watch_min,
            note: "waits for the push to start a build".to_owned(),
            fact: Some(Box::new(Fact::Proof(Proof {
                awaited,
                ..proof.clone()
            }))),
        });
    }
    if cx.elapsed >= cx.pace.next_push {
        let detail = format!("nobody has pushed for {} s", cx.pace.next_push.as_secs());
        return Err(Failure::new(FailureCode::PushUnverified, detail).into());
    }
    let pause = (cx.elapsed / 10).clamp(cx.pace.watch_min, LONGEST_PAUSE);
    Ok(Halt::wait(
        pause,
        "waits for the next push, which proves that pushes build",
    ))
}
