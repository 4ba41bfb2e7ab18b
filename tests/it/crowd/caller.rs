//! What a patient caller does: waits, tries again, takes back.

use reqwest::Method;
use serde_json::Value;

use crate::world::{Client, text};

/// How often it tries again, or takes back once more, before it gives up.
const TRIES: usize = 40;

/// The link, once it has another version than this or some time has passed.
pub async fn read(client: &Client, id: &str, after: Option<u64>) -> Value {
    let path = match after {
        Some(version) => format!("/links/{id}?wait=5&after={version}"),
        None => format!("/links/{id}"),
    };
    client.glance(&path).await
}

pub async fn at_rest(client: &Client, id: &str) -> Value {
    let mut link = read(client, id, None).await;
    while link.get("poll_after_ms").is_some() {
        link = read(client, id, link["version"].as_u64()).await;
    }
    link
}

/// Tries again until the link is live.
pub async fn live(client: &Client, id: &str) -> Result<(), String> {
    let mut link = Value::Null;
    for _ in 0..TRIES {
        link = at_rest(client, id).await;
        if link["status"] == "live" {
            return Ok(());
        }
        let path = format!("/links/{id}/retry");
        client.send(Method::POST, &path, |it| it).await;
    }
    Err(format!(
        "it does not become live: {}: {}",
        text(&link["status"]),
        link["diagnosis"]
    ))
}

/// Takes back until the link is over.
pub async fn gone(client: &Client, id: &str) -> Result<(), String> {
    let mut link = Value::Null;
    for _ in 0..TRIES {
        client.delete(&format!("/links/{id}")).await;
        link = at_rest(client, id).await;
        if link["status"] == "unlinked" || link["status"] == "canceled" {
            return Ok(());
        }
    }
    Err(format!(
        "it is not taken back: {}: {}",
        text(&link["status"]),
        link["diagnosis"]
    ))
}
