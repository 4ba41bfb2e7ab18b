//! Whose turn it is: tenants take turns, so one tenant's thousand links do not delay another's one.
//!
//! A worker remembers which tenants have due links, and up to where it has claimed each one's. It
//! learns of tenants from what became due since its last look, which is a short scan; a sweep over
//! all tenants now and then finds what that missed, so the memory only has to be right most of the time.

use std::{collections::BTreeMap, time::Duration};

use sqlx::PgConnection;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    LeasedLink,
    due::{Ask, Claimed, claim, fresh, tenants_with_work},
};
use crate::store::StoreError;

/// A transaction's rows may be seen this much later than their time says.
const COMMITS_LATE: Duration = Duration::from_millis(250);
/// Shortest pause between two sweeps: what a link that was missed usually waits at most.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Longest pause: a sweep is also slow when the machine stood still, and then links were missed.
const SWEEP_AT_LEAST_EVERY: Duration = Duration::from_secs(5);
/// So many times as long as the sweep took is the pause after it, within these bounds.
const SWEEP_SHARE: u32 = 20;
/// Tenants that are asked in one claim; the next claim goes on behind them.
const ASKED_AT_ONCE: usize = 256;

/// The tenants that may have due links.
#[derive(Debug, Default)]
pub struct Turns {
    /// Until when each one's due links are claimed; `UNIX_EPOCH`: nobody knows.
    known: BTreeMap<String, OffsetDateTime>,
    /// Database time of the last look.
    looked_at: Option<OffsetDateTime>,
    next_sweep: Option<Instant>,
    /// The tenant that was asked last.
    last: String,
}

impl Turns {
    /// Leases up to `free` due links, tenants taking turns; of each tenant no more than it has `room` for.
    /// Needs [`Rows::OfAll`](crate::store::Rows::OfAll).
    ///
    /// # Errors
    /// When the database is away.
    pub async fn claim(
        &mut self,
        db: &mut PgConnection,
        owner: Uuid,
        free: usize,
        room: impl Fn(&str) -> usize,
    ) -> Result<Vec<LeasedLink>, StoreError> {
        self.look(db).await?;
        let limit = i64::try_from(free).unwrap_or(i64::MAX);
        loop {
            let asks = self.asks(free, &room);
            if asks.is_empty() {
                return Ok(Vec::new());
            }
            let claimed = claim(db, owner, limit, &asks).await?;
            self.took(&asks, &claimed, claimed.len() >= free);
            let are_none = claimed.is_empty();
            let links = claimed.into_iter().filter_map(|claimed| claimed.link);
            let links: Vec<_> = links.collect();
            // Where none of them could be read, there may be others behind them.
            if are_none || !links.is_empty() {
                return Ok(links);
            }
        }
    }

    async fn look(&mut self, db: &mut PgConnection) -> Result<(), StoreError> {
        let since = self.looked_at.map(|at| at - COMMITS_LATE);
        let (now, tenants) = fresh(db, since).await?;
        self.learn(tenants, since.unwrap_or(now));
        self.looked_at = Some(now);
        if self.next_sweep.is_none_or(|at| at <= Instant::now()) {
            let started = Instant::now();
            for tenant in tenants_with_work(db).await? {
                self.known.insert(tenant, OffsetDateTime::UNIX_EPOCH);
            }
            self.next_sweep = Some(Instant::now() + pause_after(started.elapsed()));
        }
        Ok(())
    }

    fn learn(&mut self, tenants: Vec<String>, since: OffsetDateTime) {
        for tenant in tenants {
            self.known.entry(tenant).or_insert(since);
        }
    }

    /// Equal shares for everybody who has room, beginning behind the one that was asked last.
    fn asks(&self, free: usize, room: impl Fn(&str) -> usize) -> Vec<Ask> {
        let behind = self.known.iter().filter(|(tenant, _)| **tenant > self.last);
        let before = self
            .known
            .iter()
            .filter(|(tenant, _)| **tenant <= self.last);
        let with_room = behind
            .chain(before)
            .map(|(tenant, floor)| (tenant, floor, room(tenant)))
            .filter(|(_, _, room)| *room > 0);
        let asked: Vec<_> = with_room.take(ASKED_AT_ONCE).collect();
        let share = free.div_ceil(asked.len().max(1));
        let ask = |(tenant, floor, room): (&String, &OffsetDateTime, usize)| Ask {
            tenant: tenant.clone(),
            floor: *floor,
            room: i64::try_from(room.min(share)).unwrap_or(i64::MAX),
        };
        asked.into_iter().map(ask).collect()
    }

    /// Remembers where to go on. Who was given less than was asked for has no more, unless there
    /// was no more to give.
    fn took(&mut self, asks: &[Ask], claimed: &[Claimed], exhausted: bool) {
        for ask in asks {
            let mine = claimed.iter().filter(|it| it.tenant == ask.tenant);
            let given = mine.clone().count();
            let last = mine.map(|it| it.due_at).max();
            if (given as i64) < ask.room && !exhausted {
                self.known.remove(&ask.tenant);
            } else if let Some(last) = last {
                self.known.insert(ask.tenant.clone(), last - COMMITS_LATE);
            }
        }
        if let Some(ask) = asks.last() {
            self.last.clone_from(&ask.tenant);
        }
    }
}

/// How long after a sweep that took so long the next one is due.
fn pause_after(sweep: Duration) -> Duration {
    (sweep * SWEEP_SHARE).clamp(SWEEP_EVERY, SWEEP_AT_LEAST_EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_is_found_within_seconds_however_slow_the_last_sweep_was() {
        let after = |millis| pause_after(Duration::from_millis(millis)).as_millis();
        assert_eq!(
            [1, 100, 200, 6_000].map(after),
            [1_000, 2_000, 4_000, 5_000]
        );
    }

    fn turns(tenants: &[&str]) -> Turns {
        let mut turns = Turns::default();
        let names = tenants.iter().map(|tenant| (*tenant).to_owned()).collect();
        turns.learn(names, OffsetDateTime::UNIX_EPOCH);
        turns
    }

    fn asked(turns: &Turns, free: usize, room: impl Fn(&str) -> usize) -> Vec<(String, i64)> {
        let asks = turns.asks(free, room).into_iter();
        asks.map(|ask| (ask.tenant, ask.room)).collect()
    }

    fn pairs(pairs: &[(&str, i64)]) -> Vec<(String, i64)> {
        pairs
            .iter()
            .map(|(tenant, room)| ((*tenant).to_owned(), *room))
            .collect()
    }

    #[test]
    fn shares_are_equal_and_nobody_gets_more_than_there_is_room_for() {
        let turns = turns(&["a", "b", "c"]);
        assert_eq!(
            asked(&turns, 9, |_| 100),
            pairs(&[("a", 3), ("b", 3), ("c", 3)])
        );
        let room = |tenant: &str| match tenant {
            "a" => 0,
            "b" => 1,
            _ => 100,
        };
        assert_eq!(asked(&turns, 9, room), pairs(&[("b", 1), ("c", 5)]));
        assert_eq!(
            asked(&turns, 1, |_| 100),
            pairs(&[("a", 1), ("b", 1), ("c", 1)])
        );
    }

    #[test]
    fn who_was_asked_last_is_asked_last_again() {
        let mut turns = turns(&["a", "b", "c"]);
        turns.last = "b".to_owned();
        let order: Vec<_> = asked(&turns, 3, |_| 1)
            .into_iter()
            .map(|(tenant, _)| tenant)
            .collect();
        assert_eq!(order, ["c", "a", "b"]);
    }

    #[test]
    fn who_has_no_more_is_forgotten_unless_there_was_no_more_to_give() {
        let mut turns = turns(&["a", "b"]);
        let asks = turns.asks(2, |_| 1);
        turns.took(&asks, &[], true);
        assert_eq!(turns.known.len(), 2);
        turns.took(&asks, &[], false);
        assert!(turns.known.is_empty());
    }

    #[test]
    fn many_tenants_are_asked_in_several_claims() {
        let names: Vec<String> = (0..600).map(|number| format!("t{number:03}")).collect();
        let mut turns = Turns::default();
        turns.learn(names.clone(), OffsetDateTime::UNIX_EPOCH);
        let mut seen = Vec::new();
        for _ in 0..3 {
            let asks = turns.asks(8, |_| 8);
            turns.took(&asks, &[], true);
            seen.extend(asks.into_iter().map(|ask| ask.tenant));
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen, names);
    }
}
