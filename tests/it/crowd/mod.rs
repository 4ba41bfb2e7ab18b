//! Many links at once, on workers that die and freeze: the crowd of the seeded tests.
//!
//! The API is a server of its own without workers. The workers run in this process, each with a thread, a runtime, a pool and a
//! bell of its own, so that one can be dropped with all its tasks wherever they are, as by a crash, while another goes on.
//! Keys and builds are pretended by the sandbox ([`pretended`]).

mod caller;
mod place;
mod process;

use std::time::Duration;

use clap::Parser;
use linkbroker::config::{Config, Retry, ServeArgs, Workers};
use serde_json::{Value, json};

pub use caller::{at_rest, gone, live, read};
pub use place::Place;
pub use process::Process;

use crate::world::{Setup, World};

/// Short enough that a link whose worker died is soon taken over, long enough that a busy machine keeps its leases.
pub const LEASE: Duration = Duration::from_secs(4);

/// A number that a setting of `./dev` holds.
pub fn number(setting: &str, default: u64) -> u64 {
    let text = std::env::var(setting).ok().filter(|text| !text.is_empty());
    text.map_or(default, |text| text.parse().expect("a number"))
}

/// The switches with which thousands of links are affordable.
pub fn pretended() -> Value {
    let limits = json!({"calls_per_hour": 1_000_000_000, "content_per_minute": 1_000_000, "content_per_hour": 1_000_000});
    json!({"trust_clients": true, "github": {"limits": limits}, "netlify": {
        "pretend": true, "deploy_id_delay_ms": 0, "rate_limit_per_minute": 1_000_000, "concurrent_builds": 1_000,
        "times": {"new_ms": 0, "building_ms": 5, "publishing_ms": 0}}})
}

/// No quota stands in the way of thousands of links.
pub fn without_quotas() -> Vec<(&'static str, String)> {
    let quotas = [
        "LINKBROKER_QUOTA_REQUESTS_PER_MINUTE",
        "LINKBROKER_QUOTA_LINKS_PER_MINUTE",
        "LINKBROKER_QUOTA_LINKS_IN_FLIGHT",
    ];
    quotas.map(|name| (name, "0".to_owned())).into()
}

/// A world whose workers are in this process.
pub struct Crowd {
    pub world: World,
    config: Config,
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    serve: ServeArgs,
}

impl Crowd {
    /// Without workers yet.
    pub async fn gather() -> Self {
        let mut settings = without_quotas();
        settings.push(("LINKBROKER_ROLE", "api".to_owned()));
        let world = World::empty(Setup {
            settings,
            switches: pretended(),
            ..Setup::default()
        })
        .await;
        let config = config(&world);
        Self { world, config }
    }

    /// Starts a worker.
    pub fn worker(&self) -> Process {
        Process::start(self.config.clone(), self.world.database.url.clone())
    }
}

/// The configuration of the world's server, with workers that hurry.
fn config(world: &World) -> Config {
    let data_dir = world.data_dir().display().to_string();
    let (netlify, github) = (world.sandbox.netlify_url(), world.sandbox.github_url());
    let line = [
        "linkbroker",
        "--dev",
        "--netlify-url",
        &netlify,
        "--github-url",
        &github,
        "--data-dir",
        &data_dir,
    ];
    let config = Config::from_args(Line::parse_from(line).serve).expect("a configuration");
    let workers = Workers {
        in_flight: 256,
        lease: LEASE,
        watch_min: Duration::from_millis(5),
        watch_max: Duration::from_millis(50),
        proof: Duration::from_secs(20),
        retry: Retry {
            base: Duration::from_millis(5),
            max: Duration::from_millis(200),
            attempts: 8,
        },
        ..config.workers.clone()
    };
    Config { workers, ..config }
}
