//! Sends one webhook message and tells what the receiver said.

use std::collections::BTreeMap;
use std::time::Instant;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::world::World;

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    TimedOut,
    CannotConnect,
    Ended,
}

/// What the receiver of a message said.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status, or why there is none.
    pub status: Result<u16, Silence>,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    pub seconds: f64,
}

impl Answer {
    /// Whether the receiver took the message.
    pub fn is_good(&self) -> bool {
        self.status.is_ok_and(|status| (200..300).contains(&status))
    }

    async fn read(response: reqwest::Response) -> Result<Self, reqwest::Error> {
        Ok(Self {
            status: Ok(response.status().as_u16()),
            headers: readable(response.headers()),
            body: response.text().await?,
            seconds: 0.0,
        })
    }

    fn none(error: &reqwest::Error) -> Self {
        let silence = match error {
            error if error.is_timeout() => Silence::TimedOut,
            error if error.is_connect() => Silence::CannotConnect,
            _ => Silence::Ended,
        };
        Self {
            status: Err(silence),
            headers: BTreeMap::new(),
            body: String::new(),
            seconds: 0.0,
        }
    }
}

/// Sends `body` with these headers; redirects are not followed. An outage of the sandbox's door is sat out.
pub async fn post(
    world: &World,
    url: &str,
    headers: &BTreeMap<String, String>,
    body: String,
) -> Answer {
    let started = Instant::now();
    let answered = loop {
        world.outages.over().await;
        let outages = world.outages.subscribe();
        match send(world, url, headers, &body).await {
            Err(_) if outages.has_changed().is_ok_and(|begun| begun) => {}
            answered => break answered,
        }
    };
    let answer = answered.unwrap_or_else(|error| Answer::none(&error));
    Answer {
        seconds: (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        ..answer
    }
}

fn readable(headers: &HeaderMap) -> BTreeMap<String, String> {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.to_string(), value)
    };
    headers.iter().map(pair).collect()
}

async fn send(
    world: &World,
    url: &str,
    headers: &BTreeMap<String, String>,
    body: &str,
) -> reqwest::Result<Answer> {
    let request = world.http.post(url).body(body.to_owned());
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(name, value)
    });
    Answer::read(request.send().await?).await
}
