//! One tenant's many links do not delay another's one, and finding what is due stays cheap.

use std::time::Duration;

use futures_util::future::join_all;
use linkbroker::api::caller::Scope;
use linkbroker::store::{links::Turns, workers};
use linkbroker_sandbox::recorder::{Call, Upstream};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, Row};
use uuid::Uuid;

use crate::world::{Client, Setup, World, docs, text, unix_ms, until};

/// Slots of the server; a tenant gets half of them.
const SLOTS: usize = 8;
/// Links of the tenant that has many.
const MANY: usize = 300;

fn request(site: &str) -> Value {
    json!({"repository": "https://github.com/acme/docs", "site": {"name": site, "team": "sandbox"}, "build": {"command": "sh build.sh", "publish": "dist"}})
}

/// Makes a link and waits until its site is attached; the calls that all tenants began in between.
async fn calls_until_attached(world: &World, client: &Client, site: &str) -> Vec<Call> {
    let from = unix_ms();
    let id = client.link(request(site)).await;
    until("the repository to be attached", async || {
        let link = client.read(&id).await;
        let steps = link["steps"].as_array().expect("steps").clone();
        steps
            .iter()
            .any(|step| step["name"] == "attach_repository" && step["state"] == "done")
            .then_some(())
    })
    .await;
    let site = client.read(&id).await["site"]["id"]
        .as_str()
        .expect("a site")
        .to_owned();
    let mut calls = world.calls_of_links();
    calls.retain(|call| call.upstream != Upstream::NetlifyHooks && call.started_ms >= from);
    let attached = calls
        .iter()
        .find(|call| call.method == "PATCH" && call.path.contains(&site));
    let attached = attached.expect("the call that attached it").ended_ms;
    calls.retain(|call| call.started_ms <= attached);
    calls
}

#[tokio::test]
async fn three_hundred_links_of_one_tenant_do_not_delay_another_tenants_one() {
    let settings = vec![("LINKBROKER_WORKERS_IN_FLIGHT", SLOTS.to_string())];
    let switches = json!({
        "latency_ms": 40,
        "netlify": {"key_stock": 24, "rate_limit_per_minute": 1_000_000},
        "github": {"limits": {"calls_per_hour": 1_000_000, "content_per_minute": 1_000_000, "content_per_hour": 1_000_000}},
    });
    let world = World::with(Setup {
        settings,
        switches,
        ..Setup::default()
    })
    .await;
    let small = world.client_of("small", Scope::ALL);
    world.connect(&small).await;
    world.sandbox.warm_up().await;
    let alone = calls_until_attached(&world, &small, "small-alone").await;

    let big: Vec<_> = (0..MANY).map(|number| format!("big-{number}")).collect();
    for some in big.chunks(30) {
        join_all(some.iter().map(|site| world.client.link(request(site)))).await;
    }
    let before = world.sandbox.calls().len();
    until("the many to be under way", async || {
        (world.sandbox.calls().len() > before + SLOTS).then_some(())
    })
    .await;
    let beside = calls_until_attached(&world, &small, "small-beside").await;

    // As if it had waited for a tenth of them, which would take all slots several times: whoever stands in line waits for all.
    let others = beside.len().saturating_sub(alone.len());
    let tenth = MANY / 10 * alone.len();
    assert!(
        others <= tenth,
        "{others} calls of others meanwhile; a tenth of the many make {tenth}"
    );
    let many = world
        .client
        .get("/links?status=queued&limit=100")
        .await
        .expect(200)
        .body;
    assert_eq!(
        many["links"].as_array().map(Vec::len),
        Some(100),
        "most of the many still wait"
    );
}

/// Links of a tenant like the one that there is, each due a moment after the other, or finished.
async fn copy_links(db: &mut PgConnection, tenant: &str, count: i32, due: bool) {
    let copy = "insert into links (id, tenant, spec, labels, netlify_connection, provider_connection, status, created_by, next_run_at)
        select gen_random_uuid(), $1, jsonb_set(spec, '{site,name}', to_jsonb($1 || '-' || n)), labels, netlify_connection, provider_connection,
               case when $3 then 'queued' else 'unlinked' end, created_by, case when $3 then now() - ($2 - n) * interval '10 ms' end
        from (select * from links limit 1) as one, generate_series(1, $2) as n";
    let done = sqlx::query(copy)
        .bind(tenant)
        .bind(count)
        .bind(due)
        .execute(&mut *db)
        .await;
    done.expect("links");
}

/// Index entries that the claim has read so far.
async fn entries_read(db: &mut PgConnection) -> i64 {
    db.execute("select pg_stat_force_next_flush()")
        .await
        .expect("a flush");
    let row = db.fetch_one("select sum(idx_tup_read)::bigint from pg_stat_user_indexes where indexrelname like 'links_due%'").await;
    row.expect("a sum").get(0)
}

async fn claim(turns: &mut Turns, db: &mut PgConnection, most: usize) -> Vec<String> {
    let mut tx = db.begin().await.expect("a transaction");
    tx.execute("select set_config('linkbroker.tenant', '*', true)")
        .await
        .expect("the right");
    let claimed = turns
        .claim(&mut tx, Uuid::nil(), most, |_| most)
        .await
        .expect("a claim");
    tx.commit().await.expect("a commit");
    claimed.into_iter().map(|link| link.tenant).collect()
}

#[tokio::test]
async fn a_claim_reads_little_beside_finished_links_and_behind_an_old_snapshot() {
    const LINKS: i32 = 3_000;
    const BATCH: usize = 20;
    let settings = vec![("LINKBROKER_ROLE", "api".to_owned())];
    let world = World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    world.client.link(request("first")).await;
    let mut db = world.database.connection().await;
    let lease = Duration::from_secs(600);
    let appeared = workers::appear(&mut db, Uuid::nil(), lease).await;
    appeared.expect("a place among the workers");
    copy_links(&mut db, "finished", 20_000, false).await;
    copy_links(&mut db, "big", LINKS, true).await;
    copy_links(&mut db, "other", 1, true).await;
    db.execute("analyze links").await.expect("statistics");
    let mut old = world.database.connection().await;
    old.execute("begin isolation level repeatable read; select count(*) from links")
        .await
        .expect("a snapshot");

    let mut turns = Turns::default();
    let first = claim(&mut turns, &mut db, BATCH).await;
    // Of three tenants each gets a third, however many links it has.
    assert!(first.contains(&"other".to_owned()), "{first:?}");
    let mut claimed = first.len();
    let mut reads = Vec::new();
    while claimed < LINKS as usize {
        let before = entries_read(&mut db).await;
        let now = claim(&mut turns, &mut db, BATCH).await.len();
        reads.push(entries_read(&mut db).await - before);
        assert!(now > 0, "{claimed} are claimed, and the rest is not found");
        claimed += now;
    }
    // Some claims sweep, and read all that is dead; the usual one reads what it takes and a little before it.
    reads.sort_unstable();
    let usual = reads[reads.len() / 2];
    assert!(
        usual > 0 && usual < 10 * BATCH as i64,
        "{usual} entries in the usual claim of {BATCH}"
    );
    let late = claim(&mut turns, &mut db, BATCH).await;
    assert!(
        late.len() <= 2,
        "only what was there from the beginning is left: {late:?}"
    );
}

/// As while a newer version, beside which an older one runs on, writes words that the older one does not know.
#[tokio::test]
async fn a_link_or_preflight_that_cannot_be_read_keeps_no_other_one_waiting() {
    let world = World::usual().await;
    let mut owner = world.database.owner().await;
    let link = world.client.link_settled(docs()).await;
    let preflight = world.client.post("/preflights", docs()).await.expect(202);
    done(&world.client, &preflight.id()).await;
    let of_tomorrow = "update links set next_run_at = now(), failure = '{\"code\": \"of_tomorrow\", \"detail\": \"?\"}';
        update preflights set state = 'queued', due_at = now(), checked_at = null, findings = null, spec = '{}'";
    owner.execute(of_tomorrow).await.expect("a newer version");

    world.repository("other").await;
    let other = json!({"repository": "https://github.com/acme/other", "site": {"name": "other", "team": "sandbox"}});
    let preflight = world.client.post("/preflights", other.clone()).await;
    done(&world.client, &preflight.expect(202).id()).await;
    let other = world.client.link_settled(other).await;
    assert_eq!(other["status"], "live", "{other:#}");

    let log = world.server.log();
    let said = log
        .lines()
        .filter(|line| line.contains("cannot read a link"));
    let said: Vec<_> = said.collect();
    let id = text(&link["id"]);
    let id = Uuid::parse_str(id.trim_start_matches("lnk_")).expect("a link's id");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains(&id.to_string()), "{said:?}");
}

async fn done(client: &Client, preflight: &str) {
    let path = format!("/preflights/{preflight}");
    until("a preflight to be done", async || {
        let preflight = client.get(&path).await.expect(200).body;
        (preflight["state"] == "done").then_some(())
    })
    .await;
}
