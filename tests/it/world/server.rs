//! The server as a child process, its log in a file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::wait::until;

/// Lines of the log that a failed test shows.
const LINES_SHOWN: usize = 40;

/// Killed with the value; a panicking test shows the end of its log.
pub struct Server {
    /// `http://127.0.0.1:PORT`
    pub address: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `linkbroker serve --dev` with these settings and nothing else in its environment, and waits until it is ready.
    ///
    /// # Panics
    /// When it ends instead, or is not ready in time.
    pub async fn start(settings: &[(&'static str, String)], folder: &Path) -> Self {
        Self::start_with(&["serve", "--dev"], settings, folder).await
    }

    /// Starts it with these arguments instead.
    pub async fn start_with(
        arguments: &[&str],
        settings: &[(&'static str, String)],
        folder: &Path,
    ) -> Self {
        let log = folder.join(format!("server-{}.log", uuid::Uuid::now_v7()));
        let output = File::create(&log).expect("a log file");
        let child = Command::new(env!("CARGO_BIN_EXE_linkbroker"))
            .args(arguments)
            .env_clear()
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("the server's program");
        let mut server = Self {
            address: String::new(),
            child,
            log,
        };
        server.address = until("the server to listen", async || server.listening()).await;
        let ready = format!("{}/readyz", server.address);
        until("the server to be ready", async || {
            let answer = reqwest::get(&ready).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        server
    }

    /// The address that it says it listens on: the port is the system's choice.
    fn listening(&mut self) -> Option<String> {
        if let Some(status) = self.child.try_wait().expect("a child") {
            panic!("the server ended with {status}");
        }
        let log = self.log();
        let said = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|line| line["message"] == "listening")?;
        let address = said["address"].as_str()?;
        Some(format!("http://{address}"))
    }

    /// All that it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child that can be killed");
        self.child.wait().expect("a child");
    }

    /// Stops it from doing anything, as it is.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on where it was.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().try_into().expect("a process id"));
        kill(pid, signal).expect("a process that can be told");
    }

    /// Tells it to stop and waits until it has; how it ended.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.ended().await
    }

    /// Waits until it has ended; how it did.
    pub async fn ended(&mut self) -> ExitStatus {
        until("the server to stop", async || {
            self.child.try_wait().expect("a child")
        })
        .await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let end = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
            eprintln!("--- the end of the server's log\n{}\n---", end.join("\n"));
        }
    }
}
