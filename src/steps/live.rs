//! How things stand at the provider and at Netlify, read for a diagnosis: nothing is changed.

use time::{Duration, OffsetDateTime};

use super::{StepContext, create_site};
use crate::{
    diagnosis::{
        Attached, BranchRule, ClonesBy, DeliveryState, InstallationState, KeyState, LiveState,
        Question, Reading, RepositoryState, SiteState, TeamState, WebhookFlaw, WebhookState,
    },
    link::{
        access::AccessMode,
        facts::{Repository, Webhook},
        failure::FailureCode,
    },
    netlify::{
        accounts,
        sites::{self, Site},
    },
    providers::{
        DeliveryEvent, FoundWebhook, NETLIFY_APP, RepositoryKey, WebhookFault, same_address,
    },
    upstream::UpstreamError,
};

/// A delivery from before the push that is asked about says nothing; clocks differ by less.
const CLOCKS_DIFFER: Duration = Duration::minutes(2);

/// Reads what is asked, all at the same time.
///
/// `branch` is the one that was built or pushed to.
pub async fn look(cx: &StepContext<'_>, questions: &[Question], branch: &str) -> LiveState {
    let asks = |question| questions.contains(&question);
    let (repository, key, installation, webhook, delivery, site, team) = tokio::join!(
        answer(asks(Question::Repository), repository(cx, branch)),
        answer(asks(Question::Key), key(cx)),
        answer(asks(Question::Installation), installation(cx)),
        answer(asks(Question::Webhook), webhook(cx)),
        answer(asks(Question::Delivery), delivery(cx)),
        answer(asks(Question::Site), site(cx)),
        answer(asks(Question::Team), team(cx)),
    );
    let (site, hook) = match site {
        Reading::Said((site, hook)) => (Reading::Said(site), hook),
        Reading::Failed(why) => (Reading::Failed(why), None),
        Reading::NotAsked => (Reading::NotAsked, None),
    };
    LiveState {
        repository,
        key,
        installation,
        webhook: compared(cx, webhook, hook),
        delivery,
        site,
        team,
    }
}

/// `None`: nobody can be asked, or it does not concern the link.
type Answer<T> = Result<Option<T>, UpstreamError>;

async fn answer<T>(is_asked: bool, read: impl Future<Output = Answer<T>>) -> Reading<T> {
    if !is_asked {
        return Reading::NotAsked;
    }
    match read.await {
        Ok(Some(said)) => Reading::Said(said),
        Ok(None) => Reading::NotAsked,
        Err(error) => Reading::Failed(error.detail),
    }
}

async fn repository(cx: &StepContext<'_>, branch: &str) -> Answer<RepositoryState> {
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

async fn key(cx: &StepContext<'_>) -> Answer<KeyState> {
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

async fn installation(cx: &StepContext<'_>) -> Answer<InstallationState> {
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

async fn webhook(cx: &StepContext<'_>) -> Answer<WebhookState> {
    let (Some(repository), Some(webhook)) = (&cx.facts.repository, webhook_to_read(cx)) else {
        return Ok(None);
    };
    if let Some(found) = cx.provider.find_webhook(repository, &webhook.url).await? {
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

/// The site's own word for where Netlify listens is the truth.
fn compared(
    cx: &StepContext<'_>,
    webhook: Reading<WebhookState>,
    hook: Option<String>,
) -> Reading<WebhookState> {
    let address = cx.facts.webhook.as_ref().map(|webhook| &webhook.url);
    match (webhook, address, hook) {
        (Reading::Said(WebhookState::Found(_)), Some(address), Some(hook))
            if !same_address(address, &hook) =>
        {
            Reading::Said(WebhookState::Elsewhere(address.clone()))
        }
        (webhook, _, _) => webhook,
    }
}

async fn delivery(cx: &StepContext<'_>) -> Answer<DeliveryState> {
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

/// The site, and where Netlify listens for it.
async fn site(cx: &StepContext<'_>) -> Answer<(SiteState, Option<String>)> {
    let (Some(known), Some(repository)) = (&cx.facts.site, &cx.facts.repository) else {
        return Ok(None);
    };
    let gone = SiteState {
        is_gone: true,
        ..SiteState::default()
    };
    match sites::get(cx.netlify, &known.id).await {
        Ok(site) => {
            let hook = site.attachment().deploy_hook;
            Ok(Some((of_site(cx, repository, &site), hook)))
        }
        Err(error) if error.code == FailureCode::SiteGone => Ok(Some((gone, None))),
        Err(error) => Err(error),
    }
}

fn of_site(cx: &StepContext<'_>, repository: &Repository, site: &Site) -> SiteState {
    let attached = match site.repository_path() {
        None => Attached::Nothing,
        Some(_) if create_site::is_attached_to(cx.provider_kind, repository, site) => {
            Attached::Links
        }
        Some(_) => Attached::Another,
    };
    SiteState {
        is_gone: false,
        is_disabled: site.disabled == Some(true),
        attached,
        clones_by: clones_by(cx, site),
        builds_are_stopped: site.builds_are_stopped(),
        branch: rule(site, &repository.branch),
    }
}

fn rule(site: &Site, branch: &str) -> BranchRule {
    let allowed = site.allowed_branches();
    let is_listed = allowed.is_empty() || allowed.iter().any(|it| it == branch);
    match (is_listed, site.branch() == Some(branch)) {
        (true, _) => BranchRule::Built,
        (false, true) => BranchRule::Unlisted,
        (false, false) => BranchRule::NotBuilt,
    }
}

fn clones_by(cx: &StepContext<'_>, site: &Site) -> ClonesBy {
    let own_key = cx.facts.deploy_key.as_ref().map(|key| key.id.as_str());
    match (site.installation_id(), site.deploy_key_id()) {
        (Some(_), _) => ClonesBy::Installation,
        (None, None) => ClonesBy::Nothing,
        (None, key) if key == own_key => ClonesBy::Key,
        (None, Some(_)) => ClonesBy::OtherKey,
    }
}

async fn team(cx: &StepContext<'_>) -> Answer<TeamState> {
    let Some(site) = &cx.facts.site else {
        return Ok(None);
    };
    let teams = accounts::list(cx.netlify).await?;
    let Some(team) = teams.into_iter().find(|team| team.slug == site.team) else {
        return Ok(None);
    };
    // Not every plan has build minutes to tell of.
    let queue = accounts::build_queue(cx.netlify, &team.id).await;
    Ok(Some(TeamState {
        exceeded: team
            .exceeded_limits()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        minutes_are_used_up: queue.is_ok_and(|queue| queue.minutes_are_used_up),
        builds_private_organisations: team.builds_private_organisations(),
    }))
}
