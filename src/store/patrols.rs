//! Table `patrols`: one look at all running builds of a team, as a job that comes back.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;

/// A patrol in the hands of a worker.
#[derive(Debug, Clone)]
pub struct ClaimedPatrol {
    /// The connection to Netlify.
    pub connection: Uuid,
    /// Slug of the team.
    pub team: String,
    /// Who owns the connection.
    pub tenant: String,
    /// The worker that has it.
    pub lease: Uuid,
    /// Until when, in database time: tells this claim from a later one of the same worker.
    pub leased_until: OffsetDateTime,
    /// Claims since the last outcome, with this one.
    pub claims: i16,
    /// Whether the running builds are to be looked at; else hints alone are followed.
    pub is_planned: bool,
    /// Seconds since all running builds were looked at.
    pub rested_seconds: f64,
    /// Teams that the connection patrols, with this one: they share what a credential may ask.
    pub teams: i64,
}

/// Has a team's running builds looked at within this time.
pub async fn request(
    db: &mut PgConnection,
    tenant: &str,
    connection: Uuid,
    team: &str,
    within: Duration,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into patrols as s (connection_id, team, tenant, planned_at, due_at)
         select $1, $2, $3, at, at from (select now() + make_interval(secs => $4) as at) as wanted
         on conflict (connection_id, team) do update
             set planned_at = excluded.planned_at,
                 due_at = case when s.lease is null then least(s.due_at, excluded.due_at) else s.due_at end
             where s.planned_at is null or s.planned_at > excluded.planned_at",
        connection,
        team,
        tenant,
        within.as_secs_f64()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Has the running builds of all teams looked at that a connection patrols: it has a good credential by now.
pub async fn look_again_with(db: &mut PgConnection, connection: Uuid) -> Result<(), StoreError> {
    sqlx::query!(
        "update patrols set planned_at = now(), due_at = case when lease is null then now() else due_at end
         where connection_id = $1 and due_at is not null",
        connection
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Makes a patrol due at once, for the builds that a notification has named. One that is under way sees them when it ends:
/// whichever of both is later waits for the other.
pub async fn hint(db: &mut PgConnection, connection: Uuid, team: &str) -> Result<(), StoreError> {
    sqlx::query!(
        "update patrols set due_at = case when lease is null then now() else due_at end where connection_id = $1 and team = $2",
        connection,
        team
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Leases up to `limit` due patrols. An expired lease is simply due: whatever it was to look at, the next one looks at what
/// runs. Needs [`super::Rows::OfAll`].
pub async fn claim(
    db: &mut PgConnection,
    owner: Uuid,
    lease: Duration,
    limit: i64,
) -> Result<Vec<ClaimedPatrol>, StoreError> {
    let claimed = sqlx::query_as!(
        ClaimedPatrol,
        r#"with due as (
               select connection_id, team, lease is not null or coalesce(planned_at <= now(), false) as is_planned from patrols
               where due_at <= now() order by due_at limit $2 for update skip locked
           )
           update patrols s set lease = $3, claims = claims + 1, due_at = now() + make_interval(secs => $1),
                  planned_at = case when not is_planned then planned_at end
           from due where s.connection_id = due.connection_id and s.team = due.team
           returning s.connection_id as connection, s.team, s.tenant, s.lease as "lease!", s.due_at as "leased_until!", s.claims, is_planned as "is_planned!",
                     coalesce(extract(epoch from now() - s.patrolled_at), 0)::float8 as "rested_seconds!",
                     (select count(*) from patrols o where o.connection_id = s.connection_id and o.due_at is not null) as "teams!""#,
        lease.as_secs_f64(),
        limit,
        owner
    )
    .fetch_all(db)
    .await?;
    Ok(claimed)
}

/// Writes when the running builds are to be looked at next. Whoever has asked for it in the meantime gets it sooner; nobody
/// looks once no link is watched. `is_whole`: all of the team's running builds were looked at.
pub async fn finish(
    db: &mut PgConnection,
    patrol: &ClaimedPatrol,
    next: Duration,
    is_whole: bool,
) -> Result<(), StoreError> {
    // A statement of its own, so that the next one sees the hint that it has waited for.
    sqlx::query!(
        "select from patrols where connection_id = $1 and team = $2 for no key update",
        patrol.connection,
        patrol.team
    )
    .fetch_optional(&mut *db)
    .await?;
    sqlx::query!(
        "with here as (select link_id from watches where connection_id = $1 and team = $2),
              plan as (select case when exists (select from here) then now() + make_interval(secs => $4) end as at)
         update patrols set lease = null, claims = 0, planned_at = least(plan.at, planned_at),
             patrolled_at = case when $6 then now() else patrolled_at end,
             due_at = case when exists (select from builds join here using (link_id) where finished_at is null and hinted)
                           then now() else least(plan.at, planned_at) end
         from plan where connection_id = $1 and team = $2 and lease = $3 and due_at = $5",
        patrol.connection,
        patrol.team,
        patrol.lease,
        next.as_secs_f64(),
        patrol.leased_until,
        is_whole,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Whether a team's running builds were looked at within the last two minutes.
pub async fn is_recent(
    db: &mut PgConnection,
    connection: Uuid,
    team: &str,
) -> Result<bool, StoreError> {
    let recent = sqlx::query_scalar!(
        r#"select coalesce(patrolled_at > now() - interval '2 minutes', false) as "recent!" from patrols
           where connection_id = $1 and team = $2"#,
        connection,
        team
    )
    .fetch_optional(db)
    .await?;
    Ok(recent == Some(true))
}

/// Lets go of a patrol that was not finished: it is due at once, and looks at what runs, because its hints are heeded already.
pub async fn let_go(db: &mut PgConnection, patrol: &ClaimedPatrol) -> Result<(), StoreError> {
    sqlx::query!(
        "update patrols set lease = null, due_at = now(), claims = claims - 1, planned_at = now()
         where connection_id = $1 and team = $2 and lease = $3 and due_at = $4",
        patrol.connection,
        patrol.team,
        patrol.lease,
        patrol.leased_until
    )
    .execute(db)
    .await?;
    Ok(())
}
