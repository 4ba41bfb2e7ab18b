//! Runs git and its companions in an environment that the user's own configuration cannot disturb.

use std::path::Path;
use std::process::{Output, Stdio};

use anyhow::Context;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A program with nothing of our environment but the `PATH`; killed when its future is dropped.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// `git -C directory`.
pub fn git(directory: &Path) -> Command {
    let mut command = program("git");
    command.arg("-C").arg(directory);
    command
}

/// Runs to the end and gives the standard output.
///
/// # Errors
/// When the program cannot be started or says it failed; the error carries its standard error.
pub async fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().await.with_context(|| describe(command))?;
    successful(command, output)
}

/// As [`output`], with something to read on standard input.
///
/// # Errors
/// As [`output`].
pub async fn output_with_input(command: &mut Command, input: Vec<u8>) -> anyhow::Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| describe(command))?;
    let mut stdin = child.stdin.take().context("standard input is piped")?;
    let write = async move {
        // A program that dies early closes its end; its own message says why, not our broken pipe.
        let written = stdin.write_all(&input).await;
        drop(stdin);
        written
    };
    let (written, output) = tokio::join!(write, child.wait_with_output());
    let text = successful(command, output.with_context(|| describe(command))?)?;
    written.with_context(|| describe(command))?;
    Ok(text)
}

fn successful(command: &Command, output: Output) -> anyhow::Result<String> {
    anyhow::ensure!(
        output.status.success(),
        "{} ended with {}: {}",
        describe(command),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout).context("the output is not UTF-8")
}

fn describe(command: &Command) -> String {
    let command = command.as_std();
    let arguments = command.get_args().map(|a| a.to_string_lossy());
    std::iter::once(command.get_program().to_string_lossy())
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}
