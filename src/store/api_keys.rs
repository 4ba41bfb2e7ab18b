//! Table `api_keys`: keys of callers without an issuer. The secret itself is never stored.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;

/// A key as it lies in the database.
#[derive(Debug)]
pub struct ApiKeyRow {
    /// Its public part.
    pub id: Uuid,
    /// Whose things the bearer works with.
    pub tenant: String,
    /// What the operator calls it.
    pub name: String,
    /// What the bearer may do.
    pub scopes: Vec<String>,
    /// SHA-256 of its secret part.
    pub secret_hash: Vec<u8>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was last used, to within a minute.
    pub last_used_at: Option<OffsetDateTime>,
    /// Since when it is not accepted any more.
    pub revoked_at: Option<OffsetDateTime>,
}

/// Stores a new key; a name that the tenant has already violates `api_keys_name`.
pub async fn insert(
    db: &mut PgConnection,
    id: Uuid,
    tenant: &str,
    name: &str,
    scopes: &[String],
    secret_hash: &[u8],
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into api_keys (id, tenant, name, scopes, secret_hash) values ($1, $2, $3, $4, $5)",
        id,
        tenant,
        name,
        scopes,
        secret_hash
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The key that is not revoked. The tenant is not known yet: needs [`super::Rows::OfAll`].
pub async fn find(db: &mut PgConnection, id: Uuid) -> Result<Option<ApiKeyRow>, StoreError> {
    let row = sqlx::query_as!(
        ApiKeyRow,
        "select id, tenant, name, scopes, secret_hash, created_at, last_used_at, revoked_at
         from api_keys where id = $1 and revoked_at is null",
        id
    )
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// Notes that a key is used, when that was last noted more than a minute ago; whether anything was written.
pub async fn note_use(db: &mut PgConnection, id: Uuid) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update api_keys set last_used_at = now()
         where id = $1 and (last_used_at is null or last_used_at < now() - interval '1 minute')",
        id
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Every key, revoked ones too, by tenant and time; of one tenant or, with [`super::Rows::OfAll`], of all.
pub async fn list(
    db: &mut PgConnection,
    tenant: Option<&str>,
) -> Result<Vec<ApiKeyRow>, StoreError> {
    let rows = sqlx::query_as!(
        ApiKeyRow,
        "select id, tenant, name, scopes, secret_hash, created_at, last_used_at, revoked_at
         from api_keys where $1::text is null or tenant = $1 order by tenant, created_at, id",
        tenant
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Revokes a key; its tenant and name, unless it is unknown or revoked already. Needs [`super::Rows::OfAll`].
pub async fn revoke(
    db: &mut PgConnection,
    id: Uuid,
) -> Result<Option<(String, String)>, StoreError> {
    let row = sqlx::query!(
        "update api_keys set revoked_at = now() where id = $1 and revoked_at is null returning tenant, name",
        id
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| (row.tenant, row.name)))
}
