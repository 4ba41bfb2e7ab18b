//! The conditions of a link: what is true of it now, read off its steps.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{drift::Drift, plan::StepName, status::StepState, step_run::StepRun, words::text_enum};

text_enum! {
    /// Something that is true of a link, false, or not yet known.
    ConditionType {
        /// The repository exists and may be linked.
        RepositoryResolved "RepositoryResolved",
        /// The deploy key is on the repository.
        KeyInstalled "KeyInstalled",
        /// The provider tells Netlify about pushes.
        WebhookInstalled "WebhookInstalled",
        /// The site knows its repository.
        SiteConfigured "SiteConfigured",
        /// The first build is deployed.
        FirstDeployReady "FirstDeployReady",
        /// A push was seen to start a build.
        PushTriggersBuild "PushTriggersBuild",
        /// Everything was found to be as the link left it.
        InSync "InSync",
    }
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, as a stable word: the state of the step behind it, or the code of its failure.
    pub reason: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Since when.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub since: Option<OffsetDateTime>,
}

text_enum! {
    /// Whether a condition holds.
    ConditionStatus {
        /// It holds.
        True "true",
        /// It does not hold.
        False "false",
        /// Nobody has seen it yet.
        Unknown "unknown",
    }
}

impl ConditionStatus {
    /// What a condition is while the step behind it stands like this.
    const fn of(state: StepState) -> Self {
        match state {
            StepState::Done => Self::True,
            StepState::Failed | StepState::Undone => Self::False,
            StepState::Pending
            | StepState::Running
            | StepState::Waiting
            | StepState::Skipped
            | StepState::UndoFailed => Self::Unknown,
        }
    }

    /// Every state of a step that gives a condition this status.
    pub fn states(self) -> impl Iterator<Item = StepState> {
        let states = StepState::ALL.iter().copied();
        states.filter(move |state| Self::of(*state) == self)
    }
}

impl ConditionType {
    /// The step that it is read off; absent for what inspections tell.
    pub const fn step(self) -> Option<StepName> {
        Some(match self {
            Self::RepositoryResolved => StepName::ResolveRepository,
            Self::KeyInstalled => StepName::InstallDeployKey,
            Self::WebhookInstalled => StepName::AlignWebhook,
            Self::SiteConfigured => StepName::AttachRepository,
            Self::FirstDeployReady => StepName::WatchDeploy,
            Self::PushTriggersBuild => StepName::ProvePush,
            Self::InSync => return None,
        })
    }
}

/// The conditions of a link with these steps and this drift, found when it was last looked at.
pub fn conditions(
    steps: &[StepRun],
    drift: &[Drift],
    checked_at: Option<OffsetDateTime>,
) -> Vec<Condition> {
    let of_step = |kind: &ConditionType| {
        let run = steps.iter().find(|run| Some(run.step) == kind.step())?;
        Some(condition(*kind, run))
    };
    let mut conditions: Vec<_> = ConditionType::ALL.iter().filter_map(of_step).collect();
    conditions.push(in_sync(drift, checked_at));
    conditions
}

fn in_sync(drift: &[Drift], checked_at: Option<OffsetDateTime>) -> Condition {
    let first = drift.iter().min_by_key(|drift| drift.since);
    let (status, reason) = match (first, checked_at) {
        (Some(first), _) => (ConditionStatus::False, first.kind.as_str()),
        (None, Some(_)) => (ConditionStatus::True, "as_left"),
        (None, None) => (ConditionStatus::Unknown, "not_checked"),
    };
    let told: Vec<_> = drift.iter().map(Drift::told).collect();
    Condition {
        kind: ConditionType::InSync,
        status,
        reason: reason.to_owned(),
        message: (!told.is_empty()).then(|| told.join("; ")),
        since: first.map(|drift| drift.since),
    }
}

fn condition(kind: ConditionType, run: &StepRun) -> Condition {
    let failure = run
        .failure
        .as_ref()
        .filter(|_| run.state != StepState::Done);
    Condition {
        kind,
        status: ConditionStatus::of(run.state),
        reason: failure
            .map_or(run.state.as_str(), |failure| failure.code.as_str())
            .to_owned(),
        message: failure
            .map(|failure| failure.detail.clone())
            .or_else(|| run.note.clone()),
        since: run.finished_at,
    }
}
