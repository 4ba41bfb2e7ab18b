//! Table `connections`: a tenant's named access to one upstream, credential sealed.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;

/// A connection as it lies in the database.
#[derive(Debug, Clone)]
pub struct ConnectionRow {
    /// Its id.
    pub id: Uuid,
    /// Who owns it.
    pub tenant: String,
    /// The tenant's own name for it.
    pub name: String,
    /// `netlify`, `github`, …
    pub kind: String,
    /// Host of the configured instance.
    pub host: String,
    /// What the sealed bytes hold.
    pub credential_type: String,
    /// The sealed credential.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// Stores a new connection; a name that the tenant has already violates `connections_name`.
pub async fn insert(
    db: &mut PgConnection,
    row: &ConnectionRow,
    created_by: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into connections (id, tenant, name, kind, host, credential_type, sealed, created_by, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        row.id,
        row.tenant,
        row.name,
        row.kind,
        row.host,
        row.credential_type,
        row.sealed,
        created_by,
        row.created_at
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The tenant's connections, by name, after `after` when given.
pub async fn list(
    db: &mut PgConnection,
    tenant: &str,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<ConnectionRow>, StoreError> {
    let rows = sqlx::query_as!(
        ConnectionRow,
        "select id, tenant, name, kind, host, credential_type, sealed, created_at
         from connections where tenant = $1 and deleted_at is null and ($2::text is null or name > $2) order by name limit $3",
        tenant,
        after,
        limit
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// The tenant's connection of this id.
pub async fn get(
    db: &mut PgConnection,
    tenant: &str,
    id: Uuid,
) -> Result<Option<ConnectionRow>, StoreError> {
    let row = sqlx::query_as!(
        ConnectionRow,
        "select id, tenant, name, kind, host, credential_type, sealed, created_at
         from connections where tenant = $1 and id = $2 and deleted_at is null",
        tenant,
        id
    )
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// The tenant's connections of one kind at one host, at most two: one is a default, two need a name. They stay until the
/// transaction ends: whoever deletes one waits ([`lock`]), and then sees the link that was made with it.
pub async fn candidates(
    db: &mut PgConnection,
    tenant: &str,
    kind: &str,
    host: &str,
    name: Option<&str>,
) -> Result<Vec<ConnectionRow>, StoreError> {
    let rows = sqlx::query_as!(
        ConnectionRow,
        "select id, tenant, name, kind, host, credential_type, sealed, created_at from connections
         where tenant = $1 and deleted_at is null and kind = $2 and host = $3 and ($4::text is null or name = $4) order by name limit 2
         for key share",
        tenant,
        kind,
        host,
        name
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Puts another credential in; false when there is no such connection.
pub async fn replace_credential(
    db: &mut PgConnection,
    tenant: &str,
    id: Uuid,
    credential_type: &str,
    sealed: &[u8],
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update connections set credential_type = $3, sealed = $4 where tenant = $1 and id = $2 and deleted_at is null",
        tenant,
        id,
        credential_type,
        sealed
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Holds a connection that is to be deleted: nobody makes a link with it from here on ([`candidates`]). In a statement of its
/// own, so that the next one sees the links of those who were faster. False when there is no such connection.
pub async fn lock(db: &mut PgConnection, tenant: &str, id: Uuid) -> Result<bool, StoreError> {
    let locked = sqlx::query!(
        "select id from connections where tenant = $1 and id = $2 and deleted_at is null for update",
        tenant,
        id
    )
    .fetch_optional(db)
    .await?;
    Ok(locked.is_some())
}

/// Whether a link that is not over still needs the connection.
pub async fn is_used(db: &mut PgConnection, tenant: &str, id: Uuid) -> Result<bool, StoreError> {
    let used = sqlx::query_scalar!(
        r#"select exists (
               select from links where tenant = $1 and (netlify_connection = $2 or provider_connection = $2)
                                   and status not in ('unlinked', 'canceled')
           ) as "used!""#,
        tenant,
        id
    )
    .fetch_one(db)
    .await?;
    Ok(used)
}

/// Wipes the credential of a connection that is held by [`lock`], and frees the name.
pub async fn delete(db: &mut PgConnection, tenant: &str, id: Uuid) -> Result<(), StoreError> {
    sqlx::query!(
        "update connections set deleted_at = now(), sealed = '' where tenant = $1 and id = $2",
        tenant,
        id
    )
    .execute(db)
    .await?;
    Ok(())
}
