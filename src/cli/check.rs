//! `linkbroker check`: asks whether a link would work, and tells what was found.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use console::Style;

use super::access::AccessArgs;
use super::client::Client;
use super::exit::Exit;
use super::link::RequestArgs;
use super::terminal::plain;
use super::{Output, print};
use crate::api::preflights::{FindingView, Preflight};
use crate::link::failure::Severity;
use crate::link::preflight::FindingStatus;

/// Tells whether a link would work, without making one.
///
/// linkbroker reads at the git provider and at Netlify whatever stands in the way: credentials, rights, branch, keys,
/// webhooks, team, plan, site. Nothing is written anywhere.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  linkbroker check https://github.com/acme/docs --site acme-docs --team acme
  linkbroker check https://github.com/acme/docs --output json | jq -r .outcome")]
pub struct CheckArgs {
    #[command(flatten)]
    request: RequestArgs,

    #[command(flatten)]
    access: AccessArgs,
}

pub(super) async fn run(args: CheckArgs, output: Output) -> anyhow::Result<ExitCode> {
    let client = args.access.client()?;
    let asked = client.preflight(&args.request.request()).await?;
    let preflight = done(&client, asked).await?;
    print(output, &text(&preflight), &preflight)?;
    Ok(exit(&preflight).into())
}

/// The service answers when the reads are done, unless it has much to do.
async fn done(client: &Client, mut preflight: Preflight) -> anyhow::Result<Preflight> {
    while let Some(pause) = preflight.poll_after_ms {
        tokio::time::sleep(Duration::from_millis(pause.into())).await;
        preflight = client.read_preflight(&preflight.id).await?;
    }
    Ok(preflight)
}

/// As the link would end.
fn exit(preflight: &Preflight) -> Exit {
    let mut failures = preflight
        .findings
        .iter()
        .map(|view| &view.finding)
        .filter(|finding| finding.status == FindingStatus::Fail)
        .filter_map(|finding| finding.code)
        .peekable();
    match preflight.outcome {
        Some(FindingStatus::Fail) if failures.peek().is_none() => Exit::Failed,
        Some(FindingStatus::Fail)
            if failures.all(|code| code.severity() == Severity::NeedsAction) =>
        {
            Exit::ActionRequired
        }
        Some(FindingStatus::Fail) => Exit::Failed,
        _ => Exit::Done,
    }
}

fn text(preflight: &Preflight) -> String {
    let mut text = String::new();
    for view in &preflight.findings {
        text += &line(view);
    }
    let said = match preflight.outcome {
        Some(FindingStatus::Pass) => "Nothing stands in the way.",
        Some(FindingStatus::Warn) => "Nothing stands in the way; mind the warnings.",
        Some(FindingStatus::Fail) => "The link would fail.",
        Some(FindingStatus::Unknown) | None => "Not everything could be read.",
    };
    let _ = writeln!(text, "\n{said}");
    text
}

fn line(view: &FindingView) -> String {
    let finding = &view.finding;
    let status = colour(finding.status).apply_to(format!("{:7}", finding.status));
    let topic = finding.topic.to_string().replace('_', " ");
    let mut line = format!("{status}  {topic:19}  {}\n", plain(&finding.detail));
    let asks = matches!(finding.status, FindingStatus::Warn | FindingStatus::Fail);
    if let (true, Some(code), Some(remedy)) = (asks, finding.code, &view.remedy) {
        let _ = writeln!(line, "{:30}{code}: {}", "", plain(remedy));
    }
    line
}

fn colour(status: FindingStatus) -> Style {
    match status {
        FindingStatus::Pass => Style::new().green(),
        FindingStatus::Warn => Style::new().yellow().bold(),
        FindingStatus::Fail => Style::new().red().bold(),
        FindingStatus::Unknown => Style::new().dim(),
    }
}
