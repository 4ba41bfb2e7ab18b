//! Rows: one file per table, free functions over a connection.
//!
//! Every function that touches a tenant's rows runs inside a [`begin`]: the transaction names the
//! tenant, and row level security hides all others even from a query that forgets to ask.

pub mod api_keys;
pub mod audit;
pub mod bell;
pub mod budgets;
pub mod builds;
pub mod checks;
pub mod connections;
pub mod data_keys;
pub mod embedded;
pub mod environments;
pub mod events;
pub mod idempotency;
pub mod inspections;
pub mod jobs;
pub mod links;
pub mod opened;
pub mod orphans;
pub mod patrols;
pub mod preflights;
pub mod resources;
pub mod step_runs;
pub mod subscriptions;
pub mod watches;
pub mod webhook_locks;
pub mod workers;

use std::{str::FromStr, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
    types::Json,
};

/// Longest wait for a connection: whoever asks is told within two seconds that the database is away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(1_900);

/// Whose rows a transaction sees.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// One tenant's.
    Of(&'a str),
    /// Everybody's: the workers' claim, and the ledger's questions about shared objects.
    OfAll,
}

/// A row that cannot be what the service wrote.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database, or the way to it.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A word in a row is not one that this version knows.
    #[error("a row holds an {0}")]
    Word(#[from] crate::link::words::UnknownWord),
    /// A document in a row is not one that this version knows.
    #[error("a row holds a document that this version cannot read: {0}")]
    Document(#[from] serde_json::Error),
    /// The row is leased by another worker by now.
    #[error("the lease was lost to another worker")]
    LeaseLost,
    /// Another link has taken the deploy key in the meantime.
    #[error("the deploy key is taken by another link")]
    KeyTaken,
}

/// A document that is read once it is known whose it is: one that cannot be read says nothing of the rows beside it.
type Document = Json<Box<RawValue>>;

fn read_document<T: DeserializeOwned>(document: &Document) -> Result<T, StoreError> {
    Ok(serde_json::from_str(document.0.get())?)
}

/// Whether the database cannot be reached or cannot work right now, as opposed to refusing this statement.
pub fn is_away(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
    // Connection lost; resources used up (disk full); read-only after a failover; stopping, starting or out of time.
    const CLASSES: [&str; 5] = ["08", "53", "25006", "25P03", "57"];
    match error {
        Io(_) | Tls(_) | Protocol(_) | PoolClosed | PoolTimedOut | WorkerCrashed => true,
        _ => error
            .as_database_error()
            .and_then(|error| error.code())
            .is_some_and(|code| CLASSES.iter().any(|class| code.starts_with(class))),
    }
}

impl StoreError {
    /// Name of the constraint that refused a write, when one did.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Database(error) => error
                .as_database_error()
                .and_then(|error| error.constraint()),
            _ => None,
        }
    }
}

/// Opens a transaction that sees the rows named by `rows` alone.
///
/// # Errors
/// When the pool has no connection in time or the database is away.
pub async fn begin(
    pool: &PgPool,
    rows: Rows<'_>,
) -> Result<Transaction<'static, Postgres>, StoreError> {
    // sqlx 0.9 leaves a connection inside a transaction when its `begin` is dropped halfway, as that of a caller is who hangs
    // up: nothing drops this one, and a transaction that nobody takes is rolled back.
    let (pool, begin) = (pool.clone(), AssertSqlSafe(beginning(rows)));
    let begun = tokio::spawn(async move { pool.begin_with(begin).await });
    match begun.await {
        Ok(begun) => Ok(begun?),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(sqlx::Error::PoolClosed.into()),
        },
    }
}

/// In one message: every piece of work begins with it. A tenant's name has no quotes (`api::caller::Tenant`); they are doubled
/// all the same.
fn beginning(rows: Rows<'_>) -> String {
    let tenant = match rows {
        Rows::Of(tenant) => tenant.replace('\'', "''"),
        Rows::OfAll => "*".to_owned(),
    };
    format!("BEGIN; SET LOCAL linkbroker.tenant = '{tenant}'")
}

/// Applies the migrations that are missing, in order; processes that start together wait for one another.
///
/// # Errors
/// When the database is away or a migration fails.
pub async fn migrate(database_url: &str) -> Result<(), sqlx::migrate::MigrateError> {
    let options =
        PgConnectOptions::from_str(database_url)?.application_name("linkbroker-migrations");
    let mut connection = PgConnection::connect_with(&options).await?;
    // sqlx holds an advisory lock while it migrates. A newer version may have migrated further: the schema still fits.
    let mut migrations = sqlx::migrate!();
    migrations.set_ignore_missing(true);
    migrations.run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// A pool whose connections cannot see past row level security, whatever the login may do.
///
/// # Errors
/// When the address is malformed or the database is away.
pub async fn connect(database_url: &str, name: &str, size: u32) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(database_url)?
        .application_name(name)
        .options([
            ("statement_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "10s"),
            ("standard_conforming_strings", "on"),
            // Postgres gives up a host that has vanished, with its locks.
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "3"),
            ("tcp_keepalives_count", "3"),
            ("tcp_user_timeout", "15s"),
        ]);
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(|connection, _| Box::pin(drop_privileges(connection)))
        .connect_with(options)
        .await
}

async fn drop_privileges(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let bypasses = sqlx::query_scalar!(
        r#"select rolsuper or rolbypassrls as "bypasses!" from pg_roles where rolname = current_user"#
    )
    .fetch_one(&mut *connection)
    .await?;
    if bypasses {
        connection.execute("set role linkbroker_app").await?;
    }
    Ok(())
}
