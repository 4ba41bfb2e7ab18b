//! One lease in this process: what the caller wants of the link, and whether the link is still ours.

use std::sync::Arc;

use tokio::sync::watch;

use super::presence::Presence;
use crate::{link::status::Wanted, store::links::Wish};

/// Shared between the task that drives a link and the one that reads what callers want.
#[derive(Debug)]
pub struct Lease {
    fence: i64,
    presence: Arc<Presence>,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    wish: Wish,
    is_revoked: bool,
}

impl Lease {
    /// A lease that was just claimed and holds as long as the process is among the workers.
    pub fn new(fence: i64, wanted: Wanted, presence: Arc<Presence>) -> Self {
        // Whatever is read from now on is at least as new.
        let state = State {
            wish: Wish { wanted, version: 0 },
            is_revoked: false,
        };
        Self {
            fence,
            presence,
            state: watch::Sender::new(state),
        }
    }

    /// Its number.
    pub const fn fence(&self) -> i64 {
        self.fence
    }

    /// What it rests on.
    pub fn presence(&self) -> &Arc<Presence> {
        &self.presence
    }

    /// What the caller wants by now.
    pub fn wish(&self) -> Wish {
        self.state.borrow().wish
    }

    /// The caller may have changed its mind. What was read first may be told last.
    pub fn heed(&self, wish: Wish) {
        self.state.send_if_modified(|state| {
            if wish.version < state.wish.version {
                return false;
            }
            std::mem::replace(&mut state.wish, wish).wanted != wish.wanted
        });
    }

    /// The link's row names another lease by now.
    pub fn revoke(&self) {
        self.state.send_modify(|state| state.is_revoked = true);
    }

    /// Resolves when the link is not ours any more.
    pub async fn lapsed(&self) {
        let mut state = self.state.subscribe();
        tokio::select! {
            () = self.presence.lost() => {}
            // The sender lives in `self`, so waiting cannot fail.
            _ = state.wait_for(|state| state.is_revoked) => {}
        }
    }

    /// Resolves when the caller wants something else than `known`.
    pub async fn wants_other_than(&self, known: Wanted) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| state.wish.wanted != known).await;
    }
}
