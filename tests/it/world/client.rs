//! A caller of the API. Every exchange is compared with `openapi.yaml`, and every answer is kept.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, Request, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use super::{description::Description, wait::until};

/// Pause of one of many callers before it comes back to a service that is too busy.
const WHEN_BUSY: Duration = Duration::from_millis(500);

/// One caller, with or without a token.
#[derive(Clone)]
pub struct Client {
    /// Address of the server.
    pub base: String,
    http: reqwest::Client,
    token: Option<String>,
    seen: Arc<Mutex<Vec<String>>>,
    is_of_many: bool,
}

/// What the API answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// `Null` when the body is no JSON.
    pub body: Value,
}

impl Answer {
    /// The answer, if it has this status.
    ///
    /// # Panics
    /// When it has another.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The code of a problem document.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The `id` of what was answered.
    pub fn id(&self) -> String {
        text(&self.body["id"])
    }
}

impl Client {
    /// A caller of the server at this address.
    pub fn new(base: &str, token: Option<String>) -> Self {
        let http = reqwest::Client::builder().no_proxy().build();
        Self {
            base: base.to_owned(),
            http: http.expect("an HTTP client"),
            token,
            seen: Arc::default(),
            is_of_many: false,
        }
    }

    /// The same caller as one of very many: told that the service is too busy it comes back, and its exchanges are neither
    /// compared nor kept.
    pub fn of_many(&self) -> Self {
        Self {
            is_of_many: true,
            ..self.clone()
        }
    }

    /// Another caller, whose answers are kept in the same place.
    pub fn with_token(&self, base: &str, token: Option<String>) -> Self {
        Self {
            base: base.to_owned(),
            token,
            ..self.clone()
        }
    }

    /// The token that it presents.
    pub fn token(&self) -> Option<String> {
        self.token.clone()
    }

    /// Everything that the API ever answered, headers and bodies.
    pub fn seen(&self) -> String {
        self.seen
            .lock()
            .expect("no test panicked in here")
            .join("\n")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, |request| request).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        let sent = body.clone();
        let answer = self
            .exchange(Method::POST, path, |request| request.json(&body))
            .await;
        self.compare(&Method::POST, path, Some(&sent), &answer);
        answer
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, |request| request).await
    }

    /// Any request; `prepare` adds headers and a body.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        prepare: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        let answer = self.exchange(method.clone(), path, prepare).await;
        self.compare(&method, path, None, &answer);
        answer
    }

    fn compare(&self, method: &Method, path: &str, sent: Option<&Value>, answer: &Answer) {
        if !self.is_of_many {
            Description::get().check(method, path, sent, answer);
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        prepare: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let request = prepare(request).build().expect("a request");
        let response = match self.is_of_many {
            true => self.until_not_busy(&request).await,
            false => self.http.execute(request).await.expect("an answer"),
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a body");
        if !self.is_of_many {
            let seen = format!("{headers:?}\n{text}");
            let mut kept = self.seen.lock().expect("no test panicked in here");
            kept.push(seen);
        }
        Answer {
            status,
            headers,
            body: serde_json::from_str(&text).unwrap_or_default(),
            text,
        }
    }

    async fn until_not_busy(&self, request: &Request) -> Response {
        loop {
            let sent = request.try_clone().expect("a body of one piece");
            let response = self.http.execute(sent).await.expect("an answer");
            if response.status() != StatusCode::SERVICE_UNAVAILABLE {
                return response;
            }
            tokio::time::sleep(WHEN_BUSY).await;
        }
    }

    /// Asks for a link; its id.
    pub async fn link(&self, request: Value) -> String {
        self.post("/links", request).await.expect(202).id()
    }

    /// Asks for a link and waits until it settles.
    pub async fn link_settled(&self, request: Value) -> Value {
        let id = self.link(request).await;
        self.settled(&id).await
    }

    /// The link as it is now.
    pub async fn read(&self, id: &str) -> Value {
        self.get(&format!("/links/{id}")).await.expect(200).body
    }

    /// The link once nothing changes by itself any more.
    pub async fn settled(&self, id: &str) -> Value {
        let mut last = Value::Null;
        let settled = until("the link to settle", async || {
            last = self.read(id).await;
            let waits = last.get("poll_after_ms").is_some();
            (!waits).then(|| last.clone())
        });
        settled.await
    }

    /// The link once nothing changes by itself any more, however long that takes: one of very many.
    pub async fn settled_at_last(&self, id: &str) -> Value {
        loop {
            let link = self.read(id).await;
            if link.get("poll_after_ms").is_none() {
                return link;
            }
            let wait = format!("/links/{id}?wait=25&after={}", link["version"]);
            self.get(&wait).await.expect(200);
        }
    }

    /// Tries again and waits until the link settles.
    pub async fn retry(&self, id: &str) -> Value {
        let path = format!("/links/{id}/retry");
        self.send(Method::POST, &path, |request| request)
            .await
            .expect(202);
        self.settled(id).await
    }

    /// Unlinks and waits until that is done; `query` begins with a question mark or is empty.
    pub async fn unlink(&self, id: &str, query: &str) -> Value {
        self.delete(&format!("/links/{id}{query}"))
            .await
            .expect(202);
        self.settled(id).await
    }
}

/// A JSON text as it is.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
