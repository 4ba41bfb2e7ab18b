//! `linkbroker keys rewrap`: every tenant's data key is wrapped with the active master key.
//!
//! A batch is a transaction, and what is left is read from the database: a run that was killed is
//! finished by the next one. Servers that know both master keys work on meanwhile, because the data
//! keys themselves do not change.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};

use crate::cli::{Output, database::with_database, print};
use crate::config::{KeyRingArgs, StoreArgs, data_dir, stored_key_ring};
use crate::store::{
    Rows, begin,
    data_keys::{self, DataKeyRow},
};
use crate::vault::{KeyRing, VaultError, WrappedDataKey};

/// Pause between two lines about the progress, where there is no terminal for a bar.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Wraps every tenant's data key with the active master key.
#[derive(Debug, Args)]
pub struct RewrapArgs {
    /// Opens every key and says what would be done; changes nothing.
    #[arg(long)]
    dry_run: bool,

    /// Keys that are rewrapped in one transaction.
    #[arg(long, default_value_t = 100, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,

    #[command(flatten)]
    store: StoreArgs,

    #[command(flatten)]
    keys: KeyRingArgs,
}

/// What came of a run.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    active: String,
    dry_run: bool,
    /// Keys that are wrapped with the active master key now, and were not before.
    rewrapped: u64,
    /// Keys that could not be opened, and so stay as they are.
    failed: Vec<FailedKey>,
}

#[derive(Debug, Serialize)]
struct FailedKey {
    tenant: String,
    key_id: String,
    why: String,
}

pub(super) async fn run(args: RewrapArgs, output: Output) -> anyhow::Result<ExitCode> {
    let (ring, _) = stored_key_ring(&args.keys, &data_dir(&args.store.data))?;
    let (dry_run, batch) = (args.dry_run, args.batch);
    let outcome = with_database(args.store, async |pool| {
        rewrap(&pool, &ring, batch.into(), dry_run).await
    })
    .await?;
    print(output, &told(&outcome), &outcome)?;
    Ok(match outcome.failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn rewrap(
    pool: &PgPool,
    ring: &KeyRing,
    batch: i64,
    dry_run: bool,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome {
        active: ring.active().to_owned(),
        dry_run,
        ..Outcome::default()
    };
    let progress = Progress::over(to_do(pool, ring).await?);
    let mut after = String::new();
    loop {
        let mut tx = begin(pool, Rows::OfAll).await?;
        let keys = data_keys::not_wrapped_by(&mut tx, ring.active(), &after, batch).await?;
        let Some((last, _)) = keys.last() else { break };
        after.clone_from(last);
        for (tenant, key) in &keys {
            rewrap_one(&mut tx, ring, tenant, key, &mut outcome).await?;
        }
        if !dry_run {
            tx.commit().await?;
        }
        progress.add(keys.len() as u64);
    }
    progress.end();
    Ok(outcome)
}

async fn to_do(pool: &PgPool, ring: &KeyRing) -> anyhow::Result<u64> {
    let mut tx = begin(pool, Rows::OfAll).await?;
    let counts = data_keys::by_master_key(&mut tx).await?;
    let others = counts.iter().filter(|(id, _)| id != ring.active());
    Ok(others.map(|(_, count)| count.unsigned_abs()).sum())
}

async fn rewrap_one(
    db: &mut PgConnection,
    ring: &KeyRing,
    tenant: &str,
    key: &DataKeyRow,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    match rewrapped(ring, tenant, key) {
        Ok(new) => {
            // Somebody else who rewraps at the same time was faster otherwise.
            if data_keys::replace_wrapping(db, tenant, key, &new).await? {
                outcome.rewrapped += 1;
            }
        }
        Err(why) => outcome.failed.push(FailedKey {
            tenant: tenant.to_owned(),
            key_id: key.key_id.clone(),
            why: why.to_string(),
        }),
    }
    Ok(())
}

fn rewrapped(ring: &KeyRing, tenant: &str, key: &DataKeyRow) -> Result<DataKeyRow, VaultError> {
    let wrapped = WrappedDataKey {
        key_id: key.key_id.clone(),
        bytes: key.wrapped.clone(),
    };
    let new = ring.wrap(&ring.unwrap(tenant, &wrapped)?)?;
    Ok(DataKeyRow {
        key_id: new.key_id,
        wrapped: new.bytes,
    })
}

fn told(outcome: &Outcome) -> String {
    let Outcome {
        active, rewrapped, ..
    } = outcome;
    let mut text = match outcome.dry_run {
        true => format!(
            "{rewrapped} data keys would be wrapped with `{active}`; nothing was changed.\n"
        ),
        false => format!("{rewrapped} data keys are now wrapped with `{active}`.\n"),
    };
    for failed in &outcome.failed {
        text += &format!(
            "tenant {}, wrapped with `{}`: {}\n",
            failed.tenant, failed.key_id, failed.why
        );
    }
    text
}

/// A bar on a terminal, now and then a line elsewhere.
struct Progress {
    bar: ProgressBar,
    told: std::cell::Cell<Option<Instant>>,
}

impl Progress {
    fn over(total: u64) -> Self {
        let bar = ProgressBar::new(total);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:40} {pos} of {len} data keys, {eta} left")
        {
            bar.set_style(style);
        }
        Self {
            bar,
            told: std::cell::Cell::new((!std::io::stderr().is_terminal()).then(Instant::now)),
        }
    }

    fn add(&self, count: u64) {
        self.bar.inc(count);
        if self
            .told
            .get()
            .is_some_and(|told| told.elapsed() >= TELL_EVERY)
        {
            self.told.set(Some(Instant::now()));
            eprintln!(
                "{} of {} data keys",
                self.bar.position(),
                self.bar.length().unwrap_or_default()
            );
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
