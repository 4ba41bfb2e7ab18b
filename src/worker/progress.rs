//! One leased link between two saves: which steps are due, what their outcomes change, where it ends.
//!
//! Pure: it knows neither the database nor the network. The times are database time, carried on
//! from the moment of the claim.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{
    config::Retry,
    link::{
        facts::{Fact, Facts},
        failure::{Failure, FailureCode},
        plan::{Nature, PLAN, StepName},
        resource::{Receipt, ResourceKind},
        status::{LinkStatus, StepState, Wanted},
        step_run::StepRun,
    },
    steps::{Halt, Undone},
    store::{events::NewEvent, links::LeasedLink, resources::Entry},
};

/// Lives that a link may cost before it is parked.
const DEATHS_MAX: i16 = 3;

/// A leased link and what is not yet saved of it.
#[derive(Debug)]
pub struct Progress {
    /// The link as it is now.
    pub link: LeasedLink,
    claimed: Instant,
    dirty: bool,
    changed: BTreeSet<StepName>,
    entries: Vec<Entry>,
    releases: Vec<(ResourceKind, String, Receipt)>,
    events: Vec<NewEvent>,
}

/// What there is to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// These steps, at the same time.
    Steps(Vec<StepName>),
    /// Nothing before this time has passed.
    Pause(Duration),
    /// Nothing until somebody acts.
    Rest,
}

/// What has to be saved.
#[derive(Debug)]
pub struct Unsaved {
    /// Steps that changed.
    pub steps: Vec<StepRun>,
    /// Objects found or made.
    pub entries: Vec<Entry>,
    /// Objects let go of.
    pub releases: Vec<(ResourceKind, String, Receipt)>,
    /// What happened.
    pub events: Vec<NewEvent>,
}

/// What is to be done about a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Bring its part of the world about.
    Ensure {
        /// Whether an earlier try may have had its effect.
        look_first: bool,
    },
    /// Find out whether an interrupted try had its effect, to be able to take it back.
    Settle,
    /// Take its part of the world back.
    Undo,
}

impl Progress {
    /// Takes up a link that was just claimed.
    pub fn new(link: LeasedLink) -> Self {
        let mut progress = Self {
            link,
            claimed: Instant::now(),
            dirty: false,
            changed: BTreeSet::new(),
            entries: Vec::new(),
            releases: Vec::new(),
            events: Vec::new(),
        };
        progress.fill_steps();
        if progress.link.deaths >= DEATHS_MAX {
            progress.park();
        }
        progress
    }

    /// One row per step of the plan, in its order: steps that were never begun have none in the database.
    fn fill_steps(&mut self) {
        let begun = std::mem::take(&mut self.link.steps);
        let run = |step| begun.iter().find(|run| run.step == step).cloned();
        self.link.steps = PLAN
            .iter()
            .map(|row| run(row.name).unwrap_or_else(|| StepRun::pending(row.name)))
            .collect();
    }

    /// Database time now.
    pub fn now(&self) -> OffsetDateTime {
        self.link.claimed_at + self.claimed.elapsed()
    }

    /// How long a step has been under way.
    pub fn elapsed(&self, step: StepName) -> Duration {
        let started = self.run(step).started_at.unwrap_or_else(|| self.now());
        (self.now() - started).try_into().unwrap_or_default()
    }

    /// Whether the link is being taken back.
    pub fn is_undoing(&self) -> bool {
        self.link.wanted != Wanted::Linked
    }

    /// Whether anything is not yet saved.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// The step's row.
    pub fn run(&self, step: StepName) -> &StepRun {
        // `fill_steps` made one row per step of the plan, in its order.
        &self.link.steps[step as usize]
    }

    fn change(&mut self, step: StepName) -> &mut StepRun {
        self.dirty = true;
        self.changed.insert(step);
        &mut self.link.steps[step as usize]
    }

    fn event(&mut self, kind: &'static str, detail: serde_json::Value) {
        self.dirty = true;
        self.events.push(NewEvent { kind, detail });
    }

    fn set_status(&mut self, status: LinkStatus) {
        if self.link.status != status {
            let from = std::mem::replace(&mut self.link.status, status);
            self.event("link.status_changed", json!({ "from": from, "to": status }));
        }
    }

    /// Takes note of what the caller wants by now.
    pub fn heed(&mut self, wanted: Wanted) {
        if self.link.wanted == wanted {
            return;
        }
        self.link.wanted = wanted;
        self.link.failure = None;
        self.set_status(self.link.status.undoing(self.link.was_live));
        for row in PLAN {
            let run = self.change(row.name);
            run.attempts = 0;
            run.next_attempt_at = None;
        }
    }

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
        run.state == StepState::Waiting && (self.is_undoing() || !self.has_failed())
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
                StepState::Pending => row.needs.iter().all(|need| self.is_through(*need)),
                StepState::Running => true,
                StepState::Waiting => run.next_attempt_at.is_none_or(|at| at <= self.now()),
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

    fn is_through(&self, step: StepName) -> bool {
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

    fn needs_undo(&self, step: StepName) -> bool {
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

    /// Takes over how a step ended. `entry` is its object for the ledger, when it has one.
    pub fn ensured(
        &mut self,
        step: StepName,
        result: Result<(Fact, Option<Entry>), Halt>,
        retry: &Retry,
    ) {
        match result {
            Ok((fact, entry)) => {
                self.learn(fact);
                self.entries.extend(entry);
                self.end(step, StepState::Done, None);
                self.link.deaths = 0;
                self.event("step.done", json!({ "step": step }));
                // A wish to unlink may have come with the save of this try's intent.
                if step == StepName::AttachRepository && !self.is_undoing() {
                    self.set_status(LinkStatus::Building);
                }
            }
            Err(Halt::Reopen {
                step: earlier,
                fact,
            }) => {
                self.learn(*fact);
                for reopened in [earlier, step] {
                    *self.change(reopened) = StepRun::pending(reopened);
                }
                self.event(
                    "step.reopened",
                    json!({ "step": earlier, "because_of": step }),
                );
            }
            Err(halt) => self.halted(step, halt, StepState::Failed, retry),
        }
    }

    /// Takes over what looking for the effect of an interrupted try found.
    pub fn settled(
        &mut self,
        step: StepName,
        result: Result<Option<(Fact, Option<Entry>)>, Halt>,
        retry: &Retry,
    ) {
        match result {
            Ok(found) => {
                if let Some((fact, entry)) = found {
                    self.learn(fact);
                    self.entries.extend(entry);
                }
                self.change(step).intent_at = None;
            }
            Err(halt) => self.halted(step, halt, StepState::UndoFailed, retry),
        }
    }

    /// Takes over how an undo ended.
    pub fn undone(&mut self, step: StepName, result: Result<Undone, Halt>, retry: &Retry) {
        match result {
            Ok(receipts) => {
                self.end(step, StepState::Undone, None);
                self.link.deaths = 0;
                let receipt: Vec<_> = receipts
                    .iter()
                    .map(
                        |(kind, id, receipt)| json!({ "kind": kind, "id": id, "receipt": receipt }),
                    )
                    .collect();
                self.event("step.undone", json!({ "step": step, "receipt": receipt }));
                self.releases.extend(receipts);
            }
            Err(halt) => self.halted(step, halt, StepState::UndoFailed, retry),
        }
    }

    fn learn(&mut self, fact: Fact) {
        let before = self.link.facts.clone();
        if !self.link.facts.learn(fact) {
            return;
        }
        self.dirty = true;
        self.release_replaced(&before);
        let deploy_state = before.deploy.map(|deploy| deploy.state);
        if let Some(deploy) = &self.link.facts.deploy
            && Some(&deploy.state) != deploy_state.as_ref()
        {
            let detail = json!({ "deploy_id": deploy.id, "state": deploy.state });
            self.event("deploy.state_changed", detail);
        }
    }

    /// An object that had to be made again was gone.
    fn release_replaced(&mut self, before: &Facts) {
        let now = &self.link.facts;
        let key = |facts: &Facts| facts.installed_key.as_ref().map(|key| key.id.clone());
        let webhook = |facts: &Facts| facts.webhook.as_ref().map(|webhook| webhook.id.clone());
        let pairs = [
            (ResourceKind::InstalledKey, key(before), key(now)),
            (ResourceKind::Webhook, webhook(before), webhook(now)),
        ];
        for (kind, old, new) in pairs {
            if let Some(old) = old.filter(|old| Some(old) != new.as_ref()) {
                self.releases.push((kind, old, Receipt::AlreadyGone));
            }
        }
    }

    fn end(&mut self, step: StepName, state: StepState, failure: Option<Failure>) {
        let now = self.now();
        let run = self.change(step);
        run.state = state;
        run.failure = failure;
        run.intent_at = None;
        run.next_attempt_at = None;
        run.note = None;
        run.finished_at = Some(now);
    }

    fn halted(&mut self, step: StepName, halt: Halt, failed: StepState, retry: &Retry) {
        match halt {
            Halt::Wait { after, note, fact } => {
                if let Some(fact) = fact {
                    self.learn(*fact);
                }
                self.wait(step, after, &note);
            }
            Halt::Retry { failure, uncertain } => {
                self.failed_try(step, failure, uncertain, failed, retry)
            }
            Halt::Stop { failure, fact } => {
                if let Some(fact) = fact {
                    self.learn(*fact);
                }
                self.fail(step, failure, failed);
            }
            Halt::Reopen { .. } => {
                let failure = Failure::new(
                    FailureCode::Internal,
                    "a step was reopened while it was being undone",
                );
                self.fail(step, failure, failed);
            }
        }
    }

    /// A healthy pause costs no attempt; one that says nothing new is not worth a save.
    fn wait(&mut self, step: StepName, after: Duration, note: &str) {
        let next = self.now() + after;
        let run = &mut self.link.steps[step as usize];
        let news = run.state != StepState::Waiting
            || run.note.as_deref() != Some(note)
            || run.intent_at.is_some();
        run.state = StepState::Waiting;
        run.next_attempt_at = Some(next);
        run.intent_at = None;
        if news {
            self.change(step).note = Some(note.to_owned());
        }
    }

    fn failed_try(
        &mut self,
        step: StepName,
        failure: Failure,
        uncertain: bool,
        failed: StepState,
        retry: &Retry,
    ) {
        let attempts = self.run(step).attempts + 1;
        if attempts as u32 >= retry.attempts {
            self.change(step).attempts = attempts;
            return self.fail(step, failure, failed);
        }
        let next = self.now() + backoff(retry, attempts);
        tracing::warn!(link = %self.link.id, %step, attempts, %failure, "step failed, trying again");
        self.event(
            "step.retrying",
            json!({ "step": step, "code": failure.code, "attempts": attempts }),
        );
        let run = self.change(step);
        run.state = StepState::Waiting;
        run.attempts = attempts;
        run.note = Some(failure.detail.clone());
        run.failure = Some(failure);
        run.next_attempt_at = Some(next);
        if !uncertain {
            run.intent_at = None;
        }
    }

    fn fail(&mut self, step: StepName, failure: Failure, failed: StepState) {
        tracing::warn!(link = %self.link.id, %step, %failure, "step failed");
        self.event("step.failed", json!({ "step": step, "code": failure.code }));
        self.end(step, failed, Some(failure));
    }

    /// Gives the link the status in which it comes to rest.
    pub fn settle(&mut self) {
        if self.is_undoing() {
            return self.settle_undo();
        }
        match self.first_failure(StepState::Failed) {
            Some((step, failure)) => {
                self.set_status(LinkStatus::after_failure(step, failure.code.severity()));
                self.stop_with(failure);
                self.return_unused_key();
            }
            None => self.set_status(LinkStatus::Live),
        }
    }

    fn settle_undo(&mut self) {
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
        self.dirty = true;
        self.link.failure = Some(failure);
    }

    /// A key that was never sent to the provider serves the next link.
    fn return_unused_key(&mut self) {
        if self.run(StepName::InstallDeployKey).started_at.is_some() {
            return;
        }
        if let Some(key) = self.link.facts.deploy_key.take() {
            self.releases
                .push((ResourceKind::DeployKey, key.id, Receipt::Stock));
            *self.change(StepName::ReserveDeployKey) = StepRun::pending(StepName::ReserveDeployKey);
        }
    }

    /// A link that keeps killing its workers is set aside for people.
    fn park(&mut self) {
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

    fn fail_next_step(&mut self, failure: Failure) {
        let step = self.link.steps.iter().find(|run| {
            !matches!(
                run.state,
                StepState::Done | StepState::Skipped | StepState::Undone
            )
        });
        let step = step.map_or(StepName::ResolveRepository, |run| run.step);
        let failed = match self.is_undoing() {
            true => StepState::UndoFailed,
            false => StepState::Failed,
        };
        let uncertain = self.run(step).intent_at;
        self.fail(step, failure, failed);
        self.change(step).intent_at = uncertain;
    }

    /// What has to be saved; afterwards nothing has.
    pub fn take_unsaved(&mut self) -> Unsaved {
        self.dirty = false;
        let changed = std::mem::take(&mut self.changed);
        Unsaved {
            steps: changed
                .into_iter()
                .map(|step| self.run(step).clone())
                .collect(),
            entries: std::mem::take(&mut self.entries),
            releases: std::mem::take(&mut self.releases),
            events: std::mem::take(&mut self.events),
        }
    }
}

/// Doubling pauses with full jitter over their second half.
fn backoff(retry: &Retry, attempts: i16) -> Duration {
    let doublings = u32::from(attempts.unsigned_abs() - 1).min(20);
    let pause = retry.base.saturating_mul(1 << doublings).min(retry.max);
    pause.mul_f64(fastrand::f64().midpoint(1.0))
}
