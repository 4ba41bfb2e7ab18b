//! One request to an upstream, as data.

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::Url;

use crate::redact;

/// A request: method, address below the instance's API base, query, JSON body.
#[derive(Debug, Clone)]
pub struct Call {
    pub(super) method: Method,
    pub(super) target: Target,
    query: Vec<(&'static str, String)>,
    pub(super) body: Option<Vec<u8>>,
    pub(super) answer_bytes: usize,
    pub(super) is_told_by_role: bool,
    hidden: Vec<SecretString>,
}

/// Most bytes of an answer's body, unless a call says otherwise.
const ANSWER_BYTES: usize = 2 * 1024 * 1024;

/// Where a request goes.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// Path segments below the API base, not yet encoded.
    Segments(Vec<String>),
    /// An address that the upstream itself gave, e.g. the next page of a list.
    Given(Url),
}

impl Call {
    /// Reads `segments` (each is percent-encoded as a whole, slashes included).
    pub fn get<const N: usize>(segments: [&str; N]) -> Self {
        Self::new(Method::GET, segments)
    }

    /// Creates or triggers.
    pub fn post<const N: usize>(segments: [&str; N]) -> Self {
        Self::new(Method::POST, segments)
    }

    /// Changes a part.
    pub fn patch<const N: usize>(segments: [&str; N]) -> Self {
        Self::new(Method::PATCH, segments)
    }

    /// Replaces, or sets a state.
    pub fn put<const N: usize>(segments: [&str; N]) -> Self {
        Self::new(Method::PUT, segments)
    }

    /// Removes.
    pub fn delete<const N: usize>(segments: [&str; N]) -> Self {
        Self::new(Method::DELETE, segments)
    }

    fn new<const N: usize>(method: Method, segments: [&str; N]) -> Self {
        Self {
            method,
            target: Target::Segments(segments.map(str::to_owned).into()),
            query: Vec::new(),
            body: None,
            answer_bytes: ANSWER_BYTES,
            is_told_by_role: false,
            hidden: Vec::new(),
        }
    }

    pub(super) fn next_page(url: Url) -> Self {
        Self {
            target: Target::Given(url),
            ..Self::new(Method::GET, [])
        }
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Expects up to so many bytes in answer, instead of 2 MiB.
    #[must_use]
    pub fn answer_bytes(mut self, bytes: usize) -> Self {
        self.answer_bytes = bytes;
        self
    }

    /// The upstream also answers 401 when the credential is good and the role of its owner does not allow the call: its refusal
    /// says nothing of the credential.
    #[must_use]
    pub fn told_by_role(mut self) -> Self {
        self.is_told_by_role = true;
        self
    }

    /// Names secrets in the body, should a refusal repeat them.
    #[must_use]
    pub fn hiding(mut self, secrets: impl IntoIterator<Item = SecretString>) -> Self {
        self.hidden.extend(secrets);
        self
    }

    /// `text` without the secrets of the body.
    pub(super) fn hide(&self, text: String) -> String {
        let hidden = self.hidden.iter();
        hidden.fold(text, |text, secret| {
            redact::without(&text, secret.expose_secret())
        })
    }

    /// Sets the JSON body.
    ///
    /// # Panics
    /// When `body` cannot be JSON (a map whose keys are not text): a mistake in our own types.
    #[must_use]
    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.body = Some(serde_json::to_vec(body).expect("request types have text keys"));
        self
    }

    /// The full address below `base`.
    pub(super) fn url(&self, base: &Url) -> Url {
        let mut url = match &self.target {
            Target::Given(url) => return url.clone(),
            Target::Segments(_) => base.clone(),
        };
        if let (Target::Segments(segments), Ok(mut path)) = (&self.target, url.path_segments_mut())
        {
            path.pop_if_empty().extend(segments);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cannot_leave_their_place() {
        let base = Url::parse("https://host/api/v1/").unwrap();
        let call = Call::get(["repos", "a/b?c", "branches", "feature/x#1"]).query("q", "a&b=c d");
        assert_eq!(
            call.url(&base).as_str(),
            "https://host/api/v1/repos/a%2Fb%3Fc/branches/feature%2Fx%231?q=a%26b%3Dc+d"
        );
    }
}
