//! Orphans: external objects that we made and that nobody needs, for a sweep to remove. All of it needs
//! [`Rows::OfAll`](super::Rows::OfAll).

use std::time::Duration;

use sqlx::{PgConnection, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{StoreError, links::interval};
use crate::link::{facts::Repository, resource::ResourceKind};

/// How old something has to be to be swept.
#[derive(Debug, Clone, Copy)]
pub struct Ages {
    /// A deploy key in stock.
    pub stock: Duration,
    /// Something that the last link has let go of.
    pub unused: Duration,
    /// A deploy key that an interrupted try may have made.
    pub suspect: Duration,
}

/// An object of the ledger that nobody needs.
#[derive(Debug)]
pub struct Orphan {
    /// Its row.
    pub id: Uuid,
    /// Whose link made it.
    pub tenant: String,
    /// The access by which it was made.
    pub connection: Uuid,
    /// What it is.
    pub kind: ResourceKind,
    /// Where it lives.
    pub host: String,
    /// The upstream's id.
    pub external_id: String,
    /// Where it delivers, when it is a webhook.
    pub url: Option<String>,
    /// The repository that it is on, when it is on one.
    pub repository: Option<Repository>,
}

/// A time in which a call for a deploy key was interrupted.
#[derive(Debug)]
pub struct Uncertain {
    /// The connection to Netlify.
    pub connection: Uuid,
    /// Who owns it.
    pub tenant: String,
    /// When the try began.
    pub began_at: OffsetDateTime,
    /// When it surely had its effect, if ever.
    pub ended_at: OffsetDateTime,
}

/// Objects that we made and nobody needs: old stock, and what links let go of because another one needed it that has gone since.
/// What a caller wanted to keep is none.
pub async fn find(
    db: &mut PgConnection,
    ages: Ages,
    limit: i64,
) -> Result<Vec<Orphan>, StoreError> {
    let rows = sqlx::query!(
        r#"select r.id, r.tenant, r.connection, r.kind, r.host, r.external_id, r.attributes ->> 'url' as url,
                  (select l.facts -> 'repository' from resource_uses u join links l on l.id = u.link_id
                   where u.resource_id = r.id and l.facts ? 'repository' limit 1) as "repository: Json<Option<Repository>>"
           from resources r join connections c on c.id = r.connection and c.deleted_at is null
           where (r.swept_at is null or r.swept_at < now() - interval '10 minutes')
             and (r.state = 'stock' and r.updated_at < now() - $1::interval
               or r.state = 'present' and r.origin = 'made' and r.updated_at < now() - $2::interval
                  and r.kind in ('deploy_key', 'installed_key', 'webhook', 'site')
                  and exists (select from resource_uses u where u.resource_id = r.id and u.receipt = 'kept_shared')
                  and not exists (select from resources o join resource_uses u on u.resource_id = o.id
                                  where (o.kind, o.host, o.external_id) = (r.kind, r.host, r.external_id)
                                    and (u.receipt is null or u.receipt in ('kept', 'kept_foreign'))))
           order by r.updated_at limit $3"#,
        interval(ages.stock) as _,
        interval(ages.unused) as _,
        limit
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Orphan {
                id: row.id,
                tenant: row.tenant,
                connection: row.connection,
                kind: row.kind.parse()?,
                host: row.host,
                external_id: row.external_id,
                url: row.url,
                repository: row.repository.and_then(|json| json.0),
            })
        })
        .collect()
}

/// Says that this object is about to be removed; false when somebody needs it by now or another sweep was faster.
pub async fn claim(db: &mut PgConnection, id: Uuid) -> Result<bool, StoreError> {
    // Held by a statement of its own: the next one sees the use of a link that has taken the object meanwhile.
    sqlx::query!("select from resources where id = $1 for update", id)
        .fetch_optional(&mut *db)
        .await?;
    let done = sqlx::query!(
        "update resources r set swept_at = now()
         where id = $1 and state in ('stock', 'present') and (swept_at is null or swept_at < now() - interval '10 minutes')
           and not exists (select from resources o join resource_uses u on u.resource_id = o.id
                           where (o.kind, o.host, o.external_id) = (r.kind, r.host, r.external_id)
                             and (u.receipt is null or u.receipt in ('kept', 'kept_foreign')))",
        id
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The object is gone.
pub async fn removed(db: &mut PgConnection, id: Uuid) -> Result<(), StoreError> {
    sqlx::query!(
        "update resources set state = 'gone', updated_at = now() where id = $1",
        id
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Notes that a call for a deploy key, which began then, was interrupted and may have its effect until `settle` from now.
pub async fn note_uncertain_key(
    db: &mut PgConnection,
    tenant: &str,
    connection: Uuid,
    began_at: OffsetDateTime,
    settle: Duration,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into uncertain_keys (connection, tenant, began_at, ended_at) values ($1, $2, $3, now() + $4)
         on conflict do nothing",
        connection,
        tenant,
        began_at,
        interval(settle) as _
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Interrupted calls for deploy keys that are long enough ago.
pub async fn uncertain_keys(
    db: &mut PgConnection,
    ages: Ages,
    limit: i64,
) -> Result<Vec<Uncertain>, StoreError> {
    let rows = sqlx::query_as!(
        Uncertain,
        "select u.connection, u.tenant, u.began_at, u.ended_at
         from uncertain_keys u join connections c on c.id = u.connection and c.deleted_at is null
         where u.noted_at < now() - $1::interval order by u.noted_at limit $2",
        interval(ages.suspect) as _,
        limit
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Nothing is left to be found of this interrupted call.
pub async fn settle_uncertain_key(
    db: &mut PgConnection,
    uncertain: &Uncertain,
) -> Result<(), StoreError> {
    sqlx::query!(
        "delete from uncertain_keys where connection = $1 and began_at = $2",
        uncertain.connection,
        uncertain.began_at
    )
    .execute(db)
    .await?;
    Ok(())
}
