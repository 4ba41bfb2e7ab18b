//! `linkbroker sweep`: removes at the upstreams what the service made and nobody needs; the workers do the same every hour.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{Output, database::with_database, print, show::table};
use crate::config::{
    KeyRingArgs, StoreArgs, UpstreamArgs, data_dir, instances_of, stored_key_ring,
};
use crate::store::orphans::Ages;
use crate::upstream::Http;
use crate::worker::{Doors, Sweep, Swept, Then};

/// Removes at Netlify and the git providers what the service made and nobody needs. The workers do the same every hour.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// Says what would be removed; changes nothing.
    #[arg(long)]
    dry_run: bool,

    /// Days after which an unused deploy key in stock is removed.
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    stock_days: u32,

    /// Seconds after which something is removed that no link needs any more.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    unused_seconds: u32,

    /// Hours after which a deploy key is removed that an interrupted call may have made and nobody uses.
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    suspect_hours: u32,

    #[command(flatten)]
    store: StoreArgs,

    #[command(flatten)]
    keys: KeyRingArgs,

    #[command(flatten)]
    upstreams: Box<UpstreamArgs>,
}

pub(super) async fn run(args: SweepArgs, output: Output) -> anyhow::Result<ExitCode> {
    let (ring, _) = stored_key_ring(&args.keys, &data_dir(&args.store.data))?;
    let instances = instances_of(&args.upstreams)?;
    let doors = Doors::new(Http::new()?, instances, ring);
    let seconds = |count: u32, each: u64| Duration::from_secs(u64::from(count) * each);
    let ages = Ages {
        stock: seconds(args.stock_days, 86_400),
        unused: seconds(args.unused_seconds, 1),
        suspect: seconds(args.suspect_hours, 3_600),
    };
    let then = if args.dry_run {
        Then::Tell
    } else {
        Then::Remove
    };
    let swept = with_database(args.store, async |pool| {
        let sweep = Sweep {
            pool: &pool,
            doors: &doors,
            ages,
            then,
        };
        Ok(sweep.run().await?)
    })
    .await?;
    print(
        output,
        &told(&swept),
        &json!({ "dry_run": args.dry_run, "swept": swept }),
    )?;
    let failed = swept.iter().any(|swept| swept.outcome == "failed");
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn told(swept: &[Swept]) -> String {
    if swept.is_empty() {
        return "There is nothing to sweep.".to_owned();
    }
    let header = ["TENANT", "KIND", "ID", "WHERE", "OUTCOME", "WHY"];
    table(&header, swept.iter().map(row))
}

fn row(swept: &Swept) -> Vec<String> {
    vec![
        swept.tenant.clone(),
        swept.kind.to_string(),
        swept.id.clone(),
        swept.host.clone(),
        swept.outcome.to_owned(),
        swept.why.clone().unwrap_or_default(),
    ]
}
