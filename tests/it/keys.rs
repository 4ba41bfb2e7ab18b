//! Master keys: replaced under load, a rewrap that is killed, a key that is missing, a ciphertext that was moved.

use std::process::Stdio;

use linkbroker::vault::{KeyRing, new_master_key};
use linkbroker_sandbox::recorder::Upstream;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, Row};
use tempfile::TempDir;

use crate::world::{Setup, World, docs, until};

/// A world whose server reads its key ring from a file.
async fn with_ring(ids: &[&str]) -> (World, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keyring");
    let keys: Vec<_> = ids
        .iter()
        .map(|id| new_master_key(id).expect("a key").to_string())
        .collect();
    std::fs::write(&file, keys.join("\n")).expect("a file");
    let settings = vec![("LINKBROKER_KEYRING_FILE", file.display().to_string())];
    (
        World::with(Setup {
            settings,
            ..Setup::default()
        })
        .await,
        folder,
    )
}

async fn request(world: &World, name: &str) -> Value {
    world.repository(name).await;
    json!({
        "repository": format!("https://github.com/acme/{name}"),
        "site": {"name": format!("acme-{name}"), "team": "sandbox"},
        "build": {"command": "sh build.sh", "publish": "dist"},
    })
}

async fn key_ids(db: &mut PgConnection) -> Vec<(String, i64)> {
    let rows = db
        .fetch_all("select key_id, count(*) from data_keys group by 1 order by 1")
        .await;
    let rows = rows.expect("the counts");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Gives tenants data keys, as if each had made a connection.
async fn tenants(db: &mut PgConnection, ring: &KeyRing, count: usize) {
    for number in 0..count {
        let tenant = format!("tenant-{number:03}");
        let (_, wrapped) = ring.new_data_key(&tenant).expect("a data key");
        let insert =
            sqlx::query("insert into data_keys (tenant, key_id, wrapped) values ($1, $2, $3)");
        let done = insert
            .bind(tenant)
            .bind(wrapped.key_id)
            .bind(wrapped.bytes)
            .execute(&mut *db)
            .await;
        done.expect("a row");
    }
}

#[tokio::test]
async fn keys_are_replaced_under_load_without_one_failed_link() {
    let (mut world, _folder) = with_ring(&["old"]).await;
    let mut links = Vec::new();
    let stages = [
        &["rotate", "add", "--id", "new"][..],
        &["rotate", "activate"],
        &["rewrap", "--batch", "1"],
        &["rotate", "retire"],
    ];
    for (number, stage) in stages.iter().enumerate() {
        for side in ["a", "b"] {
            let request = request(&world, &format!("docs-{number}{side}")).await;
            links.push(world.client.link(request).await);
        }
        world.run(&[&["keys"], *stage].concat()).await.expect(0);
        world.restart().await;
    }
    links.push(world.client.link(docs()).await);
    for id in &links {
        let link = world.client.settled(id).await;
        assert_eq!(link["status"], "live", "{link:#}");
    }
    assert_eq!(
        key_ids(&mut world.database.connection().await).await,
        [("new".to_owned(), 1)]
    );
    let ring = KeyRing::load(&_folder.path().join("keyring")).expect("the ring");
    assert_eq!(ring.key_ids().collect::<Vec<_>>(), ["new"]);
}

#[tokio::test]
async fn a_rewrap_that_was_killed_is_finished_by_the_next_one() {
    const TENANTS: usize = 60;
    let (world, folder) = with_ring(&["new", "old"]).await;
    let ring = KeyRing::load(&folder.path().join("keyring")).expect("the ring");
    let old = ring.with_active("old").expect("the old key");
    let mut db = world.database.connection().await;
    tenants(&mut db, &old, TENANTS).await;
    let dry = world
        .run(&["keys", "rewrap", "--dry-run"])
        .await
        .expect(0)
        .json();
    assert_eq!(
        (&dry["dry_run"], &dry["rewrapped"]),
        (&json!(true), &json!(TENANTS))
    );
    // The tenant `acme` of the connections has the new key.
    assert_eq!(
        key_ids(&mut db).await,
        [("new".to_owned(), 1), ("old".to_owned(), 60)]
    );

    // A row in the middle is held, so that the run is killed in the middle.
    let mut holder = world.database.connection().await;
    let mut held = holder.begin().await.expect("a transaction");
    held.execute("select from data_keys where tenant = 'tenant-030' for update")
        .await
        .expect("the row");
    let mut child = world
        .command(&["keys", "rewrap", "--batch", "7"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program");
    until("four batches", async || {
        let done = key_ids(&mut db).await;
        (done[0] == ("new".to_owned(), 1 + 28)).then_some(())
    })
    .await;
    child.kill().await.expect("a process that can be killed");
    held.rollback().await.expect("an end");

    let finished = world
        .run(&["keys", "rewrap", "--batch", "7"])
        .await
        .expect(0)
        .json();
    assert_eq!(finished["rewrapped"], TENANTS - 28);
    assert_eq!(key_ids(&mut db).await, [("new".to_owned(), 61)]);
    // Each opens with the new key alone.
    let new = ring.without_unneeded(&[]);
    for row in db
        .fetch_all("select tenant, key_id, wrapped from data_keys")
        .await
        .expect("the keys")
    {
        let wrapped = linkbroker::vault::WrappedDataKey {
            key_id: row.get(1),
            bytes: row.get(2),
        };
        new.unwrap(row.get(0), &wrapped).expect("a key that opens");
    }
}

#[tokio::test]
async fn a_ring_without_the_key_is_a_named_failure_until_it_is_put_back() {
    let (mut world, folder) = with_ring(&["old"]).await;
    let file = folder.path().join("keyring");
    let old = std::fs::read_to_string(&file).expect("the ring");
    let other = new_master_key("other").expect("a key").to_string();
    std::fs::write(&file, &other).expect("a file");
    world.restart().await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["diagnosis"]["code"], "connection_unusable", "{link:#}");
    assert!(link["diagnosis"].to_string().contains("`old`"), "{link:#}");
    assert!(calls(&world).is_empty());
    let failed = world.run(&["keys", "rewrap"]).await.expect(1).json();
    assert_eq!(failed["failed"][0]["tenant"], "acme", "{failed:#}");
    assert_eq!(failed["failed"][0]["key_id"], "old");
    let refused = world.run(&["keys", "rotate", "retire"]).await.expect(1);
    assert!(refused.stderr.contains("`old`"), "{refused:?}");

    std::fs::write(&file, format!("{other}\n{old}\n")).expect("a file");
    world.restart().await;
    let link = world
        .client
        .retry(link["id"].as_str().expect("an id"))
        .await;
    assert_eq!(link["status"], "live", "{link:#}");
}

#[tokio::test]
async fn a_moved_ciphertext_does_not_open() {
    let (world, _folder) = with_ring(&["k1"]).await;
    let umbrella = world.client_of("umbrella", linkbroker::api::caller::Scope::ALL);
    world.connect(&umbrella).await;
    let mut db = world.database.connection().await;
    let moves = [
        // Another row of the same tenant.
        "update connections c set sealed = o.sealed from connections o where c.tenant = o.tenant and c.tenant = 'acme' and c.kind = 'github' and o.kind = 'netlify'",
        // The same row of another tenant, with its data key too.
        "update connections c set sealed = o.sealed from connections o where c.tenant = 'acme' and o.tenant = 'umbrella' and c.kind = o.kind",
        "update data_keys k set wrapped = o.wrapped from data_keys o where k.tenant = 'acme' and o.tenant = 'umbrella'",
    ];
    let id = world.client.link_settled(docs()).await["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(world.client.read(&id).await["status"], "live");
    let before = calls(&world).len();
    for (number, statement) in moves.iter().enumerate() {
        db.execute(*statement).await.expect("a move");
        let request = request(&world, &format!("moved-{number}")).await;
        let link = world.client.link_settled(request).await;
        assert_eq!(link["diagnosis"]["code"], "connection_unusable", "{link:#}");
    }
    assert_eq!(
        calls(&world).len(),
        before,
        "nothing was sent with a moved credential"
    );
}

fn calls(world: &World) -> Vec<linkbroker_sandbox::Call> {
    let mut calls = world.sandbox.calls();
    calls.retain(|call| call.upstream != Upstream::NetlifyHooks);
    calls
}
