//! Step `prove_push`: a build started from the replayed push.
//!
//! That it started is the proof. When it builds the commit that the first build has deployed, it is
//! a double and is canceled as soon as it is seen.

use super::{Halt, StepContext, Undone, await_push, known};
use crate::{
    link::{
        facts::{Fact, Proof},
        failure::{Failure, FailureCode},
    },
    netlify::{
        builds,
        deploys::{self, Verdict},
    },
    providers::{Delivery, DeliveryEvent},
};

/// Looking is all that this step does; canceling a double is harmless when repeated.
pub async fn observe(_: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    Ok(None)
}

/// Done when a new build is there; without one in time, says how the delivery ended.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    if cx.spec.access.installation_id().is_some() {
        return await_push::ensure(cx).await;
    }
    let proof = known(cx.facts.proof.as_ref(), "replayed push")?;
    let started = builds::list_for_site(cx.netlify, &cx.site()?.id).await?;
    let new: Vec<_> = started
        .iter()
        .filter(|build| !proof.known_builds.contains(&build.id))
        .collect();
    if !new.is_empty() {
        return proven(cx, proof, &new).await;
    }
    if cx.elapsed < cx.pace.proof {
        let note = "waits for the replayed push to start a build";
        return Err(Halt::wait(cx.pace.watch_min, note));
    }
    Err(unproven(cx).await?.into())
}

/// A look leaves nothing behind.
pub async fn undo(_: &StepContext<'_>) -> Result<Undone, Halt> {
    Ok(Vec::new())
}

async fn proven(cx: &StepContext<'_>, proof: &Proof, new: &[&builds::Build]) -> Result<Fact, Halt> {
    let deployed = cx
        .facts
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.commit_ref.as_deref());
    let mut seen = None;
    for (build, named) in new.iter().filter_map(|build| Some((build, build.fact()?))) {
        let deploy = match build.sha.is_some() && build.sha.as_deref() == deployed {
            true => deploys::cancel(cx.netlify, &named.deploy_id).await?,
            // Somebody has pushed in the meantime, and wants to see that built.
            false => deploys::get(cx.netlify, &named.deploy_id).await?,
        };
        let level = if deploys::verdict(&deploy) == Verdict::Ready {
            3
        } else {
            2
        };
        seen = Some((named, deploy, level));
    }
    let (build, deploy, level) =
        seen.ok_or_else(|| Halt::wait(cx.pace.watch_min, "waits for Netlify to name the deploy"))?;
    Ok(Fact::Proof(Proof {
        build: Some(build),
        deploy: Some(deploy),
        level,
        ..proof.clone()
    }))
}

async fn unproven(cx: &StepContext<'_>) -> Result<Failure, Halt> {
    let webhook = known(cx.facts.webhook.as_ref(), "webhook")?;
    let delivery = match cx.provider.capabilities().reports_deliveries {
        true => {
            cx.provider
                .last_delivery(cx.repository()?, webhook, DeliveryEvent::Push)
                .await?
        }
        false => None,
    };
    let detail = format!(
        "no build started within {} s of the replayed push",
        cx.pace.proof.as_secs()
    );
    let failure = Failure::new(FailureCode::PushUnverified, detail);
    Ok(failure.with_evidence("provider.webhook.deliveries", said(delivery)))
}

fn said(delivery: Option<Delivery>) -> String {
    match delivery {
        None => "the provider reports no delivery of a push".to_owned(),
        Some(Delivery { status: None, .. }) => {
            "the push was sent, and Netlify did not answer".to_owned()
        }
        Some(Delivery {
            status: Some(status),
            ..
        }) => format!("the push was delivered, and Netlify answered {status}"),
    }
}
