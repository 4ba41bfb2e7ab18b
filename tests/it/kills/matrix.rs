//! The matrix of one way: its effects as rows, the points as columns, and what became of each cell.

use std::collections::HashMap;
use std::iter::zip;

use super::batch::{self, Begun, Cell, Deaths};
use super::effects::{Effect, Seen};
use super::points::Point;
use super::variant::{Stage, Subject, Variant};

use serde_json::Value;

/// Links that die together: each may hold one of the workers' connections, of which some have to be left.
const TOGETHER: usize = 8;

/// The cells of a way, by the link's two deaths.
pub struct Matrix {
    stage: Stage,
    effects: [Vec<Effect>; 2],
    /// Effect and point of those to go through.
    cells: [Vec<(usize, Point)>; 2],
}

/// One effect and what became of its cells.
pub struct Row {
    pub way: &'static str,
    pub undoing: bool,
    pub effect: Effect,
    pub cells: HashMap<Point, Result<(), String>>,
}

impl Matrix {
    /// All cells of a way, from a run without faults.
    pub async fn of(variant: &'static Variant) -> Self {
        let mut stage = variant.stage().await;
        let effects = undisturbed(&mut stage).await;
        let cells = effects.each_ref().map(|effects| cells(effects));
        Self {
            stage,
            effects,
            cells,
        }
    }

    /// Those of effects with this part in their names.
    pub fn only(mut self, part: &str) -> Self {
        for (cells, effects) in zip(&mut self.cells, &self.effects) {
            cells.retain(|(effect, _)| effects[*effect].name.contains(part));
        }
        self
    }

    /// One in so many of them, at random.
    pub fn draw(mut self, seed: u64, one_in: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        for cells in &mut self.cells {
            random.shuffle(cells);
            cells.truncate(cells.len().div_ceil(one_in));
            cells.sort_by_key(|(effect, _)| *effect);
        }
        self
    }

    /// Goes through them; every effect's row then.
    pub async fn run(mut self) -> Vec<Row> {
        let mut rows = self.rows();
        let [making, taking] = &self.cells;
        let count = making.len().max(taking.len());
        for from in (0..count).step_by(TOGETHER) {
            let some = from..count.min(from + TOGETHER);
            let deaths: Vec<Deaths> = some
                .clone()
                .map(|index| [self.cell(0, index), self.cell(1, index)])
                .collect();
            let verdicts = batch::run(&mut self.stage, &deaths).await;
            for (index, [made, gone]) in zip(some, verdicts) {
                for (phase, verdict) in [made, gone].into_iter().enumerate() {
                    let Some((effect, point)) = self.cells[phase].get(index) else {
                        continue;
                    };
                    let row = effect + if phase == 1 { self.effects[0].len() } else { 0 };
                    rows[row].cells.insert(*point, verdict);
                }
            }
            for failure in rows.iter().flat_map(Row::failures) {
                eprintln!("FAILED {failure}");
            }
            let failed: usize = rows.iter().map(|row| row.failures().len()).sum();
            eprintln!(
                "{}: {} of {count} deaths twice, {failed} failed",
                self.stage.variant.name,
                count.min(from + TOGETHER)
            );
        }
        rows
    }

    fn cell(&self, phase: usize, index: usize) -> Option<Cell> {
        let (effect, point) = *self.cells[phase].get(index)?;
        let effect = self.effects[phase][effect].clone();
        Some(Cell { effect, point })
    }

    fn rows(&self) -> Vec<Row> {
        let phases = zip([false, true], &self.effects);
        let row = |undoing, effect: &Effect| Row {
            way: self.stage.variant.name,
            undoing,
            effect: effect.clone(),
            cells: HashMap::new(),
        };
        phases
            .flat_map(|(undoing, effects)| effects.iter().map(move |effect| row(undoing, effect)))
            .collect()
    }
}

fn cells(effects: &[Effect]) -> Vec<(usize, Point)> {
    let mut cells = Vec::new();
    for (index, effect) in effects.iter().enumerate() {
        let there = Point::ALL.into_iter().filter(|point| effect.has(*point));
        cells.extend(there.map(|point| (index, point)));
    }
    cells
}

/// What a link writes when nothing is in its way: while it is made, while it is taken back.
pub async fn undisturbed(stage: &mut Stage) -> [Vec<Effect>; 2] {
    let subject = &stage.subjects(1).await[0];
    let before = stage.world.sandbox.calls().len();
    let id = stage.world.client.link(subject.request.clone()).await;
    let begun = Begun::of(id);
    begun.let_on(stage);
    let link = subject.go_on(stage, &begun, || false).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let made = seen(stage, subject, &begun, before, false).await;
    let before = stage.world.sandbox.calls().len();
    let gone = stage.world.client.unlink(&begun.id, "").await;
    assert_eq!(gone["status"], "unlinked", "{gone:#}");
    [made, seen(stage, subject, &begun, before, true).await]
}

async fn seen(
    stage: &Stage,
    subject: &Subject,
    begun: &Begun,
    before: usize,
    undoing: bool,
) -> Vec<Effect> {
    let all = stage.world.sandbox.calls();
    let earlier: Vec<u64> = all[..before].iter().map(|call| call.number).collect();
    let mut calls = subject.way.calls(&stage.world);
    calls.retain(|call| !earlier.contains(&call.number));
    calls.sort_by(|a, b| a.started_ms.total_cmp(&b.started_ms));
    let path = format!("/audit?link={}&limit=100", begun.id);
    let audit = stage.world.client.get(&path).await.expect(200);
    let mut audit: Vec<Value> = audit.body["entries"].as_array().expect("entries").clone();
    audit.reverse();
    let seen = Seen {
        calls: &calls,
        log: &stage.holds.log(),
        audit: &audit,
    };
    seen.effects(undoing)
}

impl Row {
    pub fn has_run(&self) -> bool {
        !self.cells.is_empty()
    }

    /// What went wrong, each with its cell.
    pub fn failures(&self) -> Vec<String> {
        let failed = self.cells.iter().filter_map(|(point, verdict)| {
            let why = verdict.as_ref().err()?;
            Some(format!(
                "{}, {}, {}: {why}",
                self.way,
                self.title(),
                point.title()
            ))
        });
        failed.collect()
    }

    fn title(&self) -> String {
        let phase = if self.undoing { "unlink" } else { "link" };
        let nth = match self.effect.nth {
            1 => String::new(),
            nth => format!(" ({nth})"),
        };
        format!("{phase}: {}{nth}", self.effect.name)
    }

    fn line(&self) -> String {
        let cell = |point| match self.cells.get(&point) {
            Some(Ok(())) => "ok",
            Some(Err(_)) => "FAILED",
            None if !self.effect.has(point) => "–",
            None => "",
        };
        let cells: Vec<_> = Point::ALL.into_iter().map(cell).collect();
        format!(
            "| {} | {} | {} |",
            self.way,
            self.title(),
            cells.join(" | ")
        )
    }
}

/// The table as Markdown, what went wrong, and the totals.
pub fn print(rows: &[Row]) {
    let points: Vec<_> = Point::ALL.iter().map(|point| point.title()).collect();
    println!("| way | effect | {} |", points.join(" | "));
    println!("|{}", "---|".repeat(2 + points.len()));
    let run: Vec<_> = rows.iter().filter(|row| row.has_run()).collect();
    for row in &run {
        println!("{}", row.line());
    }
    let failures: Vec<String> = run.iter().flat_map(|row| row.failures()).collect();
    println!();
    for failure in &failures {
        println!("FAILED {failure}");
    }
    let ways: std::collections::BTreeSet<_> = run.iter().map(|row| row.way).collect();
    let cells: usize = run.iter().map(|row| row.cells.len()).sum();
    println!(
        "{} ways, {} effects, {cells} cells: {} ok, {} failed",
        ways.len(),
        run.len(),
        cells - failures.len(),
        failures.len()
    );
}
