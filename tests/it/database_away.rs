//! A Postgres that goes away and comes back: callers are told at once, nothing is done that is not noted, and it heals by itself.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection;

use crate::checking_connections::connection;
use crate::lost_answers::assert_one_of_each;
use crate::world::{Cluster, Setup, World, docs, text, until};

/// Longest time until a caller is told; two seconds where nobody else is busy.
const TOLD_WITHIN: Duration = Duration::from_secs(4);

async fn world() -> World {
    let cluster = Some(Cluster::start().await);
    World::with(Setup {
        cluster,
        ..Setup::default()
    })
    .await
}

fn cluster(world: &mut World) -> &mut Cluster {
    world.cluster.as_mut().expect("a Postgres of its own")
}

#[tokio::test]
async fn every_route_says_so_within_seconds_and_works_again_after_it() {
    let mut world = world().await;
    let link = world.client.link_settled(docs()).await;
    let id = link["id"].as_str().expect("an id").to_owned();
    cluster(&mut world).crash();
    let own = format!("/links/{id}");
    let routes: [(Method, String, Value); 9] = [
        (Method::GET, "/readyz".into(), Value::Null),
        (Method::GET, "/links".into(), Value::Null),
        (Method::GET, own.clone(), Value::Null),
        (Method::GET, format!("{own}/events"), Value::Null),
        (Method::GET, format!("{own}?wait=5"), Value::Null),
        (Method::GET, "/connections".into(), Value::Null),
        (Method::POST, "/links".into(), docs()),
        (Method::POST, format!("{own}/rebuild"), Value::Null),
        (Method::DELETE, own.clone(), Value::Null),
    ];
    for (method, path, body) in routes {
        let asked = Instant::now();
        let answer = world
            .client
            .send(method.clone(), &path, |request| match body {
                Value::Null => request,
                body => request.json(&body),
            });
        let answer = answer.await;
        assert_eq!(
            (answer.status, answer.code()),
            (503, "unavailable"),
            "{method} {path}: {}",
            answer.text
        );
        assert!(answer.header("retry-after").is_some(), "{method} {path}");
        assert!(
            asked.elapsed() < TOLD_WITHIN,
            "{method} {path}: {:?}",
            asked.elapsed()
        );
    }
    assert_eq!(world.client.get("/livez").await.status, 204);

    cluster(&mut world).start_again().await;
    let back = Instant::now();
    until("the service to be ready", async || {
        (world.client.get("/readyz").await.status == 204).then_some(())
    })
    .await;
    println!("ready {:?} after Postgres came back", back.elapsed());
    assert_eq!(world.client.read(&id).await["status"], "live");
    let unlinked = world.client.unlink(&id, "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
}

#[tokio::test]
async fn in_the_middle_of_a_link_nothing_is_doubled_and_nothing_begun_that_is_not_noted() {
    let mut world = world().await;
    world.calls_take(400);
    let id = world.client.link(docs()).await;
    world.made("sites").await;
    cluster(&mut world).crash();
    let crashed = now_ms();
    // Time enough for whatever would begin without the database.
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.calls_take(0);
    let back = now_ms();
    cluster(&mut world).start_again().await;
    let link = until("the link to be live", async || {
        let answer = world.client.get(&format!("/links/{id}")).await;
        (answer.body["status"] == "live").then_some(answer.body)
    });
    assert_eq!(link.await["diagnosis"], Value::Null);
    let calls = world.sandbox.calls();
    let without = calls
        .iter()
        .find(|call| (crashed + 200.0..back).contains(&call.started_ms));
    assert!(without.is_none(), "begun without the database: {without:?}");
    assert_one_of_each(&world);
}

#[tokio::test]
async fn a_server_of_an_older_version_runs_on_a_newer_schema() {
    let mut world = World::usual().await;
    let newer =
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
        values (99999999, 'by a newer version', true, '', 0)";
    let mut owner = world.database.owner().await;
    let done = sqlx::query(newer).execute(&mut owner).await;
    done.expect("a migration of a newer version");
    world.crash().await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
}

#[tokio::test]
async fn what_a_newer_version_has_noted_of_a_link_outlives_the_work_of_a_server_beside_it() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let mut db = world.database.connection().await;
    let noted = json!({"colour": "green", "since": [1, 2.5, null]});
    let note = "update links set facts = facts || jsonb_build_object('noted', $1::jsonb)";
    let done = sqlx::query(note).bind(&noted).execute(&mut db).await;
    done.expect("a note of a newer version");
    let path = format!("/links/{}/rebuild", text(&link["id"]));
    let asked = world.client.send(Method::POST, &path, |it| it).await;
    asked.expect(202);
    let rebuilt = world.client.settled(&text(&link["id"])).await;
    assert_eq!(rebuilt["status"], "live", "{rebuilt:#}");
    assert_ne!(rebuilt["build"], link["build"]);
    let kept = sqlx::query_scalar::<_, Value>("select facts -> 'noted' from links");
    assert_eq!(kept.fetch_one(&mut db).await.expect("a note"), noted);
}

/// A transaction that nobody ends keeps a connection from others, and is another caller's beginning.
#[tokio::test]
async fn readers_that_hang_up_leave_no_transaction_open() {
    let world = World::with(Setup {
        settings: vec![("LINKBROKER_QUOTA_REQUESTS_PER_MINUTE", "1000000".to_owned())],
        ..Setup::default()
    })
    .await;
    let url = format!("{}/links", world.client.base);
    let token = world.client.token().expect("a token").to_owned();
    let hasty = async |lane: u64| {
        let http = reqwest::Client::new();
        for number in 0..200 {
            let patience = Duration::from_micros(300 + (lane * 200 + number) * 37 % 30_000);
            let read = http.get(&url).bearer_auth(&token).timeout(patience);
            // Most of them hang up, wherever their answer is by then.
            drop(read.send().await);
        }
    };
    futures_util::future::join_all((0..20).map(hasty)).await;
    for _ in 0..40 {
        world.client.get("/links").await.expect(200);
    }
    let log = world.server.log();
    assert!(!log.contains("already a transaction"), "{log}");
}

#[tokio::test]
async fn one_connection_for_each_purpose_is_enough() {
    let settings = vec![("LINKBROKER_DATABASE_CONNECTIONS", "1".to_owned())];
    let world = World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    let mut links = Vec::new();
    for number in 0..5 {
        let request = json!({"repository": "https://github.com/acme/docs", "verify": "build",
            "site": {"name": format!("site-{number}"), "team": "sandbox"}, "build": {"command": "sh build.sh", "publish": "dist"}});
        links.push(world.client.link(request).await);
    }
    for id in links {
        let link = world.client.settled(&id).await;
        assert_eq!(link["status"], "live", "{link:#}");
    }
}

#[tokio::test]
async fn a_stream_tells_later_what_could_not_be_read_when_it_happened() {
    const READERS: usize = 2;
    let world = World::with(Setup {
        settings: vec![("LINKBROKER_DATABASE_CONNECTIONS", READERS.to_string())],
        switches: json!({"netlify": {"times": {"building_ms": 600_000}}}),
        ..Setup::default()
    })
    .await;
    let client = &world.client;
    let id = client.link(docs()).await;
    until("the link to wait for its build", async || {
        (client.read(&id).await["status"] == "building").then_some(())
    })
    .await;
    let token = client.token().expect("a token");
    let stream = reqwest::Client::new()
        .get(format!("{}/links/{id}/events", client.base))
        .header("accept", "text/event-stream")
        .bearer_auth(token);
    let mut stream = stream.send().await.expect("a stream");
    told(&mut stream, "link.accepted").await;

    // Other reads take all connections for reads, and wait for a lock.
    let mut owner = world.database.owner().await;
    let mut held = owner.begin().await.expect("a transaction");
    let hold = sqlx::query("lock table preflights in access exclusive mode");
    hold.execute(&mut *held).await.expect("a lock");
    let path = format!("/preflights/pfl_{}", uuid::Uuid::nil().simple());
    let others: Vec<_> = (0..READERS)
        .map(|_| {
            let (client, path) = (client.clone(), path.clone());
            tokio::spawn(async move { client.get(&path).await.status })
        })
        .collect();
    let mut sight = world.database.owner().await;
    until("the other reads to wait", async || {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database()
            and application_name = 'linkbroker-reads' and wait_event_type = 'Lock'";
        let waiting = sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut sight);
        (waiting.await.expect("the sessions") == READERS as i64).then_some(())
    })
    .await;
    let change = json!({"policy": "report"});
    let drift = format!("/links/{id}/drift");
    let changed = client.send(Method::PATCH, &drift, |it| it.json(&change));
    changed.await.expect(200);
    until("the change to be missed", async || {
        let log = world.server.log();
        log.contains("cannot read a link that somebody waits for")
            .then_some(())
    })
    .await;
    held.rollback().await.expect("the end of the transaction");
    told(&mut stream, "link.drift_policy_changed").await;
    for other in others {
        assert!(matches!(other.await.expect("an answer"), 404 | 503));
    }
}

/// Reads on until this is told.
async fn told(stream: &mut reqwest::Response, what: &str) {
    let mut text = String::new();
    let reading = async {
        while !text.contains(what) {
            let more = stream.chunk().await.expect("a stream");
            text.push_str(&String::from_utf8_lossy(&more.expect("more of it")));
        }
    };
    let read = tokio::time::timeout(SOON, reading).await;
    read.unwrap_or_else(|_| panic!("{what} is not told, but: {text}"));
}

/// Now, as the sandbox's calls are timed.
fn now_ms() -> f64 {
    time::OffsetDateTime::now_utc().unix_timestamp_nanos() as f64 / 1e6
}

/// Half of the time after which the lease of a check would lapse.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_check_whose_outcome_is_lost_on_its_way_to_the_database_is_made_again_at_once() {
    let world = World::usual().await;
    let call = world.fault(json!({"upstream": "github", "path": "/user$", "fault": "hold_answer"}));
    let connection = connection(&world.client, "github").await;
    let path = format!("/connections/{}", text(&connection["id"]));
    let check = format!("{path}/check");
    world
        .client
        .send(Method::POST, &check, |it| it)
        .await
        .expect(202);
    until("the check to ask", async || {
        (call.count() > 0).then_some(())
    })
    .await;

    let mut holder = world.database.owner().await;
    let mut held = holder.begin().await.expect("a transaction");
    let hold = sqlx::query("select from connection_checks for update");
    hold.execute(&mut *held).await.expect("the check's row");
    // Without an answer the check has failed: so much would be written.
    world.sandbox.world().faults.clear();
    let mut owner = world.database.owner().await;
    until("the outcome to be on its way", async || {
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
            and wait_event_type = 'Lock' and query like 'update connection_checks%'";
        let ended = sqlx::query(end).execute(&mut owner).await;
        (ended.expect("the sessions").rows_affected() > 0).then_some(())
    })
    .await;
    held.rollback().await.expect("the end of the transaction");

    let passed = until("the check to pass", async || {
        let check = world.client.get(&path).await.expect(200).body["check"].clone();
        (check["state"] == "passed").then_some(())
    });
    tokio::time::timeout(SOON, passed)
        .await
        .expect("a check that waits for no lease");
}
