//! A Postgres of one test's own, which may be killed and started again.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
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
    disk: Option<Disk>,
    folder: TempDir,
}

impl Cluster {
    /// Makes a cluster that keeps what it has committed, and starts it.
    pub async fn start() -> Self {
        Self::start_in(new_folder(), None).await
    }

    /// [`Cluster::start`] on a disk of its own of so many MiB; `None` when that cannot be mounted, which takes root.
    pub async fn start_on_a_disk(mib: usize) -> Option<Self> {
        let folder = new_folder();
        let disk = Disk::mount(folder.path(), mib)?;
        Some(Self::start_in(folder, Some(disk)).await)
    }

    async fn start_in(folder: TempDir, disk: Option<Disk>) -> Self {
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
            disk,
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

    /// Takes all space that is left on its own disk, until [`Cluster::free_disk`].
    pub fn fill_disk(&self) {
        self.own_disk().fill();
    }

    /// Gives it back, and starts Postgres again if it could not go on.
    pub async fn free_disk(&mut self) {
        self.own_disk().free();
        let postgres = self.postgres.as_mut().expect("a Postgres that was started");
        if postgres.try_wait().expect("a child").is_some() {
            self.start_again().await;
        }
    }

    fn own_disk(&self) -> &Disk {
        self.disk.as_ref().expect("a disk of its own")
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

fn new_folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("lb").tempdir_in("/tmp");
    folder.expect("a temporary folder")
}

/// A small disk in memory. Gone with the value.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, mib: usize) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o"]);
        mount.arg(format!("size={mib}m")).arg("tmpfs").arg(at);
        let mounted = mount.stderr(Stdio::null()).status().ok()?;
        mounted.success().then(|| Self(at.to_owned()))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a file");
        let error = loop {
            if let Err(error) = ballast.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("the ballast");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(
            unmounted.is_ok_and(|done| done.success()),
            "{:?} stays mounted",
            self.0
        );
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
