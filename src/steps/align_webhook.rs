//! Step `align_webhook`: the webhook points to where the attached site wants it.
//!
//! The address is known before the site is attached, which saves a round; the site's answer is the
//! truth (netlify.md, finding 1), so when the two differ the webhook follows.

use super::{Halt, StepContext, Undone, install_webhook, known};
use crate::{
    link::facts::{Fact, Origin, Webhook},
    providers::same_address,
};

/// The webhook points there already: costs no call.
pub async fn observe(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    let webhook = known(cx.facts.webhook.as_ref(), "webhook")?;
    let aligned = wanted(cx).is_none_or(|wanted| same_address(wanted, &webhook.url));
    Ok(aligned.then_some(Fact::Nothing))
}

/// Points it there; a webhook that others made stays as it is, and one of ours is put beside it.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    if let Some(fact) = observe(cx).await? {
        return Ok(fact);
    }
    let webhook = known(cx.facts.webhook.as_ref(), "webhook")?;
    let url = known(wanted(cx), "webhook's address")?;
    let repository = cx.repository()?;
    let own = Some(webhook.id.as_str());
    if let Some(found) = cx.provider.find_webhook(repository, url, own).await? {
        return install_webhook::in_place_of_own(cx, found.webhook, Origin::Found).await;
    }
    tracing::warn!(link = %cx.link, "the attached site wants its webhook at another address than the usual one");
    cx.provider.move_webhook(repository, webhook, url).await?;
    let moved = Webhook {
        id: webhook.id.clone(),
        url: url.to_owned(),
    };
    Ok(Fact::Webhook(moved, Origin::Made, None))
}

/// `install_webhook` removes it.
pub async fn undo(_: &StepContext<'_>) -> Result<Undone, Halt> {
    Ok(Vec::new())
}

fn wanted<'a>(cx: &'a StepContext<'_>) -> Option<&'a String> {
    cx.facts.attachment.as_ref()?.deploy_hook.as_ref()
}
