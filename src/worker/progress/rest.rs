//! Where a link comes to rest.

use serde_json::json;

use super::Progress;
use crate::link::{
    drift,
    failure::{Evidence, Failure, FailureCode},
    plan::StepName,
    resource::{Receipt, ResourceKind},
    status::{LinkStatus, StepState},
    step_run::{StepRun, prepare_old_key, prepare_retry},
};
use crate::{store::links::LeasedLink, worker::refusals::is_refusal};

impl Progress {
    /// Puts the former key back when the one that was to take its place has failed; whether there is something to do now. A build
    /// that failed after it had cloned is no failure of the key.
    pub fn keeps_old_key(&mut self) -> bool {
        let rotation = self.link.facts.rotation.as_ref();
        let is_undecided = rotation.is_some_and(|rotation| rotation.useless.is_none());
        let Some((step, failure)) = self.first_failure(StepState::Failed) else {
            return false;
        };
        let deploy = self.link.facts.deploy.as_ref();
        let has_cloned = deploy.is_some_and(|deploy| deploy.commit_ref.is_some());
        let is_of_key = match step {
            StepName::ReserveDeployKey
            | StepName::InstallDeployKey
            | StepName::AttachRepository
            | StepName::FindBuild => true,
            StepName::WatchDeploy | StepName::RetireKey => !has_cloned,
            _ => false,
        };
        if self.is_undoing() || !is_undecided || !is_of_key {
            return false;
        }
        self.event(
            "link.key_rotation_failed",
            json!({ "step": step, "code": failure.code }),
        );
        self.link.facts.keep_old_key(failure);
        for run in &mut self.link.steps {
            if prepare_old_key(run) {
                self.changed.insert(run.step);
            }
        }
        true
    }

    /// Gives the link the status in which it comes to rest.
    pub fn settle(&mut self) {
        if self.is_undoing() {
            return self.settle_undo();
        }
        match self.first_failure(StepState::Failed) {
            Some((step, failure)) => {
                self.set_status(match self.link.facts.healing.is_empty() {
                    true => LinkStatus::after_failure(step, &failure),
                    // It stands as before; the next inspection tries again.
                    false => LinkStatus::Degraded,
                });
                self.stop_with(failure);
                self.return_unused_key();
            }
            None => self.settle_whole(),
        }
    }

    /// All steps are through. What was to be put back is in place now; what else differs does so still.
    fn settle_whole(&mut self) {
        let healed = std::mem::take(&mut self.link.facts.healing);
        if !healed.is_empty() {
            let facts = &mut self.link.facts;
            facts.drift.retain(|drift| !healed.contains(&drift.kind));
            self.event("link.healed", json!({ "kinds": healed }));
        }
        match drift::failure(&self.link.facts.drift) {
            Some(failure) => {
                self.set_status(LinkStatus::Degraded);
                self.stop_with(failure);
            }
            None => self.set_status(LinkStatus::Live),
        }
    }

    pub(super) fn settle_undo(&mut self) {
        match self.first_failure(StepState::UndoFailed) {
            Some((_, failure)) => {
                self.set_status(LinkStatus::ActionRequired);
                self.stop_with(failure);
            }
            None => self.set_status(self.link.status.undone()),
        }
    }

    fn first_failure(&self, state: StepState) -> Option<(StepName, Failure)> {
        let failed = self.link.steps.iter().find(|run| run.state == state)?;
        Some((failed.step, failed.failure.clone()?))
    }

    fn stop_with(&mut self, failure: Failure) {
        if self.link.failure.as_ref() != Some(&failure) {
            self.dirty = true;
            self.link.failure = Some(failure);
        }
    }

    /// Says of an undo that cannot finish what is left, and where.
    pub fn name_left_behind(&mut self, of: impl Fn(&LeasedLink) -> Vec<Evidence>) {
        if !self.is_undoing() || self.link.status != LinkStatus::ActionRequired {
            return;
        }
        let Some(mut failure) = self.link.failure.clone() else {
            return;
        };
        failure.evidence = of(&self.link);
        self.stop_with(failure);
    }

    /// Whether the provider was ever given the link's key. After the exchange of a key that came to nothing the step has not begun
    /// with the next one, and the one before is in its place.
    pub fn key_was_sent(&self) -> bool {
        let has_begun = self.run(StepName::InstallDeployKey).started_at.is_some();
        has_begun || self.link.facts.installed_key.is_some()
    }

    /// A key that was never sent to the provider serves the next link.
    fn return_unused_key(&mut self) {
        if self.key_was_sent() {
            return;
        }
        if let Some(key) = self.link.facts.deploy_key.take() {
            self.releases
                .push((ResourceKind::DeployKey, key.id, Receipt::Stock));
            *self.change(StepName::ReserveDeployKey) = StepRun::pending(StepName::ReserveDeployKey);
        }
    }

    /// A link that keeps killing its workers is set aside for people.
    pub(super) fn park(&mut self) {
        let detail = format!(
            "{} workers in a row died or lost their lease over this link",
            self.link.deaths
        );
        self.fail_next_step(Failure::new(FailureCode::WorkerDied, detail));
        self.link.deaths = 0;
    }

    /// Brings the link to rest with a failure that no step can go on from.
    pub fn stop_all(&mut self, failure: Failure) {
        self.fail_next_step(failure);
        self.settle();
    }

    /// Goes on where a refused credential had stopped the link: it is made due only when there is another one, or a check
    /// has passed.
    pub fn resume_after_refusal(&mut self) {
        let is_refused = self.link.failure.as_ref().is_some_and(is_refusal);
        if !self.link.status.is_settled() || !is_refused {
            return;
        }
        prepare_retry(&mut self.link.steps, &mut self.link.facts, self.link.status);
        self.changed
            .extend(self.link.steps.iter().map(|run| run.step));
        self.link.failure = None;
        self.forget_unsaved_status();
        self.set_status(match self.is_undoing() {
            true => LinkStatus::Unlinking,
            false => LinkStatus::Linking,
        });
        self.event("link.resumed", json!({ "because": "credential_replaced" }));
    }

    pub(super) fn fail_next_step(&mut self, failure: Failure) {
        let step = self.link.steps.iter().find(|run| {
            !matches!(
                run.state,
                StepState::Done | StepState::Skipped | StepState::Undone
            )
        });
        let step = step.map_or(StepName::ResolveRepository, |run| run.step);
        let before = self.run(step).clone();
        self.fail(step, failure, self.failed_state());
        self.keep_intent(step, &before);
    }
}
