//! One leased link between two saves: which steps are due, what their outcomes change, where it ends.
//!
//! Pure: it knows neither the database nor the network. The times are database time, carried on
//! from the moment of the claim.

mod builds;
mod due;
mod locks;
mod outcome;
mod rest;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::json;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::DEATHS_MAX;
use crate::{
    link::{
        builds::SeenBuild,
        plan::{PLAN, Setup, StepName},
        resource::{Receipt, ResourceKind},
        status::{LinkStatus, StepState, Wanted},
        step_run::StepRun,
    },
    store::{
        events::{NewEvent, STATUS_CHANGED},
        links::{LeasedLink, Wish},
        resources::Entry,
    },
};

/// A leased link and what is not yet saved of it.
#[derive(Debug)]
pub struct Progress {
    /// The link as it is now.
    pub link: LeasedLink,
    setup: Setup,
    /// Where the saved link stands.
    saved_status: LinkStatus,
    /// The version that says what is wanted.
    wished_in: i64,
    claimed: Instant,
    /// When the last try of a step ended without an answer, in this claim.
    uncertain_since: BTreeMap<StepName, Instant>,
    dirty: bool,
    changed: BTreeSet<StepName>,
    entries: Vec<Entry>,
    releases: Vec<(ResourceKind, String, Receipt)>,
    events: Vec<NewEvent>,
    builds: Vec<SeenBuild>,
    has_webhook_lock: bool,
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
    /// Builds that were seen.
    pub builds: Vec<SeenBuild>,
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
    /// See whether a person has done what was asked.
    Look,
}

impl Progress {
    /// Takes up a link that was just claimed.
    pub fn new(link: LeasedLink, setup: Setup) -> Self {
        let mut progress = Self {
            saved_status: link.status,
            wished_in: 0,
            link,
            setup,
            claimed: Instant::now(),
            uncertain_since: BTreeMap::new(),
            dirty: false,
            changed: BTreeSet::new(),
            entries: Vec::new(),
            releases: Vec::new(),
            events: Vec::new(),
            builds: Vec::new(),
            has_webhook_lock: false,
        };
        progress.fill_steps();
        progress.watch_at_once();
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

    /// How long until the effect of an interrupted try can be seen, which was sent before this claim or in it; nothing when
    /// it can be already.
    pub fn settles_in(&self, step: StepName, settle: Duration) -> Option<Duration> {
        let since = self.uncertain_since.get(&step).unwrap_or(&self.claimed);
        let left = settle.checked_sub(since.elapsed());
        left.filter(|left| !left.is_zero())
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
            self.event(STATUS_CHANGED, json!({ "from": from, "to": status }));
        }
    }

    /// Nobody was told of what is not saved.
    fn forget_unsaved_status(&mut self) {
        self.link.status = self.saved_status;
        self.events.retain(|event| event.kind != STATUS_CHANGED);
    }

    /// What the caller wants, as far as it is known here.
    pub fn wish(&self) -> Wish {
        Wish {
            wanted: self.link.wanted,
            version: self.wished_in,
        }
    }

    /// Takes note of a save, which has read what the caller wants by now.
    pub fn saved(&mut self, wish: Wish) {
        if wish.wanted == self.link.wanted {
            self.saved_status = self.link.status;
        }
        self.heed(wish);
    }

    /// Takes note of what the caller wants by now, unless that is an older wish than the one that is known.
    pub fn heed(&mut self, wish: Wish) {
        if wish.version < self.wished_in {
            return;
        }
        self.wished_in = wish.version;
        if self.link.wanted == wish.wanted {
            return;
        }
        self.link.wanted = wish.wanted;
        self.link.failure = None;
        // It would change what the undo is called.
        self.forget_unsaved_status();
        self.set_status(self.link.status.undoing(self.link.was_live));
        for row in PLAN {
            let run = self.change(row.name);
            run.attempts = 0;
            run.next_attempt_at = None;
            // As in `step_runs::forget_tries`: what cannot be taken back may be what is to stay now.
            let may_differ = match run.state {
                StepState::UndoFailed => true,
                StepState::Undone => row.name.goes_with_the_site(),
                _ => false,
            };
            if may_differ {
                run.state = StepState::Waiting;
            }
        }
    }

    /// Whether a deploy key is to be written into the ledger: no other link may have it, whosever it is.
    pub fn has_met_deploy_key(&self) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| entry.kind == ResourceKind::DeployKey)
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
            builds: std::mem::take(&mut self.builds),
        }
    }
}
