//! Table `idempotency_keys`: answers to requests that their callers may send again.

use sqlx::{PgConnection, types::Json};

use super::StoreError;

/// An answer that was given to a request with a key.
#[derive(Debug)]
pub struct KeptAnswer {
    /// Equal for equal requests.
    pub fingerprint: Vec<u8>,
    /// HTTP status.
    pub status: i16,
    /// Pairs of name and value.
    pub headers: Json<Vec<(String, String)>>,
    /// Byte for byte.
    pub body: Vec<u8>,
}

/// Reserves a key until the transaction ends; false when another transaction has it. Never waits.
pub async fn try_reserve(
    db: &mut PgConnection,
    tenant: &str,
    key: &str,
) -> Result<bool, StoreError> {
    // No tenant has a blank in its name.
    let reserved = sqlx::query_scalar!(
        r#"select pg_try_advisory_xact_lock(hashtextextended($1::text || ' ' || $2::text, 0)) as "reserved!""#,
        tenant,
        key
    )
    .fetch_one(db)
    .await?;
    Ok(reserved)
}

/// The answer that was kept under a key within the last 24 hours.
pub async fn get(
    db: &mut PgConnection,
    tenant: &str,
    key: &str,
) -> Result<Option<KeptAnswer>, StoreError> {
    let kept = sqlx::query_as!(
        KeptAnswer,
        r#"select fingerprint, status, headers as "headers: Json<Vec<(String, String)>>", body from idempotency_keys
           where tenant = $1 and key = $2 and created_at > now() - interval '24 hours'"#,
        tenant,
        key
    )
    .fetch_optional(db)
    .await?;
    Ok(kept)
}

/// Keeps an answer under a key that the transaction has reserved; takes the place of an outdated one.
pub async fn keep(
    db: &mut PgConnection,
    tenant: &str,
    key: &str,
    answer: &KeptAnswer,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into idempotency_keys (tenant, key, fingerprint, status, headers, body) values ($1, $2, $3, $4, $5, $6)
         on conflict (tenant, key) do update set
             fingerprint = excluded.fingerprint, status = excluded.status, headers = excluded.headers,
             body = excluded.body, created_at = now()",
        tenant,
        key,
        answer.fingerprint,
        answer.status,
        &answer.headers as _,
        answer.body
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes up to `limit` outdated answers; how many it were. Processes that do this at the same time
/// take different ones. Needs [`super::Rows::OfAll`].
pub async fn forget_outdated(db: &mut PgConnection, limit: i64) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "delete from idempotency_keys where (tenant, key) in (
             select tenant, key from idempotency_keys where created_at <= now() - interval '24 hours'
             limit $1 for update skip locked
         )",
        limit
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
