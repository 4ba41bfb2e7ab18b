//! What the outcomes of steps change.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::Progress;
use crate::{
    config::{Retry, Workers},
    link::{
        facts::{Fact, Facts, NotificationHook},
        failure::{Failure, FailureCode},
        plan::{Nature, StepName},
        resource::{Receipt, ResourceKind},
        status::{LinkStatus, StepState},
        step_run::StepRun,
    },
    steps::{Halt, Undone},
    store::resources::Entry,
};

/// Shortest pause between looks for the effect of an interrupted try.
const LOOK_MIN: Duration = Duration::from_millis(100);
/// Longest pause between looks whether a person has done what was asked.
const LOOK_MAX: Duration = Duration::from_secs(600);

impl Progress {
    /// Takes over how a step ended. `entries` are its objects for the ledger.
    pub fn ensured(
        &mut self,
        step: StepName,
        result: Result<(Fact, Vec<Entry>), Halt>,
        settings: &Workers,
    ) {
        match result {
            Ok((fact, entries)) => {
                if let Fact::KeyRetired(receipts) = &fact {
                    self.releases.extend(receipts.iter().cloned());
                    self.event("link.key_rotated", json!({ "receipts": receipts }));
                }
                self.learn(fact);
                self.entries.extend(entries);
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
                why,
            }) => {
                self.learn(*fact);
                for reopened in [earlier, step] {
                    *self.change(reopened) = StepRun::pending(reopened);
                }
                self.event(
                    "step.reopened",
                    json!({ "step": earlier, "because_of": step, "code": why }),
                );
            }
            Err(halt) => self.halted(step, halt, StepState::Failed, settings),
        }
    }

    /// Takes over what looking for the effect of an interrupted try found.
    pub fn settled(
        &mut self,
        step: StepName,
        result: Result<Option<(Fact, Vec<Entry>)>, Halt>,
        settings: &Workers,
    ) {
        match result {
            Ok(Some(found)) if !self.is_undoing() => self.ensured(step, Ok(found), settings),
            Ok(found) => {
                if let Some((fact, entries)) = found {
                    self.learn(fact);
                    self.entries.extend(entries);
                }
                self.change(step).intent_at = None;
            }
            Err(halt) => self.halted(step, halt, self.failed_state(), settings),
        }
    }

    /// Takes over whether a person has done what was asked. A look that finds nothing new says nothing.
    pub fn looked(
        &mut self,
        step: StepName,
        result: Result<Option<(Fact, Vec<Entry>)>, Halt>,
        settings: &Workers,
    ) {
        match result {
            Ok(Some(found)) => {
                self.link.failure = None;
                self.set_status(match self.is_through(StepName::AttachRepository) {
                    true => LinkStatus::Building,
                    false => LinkStatus::Linking,
                });
                self.ensured(step, Ok(found), settings);
            }
            Ok(None) | Err(Halt::Retry { .. }) => self.look_again(step, settings),
            Err(Halt::Wait { fact, .. }) => {
                if let Some(fact) = fact {
                    self.learn(*fact);
                }
                self.look_again(step, settings);
            }
            Err(halt) => self.halted(step, halt, StepState::Failed, settings),
        }
    }

    /// The longer nothing came of it, the later: news is never older than half the wait.
    fn look_again(&mut self, step: StepName, settings: &Workers) {
        let now = self.now();
        let run = &mut self.link.steps[step as usize];
        let since = now - run.finished_at.unwrap_or(now);
        let pause = Duration::try_from(since / 2).unwrap_or_default();
        let shortest = settings.watch_max.min(LOOK_MAX);
        run.next_attempt_at = Some(now + pause.clamp(shortest, LOOK_MAX));
        self.changed.insert(step);
    }

    /// A try that comes again may have been kept from looking: [`Self::stays_uncertain`]. One that was refused has looked.
    pub fn keep_uncertain(&mut self, step: StepName, before: &StepRun) {
        if self.run(step).state == StepState::Waiting {
            self.stays_uncertain(step, before);
        }
    }

    /// Nobody could look for what an earlier try may have made, so that stays as uncertain as `before`, however the step stands
    /// now: what is found later is ours then, and is taken back with the link.
    pub fn stays_uncertain(&mut self, step: StepName, before: &StepRun) {
        let is_forgotten = before.intent_at.is_some() && self.run(step).intent_at.is_none();
        if is_forgotten && step.planned().nature == Nature::Makes {
            self.keep_intent(step, before);
        }
    }

    /// Nothing has been sent since the step came to rest first.
    pub(super) fn keep_intent(&mut self, step: StepName, before: &StepRun) {
        let rested_at = before.rested_at();
        let run = self.change(step);
        run.intent_at = before.intent_at;
        run.finished_at = rested_at.or(run.finished_at);
    }

    /// How a step stands whose task has failed.
    pub(super) fn failed_state(&self) -> StepState {
        match self.is_undoing() {
            true => StepState::UndoFailed,
            false => StepState::Failed,
        }
    }

    /// Takes over how an undo ended.
    pub fn undone(&mut self, step: StepName, result: Result<Undone, Halt>, settings: &Workers) {
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
            Err(halt) => self.halted(step, halt, StepState::UndoFailed, settings),
        }
    }

    pub(super) fn learn(&mut self, fact: Fact) {
        let before = self.link.facts.clone();
        let former_webhook = match &fact {
            Fact::Webhook(.., former) => *former,
            _ => None,
        };
        if !self.link.facts.learn(fact) {
            return;
        }
        self.dirty = true;
        self.release_replaced(&before, former_webhook);
        self.note_builds(&before);
        let deploy_state = before.deploy.map(|deploy| deploy.state);
        if let Some(deploy) = &self.link.facts.deploy
            && Some(&deploy.state) != deploy_state.as_ref()
        {
            let detail = json!({ "deploy_id": deploy.id, "state": deploy.state });
            self.event("deploy.state_changed", detail);
        }
    }

    /// An object that had to be made again was gone, unless the step has seen what became of it.
    fn release_replaced(&mut self, before: &Facts, former_webhook: Option<Receipt>) {
        let now = &self.link.facts;
        let key = |facts: &Facts| facts.installed_key.as_ref().map(|key| key.id.clone());
        let webhook = |facts: &Facts| facts.webhook.as_ref().map(|webhook| webhook.id.clone());
        let pairs = [
            (ResourceKind::InstalledKey, key(before), key(now), None),
            (
                ResourceKind::Webhook,
                webhook(before),
                webhook(now),
                former_webhook,
            ),
        ];
        for (kind, old, new, seen) in pairs {
            if let Some(old) = old.filter(|old| Some(old) != new.as_ref()) {
                let receipt = seen.unwrap_or(Receipt::AlreadyGone);
                self.releases.push((kind, old, receipt));
            }
        }
        let is_replaced = |old: &&NotificationHook| {
            let now = &self.link.facts.notifications;
            !now.is_empty() && now.iter().all(|hook| hook.id != old.id)
        };
        let replaced = before.notifications.iter().filter(is_replaced);
        self.releases.extend(replaced.map(|old| {
            (
                ResourceKind::Notification,
                old.id.clone(),
                Receipt::AlreadyGone,
            )
        }));
    }

    pub(super) fn end(&mut self, step: StepName, state: StepState, failure: Option<Failure>) {
        let now = self.now();
        let run = self.change(step);
        run.state = state;
        run.failure = failure;
        run.intent_at = None;
        run.next_attempt_at = None;
        run.note = None;
        run.finished_at = Some(now);
    }

    fn halted(&mut self, step: StepName, halt: Halt, failed: StepState, settings: &Workers) {
        match halt {
            Halt::Wait { after, note, fact } => {
                if let Some(fact) = fact {
                    self.learn(*fact);
                }
                self.wait(step, after, &note);
            }
            Halt::Retry { failure, uncertain } => {
                self.failed_try(step, failure, uncertain, failed, &settings.retry)
            }
            Halt::Unsettled { after } => {
                // What comes late is found soon.
                let look_again = settings.retry.base.max(LOOK_MIN);
                self.let_settle(step, after.min(look_again));
            }
            Halt::Stop { failure, fact } => {
                if let Some(fact) = fact {
                    self.learn(*fact);
                }
                self.fail(step, failure, failed);
            }
            Halt::Ask {
                failure,
                looks_again,
                fact,
            } => {
                if let Some(fact) = fact {
                    self.learn(*fact);
                }
                self.fail(step, failure, failed);
                if looks_again && failed == StepState::Failed {
                    self.look_again(step, settings);
                }
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
    pub(super) fn wait(&mut self, step: StepName, after: Duration, note: &str) {
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

    /// An interrupted try may still have its effect: the intent stays.
    fn let_settle(&mut self, step: StepName, after: Duration) {
        let next = self.now() + after;
        let run = self.change(step);
        run.state = StepState::Waiting;
        run.next_attempt_at = Some(next);
        run.note = Some("waits until what an interrupted try may have made can be seen".to_owned());
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
            let before = self.run(step).clone();
            self.change(step).attempts = attempts;
            self.fail(step, failure, failed);
            if uncertain {
                self.uncertain_since.insert(step, Instant::now());
                self.stays_uncertain(step, &before);
            }
            return;
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
        if uncertain {
            self.uncertain_since.insert(step, Instant::now());
        } else {
            run.intent_at = None;
        }
    }

    pub(super) fn fail(&mut self, step: StepName, failure: Failure, failed: StepState) {
        tracing::warn!(link = %self.link.id, %step, %failure, "step failed");
        self.event("step.failed", json!({ "step": step, "code": failure.code }));
        // A call that was refused while the build was watched says nothing of the build.
        if step == StepName::WatchDeploy && failure.upstream.is_none() {
            self.note_failed_build(&failure);
        }
        self.end(step, failed, Some(failure));
    }
}

/// Doubling pauses with full jitter over their second half.
fn backoff(retry: &Retry, attempts: i16) -> Duration {
    let doublings = u32::from(attempts.unsigned_abs() - 1).min(20);
    let pause = retry.base.saturating_mul(1 << doublings).min(retry.max);
    pause.mul_f64(fastrand::f64().midpoint(1.0))
}
