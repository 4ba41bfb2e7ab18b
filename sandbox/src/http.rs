//! What happens around every vendor call: latency, faults, contract check, recording.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header, request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use time::OffsetDateTime;

use crate::contracts::Exchange;
use crate::faults::{Fault, Strike};
use crate::recorder::{Call, Upstream};
use crate::server::Cut;
use crate::world::World;

/// Wraps the routers of all vendors; requests to served sites and to the admin door pass untouched.
pub async fn observe(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let Some(upstream) = Upstream::of(request.uri().path()) else {
        return next.run(request).await;
    };
    let started_ms = unix_ms();
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    let strike = world.faults.take(upstream, &parts);
    let mut call = Call {
        number: 0,
        upstream,
        method: parts.method.to_string(),
        path: path.to_owned(),
        route: matched(&parts),
        status: None,
        request_id: None,
        started_ms,
        ended_ms: 0.0,
        fault: strike.as_ref().and_then(disturbance),
    };
    let latency = Latency::start(world.switches.read().latency_ms);
    latency.way_in().await;
    let mut response = match collect(body).await {
        Ok(body) => handle(&world, upstream, parts, body, strike.as_ref(), next).await,
        Err(answer) => answer,
    };
    latency.way_out().await;
    date(&world, &mut response);
    if response.extensions().get::<Cut>().is_none() {
        call.status = Some(response.status().as_u16());
        call.request_id = request_id(&response);
    }
    call.ended_ms = unix_ms();
    world.recorder.record(call);
    if let Some(strike) = strike.filter(|it| !is_hold(&it.fault)) {
        strike.tell();
    }
    response
}

/// Vendors tell the time by their own clock, unless a fault has said another one.
fn date(world: &World, response: &mut Response) {
    let now = crate::clock::http_date(world.clock.now());
    let now = HeaderValue::try_from(now).expect("a date is a valid header");
    response.headers_mut().entry(header::DATE).or_insert(now);
}

/// How the recorder names what was done to a call.
fn disturbance(strike: &Strike) -> Option<String> {
    match &strike.fault {
        Fault::Watch => None,
        fault => Some(format!("{fault:?}")),
    }
}

const fn is_hold(fault: &Fault) -> bool {
    matches!(fault, Fault::HoldRequest | Fault::HoldAnswer)
}

/// The wanted duration of a call: half of it passes before the effect, the rest before the answer, whatever the sandbox's own
/// work took.
struct Latency {
    started: Instant,
    whole: Duration,
}

impl Latency {
    fn start(whole_ms: u64) -> Self {
        Self {
            started: Instant::now(),
            whole: Duration::from_millis(whole_ms),
        }
    }

    async fn way_in(&self) {
        self.pass(self.whole / 2).await;
    }

    async fn way_out(&self) {
        self.pass(self.whole).await;
    }

    async fn pass(&self, since_start: Duration) {
        // Even a sleep of nothing takes a tick of tokio's timer, a whole millisecond.
        if self.started.elapsed() < since_start {
            tokio::time::sleep_until((self.started + since_start).into()).await;
        }
    }
}

async fn handle(
    world: &World,
    upstream: Upstream,
    parts: request::Parts,
    body: Bytes,
    strike: Option<&Strike>,
    next: Next,
) -> Response {
    let is_trusted = world.switches.read().trust_clients;
    let exchange = (!is_trusted).then(|| Exchange::new(upstream, &parts, &body));
    if let Some(exchange) = &exchange {
        world.contracts.check_request(exchange);
    }
    let request = Request::from_parts(parts, Body::from(body));
    let exchange = exchange.as_ref();
    let Some(strike) = strike else {
        return checked(world, exchange, next.run(request).await).await;
    };
    match &strike.fault {
        Fault::Answer {
            status,
            body,
            headers,
        } => canned(*status, body.clone(), headers),
        Fault::Reset => Cut::Reset.into_response(),
        Fault::LostAnswer => {
            next.run(request).await;
            Cut::Close.into_response()
        }
        Fault::HoldRequest => stand_still(world, strike).await,
        Fault::HoldAnswer => {
            next.run(request).await;
            stand_still(world, strike).await
        }
        Fault::Body { body: text } => {
            let (mut parts, _) = next.run(request).await.into_parts();
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(text.clone()))
        }
        Fault::Delay { delay_ms } => {
            tokio::time::sleep(Duration::from_millis(*delay_ms)).await;
            checked(world, exchange, next.run(request).await).await
        }
        Fault::Watch => checked(world, exchange, next.run(request).await).await,
    }
}

async fn stand_still(world: &World, strike: &Strike) -> Response {
    let cleared = world.faults.cleared();
    strike.tell();
    cleared.await;
    Cut::Close.into_response()
}

/// Compares an answer of the sandbox with the vendor's description before it leaves.
async fn checked(world: &World, exchange: Option<&Exchange>, response: Response) -> Response {
    let Some(exchange) = exchange else {
        return response;
    };
    let (parts, body) = response.into_parts();
    match collect(body).await {
        Ok(body) => {
            world.contracts.check_answer(exchange, &parts, &body);
            Response::from_parts(parts, Body::from(body))
        }
        Err(answer) => answer,
    }
}

/// The whole body; a client that leaves in the middle of its own request gets what a proxy would answer.
async fn collect(body: Body) -> Result<Bytes, Response> {
    match body.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => {
            Err((StatusCode::BAD_REQUEST, format!("unreadable body: {error}")).into_response())
        }
    }
}

fn canned(
    status: u16,
    body: Option<serde_json::Value>,
    headers: &std::collections::BTreeMap<String, String>,
) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match body {
        None => status.into_response(),
        Some(serde_json::Value::String(text)) => (status, text).into_response(),
        Some(json) => (status, axum::Json(json)).into_response(),
    };
    for (name, value) in headers {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => {
                response.headers_mut().insert(name, value);
            }
            _ => tracing::warn!(name, "the fault's header is not valid and was left out"),
        }
    }
    response
}

fn matched(parts: &request::Parts) -> Option<String> {
    parts
        .extensions
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned())
}

fn request_id(response: &Response) -> Option<String> {
    ["x-request-id", "x-github-request-id", "x-vss-e2eid"]
        .iter()
        .find_map(|name| response.headers().get(*name))
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

/// Real time, not the movable clock: rounds are computed from it.
fn unix_ms() -> f64 {
    OffsetDateTime::now_utc().unix_timestamp_nanos() as f64 / 1e6
}
