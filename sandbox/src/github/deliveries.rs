//! What became of a hook's events: `…/hooks/{hook_id}/deliveries`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::answer::Refusal;
use super::hooks;
use super::paging::Cursor;
use super::state::Delivery;
use super::target::Target;
use super::webhooks::{self, Event};
use crate::clock::seconds;
use crate::world::World;

/// `GET …/deliveries`, newest first.
pub async fn list(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    Query(cursor): Query<Cursor>,
) -> Result<Response, Refusal> {
    let oldest = oldest(&world);
    let mut state = world.github.lock();
    let (_, hook) = hooks::find(&target, &mut state)?;
    let wanted = |delivery: &&Delivery| match cursor.status.as_deref() {
        Some("success") => delivery.succeeded(),
        Some("failure") => !delivery.succeeded(),
        _ => true,
    };
    let kept = hook.deliveries.iter().filter(|d| d.delivered_at >= oldest);
    let newest_first = kept.rev().filter(wanted);
    let items = newest_first.map(|d| (d.id, item(d, target.id))).collect();
    let api = super::addresses(&world).api;
    let base = format!(
        "{api}/repositories/{}/hooks/{}/deliveries",
        target.id, hook.id
    );
    Ok(cursor.of(items, &base))
}

/// `GET …/deliveries/{delivery_id}`, with what was sent and answered.
pub async fn show(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Json<Value>, Refusal> {
    let delivery = find(&world, &target)?;
    let mut shape = item(&delivery, target.id);
    shape["url"] = delivery.url.into();
    shape["request"] = json!({"headers": delivery.request_headers, "payload": delivery.payload});
    shape["response"] =
        json!({"headers": delivery.response_headers, "payload": delivery.response_body});
    Ok(Json(shape))
}

/// `POST …/deliveries/{delivery_id}/attempts`: the same event once more.
pub async fn redeliver(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Response, Refusal> {
    let delivery = find(&world, &target)?;
    let event = Event {
        name: delivery.event,
        guid: delivery.guid,
        payload: delivery.payload,
        redelivery: true,
    };
    webhooks::send(&world, target.id, target.number("hook_id")?, event);
    Ok((StatusCode::ACCEPTED, Json(json!({}))).into_response())
}

fn find(world: &World, target: &Target) -> Result<Delivery, Refusal> {
    let id = target.number("delivery_id")?;
    let oldest = oldest(world);
    let mut state = world.github.lock();
    let (_, hook) = hooks::find(target, &mut state)?;
    let kept = |d: &&Delivery| d.id == id && d.delivered_at >= oldest;
    let delivery = hook.deliveries.iter().find(kept);
    delivery.cloned().ok_or_else(Refusal::not_found)
}

/// Deliveries from before this moment are forgotten.
fn oldest(world: &World) -> OffsetDateTime {
    let hours = world.switches.read().github.delivery_retention_hours;
    world.clock.now() - time::Duration::hours(hours.into())
}

/// A `hook-delivery-item`.
pub fn item(delivery: &Delivery, repository: u64) -> Value {
    json!({
        "id": delivery.id, "guid": delivery.guid, "delivered_at": seconds(delivery.delivered_at),
        "redelivery": delivery.redelivery, "duration": delivery.duration, "status": delivery.status,
        "status_code": delivery.status_code, "event": delivery.event, "action": null,
        "installation_id": null, "repository_id": repository, "throttled_at": null,
    })
}
