//! Tables `resources` and `resource_uses`: the ledger of external objects and of who leans on them.
//!
//! Nothing is removed that we did not make or that another link leans on. Both questions are
//! asked across tenants, because one repository may be linked by several; the answers say no more
//! than "ours", "shared" or "foreign".

use sqlx::{PgConnection, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;
use crate::link::{
    facts::{DeployKey, Origin},
    resource::{Receipt, ResourceKind, Right},
};

/// An object to be written into the ledger.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Access by which it was met.
    pub connection: Uuid,
    /// What it is.
    pub kind: ResourceKind,
    /// Instance it lives at, with the repository where ids are only unique within one.
    pub host: String,
    /// The upstream's id.
    pub external_id: String,
    /// Who made it.
    pub origin: Origin,
    /// Public data.
    pub attributes: serde_json::Value,
}

/// An object of the ledger as one link sees it.
#[derive(Debug, Clone)]
pub struct ResourceRow {
    /// What it is.
    pub kind: ResourceKind,
    /// The upstream's id.
    pub external_id: String,
    /// Where it lives.
    pub host: String,
    /// Who made it.
    pub origin: Origin,
    /// When it stops working by itself.
    pub expires_at: Option<OffsetDateTime>,
    /// What became of it; absent while the link leans on it.
    pub receipt: Option<Receipt>,
}

/// Writes an object into the ledger, used by this link. A deploy key needs [`super::Rows::OfAll`].
///
/// # Errors
/// [`StoreError::KeyTaken`] when it is a deploy key that another link, of any tenant, uses.
pub async fn record(
    db: &mut PgConnection,
    link: Uuid,
    tenant: &str,
    entry: &Entry,
) -> Result<(), StoreError> {
    if entry.kind == ResourceKind::DeployKey && is_used_by_another(db, link, entry).await? {
        return Err(StoreError::KeyTaken);
    }
    // Two links may take it at the same moment: the later one then sees the other ([`sites_of_others`]).
    if entry.kind == ResourceKind::Site && entry.origin == Origin::Found {
        one_at_a_time(db, entry).await?;
    }
    let origin = match entry.origin {
        Origin::Made => "made",
        Origin::Found => "found",
    };
    // Who made it is said by the first that met it; an object that was gone and is back is new.
    let id = sqlx::query_scalar!(
        "insert into resources (id, tenant, connection, kind, host, external_id, origin, state, attributes)
         values ($1, $2, $3, $4, $5, $6, $7, 'present', $8)
         on conflict (tenant, kind, host, external_id) do update
             set state = 'present', updated_at = now(), connection = excluded.connection,
                 origin = case when resources.state = 'gone' then excluded.origin else resources.origin end
         returning id",
        Uuid::now_v7(),
        tenant,
        entry.connection,
        entry.kind.as_str(),
        entry.host,
        entry.external_id,
        origin,
        entry.attributes
    )
    .fetch_one(&mut *db)
    .await?;
    sqlx::query!(
        "insert into resource_uses (resource_id, link_id, tenant) values ($1, $2, $3)
         on conflict (resource_id, link_id) do update set receipt = null",
        id,
        link,
        tenant
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Whether another link, and not this one, uses the object. Who asks of the same object waits until this transaction ends: two
/// interrupted tries may have found it.
async fn is_used_by_another(
    db: &mut PgConnection,
    link: Uuid,
    entry: &Entry,
) -> Result<bool, StoreError> {
    one_at_a_time(db, entry).await?;
    let Entry {
        kind,
        host,
        external_id,
        ..
    } = entry;
    let used = sqlx::query_scalar!(
        r#"select coalesce(bool_and(u.link_id <> $4), false) as "used!"
           from resources r join resource_uses u on u.resource_id = r.id
           where r.kind = $1 and r.host = $2 and r.external_id = $3 and u.receipt is null"#,
        kind.as_str(),
        host,
        external_id,
        link
    )
    .fetch_one(db)
    .await?;
    Ok(used)
}

/// The deploy key that an interrupted try took from stock for this link; `refused` ones are used up.
pub async fn held_key(
    db: &mut PgConnection,
    link: Uuid,
    refused: &[String],
) -> Result<Option<DeployKey>, StoreError> {
    let held = sqlx::query!(
        r#"select external_id, attributes ->> 'public_key' as "public_key!"
           from resources r join resource_uses u on u.resource_id = r.id
           where u.link_id = $1 and u.receipt is null and r.kind = 'deploy_key' and external_id <> all($2) limit 1"#,
        link,
        refused
    )
    .fetch_optional(db)
    .await?;
    Ok(held.map(|key| DeployKey {
        id: key.external_id,
        public_key: key.public_key,
        standing: false,
    }))
}

/// Takes the oldest unused deploy key of a connection for this link.
pub async fn take_stock(
    db: &mut PgConnection,
    link: Uuid,
    tenant: &str,
    connection: Uuid,
) -> Result<Option<DeployKey>, StoreError> {
    let taken = sqlx::query!(
        r#"update resources set state = 'present', updated_at = now()
           where id = (select id from resources where tenant = $1 and connection = $2 and kind = 'deploy_key' and state = 'stock'
                         and (swept_at is null or swept_at < now() - interval '10 minutes')
                       order by created_at limit 1 for update skip locked)
           returning id, external_id, attributes ->> 'public_key' as "public_key!""#,
        tenant,
        connection
    )
    .fetch_optional(&mut *db)
    .await?;
    let Some(taken) = taken else { return Ok(None) };
    sqlx::query!(
        "insert into resource_uses (resource_id, link_id, tenant) values ($1, $2, $3)
         on conflict (resource_id, link_id) do update set receipt = null",
        taken.id,
        link,
        tenant
    )
    .execute(db)
    .await?;
    Ok(Some(DeployKey {
        id: taken.external_id,
        public_key: taken.public_key,
        standing: false,
    }))
}

/// Notes what became of an object when the link let go of it.
pub async fn release(
    db: &mut PgConnection,
    link: Uuid,
    kind: ResourceKind,
    external_id: &str,
    receipt: Receipt,
) -> Result<(), StoreError> {
    sqlx::query!(
        "with released as (
             update resource_uses set receipt = $4 from resources
             where resources.id = resource_id and link_id = $1 and kind = $2 and external_id = $3
             returning resource_id
         )
         update resources set updated_at = now(), state = case
                 when $4 in ('deleted', 'already_gone') then 'gone'
                 when $4 = 'stock' then 'stock'
                 else state end
         from released where id = resource_id",
        link,
        kind.as_str(),
        external_id,
        receipt.as_str()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Which of the link's objects it may remove. Needs [`super::Rows::OfAll`].
pub async fn rights(
    db: &mut PgConnection,
    link: Uuid,
) -> Result<Vec<(ResourceKind, String, Right)>, StoreError> {
    let rows = sqlx::query!(
        r#"select mine.kind, mine.external_id, case
               when exists (select from resources r join resource_uses u on u.resource_id = r.id
                            where (r.kind, r.host, r.external_id) = (mine.kind, mine.host, mine.external_id)
                              and u.link_id <> $1 and u.receipt is null) then 'shared'
               when exists (select from resources r
                            where (r.kind, r.host, r.external_id) = (mine.kind, mine.host, mine.external_id)
                              and r.origin = 'made' and r.state <> 'gone') then 'ours'
               else 'foreign' end as "right!"
           from resources mine join resource_uses use on use.resource_id = mine.id
           where use.link_id = $1 and use.receipt is null"#,
        link
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.kind.parse()?, row.external_id, row.right.parse()?)))
        .collect()
}

/// Whoever records the same object, of any tenant, waits until this transaction ends.
async fn one_at_a_time(db: &mut PgConnection, entry: &Entry) -> Result<(), StoreError> {
    let Entry {
        kind,
        host,
        external_id,
        ..
    } = entry;
    let object = format!("{kind} {external_id} at {host}");
    sqlx::query!(
        r#"select pg_advisory_xact_lock(hashtextextended($1, 0)) as "ignored: String""#,
        object
    )
    .fetch_one(db)
    .await?;
    Ok(())
}

/// Netlify's ids of the sites with this id or name that other links lean on, whosever they are. Needs
/// [`super::Rows::OfAll`].
pub async fn sites_of_others(
    db: &mut PgConnection,
    link: Uuid,
    host: &str,
    id_or_name: &str,
) -> Result<Vec<String>, StoreError> {
    let ids = sqlx::query_scalar!(
        "select distinct external_id from resources
         where kind = 'site' and host = $2 and (external_id = $3 or site_name = $3)
           and exists (select from resource_uses
                       where resource_id = resources.id and link_id <> $1 and receipt is null)",
        link,
        host,
        id_or_name
    )
    .fetch_all(db)
    .await?;
    Ok(ids)
}

/// Netlify's ids of the deploy keys that anybody has met for the first time since then, or in the day before: by however much clocks
/// differ, an earlier one cannot have been made since. Needs [`super::Rows::OfAll`].
pub async fn deploy_keys_since(
    db: &mut PgConnection,
    since: OffsetDateTime,
) -> Result<Vec<String>, StoreError> {
    let ids = sqlx::query_scalar!(
        "select external_id from resources where kind = 'deploy_key' and created_at > $1::timestamptz - interval '1 day'",
        since
    )
    .fetch_all(db)
    .await?;
    Ok(ids)
}

/// The link's objects, oldest first.
pub async fn of_link(
    db: &mut PgConnection,
    tenant: &str,
    link: Uuid,
) -> Result<Vec<ResourceRow>, StoreError> {
    let rows = sqlx::query!(
        r#"select kind, external_id, host, origin as "origin: Json<Origin>", expires_at, receipt
           from (select r.kind, r.external_id, r.host, to_jsonb(r.origin) as origin, u.receipt, r.created_at, r.id,
                        (r.attributes ->> 'expires_at')::timestamptz as expires_at
                 from resources r join resource_uses u on u.resource_id = r.id
                 where u.tenant = $1 and u.link_id = $2) as mine
           order by created_at, id"#,
        tenant,
        link
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(ResourceRow {
                kind: row.kind.parse()?,
                external_id: row.external_id,
                host: row.host,
                origin: row.origin.map_or(Origin::Found, |json| json.0),
                expires_at: row.expires_at,
                receipt: row.receipt.map(|word| word.parse()).transpose()?,
            })
        })
        .collect()
}
