//! `linkbroker unlink`: takes a link back, and prints what became of its objects.

use std::process::ExitCode;

use clap::Args;

use super::access::AccessArgs;
use super::link::accepted;
use super::status::find;
use super::terminal::{confirm, is_attended, plain};
use super::watch::{Ending, WaitArgs, conclude, watch};
use super::{Output, show};
use crate::api::links::view::{Link, LinkSummary};

/// Takes a link back: the webhook, the keys, and the site.
///
/// Only what linkbroker made and no other link needs is removed; with --wait the receipt says what
/// became of each object. A link that is not set up yet is canceled.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  linkbroker unlink team-a/docs --wait
  linkbroker unlink lnk_019302f0c1b47cc2a1f5d3e8b7a69c01 --keep-site --yes")]
pub struct UnlinkArgs {
    /// Id of the link, your own name for it (--ref), or the name of its site.
    #[arg(value_name = "LINK")]
    link: String,

    /// Leave the site on Netlify, detached from the repository.
    #[arg(long)]
    keep_site: bool,

    /// Do not ask. Without a terminal nothing is asked.
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    wait: WaitArgs,

    #[command(flatten)]
    access: AccessArgs,
}

pub(super) async fn run(args: UnlinkArgs, output: Output) -> anyhow::Result<ExitCode> {
    let client = args.access.client()?;
    let link = find(&client, &args.link).await?;
    let is_asked = !args.yes && is_attended() && !link.summary.status.is_over();
    if is_asked && !confirm(&question(&link.summary, args.keep_site))? {
        anyhow::bail!("nothing was done");
    }
    let link = client.unlink(&link.summary.id, args.keep_site).await?;
    if !args.wait.wait && !link.summary.status.is_over() {
        return accepted(&link, output);
    }
    let (link, ending) = watch(&client, link, args.wait.timeout, output).await?;
    let exit = conclude(&link, ending, output)?;
    if ending == Ending::Settled && output == Output::Human {
        print_receipt(&link)?;
    }
    Ok(exit.into())
}

fn question(link: &LinkSummary, keep_site: bool) -> String {
    let repository = plain(&link.request.repository);
    match link.site.as_ref().filter(|_| !keep_site) {
        Some(site) => {
            let (name, url) = (plain(&site.name), plain(&site.url));
            format!("Unlink {repository} and delete the site {name} ({url})?")
        }
        None => format!("Unlink {repository}?"),
    }
}

fn print_receipt(link: &Link) -> anyhow::Result<()> {
    if link.resources.is_empty() {
        return Ok(());
    }
    super::print(Output::Human, &show::receipt(&link.resources), &())
}
