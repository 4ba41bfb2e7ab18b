//! Table `workers`: which processes hold leases. A process is seen by its database session, which
//! ends with it, and by its beats, which end when it is frozen or its host vanishes.

use std::time::Duration;

use sqlx::{Acquire, PgConnection, PgPool, postgres::PgListener};
use uuid::Uuid;

use super::{
    StoreError,
    links::{self, interval},
};

/// The session of a worker: one connection that does nothing else, so that its end is noticed at once by both sides.
#[derive(Debug)]
pub struct Session {
    worker: Uuid,
    connection: PgListener,
}

impl Session {
    /// Appears among the workers under a new name, for as long as `lease` without a beat.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn open(pool: &PgPool, lease: Duration) -> Result<Self, StoreError> {
        let mut connection = PgListener::connect_with(pool).await?;
        // A lost session has to stay lost: another one would not hold the lock.
        connection.eager_reconnect(false);
        let worker = Uuid::now_v7();
        appear(connection.acquire().await?, worker, lease).await?;
        Ok(Self { worker, connection })
    }

    /// Names the process in leases.
    pub const fn worker(&self) -> Uuid {
        self.worker
    }

    /// Says that the process is alive; false when the others have given it up in the meantime.
    pub async fn beat(&mut self, lease: Duration) -> Result<bool, StoreError> {
        let db = self.connection.acquire().await?;
        let done = sqlx::query!(
            "update workers set alive_until = now() + $2 where id = $1 and alive_until > now()",
            self.worker,
            interval(lease) as _
        )
        .execute(db)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The other workers whose session has ended or whose time is up.
    pub async fn missing(&mut self) -> Result<Vec<Uuid>, StoreError> {
        let db = self.connection.acquire().await?;
        let missing = sqlx::query_scalar!(
            "select id from workers
             where id <> $1 and (alive_until <= now() or pg_try_advisory_xact_lock(session_lock))",
            self.worker
        )
        .fetch_all(db)
        .await?;
        Ok(missing)
    }

    /// Resolves when the session has ended.
    pub async fn lost(&mut self) {
        while let Ok(Some(_)) = self.connection.try_recv().await {}
    }
}

/// Enters a worker and locks its name for the session of `db`.
pub async fn appear(
    db: &mut PgConnection,
    worker: Uuid,
    lease: Duration,
) -> Result<(), StoreError> {
    // A connection that comes from a pool may hold the lock of an earlier name.
    sqlx::query!(
        r#"with fresh as materialized (select pg_advisory_unlock_all()),
                locked as materialized (
               select key, pg_advisory_lock(key) from fresh, hashtextextended('linkbroker worker ' || $1::uuid, 0) as key
           )
           insert into workers (id, session_lock, alive_until) select $1, key, now() + $2 from locked"#,
        worker,
        interval(lease) as _
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Removes a worker that went by itself: its links are due at once, and nobody has died over them. Needs
/// [`super::Rows::OfAll`].
pub async fn leave(db: &mut PgConnection, worker: Uuid) -> Result<u64, StoreError> {
    sqlx::query!("delete from workers where id = $1", worker)
        .execute(&mut *db)
        .await?;
    links::void_leases(db, worker, links::Because::OwnerLeft).await
}

/// Removes a worker that is missing, unless it is back or others were faster; how many links it had, which are due at
/// once, or rest where others have died over them before ([`links::Because`]). Needs [`super::Rows::OfAll`].
pub async fn bury(
    db: &mut PgConnection,
    worker: Uuid,
    pause: Duration,
    longest: Duration,
) -> Result<u64, StoreError> {
    // Deleted in a statement of its own: a claim of the worker's that was under way is seen by the next one.
    let removed = sqlx::query_scalar!(
        r#"delete from workers where id = $1 and (alive_until <= now() or pg_try_advisory_xact_lock(session_lock))
           returning started_at > pg_postmaster_start_time() as "died!""#,
        worker
    )
    .fetch_optional(&mut *db)
    .await?;
    match removed {
        None => Ok(0),
        Some(true) => {
            let because = links::Because::OwnerDied { pause, longest };
            links::void_leases(db, worker, because).await
        }
        // It was Postgres that went away.
        Some(false) => links::void_leases(db, worker, links::Because::OwnerLeft).await,
    }
}
