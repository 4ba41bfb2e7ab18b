//! What the reads at the git provider say of the link.

use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Intended, Seen};
use crate::{
    link::{
        failure::{Failure, FailureCode},
        preflight::{Finding, FindingStatus, Topic},
    },
    providers::{FoundWebhook, Identity, WebhookFault, Webhooks},
    steps::installation,
    upstream::UpstreamKind,
};

/// How long before its end a credential is worth a warning.
const SOON: Duration = Duration::days(14);

const UNREAD: &str = "The repository could not be read.";
const NOBODY: &str = "Nobody can be asked: no API of this git host is known.";

pub(super) fn findings(link: &Intended<'_>, seen: &Seen) -> Vec<Finding> {
    let mut findings = vec![credential(link, seen)];
    findings.extend(repository(link, seen));
    match link.spec.access.installation_id() {
        Some(id) => findings.push(installation(id, link, seen)),
        None => findings.extend([keys(link, seen), webhook(link, seen)]),
    }
    findings
}

fn credential(link: &Intended<'_>, seen: &Seen) -> Finding {
    let topic = Topic::ProviderCredential;
    let refused = |failure: &&Failure| failure.code == FailureCode::CredentialRefused;
    let reads = [seen.identity.as_ref().err(), seen.repository.as_ref().err()];
    if let Some(failure) = reads.into_iter().flatten().find(refused) {
        return topic.unread(failure);
    }
    match &seen.identity {
        Ok(identity) => lasting(identity, link.provider_kind, OffsetDateTime::now_utc()),
        // Some tokens may not ask who they are; the repository has taken this one.
        Err(_) if seen.repository.is_ok() => {
            topic.pass("The credential is good; it does not tell for how long.")
        }
        Err(failure) => Finding {
            status: FindingStatus::Unknown,
            ..topic.unread(failure)
        },
    }
}

/// Whether the credential outlives the link's first weeks.
fn lasting(identity: &Identity, provider: UpstreamKind, now: OffsetDateTime) -> Finding {
    let (topic, login) = (Topic::ProviderCredential, &identity.login);
    let Some(end) = identity.expires_at.filter(|end| *end < now + SOON) else {
        return topic.pass(format!("The credential is good and belongs to {login}."));
    };
    // RFC 3339 has no years beyond 9999; no token lives until then.
    let end = end.format(&Rfc3339).unwrap_or_default();
    let keys = match provider {
        UpstreamKind::Github => ", and GitHub then deletes the deploy keys that it has made",
        _ => "",
    };
    let detail = format!("The credential of {login} ends at {end}{keys}.");
    topic.warn(FailureCode::CredentialRefused, detail)
}

/// Providers look at the repository, then at rights, then at the branch, and stop at what is in the way.
fn repository(link: &Intended<'_>, seen: &Seen) -> [Finding; 3] {
    use Topic::{Branch, Repository, Rights};
    if link.provider_kind == UpstreamKind::Manual {
        return [Repository, Rights, Branch].map(|topic| topic.unknown(NOBODY));
    }
    let failure = match &seen.repository {
        Ok(found) => {
            return [
                Repository.pass(format!("`{}` is there.", found.path)),
                Rights.pass("Nothing that can be read speaks against it."),
                Branch.pass(format!("`{}` is there and will be built.", found.branch)),
            ];
        }
        Err(failure) => failure,
    };
    match failure.code {
        FailureCode::BranchMissing => [
            Repository.pass("It is there."),
            Rights.pass("Nothing that can be read speaks against it."),
            Branch.unread(failure),
        ],
        FailureCode::AdminRequired | FailureCode::ScopeMissing | FailureCode::SsoRequired => [
            Repository.unknown(UNREAD),
            Rights.unread(failure),
            Branch.unknown(UNREAD),
        ],
        // Told with the credential.
        FailureCode::CredentialRefused => {
            [Repository, Rights, Branch].map(|topic| topic.unknown(UNREAD))
        }
        _ => [
            Repository.unread(failure),
            Rights.unknown(UNREAD),
            Branch.unknown(UNREAD),
        ],
    }
}

fn keys(link: &Intended<'_>, seen: &Seen) -> Finding {
    let topic = Topic::DeployKeys;
    if link.has_standing_key {
        return topic.pass("The operator's standing key is used.");
    }
    if !link.provider.capabilities().installs_keys {
        let detail = "A person will be asked to place the deploy key.";
        return topic.warn(FailureCode::KeyToBePlaced, detail);
    }
    match &seen.takes_keys {
        None => topic.unknown(UNREAD),
        Some(Err(failure)) => topic.unread(failure),
        Some(Ok(Some(true))) => topic.pass("The repository's deploy keys work."),
        Some(Ok(Some(false))) => {
            let detail = "Deploy keys are switched off for the repository.";
            topic.fail(FailureCode::DeployKeysDisabled, detail)
        }
        Some(Ok(None)) => {
            topic.unknown("Whether the repository takes deploy keys shows when one is installed.")
        }
    }
}

fn webhook(link: &Intended<'_>, seen: &Seen) -> Finding {
    let (topic, can) = (Topic::Webhook, link.provider.capabilities());
    if !can.installs_webhooks {
        let detail = "A person will be asked to make the webhook.";
        return topic.warn(FailureCode::WebhookToBePlaced, detail);
    }
    if can.site_has_own_webhook {
        return topic
            .unknown("Netlify names the webhook's address once the site has its repository.");
    }
    match &seen.webhooks {
        None => topic.unknown(UNREAD),
        Some(Err(failure)) => topic.unread(failure),
        Some(Ok(Webhooks {
            found: Some(found), ..
        })) => as_found(found),
        Some(Ok(Webhooks { room: Some(0), .. })) => {
            let detail = "The repository has no room for another webhook that hears of pushes.";
            topic.fail(FailureCode::WebhookLimitReached, detail)
        }
        Some(Ok(Webhooks { .. })) => topic.pass("There is none to Netlify yet; one will be made."),
    }
}

/// Neither key nor webhook is made: Netlify's app has to see the repository.
fn installation(id: u64, link: &Intended<'_>, seen: &Seen) -> Finding {
    let topic = Topic::Installation;
    let Ok(repository) = &seen.repository else {
        return topic.unknown(UNREAD);
    };
    if !link.provider.capabilities().installs_keys {
        let detail = "A connection without a credential shows no rights on the repository.";
        return topic.fail(FailureCode::AdminRequired, detail);
    }
    let known = match &seen.installations {
        None => return topic.unknown(UNREAD),
        Some(Err(failure)) => return topic.unread(failure),
        Some(Ok(None)) => {
            let detail = "Where Netlify's app is installed is told to owners alone; that no build comes would show it.";
            return topic.unknown(detail);
        }
        Some(Ok(Some(known))) => known,
    };
    match installation::judge(id, known, repository) {
        Err(failure) => topic.fail(failure.code, failure.detail),
        Ok(it) if it.all_repositories => {
            topic.pass(format!("Netlify's app sees all repositories of {}.", it.account))
        }
        Ok(_) => topic.unknown(format!(
            "Netlify's app sees selected repositories; whether `{}` is among them shows when it is built.",
            repository.path
        )),
    }
}

/// One that is there is shared with other sites of the repository.
fn as_found(found: &FoundWebhook) -> Finding {
    let topic = Topic::Webhook;
    if !found.doubles.is_empty() {
        let (id, many) = (&found.webhook.id, found.doubles.len() + 1);
        let detail = format!(
            "{many} webhooks tell Netlify of pushes, so that each push builds {many} times: remove all but {id}."
        );
        return topic.warn(None, detail);
    }
    match &found.faults[..] {
        [] => topic.pass("There is one to Netlify already; it will be shared."),
        faults => {
            let faults: Vec<_> = faults.iter().map(WebhookFault::told).collect();
            let detail = format!(
                "The one to Netlify that is there {}; linking mends that.",
                faults.join(" and ")
            );
            topic.warn(None, detail)
        }
    }
}
