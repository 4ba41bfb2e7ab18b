//! Files that only we may read, made once.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use secrecy::zeroize::Zeroizing;

/// Contents of a file that only we may read; `make` gives them when there is no such file yet.
/// Of several processes that make it at once, one wins and all read the same.
///
/// # Errors
/// When the file can be neither read nor made.
pub fn secret_file(
    path: &Path,
    make: impl FnOnce() -> anyhow::Result<Zeroizing<String>>,
) -> anyhow::Result<Zeroizing<String>> {
    let read = || std::fs::read_to_string(path).map(Zeroizing::new);
    match read() {
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            let made = make()?;
            create_secret_file(path, &made)
                .with_context(|| format!("{} cannot be made", path.display()))?;
            read()
        }
        found => found,
    }
    .with_context(|| format!("{} cannot be read", path.display()))
}

/// Writes a file beside `path` and links it there: it appears complete or not at all, and never
/// replaces one that is there.
fn create_secret_file(path: &Path, contents: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    writeln!(file, "{contents}")?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(why) if why.kind() != io::ErrorKind::AlreadyExists => Err(why),
        _ => Ok(()),
    }
}
