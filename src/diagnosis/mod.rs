//! Why a build failed or a push went unbuilt, from evidence that the steps collected. Pure: the same evidence gives the
//! same diagnosis.
//!
//! The words of a build give a [`Suspicion`]; it names the [`Question`]s whose answers settle it. `certain` is only what
//! the state of the world shows, or words that mean nothing else.

mod build;
mod cause;
mod live;
mod log;
mod signatures;
mod silence;
mod told;

pub use build::{Suspicion, suspect};
pub use live::{
    Attached, BranchRule, ClonesBy, DeliveryState, InstallationState, KeyState, LiveState, Reading,
    RepositoryState, SiteState, TeamState, WebhookFlaw, WebhookState,
};
pub use silence::{QUESTIONS, UnbuiltPush, of_push, of_webhook};

use crate::{
    link::{facts::Deploy, failure::Evidence},
    redact,
};

/// Most lines of a build log that a diagnosis keeps.
const LOG_LINES: usize = 40;

/// What a diagnosis wants to know of the world: each is one read, of the repository up to three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Is the repository there, with the branch, and is it the same?
    Repository,
    /// Is the deploy key on it, and does it work?
    Key,
    /// Is the installation of Netlify's app there?
    Installation,
    /// Is the webhook there, on, and right?
    Webhook,
    /// How did the last delivery of a push end?
    Delivery,
    /// How is the site set up?
    Site,
    /// May the team build?
    Team,
}

/// Netlify's text, how things stand, the line that decided, and the end of the log.
fn evidence(
    deploy: &Deploy,
    log: &[String],
    live: &LiveState,
    line: Option<&str>,
) -> Vec<Evidence> {
    let tail = &log[log.len().saturating_sub(LOG_LINES)..];
    let earlier = line.filter(|line| !tail.iter().any(|kept| kept == line));
    let message = deploy.error_message.as_deref();
    let message = message.map(|text| seen("netlify.deploy.error_message", text));
    let log = earlier.into_iter().chain(tail.iter().map(String::as_str));
    message
        .into_iter()
        .chain(live.evidence())
        .chain(log.map(|line| seen("netlify.deploy.log", line)))
        .filter(|evidence| !evidence.text.is_empty())
        .collect()
}

/// A line of proof, fit to be shown.
fn seen(source: &str, text: &str) -> Evidence {
    Evidence {
        source: source.to_owned(),
        text: redact::excerpt(text),
    }
}

#[cfg(test)]
mod tests;
