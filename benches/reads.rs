//! Reading a link, as a whole and as 304, beside a bare axum handler that answers the same bytes from memory.

use std::{
    net::Ipv4Addr,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use axum::{Router, http::header, routing::get};
use futures_util::future::try_join_all;
use reqwest::StatusCode;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

use crate::{
    Line, Process,
    world::{Setup, World, docs},
};

/// The argument that makes this program the bare server.
pub const BARE: &str = "bare-axum";
/// The body that the bare server answers.
const BODY: &str = "LINKBROKER_BENCH_BODY";
const CLIENTS: usize = 16;
/// The servers take turns, so that what else happens on the machine hits all of them.
const TURNS: usize = 5;
const TURN: Duration = Duration::from_secs(1);

/// Answers [`BODY`] to everybody, and says on standard output where.
pub async fn serve_bare() -> anyhow::Result<()> {
    let body = std::env::var(BODY)?;
    let body: &'static str = body.leak();
    let json = [(header::CONTENT_TYPE, "application/json")];
    let router = Router::new().route("/", get(move || async move { (json, body) }));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}

pub async fn run() -> anyhow::Result<Vec<Line>> {
    let settings = [
        ("LINKBROKER_LOG", "info"),
        ("LINKBROKER_QUOTA_REQUESTS_PER_MINUTE", "0"),
    ];
    let settings = settings.map(|(name, value)| (name, value.to_owned()));
    let world = World::with(Setup {
        settings: settings.into(),
        ..Setup::default()
    })
    .await;
    let link = world.client.link_settled(docs()).await;
    let id = link["id"].as_str().context("an id")?;
    let (_bare, address) = start_bare(&link.to_string()).await?;
    let bare = Target::new(_bare.id(), address, StatusCode::OK, None, None)?;
    let address = format!("{}/links/{id}", world.server.address);
    let token = world.client.token();
    let etag = format!("\"{}\"", link["version"]);
    let pid = Some(world.server.pid());
    let whole = Target::new(pid, address.clone(), StatusCode::OK, token.clone(), None)?;
    let unchanged = Target::new(pid, address, StatusCode::NOT_MODIFIED, token, Some(etag))?;
    let mut seen = [Seen::default(), Seen::default(), Seen::default()];
    for _ in 0..TURNS {
        for (target, seen) in [&bare, &whole, &unchanged].into_iter().zip(&mut seen) {
            seen.add(target.turn().await?);
        }
    }
    let [bare, whole, unchanged] = seen;
    let ratio = |value: f64| format!("{value:.2} ×");
    Ok(vec![
        Line::new(
            "bare axum, requests a second",
            format!("{:.0}", bare.rate()),
        ),
        Line::new(
            "200 with JWT: requests a second",
            ratio(whole.rate() / bare.rate()),
        ),
        Line::new(
            "304 with JWT: requests a second",
            ratio(unchanged.rate() / bare.rate()),
        ),
        Line::new(
            "200 with JWT: processor time of the server per request",
            ratio(whole.cost() / bare.cost()),
        ),
        Line::new(
            "304 with JWT: processor time of the server per request",
            ratio(unchanged.cost() / bare.cost()),
        ),
    ])
}

async fn start_bare(body: &str) -> anyhow::Result<(Child, String)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(BARE)
        .env(BODY, body)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = child.stdout.take().context("its output")?;
    let address = BufReader::new(output).lines().next_line().await?;
    Ok((child, format!("http://{}/", address.context("no address")?)))
}

/// A server and what is asked of it.
struct Target {
    process: Process,
    http: reqwest::Client,
    request: reqwest::Request,
    expected: StatusCode,
}

/// What came of some turns.
#[derive(Default)]
struct Seen {
    requests: usize,
    time: Duration,
    busy: Duration,
}

impl Target {
    fn new(
        pid: Option<u32>,
        address: String,
        expected: StatusCode,
        token: Option<String>,
        known: Option<String>,
    ) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let mut request = http.get(address);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(known) = known {
            request = request.header("if-none-match", known);
        }
        Ok(Self {
            process: Process(pid.context("the server has ended")?),
            request: request.build()?,
            http,
            expected,
        })
    }

    /// Asks from several clients for a while.
    async fn turn(&self) -> anyhow::Result<Seen> {
        let (started, busy) = (Instant::now(), self.process.busy()?);
        let counts = try_join_all((0..CLIENTS).map(|_| self.ask_until(started + TURN))).await?;
        Ok(Seen {
            requests: counts.into_iter().sum(),
            time: started.elapsed(),
            busy: self.process.busy()? - busy,
        })
    }

    async fn ask_until(&self, end: Instant) -> anyhow::Result<usize> {
        let mut count = 0;
        while Instant::now() < end {
            let request = self
                .request
                .try_clone()
                .context("a request without a body")?;
            let answer = self.http.execute(request).await?;
            ensure!(answer.status() == self.expected, "{}", answer.status());
            answer.bytes().await?;
            count += 1;
        }
        Ok(count)
    }
}

impl Seen {
    fn add(&mut self, turn: Self) {
        self.requests += turn.requests;
        self.time += turn.time;
        self.busy += turn.busy;
    }

    fn rate(&self) -> f64 {
        self.requests as f64 / self.time.as_secs_f64()
    }

    /// Processor seconds per request.
    fn cost(&self) -> f64 {
        self.busy.as_secs_f64() / self.requests as f64
    }
}
