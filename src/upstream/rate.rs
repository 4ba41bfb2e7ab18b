//! When a credential may be used again, learnt from the upstream's own headers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc2822};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Credential, Instance, UpstreamError};

/// Longest pause that we believe an upstream; GitHub's window is one hour.
const LONGEST_PAUSE: Duration = Duration::hours(1);
/// Calls at the same time with a credential that may be dead.
const PROBES: usize = 4;
/// How long a credential counts as good after the upstream took it.
const ACCEPTED_FOR: std::time::Duration = std::time::Duration::from_secs(60);
/// Credentials remembered before idle ones are forgotten.
const MOST_CREDENTIALS: usize = 4096;

/// The state of one credential at one instance. In memory; replicas do not share it yet.
#[derive(Debug)]
pub(super) struct RateState {
    inner: Mutex<Inner>,
    /// Calls with a credential of which nobody knows whether it is good.
    probes: Semaphore,
}

#[derive(Debug, Default)]
struct Inner {
    blocked_until: Option<OffsetDateTime>,
    clock_offset: Duration,
    accepted_at: Option<Instant>,
    refused: Option<UpstreamError>,
}

impl Default for RateState {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            probes: Semaphore::new(PROBES),
        }
    }
}

impl RateState {
    /// Until when the credential must rest; `None`: it may be used.
    pub(super) fn blocked_until(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.lock().blocked_until.filter(|until| *until > now)
    }

    /// Lets the credential rest until then, or longer if it already has to.
    pub(super) fn park(&self, until: OffsetDateTime) {
        let mut inner = self.lock();
        inner.blocked_until = inner.blocked_until.max(Some(until));
    }

    /// How far the upstream's clock is ahead of ours, as of the last answer.
    pub(super) fn clock_offset(&self) -> Duration {
        self.lock().clock_offset
    }

    /// Learns from an answer's headers; returns until when they ask for a pause.
    pub(super) fn observe(
        &self,
        headers: &HeaderMap,
        now: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        let theirs = header(headers, DATE.as_str())
            .and_then(http_date)
            .unwrap_or(now);
        self.lock().clock_offset = theirs - now;
        let pause = pause(headers, theirs)?;
        let until = now + pause.clamp(Duration::SECOND, LONGEST_PAUSE);
        self.park(until);
        Some(until)
    }

    /// The right to call with the credential: at once while it is known to be good, else for a few at a time, so that a
    /// dead one is not tried by everybody.
    ///
    /// # Errors
    /// The refusal, once the upstream has refused the credential: nothing is to be sent.
    pub(super) async fn admit(&self) -> Result<Option<SemaphorePermit<'_>>, UpstreamError> {
        let accepted_at = self.known()?;
        if accepted_at.is_some_and(|at| at.elapsed() < ACCEPTED_FOR) {
            return Ok(None);
        }
        // Nobody closes it.
        let probe = self.probes.acquire().await.ok();
        self.known()?;
        Ok(probe)
    }

    fn known(&self) -> Result<Option<Instant>, UpstreamError> {
        let inner = self.lock();
        match &inner.refused {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(inner.accepted_at),
        }
    }

    /// The upstream has taken the credential.
    pub(super) fn accept(&self) {
        self.lock().accepted_at = Some(Instant::now());
    }

    /// The upstream has refused the credential.
    pub(super) fn refuse(&self, refusal: &UpstreamError) {
        self.lock().refused = Some(refusal.clone());
    }

    /// It may be good again.
    pub(super) fn forget_refusal(&self) {
        self.lock().refused = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pause that headers ask for: `Retry-After`, or the time to the reset when nothing remains.
///
/// Resets are absolute times by the upstream's clock, so they are measured against its `Date`, not against our clock.
fn pause(headers: &HeaderMap, theirs: OffsetDateTime) -> Option<Duration> {
    let retry_after = header(headers, RETRY_AFTER.as_str()).and_then(|text| match text.parse() {
        Ok(seconds) => Some(Duration::seconds(seconds)),
        Err(_) => http_date(text).map(|at| at - theirs),
    });
    retry_after.max(pause_to_reset(headers, theirs))
}

fn pause_to_reset(headers: &HeaderMap, theirs: OffsetDateTime) -> Option<Duration> {
    // GitHub, Netlify, Bitbucket and Azure write `X-RateLimit-…`, GitLab `RateLimit-…`.
    ["x-ratelimit", "ratelimit"].iter().find_map(|prefix| {
        let remaining: u64 = number(headers, &format!("{prefix}-remaining"))?;
        let reset: i64 = number(headers, &format!("{prefix}-reset"))?;
        let at = OffsetDateTime::from_unix_timestamp(reset).ok()?;
        (remaining == 0).then(|| at - theirs)
    })
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn number<T: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    header(headers, name)?.trim().parse().ok()
}

fn http_date(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc2822).ok()
}

/// API address and fingerprint of the credential.
type Key = (String, [u8; 32]);

/// The states of all credentials in use.
#[derive(Debug, Default)]
pub(super) struct RateBook(Mutex<HashMap<Key, Arc<RateState>>>);

impl RateBook {
    /// The one state that everybody with this credential at this instance shares.
    pub(super) fn state(&self, instance: &Instance, credential: &Credential) -> Arc<RateState> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if states.len() >= MOST_CREDENTIALS {
            let now = OffsetDateTime::now_utc();
            states.retain(|_, state| {
                Arc::strong_count(state) > 1 || state.blocked_until(now).is_some()
            });
        }
        let key = (instance.api.to_string(), credential.fingerprint());
        Arc::clone(states.entry(key).or_default())
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-08-01 12:00:00 UTC);

    fn observed(pairs: &[(&'static str, &str)]) -> Option<Duration> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let state = RateState::default();
        let until = state.observe(&headers, NOW);
        assert_eq!(state.blocked_until(NOW), until);
        until.map(|until| until - NOW)
    }

    #[test]
    fn headers_become_pauses() {
        let in_30 = (NOW.unix_timestamp() + 30).to_string();
        let next_day = (NOW.unix_timestamp() + 86_400).to_string();
        for (headers, seconds) in [
            (vec![("retry-after", "7")], Some(7)),
            (
                vec![("retry-after", "Sat, 01 Aug 2026 12:00:20 GMT")],
                Some(20),
            ),
            (vec![("retry-after", "soon")], None),
            (
                vec![
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", &in_30),
                ],
                Some(30),
            ),
            (
                vec![("ratelimit-remaining", "0"), ("ratelimit-reset", &in_30)],
                Some(30),
            ),
            (
                vec![
                    ("x-ratelimit-remaining", "1"),
                    ("x-ratelimit-reset", &in_30),
                ],
                None,
            ),
            (
                vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "0")],
                Some(1),
            ),
            (
                vec![
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", &next_day),
                ],
                Some(3600),
            ),
            (
                vec![
                    ("retry-after", "90"),
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", &in_30),
                ],
                Some(90),
            ),
        ] {
            assert_eq!(
                observed(&headers),
                seconds.map(Duration::seconds),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn a_wrong_clock_does_not_lengthen_the_pause() {
        let reset = (NOW.unix_timestamp() + 3600 + 30).to_string();
        let headers = [
            ("date", "Sat, 01 Aug 2026 13:00:00 GMT"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", reset.as_str()),
        ];
        assert_eq!(observed(&headers), Some(Duration::seconds(30)));
    }

    #[test]
    fn a_shorter_pause_does_not_replace_a_longer_one() {
        let state = RateState::default();
        state.park(NOW + Duration::seconds(60));
        state.park(NOW + Duration::seconds(5));
        assert_eq!(state.blocked_until(NOW), Some(NOW + Duration::seconds(60)));
        assert_eq!(state.blocked_until(NOW + Duration::seconds(60)), None);
    }
}
