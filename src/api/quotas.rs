//! How much one tenant may do, so that it leaves enough for the others.
//!
//! Rates and waiting readers are counted in memory, by each process on its own: with three servers
//! a tenant may do three times as much. Links under way are counted in the database, by all together.

mod allowance;

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DefaultKeyedStateStore,
};
use sqlx::PgConnection;

use super::{
    caller::Tenant,
    problem::{Problem, ProblemCode},
};
use crate::{config::QuotaLimits, store::links};

pub use allowance::{Allowance, tell};

/// How often tenants that have been quiet are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// When to ask again, in seconds, for what no clock gives back.
const ASK_AGAIN: u32 = 5;

/// Metric: long polls and streams that wait for news now.
const WAITING_READERS: &str = "linkbroker_waiting_readers";
/// Notifications about one tenant's links that each process takes in a minute: many times what Netlify's builds can make.
const NOTIFICATIONS_PER_MINUTE: u32 = 3_000;
/// Seconds in which a rate is given back.
const MINUTE: u32 = 60;

/// The quotas of every tenant.
#[derive(Debug)]
pub struct Quotas {
    requests: Rate,
    links: Rate,
    notifications: Rate,
    in_flight: Option<NonZeroU32>,
    readers: Option<NonZeroU32>,
    waiting: Arc<Mutex<HashMap<String, u32>>>,
}

type Limiter =
    RateLimiter<Tenant, DefaultKeyedStateStore<Tenant>, DefaultClock, StateInformationMiddleware>;

/// So many a minute; all of a minute's may come at once.
#[derive(Debug)]
struct Rate {
    name: &'static str,
    most: NonZeroU32,
    limiter: Option<Limiter>,
}

/// A waiting reader's place; free again when dropped.
#[derive(Debug)]
pub struct Seat {
    tenant: String,
    waiting: Arc<Mutex<HashMap<String, u32>>>,
}

impl Quotas {
    /// Nobody has done anything yet.
    pub fn new(limits: QuotaLimits) -> Self {
        Self {
            requests: Rate::new("requests", limits.requests_per_minute),
            links: Rate::new("links", limits.links_per_minute),
            notifications: Rate::new("notifications", NonZeroU32::new(NOTIFICATIONS_PER_MINUTE)),
            in_flight: limits.links_in_flight,
            readers: limits.waiting_readers,
            waiting: Arc::default(),
        }
    }

    /// Counts a request; what is left, when there is a quota.
    ///
    /// # Errors
    /// [`ProblemCode::RateLimited`], as of all below.
    pub fn request(&self, tenant: &Tenant) -> Result<Option<Allowance>, Problem> {
        self.requests.count(tenant)
    }

    /// Counts a new link.
    ///
    /// # Errors
    /// When there were too many within a minute.
    pub fn link(&self, tenant: &Tenant) -> Result<(), Problem> {
        self.links.count(tenant).map(drop)
    }

    /// Counts a notification about one of the tenant's links, before its signature is looked at.
    ///
    /// # Errors
    /// When there were too many within a minute.
    pub fn notification(&self, tenant: &Tenant) -> Result<(), Problem> {
        self.notifications.count(tenant).map(drop)
    }

    /// Refuses one more link when too many are under way. Requests at the same moment do not see
    /// one another, so the quota may be exceeded by as many.
    ///
    /// # Errors
    /// When there are too many, or the database is away.
    pub async fn in_flight(&self, db: &mut PgConnection, tenant: &str) -> Result<(), Problem> {
        let Some(most) = self.in_flight else {
            return Ok(());
        };
        let now = links::in_flight(db, tenant, most.get().into()).await?;
        match now < i64::from(most.get()) {
            true => Ok(()),
            false => {
                let detail =
                    format!("{most} links of the tenant are under way, which is its quota.");
                Err(used_up("links-in-flight", most, None, ASK_AGAIN, detail))
            }
        }
    }

    /// A place for a reader that waits.
    ///
    /// # Errors
    /// When too many wait already.
    pub fn seat(&self, tenant: &str) -> Result<Seat, Problem> {
        let mut waiting = lock(&self.waiting);
        let taken = waiting.get(tenant).copied().unwrap_or(0);
        if let Some(most) = self.readers.filter(|most| taken >= most.get()) {
            let detail =
                format!("{most} readers of the tenant wait for news, which is its quota here.");
            return Err(used_up("waiting-readers", most, None, ASK_AGAIN, detail));
        }
        waiting.insert(tenant.to_owned(), taken + 1);
        metrics::gauge!(WAITING_READERS).increment(1);
        Ok(Seat {
            tenant: tenant.to_owned(),
            waiting: self.waiting.clone(),
        })
    }

    /// Forgets tenants that have been quiet long enough to have their whole quota again, for as long as the process lives.
    pub async fn forget_idle(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(FORGET_EVERY);
        loop {
            ticks.tick().await;
            let rates = [&self.requests, &self.links, &self.notifications];
            for limiter in rates.into_iter().flat_map(|rate| &rate.limiter) {
                limiter.retain_recent();
                limiter.shrink_to_fit();
            }
        }
    }
}

impl Rate {
    fn new(name: &'static str, most: Option<NonZeroU32>) -> Self {
        Self {
            name,
            most: most.unwrap_or(NonZeroU32::MIN),
            limiter: most.map(|most| RateLimiter::keyed(Quota::per_minute(most)).with_middleware()),
        }
    }

    fn count(&self, tenant: &Tenant) -> Result<Option<Allowance>, Problem> {
        let Some(limiter) = &self.limiter else {
            return Ok(None);
        };
        let allowed = limiter.check_key(tenant).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            let wait = u32::try_from(wait.as_millis().div_ceil(1000))
                .unwrap_or(60)
                .max(1);
            let (most, name) = (self.most, self.name);
            let detail = format!("The tenant's quota of {most} {name} a minute is used up.");
            used_up(name, most, Some(MINUTE), wait, detail)
        })?;
        Ok(Some(Allowance {
            name: self.name,
            most: self.most,
            window: Some(MINUTE),
            remaining: allowed.remaining_burst_capacity(),
            more_in: None,
        }))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        metrics::gauge!(WAITING_READERS).decrement(1);
        let mut waiting = lock(&self.waiting);
        if let Some(taken) = waiting.get_mut(&self.tenant) {
            *taken -= 1;
            if *taken == 0 {
                waiting.remove(&self.tenant);
            }
        }
    }
}

fn lock(waiting: &Mutex<HashMap<String, u32>>) -> MutexGuard<'_, HashMap<String, u32>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

fn used_up(
    name: &'static str,
    most: NonZeroU32,
    window: Option<u32>,
    wait: u32,
    detail: String,
) -> Problem {
    let nothing = Allowance {
        name,
        most,
        window,
        remaining: 0,
        more_in: Some(wait),
    };
    let problem = Problem::new(ProblemCode::RateLimited)
        .detail(detail)
        .retry_after(wait);
    nothing
        .headers()
        .into_iter()
        .fold(problem, |problem, (name, value)| {
            problem.header(name, value)
        })
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    const NO_LIMITS: QuotaLimits = QuotaLimits {
        requests_per_minute: None,
        links_per_minute: None,
        links_in_flight: None,
        waiting_readers: None,
    };

    fn tenant(name: &str) -> Tenant {
        name.parse().unwrap()
    }

    #[test]
    fn a_minutes_requests_may_come_at_once_and_not_one_more() {
        let quotas = Quotas::new(QuotaLimits {
            requests_per_minute: NonZeroU32::new(3),
            ..NO_LIMITS
        });
        for remaining in [2, 1, 0] {
            let left = quotas.request(&tenant("a")).unwrap();
            assert_eq!(left.unwrap().remaining, remaining);
        }
        let refused = quotas.request(&tenant("a")).unwrap_err().into_response();
        let header = |name| refused.headers().get(name).unwrap().to_str().unwrap();
        assert_eq!(refused.status(), 429);
        assert_eq!(header("ratelimit-policy"), "\"requests\";q=3;w=60");
        assert_eq!(header("ratelimit"), "\"requests\";r=0;t=20");
        assert_eq!(header("retry-after"), "20");
        quotas.request(&tenant("b")).unwrap();
        quotas.link(&tenant("a")).unwrap();
    }

    #[test]
    fn a_place_is_free_again_when_its_reader_has_left() {
        let quotas = Quotas::new(QuotaLimits {
            waiting_readers: NonZeroU32::new(2),
            ..NO_LIMITS
        });
        let (first, _second) = (quotas.seat("a").unwrap(), quotas.seat("a").unwrap());
        assert_eq!(
            quotas.seat("a").unwrap_err().code(),
            ProblemCode::RateLimited
        );
        let _other = quotas.seat("b").unwrap();
        drop(first);
        let third = quotas.seat("a").unwrap();
        drop((third, _second, _other));
        assert!(lock(&quotas.waiting).is_empty());
    }

    #[test]
    fn without_limits_everything_goes() {
        let quotas = Quotas::new(NO_LIMITS);
        let seats: Vec<_> = (0..100).map(|_| quotas.seat("a").unwrap()).collect();
        for _ in &seats {
            quotas.request(&tenant("a")).unwrap();
            quotas.link(&tenant("a")).unwrap();
        }
    }
}
