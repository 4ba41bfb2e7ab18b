//! Seeded schedules: links on three workers that are killed and freeze, answers that are lost, callers that change their mind.
//!
//! A seed decides what goes wrong with its link and what its caller does, and when. `./dev schedules` plays ten thousand of them;
//! a failure tells its seed, and `./dev schedules 1 --seed SEED` plays it again.

use fastrand::Rng;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use sqlx::PgConnection;

use crate::crowd::{
    Armed, Asked, Crowd, News, Objects, Phase, Place, Played, Struck, Tally, Trouble, at_rest,
    gone, link, live, over, play, read, stands,
};
use crate::world::text;

/// Links at the same time.
const AT_ONCE: usize = 160;
const COMMAND: &str = "schedules";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_in_whatever_order_there_is_one_of_everything_and_nothing_is_left() {
    run(Asked::sample(COMMAND)).await;
}

/// Takes minutes: `./dev schedules`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "thousands of schedules: ./dev schedules"]
async fn thousands_of_schedules() {
    run(Asked::of_command(COMMAND, 10_000)).await;
}

async fn run(asked: Asked) {
    let Played {
        crowd,
        tally,
        mut lanes,
    } = play(
        asked,
        Crowd::gather(News::ByPatrols).await,
        AT_ONCE,
        Lane::make,
        async |crowd, tally, lane, seed| {
            let story = Story::of(seed);
            let told = story.play(crowd, lane, tally).await;
            told.map_err(|why| format!("{why}\n{story:#?}"))
        },
    )
    .await;
    assert_nothing_doubled(&crowd, lanes.len(), &tally);
    crowd.sweep_all(&tally).await;
    join_all(lanes.iter_mut().map(|lane| lane.end(&crowd))).await;
}

/// A tenant with two repositories: one for links that are alone on theirs, one with a neighbour that stays.
struct Lane {
    alone: Place,
    shared: Place,
    neighbour: String,
    neighbours_site: String,
    db: PgConnection,
    owner: PgConnection,
}

impl Lane {
    async fn make(crowd: &Crowd, number: usize) -> Self {
        let tenant = format!("tenant-{number}");
        let alone = Place::make(&crowd.world, &tenant, &format!("alone-{number}")).await;
        let shared = Place::make(&crowd.world, &tenant, &format!("shared-{number}")).await;
        let neighbours_site = format!("neighbour-{number}");
        let neighbour = shared.client.link(shared.request(&neighbours_site)).await;
        live(&shared.client, &neighbour).await.expect("a neighbour");
        Self {
            alone,
            shared,
            neighbour,
            neighbours_site,
            db: crowd.world.database.connection().await,
            owner: crowd.world.database.owner().await,
        }
    }

    /// The neighbour has everything that it had, pushes build it, and when it goes too nothing is left.
    async fn end(&mut self, crowd: &Crowd) {
        let world = &crowd.world;
        let sha = self.shared.push(world, "For the neighbour").await;
        let built = self.shared.built(world, &self.neighbours_site, &sha).await;
        built.expect("a neighbour that pushes build");
        let gone = gone(&self.shared.client, &self.neighbour).await;
        gone.expect("the neighbour to go");
        for place in [&self.alone, &self.shared] {
            let left = place.at_vendors(world);
            assert_eq!(left, Objects::new(), "{}", place.tenant);
            let noted = place.in_ledger(&mut self.db).await;
            assert_eq!(noted, Objects::new(), "{}", place.tenant);
        }
    }
}

/// Over the whole run, objects that came and went: no more of a kind than links that could have made one.
fn assert_nothing_doubled(crowd: &Crowd, neighbours: usize, tally: &Tally) {
    let most = tally.of(LINKS) + neighbours as u64;
    for kind in ["sites", "installed_keys", "webhooks"] {
        let (made, _) = crowd.world.count(kind);
        tally.add(&format!("made: {kind}"), made as usize);
        assert!(made <= most, "{made} {kind} were made for {most} links");
    }
}

const LINKS: &str = "links";

/// What a seed decides.
#[derive(Debug)]
struct Story {
    site: String,
    verify: &'static str,
    has_neighbour: bool,
    /// While the link is made, and while it is taken back.
    troubles: [Vec<Trouble>; 2],
    change_of_mind: Option<ChangeOfMind>,
}

/// The caller takes the link back before it is live.
#[derive(Debug)]
struct ChangeOfMind {
    /// Once the link has this version.
    at: u64,
    cancels: bool,
}

impl Story {
    fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut troubles = |phase, most| {
            let count = rng.usize(..=most);
            let drawn = (0..count).map(|_| Trouble::draw(&mut rng, phase));
            drawn.collect()
        };
        let troubles = [troubles(Phase::Making, 4), troubles(Phase::Unmaking, 2)];
        let changes = rng.u8(..3) == 0;
        Self {
            site: format!("site-{seed}"),
            verify: ["push", "build"][rng.usize(..2)],
            has_neighbour: rng.u8(..4) == 0,
            change_of_mind: changes.then(|| ChangeOfMind {
                at: rng.u64(1..12),
                cancels: rng.bool(),
            }),
            troubles,
        }
    }

    async fn play(&self, crowd: &Crowd, lane: &mut Lane, tally: &Tally) -> Result<(), String> {
        let place = match self.has_neighbour {
            true => &lane.shared,
            false => &lane.alone,
        };
        let before = place.at_vendors(&crowd.world);
        let (making, unmaking) = (&self.troubles[0], &self.troubles[1]);
        let armed = Armed::new(crowd, place, making);
        let mut request = place.request(&self.site);
        request["verify"] = json!(self.verify);
        let id = link(&place.client, request).await?;
        tally.count(LINKS);
        let mut struck = Struck {
            owner: &mut lane.owner,
            crowd,
            tally,
        };
        let made = self.make(place, &id, tally);
        let is_live = armed.during(&mut struck, &id, made).await?;
        place.calm(&crowd.world);
        let failed = async |what: &str, why: String| {
            let stands = stands(&crowd.world, &place.client, &id).await;
            Err(format!("{id}, {what}: {why}\n{stands}"))
        };
        if is_live {
            let one = self.one_of_each(crowd, place, &before, &mut lane.db).await;
            if let Err(why) = one {
                return failed("live", why).await;
            }
        }
        let armed = Armed::new(crowd, place, unmaking);
        let unmade = gone(&place.client, &id);
        armed.during(&mut struck, &id, unmade).await?;
        place.calm(&crowd.world);
        let left = Self::nothing_left(crowd, place, &before, &mut lane.db).await;
        match left {
            Ok(()) => Ok(()),
            Err(why) => failed("over", why).await,
        }
    }

    /// Brings the link to its end; whether it is live.
    async fn make(&self, place: &Place, id: &str, tally: &Tally) -> Result<bool, String> {
        if self.is_taken_back(place, id).await {
            let link = at_rest(&place.client, id).await;
            over(&link)?;
            tally.count(&format!("links: {} early", text(&link["status"])));
            return Ok(false);
        }
        live(&place.client, id).await?;
        tally.count("links: live");
        Ok(true)
    }

    /// Waits for the caller's moment, and takes the link back when it comes.
    async fn is_taken_back(&self, place: &Place, id: &str) -> bool {
        let Some(ChangeOfMind { at, cancels }) = self.change_of_mind else {
            return false;
        };
        let client = &place.client;
        let mut link = read(client, id, None).await;
        while link["version"].as_u64() < Some(at) {
            if link.get("poll_after_ms").is_none() {
                return false;
            }
            link = read(client, id, link["version"].as_u64()).await;
        }
        let answer = match cancels {
            true => {
                let path = format!("/links/{id}/cancel");
                client.send(Method::POST, &path, |it| it).await
            }
            false => client.delete(&format!("/links/{id}")).await,
        };
        // Too late to cancel, when it is live by now.
        matches!(answer.status, 200 | 202)
    }

    /// Of each kind there is one more than before, which the ledger knows; the webhook may be the neighbour's.
    async fn one_of_each(
        &self,
        crowd: &Crowd,
        place: &Place,
        before: &Objects,
        db: &mut PgConnection,
    ) -> Result<(), String> {
        let there = place.at_vendors(&crowd.world);
        let ledger = place.in_ledger(db).await;
        let webhooks = usize::from(!self.has_neighbour);
        for (kind, wanted) in [("installed_key", 1), ("site", 1), ("webhook", webhooks)] {
            let more: Vec<_> = there.difference(before).filter(|it| it.0 == kind).collect();
            let unknown = more.iter().any(|it| !ledger.contains(*it));
            if more.len() != wanted || unknown {
                return Err(format!(
                    "{more:?} at the vendors instead of {wanted} {kind}; in the ledger: {ledger:?}"
                ));
            }
        }
        if !place.can_clone(&crowd.world, &self.site) {
            return Err("the site's key is not on the repository".to_owned());
        }
        match place.first_builds(&crowd.world, &self.site) {
            1 => Ok(()),
            other => Err(format!("{other} first builds")),
        }
    }

    /// What was there before is there, and nothing else: but for stock, and keys of interrupted calls, which wait for the sweep.
    async fn nothing_left(
        crowd: &Crowd,
        place: &Place,
        before: &Objects,
        db: &mut PgConnection,
    ) -> Result<(), String> {
        let there = place.at_vendors(&crowd.world);
        let ledger = place.in_ledger(db).await;
        let but_keys = |all: &Objects| -> Objects {
            let others = all.iter().filter(|it| it.0 != "deploy_key");
            others.cloned().collect()
        };
        let (kept, was) = (but_keys(&there), but_keys(before));
        if kept != was {
            return Err(format!("at the vendors: {kept:?}, before: {was:?}"));
        }
        let unknown = there.difference(&ledger).filter(|it| it.0 == "deploy_key");
        let (unknown, uncertain) = (unknown.count(), place.uncertain_keys(db).await);
        if unknown > uncertain {
            return Err(format!("{unknown} deploy keys that no sweep would find"));
        }
        // The ledger is the tenant's, whose other repository is not looked at here.
        let missing = ledger
            .iter()
            .find(|it| it.0 == "deploy_key" && !there.contains(*it));
        match missing {
            None => Ok(()),
            Some(missing) => Err(format!("{missing:?} in the ledger alone")),
        }
    }
}
