//! Table `step_runs`: one row per step of a link.

use std::collections::HashMap;

use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::{Document, StoreError, read_document};
use crate::link::{failure::Failure, plan::StepName, step_run::StepRun};

/// Steps of a link that were begun, in the order of the plan.
pub async fn of_link(db: &mut PgConnection, link: Uuid) -> Result<Vec<StepRun>, StoreError> {
    let runs = of_links(db, &[link]).await?.remove(&link);
    runs.unwrap_or(Ok(Vec::new()))
}

/// The same of many links, for each that has any. Those of one that cannot be read keep no other from being read.
pub async fn of_links(
    db: &mut PgConnection,
    links: &[Uuid],
) -> Result<HashMap<Uuid, Result<Vec<StepRun>, StoreError>>, StoreError> {
    let rows = sqlx::query!(
        r#"select link_id, step, state, attempts, intent_at, next_attempt_at,
                  failure as "failure: Document", note, started_at, finished_at
           from step_runs where link_id = any($1)"#,
        links
    )
    .fetch_all(db)
    .await?;
    let runs = rows.into_iter().map(|row| {
        let failure = row.failure.as_ref().map(read_document);
        let run = || {
            Ok(StepRun {
                step: row.step.parse()?,
                state: row.state.parse()?,
                attempts: row.attempts,
                intent_at: row.intent_at,
                next_attempt_at: row.next_attempt_at,
                failure: failure.transpose()?,
                note: row.note,
                started_at: row.started_at,
                finished_at: row.finished_at,
            })
        };
        (row.link_id, run())
    });
    let mut of_links = HashMap::new();
    for (link, run) in runs {
        let known = of_links.entry(link).or_insert(Ok(Vec::new()));
        match (known, run) {
            (Ok(known), Ok(run)) => known.push(run),
            (known, Err(error)) => *known = Err(error),
            (Err(_), Ok(_)) => {}
        }
    }
    for runs in of_links.values_mut().flatten() {
        runs.sort_by_key(|run: &StepRun| run.step);
    }
    Ok(of_links)
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

/// Lets every step of a link be tried at once again, also those whose undo could not finish, or was another one because the
/// site was to go.
pub async fn forget_tries(db: &mut PgConnection, link: Uuid) -> Result<(), StoreError> {
    let steps = StepName::ALL.iter();
    let of_site = steps.filter(|step| step.goes_with_the_site());
    let of_site: Vec<_> = of_site.map(|step| step.as_str().to_owned()).collect();
    sqlx::query!(
        "update step_runs set attempts = 0, next_attempt_at = null,
             state = case when state = 'undo_failed' or state = 'undone' and step = any($2) then 'waiting' else state end
         where link_id = $1",
        link,
        &of_site
    )
    .execute(db)
    .await?;
    Ok(())
}
