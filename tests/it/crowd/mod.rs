//! Many links at once, on three workers that die and freeze: what the seeded tests play with.
//!
//! The API is a server of its own without workers. The workers run in this process, each with a thread, a runtime, pools and a
//! bell of its own, so that one can be dropped with all its tasks wherever they are, as by a crash, while the other goes on.
//! Keys and builds are pretended by the sandbox.

mod caller;
mod place;
mod process;
mod run;
mod trouble;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser;
use linkbroker::config::{Config, Retry, ServeArgs, Workers};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::sync::Mutex;
use url::Url;
use uuid::Uuid;

pub use caller::{at_rest, gone, link, live, over, read, stands};
pub use place::{Objects, Place};
pub use process::Process;
pub use run::{Asked, Played, Tally, play};
pub use trouble::{Armed, Phase, Struck, Trouble};

use crate::world::{Setup, World, text};

/// Short enough that links of a frozen worker are soon taken over, long enough that a busy machine keeps its leases.
pub const LEASE: Duration = Duration::from_secs(3);

/// So that two go on while one is dead or frozen.
const WORKERS: usize = 3;

/// With these a sweep takes everything that no link needs, however young it is.
pub const AT_ANY_AGE: [&str; 6] = [
    "--unused-seconds",
    "0",
    "--stock-days",
    "0",
    "--suspect-hours",
    "0",
];

/// A world whose workers are in this process.
pub struct Crowd {
    pub world: World,
    config: Config,
    workers: Mutex<[Process; WORKERS]>,
    started: AtomicUsize,
}

/// What happens to the worker that has a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// It is killed, and another one is started.
    Killed,
    /// It stands still for longer than its lease.
    Frozen,
}

/// How links hear of the builds that people's pushes have started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// By looking for them, once a minute.
    ByPatrols,
    /// Netlify tells at once.
    ByNotifications,
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    serve: ServeArgs,
}

impl Crowd {
    /// With all its workers.
    pub async fn gather(news: News) -> Self {
        let quotas = [
            "LINKBROKER_QUOTA_REQUESTS_PER_MINUTE",
            "LINKBROKER_QUOTA_LINKS_PER_MINUTE",
            "LINKBROKER_QUOTA_LINKS_IN_FLIGHT",
        ];
        let mut settings: Vec<_> = quotas.map(|name| (name, "0".to_owned())).into();
        settings.push(("LINKBROKER_ROLE", "api".to_owned()));
        settings.push(("LINKBROKER_LOG", "warn,linkbroker::serve=info".to_owned()));
        let world = World::empty(Setup {
            settings,
            switches: pretended(),
            ..Setup::default()
        })
        .await;
        let config = config(&world, news);
        let process = |number: usize| process(number, &config, &world);
        Self {
            workers: Mutex::new(std::array::from_fn(process)),
            started: AtomicUsize::new(WORKERS),
            config,
            world,
        }
    }

    /// Sweeps what links have left to one another, as the workers do now and then.
    pub async fn sweep(&self, tally: &Tally) {
        self.sweep_with(&["--unused-seconds", "0"], tally).await;
    }

    /// Sweeps everything that no link needs, however young it is: when no link is under way.
    pub async fn sweep_all(&self, tally: &Tally) {
        // One sweep takes so many at most; what it cannot remove it leaves alone for some minutes.
        while self.sweep_with(&AT_ANY_AGE, tally).await > 0 {}
    }

    /// How much was swept.
    async fn sweep_with(&self, ages: &[&str], tally: &Tally) -> usize {
        let told = self.world.run(&[&["sweep"], ages].concat()).await;
        let told = told.expect(0).json();
        let swept = told["swept"].as_array().expect("a list");
        for swept in swept {
            let (kind, outcome) = (text(&swept["kind"]), text(&swept["outcome"]));
            tally.count(&format!("swept: {kind} {outcome}"));
        }
        swept.len()
    }

    /// Strikes the worker that has this link, if one has; how many links it had.
    pub async fn strike(&self, link: &str, blow: Blow, owner: &mut PgConnection) -> Option<usize> {
        let (session, links) = session_of(link, owner).await?;
        let mut workers = self.workers.lock().await;
        let holder = workers.iter_mut().find(|worker| worker.name == session)?;
        match blow {
            Blow::Frozen => holder.freeze(LEASE.mul_f64(1.2)),
            Blow::Killed => {
                let number = self.started.fetch_add(1, Ordering::Relaxed);
                *holder = process(number, &self.config, &self.world);
            }
        }
        usize::try_from(links).ok()
    }
}

fn process(number: usize, config: &Config, world: &World) -> Process {
    let name = format!("worker-{number}");
    Process::start(name, config.clone(), world.database.url.clone())
}

/// What the session of the worker that has a link calls itself, and how many links it has: its lock names it, under whatever name
/// it appeared last.
async fn session_of(link: &str, owner: &mut PgConnection) -> Option<(String, i64)> {
    let id = link.trim_start_matches("lnk_");
    let id = Uuid::parse_str(id).expect("a link's id");
    let session = "select a.application_name, (select count(*) from links where lease_owner = w.id)
        from links l join workers w on w.id = l.lease_owner
        join pg_locks k on k.locktype = 'advisory' and (k.classid::bigint << 32) | k.objid::bigint = w.session_lock
        join pg_stat_activity a on a.pid = k.pid where l.id = $1";
    let session = sqlx::query_as(session).bind(id).fetch_optional(owner);
    session.await.expect("the sessions")
}

/// The switches with which thousands of links are affordable.
fn pretended() -> Value {
    let limits = json!({"calls_per_hour": 1_000_000_000, "content_per_minute": 1_000_000, "content_per_hour": 1_000_000});
    json!({"trust_clients": true, "github": {"limits": limits}, "netlify": {
        "pretend_builds": true, "pretend_keys": true, "key_stock": 0, "deploy_id_delay_ms": 0,
        "rate_limit_per_minute": 1_000_000, "concurrent_builds": 1_000,
        "times": {"new_ms": 0, "building_ms": 5, "publishing_ms": 0}}})
}

/// The configuration of the world's server, with workers that hurry.
fn config(world: &World, news: News) -> Config {
    let data_dir = world.data_dir().display().to_string();
    let (netlify, github) = (world.sandbox.netlify_url(), world.sandbox.github_url());
    let line = [
        "linkbroker",
        "--dev",
        "--netlify-url",
        &netlify,
        "--github-url",
        &github,
        "--github-writes-per-minute",
        "0",
        "--github-writes-per-hour",
        "0",
        "--data-dir",
        &data_dir,
    ];
    let config = Config::from_args(Line::parse_from(line).serve).expect("a configuration");
    let public_url = Url::parse(&world.server.address).expect("the server's address");
    let workers = Workers {
        public_url: (news == News::ByNotifications).then_some(public_url),
        in_flight: 256,
        lease: LEASE,
        // Longer than a busy machine lets a request wait that a dead worker has sent; shorter than a worker mostly lives, because it
        // begins anew with each.
        settle: Duration::from_millis(400),
        watch_min: Duration::from_millis(25),
        watch_max: Duration::from_millis(250),
        // Where links are told, a patrol is for what nobody has told of.
        patrol_idle: Duration::from_secs(match news {
            News::ByPatrols => 60,
            News::ByNotifications => 15,
        }),
        proof: Duration::from_secs(20),
        retry: Retry {
            base: Duration::from_millis(10),
            max: Duration::from_millis(250),
            attempts: 8,
        },
        ..config.workers.clone()
    };
    Config { workers, ..config }
}
