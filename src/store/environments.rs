//! Table `environments`: values of the environment variables that links set, sealed.

use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;

/// Stores the sealed values of a new link.
pub async fn insert(
    db: &mut PgConnection,
    link: Uuid,
    tenant: &str,
    sealed: &[u8],
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into environments (link_id, tenant, sealed) values ($1, $2, $3)",
        link,
        tenant,
        sealed
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The sealed values of a link.
pub async fn get(
    db: &mut PgConnection,
    tenant: &str,
    link: Uuid,
) -> Result<Option<Vec<u8>>, StoreError> {
    let sealed = sqlx::query_scalar!(
        "select sealed from environments where tenant = $1 and link_id = $2",
        tenant,
        link
    )
    .fetch_optional(db)
    .await?;
    Ok(sealed)
}

/// Deletes the values of a link that is over.
pub async fn forget(db: &mut PgConnection, link: Uuid) -> Result<(), StoreError> {
    sqlx::query!("delete from environments where link_id = $1", link)
        .execute(db)
        .await?;
    Ok(())
}
