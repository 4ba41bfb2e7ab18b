//! How soon a link goes on whose process is gone: from the moment of the harm until somebody makes the link's next call.
//!
//! Figures, not bounds: a busy machine is slow. `./dev replicas` prints them, and docs/benchmarks.md has them.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use crate::world::{Cluster, Setup, World, docs, text, unix_ms, until};

/// Set by `./dev replicas`.
const ROUNDS_SETTING: &str = "LINKBROKER_RECOVERY_ROUNDS";
/// Nothing takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// What happens to the process that has the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    /// `kill -9`.
    Dies,
    /// It stands still, as when its host vanishes: its connections stay open.
    Freezes,
}

/// Milliseconds.
struct Times(Vec<f64>);

impl Times {
    fn print(mut self, what: &str) {
        self.0.sort_by(f64::total_cmp);
        let (least, most) = (self.0.first(), self.0.last());
        let middle = self.0.get(self.0.len() / 2);
        let [least, middle, most] = [least, middle, most].map(|time| time.expect("a round"));
        println!(
            "{what}: next call after {least:.0} / {middle:.0} / {most:.0} ms (least, median, most of {})",
            self.0.len()
        );
    }
}

/// Brings a link to where its site is attached and the answer is on its way; its id.
async fn in_the_middle(world: &World) -> String {
    let attach = json!({"upstream": "netlify", "method": "PATCH", "path": "/sites/", "fault": "hold_answer"});
    let strikes = world.fault(attach);
    let id = world.client.link(docs()).await;
    until("the link to be in the middle", async || {
        (strikes.count() > 0).then_some(())
    })
    .await;
    id
}

/// How long after this moment the next call began.
async fn next_call(world: &World, moment: f64) -> f64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let calls = world.sandbox.calls();
        let later = calls.iter().map(|call| call.started_ms - moment);
        if let Some(time) = later.filter(|time| *time > 0.0).reduce(f64::min) {
            return time;
        }
        assert!(Instant::now() < deadline, "nobody goes on");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Once it goes on, it is made and taken back as any other.
async fn ends_well(world: &World, id: &str) {
    world.sandbox.world().faults.clear();
    for (status, undo) in [("live", false), ("unlinked", true)] {
        if undo {
            world
                .client
                .delete(&format!("/links/{id}"))
                .await
                .expect(202);
        }
        let link = world.client.settled_at_last(id).await;
        assert_eq!(text(&link["status"]), status, "{link:#}");
    }
}

async fn after(harm: Harm, rounds: usize) -> Times {
    let mut world = World::usual().await;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let id = in_the_middle(&world).await;
        let next = world.replica().await;
        let moment = unix_ms();
        match harm {
            Harm::Dies => world.server.kill(),
            Harm::Freezes => world.server.freeze(),
        }
        times.push(next_call(&world, moment).await);
        world.client.base.clone_from(&next.address);
        // One that was frozen is killed with the value.
        world.server = next;
        ends_well(&world, &id).await;
    }
    Times(times)
}

/// Postgres goes away and comes back; counted from when it answers again.
async fn after_postgres_came_back(rounds: usize) -> Times {
    let mut world = World::with(Setup {
        cluster: Some(Cluster::start().await),
        ..Setup::default()
    })
    .await;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let id = in_the_middle(&world).await;
        let postgres = world.cluster.as_mut().expect("a Postgres of its own");
        postgres.crash();
        world.sandbox.world().faults.clear();
        postgres.start_again().await;
        times.push(next_call(&world, unix_ms()).await);
        let ready = async || (world.client.get("/readyz").await.status == 204).then_some(());
        until("the service to be ready", ready).await;
        ends_well(&world, &id).await;
    }
    Times(times)
}

#[tokio::test]
async fn another_process_goes_on_with_the_link_of_one_that_died() {
    after(Harm::Dies, 1).await.print("kill -9");
}

#[tokio::test]
#[ignore = "takes minutes: ./dev replicas"]
async fn how_soon_links_go_on() {
    let rounds = std::env::var(ROUNDS_SETTING).unwrap_or_default();
    let rounds = rounds.parse().unwrap_or(20);
    after(Harm::Dies, rounds).await.print("kill -9");
    after_postgres_came_back(rounds)
        .await
        .print("Postgres came back");
    after(Harm::Freezes, rounds)
        .await
        .print("a process that stands still");
}
