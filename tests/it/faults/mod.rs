//! Everything that can go wrong with a call, at every call of every way of linking: what becomes of the link, and that nothing is
//! doubled, left behind or told to others.
//!
//! The calls are those of a run without faults, so that a new call is in by itself, and every fault says what it may end in
//! ([`wrong`]), so that no cell is without an expectation. `./dev faults` plays the whole table and writes `docs/faults.md`; the
//! tests here play a sample of it.

mod call;
mod expected;
mod lane;
mod page;
mod table;
mod wrong;

use std::time::{Duration, Instant};

use crate::world::Way;

/// How long the sample plays.
const SAMPLE: Duration = Duration::from_secs(45);
/// Names the seed of the sample; a number.
const SEED_SETTING: &str = "LINKBROKER_FAULTS_SEED";
/// Which cells `./dev faults` plays: those whose name contains this.
const FILTER_SETTING: &str = "LINKBROKER_FAULTS_FILTER";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_with_a_call_ends_as_the_table_says() {
    let seed = match std::env::var(SEED_SETTING) {
        Ok(seed) => seed.parse().expect("a seed is a number"),
        Err(_) => std::process::id().into(),
    };
    println!("the sample is that of {SEED_SETTING}={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let way = Way::ALL[rng.usize(..Way::ALL.len())];
    let mut cells = table::cells_of(way).await;
    cells.retain(|cell| !cell.wrong.parks);
    rng.shuffle(&mut cells);
    let until = Instant::now() + SAMPLE;
    let outcomes = table::play(way, cells, Some(until)).await;
    let bad: Vec<_> = outcomes.iter().filter(|it| !it.is_good()).collect();
    assert!(bad.is_empty(), "{}", table::told(&bad));
}

#[test]
fn the_page_about_faults_is_what_the_table_expects() {
    assert!(
        page::DOCS == page::text(),
        "./dev faults writes docs/faults.md anew"
    );
}

/// Takes half an hour or so: `./dev faults`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the whole table; ./dev faults plays it"]
async fn the_whole_table() {
    let filter = std::env::var(FILTER_SETTING).unwrap_or_default();
    let mut outcomes = Vec::new();
    for way in Way::ALL {
        let mut cells = table::cells_of(way).await;
        cells.retain(|cell| cell.to_string().contains(&filter));
        let all = cells.len();
        let started = Instant::now();
        let played = table::play(way, cells, None).await;
        let good = played.iter().filter(|it| it.is_good()).count();
        println!(
            "{:24} {good} of {all} cells in {:.0} s",
            way.name,
            started.elapsed().as_secs_f64()
        );
        outcomes.extend(played);
    }
    let bad: Vec<_> = outcomes.iter().filter(|it| !it.is_good()).collect();
    println!("{} cells, {} not as expected", outcomes.len(), bad.len());
    if filter.is_empty() {
        page::write();
    }
    assert!(bad.is_empty(), "{}", table::told(&bad));
}
