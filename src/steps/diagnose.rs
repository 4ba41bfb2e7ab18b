//! Why a build failed or a push went unbuilt: collects the evidence, by reads alone, and has it judged.

use secrecy::ExposeSecret;

use super::{Halt, StepContext, installation, known};
use crate::{
    diagnosis::{self, LiveState},
    link::{
        facts::Deploy,
        failure::{Failure, FailureCode},
    },
    netlify::deploys,
    providers::{Delivery, DeliveryEvent},
    redact,
};

/// Lines of the log's end that a diagnosis reads.
const LOG_LINES: usize = 200;

/// Why a deploy ended without a new version of the site. Rests on the log and on how things really are now, not on the
/// error text alone.
pub async fn failed_build(cx: &StepContext<'_>, deploy: &Deploy) -> Result<Failure, Halt> {
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

/// Why a push started no build.
pub async fn unbuilt_push(cx: &StepContext<'_>) -> Result<Failure, Halt> {
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
