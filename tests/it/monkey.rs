//! A monkey that kills Postgres and the service again and again while links are made: nothing that was accepted is lost, nothing is
//! doubled. `./dev monkey [MINUTES]` lets it play for longer.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::crowd::AT_ANY_AGE;
use crate::world::{Cluster, Setup, World};

/// Links when nobody says how many; the long game has 200.
const LINKS: usize = 24;
/// How long the monkey plays when nobody says so.
const SECONDS: u64 = 45;
/// Longest time from the last harm to the last link's end.
const PATIENCE: Duration = Duration::from_secs(300);

fn from_environment<T: std::str::FromStr>(name: &str, default: T) -> T {
    let said = std::env::var(name).ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn request(number: usize) -> Value {
    json!({
        "repository": format!("https://github.com/acme/repo-{}", number % 4),
        "site": {"name": format!("monkey-{number}"), "team": "sandbox"},
        "build": {"command": "sh build.sh", "publish": "dist"},
        "verify": "build",
        "ref": format!("monkey-{number}"),
    })
}

/// Asks for a link; asked twice under one key it is one link.
async fn ask(world: &World, number: usize) -> bool {
    let key = format!("monkey-{number}");
    let asked = world.client.send(Method::POST, "/links", |to| {
        to.json(&request(number)).header("idempotency-key", key)
    });
    (200..300).contains(&asked.await.status)
}

#[tokio::test]
async fn kills_postgres_and_the_service_and_nothing_is_lost_or_doubled() {
    let seed = from_environment("MONKEY_SEED", fastrand::u64(..));
    println!("MONKEY_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let links: usize = from_environment("MONKEY_LINKS", LINKS);
    let game = Duration::from_secs(from_environment("MONKEY_SECONDS", SECONDS));

    let cluster = Some(Cluster::start().await);
    let switches = json!({
        "latency_ms": 40,
        "netlify": {"key_stock": 24, "rate_limit_per_minute": 1_000_000},
        "github": {"limits": {"calls_per_hour": 1_000_000, "content_per_minute": 1_000_000, "content_per_hour": 1_000_000}},
    });
    let mut world = World::empty(Setup {
        cluster,
        switches,
        ..Setup::default()
    })
    .await;
    for number in 0..4 {
        world.repository(&format!("repo-{number}")).await;
    }
    world.connect(&world.client).await;

    let begun = Instant::now();
    let pause = |random: &mut fastrand::Rng, from: u64, to: u64| {
        begun.elapsed() + Duration::from_millis(random.u64(from..to))
    };
    let mut next_postgres = pause(&mut random, 2_000, 10_000);
    let mut next_service = pause(&mut random, 3_000, 15_000);
    let (mut accepted, mut asked, mut crashes, mut kills) = (0, 0, 0, 0);
    while begun.elapsed() < game || accepted < links {
        if accepted < links && ask(&world, accepted).await {
            accepted += 1;
        }
        asked += 1;
        let playing = begun.elapsed() < game;
        if playing && begun.elapsed() > next_postgres {
            let postgres = world.cluster.as_mut().expect("a Postgres of its own");
            postgres.crash();
            tokio::time::sleep(Duration::from_millis(random.u64(0..1_500))).await;
            postgres.start_again().await;
            crashes += 1;
            next_postgres = pause(&mut random, 2_000, 10_000);
        }
        if playing && begun.elapsed() > next_service {
            world.crash().await;
            kills += 1;
            next_service = pause(&mut random, 3_000, 15_000);
        }
        tokio::time::sleep(Duration::from_millis(random.u64(50..300))).await;
    }
    println!(
        "{asked} requests for {links} links; Postgres crashed {crashes} times, the service {kills} times"
    );
    all_live(&world, links).await;
    // Of several keys whose makers died in the same moment nobody can tell which is whose: those are left to the sweep.
    let sweep = [&["sweep"], &AT_ANY_AGE[..]].concat();
    world.run(&sweep).await.expect(0);
    for kind in ["deploy_keys", "installed_keys", "sites"] {
        assert_eq!(world.count(kind).1 as usize, links, "{kind}");
    }
    assert_eq!(
        world.count("webhooks").1,
        4,
        "one webhook for each repository"
    );
    let state = world.state();
    let deploys = state["netlify"]["deploys"].as_array().expect("deploys");
    assert_eq!(deploys.len(), links, "one build for each link");
}

/// Every link that was accepted is live, and there is no other.
async fn all_live(world: &World, links: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut statuses = std::collections::BTreeMap::new();
        for number in 0..links {
            let found = world
                .client
                .get(&format!("/links?ref=monkey-{number}"))
                .await;
            let found = found.body["links"].as_array().cloned().unwrap_or_default();
            assert!(found.len() <= 1, "{found:#?}");
            let status = found
                .first()
                .map_or("lost".to_owned(), |link| link["status"].to_string());
            *statuses.entry(status).or_insert(0) += 1;
        }
        if statuses.get("\"live\"") == Some(&links) {
            return;
        }
        assert!(Instant::now() < deadline, "{statuses:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
