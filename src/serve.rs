//! The running service: database, workers and API put together, and taken apart in order.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, Api, caller::Authenticator, feed::Feed, quotas::Quotas},
    config::{Config, Role},
    issuer::DevIssuer,
    link::grant::GrantBook,
    store::{self, bell::Bell, opened::OpenDatabase},
    upstream::{Http, Instance},
    worker::{Doors, StoredBudgets, Worker},
};

/// One connection listens for wake-ups, one sends them.
const BELL_POOL_SIZE: u32 = 2;
/// Longest time in which other processes are told of what the last ones to stop have done.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// A worker has one session; a lost one may take a while to go.
const SESSION_POOL_SIZE: u32 = 3;

/// Serves until told to stop, then lets go of everything in order: no new requests and links,
/// what is under way ends or is let go of, connections close, our own Postgres stops.
///
/// # Errors
/// When the service cannot start, or did not end in time.
pub async fn run(config: Config, metrics: PrometheusHandle) -> anyhow::Result<()> {
    let database = OpenDatabase::open(&config.database, &config.data_dir)
        .await
        .context("starting the embedded Postgres")?;
    let served = with_database(&config, database.url(), metrics).await;
    database
        .close()
        .await
        .context("stopping the embedded Postgres")?;
    served
}

async fn with_database(
    config: &Config,
    url: &str,
    metrics: PrometheusHandle,
) -> anyhow::Result<()> {
    store::migrate(url)
        .await
        .context("migrating the database")?;
    let drain = stop_signal()?;
    let grants = GrantBook::new(config.grants.clone());
    read_grants_when_told(config, grants.clone())?;
    let bell = Bell::default();
    let mut parts = JoinSet::new();
    let wires = store::connect(url, "linkbroker-bell", BELL_POOL_SIZE).await?;
    let all_told = CancellationToken::new();
    let mut carried = tokio::spawn(bell.clone().connect(wires, all_told.clone()));
    if config.role != Role::Api {
        let pool = store::connect(url, "linkbroker-worker", config.connections).await?;
        let sessions = store::connect(url, "linkbroker-session", SESSION_POOL_SIZE).await?;
        start_workers(
            config,
            [pool, sessions],
            grants.clone(),
            &bell,
            &drain,
            &mut parts,
        )?;
    }
    if config.role != Role::Worker {
        let api = Started {
            pool: store::connect(url, "linkbroker-api", config.connections).await?,
            reads: store::connect(url, "linkbroker-reads", config.connections).await?,
            grants,
            metrics,
        };
        start_api(config, api, &bell, &drain, &mut parts).await?;
    }
    let watched = watch(parts, &drain, config.workers.drain).await;
    all_told.cancel();
    if timeout(LAST_WORDS, &mut carried).await.is_err() {
        carried.abort();
    }
    watched
}

fn start_workers(
    config: &Config,
    [pool, sessions]: [PgPool; 2],
    grants: GrantBook,
    bell: &Bell,
    drain: &CancellationToken,
    parts: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let budgets = StoredBudgets::new(pool.clone(), config.key_ring()?);
    let call_timeout = config.workers.call_timeout;
    let http = Http::sharing(call_timeout, budgets.clone(), config.github_pace)?;
    tokio::spawn(budgets.exchange(http.clone(), drain.clone()));
    let doors = Doors::new(http, instances(config), config.key_ring()?);
    let worker = Worker::new(
        pool,
        sessions,
        doors,
        grants,
        config.workers.clone(),
        bell.clone(),
        drain.clone(),
    );
    parts.spawn(async move {
        worker.run().await;
        Ok(())
    });
    Ok(())
}

/// What was started before the API, and is its own from then on.
struct Started {
    pool: PgPool,
    reads: PgPool,
    grants: GrantBook,
    metrics: PrometheusHandle,
}

async fn start_api(
    config: &Config,
    Started {
        pool,
        reads,
        grants,
        metrics,
    }: Started,
    bell: &Bell,
    drain: &CancellationToken,
    parts: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut issuers = config.issuers.clone();
    if config.dev {
        issuers.push(DevIssuer::open(&config.data_dir)?.trusted());
    }
    let quotas = Arc::new(Quotas::new(config.quotas));
    tokio::spawn(quotas.clone().forget_idle());
    let mut authenticator = Authenticator::new(issuers)?.with_quotas(quotas.clone());
    if config.api_keys {
        authenticator = authenticator.with_api_keys(pool.clone());
    }
    let feed = Feed::new(reads.clone(), drain.clone(), quotas.clone());
    let api = Api {
        feed: feed.clone(),
        quotas,
        pool,
        reads,
        bell: bell.clone(),
        key_ring: config.key_ring()?,
        instances: instances(config),
        grants,
        setup: config.workers.setup(),
        authenticator: Arc::new(authenticator),
        cors_origins: config
            .cors_origins
            .iter()
            .map(|origin| origin.parse())
            .collect::<Result<_, _>>()?,
        drain: drain.clone(),
        metrics,
    };
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listening on {}", config.listen))?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let forget = api::outdated::forget(api.pool.clone(), config.retention, drain.clone());
    tokio::spawn(forget);
    let stop = drain.clone();
    parts.spawn(async move {
        axum::serve(listener, api::router(api))
            .with_graceful_shutdown(stop.cancelled_owned())
            .await?;
        Ok(())
    });
    tokio::spawn(feed.follow(bell.clone()));
    Ok(())
}

fn instances(config: &Config) -> Vec<Arc<Instance>> {
    config.instances.iter().cloned().map(Arc::new).collect()
}

/// Waits for the parts. One that ends by itself takes the others down: half a service is worse
/// than a restart.
async fn watch(
    mut parts: JoinSet<anyhow::Result<()>>,
    drain: &CancellationToken,
    patience: Duration,
) -> anyhow::Result<()> {
    let first = tokio::select! {
        ended = parts.join_next() => ended,
        () = drain.cancelled() => None,
    };
    drain.cancel();
    let rest = async {
        while let Some(ended) = parts.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    };
    let rest = timeout(patience, rest).await;
    if let Some(ended) = first {
        ended??;
    }
    rest.context("work under way did not end in time; the next process goes on with it")?
}

/// SIGHUP has the file of grants read anew. One that is wrong changes nothing.
fn read_grants_when_told(config: &Config, book: GrantBook) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut told = signal(SignalKind::hangup())?;
    let config = config.clone();
    tokio::spawn(async move {
        while told.recv().await.is_some() {
            match config.grants_anew() {
                Ok(grants) => {
                    tracing::info!(grants = grants.0.len(), "the grants are read anew");
                    book.replace(grants);
                }
                Err(error) => tracing::error!(%error, "the grants stay as they were"),
            }
        }
    });
    Ok(())
}

/// Cancelled by SIGTERM, and by Ctrl-C.
fn stop_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("told to stop: draining"),
            _ = interrupt.recv() => tracing::info!("interrupted: draining"),
        }
        told.cancel();
    });
    Ok(stop)
}
