//! `linkbroker builds`: the history of a link's builds as a table, newest first.

use std::process::ExitCode;

use clap::Args;

use super::access::AccessArgs;
use super::client::{Client, ClientError, PAGE_MAX};
use super::exit::Exit;
use super::show::{age, table};
use super::status::find;
use super::{Output, print};
use crate::api::links::builds::{BuildPage, BuildView};

/// Letters of a commit's name that are told apart by eye.
const COMMIT_LETTERS: usize = 7;

/// Shows the builds of a link's site, newest first, whoever started them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  linkbroker builds team-a/docs
  linkbroker builds team-a/docs --limit 1 --output json | jq -r '.builds[0].log_tail[]'")]
pub struct BuildsArgs {
    /// Id of the link, your own name for it (--ref), or the name of its site.
    #[arg(value_name = "LINK")]
    link: String,

    /// How many at most.
    #[arg(long, value_name = "COUNT", default_value = "20", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// All there are.
    #[arg(long, conflicts_with = "limit")]
    all: bool,

    #[command(flatten)]
    access: AccessArgs,
}

pub(super) async fn run(args: BuildsArgs, output: Output) -> anyhow::Result<ExitCode> {
    let client = args.access.client()?;
    let id = find(&client, &args.link).await?.summary.id;
    let limit = match args.all {
        true => usize::MAX,
        false => args.limit as usize,
    };
    let found = collect(&client, &id, limit).await?;
    print(output, &text(&found.builds), &found)?;
    if output == Output::Human && found.next_cursor.is_some() {
        eprintln!("There are more: --all shows them.");
    }
    Ok(Exit::Done.into())
}

/// Up to `limit` builds as one page, from as many pages of the API as it takes.
async fn collect(client: &Client, id: &str, limit: usize) -> Result<BuildPage, ClientError> {
    let mut found = BuildPage {
        builds: Vec::new(),
        next_cursor: None,
    };
    loop {
        let room = (limit - found.builds.len()).min(PAGE_MAX);
        let cursor = found.next_cursor.as_deref();
        let page = client.builds(id, room, cursor).await?;
        found.builds.extend(page.builds);
        found.next_cursor = page.next_cursor;
        if found.next_cursor.is_none() || found.builds.len() >= limit {
            return Ok(found);
        }
    }
}

fn text(builds: &[BuildView]) -> String {
    if builds.is_empty() {
        return "There are no builds yet.".to_owned();
    }
    let header = ["STARTED", "OUTCOME", "BRANCH", "COMMIT", "TOOK", "ABOUT"];
    table(&header, builds.iter().map(row))
}

fn row(build: &BuildView) -> Vec<String> {
    let commit = build.commit_ref.iter().flat_map(|commit| commit.chars());
    let took = build
        .duration_seconds
        .filter(|_| build.finished_at.is_some());
    vec![
        build.created_at.map(age).unwrap_or_default(),
        build.outcome.to_string(),
        build.branch.clone().unwrap_or_default(),
        commit.take(COMMIT_LETTERS).collect(),
        took.map(|seconds| format!("{seconds} s"))
            .unwrap_or_default(),
        about(build),
    ]
}

/// Why there is nothing new to see, or where it is to be seen.
fn about(build: &BuildView) -> String {
    let why = build.diagnosis.as_ref();
    let why = why.map(|why| format!("{} ({})", why.title, why.code));
    why.or_else(|| build.url.clone()).unwrap_or_default()
}
