//! Faults that a test plays on chosen calls: which call, and what becomes of it. `disturb` plays them.

use std::collections::BTreeMap;

use axum::http::{header, request};
use parking_lot::Mutex;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::recorder::Upstream;

/// Which calls to disturb, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    pub upstream: Upstream,
    /// Any method when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Regular expression searched in the path with query.
    pub path: String,
    /// The first matching call that is disturbed, counted from 1 and from the moment the rule was set.
    #[serde(default = "one")]
    pub nth: u64,
    /// How many matching calls are disturbed from there on.
    #[serde(default = "one")]
    pub times: u64,
    /// Only calls with this token; anybody's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    pub fault: Fault,
}

/// What happens to a disturbed call. In JSON: a word such as `"lost_answer"`, or an object that its members tell apart, such as
/// `{"status": 503, "body": …, "headers": {…}}`, `{"delay_ms": 500}` or `{"body": "<html>"}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The effect happens, then the connection is closed without an answer.
    LostAnswer,
    /// The connection is reset before any effect.
    Reset,
    /// The call is answered, then its connection breaks: who uses it again finds it stale.
    StaleConnection,
    /// The effect happens; the first half of the body is all that comes, and it looks complete.
    HalfBody,
    /// The effect happens; the connection breaks in the middle of the body.
    BrokenBody,
    /// The effect happens; the body is a kilobyte or so that unpacks to a gigabyte, and says so.
    GzipBomb,
    /// Answer this instead; the call has no effect.
    #[serde(untagged)]
    Answer {
        status: u16,
        /// A JSON string is sent as plain text, anything else as JSON.
        #[serde(default)]
        body: Option<Value>,
        /// `{target}` in a value stands for the call's own path and query.
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// Handle the call after so many milliseconds.
    #[serde(untagged)]
    Delay { delay_ms: u64 },
    /// The effect happens at once; the answer begins after so many milliseconds.
    #[serde(untagged)]
    Late { late_ms: u64 },
    /// The effect happens and the status is right, but the body is this text.
    #[serde(untagged)]
    Body { body: String },
    /// The effect happens and is answered, with these headers besides.
    #[serde(untagged)]
    Headers {
        more_headers: BTreeMap<String, String>,
    },
    /// The effect happens; the body comes byte by byte, one in so many milliseconds.
    #[serde(untagged)]
    Drip { drip_ms: u64 },
    /// The effect happens; the body is so long.
    #[serde(untagged)]
    Long { body_bytes: u64 },
    /// The effect happens; the JSON of the answer is another than promised.
    #[serde(untagged)]
    Json { json: Twist },
    /// The connection is reset before any effect, and for so many milliseconds nobody listens where all vendors do.
    #[serde(untagged)]
    Refused { refused_ms: u64 },
    /// The connection is reset before any effect, and for so many milliseconds connections are neither accepted nor refused.
    #[serde(untagged)]
    Hung { hung_ms: u64 },
}

/// How the JSON of an answer differs from what the vendor promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Twist {
    /// Texts are numbers, and numbers are texts.
    WrongTypes,
    /// Words of a closed list are none of it: `state`, `status`, `type`, `kind`, `role`, `visibility`.
    UnknownWords,
    /// Every `id` is null.
    NullIds,
    /// A list has a thousand items more, each a copy of the first under another id, before its own.
    LongList,
}

const fn one() -> u64 {
    1
}

impl FaultRule {
    /// Disturbs the next matching call.
    pub fn next(upstream: Upstream, method: &str, path: &str, fault: Fault) -> Self {
        Self {
            upstream,
            method: Some(method.to_owned()),
            path: path.to_owned(),
            nth: 1,
            times: 1,
            token: None,
            fault,
        }
    }

    /// Disturbs the `nth` matching call instead of the first.
    #[must_use]
    pub fn nth(mut self, nth: u64) -> Self {
        self.nth = nth;
        self
    }

    /// Disturbs so many calls in a row.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }
}

/// Path and query of a call.
pub fn target(head: &request::Parts) -> &str {
    head.uri.path_and_query().map_or("/", |path| path.as_str())
}

fn carries(head: &request::Parts, token: &str) -> bool {
    let authorization = head.headers.get(header::AUTHORIZATION);
    let text = authorization.and_then(|value| value.to_str().ok());
    text.is_some_and(|text| text.ends_with(token))
}

#[derive(Debug)]
struct Armed {
    rule: FaultRule,
    path: Regex,
    seen: u64,
}

impl Armed {
    fn matches(&self, upstream: Upstream, head: &request::Parts) -> bool {
        let right_method = |m: &String| m.eq_ignore_ascii_case(head.method.as_str());
        self.rule.upstream == upstream
            && self.rule.method.as_ref().is_none_or(right_method)
            && self.path.is_match(target(head))
            && self.rule.token.as_ref().is_none_or(|t| carries(head, t))
    }

    /// Counts a matching call and says whether it is one to disturb.
    fn strikes(&mut self) -> bool {
        self.seen += 1;
        self.seen >= self.rule.nth && self.seen - self.rule.nth < self.rule.times
    }
}

/// All rules that are set, oldest first.
#[derive(Debug, Default)]
pub struct Faults {
    armed: Mutex<Vec<Armed>>,
}

impl Faults {
    /// Sets a rule.
    ///
    /// # Errors
    /// When its path is no regular expression.
    pub fn add(&self, rule: FaultRule) -> Result<(), regex::Error> {
        let path = Regex::new(&rule.path)?;
        self.armed.lock().push(Armed {
            rule,
            path,
            seen: 0,
        });
        Ok(())
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.armed.lock().clear();
    }

    /// Removes the rules about calls with this token.
    pub fn clear_of(&self, token: &str) {
        let other = |armed: &Armed| armed.rule.token.as_deref() != Some(token);
        self.armed.lock().retain(other);
    }

    /// The fault for this call, if one is due. Each rule that matches counts the call; the oldest one that is due wins.
    pub fn take(&self, upstream: Upstream, head: &request::Parts) -> Option<Fault> {
        let mut due = None;
        for armed in self.armed.lock().iter_mut() {
            if armed.matches(upstream, head) && armed.strikes() {
                due.get_or_insert_with(|| armed.rule.fault.clone());
            }
        }
        due
    }
}
