//! Faults that a test plays on chosen calls: which calls, and what becomes of them. `disturb` plays them.

use std::collections::BTreeMap;

use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

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
    /// Only calls that present this token (or this password); any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The first matching call that is disturbed, counted from 1 and from the moment the rule was set.
    #[serde(default = "one")]
    pub nth: u64,
    /// How many matching calls are disturbed from there on.
    #[serde(default = "one")]
    pub times: u64,
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
    /// As if the rest of the request never came: the call stands still until the faults are cleared and ends without an effect
    /// and without an answer.
    HoldRequest,
    /// The effect happens, then the call stands still until the faults are cleared, and ends without an answer.
    HoldAnswer,
    /// Nothing: the call is only counted as struck once it is answered.
    Watch,
    /// The call is answered, then its connection breaks: who uses it again finds it stale.
    StaleConnection,
    /// The effect happens; the first half of the body is all that comes, and it looks complete.
    HalfBody,
    /// The effect happens; the connection breaks in the middle of the body.
    BrokenBody,
    /// The effect happens; the body is a megabyte that unpacks to a gigabyte, and says so.
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
    /// The effect happens and the status is right, but the body is this text.
    #[serde(untagged)]
    Body { body: String },
    /// The effect happens at once; the answer begins after so many milliseconds.
    #[serde(untagged)]
    Late { late_ms: u64 },
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
    /// A list is empty, as one that lags behind.
    EmptyList,
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
            credential: None,
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
    struck: watch::Sender<u64>,
}

/// Path and query of a call.
pub fn target(call: &Parts) -> &str {
    call.uri.path_and_query().map_or("/", |path| path.as_str())
}

impl Armed {
    fn matches(&self, upstream: Upstream, call: &Parts) -> bool {
        let right_method = |m: &String| m.eq_ignore_ascii_case(call.method.as_str());
        self.rule.upstream == upstream
            && self.rule.method.as_ref().is_none_or(right_method)
            && (self.rule.credential.as_ref()).is_none_or(|token| presents(call, token))
            && self.path.is_match(target(call))
    }

    /// Counts a matching call and says whether it is one to disturb.
    fn strikes(&mut self) -> bool {
        self.seen += 1;
        self.seen >= self.rule.nth && self.seen - self.rule.nth < self.rule.times
    }
}

/// Whether a call presents this token, or this password, in one of the forms that the vendors take.
fn presents(call: &Parts, token: &str) -> bool {
    let header = |name| call.headers.get(name).and_then(|value| value.to_str().ok());
    let password = |basic: &str| {
        let decoded = STANDARD.decode(basic).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        text.split_once(':').map(|(_, password)| password == token)
    };
    let authorization = header("authorization").and_then(|value| value.split_once(' '));
    header("private-token") == Some(token)
        || authorization.is_some_and(|(scheme, presented)| {
            match scheme.eq_ignore_ascii_case("basic") {
                true => password(presented) == Some(true),
                false => presented == token,
            }
        })
}

/// A fault that a call meets.
#[derive(Debug)]
pub struct Strike {
    pub fault: Fault,
    struck: watch::Sender<u64>,
}

impl Strike {
    /// Tells whoever has set the rule that the moment of the fault is there.
    pub fn tell(&self) {
        self.struck.send_modify(|count| *count += 1);
    }
}

/// How often a rule has struck: a held call counts from where it stands still, any other when it is over.
#[derive(Clone, Debug)]
pub struct Strikes(watch::Receiver<u64>);

impl Strikes {
    /// By now.
    pub fn count(&self) -> u64 {
        *self.0.borrow()
    }

    /// Resolves when it has struck once; never when the rule is removed before.
    pub async fn first(mut self) {
        if self.0.wait_for(|count| *count > 0).await.is_err() {
            std::future::pending().await
        }
    }
}

/// A rule and how often it has struck.
#[derive(Debug, Serialize)]
pub struct Standing {
    #[serde(flatten)]
    pub rule: FaultRule,
    pub struck: u64,
}

/// All rules that are set, oldest first.
#[derive(Debug, Default)]
pub struct Faults {
    armed: Mutex<Vec<Armed>>,
    /// How often the rules were cleared.
    clearings: watch::Sender<u64>,
}

impl Faults {
    /// Sets a rule; how often it has struck can be followed.
    ///
    /// # Errors
    /// When its path is no regular expression.
    pub fn add(&self, rule: FaultRule) -> Result<Strikes, regex::Error> {
        let path = Regex::new(&rule.path)?;
        let (struck, strikes) = watch::channel(0);
        self.armed.lock().push(Armed {
            rule,
            path,
            seen: 0,
            struck,
        });
        Ok(Strikes(strikes))
    }

    /// Every rule that is set.
    pub fn standing(&self) -> Vec<Standing> {
        let armed = self.armed.lock();
        let standing = armed.iter().map(|armed| Standing {
            rule: armed.rule.clone(),
            struck: *armed.struck.borrow(),
        });
        standing.collect()
    }

    /// Removes all rules, and ends the calls that stand still.
    pub fn clear(&self) {
        self.armed.lock().clear();
        self.clearings.send_modify(|count| *count += 1);
    }

    /// Removes the rules about calls with this credential. What stands still goes on standing.
    pub fn clear_of(&self, credential: &str) {
        let is_other = |armed: &Armed| armed.rule.credential.as_deref() != Some(credential);
        self.armed.lock().retain(is_other);
    }

    /// Resolves when the rules are cleared, counted from now.
    pub fn cleared(&self) -> impl Future<Output = ()> + use<> {
        let mut clearings = self.clearings.subscribe();
        // An error says that the sandbox is gone, and the rules with it.
        async move { drop(clearings.changed().await) }
    }

    /// The fault for this call, if one is due. Each rule that matches counts the call; the oldest one that is due wins.
    pub fn take(&self, upstream: Upstream, call: &Parts) -> Option<Strike> {
        let mut due = None;
        for armed in self.armed.lock().iter_mut() {
            if armed.matches(upstream, call) && armed.strikes() {
                due.get_or_insert_with(|| Strike {
                    fault: armed.rule.fault.clone(),
                    struck: armed.struck.clone(),
                });
            }
        }
        due
    }
}
