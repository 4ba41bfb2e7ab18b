//! `linkbroker status` and `linkbroker retry`: looks at a link, or lets it try again.

use std::process::ExitCode;

use clap::Args;

use super::access::AccessArgs;
use super::client::{Client, ClientError, LinkFilter};
use super::exit::Exit;
use super::link::{accepted, to_live};
use super::watch::{WaitArgs, conclude, watch};
use super::{Output, print, show};
use crate::api::links::view::Link;

/// Shows where a link stands: its steps, its objects at the vendors, and why it stands still when it does.
///
/// The exit code says it too: see `linkbroker --help`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  linkbroker status lnk_019302f0c1b47cc2a1f5d3e8b7a69c01
  linkbroker status team-a/docs --wait && echo live
  linkbroker status team-a/docs --output json | jq .conditions")]
pub struct StatusArgs {
    /// Id of the link, your own name for it (--ref), or the name of its site.
    #[arg(value_name = "LINK")]
    link: String,

    #[command(flatten)]
    wait: WaitArgs,

    #[command(flatten)]
    access: AccessArgs,
}

/// Lets a link that stands still try again, from the step that failed.
///
/// For links in `failed`, `action_required`, `build_failed` and `degraded`, after the cause is
/// mended. After a failed build the key, the webhook and the site's settings are looked at and
/// mended first, then a new build is started.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  linkbroker connect github --replace && linkbroker retry team-a/docs --wait")]
pub struct RetryArgs {
    /// Id of the link, your own name for it (--ref), or the name of its site.
    #[arg(value_name = "LINK")]
    link: String,

    #[command(flatten)]
    wait: WaitArgs,

    #[command(flatten)]
    access: AccessArgs,
}

pub(super) async fn run(args: StatusArgs, output: Output) -> anyhow::Result<ExitCode> {
    let client = args.access.client()?;
    let link = find(&client, &args.link).await?;
    if args.wait.wait {
        let (link, ending) = watch(&client, link, args.wait.timeout, output).await?;
        return Ok(conclude(&link, ending, output)?.into());
    }
    print(output, &show::link(&link), &link)?;
    Ok(Exit::of_link(link.summary.status).into())
}

pub(super) async fn retry(args: RetryArgs, output: Output) -> anyhow::Result<ExitCode> {
    let client = args.access.client()?;
    let id = find(&client, &args.link).await?.summary.id;
    let link = client.retry(&id).await?;
    if !args.wait.wait {
        return accepted(&link, output);
    }
    let (link, ending) = watch(&client, link, args.wait.timeout, output).await?;
    to_live(&link, ending, output)
}

/// The link with this id, ref or site: the newest one, because no other can be unfinished.
///
/// # Errors
/// [`ClientError`], also when there is none.
pub(super) async fn find(client: &Client, name: &str) -> Result<Link, ClientError> {
    if is_id(name) {
        return client.link(name).await;
    }
    let by_reference = LinkFilter {
        reference: Some(name.to_owned()),
        ..LinkFilter::default()
    };
    let by_site = LinkFilter {
        site: Some(name.to_owned()),
        ..LinkFilter::default()
    };
    for filter in [by_reference, by_site] {
        if let Some(found) = client.links(&filter, 1, None).await?.links.first() {
            return client.link(&found.id).await;
        }
    }
    Err(ClientError::NoSuch {
        what: "link with the id, ref or site",
        name: name.to_owned(),
    })
}

fn is_id(name: &str) -> bool {
    let digits = name.strip_prefix("lnk_").unwrap_or_default();
    digits.len() == 32 && digits.chars().all(|c| c.is_ascii_hexdigit())
}
