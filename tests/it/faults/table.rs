//! The cells of the table, and playing many of them at once.

use std::collections::BTreeSet;
use std::fmt;
use std::iter::zip;
use std::time::Instant;

use super::call::{Call, word};
use super::expected::{self, End};
use super::ground::{Ground, NOT_MADE, Pair};
use super::wrong::{ALL, Reach, Wrong};

/// Links that are under way at the same time.
const TOGETHER: usize = 16;

/// One thing that goes wrong with one call.
#[derive(Debug, Clone)]
pub struct Cell {
    pub call: Call,
    pub wrong: &'static Wrong,
}

/// What became of a cell.
#[derive(Debug)]
pub struct Outcome {
    pub cell: Cell,
    /// Or what was broken.
    pub ended: Result<End, String>,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, wrong } = self;
        write!(f, "{}: {call}: {}", word(call.upstream), wrong.name)
    }
}

impl Outcome {
    /// Whether it is as the rules say.
    pub fn is_good(&self) -> bool {
        let ends = self.cell.wrong.ends_at(&self.cell.call);
        self.ended.as_ref().is_ok_and(|end| end.is_in(ends))
    }

    /// Whether the call came at all.
    pub fn is_made(&self) -> bool {
        self.ended != Err(NOT_MADE.to_owned())
    }

    /// For people.
    pub fn told(&self) -> String {
        let wanted = expected::told(self.cell.wrong.ends_at(&self.cell.call));
        match &self.ended {
            Ok(End { class, code }) => {
                format!("{}: {class} {code} instead of {wanted}", self.cell)
            }
            Err(why) => format!("{}: {why}", self.cell),
        }
    }
}

/// Everything that can go wrong with each of these calls.
pub fn cells_of(calls: &BTreeSet<Call>) -> Vec<Cell> {
    let mut cells = Vec::new();
    for wrong in ALL {
        for call in calls.iter().filter(|call| wrong.fits(call)) {
            let call = call.clone();
            cells.push(Cell { call, wrong });
        }
    }
    cells
}

/// Plays cells; one that is not as the rules say is played once more, by itself.
pub async fn play(name: &str, ground: &mut Ground, cells: Vec<Cell>) -> Vec<Outcome> {
    let all = cells.len();
    let started = Instant::now();
    let mut outcomes = Vec::new();
    for pairs in batches(cells) {
        for outcome in play_batch(ground, pairs).await {
            if outcome.is_good() || !outcome.is_made() {
                outcomes.push(outcome);
                continue;
            }
            eprintln!("again {}", outcome.told());
            let again = play_batch(ground, vec![alone(outcome.cell)]).await;
            outcomes.extend(again);
        }
        let bad = outcomes.iter().filter(|it| it.is_made() && !it.is_good());
        eprintln!(
            "{name}: {} of {all} cells in {} s, {} not as expected",
            outcomes.len(),
            started.elapsed().as_secs(),
            bad.count()
        );
    }
    outcomes
}

async fn play_batch(ground: &mut Ground, pairs: Vec<Pair>) -> Vec<Outcome> {
    let ended = ground.play(&pairs).await;
    let cells = pairs.into_iter().flatten();
    let outcomes = zip(cells, ended.into_iter().flatten()).filter_map(|(cell, ended)| {
        let (cell, ended) = (cell?, ended?);
        Some(Outcome { cell, ended })
    });
    outcomes.collect()
}

fn alone(cell: Cell) -> Pair {
    match cell.call.phase {
        super::call::Phase::Link => [Some(cell), None],
        super::call::Phase::Unlink => [None, Some(cell)],
    }
}

/// Those of a batch do not disturb each other, or all alike.
fn batches(cells: Vec<Cell>) -> Vec<Vec<Pair>> {
    let mut groups: Vec<(&str, Vec<Cell>)> = Vec::new();
    for cell in cells {
        let key = match cell.wrong.reach {
            Reach::Call => "calls",
            Reach::Minute => "minutes",
            Reach::Neighbours => cell.wrong.name,
        };
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(cell),
            None => groups.push((key, vec![cell])),
        }
    }
    let mut batches = Vec::new();
    for (_, group) in groups {
        let pairs = pairs(group);
        batches.extend(pairs.chunks(TOGETHER).map(<[Pair]>::to_vec));
    }
    batches
}

/// A link has one cell while it is made and one while it is taken back.
fn pairs(cells: Vec<Cell>) -> Vec<Pair> {
    let (making, taking): (Vec<_>, Vec<_>) = cells
        .into_iter()
        .partition(|cell| cell.call.phase == super::call::Phase::Link);
    let count = making.len().max(taking.len());
    let (mut making, mut taking) = (making.into_iter(), taking.into_iter());
    (0..count).map(|_| [making.next(), taking.next()]).collect()
}
