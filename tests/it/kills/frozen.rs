//! A process that stands still past its lease (a paused machine, a long swap) while another takes over: when it wakes, it
//! writes nothing and causes no second effect.

use std::iter::zip;

use linkbroker_sandbox::recorder::Call;
use nix::sys::signal::Signal;
use serde_json::{Map, Value};

use super::batch::{self, Cell, Deaths};
use super::effects::Effect;
use super::matrix;
use super::objects::{After, Totals};
use super::points::{Freed, Point};
use super::variant::{Stage, VARIANTS};
use super::{SEED_SETTING, seed};
use crate::world::{Server, until};

/// Short, because the other process has to wait for it to lapse.
const LEASE_SECONDS: u32 = 10;
/// Links that are frozen together.
const TOGETHER: usize = 8;

/// Where a frozen process is about to do something, or does not know that it is done.
const POINTS: [Point; 3] = [Point::AfterIntent, Point::HalfSent, Point::AnswerUnread];

/// What a link's worker writes. The audit is not among them: what a process has sent was sent, whoever holds the lease by now.
const TABLES: [&str; 5] = ["links", "step_runs", "events", "resources", "resource_uses"];

async fn wakes_too_late(way: &str) {
    let variant = VARIANTS.iter().find(|variant| variant.name == way);
    let variant = variant.expect("a way of this name");
    let effects = {
        let mut stage = variant.stage().await;
        let [effects, _] = matrix::undisturbed(&mut stage).await;
        effects
    };
    let mut stage = variant.stage_with_lease(LEASE_SECONDS).await;
    let deaths = drawn(&effects);
    let before = Totals::of(&stage).await;
    let subjects = stage.subjects(deaths.len()).await;
    let begun = batch::begin_all(&stage, &subjects, &deaths).await;
    let begun = begun.expect("every link stands at its point");

    let mut frozen = stage.succeed().await;
    let ended = batch::ended(&stage, &subjects, &begun, &before, After::Linking).await;
    assert_all_well(&deaths, ended);
    let (rows, calls) = (rows(&stage).await, stage.world.sandbox.calls().len());

    stage.world.sandbox.world().faults.clear();
    stage.holds.free(Freed::ToGoOn);
    frozen.signal(Signal::SIGCONT);
    let awake = format!("{}/readyz", frozen.address);
    until("the frozen process to be awake", async || {
        let answer = reqwest::get(&awake).await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    // It ends once everything that it had in hand has come to its end.
    assert!(frozen.stop().await.success());

    let sent = stage.world.sandbox.calls().split_off(calls);
    let writes: Vec<&Call> = sent.iter().filter(|call| is_new_write(call)).collect();
    assert!(writes.is_empty(), "the woken process wrote: {writes:#?}");
    assert_eq!(self::rows(&stage).await, rows);
    let totals = before.check(&stage, subjects.len(), After::Linking).await;
    assert_eq!(totals, Ok(()));

    let taken_back = batch::take_back(&stage, &subjects, &begun, &before).await;
    assert_all_well(&deaths, taken_back);
}

/// Another selection each day.
fn drawn(effects: &[Effect]) -> Vec<Deaths> {
    let cells = effects
        .iter()
        .flat_map(|effect| POINTS.map(|point| (effect, point)));
    let mut cells: Vec<_> = cells.filter(|(effect, point)| effect.has(*point)).collect();
    let seed = seed(SEED_SETTING);
    println!("drawn with {SEED_SETTING}={seed}");
    fastrand::Rng::with_seed(seed).shuffle(&mut cells);
    let death = |(effect, point): (&Effect, Point)| {
        let effect = effect.clone();
        [Some(Cell { effect, point }), None]
    };
    cells.into_iter().take(TOGETHER).map(death).collect()
}

/// Those that stood still are in the record only now.
fn is_new_write(call: &Call) -> bool {
    call.method != "GET" && call.fault.is_none()
}

fn assert_all_well(deaths: &[Deaths], results: Vec<Result<(), String>>) {
    let failed: Vec<_> = zip(deaths, results)
        .filter_map(|([cell, _], result)| {
            let cell = cell.as_ref()?;
            Some(format!(
                "{}, {}: {}",
                cell.effect.name,
                cell.point.title(),
                result.err()?
            ))
        })
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

async fn rows(stage: &Stage) -> Map<String, Value> {
    let mut rows = stage.world.database.dump().await;
    rows.retain(|table, _| TABLES.contains(&table.as_str()));
    rows
}

impl Stage {
    /// Freezes the server and starts another; the frozen one.
    async fn succeed(&mut self) -> Server {
        self.world.server.signal(Signal::SIGSTOP);
        let next = self.world.replica().await;
        self.world.client.base.clone_from(&next.address);
        std::mem::replace(&mut self.world.server, next)
    }
}

macro_rules! frozen_with {
    ($($way:ident)*) => {
        mod a_process_that_wakes_after_another_took_over_writes_nothing {
            $(#[tokio::test]
            async fn $way() {
                super::wakes_too_late(stringify!($way)).await;
            })*
        }
    };
}

frozen_with! { github gitlab }
