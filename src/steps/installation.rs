//! Links by an installation of Netlify's GitHub App: what can be told of it, and what its silence means.

use time::OffsetDateTime;

use super::{Halt, StepContext, diagnose};
use crate::{
    link::{
        facts::{Fact, Proof, Repository, UnbuiltPush},
        failure::{Failure, FailureCode},
        grant::Wish,
        installation::Installation,
    },
    providers::NETLIFY_APP,
};

/// Whether the link may use its installation for this repository; every link without one may.
///
/// The grant is asked again here although the API asked it: by now the repository's name is the provider's own, and the
/// operator may have changed his mind. The provider is asked whose the installation is, where an owner's credential is at hand.
pub async fn check(cx: &StepContext<'_>, repository: &Repository) -> Result<(), Halt> {
    let Some(id) = cx.spec.access.installation_id() else {
        return Ok(());
    };
    let wish = Wish {
        tenant: cx.tenant,
        installation_id: id,
        host: &repository.host,
        path: &repository.path,
        team: cx.spec.site.team.as_deref().unwrap_or_default(),
    };
    if !cx.grants.allow(&wish) {
        let detail = format!("installation {id} is not granted for `{}`", repository.path);
        return Err(Halt::stop(FailureCode::InstallationNotGranted, detail));
    }
    // A grant is not enough: nobody may link by it what he could not link by a key.
    if !cx.provider.capabilities().installs_keys {
        let detail = "a connection without a credential shows no rights on the repository";
        return Err(Halt::stop(FailureCode::AdminRequired, detail));
    }
    match cx.provider.installations(repository, NETLIFY_APP).await? {
        None => Ok(()),
        Some(known) => judge(id, &known, repository),
    }
}

fn judge(id: u64, known: &[Installation], repository: &Repository) -> Result<(), Halt> {
    let detail = match known.iter().find(|it| it.id == id) {
        Some(it) if it.suspended => format!("installation {id} is suspended"),
        Some(_) => return Ok(()),
        None => format!(
            "installation {id} is none of the Netlify app for `{}`",
            repository.path
        ),
    };
    Err(Halt::stop(FailureCode::InstallationNotUsable, detail))
}

/// Whether an awaited push went by unbuilt. GitHub keeps the deliveries to Netlify's app to Netlify: what the branch shows is
/// all that tells. A push is noted when it is seen first, and a later look finds whether a build has come of it.
pub async fn check_delivery(cx: &StepContext<'_>) -> Result<(), Halt> {
    let proof = cx.facts.proof.clone().unwrap_or_default();
    let Some(known) = &proof.head else {
        return Ok(());
    };
    let head = cx.provider.branch_head(cx.repository()?).await?;
    let Some(commit) = head.filter(|head| head != known) else {
        return Ok(());
    };
    let now = OffsetDateTime::now_utc();
    match &proof.unbuilt {
        Some(seen) if seen.commit == commit => match now - seen.seen_at < cx.pace.proof {
            true => Ok(()),
            false => Err(unbuilt(cx, &commit).await?.into()),
        },
        _ => Err(Halt::Wait {
            after: cx.pace.watch_min,
            note: "waits for the push to start a build".to_owned(),
            fact: Some(Box::new(Fact::Proof(Proof {
                unbuilt: Some(UnbuiltPush {
                    commit,
                    seen_at: now,
                }),
                ..proof
            }))),
        }),
    }
}

async fn unbuilt(cx: &StepContext<'_>, commit: &str) -> Result<Failure, Halt> {
    let patience = cx.pace.proof.as_secs();
    let detail = format!("no build started within {patience} s of a push");
    let failure = diagnose::unbuilt_push(cx, &detail).await?;
    Ok(failure.with_evidence("provider.branch.commit", commit))
}

/// Netlify says nothing when an installation does not cover the repository: only that no build comes shows it.
pub fn not_delivering(cx: &StepContext<'_>, detail: impl Into<String>) -> Failure {
    let failure = Failure::new(FailureCode::InstallationNotDelivering, detail);
    failure.with_evidence("installation.settings", settings(cx))
}

/// Where its owner decides which repositories the app may see.
pub fn settings(cx: &StepContext<'_>) -> String {
    let owner = cx.facts.repository.as_ref().map_or("", |repository| {
        repository.path.split('/').next().unwrap_or_default()
    });
    let id = cx.spec.access.installation_id().unwrap_or_default();
    let host = &cx.spec.host;
    format!(
        "https://{host}/organizations/{owner}/settings/installations/{id} (of a person: https://{host}/settings/installations/{id})"
    )
}
