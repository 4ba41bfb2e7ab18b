//! One lease in this process: until when it holds, and what the caller wants of the link.

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::link::status::Wanted;

/// Shared between the task that drives a link and the heartbeat that keeps its lease.
#[derive(Debug)]
pub struct Lease {
    fence: i64,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    deadline: Instant,
    wanted: Wanted,
}

impl Lease {
    /// A lease that was just claimed and holds until `deadline`.
    pub fn new(fence: i64, wanted: Wanted, deadline: Instant) -> Self {
        Self {
            fence,
            state: watch::Sender::new(State { deadline, wanted }),
        }
    }

    /// Its number.
    pub const fn fence(&self) -> i64 {
        self.fence
    }

    /// What the caller wants by now.
    pub fn wanted(&self) -> Wanted {
        self.state.borrow().wanted
    }

    /// The row's lease was prolonged.
    pub fn prolong(&self, deadline: Instant, wanted: Wanted) {
        self.state.send_replace(State { deadline, wanted });
    }

    /// The caller may have changed its mind.
    pub fn heed(&self, wanted: Wanted) {
        self.state
            .send_if_modified(|state| std::mem::replace(&mut state.wanted, wanted) != wanted);
    }

    /// Resolves when the lease has lapsed, however often it is prolonged before.
    pub async fn lapsed(&self) {
        let mut state = self.state.subscribe();
        loop {
            let deadline = state.borrow_and_update().deadline;
            tokio::select! {
                () = sleep_until(deadline) => return,
                changed = state.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Resolves when the caller wants something else than `known`.
    pub async fn wants_other_than(&self, known: Wanted) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self
            .state
            .subscribe()
            .wait_for(|state| state.wanted != known)
            .await;
    }
}
