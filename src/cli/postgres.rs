//! `linkbroker postgres`: linkbroker's own Postgres without the server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{Output, print};
use crate::config::{DataArgs, data_dir, path};
use crate::store::embedded::{Embedded, EmbeddedConfig};

/// Runs linkbroker's own Postgres until it is told to stop, and prints its address.
///
/// A server that uses the same data folder joins it, and it runs until the last of them is gone.
#[derive(Debug, Args)]
pub struct PostgresArgs {
    /// Gives up safety against crashes for speed: for tests.
    #[arg(long)]
    not_durable: bool,

    /// File to write the address to once Postgres answers; removed at the end.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,

    /// Folder with the programs `initdb` and `postgres`; looked for when not set.
    #[arg(long, env = "LINKBROKER_PG_BIN", value_name = "DIR", value_parser = path())]
    pg_bin: Option<PathBuf>,

    #[command(flatten)]
    data: DataArgs,
}

pub(super) async fn run(args: &PostgresArgs, output: Output) -> anyhow::Result<ExitCode> {
    // Before the start, so that nothing is left behind when we are told to stop during it.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let embedded = Embedded::start(&EmbeddedConfig {
        data_dir: data_dir(&args.data),
        pg_bin: args
            .pg_bin
            .clone()
            .filter(|bin| !bin.as_os_str().is_empty()),
        durable: !args.not_durable,
    })
    .await?;
    announce(args, output, &embedded.url())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    if let Some(file) = &args.ready_file {
        remove(file)?;
    }
    embedded.stop().await?;
    Ok(ExitCode::SUCCESS)
}

fn announce(args: &PostgresArgs, output: Output, url: &str) -> anyhow::Result<()> {
    print(output, url, &json!({"url": url}))?;
    let Some(file) = &args.ready_file else {
        return Ok(());
    };
    // Complete or not there: whoever waits for the file reads it at once.
    let draft = file.with_extension("new");
    std::fs::write(&draft, format!("{url}\n"))
        .and_then(|()| std::fs::rename(&draft, file))
        .with_context(|| format!("{} cannot be written", file.display()))
}

fn remove(file: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(file) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
            Err(why).with_context(|| format!("{} cannot be removed", file.display()))
        }
        _ => Ok(()),
    }
}
