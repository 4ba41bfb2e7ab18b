//! Tables `budgets` and `spent_writes`: what the processes tell one another of credentials' rate limits. All times are the database's.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::StoreError;

/// Lets credentials rest for so long, or longer when they already have to.
pub async fn rest(db: &mut PgConnection, rests: &[(Vec<u8>, Duration)]) -> Result<(), StoreError> {
    let names: Vec<Vec<u8>> = rests.iter().map(|(name, _)| name.clone()).collect();
    let seconds: Vec<f64> = rests.iter().map(|(_, rest)| rest.as_secs_f64()).collect();
    sqlx::query!(
        "insert into budgets as b (name, rests_until)
         select name, now() + make_interval(secs => seconds) from unnest($1::bytea[], $2::float8[]) as new (name, seconds)
         on conflict (name) do update
             set rests_until = greatest(b.rests_until, excluded.rests_until), changed_at = clock_timestamp()",
        &names,
        &seconds
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Database time, and for how long which credentials have to rest, as far as that changed since.
pub async fn resting(
    db: &mut PgConnection,
    since: Option<OffsetDateTime>,
) -> Result<(OffsetDateTime, Vec<(Vec<u8>, Duration)>), StoreError> {
    let now = sqlx::query_scalar!(r#"select now() as "now!""#)
        .fetch_one(&mut *db)
        .await?;
    let rows = sqlx::query!(
        r#"select name, extract(epoch from rests_until - now())::float8 as "seconds!" from budgets
           where rests_until > now() and changed_at > coalesce($1, '-infinity'::timestamptz)"#,
        since
    )
    .fetch_all(db)
    .await?;
    let rest = |seconds: f64| Duration::from_secs_f64(seconds.max(0.0));
    let rests = rows.into_iter().map(|row| (row.name, rest(row.seconds)));
    Ok((now, rests.collect()))
}

/// For how long a credential has to rest.
pub async fn rest_of(db: &mut PgConnection, name: &[u8]) -> Result<Option<Duration>, StoreError> {
    let seconds = sqlx::query_scalar!(
        r#"select extract(epoch from rests_until - now())::float8 as "seconds!" from budgets
           where name = $1 and rests_until > now()"#,
        name
    )
    .fetch_optional(db)
    .await?;
    Ok(seconds.map(|seconds| Duration::from_secs_f64(seconds.max(0.0))))
}

/// How long ago how many writes were granted to a credential within the last hour and a bit. Whoever reads it decides alone until the
/// transaction ends.
pub async fn spent(db: &mut PgConnection, name: &[u8]) -> Result<Vec<(Duration, u32)>, StoreError> {
    sqlx::query!(
        "insert into budgets (name) values ($1) on conflict do nothing",
        name
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!("select from budgets where name = $1 for update", name)
        .execute(&mut *db)
        .await?;
    sqlx::query!(
        "delete from spent_writes where name = $1 and at < now() - interval '61 minutes'",
        name
    )
    .execute(&mut *db)
    .await?;
    let rows = sqlx::query!(
        r#"select extract(epoch from clock_timestamp() - at)::float8 as "age!", count from spent_writes where name = $1"#,
        name
    )
    .fetch_all(db)
    .await?;
    let age = |seconds: f64| Duration::from_secs_f64(seconds.max(0.0));
    Ok(rows
        .into_iter()
        .map(|row| (age(row.age), row.count.unsigned_abs()))
        .collect())
}

/// Notes writes as granted.
pub async fn spend(db: &mut PgConnection, name: &[u8], count: u32) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into spent_writes (name, at, count) values ($1, clock_timestamp(), $2)",
        name,
        count.cast_signed()
    )
    .execute(db)
    .await?;
    Ok(())
}
