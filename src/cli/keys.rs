//! `linkbroker keys`: makes master keys and moves the service from one to the next.

mod rewrap;
mod rotate;

use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;

use super::{Output, print};
use crate::vault::{KeyRing, new_master_key};

/// What to do with master keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Prints a new master key for LINKBROKER_KEYRING. It is kept nowhere: without it, stored credentials are lost.
    New {
        /// Its name in the key ring; today's date when not set.
        #[arg(long)]
        id: Option<String>,
    },
    /// Makes the key ring for the next stage of a rotation: see the runbook, "Keys".
    Rotate(Box<rotate::RotateArgs>),
    /// Wraps every tenant's data key with the active master key. May be interrupted and run again at any time, while servers run.
    Rewrap(Box<rewrap::RewrapArgs>),
}

pub(super) async fn run(command: KeysCommand, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        KeysCommand::New { id } => new(id, output),
        KeysCommand::Rotate(args) => rotate::run(*args, output).await,
        KeysCommand::Rewrap(args) => rewrap::run(*args, output).await,
    }
}

fn new(id: Option<String>, output: Output) -> anyhow::Result<ExitCode> {
    let id = id.map_or_else(id_of_today, Ok)?;
    let entry = new_master_key(&id)?;
    KeyRing::parse(&entry).with_context(|| format!("`{id}` cannot be the id of a key"))?;
    print(output, &entry, &json!({"id": id, "key": *entry}))?;
    eprintln!(
        "Set LINKBROKER_KEYRING to this line. To replace a key that is in use: `linkbroker keys rotate`."
    );
    Ok(ExitCode::SUCCESS)
}

fn id_of_today() -> anyhow::Result<String> {
    let format = format_description!("k[year][month][day]");
    Ok(OffsetDateTime::now_utc().format(format)?)
}
