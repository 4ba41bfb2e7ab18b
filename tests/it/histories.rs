//! Random histories of what callers ask of a link, wait for or not, against a small model of what they are answered and where
//! the link then stands. A status moves along the declared edges alone.
//!
//! `./dev histories` plays five thousand; a failure tells its seed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures_util::future::join_all;
use linkbroker_sandbox::git::NewCommit;
use reqwest::Method;
use serde_json::{Value, json};

use crate::crowd::{Crowd, Place, at_rest, gone, number};
use crate::world::text;

/// What is asked in one history.
const LENGTH: usize = 8;
/// Histories at the same time.
const AT_ONCE: usize = 8;
/// How long the sample goes on.
const SAMPLE: Duration = Duration::from_secs(20);
const COUNT_SETTING: &str = "LINKBROKER_HISTORIES_COUNT";
const SEED_SETTING: &str = "LINKBROKER_HISTORIES_SEED";

/// The arrows between the statuses (`src/link/status.rs` draws them).
const EDGES: &[(&str, &[&str])] = &[
    (
        "queued",
        &[
            "linking",
            "canceling",
            "unlinking",
            "failed",
            "action_required",
        ],
    ),
    (
        "linking",
        &[
            "building",
            "failed",
            "action_required",
            "degraded",
            "live",
            "canceling",
            "unlinking",
        ],
    ),
    (
        "building",
        &[
            "live",
            "degraded",
            "build_failed",
            "action_required",
            "failed",
            "canceling",
            "unlinking",
        ],
    ),
    ("live", &["building", "degraded", "unlinking"]),
    ("degraded", &["linking", "building", "live", "unlinking"]),
    (
        "build_failed",
        &["linking", "building", "live", "unlinking"],
    ),
    (
        "action_required",
        &["linking", "building", "canceling", "unlinking"],
    ),
    ("failed", &["linking", "building", "unlinking"]),
    ("canceling", &["canceled", "action_required", "unlinking"]),
    ("unlinking", &["unlinked", "action_required"]),
    ("canceled", &[]),
    ("unlinked", &[]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_callers_ask_in_whatever_order_is_answered_as_the_model_says() {
    let until = Instant::now() + SAMPLE;
    play(std::process::id().into(), 5_000, Some(until)).await;
}

/// Takes minutes: `./dev histories`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "thousands of histories; ./dev histories plays them"]
async fn thousands_of_histories() {
    let (seed, count) = (number(SEED_SETTING, 0), number(COUNT_SETTING, 5_000));
    play(seed, count, None).await;
}

async fn play(seed: u64, count: u64, until: Option<Instant>) {
    let crowd = Crowd::gather().await;
    let _worker = crowd.worker();
    let next = AtomicU64::new(seed);
    let lanes = (0..AT_ONCE).map(async |number| {
        let tenant = format!("tenant-{number}");
        let place = Place::make(&crowd.world, &tenant, &format!("docs-{number}")).await;
        loop {
            let seed_now = next.fetch_add(1, Ordering::Relaxed);
            if seed_now >= seed + count || until.is_some_and(|until| Instant::now() > until) {
                return;
            }
            let played = history(&crowd, &place, seed_now).await;
            played.unwrap_or_else(|why| {
                panic!(
                    "seed {seed_now}: {why}\n  the same again: ./dev histories 1 --seed {seed_now}"
                )
            });
        }
    });
    join_all(lanes).await;
    println!(
        "{} histories",
        next.load(Ordering::Relaxed) - seed - AT_ONCE as u64
    );
}

/// What the reference knows of a link: where it stands at rest, and whether it was ever live.
#[derive(Debug, Clone, Copy)]
struct Model {
    stands: &'static str,
    was_live: bool,
}

/// What a caller may ask.
const VERBS: [&str; 6] = ["retry", "cancel", "rebuild", "verify", "unlink", "push"];

impl Model {
    /// Whether a verb is accepted of a link that is at rest.
    fn accepts(self, verb: &str) -> bool {
        match verb {
            "retry" => matches!(self.stands, "failed" | "action_required"),
            "cancel" => self.stands == "action_required" && !self.was_live,
            "rebuild" | "verify" => self.stands == "live",
            // Asking once more for what is done already is no mistake.
            _ => true,
        }
    }

    /// Where the link comes to rest after a verb that was accepted.
    fn after(self, verb: &str, trouble: Trouble) -> Self {
        let is_over = matches!(self.stands, "unlinked" | "canceled");
        let stands = match verb {
            _ if is_over => self.stands,
            "cancel" => "canceled",
            "unlink" => "unlinked",
            "push" => self.stands,
            _ => trouble.stands(),
        };
        Self {
            stands,
            was_live: self.was_live || stands == "live",
        }
    }
}

/// What stands in the way of links that are made.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    None,
    /// Netlify refuses the site.
    Site,
    /// The provider does not let the credential place a key.
    Key,
}

impl Trouble {
    fn begin(self, crowd: &Crowd, place: &Place) {
        place.calm(&crowd.world);
        match self {
            Self::None => {}
            Self::Site => {
                let fault = json!({"status": 400, "body": {"message": "It is not to be"}});
                place.refuse(&crowd.world, "netlify", "POST", "/sites$", &fault);
            }
            Self::Key => {
                let message = "Resource not accessible by personal access token";
                let fault = json!({"status": 403, "body": {"message": message}});
                place.refuse(&crowd.world, "github", "POST", "/keys$", &fault);
            }
        }
    }

    const fn stands(self) -> &'static str {
        match self {
            Self::None => "live",
            Self::Site => "failed",
            Self::Key => "action_required",
        }
    }
}

async fn history(crowd: &Crowd, place: &Place, seed: u64) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let mut trouble = [Trouble::None, Trouble::Site, Trouble::Key][rng.usize(..3)];
    trouble.begin(crowd, place);
    let request = place.request(&format!("site-{seed}"));
    let id = place.client.link(request.clone()).await;
    let mut model = Model {
        stands: trouble.stands(),
        was_live: trouble.stands() == "live",
    };
    for _ in 0..LENGTH {
        let waits = rng.u8(..3) > 0;
        if waits {
            assert_stands(place, &id, model).await?;
            if rng.bool() && !model.was_live {
                trouble = Trouble::None;
                trouble.begin(crowd, place);
            }
        }
        if rng.u8(..4) == 0 {
            assert_is_taken(place, &request, model, waits).await?;
        }
        let verb = VERBS[rng.usize(..VERBS.len())];
        // What is taken back ends most histories: not at once.
        if verb == "unlink" && rng.bool() {
            continue;
        }
        let accepted = ask(crowd, place, &id, verb).await?;
        if waits && accepted != model.accepts(verb) {
            return Err(format!("{verb} of {model:?} was accepted: {accepted}"));
        }
        if accepted {
            let now = place.client.glance(&format!("/links/{id}")).await;
            model = model.after(verb, trouble);
            if text(&now["status"]).starts_with("cancel") {
                model.stands = "canceled";
            }
        }
    }
    assert_stands(place, &id, model).await?;
    place.calm(&crowd.world);
    gone(&place.client, &id).await?;
    assert_moved_along_edges(place, &id).await
}

/// Asks; whether it was accepted.
async fn ask(crowd: &Crowd, place: &Place, id: &str, verb: &str) -> Result<bool, String> {
    let answer = match verb {
        "push" => {
            let commit = NewCommit {
                message: "Another push".to_owned(),
                files: [("content/text.txt".to_owned(), id.to_owned())].into(),
                ..NewCommit::default()
            };
            let pushed = crowd
                .world
                .sandbox
                .commit(place.path.as_str(), commit)
                .await;
            return pushed.map(|_| true).map_err(|error| error.to_string());
        }
        "unlink" => place.client.delete(&format!("/links/{id}")).await,
        verb => {
            let path = format!("/links/{id}/{verb}");
            place.client.send(Method::POST, &path, |it| it).await
        }
    };
    match (answer.status, answer.code()) {
        (202, _) => Ok(true),
        (409, "illegal_transition") => Ok(false),
        _ => Err(format!(
            "{verb} was answered {} {}",
            answer.status, answer.text
        )),
    }
}

/// At rest it stands where the model says.
async fn assert_stands(place: &Place, id: &str, model: Model) -> Result<(), String> {
    let link = at_rest(&place.client, id).await;
    match link["status"] == model.stands {
        true => Ok(()),
        false => Err(format!(
            "{} instead of {model:?}: {}",
            link["status"], link["diagnosis"]
        )),
    }
}

/// The same site cannot be linked twice while its link is there.
async fn assert_is_taken(
    place: &Place,
    request: &Value,
    model: Model,
    waits: bool,
) -> Result<(), String> {
    let is_over = matches!(model.stands, "unlinked" | "canceled");
    if is_over || !waits {
        return Ok(());
    }
    let again = place.client.post("/links", request.clone()).await;
    match (again.status, again.code()) {
        (409, "link_exists") => Ok(()),
        _ => Err(format!(
            "a second link was answered {} {}",
            again.status, again.text
        )),
    }
}

async fn assert_moved_along_edges(place: &Place, id: &str) -> Result<(), String> {
    let events = place
        .client
        .glance(&format!("/links/{id}/events?limit=100"))
        .await;
    let events = events["events"].as_array().cloned().unwrap_or_default();
    for event in events
        .iter()
        .filter(|event| event["type"] == "link.status_changed")
    {
        let (from, to) = (text(&event["detail"]["from"]), text(&event["detail"]["to"]));
        let known = EDGES.iter().find(|(status, _)| *status == from);
        if !known.is_some_and(|(_, next)| next.contains(&to.as_str())) {
            return Err(format!("it moved from {from} to {to}"));
        }
    }
    Ok(())
}
