//! When a link needs the lock of its repository's webhooks, and what it does without.

use std::time::Duration;

use super::Progress;
use crate::{
    link::{capabilities::Capabilities, plan::StepName, status::StepState},
    store::webhook_locks::WebhookLock,
};

const STEP: StepName = StepName::InstallWebhook;

impl Progress {
    /// The repository whose webhooks these steps are about to change, if they are.
    pub fn webhooks_to_change(&self, due: &[StepName], provider: Capabilities) -> Option<String> {
        if !due.contains(&STEP) || !provider.installs_webhooks {
            return None;
        }
        let repository = self.link.facts.repository.as_ref()?;
        Some(format!("{}/{}", self.link.spec.host, repository.id))
    }

    /// Another link is at the webhooks: the step waits, and stays as uncertain as it was.
    pub fn wait_for_webhook_lock(&mut self, pause: Duration) {
        let uncertain = self.run(STEP).intent_at;
        self.wait(
            STEP,
            pause,
            "waits for another link of the repository to be done with its webhook",
        );
        self.link.steps[STEP as usize].intent_at = uncertain;
    }

    /// The link has the lock until the outcome of its step is saved.
    pub fn take_webhook_lock(&mut self, lock: WebhookLock) {
        self.has_webhook_lock = true;
        if lock.others_were_here {
            self.link.facts.no_webhook_at = None;
        }
    }

    /// Whether the next save lets go of the lock: not while the webhook may or may not have been made.
    pub fn is_done_with_webhook_lock(&mut self) -> bool {
        let run = self.run(STEP);
        let is_certain = run.state != StepState::Running && run.intent_at.is_none();
        let is_done = self.has_webhook_lock && is_certain;
        self.has_webhook_lock &= !is_done;
        is_done
    }
}
