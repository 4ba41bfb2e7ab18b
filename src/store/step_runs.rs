//! Table `step_runs`: one row per step of a link.

use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::StoreError;
use crate::link::{failure::Failure, step_run::StepRun};

/// Steps of these links, in no order.
pub async fn of_links(
    db: &mut PgConnection,
    links: &[Uuid],
) -> Result<Vec<(Uuid, StepRun)>, StoreError> {
    let rows = sqlx::query!(
        r#"select link_id, step, state, attempts, intent_at, next_attempt_at,
                  failure as "failure: Json<Failure>", note, started_at, finished_at
           from step_runs where link_id = any($1)"#,
        links
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let run = StepRun {
                step: row.step.parse()?,
                state: row.state.parse()?,
                attempts: row.attempts,
                intent_at: row.intent_at,
                next_attempt_at: row.next_attempt_at,
                failure: row.failure.map(|json| json.0),
                note: row.note,
                started_at: row.started_at,
                finished_at: row.finished_at,
            };
            Ok((row.link_id, run))
        })
        .collect()
}

/// Writes these steps of a link, new or changed, in one statement.
pub async fn upsert(
    db: &mut PgConnection,
    link: Uuid,
    tenant: &str,
    runs: &[StepRun],
) -> Result<(), StoreError> {
    if runs.is_empty() {
        return Ok(());
    }
    let failures: Vec<Option<Json<&Failure>>> = runs
        .iter()
        .map(|run| run.failure.as_ref().map(Json))
        .collect();
    sqlx::query(
        "insert into step_runs (link_id, tenant, step, state, attempts, intent_at, next_attempt_at, failure, note, started_at, finished_at)
         select $1, $2, * from unnest($3::text[], $4::text[], $5::smallint[], $6::timestamptz[], $7::timestamptz[],
                                      $8::jsonb[], $9::text[], $10::timestamptz[], $11::timestamptz[])
         on conflict (link_id, step) do update set
             state = excluded.state, attempts = excluded.attempts, intent_at = excluded.intent_at,
             next_attempt_at = excluded.next_attempt_at, failure = excluded.failure, note = excluded.note,
             started_at = excluded.started_at, finished_at = excluded.finished_at",
    )
    .bind(link)
    .bind(tenant)
    .bind(runs.iter().map(|run| run.step.as_str()).collect::<Vec<_>>())
    .bind(runs.iter().map(|run| run.state.as_str()).collect::<Vec<_>>())
    .bind(runs.iter().map(|run| run.attempts).collect::<Vec<_>>())
    .bind(runs.iter().map(|run| run.intent_at).collect::<Vec<_>>())
    .bind(runs.iter().map(|run| run.next_attempt_at).collect::<Vec<_>>())
    .bind(failures)
    .bind(runs.iter().map(|run| run.note.as_deref()).collect::<Vec<_>>())
    .bind(runs.iter().map(|run| run.started_at).collect::<Vec<_>>())
    .bind(runs.iter().map(|run| run.finished_at).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// Lets every step of a link be tried at once again, also those whose undo could not finish.
pub async fn forget_tries(db: &mut PgConnection, link: Uuid) -> Result<(), StoreError> {
    sqlx::query!(
        "update step_runs set attempts = 0, next_attempt_at = null,
             state = case state when 'undo_failed' then 'waiting' else state end
         where link_id = $1",
        link
    )
    .execute(db)
    .await?;
    Ok(())
}
