//! Random histories of what callers ask of a link, waited for or not, of pushes and of things that go wrong, against a small model of
//! what callers may expect ([`model`]).
//!
//! `./dev histories` plays five thousand; a failure tells its seed, and `./dev histories 1 --seed SEED` plays it again.

mod model;

use std::time::{Duration, Instant};

use fastrand::Rng;
use model::{Change, Link, Moment, Outside, Verb, may_move, moved_by};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::crowd::{
    Armed, Asked, Crowd, News, Objects, Phase, Place, Struck, Tally, Trouble, at_rest, play, read,
};
use crate::world::{Answer, Client, receipts, text};

/// Deeds in one history.
const LENGTH: usize = 10;
/// Histories at the same time.
const AT_ONCE: usize = 64;
const COMMAND: &str = "histories";
/// How soon a link says what became of a push: when a notification is lost, with the next patrol.
const HEARS_WITHIN: Duration = Duration::from_secs(150);
/// Of what Netlify tells.
const DEPLOY_EVENTS: [&str; 3] = ["deploy_building", "deploy_created", "deploy_failed"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_callers_ask_in_whatever_order_they_are_answered_as_the_model_says() {
    run(Asked::sample(COMMAND)).await;
}

/// Takes minutes: `./dev histories`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "thousands of histories: ./dev histories"]
async fn thousands_of_histories() {
    run(Asked::of_command(COMMAND, 5_000)).await;
}

async fn run(asked: Asked) {
    let history = async |crowd: &Crowd, tally: &Tally, lane: &mut Lane, seed| {
        History::begin(crowd, lane, seed, tally).await?.play().await
    };
    let crowd = Crowd::gather(News::ByNotifications).await;
    play(asked, crowd, AT_ONCE, Lane::make, history).await;
}

/// A tenant on a repository of its own, and somebody who has nothing to do with it.
struct Lane {
    place: Place,
    stranger: Client,
    owner: PgConnection,
    /// Whether the newest commit breaks the build, as an earlier history left it.
    is_broken: bool,
}

impl Lane {
    async fn make(crowd: &Crowd, number: usize) -> Self {
        let tenant = format!("tenant-{number}");
        let place = Place::make(&crowd.world, &tenant, &format!("docs-{number}")).await;
        let scopes = linkbroker::api::caller::Scope::ALL;
        Self {
            stranger: crowd.world.client_of("stranger", scopes).of_many(),
            owner: crowd.world.database.owner().await,
            is_broken: false,
            place,
        }
    }
}

/// One link, and what was asked of it so far.
struct History<'a> {
    crowd: &'a Crowd,
    tally: &'a Tally,
    lane: &'a mut Lane,
    rng: Rng,
    outside: Outside,
    link: Link,
    id: String,
    /// The request, its key, and the answer that it got.
    request: Value,
    key: String,
    first_answer: String,
    /// The newest version that was seen.
    version: u64,
    /// The statuses that were seen in its events, and where these are read on.
    trail: Vec<String>,
    cursor: String,
    /// So much was asked, for people.
    asked: Vec<String>,
    /// Whether calls of a link that nobody waited for may fail.
    is_disturbed: bool,
}

impl<'a> History<'a> {
    /// Makes the outside as it is to be, and asks for the link.
    async fn begin(
        crowd: &'a Crowd,
        lane: &'a mut Lane,
        seed: u64,
        tally: &'a Tally,
    ) -> Result<Self, String> {
        let mut rng = Rng::with_seed(seed);
        let what = rng.u8(..6);
        let outside = Outside {
            refuses_site: what == 0,
            refuses_key: what == 1,
            is_broken: what == 2,
        };
        if lane.is_broken != outside.is_broken {
            lane.push(crowd, outside.is_broken).await;
        }
        lane.set_refusals(crowd, outside);
        let (proves, heals) = (rng.bool(), rng.bool());
        let mut request = lane.place.request(&format!("site-{seed}"));
        request["verify"] = json!(if proves { "push" } else { "build" });
        request["drift"] = json!(if heals { "heal" } else { "report" });
        let key = format!("key-{seed}");
        let answer = create(&lane.place.client, &request, Some(&key)).await;
        if answer.status != 202 {
            return Err(format!(
                "the request was answered {} {}",
                answer.status, answer.text
            ));
        }
        tally.count("links");
        let mut history = Self {
            link: Link::new(proves, heals, outside),
            id: answer.id(),
            version: answer.body["version"].as_u64().unwrap_or_default(),
            first_answer: answer.text,
            trail: vec!["queued".to_owned()],
            cursor: String::new(),
            asked: Vec::new(),
            crowd,
            tally,
            lane,
            rng,
            outside,
            request,
            key,
            is_disturbed: false,
        };
        history.disturb();
        Ok(history)
    }

    /// Some calls fail for a while, so that what is asked meets a link which tries again.
    fn disturb(&mut self) {
        // A look that fails would say nothing of what somebody has changed.
        if !self.is_disturbed && !self.link.is_changed() && self.rng.bool() {
            let trouble = Trouble::lasting(&mut self.rng, Phase::Making);
            Armed::new(self.crowd, &self.lane.place, &[trouble]);
            self.is_disturbed = true;
        }
    }

    async fn play(mut self) -> Result<(), String> {
        let mut told = Ok(());
        for _ in 0..LENGTH {
            told = self.deed().await;
            if told.is_err() {
                break;
            }
        }
        if told.is_ok() {
            told = self.end().await;
        }
        let Err(why) = told else { return Ok(()) };
        let (id, link, outside) = (&self.id, &self.link, self.outside);
        let (builds, asked) = (self.builds().await, &self.asked);
        Err(format!(
            "{id}: {why}\nbuilds: {builds:#?}\nasked: {asked:#?}\n{link:?}\n{outside:?}"
        ))
    }

    /// What the link tells of the site's builds, newest first.
    async fn builds(&self) -> Vec<String> {
        let path = format!("/links/{}/builds", self.id);
        let page = self.lane.place.client.get(&path).await.body;
        let builds = page["builds"].as_array().cloned().unwrap_or_default();
        let told = |it: &Value| format!("{} by {} of {}", it["outcome"], it["cause"], it["title"]);
        builds.iter().map(told).collect()
    }

    async fn deed(&mut self) -> Result<(), String> {
        match self.rng.u8(..17) {
            0..8 => {
                let verb = self.verb();
                // What is given up ends most of a history: not at once.
                if verb == Verb::Unlink && self.rng.u8(..3) > 0 {
                    return Ok(());
                }
                let mut verbs = vec![verb];
                // Some think better of it before anything has come of it.
                if self.rng.u8(..4) == 0 {
                    let next = match self.rng.bool() {
                        true => Verb::Unlink,
                        false => self.verb(),
                    };
                    verbs.push(next);
                }
                let rests = self.rng.bool();
                if rests {
                    self.rests().await?;
                }
                self.ask(&verbs, rests).await
            }
            8..10 => self.push().await,
            10..12 => self.meddle().await,
            12 => self.outside_mends().await,
            13 => self.send_again().await,
            14 => self.ask_for_another().await,
            15 => {
                self.tell_again();
                Ok(())
            }
            _ => self.read().await,
        }
    }

    fn verb(&mut self) -> Verb {
        // What is other than it was is mostly asked about.
        let verbs = match self.link.is_changed() && self.rng.bool() {
            true => &Verb::OF_DRIFT[..],
            false => &Verb::ALL[..],
        };
        verbs[self.rng.usize(..verbs.len())]
    }

    /// Waits until the link comes to rest, while a call may go wrong: it rests where the model says.
    async fn rests(&mut self) -> Result<Value, String> {
        let place = &self.lane.place;
        let may_fail = !self.link.is_changed() && self.rng.u8(..4) == 0;
        let troubles: Vec<_> = may_fail
            .then(|| Trouble::of_call(&mut self.rng, Phase::Unmaking))
            .into_iter()
            .collect();
        let armed = Armed::new(self.crowd, place, &troubles);
        let mut struck = Struck {
            crowd: self.crowd,
            owner: &mut self.lane.owner,
            tally: self.tally,
        };
        let rest = Self::rest(&place.client, &self.id, &self.link);
        let link = armed.during(&mut struck, &self.id, rest).await?;
        place.calm(&self.crowd.world);
        self.is_disturbed = false;
        self.lane.set_refusals(self.crowd, self.outside);
        let drift = link["drift"].as_array().cloned().unwrap_or_default();
        let was_put_back = self.link.is_put_back();
        self.link.rested(!drift.is_empty());
        if self.link.is_whole() && !drift.is_empty() {
            return Err(format!("drift of which nobody knows: {drift:#?}"));
        }
        if was_put_back && link["status"] == "live" {
            let site = text(&link["site"]["name"]);
            self.lane.place.is_as_made(&self.crowd.world, &site)?;
        }
        self.see(&link)?;
        Ok(link)
    }

    /// Waits until the link rests where the model says; at once, if there is nothing of which it has yet to hear.
    async fn rest(client: &Client, id: &str, model: &model::Link) -> Result<Value, String> {
        let started = Instant::now();
        loop {
            let link = at_rest(client, id).await;
            let status = text(&link["status"]);
            if model.rests_at(&status) {
                return Ok(link);
            }
            if !model.may_hear || started.elapsed() > HEARS_WITHIN {
                return Err(format!("it rests at {status}: {:#}", link["diagnosis"]));
            }
            read(client, id, link["version"].as_u64()).await;
        }
    }

    /// A version is never older than one that was seen before.
    fn see(&mut self, link: &Value) -> Result<(), String> {
        let (seen, version) = (self.version, link["version"].as_u64().unwrap_or_default());
        self.version = version;
        match version >= seen {
            true => Ok(()),
            false => Err(format!("version {version} after {seen}")),
        }
    }

    /// Verbs, one after the other without a look between them: each is accepted if it fits, and refused if not.
    async fn ask(&mut self, verbs: &[Verb], rests: bool) -> Result<(), String> {
        self.follow().await?;
        let known = self.trail.len();
        let before = read(&self.lane.place.client, &self.id, None).await;
        self.see(&before)?;
        let mut answers = Vec::new();
        for verb in verbs {
            answers.push((*verb, self.answer_to(*verb).await?));
        }
        // One that is not at rest may have moved on before the verb.
        let mut may_move = !rests || self.link.may_hear;
        if may_move || verbs.len() > 1 {
            self.follow().await?;
        }
        let mut moment = Moment::of(&before);
        for (verb, told) in answers {
            let mut moments = vec![moment.clone()];
            if may_move {
                for status in &self.trail[known..] {
                    let was_live = status == "live" || moments[moments.len() - 1].was_live;
                    moments.push(Moment {
                        status: status.clone(),
                        was_live,
                    });
                }
            }
            let word = if told.is_some() {
                "accepted"
            } else {
                "refused"
            };
            self.asked.push(format!("{verb:?}, {word}: {moments:?}"));
            self.tally.count(&format!("{verb:?} {word}"));
            if !self.link.may_answer(verb, told.is_some(), &moments) {
                return Err(format!("{verb:?} was {word}"));
            }
            let Some(told) = told else { continue };
            self.see(&told)?;
            if !self.link.is_given_up() {
                self.link
                    .accepted(verb, &text(&told["status"]), self.outside);
            }
            moment = Moment::of(&told);
            may_move = true;
        }
        if !rests {
            self.disturb();
        }
        Ok(())
    }

    /// The link as the answer shows it, if the verb was accepted.
    async fn answer_to(&self, verb: Verb) -> Result<Option<Value>, String> {
        let client = &self.lane.place.client;
        let path = format!("/links/{}", self.id);
        let answer = match verb.path() {
            None => client.delete(&path).await,
            Some(verb @ "heal") => {
                client
                    .post(&format!("{path}/{verb}"), json!({"drift": "all"}))
                    .await
            }
            Some(verb) => {
                client
                    .send(Method::POST, &format!("{path}/{verb}"), |it| it)
                    .await
            }
        };
        match (answer.status, answer.code()) {
            (202, _) => Ok(Some(answer.body)),
            (409, "illegal_transition") => Ok(None),
            _ => Err(format!(
                "{verb:?} was answered {} {}",
                answer.status, answer.text
            )),
        }
    }

    /// Reads on in the statuses that the link went through: all along the arrows.
    async fn follow(&mut self) -> Result<(), String> {
        loop {
            let path = format!("/links/{}/events?limit=100{}", self.id, self.cursor);
            let page = self.lane.place.client.get(&path).await.expect(200).body;
            let events = page["events"].as_array().cloned().unwrap_or_default();
            for next in events.iter().flat_map(statuses) {
                let last = self.trail.last().map_or("", String::as_str);
                if last == next {
                    continue;
                }
                if !may_move(last, &next) {
                    return Err(format!("it moved to {next} after {:?}", self.trail));
                }
                self.trail.push(next);
            }
            self.cursor = format!("&cursor={}", text(&page["next_cursor"]));
            if events.len() < 100 {
                return Ok(());
            }
        }
    }

    /// Somebody changes what the link has made, while nothing is under way.
    async fn meddle(&mut self) -> Result<(), String> {
        self.rests().await?;
        if !self.link.is_whole() || self.outside.is_broken {
            return Ok(());
        }
        let change = match self.rng.bool() {
            true => Change::Webhook,
            false => Change::Folder,
        };
        let (world, site) = (&self.crowd.world, text(&self.request["site"]["name"]));
        match change {
            Change::Webhook => self.lane.place.remove_webhooks(world),
            Change::Folder => Place::publish_elsewhere(world, &site),
        }
        self.link.is_meddled_with(change);
        self.asked
            .push(format!("somebody has changed the {change:?}"));
        self.tally.count(&format!("changed by others: {change:?}"));
        Ok(())
    }

    /// Netlify builds a push, and the link says sooner or later how that went.
    async fn push(&mut self) -> Result<(), String> {
        // Of pushes without a webhook nobody hears.
        if self.link.is_changed() {
            return Ok(());
        }
        if self.rng.bool() {
            self.rests().await?;
        }
        self.outside.is_broken = self.rng.bool();
        self.lane.push(self.crowd, self.outside.is_broken).await;
        self.asked
            .push(format!("a push, broken: {}", self.outside.is_broken));
        self.tally.count("pushes");
        self.link.pushed(self.outside);
        Ok(())
    }

    /// Netlify tells once more, or too late, or what is not so, of a build: nothing comes of it.
    fn tell_again(&mut self) {
        let event = DEPLOY_EVENTS[self.rng.usize(..DEPLOY_EVENTS.len())];
        let site = text(&self.request["site"]["name"]);
        let told = Place::tell_again(&self.crowd.world, &site, event);
        self.tally.add("deliveries told again", told);
    }

    /// What stood in the way does so no more.
    async fn outside_mends(&mut self) -> Result<(), String> {
        self.rests().await?;
        self.outside.refuses_site = false;
        self.outside.refuses_key = false;
        self.lane.place.calm(&self.crowd.world);
        self.asked.push("the outside mends".to_owned());
        Ok(())
    }

    /// The same request with the same key gets the same answer, whatever became of the link; another one is refused.
    async fn send_again(&mut self) -> Result<(), String> {
        let client = &self.lane.place.client;
        let again = create(client, &self.request, Some(&self.key)).await;
        let is_replayed = again.header("idempotency-replayed") == Some("true");
        if again.status != 202 || again.text != self.first_answer || !is_replayed {
            return Err(format!("sent again: {} {}", again.status, again.text));
        }
        let mut other = self.request.clone();
        other["branch"] = json!("other");
        let other = create(client, &other, Some(&self.key)).await;
        self.tally.count("requests sent again");
        match (other.status, other.code()) {
            (422, "idempotency_conflict") => Ok(()),
            _ => Err(format!("another request: {} {}", other.status, other.text)),
        }
    }

    /// One site has one link, until that is over.
    async fn ask_for_another(&mut self) -> Result<(), String> {
        if self.link.is_given_up() {
            return Ok(());
        }
        let other = create(&self.lane.place.client, &self.request, None).await;
        self.tally.count("second links refused");
        match (other.status, other.code()) {
            (409, "link_exists") => Ok(()),
            _ => Err(format!("a second link: {} {}", other.status, other.text)),
        }
    }

    /// A version that is known is not told again, and strangers see nothing.
    async fn read(&mut self) -> Result<(), String> {
        let path = format!("/links/{}", self.id);
        let first = self.lane.place.client.get(&path).await.expect(200);
        self.see(&first.body)?;
        let tag = first.header("etag").unwrap_or_default().to_owned();
        let client = &self.lane.place.client;
        let again = client
            .send(Method::GET, &path, |it| it.header("if-none-match", &tag))
            .await;
        if again.status == 200 {
            self.see(&again.body)?;
        }
        let is_news = again.body["version"].as_u64() > first.body["version"].as_u64();
        if again.status != 304 && !(again.status == 200 && is_news) {
            return Err(format!("read again: {} {}", again.status, again.text));
        }
        let stranger = self.lane.stranger.get(&path).await;
        self.tally.count("reads");
        match (stranger.status, stranger.code()) {
            (404, "not_found") => Ok(()),
            _ => Err(format!("a stranger: {} {}", stranger.status, stranger.text)),
        }
    }

    /// Taken back in the end, if it was not before: everything has a receipt, and nothing is left.
    async fn end(&mut self) -> Result<(), String> {
        self.rests().await?;
        if !self.link.is_given_up() {
            self.ask(&[Verb::Unlink], true).await?;
        }
        let link = self.rests().await?;
        self.tally
            .count(&format!("links: {}", text(&link["status"])));
        let place = &self.lane.place;
        place.calm(&self.crowd.world);
        // A deploy key may become stock.
        let is_good = |(kind, receipt): &(String, String)| {
            kind == "deploy_key" || matches!(receipt.as_str(), "deleted" | "already_gone")
        };
        if let Some(other) = receipts(&link).iter().find(|it| !is_good(it)) {
            return Err(format!("a receipt says {other:?}"));
        }
        let there = place.at_vendors(&self.crowd.world);
        let left: Objects = there
            .into_iter()
            .filter(|it| it.0 != "deploy_key")
            .collect();
        match left.is_empty() {
            true => self.follow().await,
            false => Err(format!("left: {left:?}")),
        }
    }
}

impl Lane {
    async fn push(&mut self, crowd: &Crowd, is_broken: bool) {
        let message = if is_broken {
            "A text that breaks [break]"
        } else {
            "Another text"
        };
        self.place.push(&crowd.world, message).await;
        self.is_broken = is_broken;
    }

    fn set_refusals(&self, crowd: &Crowd, outside: Outside) {
        self.place.calm(&crowd.world);
        let refuse = |upstream, path, answer: Value| {
            let rule = json!({"method": "POST", "path": path, "times": 1_000_000, "fault": answer});
            self.place.disturb(&crowd.world, upstream, rule);
        };
        if outside.refuses_site {
            let refusal = json!({"status": 400, "body": {"message": "It is not to be"}});
            refuse("netlify", "/sites$", refusal);
        }
        if outside.refuses_key {
            let message = "Resource not accessible by personal access token";
            let refusal = json!({"status": 403, "body": {"message": message}});
            refuse("github", "/keys$", refusal);
        }
    }
}

/// The statuses that an event tells of, in their order.
fn statuses(event: &Value) -> Vec<String> {
    let kind = event["type"].as_str().unwrap_or_default();
    match moved_by(kind) {
        Some(status) => vec![status.to_owned()],
        None if kind == "link.status_changed" => {
            ["from", "to"].map(|end| text(&event["detail"][end])).into()
        }
        None => Vec::new(),
    }
}

async fn create(client: &Client, request: &Value, key: Option<&str>) -> Answer {
    let with_key = |it: RequestBuilder| match key {
        Some(key) => it.header("idempotency-key", key),
        None => it,
    };
    let send = |it| with_key(it).json(request);
    client.send(Method::POST, "/links", send).await
}
