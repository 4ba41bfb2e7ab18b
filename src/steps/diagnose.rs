//! Why a build failed or a push went unbuilt: collects the evidence, by reads alone, and has it judged.
//!
//! A failed build costs the read of its log, and where its words leave the cause open up to seven more; an unbuilt push
//! costs up to eleven. They go out at the same time. One that fails is told as such and spoils nothing.

use super::{Halt, StepContext, installation, live};
use crate::{
    diagnosis::{self, Question, UnbuiltPush},
    link::{
        facts::Deploy,
        failure::{Evidence, Failure, FailureCode},
    },
    netlify::deploys,
    redact,
    upstream::{Class, UpstreamError, UpstreamKind},
};
use secrecy::ExposeSecret;

/// Lines of the log's end that a diagnosis reads.
const LOG_LINES: usize = 200;

/// Why a deploy ended without a new version of the site.
///
/// # Errors
/// Waits for Netlify's rate limit: nothing is lost, and the log is what most verdicts rest on.
pub async fn failed_build(cx: &StepContext<'_>, deploy: &Deploy) -> Result<Failure, Halt> {
    let log = match deploys::log_tail(cx.netlify, &deploy.id, LOG_LINES).await {
        Err(error) if matches!(error.class, Class::RateLimited { .. }) => return Err(error.into()),
        log => log,
    };
    let lines: Vec<_> = log.iter().flatten().collect();
    let lines: Vec<_> = lines
        .into_iter()
        .map(|line| without_values(cx, line))
        .collect();
    let branch = deploy.branch.as_deref().unwrap_or(&cx.repository()?.branch);
    let suspicion = diagnosis::suspect(deploy, &lines);
    let state = live::look(cx, suspicion.questions(), branch).await;
    let failure = told(cx, suspicion.settle(&state));
    Ok(match log {
        Ok(_) => failure,
        Err(error) => unread_log(failure, &error),
    })
}

fn unread_log(failure: Failure, error: &UpstreamError) -> Failure {
    failure.with_evidence(
        "netlify.deploy.log",
        format!("could not be read: {}", error.detail),
    )
}

/// Builds print what they please.
fn without_values(cx: &StepContext<'_>, line: &str) -> String {
    let values = cx.environment.values();
    values.fold(line.to_owned(), |line, variable| {
        redact::without(&line, variable.value.expose_secret())
    })
}

/// Why a push started no build; `detail` says what was waited for.
pub async fn unbuilt_push(cx: &StepContext<'_>, detail: &str) -> Result<Failure, Halt> {
    let branch = &cx.repository()?.branch;
    let state = live::look(cx, diagnosis::QUESTIONS, branch).await;
    let push = UnbuiltPush {
        detail,
        is_known_by_name: matches!(
            cx.provider_kind,
            UpstreamKind::Bitbucket | UpstreamKind::AzureDevops
        ),
    };
    Ok(told(cx, diagnosis::of_push(push, &state)))
}

/// The test of a webhook may arrive where pushes do not: one that was made a while ago has to be right as well.
pub async fn check_webhook(cx: &StepContext<'_>) -> Result<(), Halt> {
    let branch = &cx.repository()?.branch;
    let state = live::look(cx, &[Question::Webhook], branch).await;
    match diagnosis::of_webhook(&state) {
        Some(failure) => Err(failure.into()),
        None => Ok(()),
    }
}

/// Adds where the settings are that a person has to see to.
fn told(cx: &StepContext<'_>, failure: Failure) -> Failure {
    let place = match failure.code {
        FailureCode::InstallationNotDelivering | FailureCode::InstallationNotUsable => {
            Some(("installation.settings", installation::settings(cx)))
        }
        FailureCode::BuildsStopped | FailureCode::BranchNotAllowed => {
            let site = cx.facts.site.as_ref();
            site.map(|site| ("netlify.site.settings", site.admin_url.clone()))
        }
        _ => None,
    };
    let place = place.map(|(source, text)| Evidence {
        source: source.to_owned(),
        text,
    });
    let evidence = place.into_iter().chain(failure.evidence).collect();
    Failure {
        evidence,
        ..failure
    }
}
