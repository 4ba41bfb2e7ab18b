//! Step `subscribe_notifications`: Netlify tells us of the site's deploys, so that nobody has to look.
//!
//! Only when the service has a public address. Without them patrols see the same, later: so a refusal is no failure of the
//! link.

use url::Url;

use super::{Halt, StepContext, Undone, remove};
use crate::{
    link::{
        drift::{Drift, DriftKind},
        facts::{Fact, NotificationHook},
        failure::FailureCode,
        resource::ResourceKind,
    },
    netlify::hooks::{self, DEPLOY_EVENTS, Hook},
    upstream::Class,
};

/// All hooks are there, and on. Each has an address that no other link has.
pub async fn observe(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    let Some(subscription) = cx.subscription else {
        return Ok(None);
    };
    let there = hooks::list(cx.netlify, &cx.site()?.id).await?;
    let ours = subscription.addresses.iter();
    let found: Vec<_> = ours
        .filter_map(|(event, url)| Some((event, of_address(&there, url)?)))
        .filter(|(_, hook)| !hook.is_disabled())
        .map(|(event, hook)| fact(event, hook))
        .collect();
    let complete = found.len() == subscription.addresses.len();
    Ok(complete.then_some(Fact::Notifications(found)))
}

fn of_address<'a>(there: &'a [Hook], url: &Url) -> Option<&'a Hook> {
    there.iter().find(|hook| hook.url() == Some(url.as_str()))
}

fn fact(event: &str, hook: &Hook) -> NotificationHook {
    NotificationHook {
        id: hook.id.clone(),
        event: event.to_owned(),
    }
}

/// Whether Netlify tells us of all that it was asked to tell. What it has refused to tell is not asked for again.
pub async fn drift(cx: &StepContext<'_>) -> Result<Vec<Drift>, Halt> {
    if !cx.setup.is_notified {
        return Ok(Vec::new());
    }
    let Some(subscription) = cx.subscription else {
        // The link is older than the service's public address.
        let events = Some(DEPLOY_EVENTS.join(", "));
        return Ok(vec![Drift::new(
            DriftKind::NotificationMissing,
            events,
            None,
        )]);
    };
    let there = match hooks::list(cx.netlify, &cx.site()?.id).await {
        Ok(there) => there,
        // The step that attached the repository says so.
        Err(error) if error.is_missing() => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let taken = |event: &String| cx.facts.notifications.iter().any(|it| it.event == *event);
    let (mut missing, mut disabled) = (Vec::new(), Vec::new());
    for (event, url) in &subscription.addresses {
        match of_address(&there, url) {
            Some(hook) if hook.is_disabled() => disabled.push(event.as_str()),
            None if taken(event) => missing.push(event.as_str()),
            _ => {}
        }
    }
    let kinds = [
        (DriftKind::NotificationMissing, missing, None),
        (DriftKind::NotificationDisabled, disabled, Some("off")),
    ];
    let told = kinds
        .into_iter()
        .filter(|(_, events, _)| !events.is_empty());
    Ok(told
        .map(|(kind, events, found)| {
            Drift::new(kind, Some(events.join(", ")), found.map(str::to_owned))
        })
        .collect())
}

/// Makes those that are missing and switches on those that are off; looks first, because a try that failed may have made some.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let site = &cx.site()?.id;
    let Some(subscription) = cx.subscription else {
        return Ok(Fact::Notifications(Vec::new()));
    };
    let there = hooks::list(cx.netlify, site).await?;
    let mut all = Vec::new();
    for (event, url) in &subscription.addresses {
        if let Some(found) = of_address(&there, url) {
            if found.is_disabled() {
                hooks::enable(cx.netlify, &found.id).await?;
            }
            all.push(fact(event, found));
            continue;
        }
        match hooks::create(cx.netlify, site, event, url, &subscription.secret).await {
            Ok(hook) => all.push(fact(event, &hook)),
            Err(error)
                if error.class == Class::Refused
                    && error.code != FailureCode::CredentialRefused =>
            {
                tracing::warn!(link = %cx.link, %error, "Netlify does not tell us of the site's deploys; patrols will see them");
            }
            Err(error) => return Err(error.into()),
        }
    }
    leave_old_addresses(cx, &there, &all).await?;
    Ok(Fact::Notifications(all))
}

/// Hooks to an address that the service had before are of no use to anybody.
async fn leave_old_addresses(
    cx: &StepContext<'_>,
    there: &[Hook],
    now: &[NotificationHook],
) -> Result<(), Halt> {
    let is_there = |old: &&NotificationHook| there.iter().any(|hook| hook.id == old.id);
    let before = cx.facts.notifications.iter().filter(is_there);
    for old in before.filter(|old| now.iter().all(|hook| hook.id != old.id)) {
        hooks::delete(cx.netlify, &old.id).await?;
    }
    Ok(())
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
