//! A step of a link as it stands, and what a retry makes of it.

use time::OffsetDateTime;

use super::{
    drift::{DriftKind, Heal},
    facts::{AskedBuild, Facts, Proof},
    failure::{Failure, FailureCode},
    plan::{Nature, StepName},
    status::{LinkStatus, StepState},
};

/// One step of one link.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRun {
    /// Which step.
    pub step: StepName,
    /// Where it stands.
    pub state: StepState,
    /// Tries that ended in an error since the last retry.
    pub attempts: i16,
    /// Set before an effect, cleared once its outcome is known. A link may come to rest before that.
    pub intent_at: Option<OffsetDateTime>,
    /// When to try or look again, in database time.
    pub next_attempt_at: Option<OffsetDateTime>,
    /// The last failure.
    pub failure: Option<Failure>,
    /// What it waits for, or how its undo ended.
    pub note: Option<String>,
    /// When it was first begun.
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    pub finished_at: Option<OffsetDateTime>,
}

impl StepRun {
    /// When the step came to rest before the outcome of its call was known: nothing was sent after that.
    pub fn rested_at(&self) -> Option<OffsetDateTime> {
        let (intent, finished) = self.intent_at.zip(self.finished_at)?;
        (finished >= intent).then_some(finished)
    }

    /// A step that has not begun.
    pub const fn pending(step: StepName) -> Self {
        Self {
            step,
            state: StepState::Pending,
            attempts: 0,
            intent_at: None,
            next_attempt_at: None,
            failure: None,
            note: None,
            started_at: None,
            finished_at: None,
        }
    }
}

/// What a retry makes of a link that stands still: failed steps begin again, the repository is
/// looked at again first, and a link whose build failed has its key, webhook and attachment looked
/// at before the next build.
pub fn prepare_retry(steps: &mut [StepRun], facts: &mut Facts, status: LinkStatus) {
    use StepName::{
        AttachRepository, FindBuild, InstallDeployKey, InstallWebhook, ProvePush, ReplayPush,
        ResolveRepository, WatchDeploy,
    };
    // Netlify takes no notice of an app that was let in later, until the repository is attached once more.
    let is_unheard = |run: &&StepRun| {
        let code = run.failure.as_ref().map(|failure| failure.code);
        run.step == FindBuild && code == Some(FailureCode::InstallationNotDelivering)
    };
    let is_unheard = steps.iter().any(|run| is_unheard(&run));
    let (looked_at, begun_anew): (&[_], &[_]) = match status {
        LinkStatus::BuildFailed => (
            &[InstallDeployKey, InstallWebhook, AttachRepository],
            &[FindBuild, WatchDeploy],
        ),
        LinkStatus::ActionRequired if is_unheard => (&[], &[AttachRepository, FindBuild]),
        LinkStatus::Degraded => (&[InstallWebhook], &[ReplayPush, ProvePush]),
        _ => (&[], &[]),
    };
    for run in steps.iter_mut() {
        let is_looked_at = run.step == ResolveRepository || looked_at.contains(&run.step);
        if begun_anew.contains(&run.step) {
            *run = StepRun::pending(run.step);
        } else if is_looked_at && run.state == StepState::Done {
            // Pending in plan order, but begun before: it looks first.
            run.state = StepState::Pending;
        } else if matches!(
            run.state,
            StepState::Failed | StepState::Waiting | StepState::UndoFailed
        ) {
            run.state = StepState::Waiting;
        }
        run.attempts = 0;
        run.next_attempt_at = None;
    }
    if status == LinkStatus::BuildFailed {
        facts.end_build();
    }
    facts.proof = facts.proof.take().filter(|_| begun_anew.is_empty());
}

/// What the wish to build once more makes of a link at rest: the build so far becomes history, the
/// one that was asked for is found or started, and what had failed begins again too.
pub fn prepare_rebuild(steps: &mut [StepRun], facts: &mut Facts, asked: AskedBuild) {
    let is_proof = |run: &StepRun| run.step == StepName::ProvePush && run.state == StepState::Done;
    if !steps.iter().any(is_proof) {
        facts.proof = None;
    }
    facts.end_build();
    facts.asked_build = Some(asked);
    begin_anew(steps, |run| {
        matches!(run.step, StepName::FindBuild | StepName::WatchDeploy)
            || (run.step == StepName::ReplayPush && facts.proof.is_none())
            || run.state == StepState::Failed
    });
}

/// What the wish for another proof, uttered `now`, makes of a link at rest.
pub fn prepare_verify(steps: &mut [StepRun], facts: &mut Facts, now: OffsetDateTime) {
    facts.proof = Some(Proof {
        since: Some(now),
        ..Proof::default()
    });
    begin_anew(steps, |run| {
        matches!(run.step, StepName::ReplayPush | StepName::ProvePush)
    });
}

/// What the wish for another key makes of a link at rest: a new pair is placed beside the old one, the site is told of it, and
/// a build that clones with it is the proof.
pub fn prepare_rotation(
    steps: &mut [StepRun],
    facts: &mut Facts,
    proof: AskedBuild,
    now: OffsetDateTime,
) {
    facts.retire_key(None);
    facts.end_build();
    facts.asked_build = Some(proof);
    begin_anew(steps, |run| {
        exchanges_key(run.step) || matches!(run.step, StepName::FindBuild | StepName::WatchDeploy)
    });
    look_again(steps, StepName::AttachRepository);
    // A proof that had failed would keep everything from going on.
    let is_failed_proof = |run: &StepRun| {
        run.state == StepState::Failed
            && matches!(run.step, StepName::ReplayPush | StepName::ProvePush)
    };
    if steps.iter().any(is_failed_proof) {
        prepare_verify(steps, facts, now);
    }
}

const fn exchanges_key(step: StepName) -> bool {
    matches!(
        step,
        StepName::ReserveDeployKey | StepName::InstallDeployKey | StepName::RetireKey
    )
}

/// What is left of a step when the former key has its place back; whether the step changes by that.
pub fn prepare_old_key(run: &mut StepRun) -> bool {
    let state = match run.step {
        StepName::RetireKey | StepName::AttachRepository => StepState::Pending,
        StepName::ReserveDeployKey
        | StepName::InstallDeployKey
        | StepName::FindBuild
        | StepName::WatchDeploy => StepState::Done,
        _ => return false,
    };
    *run = StepRun {
        state,
        started_at: run.started_at,
        finished_at: run.finished_at,
        ..StepRun::pending(run.step)
    };
    true
}

/// Pending in plan order, but begun before: the step looks first.
fn look_again(steps: &mut [StepRun], step: StepName) {
    for run in steps.iter_mut().filter(|run| run.step == step) {
        run.state = StepState::Pending;
        run.attempts = 0;
        run.next_attempt_at = None;
    }
}

/// What the wish to put these kinds of drift back makes of a link at rest: the steps that made what is other now look at it
/// and mend it, and where pushes may have gone by unheard, the proof begins anew.
pub fn prepare_heal(
    steps: &mut [StepRun],
    facts: &mut Facts,
    kinds: &[DriftKind],
    now: OffsetDateTime,
) {
    let mended = |step| kinds.iter().any(|kind| kind.mended_by().contains(&step));
    for run in steps.iter_mut() {
        if mended(run.step) && matches!(run.state, StepState::Done | StepState::Skipped) {
            // As in `look_again`. What was skipped may be needed by now.
            run.state = StepState::Pending;
        } else if run.state == StepState::Failed {
            run.state = StepState::Waiting;
        }
        run.attempts = 0;
        run.next_attempt_at = None;
    }
    let loses_key = |kind: &DriftKind| kind.takes_the_key_along();
    if kinds.iter().any(loses_key) && facts.deploy_key.as_ref().is_some_and(|key| !key.standing) {
        let detail = "Netlify deletes the key of a site that is detached";
        facts.retire_key(Some(Failure::new(FailureCode::LinkDeaf, detail)));
        begin_anew(steps, |run| exchanges_key(run.step));
    }
    if kinds.iter().any(|kind| kind.is_mended_by_a_build()) {
        facts.end_build();
        begin_anew(steps, |run| {
            matches!(run.step, StepName::FindBuild | StepName::WatchDeploy)
        });
    }
    let is_replayed = |run: &StepRun| {
        run.step == StepName::ReplayPush && !matches!(run.state, StepState::Skipped)
    };
    if kinds.iter().any(|kind| kind.casts_doubt_on_pushes()) && steps.iter().any(is_replayed) {
        prepare_verify(steps, facts, now);
    }
    facts
        .heals
        .retain(|heal| now - heal.at < time::Duration::DAY);
    let begun = kinds.iter().map(|kind| Heal {
        kind: *kind,
        at: now,
    });
    facts.heals.extend(begun);
    facts.healing = kinds.to_vec();
}

/// A step of which nobody knows what it has made looks for that first.
fn begin_anew(steps: &mut [StepRun], which: impl Fn(&StepRun) -> bool) {
    for run in steps.iter_mut().filter(|run| which(run)) {
        if run.rested_at().is_some() && run.step.planned().nature == Nature::Makes {
            run.state = StepState::Waiting;
            run.attempts = 0;
            run.next_attempt_at = None;
        } else {
            *run = StepRun::pending(run.step);
        }
    }
}
