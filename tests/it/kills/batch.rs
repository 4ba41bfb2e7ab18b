//! One death for many links: each is led to a point of its own, all are held there, the process is killed, and the next one
//! has to bring all of them to their ends. Each link dies twice, while it is made and while it is taken back.

use std::iter::zip;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use linkbroker_sandbox::{Fault, FaultRule, Strikes, Upstream};
use serde_json::Value;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::effects::Effect;
use super::objects::{self, After, Totals};
use super::points::{Commit, Freed, Point, Side};
use super::variant::{Stage, Subject};
use crate::world::{World, text};

/// Longest wait for a link to get somewhere, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(180);

/// Where a link's process dies.
#[derive(Debug, Clone)]
pub struct Cell {
    pub effect: Effect,
    pub point: Point,
}

/// The two deaths of a link: while it is made, while it is taken back.
pub type Deaths = [Option<Cell>; 2];

/// What went wrong at each of them.
pub type Verdict = [Result<(), String>; 2];

/// Lives through the deaths of many links at once.
pub async fn run(stage: &mut Stage, deaths: &[Deaths]) -> Vec<Verdict> {
    let before = Totals::of(stage).await;
    let subjects = stage.subjects(deaths.len()).await;
    let begun = match begin_all(stage, &subjects, deaths).await {
        Ok(begun) => begun,
        Err(why) => return all(deaths, &why),
    };
    if deaths.iter().any(|[making, _]| making.is_some()) {
        stage.die().await;
    }
    let made = ended(stage, &subjects, &begun, &before, After::Linking).await;
    let reached = unlink_all(stage, &subjects, &begun, deaths).await;
    if deaths.iter().any(|[_, taking]| taking.is_some()) {
        stage.die().await;
    }
    let gone = ended(stage, &subjects, &begun, &before, After::Unlinking).await;
    let gone = zip(reached, gone).map(|(reached, gone)| reached.and(gone));
    zip(made, gone).map(|(made, gone)| [made, gone]).collect()
}

/// Leads every link to the point of its first death.
///
/// # Errors
/// When one does not get there.
pub async fn begin_all(
    stage: &Stage,
    subjects: &[Subject],
    deaths: &[Deaths],
) -> Result<Vec<Begun>, String> {
    let begun = each(subjects, deaths, async |subject, deaths| {
        begin(stage, subject, deaths).await
    });
    begun.await.into_iter().collect()
}

/// Leads every link to the point of its second death.
async fn unlink_all(
    stage: &Stage,
    subjects: &[Subject],
    begun: &[Begun],
    deaths: &[Deaths],
) -> Vec<Result<(), String>> {
    let unlinking: Vec<_> = zip(begun, deaths).collect();
    each(subjects, &unlinking, async |subject, (begun, [_, cell])| {
        unlink(stage, subject, begun, cell.as_ref()).await
    })
    .await
}

/// Takes every link back without another death.
pub async fn take_back(
    stage: &Stage,
    subjects: &[Subject],
    begun: &[Begun],
    before: &Totals,
) -> Vec<Result<(), String>> {
    let none: Vec<Deaths> = begun.iter().map(|_| [None, None]).collect();
    unlink_all(stage, subjects, begun, &none).await;
    ended(stage, subjects, begun, before, After::Unlinking).await
}

/// Waits for the links' ends. When there is something too many or too few in all, no link can be trusted.
pub async fn ended(
    stage: &Stage,
    subjects: &[Subject],
    begun: &[Begun],
    before: &Totals,
    after: After,
) -> Vec<Result<(), String>> {
    let results = each(subjects, begun, async |subject, begun| {
        let link = subject.go_on(stage, begun, || false).await;
        objects::check(stage, subject, &link, after)
    });
    let results = results.await;
    match before.check(stage, subjects.len(), after).await {
        Ok(()) => results,
        Err(why) => results
            .into_iter()
            .map(|result| result.and_then(|()| Err(why.clone())))
            .collect(),
    }
}

/// Does the same for each link at the same time; what panics is told.
async fn each<T, R>(
    subjects: &[Subject],
    items: &[T],
    work: impl AsyncFn(&Subject, &T) -> Result<R, String>,
) -> Vec<Result<R, String>> {
    let each = zip(subjects, items);
    join_all(each.map(|(subject, item)| caught(work(subject, item)))).await
}

fn all(deaths: &[Deaths], why: &str) -> Vec<Verdict> {
    let verdict = || [Err(why.to_owned()), Err(why.to_owned())];
    deaths.iter().map(|_| verdict()).collect()
}

/// A link under way.
pub struct Begun {
    pub id: String,
    link: Uuid,
    /// What people have done for it, each thing once.
    done: Mutex<Vec<String>>,
}

/// How a link is seen to stand at its point.
enum Sign {
    Call(Strikes),
    Commit(Uuid),
}

impl Stage {
    /// Kills the server, with all that stands still, and starts the next one.
    async fn die(&mut self) {
        self.world.server.kill();
        self.world.sandbox.world().faults.clear();
        self.holds.free(Freed::ByACut);
        self.world.start_again().await;
    }

    /// Sets what leads to the cell's point; what is to be done once the link has an id.
    fn lead(&self, subject: &Subject, cell: &Cell) -> Led {
        let Cell { effect, point } = cell;
        let rule = |fault| {
            let credential = match effect.upstream {
                Upstream::Netlify => &subject.netlify,
                _ => &subject.provider,
            };
            let rule = FaultRule {
                credential: Some(credential.clone()),
                nth: effect.nth,
                ..FaultRule::next(effect.upstream, &effect.method, &effect.path, fault)
            };
            self.world.sandbox.add_fault(rule).expect("a rule")
        };
        let announcing = || Commit::Announcing(effect.intent.clone().expect("an intent"));
        match point {
            Point::BeforeIntent => Led::ToCommit(announcing(), Side::Before),
            Point::AfterIntent => Led::ToCommit(announcing(), Side::After),
            Point::HalfSent => Led::ToCall(rule(Fault::HoldRequest)),
            Point::AnswerUnread => Led::ToCall(rule(Fault::HoldAnswer)),
            Point::BeforeOutcome => {
                Led::ToCommit(Commit::Recording(rule(Fault::Watch)), Side::Before)
            }
            Point::AfterOutcome => {
                Led::ToCommit(Commit::Recording(rule(Fault::Watch)), Side::After)
            }
        }
    }

    fn follow(&self, link: Uuid, led: Led) -> Sign {
        match led {
            Led::ToCall(strikes) => {
                self.holds.watch(link, None);
                Sign::Call(strikes)
            }
            Led::ToCommit(commit, side) => {
                self.holds.watch(link, Some((commit, side)));
                Sign::Commit(link)
            }
        }
    }

    fn is_there(&self, sign: &Sign) -> bool {
        match sign {
            Sign::Call(strikes) => strikes.count() > 0,
            Sign::Commit(link) => self.holds.holds(*link),
        }
    }
}

enum Led {
    ToCall(Strikes),
    ToCommit(Commit, Side),
}

/// Asks for a link, and goes on with it until it stands at its point.
async fn begin(stage: &Stage, subject: &Subject, [cell, _]: &Deaths) -> Result<Begun, String> {
    let led = cell.as_ref().map(|cell| stage.lead(subject, cell));
    let id = stage.world.client.link(subject.request.clone()).await;
    let begun = Begun::of(id);
    let Some(led) = led else {
        stage.holds.watch(begun.link, None);
        return Ok(begun);
    };
    let sign = stage.follow(begun.link, led);
    let link = subject.go_on(stage, &begun, || stage.is_there(&sign)).await;
    match stage.is_there(&sign) {
        true => Ok(begun),
        false => Err(format!("never stood at its point: {}", told(&link))),
    }
}

/// Asks for the link to be taken back, and waits until that stands at its point.
async fn unlink(
    stage: &Stage,
    subject: &Subject,
    begun: &Begun,
    cell: Option<&Cell>,
) -> Result<(), String> {
    let led = cell.map(|cell| stage.lead(subject, cell));
    let sign = led.map(|led| stage.follow(begun.link, led));
    let path = format!("/links/{}", begun.id);
    stage.world.client.delete(&path).await.expect(202);
    let Some(sign) = sign else { return Ok(()) };
    let link = subject.go_on(stage, begun, || stage.is_there(&sign)).await;
    match stage.is_there(&sign) {
        true => Ok(()),
        false => Err(format!("never stood at its point: {}", told(&link))),
    }
}

impl Begun {
    /// A link that was just accepted.
    pub fn of(id: String) -> Self {
        let hex = id.strip_prefix("lnk_").expect("the id of a link");
        Self {
            link: hex.parse().expect("a UUID"),
            id,
            done: Mutex::default(),
        }
    }

    /// Lets it commit without being held.
    pub fn let_on(&self, stage: &Stage) {
        stage.holds.watch(self.link, None);
    }
}

impl Subject {
    /// Does all that the link asks people for, each thing once, until it settles, or until it is far enough; the link then.
    pub async fn go_on(&self, stage: &Stage, begun: &Begun, is_enough: impl Fn() -> bool) -> Value {
        let world = &stage.world;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let link = world.client.read(&begun.id).await;
            let asks = self.is_asked(begun, &link).await;
            let settled = link.get("poll_after_ms").is_none();
            if is_enough() || settled && link["diagnosis"]["action"].is_null() {
                return link;
            }
            match settled && asks {
                true => self.act(world, begun, &link["diagnosis"]["action"]).await,
                false => tokio::time::sleep(Duration::from_millis(40)).await,
            }
            assert!(
                Instant::now() < deadline,
                "waited too long: {}",
                told(&link)
            );
        }
    }

    async fn is_asked(&self, begun: &Begun, link: &Value) -> bool {
        let deed = text(&link["diagnosis"]["action"]["what"]["kind"]);
        !deed.is_empty() && !begun.done.lock().await.contains(&deed)
    }

    async fn act(&self, world: &World, begun: &Begun, action: &Value) {
        let deed = text(&action["what"]["kind"]);
        begun.done.lock().await.push(deed);
        self.way.act(world, action).await;
        if action["then"] == "by_retry" {
            let path = format!("/links/{}/retry", begun.id);
            let asked = world.client.send(reqwest::Method::POST, &path, |it| it);
            asked.await.expect(202);
        }
    }
}

/// A link in a line.
pub fn told(link: &Value) -> String {
    let steps = link["steps"].as_array().into_iter().flatten();
    let open = steps.filter(|step| step["state"] != "done" && step["state"] != "skipped");
    let open: Vec<_> = open
        .map(|step| {
            format!(
                "{} {} {}",
                text(&step["name"]),
                text(&step["state"]),
                text(&step["reason"])
            )
        })
        .collect();
    let diagnosis = &link["diagnosis"];
    format!(
        "{} {} {} ({})",
        text(&link["status"]),
        text(&diagnosis["code"]),
        text(&diagnosis["detail"]),
        open.join(", ")
    )
}

/// The outcome; of a panic, what it said.
pub async fn caught<R>(work: impl Future<Output = Result<R, String>>) -> Result<R, String> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
            Err(text.unwrap_or_else(|| "a panic".to_owned()))
        }
    }
}
