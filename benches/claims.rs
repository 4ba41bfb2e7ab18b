//! Links claimed in a second: beside a million finished ones, and behind an old snapshot, as ratios to neither.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use linkbroker::store::{self, Rows, begin, links::Turns};
use sqlx::{Connection, Executor, PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    Line,
    world::{Setup, World, docs},
};

/// Links that are due again as soon as they were claimed.
const DUE: i32 = 1_000;
const FINISHED: i32 = 1_000_000;
const BATCH: usize = 64;
/// Claims before the clock starts: each leaves a dead index entry behind, as long as the old snapshot is held.
const BEFORE: usize = 40_000;
const MEASURED: usize = 10_000;

pub async fn run() -> anyhow::Result<Vec<Line>> {
    let settings = vec![("LINKBROKER_ROLE", "api".to_owned())];
    let world = World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    world.client.link(docs()).await;
    let mut owner = world.database.connection().await;
    let pool = store::connect(&world.database.url, "bench", 2).await?;
    copy_links(&mut owner, DUE, true).await?;
    let alone = rate(&world, &pool).await?;

    let mut old = world.database.connection().await;
    old.execute("begin isolation level repeatable read; select count(*) from links")
        .await?;
    let behind = rate(&world, &pool).await?;
    old.execute("rollback").await?;

    copy_links(&mut owner, FINISHED, false).await?;
    let beside = rate(&world, &pool).await?;
    let ratio = |rate: f64| format!("{:.2} ×", rate / alone);
    Ok(vec![
        Line::new(
            format!("claims a second, {DUE} due links alone, {BATCH} at once"),
            format!("{alone:.0}"),
        ),
        Line::new(
            format!("behind an old snapshot, after {BEFORE} claims"),
            ratio(behind),
        ),
        Line::new(format!("beside {FINISHED} finished links"), ratio(beside)),
    ])
}

/// Links like the one that there is, due since before, or finished.
async fn copy_links(db: &mut PgConnection, count: i32, due: bool) -> anyhow::Result<()> {
    let copy = "insert into links (id, tenant, spec, labels, netlify_connection, provider_connection, status, created_by, next_run_at)
        select gen_random_uuid(), tenant, jsonb_set(spec, '{site,name}', to_jsonb('copy-' || n)), labels, netlify_connection,
               provider_connection, case when $2 then 'queued' else 'unlinked' end, created_by, case when $2 then now() end
        from (select * from links order by created_at limit 1) as one, generate_series(1, $1) as n";
    let copied = sqlx::query(copy).bind(count).bind(due).execute(&mut *db);
    let copied = copied.await?.rows_affected();
    ensure!(copied == u64::try_from(count)?, "{copied} links were made");
    Ok(())
}

/// Claims a second, once the table has seen [`BEFORE`] claims since it was vacuumed.
async fn rate(world: &World, pool: &PgPool) -> anyhow::Result<f64> {
    let mut owner = PgConnection::connect(&world.database.url).await?;
    owner.execute("vacuum analyze links").await?;
    let mut turns = Turns::default();
    claim(pool, &mut turns, BEFORE).await?;
    let started = Instant::now();
    let claimed = claim(pool, &mut turns, MEASURED).await?;
    Ok(claimed as f64 / started.elapsed().as_secs_f64())
}

/// Claims at least so many, each batch due again once it is claimed; how many it were.
async fn claim(pool: &PgPool, turns: &mut Turns, wanted: usize) -> anyhow::Result<usize> {
    let mut done = 0;
    while done < wanted {
        let mut tx = begin(pool, Rows::OfAll).await?;
        let lease = Duration::from_secs(600);
        let links = turns
            .claim(&mut tx, Uuid::nil(), lease, BATCH, |_| BATCH)
            .await?;
        tx.commit().await?;
        done += links.len();
        let ids: Vec<_> = links.iter().map(|link| link.id).collect();
        let mut tx = begin(pool, Rows::OfAll).await?;
        let due = "update links set next_run_at = now(), lease_owner = null, lease_until = null where id = any($1)";
        let again = sqlx::query(due).bind(&ids).execute(&mut *tx).await;
        again.context("making links due again")?;
        tx.commit().await?;
    }
    Ok(done)
}
