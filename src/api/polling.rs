//! How readers wait: versions, conditional answers, long polls.

use std::time::Duration;

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};

use serde::Serialize;

use super::{
    links::view::LinkSummary,
    problem::{Problem, ProblemCode},
};

/// Longest wait that a reader may ask for, in seconds: below the time-outs of usual proxies.
const WAIT_MAX: u8 = 30;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long a reader is willing to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    seconds: u8,
    preferred: bool,
}

impl Wait {
    /// From the query's `wait`, else from `Prefer: wait=N` (RFC 7240); longer wishes are cut.
    ///
    /// # Errors
    /// [`ProblemCode::InvalidQuery`] when the query asks for more than 30 seconds.
    pub fn asked(query: Option<u8>, headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        match query {
            Some(seconds) if seconds > WAIT_MAX => {
                Err(Problem::new(ProblemCode::InvalidQuery)
                    .parameter("wait", "use 0 to 30 seconds"))
            }
            Some(seconds) => Ok(Some(Self {
                seconds,
                preferred: false,
            })),
            None => Ok(preferred_wait(headers).map(|seconds| Self {
                seconds: seconds.min(WAIT_MAX),
                preferred: true,
            })),
        }
    }

    /// How long.
    pub fn patience(self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// Says that a preference was heeded.
    pub fn applied(self) -> AppendHeaders<Option<(HeaderName, String)>> {
        AppendHeaders(
            self.preferred
                .then(|| (PREFERENCE_APPLIED, format!("wait={}", self.seconds))),
        )
    }
}

fn preferred_wait(headers: &HeaderMap) -> Option<u8> {
    let values = headers
        .get_all(PREFER)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    let mut wishes = values.flat_map(|value| value.split([',', ';']));
    let seconds = wishes.find_map(|wish| {
        wish.trim()
            .strip_prefix("wait=")?
            .trim()
            .parse::<u32>()
            .ok()
    });
    seconds.map(|seconds| u8::try_from(seconds).unwrap_or(u8::MAX))
}

/// The versions that the reader knows, from `If-None-Match`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Known {
    versions: Vec<i64>,
    any: bool,
}

impl Known {
    /// Reads the header; tags that are none of ours are no version of anything.
    pub fn from(headers: &HeaderMap) -> Self {
        let text = headers
            .get(header::IF_NONE_MATCH)
            .and_then(|value| value.to_str().ok());
        let tags = text
            .unwrap_or_default()
            .split(',')
            .map(|tag| tag.trim().trim_start_matches("W/"));
        let mut known = Self::default();
        for tag in tags {
            known.any |= tag == "*";
            let inside = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            known
                .versions
                .extend(inside.and_then(|version| version.parse::<i64>().ok()));
        }
        known
    }

    /// The newest one.
    pub fn newest(&self) -> Option<i64> {
        self.versions.iter().max().copied()
    }

    fn contains(&self, version: i64) -> bool {
        self.any || self.versions.contains(&version)
    }
}

/// Answers a link: its JSON, or 304 when the reader knows this version.
pub fn answer(link: &LinkSummary, json: Bytes, known: &Known) -> Response {
    if known.contains(link.version) {
        return (StatusCode::NOT_MODIFIED, headers(link)).into_response();
    }
    let media_type = [(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    )];
    (headers(link), media_type, json).into_response()
}

/// Answers a part of a link, under the link's version.
///
/// # Errors
/// [`ProblemCode::Internal`] when the part cannot be written as JSON.
pub fn answer_part(
    link: &LinkSummary,
    part: &impl Serialize,
    asked: &HeaderMap,
) -> Result<Response, Problem> {
    let json = serde_json::to_vec(part).map_err(Problem::internal)?;
    Ok(answer(link, json.into(), &Known::from(asked)))
}

/// `ETag`, and `Retry-After` while something will change by itself.
pub fn headers(link: &LinkSummary) -> AppendHeaders<Vec<(HeaderName, String)>> {
    let retry_after = link
        .poll_after_ms
        .map(|pause| (header::RETRY_AFTER, pause.div_ceil(1000).to_string()));
    let always = [
        (header::ETAG, format!("\"{}\"", link.version)),
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
    ];
    AppendHeaders(always.into_iter().chain(retry_after).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn preferences_are_read_among_others_and_cut() {
        for (value, seconds) in [
            ("wait=20", Some(20)),
            ("respond-async, wait=5", Some(5)),
            ("respond-async; wait=5", Some(5)),
            ("wait=3600", Some(30)),
            ("wait=99999999999", None),
            ("wait=soon", None),
            ("return=minimal", None),
        ] {
            let wait =
                Wait::asked(None, &with(PREFER, value)).expect("a preference is never refused");
            assert_eq!(wait.map(|wait| wait.seconds), seconds, "{value}");
        }
        assert!(Wait::asked(Some(31), &HeaderMap::new()).is_err());
    }

    #[test]
    fn any_of_the_tags_may_match() {
        for (value, matches) in [
            ("\"7\"", true),
            ("W/\"7\"", true),
            ("\"x\", \"6\", \"7\"", true),
            ("*", true),
            ("\"8\"", false),
            ("7", false),
        ] {
            let known = Known::from(&with(header::IF_NONE_MATCH, value));
            assert_eq!(known.contains(7), matches, "{value}");
        }
        assert_eq!(
            Known::from(&with(header::IF_NONE_MATCH, "\"3\", \"9\"")).newest(),
            Some(9)
        );
    }
}
