//! What calls with one credential may use up: how urgent a call is, and how fast things may be made at GitHub.

use std::time::Duration;

use async_trait::async_trait;

tokio::task_local! {
    static CLASS: CallClass;
}

/// How urgent calls are while a rate limit is nearly used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallClass {
    /// Somebody waits for a link to be made or taken back.
    Making,
    /// Follows a build to its end.
    Watching,
    /// Looks whether anything is new; can come later.
    Sweeping,
}

impl CallClass {
    /// Runs a future whose calls are of this class. Without it calls are [`CallClass::Making`].
    pub async fn during<F: Future>(self, work: F) -> F::Output {
        CLASS.scope(self, work).await
    }

    pub(super) fn current() -> Self {
        CLASS.try_with(|class| *class).unwrap_or(Self::Making)
    }

    /// Percent of the limit that are left to more urgent calls.
    pub(super) const fn leaves(self) -> u64 {
        match self {
            Self::Making => 0,
            Self::Watching => 10,
            Self::Sweeping => 20,
        }
    }
}

/// How many things may be made with one credential in a minute and in an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WritePace {
    /// In a minute.
    pub per_minute: u32,
    /// In an hour.
    pub per_hour: u32,
}

/// What somebody who wants to make something is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// So many may be made within [`GRANT_LASTS`].
    Now(u32),
    /// None now; one more each time that one of these pauses is over.
    Later(Vec<Duration>),
}

/// How long a grant is good for.
pub const GRANT_LASTS: Duration = Duration::from_secs(5);
/// Between a grant and the moment when the vendor counts it, beyond its own life.
const ON_THE_WAY: Duration = Duration::from_secs(1);
/// Most writes in one grant: so many times less the database is asked.
const MOST_AT_ONCE: u32 = 8;
/// Pauses that are told apart: so many can wait without coming back at the same time.
const PAUSES: u32 = 128;

/// Why a grant could not be asked for: the sentence says that, not more.
#[derive(Debug, thiserror::Error)]
#[error("the budget of the credential cannot be read: {0}")]
pub struct NoBudget(pub String);

/// The budgets that all processes share.
#[async_trait]
pub trait Budgets: Send + Sync {
    /// For how long the credential of this name has to rest, as other processes have learnt.
    async fn rest(&self, name: &[u8; 32]) -> Result<Option<Duration>, NoBudget>;

    /// Takes the right to make something with the credential of this name.
    async fn take(&self, name: &[u8; 32], pace: WritePace) -> Result<Grant, NoBudget>;
}

impl WritePace {
    fn windows(self) -> [(Duration, u32); 2] {
        let slack = GRANT_LASTS + ON_THE_WAY;
        let minute = Duration::from_secs(60) + slack;
        let hour = Duration::from_secs(3600) + slack;
        [(minute, self.per_minute), (hour, self.per_hour)]
    }

    /// What may be made now, when `spent` is how long ago how many were granted.
    pub fn decide(self, spent: &[(Duration, u32)]) -> Grant {
        let rooms = self.windows().map(|(window, most)| {
            let young = spent.iter().filter(|(age, _)| *age < window);
            most.saturating_sub(young.map(|(_, count)| count).sum())
        });
        match rooms[0].min(rooms[1]) {
            0 => Grant::Later(self.pauses(spent)),
            room => Grant::Now((room / MOST_AT_ONCE).clamp(1, MOST_AT_ONCE)),
        }
    }

    fn pauses(self, spent: &[(Duration, u32)]) -> Vec<Duration> {
        let mut ages: Vec<Duration> = spent
            .iter()
            .flat_map(|(age, count)| std::iter::repeat_n(*age, *count as usize))
            .collect();
        // The oldest first: it is the first to count no more.
        ages.sort_unstable_by(|one, other| other.cmp(one));
        let until = |(window, most): (Duration, u32), more: u32| {
            let young = &ages[ages.partition_point(|age| *age >= window)..];
            let freed = (young.len() + more as usize).checked_sub(most as usize)?;
            let last_freed = young.get(freed.checked_sub(1)?)?;
            Some(window - *last_freed)
        };
        let pause = |more| {
            let pauses = self.windows().map(|window| until(window, more));
            pauses.into_iter().flatten().max()
        };
        (1..=PAUSES).map_while(pause).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GITHUB: WritePace = WritePace {
        per_minute: 80,
        per_hour: 500,
    };

    #[test]
    fn six_hundred_writes_stay_within_every_window_and_take_hardly_longer_than_they_must() {
        let mut granted: Vec<(Duration, u32)> = Vec::new();
        let mut now = Duration::ZERO;
        let mut left = 600;
        while left > 0 {
            let ages: Vec<_> = granted
                .iter()
                .map(|(at, count)| (now - *at, *count))
                .collect();
            match GITHUB.decide(&ages) {
                Grant::Now(count) => {
                    granted.push((now, count.min(left)));
                    left -= count.min(left);
                }
                Grant::Later(pauses) => now += pauses[0],
            }
        }
        for (start, _) in &granted {
            for (window, most) in [(60, 80), (3600, 500)] {
                let within =
                    |at: &Duration| (*start..*start + Duration::from_secs(window)).contains(at);
                let made: u32 = granted
                    .iter()
                    .filter(|(at, _)| within(at))
                    .map(|(_, count)| count)
                    .sum();
                assert!(made <= most, "{made} within {window} s from {start:?}");
            }
        }
        // 500 in the first hour, the rest when the first of them count no more.
        let least = Duration::from_secs(3600 + 60);
        assert!(now < least.mul_f64(1.1), "{now:?}");
    }

    #[test]
    fn those_who_wait_come_back_one_after_the_other() {
        let spent: Vec<_> = (0..80)
            .map(|second| (Duration::from_millis(500 * second), 1))
            .collect();
        let Grant::Later(pauses) = GITHUB.decide(&spent) else {
            panic!("nothing is left");
        };
        assert_eq!(pauses.len(), 80);
        assert!(pauses.is_sorted());
        assert_eq!(
            pauses[0],
            Duration::from_secs(66) - Duration::from_millis(39_500)
        );
    }
}
