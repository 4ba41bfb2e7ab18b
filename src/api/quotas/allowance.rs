//! How callers learn of their quota: the headers of draft-ietf-httpapi-ratelimit-headers-10.

use std::{
    num::NonZeroU32,
    sync::{Arc, OnceLock},
};

use axum::{
    extract::Request,
    http::{Extensions, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What a tenant has left of a quota.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Which quota.
    pub name: &'static str,
    /// The whole of it.
    pub most: NonZeroU32,
    /// Seconds in which it is given back, if time gives it back.
    pub window: Option<u32>,
    /// What is left.
    pub remaining: u32,
    /// Seconds until there is more; absent while there is some.
    pub more_in: Option<u32>,
}

impl Allowance {
    /// The quota and its window; what remains, and after how many seconds there is more.
    pub fn headers(&self) -> [(HeaderName, HeaderValue); 2] {
        let Self { name, most, .. } = self;
        let parameter = |key: &str, value: Option<u32>| {
            value.map_or(String::new(), |value| format!(";{key}={value}"))
        };
        let policy = format!("\"{name}\";q={most}{}", parameter("w", self.window));
        let left = format!(
            "\"{name}\";r={}{}",
            self.remaining,
            parameter("t", self.more_in)
        );
        [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)].map(|(header, text)| {
            let value = HeaderValue::try_from(text);
            (header, value.expect("names and numbers are visible ASCII"))
        })
    }

    /// Notes it for the answer to the request with these extensions.
    pub fn note(self, extensions: &Extensions) {
        if let Some(note) = extensions.get::<Note>() {
            // Of two, the first one counts.
            note.0.set(self).ok();
        }
    }
}

/// Where the allowance of a request is written down while it is being answered.
#[derive(Debug, Clone, Default)]
struct Note(Arc<OnceLock<Allowance>>);

/// Middleware: says in each answer what is left of the quota that the request was counted in. Refusals name the quota that
/// they are about.
pub async fn tell(mut request: Request, next: Next) -> Response {
    let note = Note::default();
    request.extensions_mut().insert(note.clone());
    let mut response = next.run(request).await;
    if let Some(allowance) = note.0.get() {
        for (name, value) in allowance.headers() {
            response.headers_mut().entry(name).or_insert(value);
        }
    }
    response
}
