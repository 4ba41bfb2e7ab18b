//! A real Postgres as a child of the server, for people who have none.
//!
//! It listens on a Unix socket in a private folder and on no TCP port. Started by root, it runs
//! under another user, because Postgres refuses root. Several processes may use the same one: each
//! holds a shared lock on a file while it does, and the last one stops Postgres. A process that was
//! killed holds no lock; the Postgres that it left behind is found and used by the next one.

mod account;
mod error;
mod home;
mod programs;

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use tokio::process::{Child, Command};

use account::Account;
use error::files;
use home::Home;
use programs::Programs;

pub use error::EmbeddedError;

/// How long Postgres may take to start (it may have a crash to recover from) or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at a Postgres that starts or stops.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Names the socket; nothing listens on this TCP port.
const PORT: u16 = 5432;
/// The database, and the role that owns it. The role is no superuser: those pass by row security.
const NAME: &str = "linkbroker";

/// Where and how to run Postgres.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// The server's data folder; made when it does not exist.
    pub data_dir: PathBuf,
    /// Folder with `initdb` and `postgres`; looked for when `None`.
    pub pg_bin: Option<PathBuf>,
    /// `false` gives up safety against crashes for speed: for tests only.
    pub durable: bool,
}

/// A Postgres that runs for this process, and perhaps for others.
#[derive(Debug)]
pub struct Embedded {
    home: Home,
    /// `None` when somebody else started it.
    child: Option<Child>,
    /// Locked, shared, as long as we use it. `None` once we have let go.
    user: Option<File>,
}

impl Embedded {
    /// Starts Postgres, or joins the one that runs in the same folder, and sees to it that the
    /// database is there.
    ///
    /// # Errors
    /// What is missing, with what to do about it.
    pub async fn start(config: &EmbeddedConfig) -> Result<Self, EmbeddedError> {
        let account = Account::for_postgres()?;
        let home = Home::prepare(&config.data_dir, account.as_ref())?;
        let _gate = gate(&home).await?;
        let user = lock_file(&home.file("postgres.users"))?;
        user.lock_shared()
            .map_err(files("lock", &home.file("postgres.users")))?;
        let mut embedded = Self {
            home,
            child: None,
            user: Some(user),
        };
        if embedded.connect("postgres").await.is_err() {
            let programs = programs::find(config, &embedded.home, account.as_ref())?;
            embedded.launch(&programs, config, account.as_ref()).await?;
        }
        embedded.ensure_database().await?;
        Ok(embedded)
    }

    /// Address of the database, for sqlx. It holds no password: who may use the socket's folder is let in.
    pub fn url(&self) -> String {
        let folder = self.home.socket_folder.to_string_lossy();
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("host", &folder)
            .append_pair("sslmode", "disable")
            .finish();
        format!("postgres://{NAME}@localhost:{PORT}/{NAME}?{query}")
    }

    /// Lets go of Postgres, and stops it when no other process uses it.
    ///
    /// # Errors
    /// When it does not stop.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        let _gate = gate(&self.home).await?;
        let Some(postmaster) = self.let_go() else {
            return Ok(());
        };
        match &mut self.child {
            Some(child) => {
                let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
                let ended = ended.map_err(|_| self.too_slow("stop"))?;
                ended
                    .map(drop)
                    .map_err(files("wait for", &self.home.data()))
            }
            None => self.wait_for_end(postmaster).await,
        }
    }

    /// Releases our claim; when it was the last one, tells Postgres to stop and names its process.
    fn let_go(&mut self) -> Option<Pid> {
        let user = self.user.take()?;
        user.unlock().ok()?;
        user.try_lock().ok()?;
        let postmaster = self.home.postmaster()?;
        // "Fast shutdown": ends sessions, writes a checkpoint.
        kill(postmaster, Signal::SIGINT).ok()?;
        Some(postmaster)
    }

    async fn wait_for_end(&self, postmaster: Pid) -> Result<(), EmbeddedError> {
        let deadline = Instant::now() + PATIENCE;
        while kill(postmaster, None).is_ok() {
            if Instant::now() > deadline {
                return Err(self.too_slow("stop"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn launch(
        &mut self,
        programs: &Programs,
        config: &EmbeddedConfig,
        account: Option<&Account>,
    ) -> Result<(), EmbeddedError> {
        if !self.home.data().join("PG_VERSION").exists() {
            initialise(&self.home, programs, config, account).await?;
        }
        self.home.remove_stale_locks();
        let mut command = command(&programs.postgres(), &self.home, account);
        command.arg("-D").arg(self.home.data());
        command.arg("-k").arg(&self.home.socket_folder);
        for setting in settings(config.durable) {
            command.args(["-c", setting]);
        }
        let log = self.log()?;
        let twin = log.try_clone().map_err(files("open", &self.home.log()))?;
        command.stdout(log).stderr(twin);
        // Ctrl-C in a terminal goes to its whole group; the database must outlive our drain.
        command.process_group(0);
        let child = command
            .spawn()
            .map_err(files("start", &programs.postgres()))?;
        self.child = Some(child);
        self.wait_until_ready().await
    }

    fn log(&self) -> Result<File, EmbeddedError> {
        let path = self.home.log();
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        opened.map_err(files("open", &path))
    }

    async fn wait_until_ready(&mut self) -> Result<(), EmbeddedError> {
        let deadline = Instant::now() + PATIENCE;
        while self.connect("postgres").await.is_err() {
            if let Some(Ok(Some(_))) = self.child.as_mut().map(Child::try_wait) {
                return Err(EmbeddedError::Failed {
                    program: "postgres",
                    output: self.home.end_of_log(),
                });
            }
            if Instant::now() > deadline {
                return Err(self.too_slow("start"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    fn too_slow(&self, action: &'static str) -> EmbeddedError {
        EmbeddedError::TooSlow {
            action,
            log: self.home.log(),
        }
    }

    /// A connection as Postgres's superuser.
    async fn connect(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.home.socket_folder)
            .port(PORT)
            .username("postgres")
            .database(database)
            .ssl_mode(PgSslMode::Disable)
            .connect()
            .await
    }

    async fn ensure_database(&self) -> Result<(), EmbeddedError> {
        let mut connection = self.connect("postgres").await?;
        let role = "select 1 from pg_roles where rolname = $1";
        if sqlx::query(role)
            .bind(NAME)
            .fetch_optional(&mut connection)
            .await?
            .is_none()
        {
            sqlx::query("create role linkbroker login createdb createrole")
                .execute(&mut connection)
                .await?;
        }
        let database = "select 1 from pg_database where datname = $1";
        if sqlx::query(database)
            .bind(NAME)
            .fetch_optional(&mut connection)
            .await?
            .is_none()
        {
            sqlx::query("create database linkbroker owner linkbroker")
                .execute(&mut connection)
                .await?;
        }
        Ok(connection.close().await?)
    }
}

/// A forgotten `stop`, or a panic: Postgres is told to stop, but not waited for.
impl Drop for Embedded {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Held while Postgres is started or stopped.
async fn gate(home: &Home) -> Result<File, EmbeddedError> {
    let path = home.file("postgres.gate");
    let file = lock_file(&path)?;
    let lock = move || file.lock().map(|()| file);
    let locked = tokio::task::spawn_blocking(lock)
        .await
        .map_err(io::Error::other);
    locked
        .and_then(|locked| locked)
        .map_err(files("lock", &path))
}

fn lock_file(path: &Path) -> Result<File, EmbeddedError> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(files("open", path))
}

/// A program of Postgres under its user, without our environment: it may hold secrets, and others
/// may be able to read that user's processes.
fn command(program: &Path, home: &Home, account: Option<&Account>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/bin:/bin");
    command
        .current_dir(&home.socket_folder)
        .stdin(Stdio::null());
    if let Some(account) = account {
        command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
    }
    command
}

/// Makes a new data folder beside the final place, so that an interrupted `initdb` leaves no half.
async fn initialise(
    home: &Home,
    programs: &Programs,
    config: &EmbeddedConfig,
    account: Option<&Account>,
) -> Result<(), EmbeddedError> {
    let draft = home.file("postgres.new");
    if draft.exists() {
        std::fs::remove_dir_all(&draft).map_err(files("remove", &draft))?;
    }
    home::private_folder(&draft, account)?;
    let mut command = command(&programs.initdb(), home, account);
    command.arg("-D").arg(&draft);
    command.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"]);
    if !config.durable {
        command.arg("--no-sync");
    }
    let output = command
        .output()
        .await
        .map_err(files("start", &programs.initdb()))?;
    if !output.status.success() {
        return Err(EmbeddedError::Failed {
            program: "initdb",
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    std::fs::rename(&draft, home.data()).map_err(files("rename", &draft))
}

/// Small, and silent when nothing is wrong.
fn settings(durable: bool) -> Vec<&'static str> {
    let mut settings = vec![
        "listen_addresses=",
        "unix_socket_permissions=0700",
        "port=5432",
        "max_connections=200",
        "shared_buffers=32MB",
        "wal_level=minimal",
        "max_wal_senders=0",
        "max_parallel_workers_per_gather=0",
        "jit=off",
        "log_min_messages=error",
    ];
    if !durable {
        settings.extend([
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
        ]);
    }
    settings
}

#[cfg(test)]
mod tests;
