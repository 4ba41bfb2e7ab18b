//! Where an embedded Postgres lives: its data, its log, its socket.

use std::fs::Permissions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use nix::sys::signal::kill;
use nix::unistd::{Pid, geteuid};

use super::account::Account;
use super::{EmbeddedError, PORT, files};

/// Longest path of a Unix socket on Linux (`sun_path` less its final zero).
const SOCKET_PATH_LIMIT: usize = 107;
/// Where root keeps the data when Postgres's user cannot reach the data folder.
const FALLBACK: &str = "/var/lib/linkbroker";

/// The folders of one embedded Postgres.
#[derive(Debug)]
pub(super) struct Home {
    folder: PathBuf,
    /// Private to Postgres's user; short enough for a socket.
    pub socket_folder: PathBuf,
}

impl Home {
    /// Makes what does not exist, in `data_dir` or, when its user cannot reach that, elsewhere.
    pub fn prepare(data_dir: &Path, account: Option<&Account>) -> Result<Self, EmbeddedError> {
        let wanted = open_folder(data_dir)?;
        let folder = match account {
            Some(account) => reachable(wanted, account)?,
            None => wanted,
        };
        let socket_folder = socket_folder(&folder);
        private_folder(&socket_folder, account)?;
        Ok(Self {
            folder,
            socket_folder,
        })
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn data(&self) -> PathBuf {
        self.file("postgres")
    }

    pub fn log(&self) -> PathBuf {
        self.file("postgres.log")
    }

    /// The process of the Postgres that says it owns the data, if it lives.
    pub fn postmaster(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?);
        (pid.as_raw() > 1 && kill(pid, None).is_ok()).then_some(pid)
    }

    /// Removes what a killed Postgres left behind. Postgres does so itself unless its process id
    /// is in use again, which in containers it nearly always is.
    pub fn remove_stale_locks(&self) {
        if self.postmaster().is_some_and(is_postgres) {
            return;
        }
        let socket = self.socket_folder.join(format!(".s.PGSQL.{PORT}"));
        let lock = self.socket_folder.join(format!(".s.PGSQL.{PORT}.lock"));
        for path in [self.data().join("postmaster.pid"), socket, lock] {
            match std::fs::remove_file(&path) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %why, "a stale lock cannot be removed");
                }
                _ => {}
            }
        }
    }

    pub fn end_of_log(&self) -> String {
        let text = std::fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

/// Where the system cannot tell, it might be.
fn is_postgres(pid: Pid) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    name.map_or(true, |name| name.starts_with("postgres"))
}

/// The folder by its full path; when we make it, others may pass through but not look.
fn open_folder(folder: &Path) -> Result<PathBuf, EmbeddedError> {
    if !folder.exists() {
        std::fs::create_dir_all(folder).map_err(files("make", folder))?;
        let permissions = Permissions::from_mode(0o711);
        std::fs::set_permissions(folder, permissions).map_err(files("open", folder))?;
    }
    folder.canonicalize().map_err(files("find", folder))
}

fn reachable(wanted: PathBuf, account: &Account) -> Result<PathBuf, EmbeddedError> {
    let Some(closed) = account.closed_folder(&wanted) else {
        return Ok(wanted);
    };
    let closed = EmbeddedError::Unreachable {
        account: account.name.clone(),
        folder: closed,
    };
    let Ok(fallback) = open_folder(Path::new(FALLBACK)) else {
        return Err(closed);
    };
    let fallback = open_folder(&fallback.join(name_of(&wanted)))?;
    if account.closed_folder(&fallback).is_some() {
        return Err(closed);
    }
    tracing::info!(
        wanted = %wanted.display(),
        used = %fallback.display(),
        account = account.name,
        "Postgres's user cannot reach the data folder, so Postgres lives elsewhere",
    );
    Ok(fallback)
}

/// A short name for a folder: the same for the same path, another for another.
fn name_of(folder: &Path) -> String {
    let digest = digest(&SHA256, folder.as_os_str().as_bytes());
    let digits = digest
        .as_ref()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"));
    digits.collect()
}

fn socket_folder(folder: &Path) -> PathBuf {
    let inside = folder.join("postgres.socket");
    let socket = inside.join(format!(".s.PGSQL.{PORT}"));
    if socket.as_os_str().len() <= SOCKET_PATH_LIMIT {
        return inside;
    }
    Path::new("/tmp").join(format!("linkbroker-{}", name_of(folder)))
}

/// Makes a folder for Postgres's user alone, or checks that it is one: in `/tmp`, others could have
/// made it before us.
pub(super) fn private_folder(
    folder: &Path,
    account: Option<&Account>,
) -> Result<(), EmbeddedError> {
    match std::fs::create_dir(folder) {
        Ok(()) => {
            let permissions = Permissions::from_mode(0o700);
            std::fs::set_permissions(folder, permissions).map_err(files("close", folder))?;
            if let Some(Account { uid, gid, .. }) = account {
                let owner = (Some(uid.as_raw()), Some(gid.as_raw()));
                chown(folder, owner.0, owner.1).map_err(files("give away", folder))?;
            }
            Ok(())
        }
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
            let owner = account.map_or(geteuid(), |account| account.uid);
            let found = folder
                .symlink_metadata()
                .map_err(files("look at", folder))?;
            let ours = found.is_dir() && found.uid() == owner.as_raw() && found.mode() & 0o077 == 0;
            ours.then_some(())
                .ok_or_else(|| EmbeddedError::SocketFolderNotOurs(folder.to_owned()))
        }
        Err(why) => Err(files("make", folder)(why)),
    }
}
