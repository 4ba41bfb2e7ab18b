//! Requests, addresses and cursors that nobody thought of: no panic, no answer of 500 and above, and each refusal a problem
//! document that says what is wrong where.
//!
//! Everything is derived from one seed, the same in every run. `./dev fuzz` takes others, for longer.

mod addresses;
mod bodies;
mod json;
mod queries;

use std::{fmt, time::Duration};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use reqwest::{
    Method,
    header::{HeaderName, HeaderValue},
};
use serde_json::Value;
use tokio::{runtime::Handle, task::block_in_place, time::timeout};

use crate::world::{Answer, Description, Setup, World, docs, text};

const SEED: u64 = 20_261_122;
const CASES: u32 = 500;
const CASES_OF_FUZZ: u32 = 5_000;
/// Set by `./dev fuzz`.
const SEED_SETTING: &str = "LINKBROKER_FUZZ_SEED";
/// Nothing here may wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Something to send.
#[derive(Clone)]
struct Odd {
    method: Method,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<Vec<u8>>,
}

impl fmt::Debug for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body.as_deref().unwrap_or_default().escape_ascii();
        write!(f, "{} {} {:?} {body}", self.method, self.path, self.headers)
    }
}

/// Checks what the strategy makes, from the seed on; what fails is made as small as possible.
fn for_all<S: Strategy>(strategy: &S, check: impl Fn(S::Value)) {
    let given = std::env::var(SEED_SETTING).ok();
    let seed = given
        .as_ref()
        .map_or(SEED, |seed| seed.parse().expect("a seed is a number"));
    let config = Config {
        cases: given.map_or(CASES, |_| CASES_OF_FUZZ),
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(strategy, |value| {
        check(value);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}\nagain with {SEED_SETTING}={seed}"));
}

/// A server that answers and works on nothing, with a live link in it; the link's and a connection's id.
async fn world() -> (World, String, String) {
    let no_quotas = [
        "LINKBROKER_QUOTA_REQUESTS_PER_MINUTE",
        "LINKBROKER_QUOTA_LINKS_PER_MINUTE",
        "LINKBROKER_QUOTA_LINKS_IN_FLIGHT",
    ];
    let mut world = World::with(Setup {
        settings: no_quotas.map(|name| (name, "0".to_owned())).into(),
        ..Setup::default()
    })
    .await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    world.set("LINKBROKER_ROLE", "api".to_owned());
    world.restart().await;
    let connections = world.client.get("/connections").await.expect(200).body;
    let connection = text(&connections["connections"][0]["id"]);
    (world, text(&link["id"]), connection)
}

/// Sends what the strategy makes, and looks at each answer.
fn send_all(world: &World, strategy: &impl Strategy<Value = Odd>) {
    let runtime = Handle::current();
    block_in_place(|| for_all(strategy, |odd| runtime.block_on(check(world, odd))));
    assert!(
        !world.server.log().contains("panicked"),
        "a request made the server panic"
    );
}

async fn check(world: &World, odd: Odd) {
    let sent = odd
        .body
        .as_ref()
        .and_then(|body| serde_json::from_slice::<Value>(body).ok());
    let answer = world.client.send(odd.method.clone(), &odd.path, |request| {
        let request = request.headers(odd.headers.into_iter().collect());
        match odd.body {
            Some(body) => request.body(body),
            None => request,
        }
    });
    let answer = timeout(PATIENCE, answer).await.expect("an answer in time");
    // Also that what was accepted is what the description allows.
    Description::get().check(&odd.method, &odd.path, sent.as_ref(), &answer);
    assert!(answer.status < 500, "{} {}", answer.status, answer.text);
    if answer.status >= 400 && odd.method != Method::HEAD {
        check_problem(&answer);
    }
}

fn check_problem(answer: &Answer) {
    let shown = &answer.text;
    let media_type = answer.header("content-type");
    assert_eq!(media_type, Some("application/problem+json"), "{shown}");
    Description::get().check_named("Problem", &answer.body, "the refusal");
    assert_eq!(answer.body["status"], answer.status, "{shown}");
    assert_eq!(
        text(&answer.body["type"]),
        format!("/errors/{}", answer.code()),
        "{shown}"
    );
    assert_eq!(
        answer.body["request_id"].as_str(),
        answer.header("x-request-id"),
        "{shown}"
    );
    let places = answer.body["errors"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    match answer.code() {
        "invalid_request" => assert!(has_places(&places, "pointer"), "{shown}"),
        "invalid_query" | "invalid_header" => assert!(has_places(&places, "parameter"), "{shown}"),
        _ => {}
    }
}

/// Whether there are places, and each is named in one of two ways.
fn has_places(places: &[Value], kind: &str) -> bool {
    let is_named = |place: &Value| match place["pointer"].as_str() {
        Some(pointer) => pointer.is_empty() || pointer.starts_with('/'),
        None => place["parameter"].is_string(),
    };
    places.iter().all(is_named) && places.iter().any(|place| place[kind].is_string())
}
