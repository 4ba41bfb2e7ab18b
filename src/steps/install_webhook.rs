//! Step `install_webhook`: the provider tells Netlify about pushes; one webhook per repository.

use time::{Duration, OffsetDateTime};

use super::{Halt, StepContext, Undone, ask, prove_push, remove};
use crate::{
    link::{
        action::{Deed, GoesOn},
        drift::{Drift, DriftKind},
        facts::{Fact, Origin, Webhook},
        failure::FailureCode,
        plan::StepName,
        request::Verify,
        resource::{Receipt, ResourceKind},
    },
    netlify,
    providers::{FoundWebhook, WebhookFault},
};

/// How long a look at the webhooks counts.
const FRESH: Duration = Duration::seconds(10);

/// A webhook with Netlify's address is there, and nothing is wrong with it. One that cannot be read shows itself by
/// the build of a push.
pub async fn observe(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    if !cx.provider.capabilities().installs_webhooks {
        let pushed = prove_push::pushed(cx).await?;
        return pushed.map(|_| by_a_person(cx)).transpose();
    }
    let found = find(cx).await?;
    match found.filter(|found| found.faults.is_empty()) {
        Some(fit) => adopt(cx, fit).await.map(Some),
        None => Ok(None),
    }
}

/// The webhook with Netlify's address: the link's own one while it has it, whatever others have put beside it.
async fn find(cx: &StepContext<'_>) -> Result<Option<FoundWebhook>, Halt> {
    let (repository, address) = (cx.repository()?, address(cx)?);
    let own = cx.facts.webhook.as_ref().map(|own| own.id.as_str());
    Ok(cx.provider.find_webhook(repository, &address, own).await?)
}

/// Whether the webhook is there and tells Netlify all that it needs, where that can be seen.
pub async fn drift(cx: &StepContext<'_>) -> Result<Vec<Drift>, Halt> {
    if !cx.provider.capabilities().installs_webhooks {
        return Ok(Vec::new());
    }
    let Some(found) = find(cx).await? else {
        return Ok(vec![gone(cx).await?]);
    };
    let (inactive, changed): (Vec<_>, Vec<_>) = found
        .faults
        .iter()
        .partition(|fault| **fault == WebhookFault::Inactive);
    let mut drift = Vec::new();
    if !inactive.is_empty() {
        let (on, off) = ("on".to_owned(), "off".to_owned());
        drift.push(Drift::new(DriftKind::WebhookDisabled, Some(on), Some(off)));
    }
    if !changed.is_empty() {
        let told: Vec<_> = changed.into_iter().map(WebhookFault::told).collect();
        let told = Some(told.join(" and "));
        drift.push(Drift::new(DriftKind::WebhookChanged, None, told));
    }
    if !found.doubles.is_empty() {
        let (one, ids) = (found.webhook.id, found.doubles.join(", "));
        drift.push(Drift::new(DriftKind::WebhookDoubled, Some(one), Some(ids)));
    }
    Ok(drift)
}

/// No webhook has the address: the link's own one tells somebody else by now, or is not there.
async fn gone(cx: &StepContext<'_>) -> Result<Drift, Halt> {
    let elsewhere = match &cx.facts.webhook {
        Some(own) => cx.provider.webhook_address(cx.repository()?, own).await?,
        None => None,
    };
    let kind = match elsewhere {
        Some(_) => DriftKind::WebhookChanged,
        None => DriftKind::WebhookMissing,
    };
    Ok(Drift::new(kind, Some(address(cx)?), elsewhere))
}

/// Makes it, or asks a person to. One that is there is adopted, and mended where it lacks something that Netlify needs.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    match cx.provider.capabilities().installs_webhooks {
        true => install(cx).await,
        false if cx.facts.asked.contains(&StepName::InstallWebhook) => by_a_person(cx),
        false => Err(ask(
            Fact::Asked(StepName::InstallWebhook),
            FailureCode::WebhookToBePlaced,
            Deed::PlaceWebhook {
                url: address(cx)?,
                events: (cx.provider.webhook_events().iter())
                    .map(ToString::to_string)
                    .collect(),
            },
            cx.provider.place_of_webhooks(cx.repository()?),
            match cx.spec.verify {
                Verify::Push => GoesOn::BySeeing,
                Verify::Build => GoesOn::ByRetry,
            },
        )),
    }
}

fn by_a_person(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let url = address(cx)?;
    let webhook = Webhook {
        id: url.clone(),
        url,
    };
    // What people placed is theirs, also the one before.
    Ok(Fact::Webhook(
        webhook,
        Origin::Found,
        Some(Receipt::KeptForeign),
    ))
}

async fn install(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let (repository, address) = (cx.repository()?, address(cx)?);
    // One that was changed since is no double to a provider that refuses doubles.
    let was_there = cx.facts.webhook.is_some();
    let takes_doubles = !cx.provider.capabilities().refuses_double_webhooks;
    let may_be_there = was_there || (takes_doubles && !was_just_missing(cx));
    if may_be_there && let Some(found) = find(cx).await? {
        return adopt(cx, found).await;
    }
    let former = former(cx).await?;
    let installed = cx.provider.install_webhook(repository, &address).await?;
    let origin = match installed.made {
        true => Origin::Made,
        false => cx.origin_at_provider(None),
    };
    Ok(Fact::Webhook(installed.webhook, origin, former))
}

/// Takes over a webhook that is there. Mending may give it another id, so it is looked at again.
async fn adopt(cx: &StepContext<'_>, found: FoundWebhook) -> Result<Fact, Halt> {
    let origin = cx.origin_at_provider(found.created_at);
    if found.faults.is_empty() {
        return in_place_of_own(cx, found.webhook, origin).await;
    }
    let repository = cx.repository()?;
    cx.provider.repair_webhook(repository, &found).await?;
    let mended = find(cx).await?;
    let webhook = mended.map_or(found.webhook, |mended| mended.webhook);
    in_place_of_own(cx, webhook, origin).await
}

/// The link goes by this webhook from now on.
pub async fn in_place_of_own(
    cx: &StepContext<'_>,
    webhook: Webhook,
    origin: Origin,
) -> Result<Fact, Halt> {
    let is_own = cx
        .facts
        .webhook
        .as_ref()
        .is_none_or(|own| own.id == webhook.id);
    let former = match is_own {
        true => None,
        false => former(cx).await?,
    };
    Ok(Fact::Webhook(webhook, origin, former))
}

/// What becomes of the link's own webhook when another takes its place: one that is still there is left to those who use it.
async fn former(cx: &StepContext<'_>) -> Result<Option<Receipt>, Halt> {
    let Some(own) = &cx.facts.webhook else {
        return Ok(None);
    };
    let address = cx.provider.webhook_address(cx.repository()?, own).await?;
    Ok(Some(match address {
        Some(_) => Receipt::KeptForeign,
        None => Receipt::AlreadyGone,
    }))
}

/// Takes our webhook off the repository, when no other link needs it.
pub async fn undo(cx: &StepContext<'_>) -> Result<Undone, Halt> {
    let Some(webhook) = &cx.facts.webhook else {
        return Ok(Vec::new());
    };
    let delete = cx.provider.remove_webhook(cx.repository()?, webhook);
    remove(cx, ResourceKind::Webhook, &webhook.id, delete).await
}

/// The attached site's own word, where it is known already.
fn address(cx: &StepContext<'_>) -> Result<String, Halt> {
    let attachment = cx.facts.attachment.as_ref();
    match attachment.and_then(|attachment| attachment.deploy_hook.clone()) {
        Some(said) => Ok(said),
        None if cx.provider.capabilities().site_has_own_webhook => {
            let detail = "Netlify has named no webhook address for the site";
            Err(Halt::stop(FailureCode::LinkDeaf, detail))
        }
        None => Ok(usual_address(cx)),
    }
}

/// Where Netlify listens to a provider, whatever the site.
pub fn usual_address(cx: &StepContext<'_>) -> String {
    netlify::webhook_url(cx.netlify.instance(), cx.provider_kind).into()
}

/// Whether `resolve_repository` has seen a moment ago that there is none, which saves a look; not once a try of ours may have
/// made one since.
fn was_just_missing(cx: &StepContext<'_>) -> bool {
    let age = cx
        .facts
        .no_webhook_at
        .map(|at| OffsetDateTime::now_utc() - at);
    let is_fresh = age.is_some_and(|age| (Duration::ZERO..FRESH).contains(&age));
    is_fresh && cx.intent_at.is_none()
}
