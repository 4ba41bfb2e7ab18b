//! The calls of a way, from a run without faults.

use std::fmt;

use linkbroker_sandbox::recorder::{self, Upstream};

use crate::kills::effects::{name, pattern};

/// When a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// While the link is made.
    Link,
    /// While it is taken back.
    Unlink,
}

/// What a call does at the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Reads,
    Writes,
    Removes,
}

/// One call of a way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub upstream: Upstream,
    pub phase: Phase,
    /// Method and route below the vendor's base.
    pub name: String,
    /// Regular expression for its path.
    pub pattern: String,
}

impl Call {
    /// A call that was made.
    pub fn of(phase: Phase, call: &recorder::Call) -> Self {
        Self {
            upstream: call.upstream,
            phase,
            name: name(call),
            pattern: pattern(call),
        }
    }

    pub fn method(&self) -> &str {
        self.name.split(' ').next().unwrap_or_default()
    }

    /// Whether it looks at the builds of many links at once, so that no link makes it.
    pub fn is_of_a_patrol(&self) -> bool {
        self.name.ends_with("/builds/status")
    }

    /// What it does.
    pub fn kind(&self) -> Kind {
        match self.method() {
            "GET" => Kind::Reads,
            "DELETE" => Kind::Removes,
            _ => Kind::Writes,
        }
    }
}

/// The vendor as the API names it.
pub fn word(upstream: Upstream) -> String {
    let word = serde_json::to_value(upstream).expect("a word");
    crate::world::text(&word)
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = match self.phase {
            Phase::Link => "link",
            Phase::Unlink => "unlink",
        };
        write!(f, "{when}: {}", self.name)
    }
}
