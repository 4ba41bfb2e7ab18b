//! Ten thousand readers wait for one link at one process: when do they hear of a change, what do they ask of the
//! database, and what memory does each take?

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use tokio::task::JoinSet;

use crate::{
    Line, Process,
    world::{Setup, World, docs, until},
};

const READERS: usize = 10_000;
const WARM_UP: u32 = 5;
/// Readers that connect at the same time: as many as a listening socket lets queue, with room.
const AT_ONCE: usize = 500;
/// The database is at rest when it was asked nothing for so long.
const REST: Duration = Duration::from_millis(500);
const REF: &str = "/links/by-ref/readers";
/// Where `./dev bench` says that Postgres logs to.
const POSTGRES_LOG: &str = "LINKBROKER_BENCH_POSTGRES_LOG";

pub async fn run() -> anyhow::Result<Vec<Line>> {
    let world = world().await?;
    let bench = Bench {
        process: Process(world.server.pid()),
        id: put(&world, 0).await["id"]
            .as_str()
            .context("an id")?
            .to_owned(),
        http: reqwest::Client::builder().no_proxy().build()?,
        log: std::env::var(POSTGRES_LOG)
            .context("run it with ./dev bench")?
            .into(),
        world,
    };
    // The first ones open connections to the database and prepare statements.
    for round in 1..=WARM_UP {
        bench.round(1, round).await?;
    }
    let one = bench.round(1, WARM_UP + 1).await?;
    let all = bench.round(READERS, WARM_UP + 2).await?;
    let further = (all.statements as f64 - one.statements as f64) / (READERS - 1) as f64;
    let kib = (all.resident - one.resident) as f64 / READERS as f64;
    Ok(vec![
        Line::new("readers that wait, all answered", READERS.to_string()),
        Line::new(
            "statements for a change and 1 reader",
            one.statements.to_string(),
        ),
        Line::new(
            format!("statements for a change and {READERS} readers"),
            all.statements.to_string(),
        ),
        Line::new("statements per further reader", format!("{further:.4}")),
        Line::new("change sent → answered, p50", ms(all.percentile(50))),
        Line::new("change sent → answered, p95", ms(all.percentile(95))),
        Line::new("change sent → last answered", ms(all.percentile(100))),
        Line::new(
            "resident memory per waiting reader (without the kernel's socket buffers)",
            format!("{kib:.1} KiB"),
        ),
    ])
}

/// A live link, and a server that only answers: what the database is asked, it is asked for requests.
async fn world() -> anyhow::Result<World> {
    let settings = [
        ("LINKBROKER_LOG", "info"),
        ("LINKBROKER_QUOTA_WAITING_READERS", "0"),
        ("LINKBROKER_QUOTA_REQUESTS_PER_MINUTE", "0"),
    ];
    let settings = settings.map(|(name, value)| (name, value.to_owned()));
    let mut world = World::with(Setup {
        settings: settings.into(),
        ..Setup::default()
    })
    .await;
    let id = put(&world, 0).await["id"].clone();
    let link = world.client.settled(id.as_str().context("an id")?).await;
    ensure!(link["status"] == "live", "the link is not live: {link:#}");
    let mut owner = PgConnection::connect(&world.database.url).await?;
    owner
        .execute("do $$ begin execute format('alter database %I set log_statement = ''all''', current_database()); end $$")
        .await?;
    world.set("LINKBROKER_ROLE", "api".to_owned());
    world.restart().await;
    Ok(world)
}

/// Makes the link be there; another round is another label, and so a change.
async fn put(world: &World, round: u32) -> Value {
    let mut body = docs();
    body["labels"] = json!({"round": round.to_string()});
    let put = world
        .client
        .send(Method::PUT, REF, |request| request.json(&body));
    put.await.body
}

struct Bench {
    world: World,
    process: Process,
    id: String,
    http: reqwest::Client,
    log: PathBuf,
}

struct Round {
    /// From the change to each answer, shortest first.
    times: Vec<Duration>,
    statements: usize,
    /// While everybody waits, in KiB.
    resident: u64,
}

impl Round {
    fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.times.len() * percent).div_ceil(100);
        self.times[rank.max(1) - 1]
    }
}

impl Bench {
    /// Lets so many wait, changes the link once, and hears everybody's answer.
    async fn round(&self, readers: usize, round: u32) -> anyhow::Result<Round> {
        let link = self.world.client.read(&self.id).await;
        let version = link["version"].as_i64().context("a version")?;
        let mut waiting = JoinSet::new();
        while waiting.len() < readers {
            for _ in waiting.len()..readers.min(waiting.len() + AT_ONCE) {
                waiting.spawn(self.wait_for_news(version));
            }
            self.wait_until(waiting.len()).await;
        }
        let before = self.statements_at_rest().await?;
        let resident = self.process.resident()?;
        let changed_at = Instant::now();
        put(&self.world, round).await;
        let mut times = Vec::with_capacity(readers);
        while let Some(answered_at) = waiting.join_next().await {
            times.push(answered_at?? - changed_at);
        }
        times.sort_unstable();
        let statements = self.statements()? - before;
        Ok(Round {
            times,
            statements,
            resident,
        })
    }

    /// One long poll; when it was answered with the newer version.
    fn wait_for_news(&self, version: i64) -> impl Future<Output = anyhow::Result<Instant>> + use<> {
        let url = format!(
            "{}/links/{}?wait=30&after={version}",
            self.world.server.address, self.id
        );
        let token = self.world.client.token().unwrap_or_default();
        let request = self.http.get(url).bearer_auth(token);
        async move {
            let answer = request.send().await?.error_for_status()?;
            let etag = answer.headers().get("etag").cloned();
            answer.bytes().await?;
            let answered_at = Instant::now();
            let news = format!("\"{}\"", version + 1);
            ensure!(
                etag.is_some_and(|etag| etag == news),
                "a reader was answered without news: this machine is too slow for {READERS}"
            );
            Ok(answered_at)
        }
    }

    async fn wait_until(&self, readers: usize) {
        let address = format!("{}/metrics", self.world.server.address);
        let gauge = format!("linkbroker_waiting_readers {readers}");
        until("the readers to wait", async || {
            let metrics = self.http.get(&address).send().await.ok()?;
            let metrics = metrics.text().await.ok()?;
            metrics.lines().any(|line| line == gauge).then_some(())
        })
        .await;
    }

    /// Statements, once what readers asked before they waited is done: the log has stopped growing.
    async fn statements_at_rest(&self) -> anyhow::Result<usize> {
        let mut seen = self.statements()?;
        loop {
            tokio::time::sleep(REST).await;
            let now = self.statements()?;
            if now == seen {
                return Ok(seen);
            }
            seen = now;
        }
    }

    /// Statements that Postgres has logged so far.
    fn statements(&self) -> anyhow::Result<usize> {
        let log = std::fs::read_to_string(&self.log)?;
        let is_statement =
            |line: &&str| line.contains("LOG:  execute ") || line.contains("LOG:  statement: ");
        Ok(log.lines().filter(is_statement).count())
    }
}

fn ms(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}
