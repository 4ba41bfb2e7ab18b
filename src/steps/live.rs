//! How things stand at the provider and at Netlify, read for a diagnosis: nothing is changed.

mod at_netlify;
mod at_provider;

use super::StepContext;
use crate::{
    diagnosis::{LiveState, Question, Reading, WebhookState},
    providers::same_address,
    upstream::UpstreamError,
};

/// Reads what is asked, all at the same time.
///
/// `branch` is the one that was built or pushed to.
pub async fn look(cx: &StepContext<'_>, questions: &[Question], branch: &str) -> LiveState {
    let asks = |question| questions.contains(&question);
    let (repository, key, installation, webhook, delivery, site, team) = tokio::join!(
        answer(
            asks(Question::Repository),
            at_provider::repository(cx, branch)
        ),
        answer(asks(Question::Key), at_provider::key(cx)),
        answer(asks(Question::Installation), at_provider::installation(cx)),
        answer(asks(Question::Webhook), at_provider::webhook(cx)),
        answer(asks(Question::Delivery), at_provider::delivery(cx)),
        answer(asks(Question::Site), at_netlify::site(cx)),
        answer(asks(Question::Team), at_netlify::team(cx)),
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
