//! The calls of a way, from a run without faults.

use std::fmt;

use linkbroker_sandbox::recorder::{self, Upstream};

/// When a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
    pub phase: Phase,
    pub upstream: &'static str,
    pub method: String,
    /// As the sandbox routes it, below the vendor's base.
    pub route: String,
}

impl Call {
    /// A call that was made.
    pub fn of(phase: Phase, call: &recorder::Call) -> Self {
        let (upstream, base) = match call.upstream {
            Upstream::Netlify => ("netlify", "/netlify/api/v1"),
            Upstream::Github => ("github", "/github"),
            Upstream::Gitlab => ("gitlab", "/gitlab/api/v4"),
            Upstream::Gitea => ("gitea", "/gitea/api/v1"),
            Upstream::Bitbucket => ("bitbucket", "/bitbucket/2.0"),
            Upstream::AzureDevops => ("azure_devops", "/azure"),
            Upstream::NetlifyHooks => ("netlify_hooks", "/netlify"),
        };
        let path = call.path.split('?').next().unwrap_or_default();
        let route = call.route.as_deref().unwrap_or(path);
        Self {
            phase,
            upstream,
            method: call.method.clone(),
            route: route.strip_prefix(base).unwrap_or(route).to_owned(),
        }
    }

    /// What it does.
    pub fn kind(&self) -> Kind {
        match self.method.as_str() {
            "GET" => Kind::Reads,
            "DELETE" => Kind::Removes,
            _ => Kind::Writes,
        }
    }

    /// A regular expression for its path and query.
    pub fn pattern(&self) -> String {
        let mut pattern = String::new();
        for part in self.route.split('/').skip(1) {
            pattern.push('/');
            match part {
                wild if wild.starts_with("{*") => pattern.push_str(".+"),
                part if part.starts_with('{') => pattern.push_str("[^/?]+"),
                word => pattern.push_str(&regex::escape(word)),
            }
        }
        pattern + "(\\?|$)"
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            phase,
            upstream,
            method,
            route,
        } = self;
        let when = match phase {
            Phase::Link => "link",
            Phase::Unlink => "unlink",
        };
        write!(f, "{when} {upstream} {method} {route}")
    }
}
