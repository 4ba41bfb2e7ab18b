//! What a caller does: asks for a link, waits, takes it back.

use std::time::Duration;

use linkbroker_sandbox::recorder::Call;
use serde_json::Value;
use tokio::time::sleep;

use crate::world::{Client, World, text};

/// Callers come back so much later than they are asked to: thousands that read often would be the most that a run pays for.
const UNHURRIED: u32 = 4;

/// Asks for a link; its id.
pub async fn link(client: &Client, request: Value) -> Result<String, String> {
    let answer = client.post("/links", request).await;
    match answer.status {
        202 => Ok(answer.id()),
        other => Err(format!("the request was answered {other} {}", answer.text)),
    }
}

/// The link, once it has another version than this or some time has passed.
pub async fn read(client: &Client, id: &str, after: Option<u64>) -> Value {
    let path = match after {
        Some(version) => format!("/links/{id}?wait=5&after={version}"),
        None => format!("/links/{id}"),
    };
    client.get(&path).await.expect(200).body
}

/// The link once nothing changes by itself any more.
pub async fn at_rest(client: &Client, id: &str) -> Value {
    let mut link = read(client, id, None).await;
    while let Some(pause) = link["poll_after_ms"].as_u64() {
        sleep(Duration::from_millis(pause) * UNHURRIED).await;
        link = read(client, id, None).await;
    }
    link
}

/// Waits until the link is live: whatever happens to it, nobody has to help.
pub async fn live(client: &Client, id: &str) -> Result<(), String> {
    let link = at_rest(client, id).await;
    match link["status"] == "live" {
        true => Ok(()),
        false => Err(why("it does not become live", &link)),
    }
}

/// Takes the link back, and waits until it is over: whatever happens to it, nobody has to ask twice.
pub async fn gone(client: &Client, id: &str) -> Result<(), String> {
    client.delete(&format!("/links/{id}")).await.expect(202);
    over(&at_rest(client, id).await)
}

/// Nothing is left to do about it.
pub fn over(link: &Value) -> Result<(), String> {
    match link["status"] == "unlinked" || link["status"] == "canceled" {
        true => Ok(()),
        false => Err(why("it is not taken back", link)),
    }
}

/// Where a link stands with its steps, what has happened to it, and the calls about its site, for people.
pub async fn stands(world: &World, client: &Client, id: &str) -> String {
    let link = read(client, id, None).await;
    let steps = link["steps"].as_array().cloned().unwrap_or_default();
    let step = |it: &Value| {
        let (name, state, reason) = (&it["name"], &it["state"], &it["reason"]);
        format!("\n  {name} {state}, attempts: {}, {reason}", it["attempts"])
    };
    let steps: String = steps.iter().map(step).collect();
    let page = client
        .get(&format!("/links/{id}/events?limit=100"))
        .await
        .body;
    let events = page["events"].as_array().cloned().unwrap_or_default();
    let event = |it: &Value| format!("\n  {} {} {}", it["at"], it["type"], it["detail"]);
    let events: String = events.iter().map(event).collect();
    let site = text(&link["site"]["id"]);
    let mut calls = world.sandbox.calls();
    calls.retain(|call| !site.is_empty() && call.path.contains(&site));
    let call = |it: &Call| {
        let (method, path, status) = (&it.method, &it.path, it.status);
        let took = it.ended_ms - it.started_ms;
        format!(
            "\n  {:.0} {took:.0} ms: {method} {path} {status:?} {:?}",
            it.started_ms, it.fault
        )
    };
    let calls: String = calls.iter().map(call).collect();
    let (status, version) = (&link["status"], &link["version"]);
    format!("{status} {version}{steps}{events}{calls}")
}

fn why(what: &str, link: &Value) -> String {
    format!("{what}: {}: {:#}", text(&link["status"]), link["diagnosis"])
}
