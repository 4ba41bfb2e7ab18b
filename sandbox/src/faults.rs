//! Faults that a test plays on chosen calls: another status, a delay, a lost answer, a reset, a malformed body.

use std::collections::BTreeMap;

use axum::http::Method;
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
    pub fault: Fault,
}

/// What happens to a disturbed call. In JSON: `"lost_answer"`, `"reset"`, `{"status": 503, "body": …, "headers": {…}}`,
/// `{"delay_ms": 500}` or `{"body": "<html>"}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The effect happens, then the connection is closed without an answer.
    LostAnswer,
    /// The connection is reset before any effect.
    Reset,
    /// Answer this instead; the call has no effect.
    #[serde(untagged)]
    Answer {
        status: u16,
        /// A JSON string is sent as plain text, anything else as JSON.
        #[serde(default)]
        body: Option<Value>,
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// Handle the call after so many milliseconds.
    #[serde(untagged)]
    Delay { delay_ms: u64 },
    /// The effect happens and the status is right, but the body is this text.
    #[serde(untagged)]
    Body { body: String },
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

#[derive(Debug)]
struct Armed {
    rule: FaultRule,
    path: Regex,
    seen: u64,
}

impl Armed {
    fn matches(&self, upstream: Upstream, method: &Method, path: &str) -> bool {
        let right_method = |m: &String| m.eq_ignore_ascii_case(method.as_str());
        self.rule.upstream == upstream
            && self.rule.method.as_ref().is_none_or(right_method)
            && self.path.is_match(path)
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

    /// The fault for this call, if one is due. Each rule that matches counts the call; the oldest one that is due wins.
    pub fn take(&self, upstream: Upstream, method: &Method, path: &str) -> Option<Fault> {
        let mut due = None;
        for armed in self.armed.lock().iter_mut() {
            if armed.matches(upstream, method, path) && armed.strikes() {
                due.get_or_insert_with(|| armed.rule.fault.clone());
            }
        }
        due
    }
}
