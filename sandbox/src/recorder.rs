//! Remembers every call to a vendor, so that "exactly one" and "at most four rounds" are assertions.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Whose door a request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upstream {
    /// Netlify's API, `/netlify/api/v1/…`.
    Netlify,
    /// GitHub's API, `/github/…`.
    Github,
    /// GitLab's API, `/gitlab/api/v4/…`.
    Gitlab,
    /// The API of Gitea and Forgejo, `/gitea/api/v1/…`.
    Gitea,
    /// Bitbucket's API, `/bitbucket/2.0/…`.
    Bitbucket,
    /// Azure DevOps' API, `/azure/{organization}/…`.
    AzureDevops,
    /// Webhooks that arrive at Netlify, `/netlify/hooks/…`; sent by the sandbox's own providers, not by a client.
    NetlifyHooks,
}

impl Upstream {
    /// The vendor behind a request path; `None` for served sites and the admin door.
    pub fn of(path: &str) -> Option<Self> {
        const PREFIXES: [(&str, Upstream); 7] = [
            ("/netlify/api/", Upstream::Netlify),
            ("/netlify/", Upstream::NetlifyHooks),
            ("/github/", Upstream::Github),
            ("/gitlab/", Upstream::Gitlab),
            ("/gitea/", Upstream::Gitea),
            ("/bitbucket/", Upstream::Bitbucket),
            ("/azure/", Upstream::AzureDevops),
        ];
        let found = PREFIXES.iter().find(|(prefix, _)| path.starts_with(prefix));
        found.map(|(_, upstream)| *upstream)
    }
}

/// One request and what became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// 1 for the first call of this sandbox (or since the last reset).
    pub number: u64,
    pub upstream: Upstream,
    pub method: String,
    /// Path with query, below the sandbox's origin.
    pub path: String,
    /// The route pattern that matched, such as `/netlify/api/v1/sites/{site_id}`; `None` when no route did.
    pub route: Option<String>,
    /// `None` when the connection was cut before an answer.
    pub status: Option<u16>,
    /// The vendor's request id in the answer.
    pub request_id: Option<String>,
    /// Unix milliseconds (real time) of arrival and of the answer; overlapping calls belong to one round.
    pub started_ms: f64,
    pub ended_ms: f64,
    /// The fault that was played on this call, if any.
    pub fault: Option<String>,
}

/// The list of all calls.
#[derive(Debug, Default)]
pub struct Recorder {
    calls: Mutex<Vec<Call>>,
}

impl Recorder {
    /// Adds a finished call; its number is given here.
    pub fn record(&self, mut call: Call) {
        let mut calls = self.calls.lock();
        call.number = calls.len() as u64 + 1;
        calls.push(call);
    }

    /// All calls with a number above `since`, in the order in which they ended.
    pub fn since(&self, since: u64) -> Vec<Call> {
        let calls = self.calls.lock();
        calls.iter().filter(|c| c.number > since).cloned().collect()
    }

    /// How many calls have ended.
    pub fn count(&self) -> usize {
        self.calls.lock().len()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.calls.lock().clear();
    }
}

/// Number of calls per upstream.
pub fn per_upstream(calls: &[Call]) -> BTreeMap<Upstream, u64> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(call.upstream).or_default() += 1;
    }
    counts
}

/// Sequential rounds among the calls of clients: a call that starts after every earlier call of its round has ended opens
/// a new round; calls that overlap share one.
pub fn rounds(calls: &[Call]) -> u64 {
    let mut spans: Vec<(f64, f64)> = calls
        .iter()
        .filter(|c| c.upstream != Upstream::NetlifyHooks)
        .map(|c| (c.started_ms, c.ended_ms))
        .collect();
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut rounds = 0;
    // A round closes when its first answer arrives: whoever starts later may have waited for that answer.
    let mut first_end = f64::NEG_INFINITY;
    for (start, end) in spans {
        if start >= first_end {
            rounds += 1;
            first_end = end;
        } else {
            first_end = first_end.min(end);
        }
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(upstream: Upstream, started_ms: f64, ended_ms: f64) -> Call {
        Call {
            number: 0,
            upstream,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            route: None,
            status: Some(200),
            request_id: None,
            started_ms,
            ended_ms,
            fault: None,
        }
    }

    #[test]
    fn overlapping_calls_share_a_round_and_a_chain_does_not() {
        use Upstream::{Github, Netlify, NetlifyHooks};
        let calls = [
            call(Github, 0.0, 50.0),
            call(Netlify, 1.0, 60.0),
            // Webhooks are nobody's round.
            call(NetlifyHooks, 55.0, 56.0),
            // May have waited for the first answer, but not for the second.
            call(Netlify, 52.0, 100.0),
            call(Github, 101.0, 150.0),
        ];
        assert_eq!(rounds(&calls), 3);
        assert_eq!(rounds(&[]), 0);
        assert_eq!(per_upstream(&calls)[&Netlify], 2);
    }
}
