//! GitHub's two rate limits: so many calls an hour, and so many new things a minute.

use std::collections::VecDeque;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::answer::Refusal;
use super::state::State;

const HOUR: i64 = 3600;
const MINUTE: i64 = 60;

/// How much a caller may do. Sources: GitHub's page on rate limits; the numbers for content are documented as "in general".
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Calls an hour of one user with all his tokens.
    pub calls_per_hour: u64,
    /// Calls an hour without a token.
    pub anonymous_calls_per_hour: u64,
    /// POST calls a minute of one user; the secondary limit.
    pub content_per_minute: usize,
    /// POST calls an hour of one user.
    pub content_per_hour: usize,
    /// Refuse with 429 instead of 403; GitHub does both.
    pub refuse_with_429: bool,
    /// Send `Retry-After` with the secondary limit; GitHub does not always.
    pub retry_after: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_per_hour: 5000,
            anonymous_calls_per_hour: 60,
            content_per_minute: 80,
            content_per_hour: 500,
            refuse_with_429: false,
            retry_after: true,
        }
    }
}

/// What one caller has used up.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    used: u64,
    /// Unix seconds at which `used` starts again from 0.
    resets_at: i64,
    /// Unix seconds of his POST calls within the last hour.
    posts: VecDeque<i64>,
}

/// The state of a caller's hour, as every answer tells it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rate {
    pub limit: u64,
    pub used: u64,
    pub remaining: u64,
    pub reset: i64,
}

impl Rate {
    /// `x-ratelimit-*`.
    pub fn headers(self) -> [(HeaderName, HeaderValue); 5] {
        [
            (
                HeaderName::from_static("x-ratelimit-limit"),
                self.limit.into(),
            ),
            (
                HeaderName::from_static("x-ratelimit-remaining"),
                self.remaining.into(),
            ),
            (
                HeaderName::from_static("x-ratelimit-used"),
                self.used.into(),
            ),
            (
                HeaderName::from_static("x-ratelimit-reset"),
                self.reset.into(),
            ),
            (
                HeaderName::from_static("x-ratelimit-resource"),
                HeaderValue::from_static("core"),
            ),
        ]
    }
}

/// Whose budget a call is taken from.
#[derive(Clone, Debug)]
pub struct Payer {
    /// `None` without a token.
    pub login: Option<String>,
    pub now: i64,
}

impl Payer {
    fn limit(&self, limits: &Limits) -> u64 {
        match self.login {
            Some(_) => limits.calls_per_hour,
            None => limits.anonymous_calls_per_hour,
        }
    }

    fn budget<'s>(&self, state: &'s mut State) -> &'s mut Budget {
        let name = self.login.clone().unwrap_or_default().to_ascii_lowercase();
        let budget = state.budgets.entry(name).or_default();
        if self.now >= budget.resets_at {
            budget.used = 0;
            budget.resets_at = self.now + HOUR;
        }
        budget
    }

    /// What is left, without taking anything.
    pub fn rate(&self, state: &mut State, limits: &Limits) -> Rate {
        let limit = self.limit(limits);
        let budget = self.budget(state);
        Rate {
            limit,
            used: budget.used.min(limit),
            remaining: limit.saturating_sub(budget.used),
            reset: budget.resets_at,
        }
    }

    /// Takes one call.
    ///
    /// # Errors
    /// The refusal when nothing is left.
    pub fn take(&self, state: &mut State, limits: &Limits, creates: bool) -> Result<(), Refusal> {
        if self.rate(state, limits).remaining == 0 {
            return Err(self.exhausted(limits));
        }
        let budget = self.budget(state);
        budget.used += 1;
        if creates && self.login.is_some() {
            return budget.take_post(self.now, limits);
        }
        Ok(())
    }

    /// Gives one call back: a 304 for a caller with a token is free.
    pub fn give_back(&self, state: &mut State) {
        if self.login.is_some() {
            let budget = self.budget(state);
            budget.used = budget.used.saturating_sub(1);
        }
    }

    fn exhausted(&self, limits: &Limits) -> Refusal {
        let who = match &self.login {
            Some(login) => format!("user {login}"),
            None => "127.0.0.1. (But here's the good news: Authenticated requests get a higher rate limit.)".to_owned(),
        };
        Refusal::new(
            status(limits),
            &format!("API rate limit exceeded for {who}"),
        )
    }
}

impl Budget {
    fn take_post(&mut self, now: i64, limits: &Limits) -> Result<(), Refusal> {
        self.posts.retain(|at| now - at < HOUR);
        let last_minute = self.posts.iter().filter(|at| now - **at < MINUTE).count();
        let wait = if self.posts.len() >= limits.content_per_hour {
            self.posts
                .front()
                .map_or(HOUR, |first| HOUR - (now - first))
        } else if last_minute >= limits.content_per_minute {
            MINUTE
        } else {
            self.posts.push_back(now);
            return Ok(());
        };
        Err(too_much_content(limits, wait))
    }
}

fn too_much_content(limits: &Limits, wait_seconds: i64) -> Refusal {
    let refusal = Refusal::new(
        status(limits),
        "You have exceeded a secondary rate limit and have been temporarily blocked from content creation. \
         Please retry your request again later.",
    );
    if limits.retry_after {
        refusal.with(header::RETRY_AFTER, &wait_seconds.to_string())
    } else {
        refusal
    }
}

fn status(limits: &Limits) -> StatusCode {
    if limits.refuse_with_429 {
        StatusCode::TOO_MANY_REQUESTS
    } else {
        StatusCode::FORBIDDEN
    }
}
