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
    store::{self, bell::Bell, opened::OpenDatabase},
    upstream::{Http, Instance},
    worker::{Doors, Worker},
};

/// Connections for requests; the workers have as many of their own, so that neither starves the other.
const POOL_SIZE: u32 = 10;
/// One connection listens for wake-ups, one sends them.
const BELL_POOL_SIZE: u32 = 2;

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
    let bell = Bell::default();
    let mut parts = JoinSet::new();
    let wires = store::connect(url, "linkbroker-bell", BELL_POOL_SIZE).await?;
    let carried = tokio::spawn(bell.clone().connect(wires, CancellationToken::new()));
    if config.role != Role::Api {
        let pool = store::connect(url, "linkbroker-worker", POOL_SIZE).await?;
        start_workers(config, pool, &bell, &drain, &mut parts)?;
    }
    if config.role != Role::Worker {
        let pool = store::connect(url, "linkbroker-api", POOL_SIZE).await?;
        start_api(config, pool, &bell, metrics, &drain, &mut parts).await?;
    }
    let watched = watch(parts, &drain, config.workers.drain).await;
    carried.abort();
    watched
}

fn start_workers(
    config: &Config,
    pool: PgPool,
    bell: &Bell,
    drain: &CancellationToken,
    parts: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let http = Http::with_call_timeout(config.workers.call_timeout)?;
    let doors = Doors::new(http, instances(config), config.key_ring()?);
    let worker = Worker::new(
        pool,
        doors,
        config.grants.clone(),
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

async fn start_api(
    config: &Config,
    pool: PgPool,
    bell: &Bell,
    metrics: PrometheusHandle,
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
    let feed = Feed::new(pool.clone(), drain.clone(), quotas.clone());
    let api = Api {
        feed: feed.clone(),
        quotas,
        pool,
        bell: bell.clone(),
        key_ring: config.key_ring()?,
        instances: instances(config),
        grants: Arc::new(config.grants.clone()),
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
    tokio::spawn(api::outdated::forget(api.pool.clone(), drain.clone()));
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
