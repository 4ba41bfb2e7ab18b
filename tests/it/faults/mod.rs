//! Everything that can go wrong with a call, at every call of every way of linking: what becomes of the link, and that nothing is
//! doubled, left behind or told to others.
//!
//! The calls are those of a run without faults, so that a new call is in by itself, and every fault says what it may end in
//! ([`wrong`]), so that no cell is without an expectation. `./dev faults` plays the whole table and writes `docs/faults.md`; the
//! tests here play a tenth of it, another one each day.

mod call;
mod expected;
mod ground;
mod page;
mod table;
mod wrong;

use std::collections::BTreeSet;
use std::time::Instant;

use call::word;
use ground::Ground;
use table::Outcome;
use wrong::Reach;

use crate::kills::{
    seed,
    variant::{VARIANTS, Variant},
};

/// Set by `./dev faults seed SEED`.
const SEED_SETTING: &str = "LINKBROKER_FAULTS_SEED";
/// `UPSTREAM`, or `UPSTREAM:` and a part of the names of its cells; set by `./dev faults`.
const FILTER_SETTING: &str = "LINKBROKER_FAULTS_FILTER";
/// One in so many cells is drawn.
const DRAWN: usize = 10;

/// What is not as the rules say, or not as the page says.
fn complaint(outcome: &Outcome) -> Option<String> {
    if !outcome.is_made() {
        println!("left out {}", outcome.told());
        return None;
    }
    let end = match &outcome.ended {
        Ok(end) if outcome.is_good() => end,
        _ => return Some(outcome.told()),
    };
    let recorded = page::recorded(&outcome.cell);
    // How soon it ended well may depend on who was first.
    let same = recorded.is_some_and(|it| {
        it.is_none_or(|it| it == end.class || it.is_well() && end.class.is_well())
    });
    let cell = &outcome.cell;
    (!same).then(|| {
        format!(
            "{cell}: {} is not in docs/faults.md: {recorded:?}",
            end.class
        )
    })
}

async fn a_tenth_of(upstream: &str, way: &str) {
    let seed = seed(SEED_SETTING);
    println!("the same again: ./dev faults seed {seed} {upstream}");
    let of_upstream = |variant: &&Variant| upstream == "netlify" || variant.way.kind == upstream;
    let mut variants = VARIANTS.iter().filter(of_upstream);
    // The table has each call as the first variant makes it.
    let mut known = BTreeSet::new();
    let variant = loop {
        let variant = variants.next().expect("a way of this name");
        if variant.name == way {
            break variant;
        }
        known.extend(Ground::open(variant).await.calls().await);
    };
    let mut ground = Ground::open(variant).await;
    let mut calls = ground.calls().await;
    calls.retain(|call| word(call.upstream) == upstream && !known.contains(call));
    let mut cells = table::cells_of(&calls);
    let all = cells.len();
    cells.retain(|cell| cell.wrong.reach != Reach::Minute);
    fastrand::Rng::with_seed(seed).shuffle(&mut cells);
    cells.truncate(all.div_ceil(DRAWN));
    let outcomes = table::play(upstream, &mut ground, cells).await;
    let bad: Vec<_> = outcomes.iter().filter_map(complaint).collect();
    assert!(bad.is_empty(), "seed {seed}: {bad:#?}");
    assert!(outcomes.iter().any(Outcome::is_made));
}

/// A tenth of what can go wrong with each upstream's calls ends as the table says.
mod drawn {
    use super::a_tenth_of;

    #[tokio::test]
    async fn netlify() {
        a_tenth_of("netlify", "github").await;
    }

    #[tokio::test]
    async fn github() {
        a_tenth_of("github", "github").await;
    }

    #[tokio::test]
    async fn gitlab() {
        a_tenth_of("gitlab", "gitlab").await;
    }

    #[tokio::test]
    async fn bitbucket() {
        a_tenth_of("bitbucket", "bitbucket").await;
    }

    #[tokio::test]
    async fn azure_devops() {
        a_tenth_of("azure_devops", "azure_by_api").await;
    }

    #[tokio::test]
    async fn gitea() {
        a_tenth_of("gitea", "gitea").await;
    }
}

#[test]
fn the_page_has_the_rules_that_the_tests_go_by() {
    assert!(
        page::has_the_rules(),
        "./dev faults writes docs/faults.md anew"
    );
}

/// All cells, or those of the filter; writes the page of what was played to its end.
#[tokio::test]
#[ignore = "takes many minutes: ./dev faults"]
async fn the_whole_table() {
    let filter = std::env::var(FILTER_SETTING).unwrap_or_default();
    let (upstream, part) = filter.split_once(':').unwrap_or((&filter, ""));
    let mut known = BTreeSet::new();
    let mut outcomes = Vec::new();
    let started = Instant::now();
    for variant in &VARIANTS {
        if !["", "netlify", variant.way.kind].contains(&upstream) {
            continue;
        }
        let mut ground = Ground::open(variant).await;
        let mut calls = ground.calls().await;
        calls.retain(|call| upstream.is_empty() || word(call.upstream) == upstream);
        calls.retain(|call| known.insert(call.clone()));
        let mut cells = table::cells_of(&calls);
        cells.retain(|cell| cell.to_string().contains(part));
        let played = table::play(variant.name, &mut ground, cells).await;
        page::write(&played, false);
        outcomes.extend(played);
    }
    let (made, by_chance): (Vec<_>, Vec<_>) = outcomes.iter().partition(|it| it.is_made());
    for outcome in &by_chance {
        println!("left out {}", outcome.told());
    }
    let bad: Vec<_> = made.iter().filter(|it| !it.is_good()).collect();
    for outcome in &bad {
        println!("FAILED {}", outcome.told());
    }
    println!(
        "{} calls, {} cells, {} not as expected, in {} s",
        known.len(),
        made.len(),
        bad.len(),
        started.elapsed().as_secs()
    );
    assert!(!outcomes.is_empty(), "nothing is called `{filter}`");
    if part.is_empty() {
        page::write(&outcomes, true);
    }
    assert!(bad.is_empty());
}
