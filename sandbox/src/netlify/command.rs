//! Runs a site's build command: in a folder of its own, with a cleared environment and a time limit.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;

/// How a command ended.
pub enum Outcome {
    Exited(ExitStatus),
    /// The time limit struck; everything it had started was killed.
    TimedOut,
}

/// What a command is run with.
pub struct Setting<'a> {
    pub folder: &'a Path,
    pub home: &'a Path,
    pub variables: Vec<(String, String)>,
    pub limit: Duration,
}

/// Runs `bash -c command`; each line it prints goes to `log`.
///
/// # Errors
/// When bash cannot be started.
pub async fn run(
    command: &str,
    setting: &Setting<'_>,
    log: &(dyn Fn(String) + Sync),
) -> std::io::Result<Outcome> {
    let mut bash = Command::new("bash");
    bash.args(["-c", command])
        .current_dir(setting.folder)
        .env_clear()
        .env("HOME", setting.home)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LANG", "C.UTF-8")
        .envs(setting.variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = bash.spawn()?;
    // Also kills what the command left behind, however this function ends.
    let _group = child
        .id()
        .and_then(|id| Pid::from_raw(id.cast_signed()))
        .map(Group);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let whole = async {
        let (_, _, status) = tokio::join!(lines(stdout, log), lines(stderr, log), child.wait());
        status
    };
    match tokio::time::timeout(setting.limit, whole).await {
        Ok(status) => status.map(Outcome::Exited),
        Err(_) => Ok(Outcome::TimedOut),
    }
}

async fn lines(stream: Option<impl AsyncRead + Unpin>, log: &(dyn Fn(String) + Sync)) {
    let Some(stream) = stream else { return };
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line).await {
            Ok(0) => return,
            Ok(_) => log(String::from_utf8_lossy(&line).trim_end().to_owned()),
            Err(error) => return log(format!("cannot read the output: {error}")),
        }
    }
}

/// A process group that dies with this value.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // "No such process" is the normal case: everything has ended by itself.
        if let Err(error) = kill_process_group(self.0, Signal::KILL)
            && error != rustix::io::Errno::SRCH
        {
            tracing::warn!(%error, "cannot end a build's processes");
        }
    }
}
