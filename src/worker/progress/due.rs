//! What there is to do next, read off the plan and the steps.

use super::{Next, Progress, Task};
use crate::link::{
    plan::{Nature, PLAN, PlannedStep, StepName},
    status::{LinkStatus, StepState},
    step_run::StepRun,
};

impl Progress {
    /// What there is to do next. Marks steps that need no work of their own on the way.
    pub fn what_next(&mut self) -> Next {
        let due = match self.is_undoing() {
            true => self.due_undo(),
            false => self.due(),
        };
        if !due.is_empty() {
            return Next::Steps(due);
        }
        let waiting = self.link.steps.iter().filter(|run| self.is_waiting(run));
        match waiting.filter_map(|run| run.next_attempt_at).min() {
            Some(at) => Next::Pause((at - self.now()).try_into().unwrap_or_default()),
            None => Next::Rest,
        }
    }

    fn is_waiting(&self, run: &StepRun) -> bool {
        let may_go_on = || !self.has_failed() && self.is_prepared(run.step.planned());
        run.state == StepState::Waiting && (self.is_undoing() || may_go_on())
    }

    fn has_failed(&self) -> bool {
        self.link
            .steps
            .iter()
            .any(|run| run.state == StepState::Failed)
    }

    fn due(&mut self) -> Vec<StepName> {
        if self.has_failed() {
            return Vec::new();
        }
        let mut due = Vec::new();
        for row in PLAN {
            let run = self.run(row.name);
            let ready = match run.state {
                StepState::Pending => self.is_prepared(row),
                StepState::Running => true,
                StepState::Waiting => {
                    self.is_prepared(row) && run.next_attempt_at.is_none_or(|at| at <= self.now())
                }
                _ => false,
            };
            match ready {
                true if (row.skip)(&self.link.spec) => {
                    self.change(row.name).state = StepState::Skipped
                }
                true => due.push(row.name),
                false => {}
            }
        }
        due
    }

    /// Whether everything before the step is through. A retry looks at the repository again: until that has passed, no later
    /// step may go on, however long it has waited.
    fn is_prepared(&self, row: &PlannedStep) -> bool {
        let mut needs = row.needs.iter();
        needs.all(|need| self.is_through(*need) && self.is_prepared(need.planned()))
    }

    pub(super) fn is_through(&self, step: StepName) -> bool {
        matches!(self.run(step).state, StepState::Done | StepState::Skipped)
    }

    fn due_undo(&mut self) -> Vec<StepName> {
        let mut due = Vec::new();
        for row in PLAN.iter().rev() {
            let dependants_gone = PLAN
                .iter()
                .filter(|other| other.needs.contains(&row.name))
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
        !matches!(
            self.run(step).state,
            StepState::Pending | StepState::Skipped | StepState::Undone
        )
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
