//! The program's commands, with the settings of a world's server.

use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::Command;

use super::World;

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// The result of a command that was told `--output json`.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("no JSON: {self:#?}"))
    }

    /// The result, if the command ended with this code.
    ///
    /// # Panics
    /// When it ended with another.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl World {
    /// `linkbroker …` beside the server, ready to be started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_linkbroker"));
        command
            .args(["--output", "json"])
            .args(arguments)
            .env_clear()
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs `linkbroker …` to its end.
    pub async fn run(&self, arguments: &[&str]) -> Done {
        let output = self.command(arguments).output().await;
        output.expect("the program").into()
    }

    /// Has the commands that are started from now on speak as [`World::client`] does.
    pub fn sign_in(&mut self) {
        let (token, url) = (self.client.token(), self.server.address.clone());
        self.set("LINKBROKER_TOKEN", token.expect("a token"));
        self.set("LINKBROKER_URL", url);
    }

    /// What commands and servers are told by their environment.
    pub fn settings(&self) -> &[(&'static str, String)] {
        &self.settings
    }

    /// Changes a setting for the commands and servers that are started from now on.
    pub fn set(&mut self, name: &'static str, value: String) {
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value));
    }

    /// Tells the server to stop and starts another with the settings as they are now.
    pub async fn restart(&mut self) {
        assert!(self.server.stop().await.success());
        self.start_again().await;
    }
}
