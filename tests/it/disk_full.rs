//! The disk of Postgres is full: callers are told, nothing that was accepted is lost, nothing is made that is not noted, and all of
//! it goes on by itself once there is space.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{Cluster, Setup, World, until};

/// Links that are under way when the disk becomes full.
const UNDER_WAY: usize = 5;
/// So many refusals are seen before there is space again.
const REFUSALS: usize = 5;
/// The pages that are there take some rows more.
const ASKED_AT_MOST: usize = 1_000;

fn request(number: usize) -> Value {
    json!({
        "repository": "https://github.com/acme/docs",
        "site": {"name": format!("site-{number}"), "team": "sandbox"},
        "build": {"command": "sh build.sh", "publish": "dist"},
        "verify": "build",
    })
}

async fn world(cluster: Cluster) -> World {
    let quotas = [
        "LINKBROKER_QUOTA_REQUESTS_PER_MINUTE",
        "LINKBROKER_QUOTA_LINKS_PER_MINUTE",
        "LINKBROKER_QUOTA_LINKS_IN_FLIGHT",
    ];
    World::with(Setup {
        cluster: Some(cluster),
        settings: quotas.map(|name| (name, "0".to_owned())).into(),
        switches: json!({"netlify": {"pretend_builds": true, "rate_limit_per_minute": 1_000_000, "concurrent_builds": 100}}),
        ..Setup::default()
    })
    .await
}

#[tokio::test]
async fn what_was_accepted_is_made_once_as_soon_as_there_is_space() {
    let Some(cluster) = Cluster::start_on_a_disk(256).await else {
        println!("not played: only root may mount a small disk");
        return;
    };
    let mut world = world(cluster).await;
    world.calls_take(400);
    let mut accepted = Vec::new();
    for number in 0..UNDER_WAY {
        accepted.push(world.client.link(request(number)).await);
    }
    world.made("sites").await;
    world.cluster.as_ref().expect("a Postgres").fill_disk();

    let mut refusals = 0;
    for number in UNDER_WAY..ASKED_AT_MOST {
        let answer = world.client.post("/links", request(number)).await;
        match answer.status {
            202 => accepted.push(answer.id()),
            _ => {
                assert_eq!((answer.status, answer.code()), (503, "unavailable"));
                assert!(answer.header("retry-after").is_some());
                refusals += 1;
            }
        }
        if refusals == REFUSALS {
            break;
        }
    }
    assert_eq!(refusals, REFUSALS, "of {ASKED_AT_MOST} requests");
    // Time enough for those under way to meet it too.
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.calls_take(0);
    world
        .cluster
        .as_mut()
        .expect("a Postgres")
        .free_disk()
        .await;

    for id in &accepted {
        until("the link to be live", async || {
            let answer = world.client.get(&format!("/links/{id}")).await;
            (answer.body["status"] == "live").then_some(())
        })
        .await;
    }
    println!("{} links were accepted", accepted.len());
    let links = accepted.len() as u64;
    assert_eq!(world.count("sites"), (links, links));
    assert_eq!(world.count("webhooks"), (1, 1));
    for id in &accepted {
        let unlinked = world.client.unlink(id, "").await;
        assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    }
    for kind in ["sites", "webhooks", "installed_keys"] {
        assert_eq!(world.count(kind).1, 0, "{kind}");
    }
}
