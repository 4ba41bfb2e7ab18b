//! Table `data_keys`: each tenant's data key, wrapped.

use sqlx::PgConnection;

use super::StoreError;

/// A data key as it lies in the database.
#[derive(Debug)]
pub struct DataKeyRow {
    /// Which master key wrapped it.
    pub key_id: String,
    /// The wrapped key.
    pub wrapped: Vec<u8>,
}

/// The tenant's key, if it has one yet.
pub async fn get(db: &mut PgConnection, tenant: &str) -> Result<Option<DataKeyRow>, StoreError> {
    let row = sqlx::query_as!(
        DataKeyRow,
        "select key_id, wrapped from data_keys where tenant = $1",
        tenant
    )
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// Gives the tenant this key unless it got one in the meantime; answers the one it has now.
pub async fn get_or_insert(
    db: &mut PgConnection,
    tenant: &str,
    new: &DataKeyRow,
) -> Result<DataKeyRow, StoreError> {
    sqlx::query!(
        "insert into data_keys (tenant, key_id, wrapped) values ($1, $2, $3) on conflict do nothing",
        tenant,
        new.key_id,
        new.wrapped
    )
    .execute(&mut *db)
    .await?;
    let row = sqlx::query_as!(
        DataKeyRow,
        "select key_id, wrapped from data_keys where tenant = $1",
        tenant
    )
    .fetch_one(db)
    .await?;
    Ok(row)
}

/// How many keys each master key has wrapped. Needs [`super::Rows::OfAll`], as all below.
pub async fn by_master_key(db: &mut PgConnection) -> Result<Vec<(String, i64)>, StoreError> {
    let rows = sqlx::query!(
        r#"select key_id, count(*) as "count!" from data_keys group by key_id order by key_id"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.key_id, row.count))
        .collect())
}

/// The next tenants, by name, whose keys another master key than `active` has wrapped.
pub async fn not_wrapped_by(
    db: &mut PgConnection,
    active: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, DataKeyRow)>, StoreError> {
    let rows = sqlx::query!(
        "select tenant, key_id, wrapped from data_keys where key_id <> $1 and tenant > $2 order by tenant limit $3",
        active,
        after,
        limit
    )
    .fetch_all(db)
    .await?;
    let key = |key_id, wrapped| DataKeyRow { key_id, wrapped };
    Ok(rows
        .into_iter()
        .map(|row| (row.tenant, key(row.key_id, row.wrapped)))
        .collect())
}

/// Stores another wrapping of a tenant's key; false when it is not the one that was read any more.
pub async fn replace_wrapping(
    db: &mut PgConnection,
    tenant: &str,
    read: &DataKeyRow,
    new: &DataKeyRow,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update data_keys set key_id = $3, wrapped = $4 where tenant = $1 and wrapped = $2",
        tenant,
        read.wrapped,
        new.key_id,
        new.wrapped
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
