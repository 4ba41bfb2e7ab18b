//! `linkbroker drift`, `heal` and `rotate-key`: is everything as a link left it, putting it back, another deploy key.

use std::process::ExitCode;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::access::AccessArgs;
use super::link::{accepted, to_live};
use super::status::find;
use super::watch::{Ending, WaitArgs, conclude, watch};
use super::{Output, print, show};
use crate::link::drift::{DriftKind, DriftPolicy};

/// Looks whether key, webhook, site and repository are as the link left them.
///
/// What linkbroker placed itself is put back when the link's policy is `heal`; everything else is told.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  linkbroker drift team-a/docs
  linkbroker drift team-a/docs --policy report")]
pub struct DriftArgs {
    /// Id of the link, your own name for it (--ref), or the name of its site.
    #[arg(value_name = "LINK")]
    link: String,

    /// First change what becomes of drift: put back what linkbroker placed, or only tell of it.
    #[arg(long, value_parser = policy())]
    policy: Option<DriftPolicy>,

    /// How long to wait for the look: a number and s, m, h or d.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = super::duration::duration)]
    timeout: std::time::Duration,

    #[command(flatten)]
    access: AccessArgs,
}

/// Puts back what differs from how the link left it, also what people may have changed on purpose.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  linkbroker heal team-a/docs --wait
  linkbroker heal team-a/docs branch_changed builds_stopped")]
pub struct HealArgs {
    /// Id of the link, your own name for it (--ref), or the name of its site.
    #[arg(value_name = "LINK")]
    link: String,

    /// What to put back, as `linkbroker drift` names it. Default: all that can be put back.
    #[arg(value_name = "KIND", value_parser = kind)]
    kinds: Vec<DriftKind>,

    #[command(flatten)]
    wait: WaitArgs,

    #[command(flatten)]
    access: AccessArgs,
}

/// Exchanges the link's deploy key for a new one, without a failed build.
///
/// One build is started, which has to clone with the new key; when it does not, the old key stays.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  linkbroker rotate-key team-a/docs --wait")]
pub struct RotateKeyArgs {
    /// Id of the link, your own name for it (--ref), or the name of its site.
    #[arg(value_name = "LINK")]
    link: String,

    #[command(flatten)]
    wait: WaitArgs,

    #[command(flatten)]
    access: AccessArgs,
}

pub(super) async fn drift(args: DriftArgs, output: Output) -> anyhow::Result<ExitCode> {
    let client = args.access.client()?;
    let id = find(&client, &args.link).await?.summary.id;
    if let Some(policy) = args.policy {
        client.set_drift_policy(&id, policy).await?;
    }
    let link = client.check(&id).await?;
    let (link, ending) = watch(&client, link, args.timeout, output).await?;
    let exit = conclude(&link, ending, output)?;
    if ending == Ending::Settled && output == Output::Human {
        print(output, &show::drift(&link.summary), &())?;
    }
    Ok(exit.into())
}

pub(super) async fn heal(args: HealArgs, output: Output) -> anyhow::Result<ExitCode> {
    let client = args.access.client()?;
    let id = find(&client, &args.link).await?.summary.id;
    let link = client.heal(&id, &args.kinds).await?;
    if !args.wait.wait {
        return accepted(&link, output);
    }
    let (link, ending) = watch(&client, link, args.wait.timeout, output).await?;
    to_live(&link, ending, output)
}

pub(super) async fn rotate_key(args: RotateKeyArgs, output: Output) -> anyhow::Result<ExitCode> {
    let client = args.access.client()?;
    let id = find(&client, &args.link).await?.summary.id;
    let link = client.rotate_key(&id).await?;
    if !args.wait.wait {
        return accepted(&link, output);
    }
    let (link, ending) = watch(&client, link, args.wait.timeout, output).await?;
    to_live(&link, ending, output)
}

fn policy() -> impl TypedValueParser<Value = DriftPolicy> {
    let words = DriftPolicy::ALL.iter().map(|policy| policy.as_str());
    PossibleValuesParser::new(words).try_map(|word| word.parse::<DriftPolicy>())
}

fn kind(text: &str) -> Result<DriftKind, String> {
    text.parse().map_err(|_| {
        let known: Vec<_> = DriftKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("no kind of drift; there are {}", known.join(", "))
    })
}
