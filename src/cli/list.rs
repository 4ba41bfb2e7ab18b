//! `linkbroker list`: the links as a table, newest first.

use std::process::ExitCode;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::access::AccessArgs;
use super::client::{Client, ClientError, LinkFilter, PAGE_MAX};
use super::exit::Exit;
use super::show::{age, table};
use super::{Output, print};
use crate::api::links::view::{LinkPage, LinkSummary};
use crate::link::status::LinkStatus;

/// Lists links, newest first.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  linkbroker list
  linkbroker list --status build_failed --all
  linkbroker list --all --output json | jq -r '.links[].site.url'")]
pub struct ListArgs {
    /// Only links in this status.
    #[arg(long, value_parser = status())]
    status: Option<LinkStatus>,

    /// Only links of the site with this name.
    #[arg(long, value_name = "NAME")]
    site: Option<String>,

    /// Only links with this name of your own.
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,

    /// How many at most.
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// All there are.
    #[arg(long, conflicts_with = "limit")]
    all: bool,

    #[command(flatten)]
    access: AccessArgs,
}

fn status() -> impl TypedValueParser<Value = LinkStatus> {
    let words = LinkStatus::ALL.iter().map(|status| status.as_str());
    PossibleValuesParser::new(words).try_map(|word| word.parse::<LinkStatus>())
}

pub(super) async fn run(args: ListArgs, output: Output) -> anyhow::Result<ExitCode> {
    let client = args.access.client()?;
    let limit = match args.all {
        true => usize::MAX,
        false => args.limit as usize,
    };
    let filter = LinkFilter {
        status: args.status,
        reference: args.reference,
        site: args.site,
    };
    let found = collect(&client, &filter, limit).await?;
    print(output, &text(&found.links), &found)?;
    if output == Output::Human && found.next_cursor.is_some() {
        eprintln!("There are more: --all shows them.");
    }
    Ok(Exit::Done.into())
}

/// Up to `limit` links as one page, from as many pages of the API as it takes.
async fn collect(
    client: &Client,
    filter: &LinkFilter,
    limit: usize,
) -> Result<LinkPage, ClientError> {
    let mut found = LinkPage {
        links: Vec::new(),
        next_cursor: None,
    };
    loop {
        let room = (limit - found.links.len()).min(PAGE_MAX);
        let cursor = found.next_cursor.as_deref();
        let page = client.links(filter, room, cursor).await?;
        found.links.extend(page.links);
        found.next_cursor = page.next_cursor;
        if found.next_cursor.is_none() || found.links.len() >= limit {
            return Ok(found);
        }
    }
}

fn text(links: &[LinkSummary]) -> String {
    if links.is_empty() {
        return "There are no links.".to_owned();
    }
    let header = ["ID", "REF", "STATUS", "REPOSITORY", "SITE", "CHANGED"];
    table(&header, links.iter().map(row))
}

fn row(link: &LinkSummary) -> Vec<String> {
    let site = link.site.as_ref().filter(|_| !link.status.is_over());
    vec![
        link.id.clone(),
        link.reference.clone().unwrap_or_default(),
        link.status.to_string(),
        link.request.repository.clone(),
        site.map_or_else(
            || {
                let asked = link
                    .request
                    .site_name
                    .as_ref()
                    .or(link.request.site_id.as_ref());
                asked.cloned().unwrap_or_default()
            },
            |site| site.url.clone(),
        ),
        age(link.updated_at),
    ]
}
