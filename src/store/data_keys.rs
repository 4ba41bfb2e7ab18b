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
