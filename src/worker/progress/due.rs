//! What there is to do next, read off the plan and the steps.

use std::time::Duration;

use super::{Next, Progress, Task};
use crate::link::{
    capabilities::Capabilities,
    plan::{Nature, PLAN, StepName, Way},
    status::{LinkStatus, StepState},
    step_run::StepRun,
};

impl Progress {
    /// What there is to do next. Marks steps that need no work of their own on the way.
    pub fn what_next(&mut self, provider: Capabilities) -> Next {
        let due = match self.is_undoing() {
            true => self.due_undo(provider),
            false => self.due(provider),
        };
        if !due.is_empty() {
            return Next::Steps(due);
        }
        let spec = &self.link.spec;
        let way = Way {
            spec,
            provider,
            setup: self.setup,
            exchanges_key: self.link.facts.rotation.is_some(),
        };
        let steps = self.link.steps.iter();
        let waiting = steps.filter(|run| self.is_waiting(&way, run));
        match waiting.filter_map(|run| run.next_attempt_at).min() {
            Some(at) => Next::Pause((at - self.now()).try_into().unwrap_or_default()),
            None => Next::Rest,
        }
    }

    fn is_waiting(&self, way: &Way<'_>, run: &StepRun) -> bool {
        let may_go_on =
            || (!self.has_failed() || self.may_retire_key(run)) && self.is_prepared(way, run.step);
        run.state == StepState::Waiting && (self.is_undoing() || may_go_on())
    }

    fn has_failed(&self) -> bool {
        self.link
            .steps
            .iter()
            .any(|run| run.state == StepState::Failed)
    }

    fn due(&mut self, provider: Capabilities) -> Vec<StepName> {
        if self.has_failed() {
            return self.due_looks();
        }
        let mut due = Vec::new();
        for row in PLAN {
            let spec = &self.link.spec;
            let way = Way {
                spec,
                provider,
                setup: self.setup,
                exchanges_key: self.link.facts.rotation.is_some(),
            };
            let run = self.run(row.name);
            let is_prepared = || self.is_prepared(&way, row.name);
            let ready = match run.state {
                StepState::Pending => is_prepared(),
                StepState::Running => true,
                StepState::Waiting => {
                    is_prepared() && run.next_attempt_at.is_none_or(|at| at <= self.now())
                }
                _ => false,
            };
            match ready {
                true if way.skips(row.name) => self.change(row.name).state = StepState::Skipped,
                true => due.push(row.name),
                false => {}
            }
        }
        due
    }

    /// Whether everything before the step is through. A retry looks at the repository again: until that has passed, no later
    /// step may go on, however long it has waited.
    fn is_prepared(&self, way: &Way<'_>, step: StepName) -> bool {
        let mut needs = way.needs(step).iter();
        needs.all(|need| self.is_through(*need) && self.is_prepared(way, *need))
    }

    /// The former key goes also when the build that has cloned with the new one failed later.
    fn may_retire_key(&self, run: &StepRun) -> bool {
        run.step == StepName::RetireKey && self.link.facts.rotation.is_some()
    }

    /// Failed steps that look again by themselves whether a person has done what was asked.
    fn due_looks(&self) -> Vec<StepName> {
        let now = self.now();
        let is_due = |run: &&StepRun| match run.state {
            StepState::Failed => run.next_attempt_at.is_some_and(|at| at <= now),
            StepState::Pending | StepState::Running | StepState::Waiting => {
                self.may_retire_key(run) && run.next_attempt_at.is_none_or(|at| at <= now)
            }
            _ => false,
        };
        self.link
            .steps
            .iter()
            .filter(is_due)
            .map(|run| run.step)
            .collect()
    }

    /// How long until a failed step looks again; nothing when none does.
    pub fn looks_again_in(&self) -> Option<Duration> {
        let failed = self
            .link
            .steps
            .iter()
            .filter(|run| run.state == StepState::Failed);
        let at = failed.filter_map(|run| run.next_attempt_at).min()?;
        Some((at - self.now()).try_into().unwrap_or_default())
    }

    pub(super) fn is_through(&self, step: StepName) -> bool {
        matches!(self.run(step).state, StepState::Done | StepState::Skipped)
    }

    fn due_undo(&mut self, provider: Capabilities) -> Vec<StepName> {
        let mut due = Vec::new();
        for row in PLAN.iter().rev() {
            let spec = &self.link.spec;
            let way = Way {
                spec,
                provider,
                setup: self.setup,
                exchanges_key: self.link.facts.rotation.is_some(),
            };
            let dependants_gone = PLAN
                .iter()
                .filter(|other| way.builds_on(other.name, row.name))
                .all(|other| !self.needs_undo(other.name));
            if !self.needs_undo(row.name) || !dependants_gone {
                continue;
            }
            let run = self.run(row.name);
            if row.nature != Nature::Makes {
                let run = self.change(row.name);
                run.state = StepState::Undone;
                run.intent_at = None;
            } else if run.state != StepState::UndoFailed
                && run.next_attempt_at.is_none_or(|at| at <= self.now())
            {
                due.push(row.name);
            }
        }
        due
    }

    pub(super) fn needs_undo(&self, step: StepName) -> bool {
        match self.run(step).state {
            StepState::Skipped | StepState::Undone => false,
            // It was to look again, or to make another one.
            StepState::Pending => self.link.facts.are_left_of(step),
            _ => true,
        }
    }

    /// Whether the step has come to rest without a look for what it may have made.
    fn rests_uncertain(&self, step: StepName) -> bool {
        self.run(step).rested_at().is_some() && step.planned().nature == Nature::Makes
    }

    /// What is to be done about a due step, and notes that it is about to be done. Call it before
    /// the save that precedes the effect: a step that makes or causes something is then known to
    /// be uncertain until its outcome is saved.
    pub fn begin(&mut self, step: StepName) -> Task {
        let now = self.now();
        let uncertain = self.run(step).intent_at.is_some();
        let task = match (self.is_undoing(), uncertain) {
            (true, true) => return Task::Settle,
            (true, false) => Task::Undo,
            (false, _) if self.run(step).state == StepState::Failed => return Task::Look,
            // What people have made since it came to rest is not its own: a new call has an intent of its own.
            (false, true) if self.rests_uncertain(step) => {
                self.change(step).state = StepState::Running;
                return Task::Settle;
            }
            (false, _) => Task::Ensure {
                look_first: self.run(step).started_at.is_some(),
            },
        };
        if task == Task::Undo {
            // Absent counts as done, so an undo may be repeated without an intent.
            return task;
        }
        if self.run(step).started_at.is_none() {
            self.change(step).started_at = Some(now);
        }
        if step.planned().nature != Nature::Looks {
            let run = self.change(step);
            run.state = StepState::Running;
            run.intent_at.get_or_insert(now);
        }
        if self.link.status == LinkStatus::Queued {
            self.set_status(LinkStatus::Linking);
        }
        task
    }
}
