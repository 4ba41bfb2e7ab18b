//! Table `connection_checks`: the last check of each connection, first as a job, then with its outcome.

use std::time::Duration;

use sqlx::{PgConnection, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;
use crate::link::{failure::Failure, installation::Installation};

/// A check as readers see it.
#[derive(Debug, Clone)]
pub struct CheckRow {
    /// The connection.
    pub connection_id: Uuid,
    /// `queued`, `running`, `passed` or `failed`.
    pub state: String,
    /// When the outcome was known.
    pub checked_at: Option<OffsetDateTime>,
    /// Whom the credential belongs to.
    pub identity: Option<String>,
    /// Slugs of the Netlify teams that it belongs to.
    pub teams: Option<Vec<String>>,
    /// What the credential may do, where the upstream says.
    pub scopes: Option<Vec<String>>,
    /// When the credential stops working, where the upstream says.
    pub expires_at: Option<OffsetDateTime>,
    /// Of an app: where it is installed.
    pub installations: Option<Json<Vec<Installation>>>,
    /// Why it is not good.
    pub failure: Option<Json<Failure>>,
}

/// A check in the hands of a worker.
#[derive(Debug, Clone)]
pub struct ClaimedCheck {
    /// The connection.
    pub connection_id: Uuid,
    /// Who owns it.
    pub tenant: String,
    /// The worker that has it.
    pub lease: Uuid,
    /// Until when, in database time: tells this claim from a later one of the same worker.
    pub leased_until: OffsetDateTime,
    /// Claims since the check was asked for, with this one.
    pub claims: i16,
}

/// What a check found out of a credential that is good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Whom it belongs to.
    pub identity: String,
    /// Slugs of its Netlify teams.
    pub teams: Option<Vec<String>>,
    /// What it may do, where the upstream says.
    pub scopes: Option<Vec<String>>,
    /// When it stops working, where the upstream says.
    pub expires_at: Option<OffsetDateTime>,
    /// Of an app: where it is installed.
    pub installations: Option<Vec<Installation>>,
}

/// Asks for a check; one that is under way already is the one that is asked for.
pub async fn request(
    db: &mut PgConnection,
    tenant: &str,
    connection: Uuid,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into connection_checks (connection_id, tenant, state) values ($1, $2, 'queued')
         on conflict (connection_id) do update
             set state = 'queued', requested_at = now(), due_at = now(), claims = 0
             where connection_checks.state in ('passed', 'failed')",
        connection,
        tenant
    )
    .execute(db)
    .await?;
    Ok(())
}

/// When a connection's credential stops working, as its last check has found. One that was not checked for a day is checked.
pub async fn ends_at(
    db: &mut PgConnection,
    tenant: &str,
    connection: Uuid,
) -> Result<Option<OffsetDateTime>, StoreError> {
    let checked = sqlx::query!(
        r#"select expires_at, coalesce(checked_at, requested_at) > now() - interval '1 day' as "is_fresh!"
           from connection_checks where tenant = $1 and connection_id = $2"#,
        tenant,
        connection
    )
    .fetch_optional(&mut *db)
    .await?;
    if !checked.as_ref().is_some_and(|checked| checked.is_fresh) {
        request(db, tenant, connection).await?;
    }
    Ok(checked.and_then(|checked| checked.expires_at))
}

/// The last checks of these connections, in no order; a connection that was never checked has none.
pub async fn of_connections(
    db: &mut PgConnection,
    tenant: &str,
    connections: &[Uuid],
) -> Result<Vec<CheckRow>, StoreError> {
    let rows = sqlx::query_as!(
        CheckRow,
        r#"select connection_id, state, checked_at, identity, teams, scopes, expires_at,
                  installations as "installations: Json<Vec<Installation>>",
                  failure as "failure: Json<Failure>"
           from connection_checks where tenant = $1 and connection_id = any($2)"#,
        tenant,
        connections
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Notes that an upstream has refused the credential of a connection, unless it is another one by now; whether that is news.
pub async fn note_refusal(
    db: &mut PgConnection,
    tenant: &str,
    connection: Uuid,
    sealed: &[u8],
    refusal: &Failure,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "insert into connection_checks as c (connection_id, tenant, state, due_at, checked_at, failure, refusal)
         select id, tenant, 'failed', null, now(), $4, $4 from connections
         where tenant = $1 and id = $2 and sealed = $3 for no key update
         on conflict (connection_id) do update
             set refusal = excluded.refusal, failure = excluded.failure, checked_at = now(),
                 state = case c.state when 'passed' then 'failed' else c.state end
             where c.refusal is null",
        tenant,
        connection,
        sealed,
        Json(refusal) as _
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The first of these connections whose credential was refused, with what the upstream said.
pub async fn refused(
    db: &mut PgConnection,
    tenant: &str,
    connections: &[Uuid],
) -> Result<Option<(Uuid, Failure)>, StoreError> {
    let row = sqlx::query!(
        r#"select connection_id, refusal as "refusal!: Json<Failure>" from connection_checks
           where tenant = $1 and connection_id = any($2) and refusal is not null order by connection_id limit 1"#,
        tenant,
        connections
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| (row.connection_id, row.refusal.0)))
}

/// Whether the credential of this connection is still the one that was refused. Who brings another, or a check that
/// passes, waits until this transaction ends, and so sees what it has written of the refusal.
pub async fn is_still_refused(
    db: &mut PgConnection,
    tenant: &str,
    connection: Uuid,
) -> Result<bool, StoreError> {
    let refused = sqlx::query_scalar!(
        r#"select connection_id from connection_checks
           where tenant = $1 and connection_id = $2 and refusal is not null for share"#,
        tenant,
        connection
    )
    .fetch_optional(db)
    .await?;
    Ok(refused.is_some())
}

/// Forgets the check of a connection: its credential is another one, or gone.
pub async fn forget(
    db: &mut PgConnection,
    tenant: &str,
    connection: Uuid,
) -> Result<(), StoreError> {
    sqlx::query!(
        "delete from connection_checks where tenant = $1 and connection_id = $2",
        tenant,
        connection
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Leases up to `limit` due checks; an expired lease is simply due. Needs [`super::Rows::OfAll`].
pub async fn claim(
    db: &mut PgConnection,
    owner: Uuid,
    lease: Duration,
    limit: i64,
) -> Result<Vec<ClaimedCheck>, StoreError> {
    let claimed = sqlx::query_as!(
        ClaimedCheck,
        r#"with due as (
               select connection_id from connection_checks
               where due_at <= now() order by due_at limit $2 for update skip locked
           )
           update connection_checks c
           set state = 'running', lease = $3, claims = claims + 1,
               due_at = now() + make_interval(secs => $1)
           from due where c.connection_id = due.connection_id
           returning c.connection_id, c.tenant, c.lease as "lease!", c.due_at as "leased_until!", c.claims"#,
        lease.as_secs_f64(),
        limit,
        owner
    )
    .fetch_all(db)
    .await?;
    Ok(claimed)
}

/// Writes the outcome, unless the check was claimed again or forgotten in the meantime; whether it counts.
pub async fn finish(
    db: &mut PgConnection,
    check: &ClaimedCheck,
    outcome: Result<&Found, &Failure>,
) -> Result<bool, StoreError> {
    let state = match outcome {
        Ok(_) => "passed",
        Err(_) => "failed",
    };
    let found = outcome.ok();
    let done = sqlx::query!(
        "update connection_checks
         set state = $3, lease = null, due_at = null, checked_at = now(),
             identity = $4, teams = $5, scopes = $6, expires_at = $7, failure = $8, installations = $9,
             refusal = case $3 when 'passed' then null else refusal end
         where connection_id = $1 and lease = $2 and due_at = $10",
        check.connection_id,
        check.lease,
        state,
        found.map(|found| found.identity.as_str()),
        found.and_then(|found| found.teams.as_deref()),
        found.and_then(|found| found.scopes.as_deref()),
        found.and_then(|found| found.expires_at),
        outcome.err().map(Json) as _,
        found.and_then(|found| found.installations.as_ref()).map(Json) as _,
        check.leased_until
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lets go of a check that was not finished: it is due at once.
pub async fn let_go(db: &mut PgConnection, check: &ClaimedCheck) -> Result<(), StoreError> {
    sqlx::query!(
        "update connection_checks set state = 'queued', lease = null, due_at = now(), claims = claims - 1
         where connection_id = $1 and lease = $2 and due_at = $3",
        check.connection_id,
        check.lease,
        check.leased_until
    )
    .execute(db)
    .await?;
    Ok(())
}
