//! A step of a link as one line for people.

use console::Style;

use super::terminal::plain;
use crate::api::links::view::StepView;
use crate::link::plan::{Nature, StepName};
use crate::link::status::{LinkStatus, StepState};

/// What a step does, for people.
pub const fn title(step: StepName) -> &'static str {
    match step {
        StepName::ResolveRepository => "look up the repository",
        StepName::ReserveDeployKey => "get a deploy key at Netlify",
        StepName::InstallDeployKey => "install the deploy key",
        StepName::InstallWebhook => "install the webhook",
        StepName::CreateSite => "create the site",
        StepName::SetEnvironment => "set the environment variables",
        StepName::AttachRepository => "attach the repository",
        StepName::AlignWebhook => "point the webhook at the site",
        StepName::OpenGate => "let the site build",
        StepName::SubscribeNotifications => "have Netlify tell of deploys",
        StepName::FindBuild => "find the first build",
        StepName::WatchDeploy => "build and deploy",
        StepName::ReplayPush => "replay the last push",
        StepName::ProvePush => "see the push start a build",
        StepName::RetireKey => "remove the former deploy key",
    }
}

/// How the line of a step begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Not begun.
    Open,
    /// Under way.
    Active,
    /// As wanted.
    Done,
    /// Not needed.
    Skipped,
    /// Ended badly.
    Failed,
}

impl Mark {
    /// Its sign, in its colour where there are colours.
    pub fn sign(self, stderr: bool) -> String {
        let (sign, colour) = match self {
            Self::Open => ("·", Style::new().dim()),
            Self::Active => ("…", Style::new().cyan()),
            Self::Done => ("✓", Style::new().green()),
            Self::Skipped => ("-", Style::new().dim()),
            Self::Failed => ("✗", Style::new().red()),
        };
        let sign = colour.apply_to(sign);
        match stderr {
            true => sign.for_stderr().to_string(),
            false => sign.for_stdout().to_string(),
        }
    }
}

/// A step as a line shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepLine {
    /// How it begins.
    pub mark: Mark,
    /// What the step waits for, why it failed, how long it took; may be empty.
    pub note: String,
}

impl StepLine {
    /// The line of a step of a link in this status; absent when it has nothing to tell.
    pub fn of(step: &StepView, status: LinkStatus) -> Option<Self> {
        let undoing = is_undoing(status);
        if undoing && step.name.planned().nature != Nature::Makes {
            return None;
        }
        let (mark, note) = match step.state {
            StepState::Pending | StepState::Skipped if undoing => return None,
            StepState::Pending => (Mark::Open, String::new()),
            StepState::Skipped => (Mark::Skipped, "not needed".to_owned()),
            StepState::Done if undoing => (Mark::Active, "to be taken back".to_owned()),
            StepState::Done => (Mark::Done, took(step)),
            StepState::Undone => (Mark::Done, "taken back".to_owned()),
            StepState::Failed | StepState::UndoFailed => (Mark::Failed, why(step)),
            StepState::Running => (Mark::Active, String::new()),
            StepState::Waiting => (Mark::Active, waiting(step)),
        };
        Some(Self { mark, note })
    }
}

/// Whether the link is being taken back, or is over.
pub fn is_undoing(status: LinkStatus) -> bool {
    matches!(
        status,
        LinkStatus::Canceling | LinkStatus::Canceled | LinkStatus::Unlinking | LinkStatus::Unlinked
    )
}

fn took(step: &StepView) -> String {
    match (step.started_at, step.finished_at) {
        (Some(from), Some(to)) => format!("{:.1} s", (to - from).as_seconds_f64().max(0.0)),
        _ => String::new(),
    }
}

fn why(step: &StepView) -> String {
    let failure = step.failure.as_ref();
    failure.map_or(String::new(), |failure| plain(&failure.detail))
}

fn waiting(step: &StepView) -> String {
    let reason = plain(step.reason.as_deref().unwrap_or_default());
    match step.attempts {
        0 => reason,
        tries => format!("try {} follows: {reason}", tries + 1),
    }
}
