//! Notices every push, whichever way it came: a hook in each bare repository writes one line per moved ref to a spool file.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::BareRepository;

/// How soon a push by file path is seen; pushes over SSH wake the reader themselves.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// Environment variable that tells the hook who pushes; only the SSH front knows.
pub const PUSHER: &str = "SANDBOX_PUSHER";

/// A ref that moved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RefUpdate {
    /// Which repository, as in [`super::Host::repository`].
    pub store_key: String,
    /// 40 zeros when the ref is new.
    pub before: String,
    /// 40 zeros when the ref is gone.
    pub after: String,
    /// Who pushed, as the SSH front names him; unknown for a push by file path.
    pub pusher: Option<String>,
    /// `refs/heads/main`, `refs/tags/v1`.
    pub reference: String,
}

/// The file to which hooks write, and how far it was read.
pub struct Spool {
    path: PathBuf,
    read_up_to: Mutex<usize>,
    wake: Notify,
}

impl Spool {
    /// Starts an empty spool file.
    pub fn create(path: PathBuf) -> anyhow::Result<Self> {
        std::fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            path,
            read_up_to: Mutex::new(0),
            wake: Notify::new(),
        })
    }

    /// Writes the post-receive hook of a repository.
    pub fn install_hook(&self, repository: &BareRepository, store_key: &str) -> anyhow::Result<()> {
        let hooks = repository.path().join("hooks");
        std::fs::create_dir_all(&hooks)?;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o755)
            .open(hooks.join("post-receive"))?;
        file.write_all(self.hook(store_key).as_bytes())?;
        // The umask may have taken the execute bits away, and git skips such hooks in silence.
        file.set_permissions(std::fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Only builtins of sh, so that it runs wherever git runs. A line is far shorter than PIPE_BUF, so appends do not mix.
    fn hook(&self, store_key: &str) -> String {
        let spool = self.path.display().to_string().replace('\'', r"'\''");
        format!(
            "#!/bin/sh\n\
             # Tells the sandbox about every ref that a push moved.\n\
             while read -r before after ref; do\n\
             \x20 printf '%s %s %s %s %s\\n' '{store_key}' \"$before\" \"$after\" \"${{{PUSHER}:--}}\" \"$ref\" >> '{spool}'\n\
             done\n"
        )
    }

    /// Lets [`Self::next`] look at once.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits for pushes and gives those that were not given before, oldest first.
    ///
    /// # Errors
    /// When the spool file cannot be read.
    pub async fn next(&self) -> anyhow::Result<Vec<RefUpdate>> {
        loop {
            let updates = self.unread()?;
            if !updates.is_empty() {
                return Ok(updates);
            }
            // Whether woken or timed out: look again.
            let _ = tokio::time::timeout(LOOK_EVERY, self.wake.notified()).await;
        }
    }

    fn unread(&self) -> anyhow::Result<Vec<RefUpdate>> {
        let mut read_up_to = self.read_up_to.lock();
        if std::fs::metadata(&self.path)?.len() <= *read_up_to as u64 {
            return Ok(Vec::new());
        }
        let text = std::fs::read_to_string(&self.path)?;
        let fresh = &text[*read_up_to..];
        // A line that is being written has no end yet; it is read the next time.
        let complete = fresh.rfind('\n').map_or("", |end| &fresh[..=end]);
        *read_up_to += complete.len();
        complete.lines().map(parse).collect()
    }
}

fn parse(line: &str) -> anyhow::Result<RefUpdate> {
    let words: Vec<&str> = line.splitn(5, ' ').collect();
    let [store_key, before, after, pusher, reference] = words[..] else {
        anyhow::bail!("the spool of pushes has the line {line:?}");
    };
    Ok(RefUpdate {
        store_key: store_key.to_owned(),
        before: before.to_owned(),
        after: after.to_owned(),
        pusher: (pusher != "-").then(|| pusher.to_owned()),
        reference: reference.to_owned(),
    })
}
