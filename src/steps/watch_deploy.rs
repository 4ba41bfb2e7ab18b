//! Step `watch_deploy`: follows the deploy of the first build to its end.

use secrecy::ExposeSecret;

use super::{Halt, StepContext, Undone, installation, known};
use crate::{
    diagnosis::{self, LiveState},
    link::{
        facts::{Deploy, Fact},
        failure::{Failure, FailureCode},
    },
    netlify::deploys::{self, Ending, Verdict},
    redact,
};

/// Lines of the log's end that a diagnosis reads.
const LOG_LINES: usize = 200;

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
            failure: diagnose(cx, &deploy).await?,
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

/// Rests on the log and on how things really are now, not on the error text alone.
async fn diagnose(cx: &StepContext<'_>, deploy: &Deploy) -> Result<Failure, Halt> {
    let log = deploys::log_tail(cx.netlify, &deploy.id, LOG_LINES).await?;
    let log: Vec<_> = log.iter().map(|line| without_values(cx, line)).collect();
    let live = LiveState {
        key_installed: key_installed(cx).await?,
        branch_exists: None,
    };
    let failure = diagnosis::diagnose_build(deploy, &log, &live);
    let is_about_access = matches!(
        failure.code,
        FailureCode::CloneDenied | FailureCode::HostKeyFailed
    );
    match cx.spec.access.installation_id() {
        Some(_) if is_about_access => Ok(Failure {
            evidence: failure.evidence,
            ..installation::not_delivering(cx, "Netlify could not clone by the installation.")
        }),
        _ => Ok(failure),
    }
}

/// Builds print what they please.
fn without_values(cx: &StepContext<'_>, line: &str) -> String {
    let values = cx.environment.values();
    values.fold(line.to_owned(), |line, variable| {
        redact::without(&line, variable.value.expose_secret())
    })
}

/// `None`: it cannot be seen, or the link needs none.
async fn key_installed(cx: &StepContext<'_>) -> Result<Option<bool>, Halt> {
    if cx.spec.access.installation_id().is_some() {
        return Ok(None);
    }
    let key = cx.deploy_key()?;
    if key.standing || !cx.provider.capabilities().finds_keys {
        return Ok(None);
    }
    let found = cx.provider.find_key(cx.repository()?, &key.public_key);
    Ok(Some(found.await?.is_some_and(|found| found.enabled)))
}
