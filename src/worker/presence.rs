//! This process among the workers: what its leases rest on, and what it does about others that are missing.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use uuid::Uuid;

use super::{Worker, tell};
use crate::store::{Rows, StoreError, begin, jobs, links, workers, workers::Session};

/// Pause between two looks whether other workers are missing: so much later their links are back at work.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Beats within the length of a lease.
const BEATS: u32 = 3;
/// Part of a lease that has to be left for a write to be sent.
const MARGIN: u32 = 5;

/// The place of this process among the workers. All its leases end with it.
#[derive(Debug)]
pub struct Presence {
    worker: Uuid,
    margin: Duration,
    ends_at: watch::Sender<Instant>,
}

impl Presence {
    /// A place that was just taken, and that `lease` after `since` is lost without another beat.
    pub fn new(worker: Uuid, since: Instant, lease: Duration) -> Self {
        Self {
            worker,
            margin: lease / MARGIN,
            ends_at: watch::Sender::new(since + lease),
        }
    }

    /// Names the process in leases.
    pub const fn worker(&self) -> Uuid {
        self.worker
    }

    /// Whether there is time for a write to be sent. Nobody else may hold the link before it has arrived.
    pub fn may_write(&self) -> bool {
        Instant::now() + self.margin < *self.ends_at.borrow()
    }

    /// Resolves when the place is lost, however often it is prolonged before.
    pub async fn lost(&self) {
        let mut ends_at = self.ends_at.subscribe();
        loop {
            let end = *ends_at.borrow_and_update();
            tokio::select! {
                () = sleep_until(end) => return,
                changed = ends_at.changed() => if changed.is_err() { return },
            }
        }
    }

    fn prolong(&self, ends_at: Instant) {
        self.ends_at.send_replace(ends_at);
    }

    fn end(&self) {
        self.prolong(Instant::now());
    }
}

/// Why a place was lost.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the database session has ended")]
    Session,
    #[error("no beat went through in time")]
    Late,
    #[error("the others have given this process up")]
    GivenUp,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Worker {
    /// Takes a place among the workers. What an earlier place of this process still holds is given back.
    pub(super) async fn appear(
        self: &Arc<Self>,
        before: Option<Uuid>,
    ) -> Result<(Session, Arc<Presence>), StoreError> {
        let (since, lease) = (Instant::now(), self.settings.lease);
        let session = Session::open(&self.sessions, lease).await?;
        let mut tx = begin(&self.pool, Rows::OfAll).await?;
        if let Some(before) = before {
            workers::leave(&mut tx, before).await?;
        }
        links::void_orphaned_leases(&mut tx).await?;
        tx.commit().await?;
        // Beside the claims: links do not wait for it.
        let this = self.clone();
        self.tasks.spawn(async move {
            let voided = this.void_orphaned_jobs().await;
            tell(voided.map(drop), "take over jobs");
        });
        let presence = Presence::new(session.worker(), since, lease);
        Ok((session, Arc::new(presence)))
    }

    /// Keeps the place for as long as possible, and takes over from others that are missing.
    pub(super) async fn stay(self: &Arc<Self>, session: &mut Session, presence: &Presence) {
        let Err(why) = self.beat_and_look(session, presence).await;
        // From here on nothing is sent and nothing is saved any more.
        presence.end();
        tracing::error!(%why, "lost the place among the workers: links in hand begin again from their rows");
    }

    async fn beat_and_look(
        self: &Arc<Self>,
        session: &mut Session,
        presence: &Presence,
    ) -> Result<std::convert::Infallible, Lost> {
        let mut beat = interval(self.settings.lease / BEATS);
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = session.lost() => return Err(Lost::Session),
                () = presence.lost() => return Err(Lost::Late),
                _ = beat.tick() => self.beat(session, presence).await?,
                _ = look.tick() => self.look(session).await?,
            }
        }
    }

    async fn beat(&self, session: &mut Session, presence: &Presence) -> Result<(), Lost> {
        let (since, lease) = (Instant::now(), self.settings.lease);
        let beat = timeout(lease / BEATS, session.beat(lease)).await;
        match beat.map_err(|_| Lost::Late)?? {
            true => presence.prolong(since + lease),
            false => return Err(Lost::GivenUp),
        }
        // What callers want by now is read then, should a wake-up have been lost.
        self.bell.when_due().notify_one();
        Ok(())
    }

    async fn look(self: &Arc<Self>, session: &mut Session) -> Result<(), Lost> {
        let patience = self.settings.lease / BEATS;
        let missing = timeout(patience, session.missing()).await;
        for worker in missing.map_err(|_| Lost::Late)?? {
            let this = self.clone();
            // Beside the beats: a transaction that the missing one has left open may hold this up.
            self.tasks.spawn(async move { this.bury(worker).await });
        }
        Ok(())
    }

    async fn bury(&self, worker: Uuid) {
        match self.take_over(worker).await {
            Ok((0, 0)) => {}
            Ok((links, jobs)) => {
                tracing::warn!(%worker, links, jobs, "another worker is missing: what it had in hand is due");
                self.bell.due();
            }
            Err(error) => {
                tracing::error!(%worker, %error, "cannot take over from a missing worker")
            }
        }
    }

    /// How many links and jobs it had.
    async fn take_over(&self, worker: Uuid) -> Result<(u64, u64), StoreError> {
        let retry = &self.settings.retry;
        let mut tx = begin(&self.pool, Rows::OfAll).await?;
        let links = workers::bury(&mut tx, worker, retry.base, retry.max).await?;
        tx.commit().await?;
        Ok((links, self.void_orphaned_jobs().await?))
    }

    async fn void_orphaned_jobs(&self) -> Result<u64, StoreError> {
        let retry = &self.settings.retry;
        let mut tx = begin(&self.pool, Rows::OfAll).await?;
        let jobs = jobs::void_orphaned(&mut tx, retry.base, retry.max).await?;
        tx.commit().await?;
        Ok(jobs)
    }
}
