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

/// The version that the reader knows, from `If-None-Match`.
pub fn known_version(headers: &HeaderMap) -> Option<i64> {
    let text = headers.get(header::IF_NONE_MATCH)?.to_str().ok()?;
    let mut tags = text
        .split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"));
    tags.find_map(|tag| tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok())
}

/// Answers a link: its JSON, or 304 when the reader knows this version.
pub fn answer(link: &LinkSummary, json: Bytes, known: Option<i64>) -> Response {
    if known == Some(link.version) {
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
    Ok(answer(link, json.into(), known_version(asked)))
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
    fn versions_are_read_from_strong_and_weak_tags() {
        for (value, version) in [
            ("\"7\"", Some(7)),
            ("W/\"7\"", Some(7)),
            ("\"x\", \"8\"", Some(8)),
            ("*", None),
        ] {
            assert_eq!(
                known_version(&with(header::IF_NONE_MATCH, value)),
                version,
                "{value}"
            );
        }
    }
}
