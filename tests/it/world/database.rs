//! A database of one test's own, on the cluster that `./dev test` brings.

use std::str::FromStr;

use serde_json::{Map, Value};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

const SETTING: &str = "LINKBROKER_TEST_DATABASE_URL";

/// Dropped with the value.
pub struct Database {
    /// Address for the server, with the cluster's own user.
    pub url: String,
    cluster: String,
    name: String,
}

impl Database {
    /// An empty database.
    ///
    /// # Panics
    /// When nobody brought a cluster.
    pub async fn create() -> Self {
        let Ok(cluster) = std::env::var(SETTING) else {
            panic!(
                "{SETTING} is not set: run the tests with `./dev test`, which brings a Postgres"
            );
        };
        Self::on(&cluster).await
    }

    /// An empty database on this cluster.
    pub async fn on(cluster: &str) -> Self {
        let cluster = cluster.to_owned();
        let name = format!("it_{}", uuid::Uuid::new_v4().simple());
        let mut url = url::Url::parse(&cluster).expect("the address of a cluster");
        url.set_path(&name);
        execute(&cluster, format!("create database {name}")).await;
        Self {
            url: url.into(),
            cluster,
            name,
        }
    }

    /// A connection that sees every tenant's rows.
    pub async fn connection(&self) -> PgConnection {
        self.connection_of("*").await
    }

    /// A connection as the service has it: behind row level security, whatever the login may do.
    pub async fn connection_of(&self, tenant: &str) -> PgConnection {
        let mut connection = connect(&self.url).await;
        let role = "select rolsuper or rolbypassrls from pg_roles where rolname = current_user";
        let bypasses = sqlx::query_scalar(role).fetch_one(&mut connection).await;
        if bypasses.expect("the login's role") {
            let role = connection.execute("set role linkbroker_app").await;
            role.expect("the service's role");
        }
        sqlx::query("select set_config('linkbroker.tenant', $1, false)")
            .bind(tenant)
            .execute(&mut connection)
            .await
            .expect("the tenant");
        connection
    }

    /// A connection with the cluster's own user, past row level security.
    pub async fn owner(&self) -> PgConnection {
        connect(&self.url).await
    }

    /// How many sessions stand still at a lock, with a statement like this.
    pub async fn waiting(&self, like: &str) -> i64 {
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock' and query like $1";
        let waiting = sqlx::query_scalar(waiting).bind(like);
        let waiting = waiting.fetch_one(&mut self.owner().await).await;
        waiting.expect("the sessions")
    }

    /// Every row of every table as JSON, by table.
    pub async fn dump(&self) -> Map<String, Value> {
        let tables = "select table_name::text from information_schema.tables
            where table_schema = 'public' and table_name <> '_sqlx_migrations'";
        self.rows_of(tables, "*").await
    }

    /// The rows of one tenant, by table. Tables without tenants are the processes' own, and change by themselves.
    pub async fn dump_of(&self, tenant: &str) -> Map<String, Value> {
        let tables = "select table_name::text from information_schema.columns
            where table_schema = 'public' and column_name = 'tenant'";
        self.rows_of(tables, tenant).await
    }

    async fn rows_of(&self, tables: &'static str, tenant: &str) -> Map<String, Value> {
        let mut connection = self.connection_of(tenant).await;
        let tables = sqlx::query_scalar(tables).fetch_all(&mut connection).await;
        let tables: Vec<String> = tables.expect("the tables");
        let mut dump = Map::new();
        for table in tables {
            let query = format!(
                "select coalesce(jsonb_agg(to_jsonb(t) order by to_jsonb(t)), '[]') from {table} t"
            );
            let rows = sqlx::query_scalar(AssertSqlSafe(query));
            let rows: Value = rows.fetch_one(&mut connection).await.expect("the rows");
            dump.insert(table, rows);
        }
        dump
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("drop database if exists {} with (force)", self.name);
        let cluster = std::mem::take(&mut self.cluster);
        // The test's own runtime cannot be waited for from here.
        let dropped = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().expect("a runtime");
            runtime.block_on(execute(&cluster, drop));
        });
        if dropped.join().is_err() {
            eprintln!("the database {} is left over", self.name);
        }
    }
}

async fn connect(url: &str) -> PgConnection {
    let options = PgConnectOptions::from_str(url).expect("the address of a database");
    let connection = PgConnection::connect_with(&options).await;
    connection.unwrap_or_else(|error| panic!("the Postgres of {SETTING} does not answer: {error}"))
}

async fn execute(url: &str, statement: String) {
    let mut connection = connect(url).await;
    let done = connection.execute(AssertSqlSafe(statement.as_str())).await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}"));
}
