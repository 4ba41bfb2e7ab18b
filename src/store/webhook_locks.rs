//! Table `webhook_locks`: of the links of one repository, one at a time makes or removes its webhook.
//!
//! Most providers take a second webhook with the same address, and then Netlify builds every push twice. So a link
//! that finds none may make one only while no other link, of any tenant and in any process, is about to do the same.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{StoreError, links::LeasedLink};

/// What a link is told that has the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookLock {
    /// Another link had it a moment ago: what was read of the webhooks before is out of date.
    pub others_were_here: bool,
}

/// Takes the lock of a repository, or takes it again; `None` while another link has it. Needs [`super::Rows::OfAll`].
///
/// A lock ends with the lease under which it was taken, so a crash blocks nobody for longer than that.
pub async fn take(
    db: &mut PgConnection,
    link: &LeasedLink,
    repository: &str,
) -> Result<Option<WebhookLock>, StoreError> {
    // Those who ask at the same time stand in line here: the statement below begins only when it sees their outcome.
    sqlx::query!(
        r#"select pg_advisory_xact_lock(hashtextextended($1, 0)) as "ignored: String""#,
        repository
    )
    .fetch_one(&mut *db)
    .await?;
    let others_were_here = sqlx::query_scalar!(
        r#"with before as (
               select from webhook_locks
               where repository = $1 and link_id <> $3 and coalesce(ended_at, now()) > now() - interval '1 minute'
           )
           insert into webhook_locks as held (repository, tenant, link_id, fence) values ($1, $2, $3, $4)
           on conflict (repository) do update
               set tenant = excluded.tenant, link_id = excluded.link_id, fence = excluded.fence, taken_at = now(), ended_at = null
               where held.ended_at is not null or held.link_id = excluded.link_id
                  or not exists (select from links where id = held.link_id and fence = held.fence and lease_until > now())
           returning exists (select from before) as "others_were_here!""#,
        repository,
        link.tenant,
        link.id,
        link.fence
    )
    .fetch_optional(db)
    .await?;
    Ok(others_were_here.map(|others_were_here| WebhookLock { others_were_here }))
}

/// Lets go of the lock that a link has: the outcome is saved with it.
pub async fn end(db: &mut PgConnection, link: Uuid) -> Result<(), StoreError> {
    sqlx::query!(
        "update webhook_locks set ended_at = now() where link_id = $1 and ended_at is null",
        link
    )
    .execute(db)
    .await?;
    Ok(())
}
