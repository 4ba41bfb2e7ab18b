//! What all kinds of jobs share, each with a table of its own: checks, preflights, patrols, inspections.

use std::time::Duration;

use sqlx::PgConnection;

use super::{StoreError, links::interval};

/// Of which kinds jobs are due.
#[derive(Debug)]
pub struct Due {
    /// Checks of connections.
    pub checks: bool,
    /// Preflights.
    pub preflights: bool,
    /// Patrols.
    pub patrols: bool,
    /// Inspections, whether their turn has come or not.
    pub inspections: bool,
    /// How long until the next patrol becomes due, for which nobody rings; nothing when none waits. Patrols that are due already
    /// do not count: others are about to take them, or there is no room for them now.
    pub next_patrol: Option<Duration>,
}

impl Due {
    /// Whether jobs of any kind are.
    pub const fn is_any(&self) -> bool {
        self.checks || self.preflights || self.patrols || self.inspections
    }
}

/// Of which kinds jobs are due: mostly none, which one look tells. Needs [`super::Rows::OfAll`].
pub async fn due(db: &mut PgConnection) -> Result<Due, StoreError> {
    let due = sqlx::query!(
        r#"select exists (select from connection_checks where due_at <= now()) as "checks!",
                  exists (select from preflights where due_at <= now()) as "preflights!",
                  exists (select from patrols where due_at <= now()) as "patrols!",
                  exists (select from inspections where due_at <= now()) as "inspections!",
                  (select extract(epoch from min(due_at) - now())::float8 from patrols where due_at > now()) as next_patrol"#
    )
    .fetch_one(db)
    .await?;
    let next_patrol = due.next_patrol.map(|seconds| seconds.max(0.0));
    Ok(Due {
        checks: due.checks,
        preflights: due.preflights,
        patrols: due.patrols,
        inspections: due.inspections,
        next_patrol: next_patrol.map(Duration::from_secs_f64),
    })
}

/// Ends the leases of one kind of job.
macro_rules! void_orphaned {
    ($db:expr, $table:literal, $also:literal, $pause:expr, $longest:expr) => {
        sqlx::query!(
            "update " + $table + " set lease = null" + $also + ",
                 due_at = now() + case when claims > 1 then least($2::interval, $1::interval * power(2, claims - 2)) else '0' end
             where lease is not null and not exists (select from workers w where w.id = lease)",
            interval($pause) as _,
            interval($longest) as _
        )
        .execute(&mut *$db)
        .await?
        .rows_affected()
    };
}

/// Ends all leases of jobs whose owner is not among the workers: nothing that it still finds out counts, and they are due at
/// once, or after a rest: the pause after the second death in a row, twice as long after each further one, and the longest
/// pause at most. How many they were. A transaction that the owner has left open may hold this up. Needs
/// [`super::Rows::OfAll`].
pub async fn void_orphaned(
    db: &mut PgConnection,
    pause: Duration,
    longest: Duration,
) -> Result<u64, StoreError> {
    let checks = void_orphaned!(
        db,
        "connection_checks",
        ", state = 'queued'",
        pause,
        longest
    );
    let preflights = void_orphaned!(db, "preflights", ", state = 'queued'", pause, longest);
    // Whatever it was to look at, the next one looks at what runs. Patrols come before inspections for all who take both.
    let patrols = void_orphaned!(db, "patrols", ", planned_at = now()", pause, longest);
    let inspections = void_orphaned!(db, "inspections", "", pause, longest);
    Ok(checks + preflights + inspections + patrols)
}
