//! Calling one instance with one credential.

use std::{sync::Arc, time::Instant};

use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, IF_NONE_MATCH,
        LOCATION,
    },
};
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use url::Url;

use super::{
    Answer, Budgets, Call, CallClass, Class, Credential, Http, Instance, NoBudget, UpstreamError,
    WritePace, journal, memory, rate::RateState,
};
use crate::link::failure::{FailureCode, UpstreamTrace};

/// Longest rest of a credential that a call waits for in place.
const SHORT_REST: time::Duration = time::Duration::seconds(10);
/// Most redirects of one call.
const REDIRECTS: usize = 3;
/// Most pages of one list.
const PAGES: usize = 100;

/// What is special about talking to a vendor.
pub struct Dialect {
    /// `Accept` header.
    pub accept: &'static str,
    /// Headers of every request.
    pub headers: &'static [(&'static str, &'static str)],
    /// What any answer but a proper 2xx means: 203 and pages for people are none.
    pub classify: fn(&Answer) -> UpstreamError,
}

/// One page of a list.
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Address of the next one; `None` on the last.
    pub next: Option<Url>,
}

/// The way to call one instance with one credential; cheap to clone.
#[derive(Clone)]
pub struct Access {
    client: Client,
    instance: Arc<Instance>,
    credential: Credential,
    dialect: &'static Dialect,
    rate: Arc<RateState>,
    /// What all processes share of rate limits.
    budgets: Option<Arc<dyn Budgets>>,
    /// How fast things may be made, where the vendor limits that.
    pace: Option<WritePace>,
}

impl Access {
    /// Prepares to call; nothing is sent yet. Use `netlify::access` or `providers::for_instance`.
    ///
    /// # Errors
    /// `internal` when the instance's certificates cannot be loaded.
    pub fn new(
        http: &Http,
        instance: Arc<Instance>,
        credential: Credential,
        dialect: &'static Dialect,
    ) -> Result<Self, UpstreamError> {
        let client = http
            .client(&instance)
            .map_err(|error| unsent(&instance, FailureCode::Internal, error.to_string()))?;
        Ok(Self {
            client,
            budgets: http.budgets(),
            pace: http.pace(&instance),
            rate: http.rates().state(&instance, &credential),
            instance,
            credential,
            dialect,
        })
    }

    /// Whom it calls.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The upstream's time now: its timestamps are to be compared with this, not with our clock.
    pub fn upstream_now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.rate.clock_offset()
    }

    /// Sends one request, follows redirects within the origin, and reads the answer.
    ///
    /// # Errors
    /// What the vendor's [`Dialect`] makes of any answer but a proper 2xx; `rate_limited` at once, without a call, while the
    /// credential has to rest; `upstream_unavailable` when there is no answer.
    pub async fn send(&self, call: Call) -> Result<Answer, UpstreamError> {
        if let Some(budgets) = &self.budgets {
            let asked = self.rate.ask_others(budgets.as_ref()).await;
            asked.map_err(|error| self.without_budget(&error))?;
        }
        let _admitted = self.rate.admit().await?;
        let mut url = call.url(&self.instance.api);
        let mut redirected = false;
        for _ in 0..=REDIRECTS {
            let mut answer = self.exchange(&call, url).await?;
            answer.redirected = redirected;
            match redirect_target(&answer) {
                Some(target) => url = target,
                None => return self.judge(&call, answer),
            }
            redirected = true;
        }
        Err(self.lost(&call.method, "redirected too often".to_owned(), None))
    }

    /// Reads a list to its end, page by page.
    ///
    /// # Errors
    /// As [`Access::send`]; `upstream_contract_changed` when the list leads elsewhere or does not end.
    pub async fn pages<T: DeserializeOwned>(&self, first: Call) -> Result<Vec<T>, UpstreamError> {
        let open = |answer: &Answer| {
            let (items, next) = (answer.json()?, answer.next_page());
            Ok(Page { items, next })
        };
        self.pages_by(first, open).await
    }

    /// Reads a list to its end whose pages have a form of the vendor's own, which `open` reads.
    ///
    /// # Errors
    /// As [`Access::pages`].
    pub async fn pages_by<T>(
        &self,
        first: Call,
        open: fn(&Answer) -> Result<Page<T>, UpstreamError>,
    ) -> Result<Vec<T>, UpstreamError> {
        let mut items = Vec::new();
        let mut call = first;
        for _ in 0..PAGES {
            let answer = self.send(call).await?;
            let mut page = open(&answer)?;
            items.append(&mut page.items);
            match page.next {
                None => return Ok(items),
                Some(next) if next.origin() == answer.url.origin() => call = Call::next_page(next),
                Some(_) => return Err(answer.contract_changed("continues at another origin")),
            }
        }
        let detail = format!(
            "A list of {} has more than {PAGES} pages.",
            self.instance.kind
        );
        Err(unsent(
            &self.instance,
            FailureCode::UpstreamContractChanged,
            detail,
        ))
    }

    /// A failure that is known before anything is sent.
    pub fn unsent(&self, code: FailureCode, detail: impl Into<String>) -> UpstreamError {
        unsent(&self.instance, code, detail.into())
    }

    /// A 2xx is an answer, all else a failure. No answer are 203, by which Azure DevOps says "sign in", and a page for people,
    /// which some proxy has put in place of what was asked for: nothing was done.
    fn judge(&self, call: &Call, mut answer: Answer) -> Result<Answer, UpstreamError> {
        let is_substitute =
            answer.status == StatusCode::NON_AUTHORITATIVE_INFORMATION || answer.is_page();
        if answer.status.is_success() && !is_substitute {
            self.rate.accept();
            return Ok(answer);
        }
        let body = self.credential.hide(&String::from_utf8_lossy(&answer.body));
        answer.body = call.hide(body).into_bytes();
        let error = (self.dialect.classify)(&answer);
        if let Class::RateLimited { until } = error.class {
            self.rate.park(until);
        }
        let is_refusal = error.code == FailureCode::CredentialRefused;
        if is_refusal && !self.is_anonymous() && !call.is_told_by_role {
            self.rate.refuse(&error);
        } else if !is_refusal && matches!(error.class, Class::NotFound | Class::Refused) {
            self.rate.accept();
        }
        Err(error)
    }

    /// One request and its answer, noted in the log and counted.
    async fn exchange(&self, call: &Call, url: Url) -> Result<Answer, UpstreamError> {
        self.sit_out().await;
        self.may_call()?;
        self.may_make(call).await?;
        let started = Instant::now();
        let path = url.path().to_owned();
        let mut request = self.request(call, url.clone())?;
        // What an app asks as itself is how to get in, and no part of a look.
        let is_look = !matches!(self.credential, Credential::GithubApp(_));
        let known = memory::known(self.instance.kind, &call.method, &url);
        if let Some(tag) = known.filter(|_| is_look) {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let write = journal::about_to_send(self.instance.kind, &call.method, &url)
            .map_err(|journal::NoLeave| self.without_leave())?;
        if let Some(body) = &call.body {
            request = request.body(write.body(body.clone()));
        }
        let result = match request.send().await {
            Ok(response) => self.read(call, response).await,
            Err(_) if write.is_withheld() => Err(self.without_leave()),
            Err(error) => Err(self.no_answer(&call.method, &error)),
        };
        write.ended(&result);
        self.note(&call.method, &path, &result, started);
        match result {
            Ok(answer) if memory::note(&url, &answer) => {
                let what = "nothing has changed since the last look";
                Err(self.lost(&call.method, what.to_owned(), Some(answer.status)))
            }
            result => result,
        }
    }

    /// Nothing was sent, and whoever may write by now goes on.
    fn without_leave(&self) -> UpstreamError {
        let detail = journal::NoLeave.to_string();
        UpstreamError {
            class: Class::Transient,
            ..self.unsent(FailureCode::UpstreamUnavailable, detail)
        }
    }

    /// Whether calls are made without a credential.
    pub fn is_anonymous(&self) -> bool {
        matches!(self.credential, Credential::Anonymous)
    }

    /// Sits out a short rest in place. Who gave up instead would begin a step of several calls anew after each of them, for
    /// ever, where a vendor asks for patience with every answer, as Azure DevOps does.
    async fn sit_out(&self) {
        let now = OffsetDateTime::now_utc();
        let rest = self.rate.blocked_until(now).map(|until| until - now);
        if let Some(rest) = rest.filter(|rest| *rest <= SHORT_REST) {
            tokio::time::sleep(rest.unsigned_abs()).await;
        }
    }

    fn may_call(&self) -> Result<(), UpstreamError> {
        let now = OffsetDateTime::now_utc();
        let rests = self.rate.blocked_until(now);
        let Some(until) = rests.or_else(|| self.rate.reserved_until(CallClass::current(), now))
        else {
            return Ok(());
        };
        Err(self.held_back(until))
    }

    /// Takes the right to make something from the budget that all processes share.
    async fn may_make(&self, call: &Call) -> Result<(), UpstreamError> {
        let (Some(budgets), Some(pace), &Method::POST) = (&self.budgets, self.pace, &call.method)
        else {
            return Ok(());
        };
        let pause = self.rate.take_write(budgets.as_ref(), pace).await;
        match pause.map_err(|error| self.without_budget(&error))? {
            None => Ok(()),
            Some(pause) => Err(self.held_back(OffsetDateTime::now_utc() + pause)),
        }
    }

    /// Nothing was sent.
    fn without_budget(&self, error: &NoBudget) -> UpstreamError {
        UpstreamError {
            class: Class::Transient,
            ..self.unsent(FailureCode::UpstreamUnavailable, error.to_string())
        }
    }

    fn held_back(&self, until: OffsetDateTime) -> UpstreamError {
        let detail = format!(
            "The rate limit of {} is used up for this credential.",
            self.instance.kind
        );
        UpstreamError {
            class: Class::RateLimited { until },
            ..unsent(&self.instance, FailureCode::RateLimited, detail)
        }
    }

    /// All but the body.
    fn request(&self, call: &Call, url: Url) -> Result<RequestBuilder, UpstreamError> {
        let authorization = self.credential.authorization().map_err(|why| {
            unsent(
                &self.instance,
                FailureCode::CredentialRefused,
                why.to_string(),
            )
        })?;
        let mut request = self
            .client
            .request(call.method.clone(), url)
            .header(ACCEPT, self.dialect.accept);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        for (name, value) in self.dialect.headers {
            request = request.header(*name, *value);
        }
        Ok(match &call.body {
            Some(_) => request.header(CONTENT_TYPE, "application/json"),
            None if matches!(call.method, Method::GET | Method::DELETE) => request,
            // Not sent by itself for an empty body, and some gateways insist on it (411).
            None => request.header(CONTENT_LENGTH, 0),
        })
    }

    async fn read(&self, call: &Call, mut response: Response) -> Result<Answer, UpstreamError> {
        let status = response.status();
        let retry_at = self
            .rate
            .observe(response.headers(), OffsetDateTime::now_utc());
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(None) => break,
                Ok(Some(chunk)) if body.len() + chunk.len() <= call.answer_bytes => {
                    body.extend_from_slice(&chunk);
                }
                Ok(Some(_)) => {
                    let cause = format!("the answer is larger than {} bytes", call.answer_bytes);
                    return Err(self.lost(&call.method, cause, Some(status)));
                }
                Err(error) => {
                    return Err(self.lost(&call.method, root_cause(&error), Some(status)));
                }
            }
        }
        Ok(Answer {
            upstream: self.instance.kind,
            method: call.method.clone(),
            url: response.url().clone(),
            redirected: false,
            status,
            headers: self.without_echoes(call, response.headers()),
            body,
            retry_at,
        })
    }

    /// Request ids go into logs and answers: a header that repeats the secret does not come in.
    fn without_echoes(&self, call: &Call, headers: &HeaderMap) -> HeaderMap {
        let is_clean = |value: &HeaderValue| {
            let text = String::from_utf8_lossy(value.as_bytes());
            call.hide(self.credential.hide(&text)) == text
        };
        let clean = headers.iter().filter(|(_, value)| is_clean(value));
        clean
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Without a connection nothing was sent; after that a write may have happened.
    fn no_answer(&self, method: &Method, error: &reqwest::Error) -> UpstreamError {
        let mut lost = self.lost(method, root_cause(error), None);
        if error.is_connect() {
            lost.class = Class::Transient;
        }
        lost
    }

    fn lost(&self, method: &Method, cause: String, status: Option<StatusCode>) -> UpstreamError {
        let cause = crate::redact::excerpt(&self.credential.hide(&cause));
        let detail = format!("No usable answer from {}: {cause}.", self.instance.kind);
        let mut error = unsent(&self.instance, FailureCode::UpstreamUnavailable, detail);
        error.trace.status = status.map(|status| status.as_u16());
        error.class = match *method {
            Method::GET => Class::Transient,
            _ => Class::Uncertain,
        };
        error
    }

    fn note(
        &self,
        method: &Method,
        path: &str,
        result: &Result<Answer, UpstreamError>,
        started: Instant,
    ) {
        let upstream = self.instance.kind.as_str();
        let answer = result.as_ref().ok();
        tracing::debug!(
            upstream,
            %method,
            path,
            status = answer.map(|answer| answer.status.as_u16()),
            request_id = answer.and_then(Answer::request_id),
            duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "upstream call"
        );
        metrics::counter!(
            "linkbroker_upstream_calls_total",
            "upstream" => upstream,
            "method" => method.to_string(),
            "outcome" => outcome(answer),
        )
        .increment(1);
    }
}

fn outcome(answer: Option<&Answer>) -> &'static str {
    match answer.map(|answer| answer.status.as_u16()) {
        None => "no_answer",
        Some(200..=299) => "ok",
        Some(300..=399) => "redirected",
        Some(429) => "rate_limited",
        Some(400..=499) => "refused",
        Some(_) => "failed",
    }
}

/// Where to go on, when the answer is a redirect that keeps method and body and stays within the origin.
///
/// GitHub sends 301 and 307 for renamed repositories and wants both followed with the method kept. Azure DevOps asks for
/// a sign-in by a redirect, which leads to no answer.
fn redirect_target(answer: &Answer) -> Option<Url> {
    let keeps_method = match answer.status {
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => true,
        StatusCode::FOUND => answer.is_read(),
        _ => false,
    };
    let target = answer.url.join(answer.header(LOCATION.as_str())?).ok()?;
    let signs_in = target.path().contains("/_signin");
    let stays = target.origin() == answer.url.origin() && !signs_in;
    (keeps_method && stays).then_some(target)
}

/// A failure before anything was sent.
fn unsent(instance: &Instance, code: FailureCode, detail: String) -> UpstreamError {
    UpstreamError {
        code,
        class: Class::Refused,
        detail,
        trace: UpstreamTrace {
            upstream: instance.kind.as_str().to_owned(),
            status: None,
            request_id: None,
        },
    }
}

/// The innermost cause: the outer ones repeat the address.
fn root_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
