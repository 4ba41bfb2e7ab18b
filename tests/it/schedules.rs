//! Seeded interleavings: links on two workers that are killed and freeze, answers that are lost, callers that change their mind.
//!
//! A seed decides what goes wrong with its link and what its caller does, and when. `./dev schedules` runs ten thousand of them;
//! a failure tells its seed, and `./dev schedules 1 --seed SEED` repeats it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::crowd::{Crowd, LEASE, Place, gone, live, number, read};
use crate::world::Client;

/// Links at the same time.
const AT_ONCE: usize = 16;
/// How long a link may take, whatever happens to it.
const PATIENCE: Duration = Duration::from_secs(120);

const COUNT_SETTING: &str = "LINKBROKER_SCHEDULES_COUNT";
const SEED_SETTING: &str = "LINKBROKER_SCHEDULES_SEED";
/// How long the sample goes on: seeds that are always the same, and seeds that nobody knows before, in turns.
const SAMPLE: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_in_whatever_order_there_is_one_of_everything_and_nothing_is_left() {
    let random = u64::from(std::process::id()) << 16;
    let seeds = (0..1_000).flat_map(|number| [number, random + number]);
    let done = run(seeds.collect(), Some(Instant::now() + SAMPLE)).await;
    assert!(done > 0);
}

/// Takes minutes: `./dev schedules`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "thousands of schedules; ./dev schedules runs them"]
async fn thousands_of_schedules() {
    let (count, seed) = (number(COUNT_SETTING, 10_000), number(SEED_SETTING, 0));
    let started = Instant::now();
    run((seed..seed + count).collect(), None).await;
    println!(
        "{count} schedules in {:.0} s",
        started.elapsed().as_secs_f64()
    );
}

/// What all links of a run share.
struct Run {
    crowd: Crowd,
    seeds: Vec<u64>,
    next: AtomicUsize,
    done: AtomicU64,
    until: Option<Instant>,
}

/// Plays the stories of these seeds, or of as many as there is time for; how many.
async fn run(seeds: Vec<u64>, until: Option<Instant>) -> u64 {
    let crowd = Crowd::gather().await;
    let run = Arc::new(Run {
        crowd,
        next: AtomicUsize::new(0),
        done: AtomicU64::new(0),
        seeds,
        until,
    });
    let mut blows = Rng::with_seed(run.seeds[0]);
    let lanes = (0..AT_ONCE.min(run.seeds.len())).map(|number| lane(run.clone(), number));
    let failed: Vec<_> = tokio::select! {
        lanes = join_all(lanes) => lanes.into_iter().flatten().collect(),
        never = strike(&run.crowd, &mut blows, AT_ONCE.min(run.seeds.len())) => never,
    };
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    run.done.load(Ordering::Relaxed)
}

/// Two workers, of which now and then one is killed or freezes.
async fn strike(crowd: &Crowd, rng: &mut Rng, links: usize) -> Vec<String> {
    let mut workers = [crowd.worker(), crowd.worker()];
    let recorder = &crowd.world.sandbox.world().recorder;
    loop {
        // A link that is made and taken back calls some forty times, and dies once on the way or so.
        let next = recorder.count() + rng.usize(8..30) * links;
        while recorder.count() < next {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let which = rng.usize(..2);
        match rng.u8(..4) {
            0 => workers[which].freeze(LEASE.mul_f64(1.3)),
            _ => workers[which] = crowd.worker(),
        }
    }
}

/// One place, where one seed's link comes after the other; what was found.
async fn lane(run: Arc<Run>, number: usize) -> Option<String> {
    let tenant = format!("tenant-{number}");
    let place = Place::make(&run.crowd.world, &tenant, &format!("docs-{number}")).await;
    let mut db = run.crowd.world.database.connection().await;
    loop {
        if run.until.is_some_and(|until| Instant::now() > until) {
            return None;
        }
        let next = run.next.fetch_add(1, Ordering::Relaxed);
        let seed = *run.seeds.get(next)?;
        let story = Story::of(seed);
        let told = tokio::time::timeout(PATIENCE, story.play(&run.crowd, &place, &mut db)).await;
        let told = match told {
            Ok(told) => told,
            Err(_) => Err(format!(
                "it comes to no end: {}",
                story.stands(&place.client).await
            )),
        };
        if let Err(why) = told {
            return Some(format!(
                "seed {seed}: {why}\n  the same again: ./dev schedules 1 --seed {seed}"
            ));
        }
        let done = run.done.fetch_add(1, Ordering::Relaxed) + 1;
        if done % 500 == 0 {
            println!("{done} schedules");
        }
    }
}

/// What a seed decides.
#[derive(Debug)]
struct Story {
    site: String,
    /// Upstream, number of the call, fault.
    faults: Vec<(&'static str, u64, Value)>,
    /// The caller takes the link back once it has this version.
    takes_back_at: Option<u64>,
    /// Whether it cancels rather than unlinks.
    cancels: bool,
    verify: &'static str,
}

impl Story {
    fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let faults = (0..rng.usize(..5)).map(|_| {
            let upstream = ["netlify", "github"][rng.usize(..2)];
            let fault = match rng.u8(..7) {
                0..3 => json!("lost_answer"),
                3 => json!("reset"),
                4 => json!({"status": 503, "body": "down"}),
                5 => json!("half_body"),
                _ => json!({"late_ms": 40}),
            };
            (upstream, rng.u64(1..14), fault)
        });
        let faults = faults.collect();
        Self {
            site: format!("site-{seed}"),
            faults,
            takes_back_at: (rng.u8(..3) == 0).then(|| rng.u64(1..12)),
            cancels: rng.bool(),
            verify: ["push", "build"][rng.usize(..2)],
        }
    }

    /// Where its link stands, for people.
    async fn stands(&self, client: &Client) -> String {
        let links = client.glance(&format!("/links?site={}", self.site)).await;
        let link = &links["links"][0];
        let steps = link["steps"].as_array().cloned().unwrap_or_default();
        let step = |it: &Value| {
            format!(
                "{} {} {} {}",
                it["name"], it["state"], it["attempts"], it["reason"]
            )
        };
        let steps: Vec<_> = steps.iter().map(step).collect();
        format!("{} {} {steps:#?}", link["status"], link["version"])
    }

    async fn play(
        &self,
        crowd: &Crowd,
        place: &Place,
        db: &mut PgConnection,
    ) -> Result<(), String> {
        for (upstream, nth, fault) in &self.faults {
            place.disturb(&crowd.world, upstream, *nth, fault);
        }
        let mut request = place.request(&self.site);
        request["verify"] = json!(self.verify);
        let id = place.client.link(request).await;
        if self.is_taken_back_early(&place.client, &id).await {
            place.calm(&crowd.world);
            gone(&place.client, &id).await?;
        } else {
            live(&place.client, &id).await?;
            self.assert_one_of_each(crowd, place, db).await?;
            place.calm(&crowd.world);
            gone(&place.client, &id).await?;
        }
        self.assert_nothing_left(crowd, place, db).await
    }

    /// Waits for the caller's moment, and takes the link back when it comes.
    async fn is_taken_back_early(&self, client: &Client, id: &str) -> bool {
        let Some(version) = self.takes_back_at else {
            return false;
        };
        let mut link = read(client, id, None).await;
        while link["version"].as_u64() < Some(version) {
            if link.get("poll_after_ms").is_none() {
                return false;
            }
            link = read(client, id, link["version"].as_u64()).await;
        }
        let path = match self.cancels {
            true => format!("/links/{id}/cancel"),
            false => format!("/links/{id}"),
        };
        let answer = match self.cancels {
            true => client.send(reqwest::Method::POST, &path, |it| it).await,
            false => client.delete(&path).await,
        };
        matches!(answer.status, 200 | 202)
    }

    async fn assert_one_of_each(
        &self,
        crowd: &Crowd,
        place: &Place,
        db: &mut PgConnection,
    ) -> Result<(), String> {
        let there = place.at_vendors(&crowd.world, std::slice::from_ref(&self.site));
        let ledger = place.in_ledger(db).await;
        for kind in ["installed_key", "webhook", "site"] {
            let of = |all: &std::collections::BTreeSet<(String, String)>| {
                let ids: Vec<_> = all
                    .iter()
                    .filter(|(known, _)| known == kind)
                    .cloned()
                    .collect();
                ids
            };
            if of(&there).len() != 1 || of(&there) != of(&ledger) {
                return Err(format!(
                    "{kind}: {:?} at the vendors, {:?} in the ledger",
                    of(&there),
                    of(&ledger)
                ));
            }
        }
        match place.first_builds(&crowd.world, &self.site) {
            1 => Ok(()),
            more => Err(format!("{more} first builds")),
        }
    }

    /// All that stays is stock, and the ledger knows it.
    async fn assert_nothing_left(
        &self,
        crowd: &Crowd,
        place: &Place,
        db: &mut PgConnection,
    ) -> Result<(), String> {
        let there = place.at_vendors(&crowd.world, std::slice::from_ref(&self.site));
        let ledger = place.in_ledger(db).await;
        let left: Vec<_> = there.difference(&ledger).collect();
        let gone: Vec<_> = ledger.difference(&there).collect();
        let other = |(kind, _): &&(String, String)| kind != "deploy_key";
        let stays = there.iter().any(|it| other(&it));
        match left.is_empty() && gone.is_empty() && !stays {
            true => Ok(()),
            false => Err(format!(
                "left at the vendors: {there:?}; in the ledger: {ledger:?}"
            )),
        }
    }
}
