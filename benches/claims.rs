//! Links claimed in a second: beside a million finished ones, and behind an old snapshot, as ratios to neither.

use std::time::{Duration, Instant};

use anyhow::ensure;
use linkbroker::store::{self, Rows, begin, links::Turns, workers};
use sqlx::{Connection, Executor, PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    Line,
    world::{Setup, World, docs},
};

const FINISHED: usize = 1_000_000;
const BATCH: usize = 64;
/// Claims before the clock starts: each leaves dead index entries behind, for as long as the old snapshot is held.
const BEFORE: usize = 40_000;
const MEASURED: usize = 10_000;
/// Longer than the benchmark takes.
const LEASE: Duration = Duration::from_secs(3600);

pub async fn run() -> anyhow::Result<Vec<Line>> {
    let settings = vec![("LINKBROKER_ROLE", "api".to_owned())];
    let world = World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    world.client.link(docs()).await;
    let pool = store::connect(&world.database.url, "bench", 2).await?;
    let mut worker = world.database.connection().await;
    workers::appear(&mut worker, Uuid::nil(), LEASE).await?;
    let alone = rate(&world, &pool).await?;

    let mut old = world.database.connection().await;
    old.execute("begin isolation level repeatable read; select count(*) from links")
        .await?;
    let behind = rate(&world, &pool).await?;
    old.execute("rollback").await?;

    copy_links(&world, FINISHED, false).await?;
    let beside = rate(&world, &pool).await?;
    let ratio = |rate: f64| format!("{:.2} ×", rate / alone);
    Ok(vec![
        Line::new(
            format!("claims a second, {BATCH} at once, of few links"),
            format!("{alone:.0}"),
        ),
        Line::new(
            format!("behind an old snapshot, after {BEFORE} claims"),
            ratio(behind),
        ),
        Line::new(format!("beside {FINISHED} finished links"), ratio(beside)),
    ])
}

/// Links like the one that there is, with ids that grow as the service's do: due, one a moment after the other, or finished.
async fn copy_links(world: &World, count: usize, due: bool) -> anyhow::Result<()> {
    let copy = "insert into links (id, tenant, spec, labels, netlify_connection, provider_connection, status, created_by, next_run_at)
        select (to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint) || '7' || substr(md5(random()::text), 1, 20))::uuid, tenant, jsonb_set(spec, '{site,name}', to_jsonb(gen_random_uuid())), labels, netlify_connection,
               provider_connection, case when $2 then 'queued' else 'unlinked' end, created_by,
               case when $2 then now() - ($1 - n) * interval '1 ms' end
        from (select * from links order by created_at limit 1) as one, generate_series(1, $1) as n";
    let mut db = world.database.connection().await;
    let copied = sqlx::query(copy).bind(i32::try_from(count)?).bind(due);
    let copied = copied.execute(&mut db).await?.rows_affected();
    ensure!(copied == count as u64, "{copied} links were made");
    Ok(())
}

/// Claims a second of fresh links, once [`BEFORE`] of them were claimed and have come to rest.
async fn rate(world: &World, pool: &PgPool) -> anyhow::Result<f64> {
    copy_links(world, BEFORE + MEASURED, true).await?;
    let mut owner = PgConnection::connect(&world.database.url).await?;
    owner.execute("vacuum analyze links").await?;
    let mut turns = Turns::default();
    claim(pool, &mut turns, BEFORE).await?;
    let started = Instant::now();
    let claimed = claim(pool, &mut turns, MEASURED - BATCH).await?;
    Ok(claimed as f64 / started.elapsed().as_secs_f64())
}

/// Claims at least so many, and lets each batch come to rest; how many it were.
async fn claim(pool: &PgPool, turns: &mut Turns, wanted: usize) -> anyhow::Result<usize> {
    let mut done = 0;
    while done < wanted {
        let mut tx = begin(pool, Rows::OfAll).await?;
        let links = turns.claim(&mut tx, Uuid::nil(), BATCH, |_| BATCH).await?;
        tx.commit().await?;
        ensure!(
            !links.is_empty(),
            "{done} were claimed, and no more are found"
        );
        done += links.len();
        rest(pool, links.iter().map(|link| link.id).collect()).await?;
    }
    Ok(done)
}

async fn rest(pool: &PgPool, links: Vec<Uuid>) -> anyhow::Result<()> {
    let mut tx = begin(pool, Rows::OfAll).await?;
    let rest = "update links set next_run_at = null, lease_owner = null, lease_until = null where id = any($1)";
    sqlx::query(rest).bind(links).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}
