//! What became of messages to subscriptions, and messages that are only a test.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use time::Duration;
use uuid::Uuid;

use super::shapes::list as listed;
use super::subscriptions::{by_id, find};
use super::target::Organization;
use super::{bad, payloads, refused};
use crate::clock::milliseconds;
use crate::forge::refusal::{Refusal, read};
use crate::forge::{Delivery, Hook, Message, Provider, pushes, send};
use crate::world::World;

/// How long notifications can be read.
const KEPT: Duration = Duration::days(14);

/// The query of the list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    max_results: Option<usize>,
    status: Option<String>,
    result: Option<String>,
}

/// `GET …/subscriptions/{id}/notifications`, newest first, without details.
pub async fn list(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Refusal> {
    let state = world.forges.azure.lock();
    let (_, hook) = find(&organization, &state)?;
    let fits = |shown: &Value| {
        let same = |wanted: &Option<String>, name: &str| {
            wanted.as_ref().is_none_or(|w| {
                shown[name]
                    .as_str()
                    .is_some_and(|s| s.eq_ignore_ascii_case(w))
            })
        };
        same(&wanted.status, "status") && same(&wanted.result, "result")
    };
    let kept = kept(&world, &hook).map(|d| shape(d, &hook)).filter(fits);
    Ok(listed(
        kept.take(wanted.max_results.unwrap_or(100)).collect(),
    ))
}

/// `GET …/subscriptions/{id}/notifications/{number}`.
pub async fn show(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
) -> Result<Json<Value>, Refusal> {
    let number: Option<u64> = organization.word("number").parse().ok();
    let state = world.forges.azure.lock();
    let (_, hook) = find(&organization, &state)?;
    let found = kept(&world, &hook).find(|d| Some(d.id) == number);
    let missing = || {
        let message = "The notification was not found.";
        refused(
            StatusCode::NOT_FOUND,
            "NotificationNotFoundException",
            message,
        )
    };
    found.map(|d| Json(detailed(d, &hook))).ok_or_else(missing)
}

/// The body of `POST …/notificationsquery`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    #[serde(default)]
    subscription_ids: Vec<String>,
    result_type: Option<String>,
    #[serde(default)]
    include_details: bool,
    max_results_per_subscription: Option<usize>,
}

/// `POST …/notificationsquery`.
pub async fn query(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let mut answer: Value = read(&body).map_err(|why| bad(&why))?;
    let asked: Asked = read(&body).map_err(|why| bad(&why))?;
    let state = world.forges.azure.lock();
    let mut results = Vec::new();
    for id in &asked.subscription_ids {
        let Some((_, hook)) = by_id(&organization, &state, id) else {
            continue;
        };
        let most = asked.max_results_per_subscription.unwrap_or(100);
        let shown = kept(&world, &hook).map(|d| match asked.include_details {
            true => detailed(d, &hook),
            false => shape(d, &hook),
        });
        let fits = |s: &Value| {
            asked
                .result_type
                .as_ref()
                .is_none_or(|r| s["result"] == **r)
        };
        results.extend(shown.filter(fits).take(most));
    }
    answer["results"] = results.into();
    Ok(Json(answer))
}

/// Whether the test is about something that happened.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reality {
    #[serde(default)]
    use_real_data: bool,
}

/// `POST …/testnotifications`: the latest push, or an invented one of Fabrikam's, to the address in the body.
pub async fn test(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
    Query(reality): Query<Reality>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let mut asked: Value = read(&body).map_err(|why| bad(&why))?;
    let id = asked["subscriptionId"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let known = by_id(&organization, &world.forges.azure.lock(), &id);
    let Some((holder, hook)) = known else {
        return Err(bad(
            "Tests of subscriptions that do not exist yet are not here.",
        ));
    };
    let message = match reality.use_real_data {
        true => real(&world, &organization, &hook, holder).await?,
        false => payloads::sample(&hook),
    };
    send(&world, Provider::AzureDevops, (holder, hook.id), message);
    let now = milliseconds(world.clock.now());
    asked["id"] = world.forges.azure.lock().next_id().into();
    asked["eventId"] = Uuid::new_v4().to_string().into();
    asked["status"] = "queued".into();
    asked["result"] = "pending".into();
    asked["createdDate"] = now.clone().into();
    asked["modifiedDate"] = now.into();
    Ok(Json(asked))
}

async fn real(
    world: &World,
    organization: &Organization,
    hook: &Hook,
    holder: u64,
) -> Result<Message, Refusal> {
    let nothing = || bad("There is no event of this type to test with.");
    let repository = {
        let state = world.forges.azure.lock();
        let visible = organization.repositories(&state);
        visible.into_iter().find(|r| r.id == holder).cloned()
    };
    let push = pushes::latest(world, repository.ok_or_else(nothing)?).await?;
    Ok(payloads::push(world, hook, &push.ok_or_else(nothing)?))
}

fn kept<'h>(world: &World, hook: &'h Hook) -> impl Iterator<Item = &'h Delivery> + use<'h> {
    let oldest = world.clock.now() - KEPT;
    let newest_first = hook.deliveries.iter().rev();
    newest_first.filter(move |d| d.sent_at >= oldest)
}

fn shape(delivery: &Delivery, hook: &Hook) -> Value {
    let at = milliseconds(delivery.sent_at);
    json!({
        "id": delivery.id, "subscriptionId": hook.uuid, "subscriberId": Uuid::nil(), "eventId": delivery.uuid,
        "status": "completed", "result": if delivery.answer.is_good() { "succeeded" } else { "failed" },
        "createdDate": at, "modifiedDate": at,
    })
}

fn detailed(delivery: &Delivery, hook: &Hook) -> Value {
    let at = milliseconds(delivery.sent_at);
    let answer = &delivery.answer;
    let outcome = match answer.status {
        Ok(status) => format!("Status Code: {status}"),
        Err(_) => "No answer".to_owned(),
    };
    let headers = delivery.request_headers.iter();
    let headers: String = headers
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect();
    let mut details = json!({
        "eventType": delivery.event, "publisherId": "tfs", "consumerId": "webHooks", "consumerActionId": "httpRequest",
        "publisherInputs": hook.settings.get("publisherInputs"), "consumerInputs": {"url": hook.url},
        "request": format!("Method: POST\nURI: {}\n{headers}", delivery.url),
        "response": format!("{outcome}\n{}", answer.body), "requestAttempts": delivery.attempts,
        "requestDuration": answer.seconds, "queuedDate": at, "dequeuedDate": at, "processedDate": at, "completedDate": at,
    });
    if !answer.is_good() {
        details["errorMessage"] = outcome.clone().into();
        details["errorDetail"] = outcome.into();
    }
    if details["publisherInputs"].is_null() {
        details["publisherInputs"] = json!({});
    }
    let mut shown = shape(delivery, hook);
    shown["details"] = details;
    shown
}
