//! What a patient caller does: waits, tries again, takes back.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::time::sleep;

use crate::world::{Client, text};

/// How often it tries again, or takes back once more, before it gives up.
const TRIES: usize = 40;

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
        // As it is asked to: thousands that read every version are the most that a run would pay for.
        sleep(Duration::from_millis(pause)).await;
        link = read(client, id, None).await;
    }
    link
}

/// Tries again until the link is live; how often it had to.
pub async fn live(client: &Client, id: &str) -> Result<usize, String> {
    let mut link = Value::Null;
    for tries in 0..TRIES {
        link = at_rest(client, id).await;
        if link["status"] == "live" {
            return Ok(tries);
        }
        let path = format!("/links/{id}/retry");
        client.send(Method::POST, &path, |it| it).await;
    }
    Err(why("it does not become live", &link))
}

/// Takes back until the link is over; how often it had to.
pub async fn gone(client: &Client, id: &str) -> Result<usize, String> {
    let mut link = Value::Null;
    for tries in 1..=TRIES {
        client.delete(&format!("/links/{id}")).await;
        link = at_rest(client, id).await;
        if link["status"] == "unlinked" || link["status"] == "canceled" {
            return Ok(tries);
        }
    }
    Err(why("it is not taken back", &link))
}

/// Where a link stands with its steps, and what has happened to it, for people.
pub async fn stands(client: &Client, id: &str) -> String {
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
    format!("{} {}{steps}{events}", link["status"], link["version"])
}

fn why(what: &str, link: &Value) -> String {
    format!("{what}: {}: {:#}", text(&link["status"]), link["diagnosis"])
}
