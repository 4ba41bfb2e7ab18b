//! Links of several tenants come and go on one repository, some at the same moment, while calls fail and workers die: nobody's
//! link is broken by a neighbour's end, and nothing is left when all are gone.
//!
//! `./dev sequences` plays a thousand; a failure tells its seed, and `./dev sequences 1 --seed SEED` plays it again.

use std::collections::BTreeMap;

use fastrand::Rng;
use futures_util::future::try_join_all;
use sqlx::PgConnection;

use crate::crowd::{
    Armed, Asked, Crowd, News, Objects, Phase, Place, Played, Struck, Tally, Trouble, at_rest,
    gone, link, live, play,
};

/// Repositories on which sequences are played at the same time.
const AT_ONCE: usize = 10;
/// Tenants on one repository.
const TENANTS: usize = 3;
/// Moments of one sequence, at each of which one to three links come or go.
const MOMENTS: usize = 5;
const COMMAND: &str = "sequences";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_on_a_repository_come_and_go_and_break_nothing() {
    run(Asked::sample(COMMAND)).await;
}

/// Takes minutes: `./dev sequences`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a thousand sequences: ./dev sequences"]
async fn a_thousand_sequences() {
    run(Asked::of_command(COMMAND, 1_000)).await;
}

async fn run(asked: Asked) {
    let Played {
        crowd,
        tally,
        lanes,
    } = play(
        asked,
        Crowd::gather(News::ByPatrols).await,
        AT_ONCE,
        Lane::make,
        async |crowd, tally, lane, seed| lane.sequence(crowd, seed, tally).await,
    )
    .await;
    crowd.sweep_all(&tally).await;
    for lane in lanes {
        lane.assert_nothing_at_all(&crowd);
    }
}

/// A repository and its tenants.
struct Lane {
    places: Vec<Place>,
    /// One for each link that comes or goes at the same moment.
    owners: Vec<PgConnection>,
}

/// A link that is there.
#[derive(Debug, Clone)]
struct Known {
    /// Its tenant's place.
    of: usize,
    id: String,
}

/// What happens to one link.
struct Act {
    of: usize,
    site: String,
    /// The link that goes; none when one comes.
    goes: Option<String>,
    troubles: Vec<Trouble>,
}

/// By site.
type Links = BTreeMap<String, Known>;

impl Lane {
    async fn make(crowd: &Crowd, number: usize) -> Self {
        let (mut places, mut owners) = (Vec::new(), Vec::new());
        for tenant in 0..TENANTS {
            let tenant = format!("tenant-{number}-{tenant}");
            places.push(Place::make(&crowd.world, &tenant, &format!("docs-{number}")).await);
            owners.push(crowd.world.database.owner().await);
        }
        Self { places, owners }
    }

    async fn sequence(&mut self, crowd: &Crowd, seed: u64, tally: &Tally) -> Result<(), String> {
        let (mut rng, mut links) = (Rng::with_seed(seed), Links::new());
        for moment in 0..MOMENTS {
            let acts = self.draw(&mut rng, &links, &format!("site-{seed}-{moment}"));
            self.act(crowd, acts, &mut links, tally).await?;
            self.neighbours_are_whole(crowd, &links).await?;
        }
        let (world, repository) = (&crowd.world, &self.places[0]);
        let sha = repository.push(world, &format!("Push of {seed}")).await;
        for site in links.keys() {
            repository.built(world, site, &sha).await?;
            tally.count("pushes built");
        }
        while !links.is_empty() {
            let last = links.iter().take(self.owners.len());
            let last = last.map(|(site, link)| Act::goes(site, link)).collect();
            self.act(crowd, last, &mut links, tally).await?;
        }
        self.nothing_is_left(crowd, tally).await
    }

    fn draw(&self, rng: &mut Rng, links: &Links, site: &str) -> Vec<Act> {
        let mut there: Vec<_> = links.iter().collect();
        rng.shuffle(&mut there);
        let mut acts = Vec::new();
        for number in 0..rng.usize(1..=self.owners.len()) {
            let goes = there.pop().filter(|_| rng.bool());
            let (mut act, phase) = match goes {
                Some((site, link)) => (Act::goes(site, link), Phase::Unmaking),
                None => {
                    let (of, site) = (rng.usize(..TENANTS), format!("{site}-{number}"));
                    (Act::comes(site, of), Phase::Making)
                }
            };
            act.troubles
                .extend(rng.bool().then(|| Trouble::draw(rng, phase)));
            acts.push(act);
        }
        acts
    }

    /// Lets links come and go at the same moment.
    async fn act(
        &mut self,
        crowd: &Crowd,
        acts: Vec<Act>,
        links: &mut Links,
        tally: &Tally,
    ) -> Result<(), String> {
        let places = &self.places;
        let acts = acts.iter().zip(&mut self.owners).map(async |(act, owner)| {
            let struck = Struck {
                crowd,
                owner,
                tally,
            };
            let id = act.play(&places[act.of], struck).await?;
            Ok::<_, String>((act.site.clone(), act.of, id))
        });
        for (site, of, came) in try_join_all(acts).await? {
            match came {
                Some(id) => links.insert(site, Known { of, id }),
                None => links.remove(&site),
            };
        }
        places.iter().for_each(|place| place.calm(&crowd.world));
        Ok(())
    }

    async fn neighbours_are_whole(&self, crowd: &Crowd, links: &Links) -> Result<(), String> {
        for (site, Known { of, id }) in links {
            let place = &self.places[*of];
            let link = at_rest(&place.client, id).await;
            if link["status"] != "live" || !place.can_clone(&crowd.world, site) {
                return Err(format!("a neighbour is broken: {link:#}"));
            }
        }
        let there = self.places[0].at_vendors(&crowd.world);
        let count = |kind| there.iter().filter(|it| it.0 == kind).count();
        let (webhooks, keys) = (count("webhook"), count("installed_key"));
        // The last two may have left the webhook to one another: then it waits for the sweep, or for the next link.
        match keys == links.len() && (webhooks == 1 || links.is_empty() && webhooks < 2) {
            true => Ok(()),
            false => Err(format!(
                "{webhooks} webhooks and {keys} keys for {} links",
                links.len()
            )),
        }
    }

    /// Of what links leave to one another the next sweep takes care.
    async fn nothing_is_left(&self, crowd: &Crowd, tally: &Tally) -> Result<(), String> {
        if self.left(crowd) > 0 {
            tally.count("sequences that left something to the sweep");
            crowd.sweep(tally).await;
        }
        match self.left(crowd) {
            0 => Ok(()),
            left => Err(format!("{left} objects are left after the sweep")),
        }
    }

    /// Objects but deploy keys: these are stock.
    fn left(&self, crowd: &Crowd) -> usize {
        let of = |place: &Place| place.at_vendors(&crowd.world);
        let all: Objects = self.places.iter().flat_map(of).collect();
        all.iter().filter(|it| it.0 != "deploy_key").count()
    }

    fn assert_nothing_at_all(&self, crowd: &Crowd) {
        for place in &self.places {
            let left = place.at_vendors(&crowd.world);
            assert!(left.is_empty(), "{}: {left:?}", place.tenant);
        }
    }
}

impl Act {
    const fn comes(site: String, of: usize) -> Self {
        Self {
            of,
            site,
            goes: None,
            troubles: Vec::new(),
        }
    }

    fn goes(site: &str, link: &Known) -> Self {
        Self {
            goes: Some(link.id.clone()),
            ..Self::comes(site.to_owned(), link.of)
        }
    }

    /// Brings it to its end; the id of a link that has come.
    async fn play(&self, place: &Place, mut struck: Struck<'_>) -> Result<Option<String>, String> {
        let armed = Armed::new(struck.crowd, place, &self.troubles);
        match &self.goes {
            Some(id) => {
                let gone = gone(&place.client, id);
                armed.during(&mut struck, id, gone).await?;
                struck.tally.count("links that went");
                Ok(None)
            }
            None => {
                let id = link(&place.client, place.request(&self.site)).await?;
                let live = live(&place.client, &id);
                armed.during(&mut struck, &id, live).await?;
                struck.tally.count("links that came");
                Ok(Some(id))
            }
        }
    }
}
