//! The cells of the table, and playing them in several worlds at once.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::{FutureExt, future::join_all};

use super::call::Call;
use super::expected::{self, End};
use super::lane::Lane;
use super::wrong::{ALL, Wrong};
use crate::world::Way;

/// Worlds of a way that play at the same time.
const LANES: usize = 4;
/// How often a cell may be played: on a machine that is starved, a call may take too long by itself.
const TRIES: usize = 2;

/// One thing that goes wrong with one call of one way.
#[derive(Debug, Clone)]
pub struct Cell {
    pub way: &'static str,
    pub call: Call,
    pub wrong: &'static Wrong,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.way, self.wrong.name, self.call)
    }
}

/// What became of a cell.
#[derive(Debug)]
pub struct Outcome {
    pub cell: Cell,
    /// Or what was broken.
    pub ended: Result<End, String>,
}

impl Outcome {
    /// Whether it is as expected.
    pub fn is_good(&self) -> bool {
        self.ended
            .as_ref()
            .is_ok_and(|ended| expected::admits(&self.cell, ended))
    }
}

/// Everything that can go wrong with each call of a way.
pub async fn cells_of(way: &'static Way) -> Vec<Cell> {
    let mut cells = Vec::new();
    for call in Lane::open(way).await.calls().await {
        for wrong in ALL.iter().filter(|wrong| wrong.fits(&call)) {
            cells.push(Cell {
                way: way.name,
                call: call.clone(),
                wrong,
            });
        }
    }
    cells
}

/// Plays cells, in their order, until all are played or the time is up.
pub async fn play(way: &'static Way, cells: Vec<Cell>, until: Option<Instant>) -> Vec<Outcome> {
    let cells = Arc::new(Mutex::new(VecDeque::from(cells)));
    let lanes = (0..LANES).map(|_| {
        let cells = cells.clone();
        async move {
            let mut outcomes = Vec::new();
            let mut lane = None;
            loop {
                let next = cells.lock().expect("nobody panics in here").pop_front();
                let Some(cell) = next.filter(|_| until.is_none_or(|until| Instant::now() < until))
                else {
                    return outcomes;
                };
                outcomes.push(play_one(way, &mut lane, cell).await);
            }
        }
    });
    join_all(lanes).await.into_iter().flatten().collect()
}

/// Plays a cell in a lane; what did not end well leaves no lane for others.
async fn play_one(way: &'static Way, lane: &mut Option<Lane>, cell: Cell) -> Outcome {
    let mut ended = Err("not played".to_owned());
    for _ in 0..TRIES {
        let here = match lane.take() {
            Some(lane) => lane,
            None => Lane::open(way).await,
        };
        // A panic of one cell is not the end of the others.
        let played = AssertUnwindSafe(here.play(&cell)).catch_unwind().await;
        ended = played.unwrap_or_else(|panic| Err(said(&*panic)));
        if ended.is_ok() && !cell.wrong.parks {
            *lane = Some(here);
        }
        let outcome = Outcome {
            cell: cell.clone(),
            ended: ended.clone(),
        };
        if outcome.is_good() {
            return outcome;
        }
        println!("{}", told(&[&outcome]));
    }
    Outcome { cell, ended }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "it panicked".to_owned())
}

/// What was not as expected, for people.
pub fn told(bad: &[&Outcome]) -> String {
    let line = |it: &&Outcome| {
        let wanted = expected::told(it.cell.wrong.ends.of(it.cell.call.kind()));
        match &it.ended {
            Ok(End { class, code }) => format!("{}: {class} ({code}) instead of {wanted}", it.cell),
            Err(why) => format!("{}: {why}", it.cell),
        }
    };
    let mut lines: Vec<_> = bad.iter().map(line).collect();
    lines.sort();
    lines.join("\n")
}
