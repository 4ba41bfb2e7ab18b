//! Links of several tenants come and go on the same repositories in random order, while calls fail: nobody's link is broken by a
//! neighbour's end, and nothing is left when all are gone.
//!
//! `./dev sharing` plays a thousand sequences; a failure tells the seed of its sequence.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use linkbroker_sandbox::git::NewCommit;
use serde_json::json;

use crate::crowd::{Crowd, Place, gone, live, number};
use crate::world::until;

/// Comings and goings in one sequence.
const STEPS: usize = 8;
/// Tenants on one repository.
const TENANTS: usize = 3;
/// How long the sample goes on.
const SAMPLE: Duration = Duration::from_secs(20);
const COUNT_SETTING: &str = "LINKBROKER_SHARING_COUNT";
const SEED_SETTING: &str = "LINKBROKER_SHARING_SEED";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_on_a_repository_come_and_go_and_break_nothing() {
    let until = Instant::now() + SAMPLE;
    play(std::process::id().into(), 1_000, Some(until)).await;
}

/// Takes minutes: `./dev sharing`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a thousand sequences; ./dev sharing plays them"]
async fn a_thousand_sequences() {
    let (seed, count) = (number(SEED_SETTING, 0), number(COUNT_SETTING, 1_000));
    play(seed, count, None).await;
}

/// Plays sequences, each from a seed of its own, in two repositories at once.
async fn play(seed: u64, count: u64, until: Option<Instant>) {
    let crowd = Crowd::gather().await;
    let _workers = [crowd.worker(), crowd.worker()];
    let seeds = |first: u64| (seed + first..seed + count).step_by(2);
    let both = [0, 1].map(|number| sequences(&crowd, number, seeds(number), until));
    let [one, other] = both;
    let (one, other) = tokio::join!(one, other);
    println!("{} sequences", one + other);
}

/// The sequences of one repository, one after the other; how many.
async fn sequences(
    crowd: &Crowd,
    number: u64,
    seeds: impl Iterator<Item = u64>,
    until: Option<Instant>,
) -> u64 {
    let mut places = Vec::new();
    for tenant in 0..TENANTS {
        let tenant = format!("tenant-{number}-{tenant}");
        places.push(Place::make(&crowd.world, &tenant, &format!("docs-{number}")).await);
    }
    let mut done = 0;
    for seed in seeds {
        if until.is_some_and(|until| Instant::now() > until) {
            break;
        }
        let played = sequence(crowd, &places, seed).await;
        played.unwrap_or_else(|why| {
            panic!("seed {seed}: {why}\n  the same again: ./dev sharing 1 --seed {seed}")
        });
        done += 1;
    }
    done
}

/// Links by their site, each with the place of its tenant.
type Links = BTreeMap<String, (usize, String)>;

async fn sequence(crowd: &Crowd, places: &[Place], seed: u64) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let mut links = Links::new();
    for step in 0..STEPS {
        let which = rng.usize(..places.len());
        let place = &places[which];
        disturb(crowd, place, &mut rng);
        let comes = links.is_empty() || rng.bool();
        match comes {
            true => {
                let site = format!("site-{seed}-{step}");
                let id = place.client.link(place.request(&site)).await;
                live(&place.client, &id).await?;
                links.insert(site, (which, id));
            }
            false => {
                let at = rng.usize(..links.len());
                let site = links.keys().nth(at).expect("a link").clone();
                let (owner, id) = links.remove(&site).expect("a link");
                gone(&places[owner].client, &id).await?;
            }
        }
        place.calm(&crowd.world);
    }
    a_push_builds_every_site(crowd, places, &links, seed).await;
    for (owner, id) in links.values() {
        gone(&places[*owner].client, id).await?;
    }
    assert_nothing_left(crowd, places).await
}

/// One call of the tenant in three goes wrong.
fn disturb(crowd: &Crowd, place: &Place, rng: &mut Rng) {
    if rng.u8(..3) > 0 {
        return;
    }
    let upstream = ["netlify", "github"][rng.usize(..2)];
    let fault =
        [json!("lost_answer"), json!("reset"), json!({"status": 500})][rng.usize(..3)].clone();
    place.disturb(&crowd.world, upstream, rng.u64(1..12), &fault);
}

/// A neighbour's end has broken nobody's webhook and key.
async fn a_push_builds_every_site(crowd: &Crowd, places: &[Place], links: &Links, seed: u64) {
    if links.is_empty() {
        return;
    }
    let commit = NewCommit {
        message: format!("Push of {seed}"),
        files: [("content/text.txt".to_owned(), format!("words of {seed}\n"))].into(),
        ..NewCommit::default()
    };
    let path = places[0].path.as_str();
    let pushed = crowd
        .world
        .sandbox
        .commit(path, commit)
        .await
        .expect("a push");
    let sha = pushed["sha"].as_str().expect("a commit").to_owned();
    for site in links.keys() {
        until("a neighbour's push to be built", async || {
            places[0].has_built(&crowd.world, site, &sha).then_some(())
        })
        .await;
    }
}

async fn assert_nothing_left(crowd: &Crowd, places: &[Place]) -> Result<(), String> {
    let mut db = crowd.world.database.connection().await;
    for place in places {
        let there = place.at_vendors(&crowd.world, &[]);
        let ledger = place.in_ledger(&mut db).await;
        let only_stock = there.iter().all(|(kind, _)| kind == "deploy_key");
        if !only_stock || there != ledger {
            return Err(format!(
                "{}: left at the vendors: {there:?}; in the ledger: {ledger:?}",
                place.tenant
            ));
        }
    }
    Ok(())
}
