//! `linkbroker keys`: makes master keys.

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
}

pub(super) fn run(command: KeysCommand, output: Output) -> anyhow::Result<ExitCode> {
    let KeysCommand::New { id } = command;
    let id = match id {
        Some(id) => id,
        None => OffsetDateTime::now_utc().format(format_description!("k[year][month][day]"))?,
    };
    let entry = new_master_key(&id)?;
    KeyRing::parse(&entry).with_context(|| format!("`{id}` cannot be the id of a key"))?;
    print(output, &entry, &json!({"id": id, "key": *entry}))?;
    eprintln!(
        "Set LINKBROKER_KEYRING to this line. To rotate, put it in front of the keys that are there, with a comma."
    );
    Ok(ExitCode::SUCCESS)
}
