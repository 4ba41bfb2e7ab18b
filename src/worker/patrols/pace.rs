//! When to look at a team's builds again: shaped by how long a site's builds usually take, bounded by what one credential
//! may ask.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::look::Running;
use crate::{config::Workers, store::patrols::ClaimedPatrol};

/// Pause between looks at builds of which Netlify tells us.
const WHEN_NOTIFIED: Duration = Duration::from_secs(60);
/// Pause between reads of the list of a site of which Netlify tells us.
pub const UNREAD_WHEN_NOTIFIED: Duration = Duration::from_secs(6 * 60 * 60);
/// What a call costs the next patrol: with it one credential asks less than 480 times a minute, of 500.
const REST_PER_CALL: Duration = Duration::from_millis(130);
/// Patrols a minute at most that one connection spends on teams where nothing runs.
const IDLE_PATROLS_PER_MINUTE: f64 = 10.0;
/// Sites' lists a minute at most that one connection reads. With idle patrols and inspections: less than fifty calls
/// (limits.md P11).
const LISTS_PER_MINUTE: f64 = 15.0;

/// How long to wait until the next look at the running builds.
pub fn next(
    settings: &Workers,
    patrol: &ClaimedPatrol,
    running: &[Running],
    usual: &[(Uuid, f64)],
    now: OffsetDateTime,
) -> Duration {
    let usual_of = |link: Uuid| {
        let found = usual.iter().find(|(of, _)| *of == link)?;
        Duration::try_from_secs_f64(found.1).ok()
    };
    let pauses = running
        .iter()
        .map(|it| pause(settings, it, usual_of(it.link), now));
    pauses.min().unwrap_or_else(|| idle(settings, patrol.teams))
}

fn pause(
    settings: &Workers,
    running: &Running,
    usual: Option<Duration>,
    now: OffsetDateTime,
) -> Duration {
    if running.notified {
        return WHEN_NOTIFIED.max(settings.watch_max);
    }
    if running.seen.ahead.is_some_and(|ahead| ahead > 0) {
        return settings.watch_max;
    }
    let started = running.seen.created_at.unwrap_or(now);
    let elapsed = (now - started).try_into().unwrap_or_default();
    shaped(elapsed, usual).clamp(settings.watch_min, settings.watch_max)
}

/// With a history: first when the build may be over, then often. Without one: news is never older than half the build.
fn shaped(elapsed: Duration, usual: Option<Duration>) -> Duration {
    match usual {
        Some(usual) => usual
            .mul_f64(0.8)
            .saturating_sub(elapsed)
            .max(usual.mul_f64(0.1)),
        None => elapsed / 2,
    }
}

fn idle(settings: &Workers, teams: i64) -> Duration {
    let fair = Duration::from_secs_f64(60.0 / IDLE_PATROLS_PER_MINUTE * teams as f64);
    settings.patrol_idle.max(fair)
}

/// How long a patrol that has made this many calls lets its credential rest.
pub fn rest_after(calls: u32, teams: i64) -> Duration {
    REST_PER_CALL * calls * u32::try_from(teams).unwrap_or(1)
}

/// How many sites' lists may be read now. Over many patrols it comes to the budget, however often they are.
pub fn lists(patrol: &ClaimedPatrol) -> i64 {
    let minutes = (patrol.rested_seconds / 60.0).min(1.0);
    let share = LISTS_PER_MINUTE * minutes / patrol.teams.max(1) as f64;
    (share + fastrand::f64()).floor() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_build_is_looked_at_when_builds_of_its_site_are_usually_over() {
        assert_eq!(shaped(seconds(0), Some(seconds(100))), seconds(80));
        assert_eq!(shaped(seconds(70), Some(seconds(100))), seconds(10));
        assert_eq!(shaped(seconds(300), Some(seconds(100))), seconds(10));
        assert_eq!(shaped(seconds(60), None), seconds(30));
    }

    #[test]
    fn one_credential_asks_less_than_five_hundred_times_a_minute() {
        for calls in [1, 12, 41] {
            let patrols = 60.0 / rest_after(calls, 1).as_secs_f64();
            assert!(patrols * f64::from(calls) < 480.0, "{calls}");
        }
        let teams = 100;
        assert!(rest_after(41, teams) > seconds(500));
    }
}
