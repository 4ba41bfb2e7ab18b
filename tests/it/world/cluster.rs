//! A Postgres of one test's own, which may be killed and started again.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use super::wait::until;

/// The setting by which `./dev test` tells where Postgres's programs are.
const PROGRAMS: &str = "LINKBROKER_PG_BIN";

/// Killed with the value.
pub struct Cluster {
    /// Address of its database `postgres`, as superuser.
    pub url: String,
    postgres: Option<Child>,
    folder: TempDir,
}

impl Cluster {
    /// Makes a cluster that keeps what it has committed, and starts it.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("lb").tempdir_in("/tmp");
        let folder = folder.expect("a temporary folder");
        let socket = folder.path().display();
        let url =
            format!("postgres://postgres@localhost:5432/postgres?host={socket}&sslmode=disable");
        if let Some(user) = account() {
            let owned = chown(
                folder.path(),
                Some(user.uid.as_raw()),
                Some(user.gid.as_raw()),
            );
            owned.expect("a folder that can be given away");
        }
        let mut cluster = Self {
            url,
            postgres: None,
            folder,
        };
        let made = cluster
            .program("initdb")
            .args([
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-locale",
                "--no-sync",
            ])
            .status();
        assert!(made.expect("initdb").success());
        cluster.start_again().await;
        cluster
    }

    /// Starts it again after [`Cluster::crash`], and waits until it answers.
    pub async fn start_again(&mut self) {
        let postgres = self
            .program("postgres")
            .arg("-k")
            .arg(self.folder.path())
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "port=5432",
                "-c",
                "max_connections=200",
            ])
            .args(["-c", "shared_buffers=32MB", "-c", "jit=off"])
            .spawn();
        self.postgres = Some(postgres.expect("postgres"));
        let options = PgConnectOptions::from_str(&self.url).expect("an address");
        until("Postgres to answer", async || {
            let connection = PgConnection::connect_with(&options).await.ok()?;
            connection.close().await.ok()
        })
        .await;
    }

    /// Ends it at once, as `pg_ctl stop -m immediate` does: what is not committed is lost.
    pub fn crash(&mut self) {
        self.signal(Signal::SIGQUIT);
        if let Some(mut postgres) = self.postgres.take() {
            postgres.wait().expect("a child");
        }
    }

    fn signal(&self, signal: Signal) {
        let Some(postgres) = &self.postgres else {
            return;
        };
        let pid = Pid::from_raw(postgres.id().try_into().expect("a process id"));
        kill(pid, signal).expect("a process that can be told");
    }

    fn program(&self, name: &str) -> Command {
        let Ok(bin) = std::env::var(PROGRAMS) else {
            panic!("{PROGRAMS} is not set: run the tests with `./dev test`, which sets it");
        };
        let mut command = Command::new(PathBuf::from(bin).join(name));
        command.arg("-D").arg(self.folder.path().join("data"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.current_dir(self.folder.path());
        if let Some(user) = account() {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

/// Postgres refuses to run as root.
fn account() -> Option<User> {
    let known = |name| User::from_name(name).ok().flatten();
    let user = || known("postgres").or_else(|| known("nobody"));
    geteuid()
        .is_root()
        .then(|| user().expect("a user for Postgres"))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.crash();
    }
}
