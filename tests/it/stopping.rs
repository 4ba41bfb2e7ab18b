//! SIGTERM while callers are busy: unready at once, everything that was accepted is kept, and out in time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::world::{Setup, World, until};

const CALLERS: usize = 6;
/// The most that work under way may take, unless a setting says otherwise.
const DRAIN: Duration = Duration::from_secs(10);

/// What one caller was told until nobody answered any more.
#[derive(Default)]
struct Told {
    statuses: Vec<StatusCode>,
    accepted: Vec<String>,
}

fn request(caller: usize, number: usize) -> Value {
    json!({
        "repository": "https://github.com/acme/docs",
        "site": {"name": format!("busy-{caller}-{number}"), "team": "sandbox"},
        "build": {"command": "sh build.sh", "publish": "dist"},
    })
}

/// Asks for links and reads them, as fast as answers come, until no connection is taken any more; at most so many links.
async fn is_busy(world: &World, caller: usize, told_to_stop: &AtomicBool) -> Told {
    let http = reqwest::Client::builder().no_proxy().build();
    let http = http.expect("a client");
    let token = world.client.token().expect("a token");
    let mut told = Told::default();
    for number in 0.. {
        let links = format!("{}/links", world.client.base);
        let wants_more = number < 3 || told_to_stop.load(Ordering::Relaxed);
        let sent = match wants_more {
            true => http.post(&links).json(&request(caller, number)),
            false => http.get(&links),
        };
        // A connection that is not taken is no request that was accepted.
        let Ok(answer) = sent.bearer_auth(&token).send().await else {
            break;
        };
        told.statuses.push(answer.status());
        if answer.status() == StatusCode::ACCEPTED {
            let link: Value = answer.json().await.expect("the whole answer");
            told.accepted
                .push(link["id"].as_str().expect("an id").to_owned());
        }
    }
    told
}

#[tokio::test]
async fn told_to_stop_under_load_it_is_unready_at_once_and_loses_nothing() {
    let mut world = World::with(Setup {
        switches: json!({"latency_ms": 150, "netlify": {"concurrent_builds": 6}}),
        ..Setup::default()
    })
    .await;
    let told_to_stop = AtomicBool::new(false);
    let callers = join_all((0..CALLERS).map(|caller| is_busy(&world, caller, &told_to_stop)));
    let stop = async {
        world.made("sites").await;
        told_to_stop.store(true, Ordering::Relaxed);
        let told_at = Instant::now();
        world.server.signal(Signal::SIGTERM);
        until("the server to say that it drains", async || {
            world.server.log().contains("told to stop").then_some(())
        })
        .await;
        let ready = reqwest::get(format!("{}/readyz", world.server.address)).await;
        let is_ready = ready.is_ok_and(|answer| answer.status().is_success());
        assert!(!is_ready, "the first who asks is told no");
        told_at
    };
    let (told, told_at) = tokio::join!(callers, stop);
    let ended = world.server.ended().await;
    assert!(ended.success(), "{ended}");
    assert!(told_at.elapsed() <= DRAIN, "{:?}", told_at.elapsed());

    let statuses: Vec<_> = told.iter().flat_map(|told| &told.statuses).collect();
    let failed: Vec<_> = statuses.iter().filter(|it| it.is_server_error()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let accepted: Vec<_> = told.iter().flat_map(|told| &told.accepted).collect();
    assert!(accepted.len() >= CALLERS, "{} links", accepted.len());

    world.calls_take(0);
    world.start_again().await;
    for id in &accepted {
        let link = world.client.settled_at_last(id).await;
        assert_eq!(link["status"], "live", "{link:#}");
    }
    let links = accepted.len() as u64;
    for (kind, count) in [
        ("deploy_keys", links),
        ("installed_keys", links),
        ("sites", links),
        ("webhooks", 1),
    ] {
        assert_eq!(world.count(kind), (count, count), "{kind}");
    }
}
