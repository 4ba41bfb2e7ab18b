//! A link as text for people: where it stands, why, and what it leans on.

use std::fmt::Write;

use comfy_table::{ContentArrangement, Table, presets};
use console::{Style, Term, style};
use time::OffsetDateTime;

use super::step_line::{StepLine, title};
use super::terminal::plain;
use crate::api::links::view::{Diagnosis, DriftView, Link, LinkSummary, ResourceView};
use crate::link::action::{Action, Deed};
use crate::link::drift::Healable;
use crate::link::facts::Origin;
use crate::link::failure::{Certainty, Evidence, Fault, UpstreamTrace};
use crate::link::resource::{Receipt, ResourceKind};
use crate::link::status::LinkStatus;

/// The status in its colour.
pub fn status(status: LinkStatus) -> String {
    let colour = match status {
        LinkStatus::Live => Style::new().green().bold(),
        LinkStatus::Failed | LinkStatus::BuildFailed => Style::new().red().bold(),
        LinkStatus::ActionRequired | LinkStatus::Degraded => Style::new().yellow().bold(),
        LinkStatus::Canceled | LinkStatus::Unlinked => Style::new().dim(),
        _ => Style::new().cyan(),
    };
    colour.apply_to(status).to_string()
}

/// Everything about a link.
pub fn link(link: &Link) -> String {
    let mut text = outcome(link);
    text += &rows(&link.summary);
    if !link.summary.drift.is_empty() {
        text += &format!("\nDrift\n{}", drift(&link.summary));
    }
    text += "\nSteps\n";
    for step in &link.steps {
        let Some(line) = StepLine::of(step, link.summary.status) else {
            continue;
        };
        let sign = line.mark.sign(false);
        let row = format!("  {sign} {:31} {}", title(step.name), line.note);
        let _ = writeln!(text, "{}", row.trim_end());
    }
    if !link.resources.is_empty() {
        let _ = write!(text, "\nObjects\n{}", receipt(&link.resources));
    }
    text
}

/// Where a link stands in one line, and why it stands still when it does.
pub fn outcome(link: &Link) -> String {
    let summary = &link.summary;
    let site = summary.site.as_ref();
    let mut text = status(summary.status);
    match site.filter(|_| !summary.status.is_over()) {
        Some(site) => text += &format!("  {}\n", plain(&site.url)),
        None => text += &format!("  {}\n", plain(&summary.request.repository)),
    }
    if let Some(diagnosis) = &summary.diagnosis {
        text += &told(diagnosis);
        if diagnosis.retryable && summary.status.may_retry() {
            let _ = writeln!(text, "  Then: linkbroker retry {} --wait", summary.id);
        }
    }
    text
}

/// A diagnosis: what is wrong, the evidence, whose turn it is, and what to do.
fn told(diagnosis: &Diagnosis) -> String {
    let code = style(diagnosis.code).dim();
    let mut text = format!("\n{} ({code})\n", style(&diagnosis.title).bold());
    if diagnosis.detail.trim_end_matches('.') != diagnosis.title {
        let _ = writeln!(text, "  {}", plain(&diagnosis.detail));
    }
    text += &evidence(&diagnosis.evidence);
    if let Some(call) = &diagnosis.upstream {
        let _ = writeln!(text, "  {}", upstream(call));
    }
    let sure = match diagnosis.certainty {
        Certainty::Certain => "certain",
        Certainty::Likely => "likely, not certain",
        Certainty::Unknown => "unknown; the evidence is all there is",
    };
    let _ = writeln!(text, "  Is that the cause: {sure}.");
    let whose = match diagnosis.fault {
        Fault::Caller => "yours, or the repository owner's",
        Fault::Provider => "at the git provider",
        Fault::Netlify => "at Netlify",
        Fault::Broker => "with linkbroker's operator",
        Fault::Owner => "with the owner of the Netlify team",
    };
    let _ = writeln!(text, "  Whose turn it is: {whose}.");
    let _ = writeln!(text, "  What to do: {}", style(&diagnosis.remedy).bold());
    if let Some(action) = &diagnosis.action {
        text += &asked(action);
    }
    text
}

/// What a person is asked to do; what has to be copied stands on a line of its own.
fn asked(action: &Action) -> String {
    let (what, thing) = match &action.what {
        Deed::PlaceDeployKey { public_key } => ("Deploy key to put in place", public_key),
        Deed::PlaceWebhook { url, .. } => ("Address that has to be told of pushes, as JSON", url),
        Deed::PushCommit { branch } => ("Branch to push to", branch),
    };
    let mut text = format!("\n  {what}:\n    {}\n", plain(thing));
    if let Deed::PlaceWebhook { events, .. } = &action.what
        && !events.is_empty()
    {
        let _ = writeln!(text, "  Events: {}", plain(&events.join(", ")));
    }
    for (name, value) in [("Where", &action.page), ("As", &action.account)] {
        if let Some(value) = value {
            let _ = writeln!(text, "  {name}: {}", plain(value));
        }
    }
    text
}

/// Lines of one source stand together under its name.
fn evidence(evidence: &[Evidence]) -> String {
    let mut text = String::new();
    let mut source = None;
    for seen in evidence {
        if source.replace(&seen.source) != Some(&seen.source) {
            let _ = writeln!(text, "  {}:", plain(&seen.source));
        }
        for line in seen.text.lines() {
            let _ = writeln!(text, "    {}", plain(line));
        }
    }
    text
}

fn upstream(call: &UpstreamTrace) -> String {
    let said = match call.status {
        Some(status) => format!("answered {status}"),
        None => "did not answer".to_owned(),
    };
    let id = call.request_id.as_deref().map(plain);
    let id = id.map(|id| format!(" (request {id})")).unwrap_or_default();
    format!("{} {said}{id}", plain(&call.upstream))
}

fn rows(link: &LinkSummary) -> String {
    let mut rows = vec![("id", link.id.clone())];
    rows.extend(link.reference.clone().map(|reference| ("ref", reference)));
    rows.extend(labels(link).map(|labels| ("labels", labels)));
    rows.push(("repository", repository(link)));
    if !link.status.is_over() {
        rows.extend(at_netlify(link));
        rows.push(("proven", proven(link.verification.level).to_owned()));
    }
    rows.push(("changed", age(link.updated_at)));
    let line = |(name, value): (&str, String)| format!("  {name:11} {}\n", plain(&value));
    rows.into_iter().map(line).collect()
}

fn labels(link: &LinkSummary) -> Option<String> {
    let labels = link.labels.as_object()?.iter();
    let labels = labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    let labels: Vec<_> = labels.collect();
    (!labels.is_empty()).then(|| labels.join(" "))
}

fn at_netlify(link: &LinkSummary) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if let Some(site) = &link.site {
        rows.push(("site", format!("{} (team {})", site.name, site.team)));
        rows.push(("at Netlify", site.admin_url.clone()));
    }
    rows.extend(link.build.as_ref().map(|build| ("build", build.id.clone())));
    if let Some(deploy) = &link.deploy {
        let commit = deploy.commit_ref.as_ref();
        let commit = commit.map(|commit| format!(", commit {commit}"));
        let commit = commit.unwrap_or_default();
        rows.push(("deploy", format!("{}: {}{commit}", deploy.id, deploy.state)));
    }
    rows
}

fn repository(link: &LinkSummary) -> String {
    let branch = link.repository.as_ref().map(|found| found.branch.as_str());
    match branch.or(link.request.branch.as_deref()) {
        Some(branch) => format!("{} ({branch})", link.request.repository),
        None => link.request.repository.clone(),
    }
}

const fn proven(level: u8) -> &'static str {
    match level {
        0 => "nothing yet about pushes",
        1 => "a push reaches Netlify",
        2 => "a push starts a build",
        _ => "a push is built and deployed",
    }
}

/// How long ago, in the largest unit that fits.
pub fn age(at: OffsetDateTime) -> String {
    let seconds = (OffsetDateTime::now_utc() - at).whole_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// What differs from how the link left it, and whether it can be put back.
pub fn drift(link: &LinkSummary) -> String {
    if link.drift.is_empty() {
        return "Everything is as the link left it.\n".to_owned();
    }
    let row = |drift: &DriftView| {
        let said = |value: &Option<String>| plain(value.as_deref().unwrap_or("-"));
        let fate = match drift.healable {
            Healable::ByPolicy | Healable::OnRequest => "linkbroker heal puts it back",
            Healable::No => "yours to mend",
        };
        vec![
            format!("  {}", drift.kind),
            said(&drift.expected),
            said(&drift.found),
            age(drift.since),
            fate.to_owned(),
        ]
    };
    let heads = ["  what", "expected", "found", "since", ""];
    table(&heads, link.drift.iter().map(row))
}

/// Each object of a link and what became of it.
pub fn receipt(resources: &[ResourceView]) -> String {
    let row = |object: &ResourceView| {
        let kind = match object.kind {
            ResourceKind::DeployKey => "  deploy key",
            ResourceKind::InstalledKey => "  installed key",
            ResourceKind::Webhook => "  webhook",
            ResourceKind::EnvVariable => "  variable",
            ResourceKind::Site => "  site",
            ResourceKind::Notification => "  notification",
        };
        let fate = fate(object.receipt, object.origin).to_owned();
        vec![
            kind.to_owned(),
            object.id.clone(),
            object.host.clone(),
            fate,
        ]
    };
    table(&[], resources.iter().map(row))
}

const fn fate(receipt: Option<Receipt>, origin: Origin) -> &'static str {
    match (receipt, origin) {
        (None, Origin::Made) => "in use, made by linkbroker",
        (None, Origin::Found) => "in use, was there before",
        (Some(Receipt::Deleted), _) => "deleted",
        (Some(Receipt::AlreadyGone), _) => "was gone already",
        (Some(Receipt::KeptShared), _) => "kept: another link needs it",
        (Some(Receipt::KeptForeign), Origin::Made) => "kept: the link goes by another now",
        (Some(Receipt::KeptForeign), Origin::Found) => "kept: it was there before",
        (Some(Receipt::Kept), _) => "kept, as asked for",
        (Some(Receipt::Stock), _) => "never used: kept for the next link",
        (Some(Receipt::Failed), _) => "could not be removed",
    }
}

/// A table without lines, as wide as the terminal when there is one.
pub fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if let Some((_, width)) = Term::stdout().size_checked() {
        table.set_width(width);
    }
    if !header.is_empty() {
        table.set_header(header);
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| plain(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    format!("{}\n", table.trim_fmt())
}
