//! When a credential may be used again, learnt from the upstream's own headers.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use aws_lc_rs::digest::{SHA256, digest};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc2822};

use tokio::sync::{Notify, OnceCell, Semaphore, SemaphorePermit};

use super::{
    Budgets, CallClass, Credential, Grant, Instance, NoBudget, UpstreamError, WritePace,
    budget::GRANT_LASTS,
};

/// Longest pause that we believe an upstream; GitHub's window is one hour.
const LONGEST_PAUSE: Duration = Duration::hours(1);
/// Calls at the same time with a credential that may be dead.
const PROBES: usize = 4;
/// How long a credential counts as good after the upstream took it.
const ACCEPTED_FOR: std::time::Duration = std::time::Duration::from_secs(60);
/// Credentials remembered before idle ones are forgotten.
const MOST_CREDENTIALS: usize = 4096;

/// The state of one credential at one instance. What is learnt here is told to the other processes by
/// [`Http::new_rests`](super::Http::new_rests).
#[derive(Debug)]
pub struct RateState {
    name: [u8; 32],
    inner: Mutex<Inner>,
    purse: tokio::sync::Mutex<Purse>,
    /// Set once the other processes have been asked.
    asked: OnceCell<()>,
    changed: Arc<Notify>,
    /// Calls with a credential of which nobody knows whether it is good.
    probes: Semaphore,
}

#[derive(Debug, Default)]
struct Inner {
    blocked_until: Option<OffsetDateTime>,
    /// Whether the other processes have still to be told of `blocked_until`.
    is_untold: bool,
    quota: Option<Quota>,
    clock_offset: Duration,
    accepted_at: Option<Instant>,
    refused: Option<UpstreamError>,
}

/// What the last answer said of the limit.
#[derive(Debug, Clone, Copy)]
struct Quota {
    limit: u64,
    remaining: u64,
    resets_at: OffsetDateTime,
}

/// Writes that were granted and not yet made; or pauses for those who came too late.
#[derive(Debug, Default)]
struct Purse {
    left: u32,
    good_until: Option<Instant>,
    /// When there is something to be had again.
    reopens_at: Option<Instant>,
    pauses: VecDeque<Instant>,
}

impl Purse {
    fn take(&mut self) -> bool {
        let is_good = self.good_until.is_some_and(|until| Instant::now() < until);
        let taken = is_good && self.left > 0;
        self.left -= u32::from(taken);
        taken
    }

    /// When to come back, for one who comes while nothing is left.
    fn pause(&mut self) -> Option<std::time::Duration> {
        let now = Instant::now();
        self.reopens_at = self.reopens_at.filter(|at| *at > now);
        self.reopens_at?;
        let at = match self.pauses.len() {
            1 => self.pauses.front().copied(),
            _ => self.pauses.pop_front(),
        };
        Some(at?.saturating_duration_since(now))
    }

    fn fill(&mut self, grant: Grant) {
        let now = Instant::now();
        match grant {
            Grant::Now(count) => {
                self.left = count;
                self.good_until = Some(now + GRANT_LASTS);
                self.reopens_at = None;
            }
            Grant::Later(pauses) => {
                self.left = 0;
                self.pauses = pauses.into_iter().map(|pause| now + pause).collect();
                self.reopens_at = self.pauses.front().copied();
            }
        }
    }
}

impl RateState {
    fn new(name: [u8; 32], changed: Arc<Notify>) -> Self {
        Self {
            name,
            inner: Mutex::default(),
            purse: tokio::sync::Mutex::default(),
            asked: OnceCell::new(),
            changed,
            probes: Semaphore::new(PROBES),
        }
    }

    /// Another process has learnt that the credential has to rest for so long.
    pub fn rest_as_others(&self, rest: std::time::Duration) {
        let until = OffsetDateTime::now_utc() + rest;
        let mut inner = self.lock();
        inner.blocked_until = inner.blocked_until.max(Some(until));
    }

    /// For how long the credential has to rest, when nobody else knows that yet.
    fn take_untold(&self, now: OffsetDateTime) -> Option<std::time::Duration> {
        let mut inner = self.lock();
        let is_untold = std::mem::take(&mut inner.is_untold);
        let rest = inner.blocked_until.filter(|_| is_untold)? - now;
        rest.try_into().ok()
    }

    fn keep_untold(&self) {
        self.lock().is_untold = true;
    }

    /// Until when calls of this class are held back because little of the limit is left.
    pub(super) fn reserved_until(
        &self,
        class: CallClass,
        now: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        let quota = self.lock().quota?;
        let is_scarce = quota.remaining * 100 < quota.limit * class.leaves();
        (is_scarce && quota.resets_at > now).then_some(quota.resets_at)
    }

    /// Asks once what the other processes have learnt before; later they tell by themselves.
    pub(super) async fn ask_others(&self, budgets: &dyn Budgets) -> Result<(), NoBudget> {
        let ask = async || {
            let rest = budgets.rest(&self.name).await?;
            rest.into_iter().for_each(|rest| self.rest_as_others(rest));
            Ok(())
        };
        self.asked.get_or_try_init(ask).await.copied()
    }

    /// The right to make something, from the budget that all processes share; or when to come back.
    pub(super) async fn take_write(
        &self,
        budgets: &dyn Budgets,
        pace: WritePace,
    ) -> Result<Option<std::time::Duration>, NoBudget> {
        let mut purse = self.purse.lock().await;
        if purse.take() {
            return Ok(None);
        }
        if let Some(pause) = purse.pause() {
            return Ok(Some(pause));
        }
        purse.fill(budgets.take(&self.name, pace).await?);
        match purse.take() {
            true => Ok(None),
            false => Ok(purse.pause()),
        }
    }

    /// Until when the credential must rest; `None`: it may be used.
    pub(super) fn blocked_until(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.lock().blocked_until.filter(|until| *until > now)
    }

    /// Lets the credential rest until then, or longer if it already has to.
    pub(super) fn park(&self, until: OffsetDateTime) {
        let mut inner = self.lock();
        if inner.blocked_until.is_some_and(|known| known >= until) {
            return;
        }
        inner.blocked_until = Some(until);
        inner.is_untold = true;
        drop(inner);
        self.changed.notify_one();
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
        let mut inner = self.lock();
        inner.clock_offset = theirs - now;
        inner.quota = quota(headers, theirs, now).or(inner.quota);
        drop(inner);
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

    /// What is known from elsewhere of a refusal.
    pub(super) fn heed_refusal(&self, refusal: Option<UpstreamError>) {
        self.lock().refused = refusal;
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

/// The limit and what remains of it. Resets are measured against the upstream's own clock.
fn quota(headers: &HeaderMap, theirs: OffsetDateTime, now: OffsetDateTime) -> Option<Quota> {
    ["x-ratelimit", "ratelimit"].iter().find_map(|prefix| {
        let reset: i64 = number(headers, &format!("{prefix}-reset"))?;
        let at = OffsetDateTime::from_unix_timestamp(reset).ok()?;
        Some(Quota {
            limit: number(headers, &format!("{prefix}-limit"))?,
            remaining: number(headers, &format!("{prefix}-remaining"))?,
            resets_at: now + (at - theirs).clamp(Duration::ZERO, LONGEST_PAUSE),
        })
    })
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
pub(super) struct RateBook {
    states: Mutex<HashMap<Key, Arc<RateState>>>,
    changed: Arc<Notify>,
}

impl RateBook {
    /// Told when a credential has to rest of which the other processes do not know yet.
    pub(super) fn changed(&self) -> &Notify {
        &self.changed
    }

    /// Every state with its name.
    pub(super) fn all(&self) -> Vec<([u8; 32], Arc<RateState>)> {
        let states = self.lock();
        states
            .values()
            .map(|state| (state.name, state.clone()))
            .collect()
    }

    /// What the other processes do not know yet: which credentials have to rest for how long.
    pub(super) fn take_untold(&self) -> Vec<([u8; 32], std::time::Duration)> {
        let now = OffsetDateTime::now_utc();
        let untold =
            |(name, state): ([u8; 32], Arc<RateState>)| Some((name, state.take_untold(now)?));
        self.all().into_iter().filter_map(untold).collect()
    }

    /// They could not be told.
    pub(super) fn keep_untold(&self, names: &[[u8; 32]]) {
        for (name, state) in self.all() {
            if names.contains(&name) {
                state.keep_untold();
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<RateState>>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one state that everybody with this credential at this instance shares.
    pub(super) fn state(&self, instance: &Instance, credential: &Credential) -> Arc<RateState> {
        let mut states = self.lock();
        if states.len() >= MOST_CREDENTIALS {
            let now = OffsetDateTime::now_utc();
            states.retain(|_, state| {
                Arc::strong_count(state) > 1 || state.blocked_until(now).is_some()
            });
        }
        let key = (instance.api.to_string(), credential.fingerprint());
        if let Some(known) = states.get(&key) {
            return known.clone();
        }
        let state = Arc::new(RateState::new(name_of(&key), self.changed.clone()));
        states.insert(key, state.clone());
        state
    }
}

fn name_of((api, fingerprint): &Key) -> [u8; 32] {
    let mut name = [0; 32];
    let text = [api.as_bytes(), fingerprint.as_slice()].concat();
    name.copy_from_slice(digest(&SHA256, &text).as_ref());
    name
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
        let state = RateState::new([0; 32], Arc::default());
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
        let state = RateState::new([0; 32], Arc::default());
        state.park(NOW + Duration::seconds(60));
        state.park(NOW + Duration::seconds(5));
        assert_eq!(state.blocked_until(NOW), Some(NOW + Duration::seconds(60)));
        assert_eq!(state.blocked_until(NOW + Duration::seconds(60)), None);
    }
}
