//! A real `kill -9` of the real server at six points of every effect of every way of linking: the next process brings the link
//! to its end with exactly one of everything, and takes back all of it.
//!
//! The effects are those of a run without faults, so that a new call is in the matrix by itself. `./dev kills` goes through the
//! whole matrix; here a tenth of it is drawn, another one each day.

pub mod batch;
pub mod effects;
mod frozen;
mod matrix;
pub mod objects;
mod points;
pub mod variant;

use std::time::{SystemTime, UNIX_EPOCH};

use matrix::{Matrix, Row};
use variant::{VARIANTS, Variant};

/// Set by `./dev kills seed SEED`.
const SEED_SETTING: &str = "LINKBROKER_KILLS_SEED";
/// `WAY`, or `WAY:` and a part of the names of its effects; set by `./dev kills`.
const FILTER_SETTING: &str = "LINKBROKER_KILLS_FILTER";
/// One in so many cells is drawn.
const DRAWN: usize = 10;

/// The day's, unless this setting gives one.
pub fn seed(setting: &str) -> u64 {
    let days = SystemTime::now().duration_since(UNIX_EPOCH);
    let today = days.expect("a time after 1970").as_secs() / 86_400;
    let given = std::env::var(setting).ok();
    given.map_or(today, |seed| seed.parse().expect("a seed is a number"))
}

async fn a_tenth_of(name: &str) {
    let variant = VARIANTS.iter().find(|variant| variant.name == name);
    let variant = variant.expect("a way of this name");
    let seed = seed(SEED_SETTING);
    println!("the same again: ./dev kills seed {seed} {name}");
    let matrix = Matrix::of(variant).await;
    let rows = matrix.draw(seed, DRAWN).run().await;
    let failed: Vec<String> = rows.iter().flat_map(Row::failures).collect();
    assert!(failed.is_empty(), "seed {seed}: {failed:#?}");
    assert!(rows.iter().any(Row::has_run));
}

/// Goes through all cells, or those of the filter, and prints a table.
#[tokio::test]
#[ignore = "takes minutes: ./dev kills"]
async fn the_whole_matrix() {
    let filter = std::env::var(FILTER_SETTING).unwrap_or_default();
    let (way, effect) = filter.split_once(':').unwrap_or((&filter, ""));
    let mut table = Vec::new();
    for variant in VARIANTS
        .iter()
        .filter(|it| way.is_empty() || it.name == way)
    {
        let matrix = Matrix::of(variant).await.only(effect);
        table.extend(matrix.run().await);
    }
    matrix::print(&table);
    assert!(!table.is_empty(), "nothing is called `{filter}`");
    assert!(table.iter().all(|row| row.failures().is_empty()));
}

macro_rules! a_tenth {
    ($($way:ident)*) => {
        /// The rows of the table that have their tests.
        const DRAWN_FROM: &[&str] = &[$(stringify!($way)),*];

        /// Killed at a tenth of its points, each way ends with one of everything.
        mod drawn {
            $(#[tokio::test]
            async fn $way() {
                super::a_tenth_of(stringify!($way)).await;
            })*
        }
    };
}

a_tenth! {
    github github_enterprise gitlab bitbucket azure_standing azure_by_hand azure_by_api gitea manual public
    with_environment existing_site taken_site app_installation
}

#[test]
fn every_way_is_killed_through() {
    let all: Vec<_> = VARIANTS
        .iter()
        .map(|variant: &Variant| variant.name)
        .collect();
    assert_eq!(DRAWN_FROM, all);
}
