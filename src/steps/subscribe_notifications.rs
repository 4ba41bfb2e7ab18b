//! Step `subscribe_notifications`: Netlify tells us of the site's deploys, so that nobody has to look.
//!
//! Only when the service has a public address. Without them patrols see the same, later: so a refusal is no failure of the
//! link.

use url::Url;

use super::{Halt, StepContext, Undone, remove};
use crate::{
    link::{
        facts::{Fact, NotificationHook},
        resource::ResourceKind,
    },
    netlify::hooks::{self, Hook},
    upstream::Class,
};

/// All hooks are there. Each has an address that no other link has.
pub async fn observe(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    let Some(subscription) = cx.subscription else {
        return Ok(None);
    };
    let there = hooks::list(cx.netlify, &cx.site()?.id).await?;
    let ours = subscription.addresses.iter();
    let found: Vec<_> = ours
        .filter_map(|(event, url)| of_address(&there, event, url))
        .collect();
    let complete = found.len() == subscription.addresses.len();
    Ok(complete.then_some(Fact::Notifications(found)))
}

fn of_address(there: &[Hook], event: &str, url: &Url) -> Option<NotificationHook> {
    let found = there.iter().find(|hook| hook.url() == Some(url.as_str()))?;
    Some(NotificationHook {
        id: found.id.clone(),
        event: event.to_owned(),
    })
}

/// Makes those that are missing; looks first, because a try that failed may have made some.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let site = &cx.site()?.id;
    let Some(subscription) = cx.subscription else {
        return Ok(Fact::Notifications(Vec::new()));
    };
    let there = hooks::list(cx.netlify, site).await?;
    let mut all = Vec::new();
    for (event, url) in &subscription.addresses {
        if let Some(found) = of_address(&there, event, url) {
            all.push(found);
            continue;
        }
        match hooks::create(cx.netlify, site, event, url, &subscription.secret).await {
            Ok(hook) => all.push(NotificationHook {
                id: hook.id,
                event: event.clone(),
            }),
            Err(error) if error.class == Class::Refused => {
                tracing::warn!(link = %cx.link, %error, "Netlify does not tell us of the site's deploys; patrols will see them");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Fact::Notifications(all))
}

/// Removes them from a site that stays; one that goes takes them with it.
pub async fn undo(cx: &StepContext<'_>) -> Result<Undone, Halt> {
    let Some(site) = &cx.facts.site else {
        return Ok(Vec::new());
    };
    if !cx.stays(site) {
        return Ok(Vec::new());
    }
    let mut receipts = Vec::new();
    for hook in &cx.facts.notifications {
        let delete = hooks::delete(cx.netlify, &hook.id);
        receipts.extend(remove(cx, ResourceKind::Notification, &hook.id, delete).await?);
    }
    Ok(receipts)
}
