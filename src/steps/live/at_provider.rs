//! How things stand at the git provider.

use time::{Duration, OffsetDateTime};

use super::Answer;
use crate::{
    diagnosis::{
        DeliveryState, InstallationState, KeyState, RepositoryState, WebhookFlaw, WebhookState,
    },
    link::{
        access::AccessMode,
        facts::{Repository, Webhook},
        failure::FailureCode,
    },
    providers::{DeliveryEvent, FoundWebhook, NETLIFY_APP, RepositoryKey, WebhookFault},
    steps::StepContext,
    upstream::UpstreamError,
};

/// A delivery from before the push that is asked about says nothing; clocks differ by less.
const CLOCKS_DIFFER: Duration = Duration::minutes(2);

pub(super) async fn repository(cx: &StepContext<'_>, branch: &str) -> Answer<RepositoryState> {
    let Some(known) = cx.facts.repository.as_ref().filter(|_| can_be_asked(cx)) else {
        return Ok(None);
    };
    let resolve = async |path: &str| cx.provider.resolve(path, Some(branch)).await;
    let found = match (
        resolve(&cx.spec.path).await,
        cx.provider.lasting_path(known),
    ) {
        (Err(error), Some(path)) if error.is_missing() => resolve(&path).await,
        (found, _) => found,
    };
    match found {
        Ok(found) => Ok(Some(compare(known, &found))),
        Err(error) => refusal(&error).map(Some).ok_or(error),
    }
}

/// Whether a person is all that could tell.
fn can_be_asked(cx: &StepContext<'_>) -> bool {
    let can = cx.provider.capabilities();
    can.finds_keys || can.installs_webhooks
}

fn compare(known: &Repository, found: &Repository) -> RepositoryState {
    match () {
        () if found.id != known.id => RepositoryState::Replaced,
        () if found.path != known.path => RepositoryState::Moved,
        () => RepositoryState::There,
    }
}

fn refusal(error: &UpstreamError) -> Option<RepositoryState> {
    match error.code {
        FailureCode::RepositoryNotFoundOrNoAccess => Some(RepositoryState::NotFound),
        FailureCode::RepositoryArchived => Some(RepositoryState::Archived),
        FailureCode::RepositoryEmpty => Some(RepositoryState::Empty),
        FailureCode::BranchMissing => Some(RepositoryState::BranchMissing),
        _ => None,
    }
}

pub(super) async fn key(cx: &StepContext<'_>) -> Answer<KeyState> {
    let (Some(repository), Some(key)) = (&cx.facts.repository, &cx.facts.deploy_key) else {
        return Ok(None);
    };
    if key.standing || cx.spec.access != AccessMode::DeployKey {
        return Ok(None);
    }
    if !cx.provider.capabilities().finds_keys {
        let glimpsed = cx.provider.glimpse_key(repository, &key.public_key).await?;
        return Ok(glimpsed.map(|found| of_key(cx, &found)));
    }
    if let Some(found) = cx.provider.find_key(repository, &key.public_key).await? {
        return Ok(Some(of_key(cx, &found)));
    }
    // Some providers do not tell it; that the key is missing stands.
    let in_profile = cx.provider.is_key_in_profile(&key.public_key).await;
    Ok(Some(match in_profile {
        Ok(Some(true)) => KeyState::InProfile,
        Ok(Some(false) | None) | Err(_) => KeyState::Missing,
    }))
}

fn of_key(cx: &StepContext<'_>, found: &RepositoryKey) -> KeyState {
    let installed = cx.facts.installed_key.as_ref();
    let end = found
        .expires_at
        .or(installed.and_then(|key| key.expires_at));
    match () {
        () if end.is_some_and(|end| end <= OffsetDateTime::now_utc()) => KeyState::Expired,
        () if !found.enabled => KeyState::Disabled,
        () => KeyState::Installed,
    }
}

pub(super) async fn installation(cx: &StepContext<'_>) -> Answer<InstallationState> {
    let (Some(id), Some(repository)) = (cx.spec.access.installation_id(), &cx.facts.repository)
    else {
        return Ok(None);
    };
    // Few credentials may read it, and a refusal is as good as none: the link goes by one all the same.
    let Ok(Some(known)) = cx.provider.installations(repository, NETLIFY_APP).await else {
        return Ok(Some(InstallationState::Hidden));
    };
    Ok(Some(match known.iter().find(|it| it.id == id) {
        None => InstallationState::Absent,
        Some(it) if it.suspended => InstallationState::Suspended,
        Some(_) => InstallationState::There,
    }))
}

pub(super) async fn webhook(cx: &StepContext<'_>) -> Answer<WebhookState> {
    let (Some(repository), Some(webhook)) = (&cx.facts.repository, webhook_to_read(cx)) else {
        return Ok(None);
    };
    let found = cx
        .provider
        .find_webhook(repository, &webhook.url, Some(&webhook.id))
        .await?;
    if let Some(found) = found {
        return Ok(Some(WebhookState::Found(flaws(&found))));
    }
    let address = cx.provider.webhook_address(repository, webhook).await?;
    Ok(Some(match address {
        Some(address) => WebhookState::Elsewhere(address),
        None => WebhookState::Missing,
    }))
}

/// One that a person has placed by hand has no id by which it could be read.
fn webhook_to_read<'a>(cx: &'a StepContext<'_>) -> Option<&'a Webhook> {
    let webhook = cx.facts.webhook.as_ref();
    webhook.filter(|_| cx.provider.capabilities().installs_webhooks)
}

fn flaws(found: &FoundWebhook) -> Vec<WebhookFlaw> {
    let hears_pushes = |missing: &[String]| !missing.iter().any(|event| event.contains("push"));
    let flaw = |fault: &WebhookFault| match fault {
        WebhookFault::Inactive => WebhookFlaw::Off,
        WebhookFault::NotJson => WebhookFlaw::NotJson,
        WebhookFault::HidesBranches => WebhookFlaw::HidesBranches,
        WebhookFault::InsecureTls => WebhookFlaw::InsecureTls,
        WebhookFault::MissingEvents(missing) if hears_pushes(missing) => WebhookFlaw::MissesOthers,
        WebhookFault::MissingEvents(_) => WebhookFlaw::MissesPushes,
    };
    found.faults.iter().map(flaw).collect()
}

pub(super) async fn delivery(cx: &StepContext<'_>) -> Answer<DeliveryState> {
    let (Some(repository), Some(webhook)) = (&cx.facts.repository, webhook_to_read(cx)) else {
        return Ok(None);
    };
    if !cx.provider.capabilities().reports_deliveries {
        return Ok(None);
    }
    let last = cx
        .provider
        .last_delivery(repository, webhook, DeliveryEvent::Push)
        .await?;
    let asked_at = OffsetDateTime::now_utc() - cx.elapsed - CLOCKS_DIFFER;
    let last = last.filter(|last| last.at.is_none_or(|at| at >= asked_at));
    Ok(Some(match last.map(|last| last.status) {
        None => DeliveryState::None,
        Some(None) => DeliveryState::Unanswered,
        Some(Some(status)) => DeliveryState::Answered(status),
    }))
}
