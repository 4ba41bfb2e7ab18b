//! Step `install_webhook`: the provider tells Netlify about pushes; one webhook per repository.

use super::{Halt, StepContext, Undone, remove};
use crate::{
    link::facts::{Fact, Origin},
    link::resource::ResourceKind,
    netlify,
    providers::FoundWebhook,
};

/// A webhook with Netlify's address is there, and nothing is wrong with it.
pub async fn observe(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    let found = cx
        .provider
        .find_webhook(cx.repository()?, &address(cx))
        .await?;
    let fit = found.filter(|found| found.faults.is_empty());
    Ok(fit.map(|found| Fact::Webhook(found.webhook, cx.origin(found.created_at))))
}

/// Makes it. One that is there is adopted, and mended where it lacks something that Netlify needs.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let (repository, address) = (cx.repository()?, address(cx));
    if !cx.provider.capabilities().refuses_double_webhooks
        && let Some(found) = cx.provider.find_webhook(repository, &address).await?
    {
        return adopt(cx, found).await;
    }
    let installed = cx.provider.install_webhook(repository, &address).await?;
    let origin = match installed.made {
        true => Origin::Made,
        false => cx.origin(None),
    };
    Ok(Fact::Webhook(installed.webhook, origin))
}

/// Takes over a webhook that is there. Mending may give it another id, so it is looked at again.
async fn adopt(cx: &StepContext<'_>, found: FoundWebhook) -> Result<Fact, Halt> {
    let origin = cx.origin(found.created_at);
    if found.faults.is_empty() {
        return Ok(Fact::Webhook(found.webhook, origin));
    }
    let repository = cx.repository()?;
    cx.provider.repair_webhook(repository, &found).await?;
    let mended = cx.provider.find_webhook(repository, &address(cx)).await?;
    let webhook = mended.map_or(found.webhook, |mended| mended.webhook);
    Ok(Fact::Webhook(webhook, origin))
}

/// Takes our webhook off the repository, when no other link needs it.
pub async fn undo(cx: &StepContext<'_>) -> Result<Undone, Halt> {
    let Some(webhook) = &cx.facts.webhook else {
        return Ok(Vec::new());
    };
    let delete = cx.provider.remove_webhook(cx.repository()?, &webhook.id);
    remove(cx, ResourceKind::Webhook, &webhook.id, delete).await
}

fn address(cx: &StepContext<'_>) -> String {
    netlify::webhook_url(cx.netlify.instance(), cx.provider_kind).into()
}
