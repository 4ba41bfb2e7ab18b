//! Servers that die, freeze or are stopped in the middle of a link: another one finishes it.

use std::time::Duration;

use linkbroker_sandbox::Strikes;
use reqwest::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::checking_connections::connection;
use crate::lost_answers::assert_one_of_each;
use crate::world::{Setup, World, docs, text, until};

/// Nobody could wait for a lease like this to lapse: who dies is missed because his session has ended.
const LONG_LEASE: &str = "600";

/// Calls that are slow enough to die within.
async fn slow_world(lease_seconds: &str) -> World {
    let settings = vec![("LINKBROKER_LEASE_SECONDS", lease_seconds.to_owned())];
    let switches = json!({"latency_ms": 600});
    World::with(Setup {
        settings,
        switches,
        ..Setup::default()
    })
    .await
}

/// Kills the server between an effect and its answer.
async fn dies_after_making(kind: &str) {
    let mut world = slow_world(LONG_LEASE).await;
    let id = world.client.link(docs()).await;
    world.made(kind).await;
    world.crash().await;
    world.calls_take(0);
    let link = world.client.settled(&id).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_one_of_each(&world);
}

/// Kills the server whenever it makes this call, which strikes already, until it makes it no more; how many lives that cost, and
/// what it ended with.
async fn lives_until(
    world: &mut World,
    deadly: &Value,
    mut strikes: Strikes,
    ended: impl AsyncFn(&World) -> Option<Value>,
) -> (usize, Value) {
    let mut deaths = 0;
    loop {
        let end = until("the deadly call or the end", async || {
            match strikes.count() {
                0 => ended(world).await.map(Some),
                _ => Some(None),
            }
        });
        let end = end.await;
        if let Some(end) = end {
            world.sandbox.world().faults.clear();
            return (deaths, end);
        }
        deaths += 1;
        world.server.kill();
        world.sandbox.world().faults.clear();
        strikes = world.fault(deadly.clone());
        world.start_again().await;
    }
}

/// One that kills whoever makes the same call for it is told, and costs no more lives.
#[tokio::test]
async fn over_one_link_again_and_again_and_it_is_set_aside_until_somebody_retries_it() {
    let settings = vec![("LINKBROKER_LEASE_SECONDS", LONG_LEASE.to_owned())];
    let mut world = World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    let deadly =
        json!({"upstream": "github", "method": "POST", "path": "/keys$", "fault": "hold_request"});
    let strikes = world.fault(deadly.clone());
    let id = world.client.link(docs()).await;
    let (deaths, link) = lives_until(&mut world, &deadly, strikes, async |world| {
        let link = world.client.read(&id).await;
        link.get("poll_after_ms").is_none().then_some(link)
    })
    .await;
    assert_eq!(link["status"], "failed", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "worker_died");
    // What went on beside the deadly call was no death over nothing.
    assert!((8..=10).contains(&deaths), "{deaths} deaths");
    let link = world.client.retry(&id).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_one_of_each(&world);
}

/// The next server may begin while such a link rests: it has no more to say about the dead than those who saw them die.
#[tokio::test]
async fn while_a_link_rests_that_others_died_over_and_the_rest_goes_on() {
    let settings = vec![
        ("LINKBROKER_LEASE_SECONDS", LONG_LEASE.to_owned()),
        ("LINKBROKER_RETRY_BASE_MS", "60000".to_owned()),
        ("LINKBROKER_RETRY_MAX_SECONDS", "60".to_owned()),
    ];
    let mut world = World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    world.repository("other").await;
    let deadly = json!({"upstream": "github", "method": "POST", "path": "/acme/docs/keys$", "fault": "hold_request"});
    let strikes = world.fault(deadly.clone());
    let id = world.client.link(docs()).await;
    // After the second death in a row.
    let rests = async |world: &World| {
        let rests = "select next_run_at > now() + interval '10 seconds'
            and not exists (select from workers where id = lease_owner) from links";
        let rests = sqlx::query_scalar::<_, bool>(rests);
        let rests = rests
            .fetch_one(&mut world.database.connection().await)
            .await;
        rests.expect("the link").then_some(Value::Null)
    };
    let (deaths, _) = lives_until(&mut world, &deadly, strikes, rests).await;
    assert!(deaths >= 2, "{deaths} deaths");
    let strikes = world.fault(deadly);

    world.crash().await;
    let mut other = docs();
    other["repository"] = json!("https://github.com/acme/other");
    other["site"]["name"] = json!("acme-other");
    let other = world.client.link_settled(other).await;
    assert_eq!(other["status"], "live", "{other:#}");
    assert_eq!(strikes.count(), 0, "the rest is cut short");
    let link = world.client.read(&id).await;
    assert_eq!(link["status"], "linking", "{link:#}");
    let mut db = world.database.connection().await;
    let counted = sqlx::query_scalar::<_, i16>("select max(deaths) from links");
    assert_eq!(counted.fetch_one(&mut db).await.expect("the link"), 2);
}

#[tokio::test]
async fn between_the_deploy_key_and_its_answer() {
    dies_after_making("deploy_keys").await;
}

#[tokio::test]
async fn between_the_installed_key_and_its_answer() {
    dies_after_making("installed_keys").await;
}

#[tokio::test]
async fn between_the_site_and_its_answer() {
    dies_after_making("sites").await;
}

#[tokio::test]
async fn between_the_attaching_and_its_answer() {
    dies_after_making("builds").await;
}

#[tokio::test]
async fn before_an_effect_that_comes_after_its_death() {
    let settings = vec![("LINKBROKER_LEASE_SECONDS", LONG_LEASE.to_owned())];
    let mut world = World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    world.fault(json!({"upstream": "netlify", "method": "POST", "path": "/sites$", "fault": {"delay_ms": 1500}}));
    let id = world.client.link(docs()).await;
    world.made("webhooks").await;
    world.crash().await;
    let link = world.client.settled(&id).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_one_of_each(&world);
}

#[tokio::test]
async fn while_it_unlinks() {
    let mut world = slow_world(LONG_LEASE).await;
    world.calls_take(0);
    let link = world.client.link_settled(docs()).await;
    let id = link["id"].as_str().expect("an id");
    world.calls_take(600);
    world
        .client
        .delete(&format!("/links/{id}"))
        .await
        .expect(202);
    until("the site to go", async || {
        (world.count("sites").1 == 0).then_some(())
    })
    .await;
    world.crash().await;
    world.calls_take(0);
    let unlinked = world.client.settled(id).await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    for kind in ["deploy_keys", "installed_keys", "webhooks", "sites"] {
        assert_eq!(world.count(kind), (1, 0), "{kind}");
    }
}

#[tokio::test]
async fn told_to_stop_it_ends_in_order_and_the_next_one_goes_on_at_once() {
    let mut world = slow_world(LONG_LEASE).await;
    let id = world.client.link(docs()).await;
    world.made("sites").await;
    let ended = world.server.stop().await;
    assert!(ended.success(), "{ended}");
    world.calls_take(0);
    world.start_again().await;
    let link = world.client.settled(&id).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_one_of_each(&world);
}

#[tokio::test]
async fn over_one_check_again_and_again_and_it_fails_after_as_many_deaths_as_a_link() {
    let mut world = World::usual().await;
    let deadly = json!({"upstream": "github", "path": "/user$", "fault": "hold_request"});
    let connection = connection(&world.client, "github").await;
    let connection = format!("/connections/{}", text(&connection["id"]));
    let check = format!("{connection}/check");
    let ask = async |world: &World| {
        let asked = world.client.send(Method::POST, &check, |it| it).await;
        asked.expect(202);
    };
    let checked = async |world: &World, state: &str| {
        let check = world.client.get(&connection).await.expect(200).body["check"].clone();
        (check["state"] == state).then_some(check)
    };
    let strikes = world.fault(deadly.clone());
    ask(&world).await;
    let failed = async |world: &World| checked(world, "failed").await;
    let (deaths, failed) = lives_until(&mut world, &deadly, strikes, failed).await;
    assert_eq!(failed["failure"]["code"], "worker_died", "{failed:#}");
    assert_eq!(deaths, 8);
    ask(&world).await;
    let passed = async || checked(&world, "passed").await;
    until("the check to pass", passed).await;
}

/// Half of the time after which the lease of a look would lapse.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn with_a_look_of_every_kind_in_hand_and_the_next_one_looks_at_once() {
    let settings = vec![("LINKBROKER_PATROL_IDLE_SECONDS", "1".to_owned())];
    let mut world = World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let hold = |upstream: &str, path: &str| {
        world.fault(
            json!({"upstream": upstream, "path": path, "times": 100, "fault": "hold_answer"}),
        )
    };
    let patrols = hold("netlify", "/builds/status$");
    let inspections = hold("netlify", "/sites/[^/?]+$");
    hold("netlify", "/accounts$");
    hold("github", "");
    // It comes round when it likes; the others come when they are asked for.
    until("a patrol", async || (patrols.count() > 0).then_some(())).await;
    let connection = connection(&world.client, "netlify").await;
    let connection = format!("/connections/{}", text(&connection["id"]));
    let checked = format!("/links/{}", text(&link["id"]));
    for subject in [&connection, &checked] {
        let check = format!("{subject}/check");
        world
            .client
            .send(Method::POST, &check, |it| it)
            .await
            .expect(202);
    }
    let preflight = world.client.post("/preflights", docs()).await.expect(202);
    let preflight = format!("/preflights/{}", preflight.id());
    let read = async |world: &World, path: &str| world.client.get(path).await.expect(200).body;
    until("a look of every kind to be under way", async || {
        let of_connection = &read(&world, &connection).await["check"]["state"];
        let of_request = &read(&world, &preflight).await["state"];
        let held = inspections.count() > 0;
        (held && *of_connection == "running" && *of_request == "running").then_some(())
    })
    .await;

    world.server.kill();
    world.sandbox.world().faults.clear();
    let before = world.sandbox.calls().len();
    world.start_again().await;

    let over = until("all looks to be over", async || {
        let connection = read(&world, &connection).await;
        let link = read(&world, &checked).await;
        let preflight = read(&world, &preflight).await;
        let calls = world.sandbox.calls().split_off(before);
        let is_patrolled = calls
            .iter()
            .any(|call| call.path.ends_with("/builds/status"));
        let are_over = [&connection["check"], &link, &preflight]
            .iter()
            .all(|it| it.get("poll_after_ms").is_none());
        (is_patrolled && are_over).then_some((connection, preflight))
    });
    let over = tokio::time::timeout(SOON, over).await;
    let (connection, preflight) = over.expect("looks that wait for no lease");
    assert_eq!(connection["check"]["state"], "passed", "{connection:#}");
    assert_eq!(preflight["state"], "done", "{preflight:#}");
}

#[tokio::test]
async fn beside_another_server_which_goes_on_within_seconds() {
    let mut world = slow_world(LONG_LEASE).await;
    let id = world.client.link(docs()).await;
    world.made("deploy_keys").await;
    let other = world.replica().await;
    world.server.kill();
    let killed = OffsetDateTime::now_utc();
    world.calls_take(0);
    let next = until("the other server to call", async || {
        let calls = world.sandbox.calls();
        let killed = killed.unix_timestamp_nanos() as f64 / 1e6;
        let after = calls.iter().filter(|call| call.started_ms > killed);
        after.map(|call| call.started_ms - killed).reduce(f64::min)
    });
    let pause = Duration::from_secs_f64(next.await / 1e3);
    println!("the other server called after {pause:?}");
    // Two seconds where nobody else is busy.
    assert!(pause < Duration::from_secs(5), "{pause:?}");
    world.client.base.clone_from(&other.address);
    let link = world.client.settled(&id).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_one_of_each(&world);
}

#[tokio::test]
async fn frozen_and_woken_after_another_took_over_it_changes_nothing() {
    let mut world = slow_world("3").await;
    let id = world.client.link(docs()).await;
    world.made("deploy_keys").await;
    let other = world.replica().await;
    world.server.freeze();
    world.calls_take(0);
    world.client.base.clone_from(&other.address);
    let link = world.client.settled(&id).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let calls = world.sandbox.calls().len();
    world.server.thaw();
    until("the woken server to notice", async || {
        let log = world.server.log();
        log.contains("lost the place among the workers")
            .then_some(())
    })
    .await;
    // It takes part again, and has nothing to do.
    world.client.base.clone_from(&world.server.address);
    assert_eq!(world.client.read(&id).await["version"], link["version"]);
    assert_eq!(world.sandbox.calls().len(), calls);
    assert_one_of_each(&world);
}
