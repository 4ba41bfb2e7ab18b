//! Delivers messages to webhooks, tries again as the provider does, and keeps the deliveries.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::post::{Answer, post};
use super::{Delivery, Forge, Message, Provider};
use crate::world::World;

/// How many deliveries of a webhook are kept.
const MOST_DELIVERIES: usize = 1000;

/// Delivers in the background.
pub fn send(world: &Arc<World>, provider: Provider, to: (u64, u64), message: Message) {
    let task = world.clone();
    world.spawn(async move { deliver(&task, provider, to, message).await });
}

/// Delivers to the webhook `to` (repository, webhook) and gives the delivery as it was recorded; `None` when the webhook is gone.
pub async fn deliver(
    world: &World,
    provider: Provider,
    to: (u64, u64),
    message: Message,
) -> Option<Delivery> {
    let forge = world.forges.of(provider)?;
    let url = forge.lock().hook_mut(to.0, to.1)?.url.clone();
    let delivery = attempt(world, forge, url, message).await;
    record(world, forge, to, delivery)
}

async fn attempt(world: &World, forge: &Forge, url: String, message: Message) -> Delivery {
    let mut headers: BTreeMap<String, String> = message
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let content_type = message.encoding.content_type();
    headers.insert("Content-Type".to_owned(), content_type.to_owned());
    let text = message.encoding.text(&message.body);
    let id = forge.lock().next_id();
    let mut delivery = Delivery {
        id,
        uuid: Uuid::new_v4(),
        event: message.event,
        sent_at: world.clock.now(),
        attempts: 1,
        answer: post(world, &url, &headers, text.clone()).await,
        request_headers: headers,
        payload: message.body,
        url,
    };
    for pause in forge.vendor.retries(world) {
        if !is_transient(&delivery.answer) {
            break;
        }
        tokio::time::sleep(pause).await;
        let Delivery {
            url,
            request_headers,
            ..
        } = &delivery;
        delivery.answer = post(world, url, request_headers, text.clone()).await;
        delivery.attempts += 1;
    }
    delivery
}

/// Refusals stay refusals; silence and the server's own trouble may pass.
fn is_transient(answer: &Answer) -> bool {
    answer.status.map_or(true, |status| status >= 500)
}

fn record(
    world: &World,
    forge: &Forge,
    (repository, hook): (u64, u64),
    delivery: Delivery,
) -> Option<Delivery> {
    let now = world.clock.now();
    let mut state = forge.lock();
    state.created.deliveries += 1;
    let hook = state.hook_mut(repository, hook)?;
    forge.vendor.settle(hook, delivery.answer.is_good(), now);
    hook.deliveries.push(delivery.clone());
    let too_many = hook.deliveries.len().saturating_sub(MOST_DELIVERIES);
    hook.deliveries.drain(..too_many);
    Some(delivery)
}
