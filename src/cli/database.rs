//! The database for commands that work on it, beside running servers or without one.

use anyhow::Context;
use sqlx::PgPool;

use crate::{
    config::{self, StoreArgs},
    store::{self, opened::OpenDatabase},
};

/// Connections of a command.
const POOL_SIZE: u32 = 2;

/// Opens the database, works on it, and closes it again whatever came of the work. The schema is brought up to date
/// first, as a server does at its start.
pub(super) async fn with_database<T>(
    args: StoreArgs,
    work: impl AsyncFnOnce(PgPool) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (database, data_dir) = config::store(args)?;
    let database = OpenDatabase::open(&database, &data_dir).await?;
    let worked = work_on(database.url(), work).await;
    database.close().await?;
    worked
}

async fn work_on<T>(
    url: &str,
    work: impl AsyncFnOnce(PgPool) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    store::migrate(url)
        .await
        .context("migrating the database")?;
    let pool = store::connect(url, "linkbroker-command", POOL_SIZE).await?;
    let worked = work(pool.clone()).await;
    pool.close().await;
    worked
}
