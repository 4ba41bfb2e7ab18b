//! `linkbroker keys rotate`: the key ring of the next stage of a rotation.
//!
//! Servers are restarted between two stages, one after the other, so at each moment every server
//! has to know every key that another one wraps with: a key is added first, becomes active later,
//! and leaves when nothing needs it.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::{Output, database::with_database, print};
use crate::config::{KeyRingArgs, StoreArgs, data_dir, stored_key_ring};
use crate::store::{Rows, begin, data_keys};
use crate::vault::KeyRing;

/// Makes the key ring for the next stage of a rotation. Restart every server with it before the stage after that.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// The stage.
    #[arg(value_enum)]
    stage: Stage,

    /// The key to add or to activate. Not set: a new one with today's date; the last one of the ring.
    #[arg(long)]
    id: Option<String>,

    /// Prints the new ring instead of writing it into the file that it was read from.
    #[arg(long)]
    print: bool,

    #[command(flatten)]
    store: StoreArgs,

    #[command(flatten)]
    keys: KeyRingArgs,
}

/// How far a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// A new key comes in behind the others: servers can open with it, and wrap with the old one still.
    Add,
    /// The new key goes to the front: servers wrap with it. Then run `linkbroker keys rewrap`.
    Activate,
    /// Keys that wrap nothing any more leave the ring. Asks the database.
    Retire,
}

pub(super) async fn run(args: RotateArgs, output: Output) -> anyhow::Result<ExitCode> {
    let (ring, file) = stored_key_ring(&args.keys, &data_dir(&args.store.data))?;
    let next = match args.stage {
        Stage::Add => ring.with_new_key(&args.id.map_or_else(super::id_of_today, Ok)?)?,
        Stage::Activate => activate(&ring, args.id)?,
        Stage::Retire => retire(&ring, args.store).await?,
    };
    match file.filter(|_| !args.print) {
        Some(file) => {
            replace(&file, &next)?;
            let ids: Vec<_> = next.key_ids().collect();
            let text = format!("{} holds {}", file.display(), ids.join(", "));
            print(output, &text, &json!({"file": file, "keys": ids}))?;
        }
        None => {
            let text = next.to_text(",");
            let ids: Vec<_> = next.key_ids().collect();
            print(output, &text, &json!({"keyring": *text, "keys": ids}))?;
        }
    }
    eprintln!("{}", hint(args.stage));
    Ok(ExitCode::SUCCESS)
}

fn hint(stage: Stage) -> &'static str {
    match stage {
        Stage::Add => {
            "Restart every server with this ring, then run `linkbroker keys rotate activate`."
        }
        Stage::Activate => {
            "Restart every server with this ring, then run `linkbroker keys rewrap`, then `linkbroker keys rotate retire`."
        }
        Stage::Retire => {
            "Restart every server with this ring. Keep retired keys as long as you keep backups that need them."
        }
    }
}

fn activate(ring: &KeyRing, id: Option<String>) -> anyhow::Result<KeyRing> {
    let last = ring.key_ids().last().unwrap_or_default().to_owned();
    let id = id.unwrap_or(last);
    ring.with_active(&id)
        .with_context(|| format!("the ring has no key `{id}`"))
}

async fn retire(ring: &KeyRing, store: StoreArgs) -> anyhow::Result<KeyRing> {
    let counts = with_database(store, async |pool| {
        let mut tx = begin(&pool, Rows::OfAll).await?;
        Ok(data_keys::by_master_key(&mut tx).await?)
    })
    .await?;
    let (needed, counts): (Vec<_>, Vec<_>) = counts.into_iter().unzip();
    if let Some(missing) = needed
        .iter()
        .find(|id| !ring.key_ids().any(|known| known == *id))
    {
        bail!(
            "data keys are wrapped with `{missing}`, which is not in the ring: put it back and run `linkbroker keys rewrap`"
        );
    }
    for (id, count) in needed
        .iter()
        .zip(counts)
        .filter(|(id, _)| *id != ring.active())
    {
        eprintln!("`{id}` stays: {count} data keys need it. Run `linkbroker keys rewrap`.");
    }
    Ok(ring.without_unneeded(&needed))
}

/// Complete or not at all: without its keys, a server's stored credentials are lost.
fn replace(file: &Path, ring: &KeyRing) -> anyhow::Result<()> {
    let draft = file.with_extension(format!("{}.new", std::process::id()));
    let write = || {
        let mut options = std::fs::OpenOptions::new();
        let mut opened = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        opened.write_all(ring.to_text("\n").as_bytes())?;
        opened.write_all(b"\n")?;
        opened.sync_all()?;
        std::fs::rename(&draft, file)
    };
    write().with_context(|| format!("{} cannot be replaced; use --print", file.display()))
}
