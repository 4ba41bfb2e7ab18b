//! Table `inspections`: when each link that came to rest is looked at again, and what came of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Document, StoreError, events, events::NewEvent, links::LeasedLink, read_document, step_runs,
};
use crate::link::{
    drift::{self, Drift},
    facts::Facts,
    failure::Failure,
    request::LinkSpec,
    status::{LinkStatus, Wanted},
    step_run::StepRun,
};
use crate::upstream::Tags;

/// A look in the hands of a worker.
#[derive(Debug, Clone)]
pub struct ClaimedInspection {
    /// The link.
    pub link_id: Uuid,
    /// Who owns it.
    pub tenant: String,
    /// The worker that has it.
    pub lease: Uuid,
    /// Until when, in database time: tells this claim from a later one of the same worker.
    pub leased_until: OffsetDateTime,
    /// Claims since the last outcome, with this one.
    pub claims: i16,
    /// Whether a caller waits for it.
    pub is_asked: bool,
    /// Who has asked after this waits for the next look.
    claimed_at: OffsetDateTime,
    remembered: Document,
}

impl ClaimedInspection {
    /// What the last look has left; nothing when another version has left it, because it only saves calls.
    pub fn remembered(&self) -> Option<Remembered> {
        read_document(&self.remembered).ok().flatten()
    }
}

/// What a look that found everything as it was leaves to the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The link's fence then: what was seen says nothing of a link that has changed since.
    pub fence: i64,
    /// ETags of what was read.
    pub tags: Tags,
}

/// What links come to rest with: their next look. An earlier one stays; one that is under way saw the link as it was before.
pub async fn enlist(
    db: &mut PgConnection,
    link: &LeasedLink,
    after: Duration,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into inspections (link_id, tenant, connection, due_at)
         values ($1, $2, $3, now() + make_interval(secs => $4))
         on conflict (link_id) do update set due_at = excluded.due_at, lease = null where inspections.due_at > excluded.due_at",
        link.id,
        link.tenant,
        link.netlify_connection,
        after.as_secs_f64()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Enlists the links at rest that an earlier version left behind, spread over `within`. Needs [`super::Rows::OfAll`].
pub async fn enlist_all(db: &mut PgConnection, within: Duration) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into inspections (link_id, tenant, connection, due_at)
         select id, tenant, netlify_connection, now() + make_interval(secs => $1) * random() from links
         where wanted = 'linked' and status in ('live', 'degraded', 'build_failed')
         on conflict (link_id) do nothing",
        within.as_secs_f64()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Asks for a look at once, or for another one after that which is under way; callers see the link in wait of it.
pub async fn ask(db: &mut PgConnection, tenant: &str, link: Uuid) -> Result<(), StoreError> {
    sqlx::query!(
        "with asked as (
             insert into inspections (link_id, tenant, connection, due_at, asked_at)
             select id, tenant, netlify_connection, now(), now() from links where tenant = $1 and id = $2
             on conflict (link_id) do update
                 set asked_at = clock_timestamp(),
                     due_at = case when inspections.lease is null then now() else inspections.due_at end,
                     claims = case when inspections.lease is null then 0 else inspections.claims end
             returning link_id
         )
         update links set version = version + 1, updated_at = now() from asked where id = link_id",
        tenant,
        link
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Leases up to `limit` due looks: first those that callers wait for, then the oldest, of each connection no more than `pace`
/// in a minute. An expired lease is simply due. Needs [`super::Rows::OfAll`].
pub async fn claim(
    db: &mut PgConnection,
    owner: Uuid,
    lease: Duration,
    limit: i64,
    pace: i64,
) -> Result<Vec<ClaimedInspection>, StoreError> {
    let claimed = sqlx::query_as!(
        ClaimedInspection,
        r#"with recursive connections as (
               (select connection from inspections
                where exists (select from inspections where due_at <= now()) order by connection limit 1)
               union all
               select (select i.connection from inspections i where i.connection > c.connection order by i.connection limit 1)
               from connections c where c.connection is not null
           ), asked as (
               select link_id from inspections where asked_at is not null and due_at <= now()
               order by due_at limit $2 for update skip locked
           ), idle as (
               select mine.* from connections c cross join lateral (
                   select link_id, due_at from inspections i
                   where i.connection = c.connection and i.due_at <= now() and i.asked_at is null
                   order by i.due_at
                   limit least($2, greatest(0, $3 - (
                       select count(*) from inspections done
                       where done.connection = c.connection and done.checked_at > now() - interval '1 minute')))
                   for update skip locked
               ) as mine
           ), due as (
               select link_id from (
                   select link_id, '-infinity'::timestamptz as due_at from asked union all select link_id, due_at from idle
               ) as both_kinds order by due_at limit $2
           )
           update inspections i
           set lease = $4, claims = claims + 1, due_at = now() + make_interval(secs => $1)
           from due where i.link_id = due.link_id
           returning i.link_id, i.tenant, i.lease as "lease!", i.due_at as leased_until, i.claims, i.asked_at is not null as "is_asked!", now() as "claimed_at!",
                     i.remembered as "remembered: Document""#,
        lease.as_secs_f64(),
        limit,
        pace,
        owner
    )
    .fetch_all(db)
    .await?;
    Ok(claimed)
}

/// The link that is looked at, when it is at rest and wanted; what the engine has in hand is not disturbed.
pub async fn subject(
    db: &mut PgConnection,
    tenant: &str,
    link: Uuid,
) -> Result<Option<LeasedLink>, StoreError> {
    let row = sqlx::query!(
        r#"select live_at is not null as "was_live!", spec as "spec: Json<LinkSpec>", status, wanted,
                  facts as "facts: Json<Facts>", failure as "failure: Json<Failure>", fence, deaths,
                  netlify_connection, provider_connection, now() as "now!"
           from links
           where tenant = $1 and id = $2 and lease_owner is null and wanted = 'linked'
             and status in ('live', 'degraded', 'build_failed')"#,
        tenant,
        link
    )
    .fetch_optional(&mut *db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let steps = step_runs::of_link(db, link).await?;
    Ok(Some(LeasedLink {
        id: link,
        tenant: tenant.to_owned(),
        spec: row.spec.0,
        status: row.status.parse()?,
        wanted: row.wanted.parse()?,
        was_live: row.was_live,
        facts: row.facts.0,
        failure: row.failure.map(|json| json.0),
        fence: row.fence,
        deaths: row.deaths,
        netlify_connection: row.netlify_connection,
        provider_connection: row.provider_connection,
        steps,
        claimed_at: row.now,
    }))
}

/// Why a link is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyNot {
    /// Nothing is left of it to look at.
    Over,
    /// It is in somebody's hands, or will be.
    Busy,
    /// It stands still for another reason.
    Stands,
}

/// Why a link that is no [`subject`] is not looked at.
pub async fn why_not(db: &mut PgConnection, link: Uuid) -> Result<WhyNot, StoreError> {
    let row = sqlx::query!(
        r#"select status in ('unlinked', 'canceled') as "is_over!",
                  status in ('failed', 'action_required') and lease_owner is null as "stands!" from links where id = $1"#,
        link
    )
    .fetch_optional(db)
    .await?;
    Ok(match row {
        Some(row) if row.stands => WhyNot::Stands,
        Some(row) if !row.is_over => WhyNot::Busy,
        _ => WhyNot::Over,
    })
}

/// Notes that the look is done, and when the next one is; whether the claim still held. A caller that asked meanwhile waits for
/// the next look.
pub async fn done(
    db: &mut PgConnection,
    claimed: &ClaimedInspection,
    next: Duration,
    remembered: Option<&Remembered>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update inspections
         set lease = null, claims = 0, checked_at = now(), remembered = $4,
             asked_at = case when asked_at > $6 then asked_at end,
             due_at = case when asked_at > $6 then now() else now() + make_interval(secs => $3) end
         where link_id = $1 and lease = $2 and due_at = $5",
        claimed.link_id,
        claimed.lease,
        next.as_secs_f64(),
        Json(remembered) as _,
        claimed.leased_until,
        claimed.claimed_at
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Puts a look off that could not be done; whether the claim still held. Its caller goes on waiting, unless nothing will come
/// of it.
pub async fn put_off(
    db: &mut PgConnection,
    claimed: &ClaimedInspection,
    until: Duration,
    keeps_caller: bool,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update inspections
         set lease = null, claims = 0,
             asked_at = case when $4 or asked_at > $6 then asked_at end,
             due_at = case when asked_at > $6 then now() else now() + make_interval(secs => $3) end
         where link_id = $1 and lease = $2 and due_at = $5",
        claimed.link_id,
        claimed.lease,
        until.as_secs_f64(),
        keeps_caller,
        claimed.leased_until,
        claimed.claimed_at
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lets go of a look that was not finished: it is due at once.
pub async fn let_go(db: &mut PgConnection, claimed: &ClaimedInspection) -> Result<(), StoreError> {
    sqlx::query!(
        "update inspections set lease = null, due_at = now(), claims = claims - 1
         where link_id = $1 and lease = $2 and due_at = $3",
        claimed.link_id,
        claimed.lease,
        claimed.leased_until
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Makes a look due again whose finding came too late: the link was taken up meanwhile. Its caller goes on waiting.
pub async fn put_back(
    db: &mut PgConnection,
    claimed: &ClaimedInspection,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update inspections
         set due_at = now() + interval '1 second', asked_at = case when $2 then now() else asked_at end
         where link_id = $1",
        claimed.link_id,
        claimed.is_asked
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Makes the looks due at links of which the last one found that the credential of this connection is refused.
pub async fn look_again_with(
    db: &mut PgConnection,
    tenant: &str,
    connection: Uuid,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"with theirs as (
               select link_id from inspections join links on id = link_id
               where lease is null and links.tenant = $1 and (netlify_connection = $2 or provider_connection = $2)
                 and facts @? '$.drift[*] ? (@.kind like_regex "_credential_refused$")'
               order by link_id for no key update of inspections
           )
           update inspections i set due_at = least(due_at, now()) from theirs where i.link_id = theirs.link_id"#,
        tenant,
        connection
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Lets the caller that asked for a look see that nothing will come of it.
pub async fn tell_asked(db: &mut PgConnection, link: Uuid) -> Result<(), StoreError> {
    sqlx::query!(
        "update links set version = version + 1, updated_at = now() where id = $1",
        link
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Ends the looks at a link that is over.
pub async fn forget(db: &mut PgConnection, link: Uuid) -> Result<(), StoreError> {
    sqlx::query!("delete from inspections where link_id = $1", link)
        .execute(db)
        .await?;
    Ok(())
}

/// Writes what the look found of the link, unless the link was taken up or changed by a caller since; whether it was written.
pub async fn write_drift(
    db: &mut PgConnection,
    link: &LeasedLink,
    status: LinkStatus,
    drift: &[Drift],
    happened: &[NewEvent],
) -> Result<bool, StoreError> {
    let failure = drift::failure(drift);
    let written = sqlx::query!(
        "update links set facts = jsonb_set(facts, '{drift}', $4::jsonb), status = $3, version = version + 1, updated_at = now(),
             failure = case when failure is null or failure ->> 'code' = 'drifted' then $6::jsonb else failure end
         where id = $1 and fence = $2 and lease_owner is null and wanted = $5",
        link.id,
        link.fence,
        status.as_str(),
        Json(drift) as _,
        Wanted::Linked.as_str(),
        failure.as_ref().map(Json) as _
    )
    .execute(&mut *db)
    .await?;
    if written.rows_affected() == 0 {
        return Ok(false);
    }
    events::append(db, link.id, &link.tenant, happened).await?;
    Ok(true)
}

/// Hands the link to the engine, with steps and facts as healing leaves them. Call it after [`write_drift`] in the same
/// transaction.
pub async fn heal(
    db: &mut PgConnection,
    link: &LeasedLink,
    facts: &Facts,
    steps: &[StepRun],
) -> Result<(), StoreError> {
    super::links::request_work(db, link.id, &link.tenant, LinkStatus::Linking, facts, steps).await
}
