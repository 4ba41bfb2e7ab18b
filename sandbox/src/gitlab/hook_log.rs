//! Tests of webhooks, and what became of their deliveries: `…/test/:trigger`, `…/events`, `…/resend`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use time::Duration;

use super::projects::Paging;
use super::shapes::{self, Addresses};
use super::target::Target;
use super::{hooks, not_found, payloads, refused};
use crate::forge::refusal::Refusal;
use crate::forge::usage::Limit;
use crate::forge::{Delivery, Encoding, Message, Provider, deliver, pushes};
use crate::world::World;

/// How long deliveries can be read.
const KEPT: Duration = Duration::days(7);
/// The largest page.
const MOST: usize = 20;

/// `POST …/hooks/:hook_id/test/:trigger`: sends a push of the default branch's last commit, whatever was pushed last, and waits
/// for the receiver. A success also brings a suspended webhook back.
pub async fn test(Shared(world): Shared<Arc<World>>, target: Target) -> Result<Response, Refusal> {
    let (hook, project) = {
        let mut state = world.forges.gitlab.lock();
        let hook = hooks::find(&target, &mut state)?.clone();
        (hook, target.maintained(&mut state)?.clone())
    };
    spend(&world, &target, "tests")?;
    let unprocessable = |why: &str| refused(StatusCode::UNPROCESSABLE_ENTITY, why);
    let trigger = target.word("trigger");
    if !hooks::EVENTS.contains(&trigger) {
        let body = json!({"error": "trigger does not have a valid value"});
        return Err(Refusal::json(StatusCode::BAD_REQUEST, body));
    }
    if trigger != "push_events" {
        return Err(unprocessable(&format!(
            "Ensure the project has {}.",
            trigger.trim_end_matches("_events")
        )));
    }
    let branch = project.default_branch.clone();
    let push = pushes::sample(&world, project, &branch).await?;
    let push = push.ok_or_else(|| unprocessable("Ensure the project has at least one commit."))?;
    let message = payloads::push(&world, &hook, &push);
    let delivered = deliver(&world, Provider::Gitlab, (target.id, hook.id), message).await;
    let delivered = delivered.ok_or_else(|| not_found(""))?;
    if !delivered.answer.is_good() {
        return Err(unprocessable(&shapes::outcome(&delivered)));
    }
    Ok((StatusCode::CREATED, Json(json!({"message": "201 Created"}))).into_response())
}

/// The query of the log.
#[derive(Deserialize)]
pub struct Wanted {
    /// `successful`, `client_failure`, `server_failure`, or a status code.
    status: Option<String>,
}

/// `GET …/hooks/:hook_id/events`, newest first; since GitLab 17.3.
pub async fn events(
    Shared(world): Shared<Arc<World>>,
    target: Target,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> Result<Response, Refusal> {
    if !world.switches.read().gitlab.hook_events {
        return Err(not_found(""));
    }
    let oldest = world.clock.now() - KEPT;
    let mut state = world.forges.gitlab.lock();
    let hook = hooks::find(&target, &mut state)?;
    let kept = hook.deliveries.iter().rev().filter(|d| d.sent_at >= oldest);
    let shown = kept.filter(|d| is_wanted(d, wanted.status.as_deref()));
    let address = format!(
        "{}/hooks/{}/events",
        Addresses::of(&world).project_api(target.id),
        hook.id
    );
    Ok(paging.of(
        shown.map(shapes::delivery).collect::<Vec<Value>>(),
        MOST,
        &address,
    ))
}

/// `POST …/hooks/:hook_id/events/:hook_log_id/resend`; since GitLab 17.4.
pub async fn resend(
    Shared(world): Shared<Arc<World>>,
    target: Target,
) -> Result<Response, Refusal> {
    if !world.switches.read().gitlab.hook_resend {
        return Err(not_found(""));
    }
    let id = target.number("hook_log_id")?;
    let (hook, old) = {
        let mut state = world.forges.gitlab.lock();
        let hook = hooks::find(&target, &mut state)?;
        let old = hook.deliveries.iter().find(|d| d.id == id).cloned();
        (hook.id, old.ok_or_else(|| not_found(""))?)
    };
    spend(&world, &target, "resends")?;
    let message = Message {
        event: old.event,
        headers: payloads::headers(&world, hook, "Push Hook", None),
        body: old.payload,
        encoding: Encoding::Json,
    };
    let delivered = deliver(&world, Provider::Gitlab, (target.id, hook), message).await;
    let status = delivered.and_then(|d| d.answer.status.ok());
    Ok((
        StatusCode::CREATED,
        Json(json!({"response_status": status})),
    )
        .into_response())
}

fn is_wanted(delivery: &Delivery, status: Option<&str>) -> bool {
    let code = delivery.answer.status.ok();
    match status {
        None => true,
        Some("successful") => delivery.answer.is_good(),
        Some("client_failure") => code.is_some_and(|c| (400..500).contains(&c)),
        Some("server_failure") => code.is_none_or(|c| c >= 500),
        Some(exact) => exact.parse().ok() == code,
    }
}

/// About five a minute of one user in one project.
fn spend(world: &World, target: &Target, what: &str) -> Result<(), Refusal> {
    let calls = world.switches.read().gitlab.hook_tests_per_minute;
    let login = target.visitor.login().unwrap_or_default();
    let caller = format!("{login} {what} in {}", target.id);
    let limit = Limit { calls, seconds: 60 };
    let rate = limit.take(&mut world.forges.gitlab.lock(), &caller, world.clock.now());
    if !rate.is_exceeded() {
        return Ok(());
    }
    let why = "This endpoint has been requested too many times. Try again later.";
    let refusal = refused(StatusCode::TOO_MANY_REQUESTS, json!({"error": why}));
    Err(refusal.with("retry-after", &rate.wait_seconds().to_string()))
}
