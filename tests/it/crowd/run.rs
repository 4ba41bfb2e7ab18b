//! A run over many seeds: which ones, how many at a time, how far it is, and what a failure tells.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::Crowd;

/// Set by `./dev schedules` and its sisters.
const COUNT_SETTING: &str = "LINKBROKER_SEEDS_COUNT";
const FIRST_SETTING: &str = "LINKBROKER_SEEDS_FIRST";
/// How long the sample in `./dev test` goes on.
const SAMPLE: Duration = Duration::from_secs(20);
/// As many as have their neighbours and connections soon.
const SAMPLE_LANES: usize = 10;
/// Seeds between two lines that say how far it is.
const TOLD_EVERY: u64 = 500;

/// Which seeds are to be played.
pub struct Asked {
    /// The part of `./dev` that plays them.
    command: &'static str,
    seeds: Vec<u64>,
    until: Option<Instant>,
}

impl Asked {
    /// As many as there is time for: seeds that are always the same, and seeds that nobody knows before, in turns.
    pub fn sample(command: &'static str) -> Self {
        let random = u64::from(fastrand::u32(1_000_000..));
        let seeds = (0..10_000).flat_map(|number| [number, random + number]);
        Self {
            command,
            seeds: seeds.collect(),
            until: Some(Instant::now() + SAMPLE),
        }
    }

    /// So many, from the first one on, as the command was told.
    pub fn of_command(command: &'static str, usual: u64) -> Self {
        let (count, first) = (number(COUNT_SETTING, usual), number(FIRST_SETTING, 0));
        Self {
            command,
            seeds: (first..first + count).collect(),
            until: None,
        }
    }

    /// How many are played at the same time.
    pub fn lanes(&self, usual: usize) -> usize {
        match self.until {
            Some(_) => usual.min(SAMPLE_LANES),
            None => usual.min(self.seeds.len()),
        }
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() > until)
    }
}

fn number(setting: &str, usual: u64) -> u64 {
    let told = std::env::var(setting).ok().filter(|text| !text.is_empty());
    told.map_or(usual, |text| text.parse().expect("a number"))
}

/// What a run has met, so that its reader sees that it met something.
#[derive(Debug, Default)]
pub struct Tally(RefCell<BTreeMap<String, u64>>);

impl Tally {
    /// Counts one more.
    pub fn count(&self, what: &str) {
        self.add(what, 1);
    }

    /// Counts so many more.
    pub fn add(&self, what: &str, more: usize) {
        *self.0.borrow_mut().entry(what.to_owned()).or_default() += more as u64;
    }

    /// How many there were.
    pub fn of(&self, what: &str) -> u64 {
        self.0.borrow().get(what).copied().unwrap_or_default()
    }
}

/// What is left when all seeds were played, for what is to be looked at in the end.
pub struct Played<L> {
    pub crowd: Crowd,
    pub tally: Tally,
    pub lanes: Vec<L>,
}

/// Makes so many lanes in a crowd, plays the seeds in all of them at the same time, one after the other in each, and tells what was
/// met.
///
/// # Panics
/// When one fails; with its seed, why, and how to play it again. None is begun after it.
pub async fn play<L>(
    asked: Asked,
    crowd: Crowd,
    at_once: usize,
    lane: impl AsyncFn(&Crowd, usize) -> L,
    one: impl AsyncFn(&Crowd, &Tally, &mut L, u64) -> Result<(), String>,
) -> Played<L> {
    let tally = Tally::default();
    let made = (0..asked.lanes(at_once)).map(|number| lane(&crowd, number));
    let mut lanes = join_all(made).await;
    let (started, count) = (Instant::now(), asked.seeds.len());
    let (next, done) = (Cell::new(0), Cell::new(0));
    let longest = Cell::new((Duration::ZERO, 0));
    let failed = RefCell::new(Vec::new());
    let told = |done: u64| {
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{done} {} in {seconds:.0} s: {:.1} a second",
            asked.command,
            done as f64 / seconds
        );
    };
    let in_lane = async |lane: &mut L| {
        while next.get() < count && !asked.is_over() && failed.borrow().is_empty() {
            let seed = asked.seeds[next.replace(next.get() + 1)];
            let begun = Instant::now();
            if let Err(why) = one(&crowd, &tally, lane, seed).await {
                let command = asked.command;
                let why = format!("seed {seed}: {why}\nagain: ./dev {command} 1 --seed {seed}");
                eprintln!("{why}");
                failed.borrow_mut().push(why);
                return;
            }
            longest.set(longest.get().max((begun.elapsed(), seed)));
            done.set(done.get() + 1);
            if done.get() % TOLD_EVERY == 0 {
                told(done.get());
            }
        }
    };
    join_all(lanes.iter_mut().map(in_lane)).await;
    told(done.get());
    let (longest, seed) = longest.get();
    println!(
        "the longest took {:.0} s: seed {seed}",
        longest.as_secs_f64()
    );
    for (what, count) in &*tally.0.borrow() {
        println!("{count:>8} {what}");
    }
    let failed = failed.into_inner();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(done.get() > 0, "nothing was played");
    Played {
        crowd,
        tally,
        lanes,
    }
}
