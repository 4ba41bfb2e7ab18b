//! Leases due links, runs their steps round by round, writes the outcomes, and undoes.
//!
//! One row per link is the unit of work. A worker claims due rows and drives each link in its own
//! task until it rests. Several processes share the rows without a leader: leases hold as long as their
//! process is among the workers, and the links of one that is missing are due at once.

mod audited;
mod budgets;
mod checks;
mod doors;
mod drive;
mod inspections;
mod jobs;
mod lease;
mod ledger;
mod left_behind;
mod patrols;
mod preflights;
mod presence;
mod progress;
mod refusals;
mod slots;
mod subscription;
mod sweep;

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use sqlx::{PgConnection, PgPool};
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, interval_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

pub use budgets::StoredBudgets;
pub use doors::Doors;
use lease::Lease;
use presence::Presence;
use slots::Slots;
pub use sweep::{Sweep, Swept, Then};

use crate::{
    config::Workers,
    link::grant::GrantBook,
    store::{
        Rows, StoreError, begin,
        bell::Bell,
        checks::ClaimedCheck,
        inspections::{self as looks, ClaimedInspection},
        jobs as all_jobs,
        links::{self, LeasedLink, Turns},
        patrols::ClaimedPatrol,
        preflights::ClaimedPreflight,
        workers,
    },
};

/// Longest pause between looks for due links: what a lost wake-up costs at most.
const IDLE_PAUSE: Duration = Duration::from_secs(1);
/// Shortest pause between two looks.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
/// Pause before a place among the workers is asked for again.
const REAPPEAR: Duration = Duration::from_millis(500);
/// Pause between two looks for links that were given up without letting go of them.
const STRAYS_EVERY: Duration = Duration::from_secs(5);
/// Pause between two times that the nets of all links in hand are moved on.
const NET_EVERY: Duration = Duration::from_secs(900);

/// Lives that a link or a job may cost before it is parked. Whoever kills processes for other reasons hits the same one now and
/// then; one that kills them does so each time, with a longer rest after each.
const DEATHS_MAX: i16 = 8;

/// What every task of a worker shares.
pub struct Worker {
    pool: PgPool,
    /// For the one session by which the other processes see this one.
    sessions: PgPool,
    doors: Doors,
    grants: GrantBook,
    settings: Workers,
    bell: Bell,
    slots: Slots,
    check_slots: Arc<Semaphore>,
    preflight_slots: Arc<Semaphore>,
    patrol_slots: Arc<Semaphore>,
    inspection_slots: Arc<Semaphore>,
    held: Mutex<HashMap<Uuid, Arc<Lease>>>,
    drain: CancellationToken,
    tasks: TaskTracker,
}

impl Worker {
    /// A worker that has not begun.
    pub fn new(
        pool: PgPool,
        sessions: PgPool,
        doors: Doors,
        grants: GrantBook,
        settings: Workers,
        bell: Bell,
        drain: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            pool,
            sessions,
            doors,
            grants,
            slots: Slots::new(settings.in_flight, bell.when_due()),
            check_slots: Arc::new(Semaphore::new(jobs::AT_ONCE)),
            preflight_slots: Arc::new(Semaphore::new(jobs::AT_ONCE)),
            patrol_slots: Arc::new(Semaphore::new(jobs::AT_ONCE)),
            inspection_slots: Arc::new(Semaphore::new(jobs::AT_ONCE)),
            settings,
            bell,
            held: Mutex::default(),
            drain,
            tasks: TaskTracker::new(),
        })
    }

    /// Works until told to drain, then until every link in hand has been let go of. Without the database it waits.
    pub async fn run(self: Arc<Self>) {
        tokio::spawn(self.clone().sweep_now_and_then());
        let mut before = None;
        while !self.drain.is_cancelled() {
            match self.appear(before).await {
                Ok((mut session, presence)) => {
                    before = Some(presence.worker());
                    tokio::select! {
                        () = self.stay(&mut session, &presence) => {}
                        () = self.claim_until_drained(&presence) => return self.leave(&presence).await,
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot get a place among the workers");
                    tokio::select! {
                        () = tokio::time::sleep(REAPPEAR) => {}
                        () = self.drain.cancelled() => {}
                    }
                }
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Claims until told to drain, then until everything in hand has been let go of.
    async fn claim_until_drained(self: &Arc<Self>, presence: &Arc<Presence>) {
        let due = self.bell.when_due();
        let mut turns = Turns::default();
        let mut strays = interval_at(Instant::now() + STRAYS_EVERY, STRAYS_EVERY);
        let mut net = interval_at(Instant::now() + NET_EVERY, NET_EVERY);
        if let Err(error) = self.enlist_all().await {
            tracing::error!(%error, "cannot enlist links for inspections; the next start will");
        }
        // Somebody has rung, perhaps because a caller wants something else.
        let mut is_woken = false;
        while !self.drain.is_cancelled() {
            // Subscribed before the look, so that a wake-up during it is not lost.
            let woken = due.notified();
            let taken = self.take_due(presence, &mut turns, is_woken).await;
            is_woken &= taken.is_err();
            let pause = taken.unwrap_or_else(|error| {
                tracing::error!(%error, "cannot claim what is due");
                IDLE_PAUSE
            });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = woken => is_woken = true,
                _ = strays.tick() => tell(self.let_go_of_strays(presence).await, "let go of strays"),
                _ = net.tick() => tell(self.move_net(presence).await, "move the nets on"),
                () = self.drain.cancelled() => {}
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The others need not notice that this process is gone.
    async fn leave(&self, presence: &Presence) {
        let left = async {
            let mut tx = begin(&self.pool, Rows::OfAll).await?;
            workers::leave(&mut tx, presence.worker()).await?;
            tx.commit().await?;
            Ok(())
        };
        tell(left.await, "leave the workers in order");
    }

    /// Takes what is due, in one transaction unless jobs are due, because this is done at every wake-up; how long to pause before
    /// the next look.
    async fn take_due(
        self: &Arc<Self>,
        presence: &Arc<Presence>,
        turns: &mut Turns,
        heeds_callers: bool,
    ) -> Result<Duration, StoreError> {
        let mut tx = begin(&self.pool, Rows::OfAll).await?;
        if heeds_callers {
            self.heed_callers(&mut tx, presence).await?;
        }
        let due = all_jobs::due(&mut tx).await?;
        let (links, next_link) = self.claim_links(&mut tx, presence, turns).await?;
        tx.commit().await?;
        for link in links {
            self.start(link, presence).await;
        }
        // Links go on when jobs cannot be claimed.
        if due.is_any() {
            tell(self.take_jobs(presence, &due).await, "claim jobs");
        }
        let next_patrol = due.next_patrol.map(|next| next.max(SHORTEST_PAUSE));
        let next = next_link.into_iter().chain(next_patrol).min();
        Ok(next.map_or(IDLE_PAUSE, |next| next.min(IDLE_PAUSE)))
    }

    /// Claims jobs of the kinds of which some are due.
    async fn take_jobs(
        self: &Arc<Self>,
        presence: &Presence,
        due: &all_jobs::Due,
    ) -> Result<(), StoreError> {
        let mut tx = begin(&self.pool, Rows::OfAll).await?;
        let db = &mut *tx;
        let checks = self.claim_jobs(db, presence, due.checks, &self.check_slots);
        let checks: Vec<ClaimedCheck> = checks.await?;
        let preflights = self.claim_jobs(db, presence, due.preflights, &self.preflight_slots);
        let preflights: Vec<ClaimedPreflight> = preflights.await?;
        let patrols = self.claim_jobs(db, presence, due.patrols, &self.patrol_slots);
        let patrols: Vec<ClaimedPatrol> = patrols.await?;
        let inspections = self.claim_jobs(db, presence, due.inspections, &self.inspection_slots);
        let inspections: Vec<ClaimedInspection> = inspections.await?;
        tx.commit().await?;
        self.start_jobs(checks, &self.check_slots);
        self.start_jobs(preflights, &self.preflight_slots);
        self.start_jobs(patrols, &self.patrol_slots);
        self.start_jobs(inspections, &self.inspection_slots);
        Ok(())
    }

    /// Claims as many due links as there are free slots, tenants taking turns; and how long until there may be more for these.
    async fn claim_links(
        &self,
        db: &mut PgConnection,
        presence: &Presence,
        turns: &mut Turns,
    ) -> Result<(Vec<LeasedLink>, Option<Duration>), StoreError> {
        let free = self.slots.free();
        if free == 0 {
            // A slot that becomes free rings.
            return Ok((Vec::new(), None));
        }
        let room = |tenant: &str| self.slots.room(tenant);
        let claimed = turns.claim(db, presence.worker(), free, room).await?;
        let next = match claimed.is_empty() {
            true => {
                let next = links::next_due_in(db).await?;
                next.map(|next| next.max(SHORTEST_PAUSE))
            }
            false => Some(Duration::ZERO),
        };
        Ok((claimed, next))
    }

    /// Links that came to rest under an earlier version are looked at too.
    async fn enlist_all(&self) -> Result<(), StoreError> {
        let mut tx = begin(&self.pool, Rows::OfAll).await?;
        looks::enlist_all(&mut tx, self.settings.inspections.every).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn start(self: &Arc<Self>, link: LeasedLink, presence: &Arc<Presence>) {
        let lease = Lease::new(link.fence, link.wanted, presence.clone());
        let lease = Arc::new(lease);
        self.held.lock().await.insert(link.id, lease.clone());
        // A sleeping link that woke up may have taken the slot in between: then this one waits in line.
        let slot = self.slots.try_take(&link.tenant);
        let worker = self.clone();
        self.tasks.spawn(async move {
            let id = link.id;
            let driven = AssertUnwindSafe(drive::drive(&worker, link, &lease, slot));
            match driven.catch_unwind().await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(link = %id, %error, "gave up a link for now");
                    worker.give_up(id, lease.fence()).await;
                }
                // What the fault was is in the log already.
                Err(_) => worker.give_up_after_fault(id, lease.fence()).await,
            }
            let mut held = worker.held.lock().await;
            // A later lease of the same link may have taken the place.
            if held
                .get(&id)
                .is_some_and(|current| Arc::ptr_eq(current, &lease))
            {
                held.remove(&id);
            }
            drop(held);
            // A slot is free, and a link that was let go of may be due.
            worker.bell.when_due().notify_one();
        });
    }

    /// The database refused or was away: what is unsaved is lost, so the link starts from its row, once what was sent for it
    /// can be seen.
    async fn give_up(&self, link: Uuid, fence: i64) {
        let release = async {
            let mut tx = begin(&self.pool, Rows::OfAll).await?;
            let after = self.settings.settle.max(IDLE_PAUSE);
            links::let_go(&mut tx, link, fence, after).await?;
            tx.commit().await?;
            Ok::<_, StoreError>(())
        };
        if let Err(error) = release.await {
            tracing::warn!(%link, %error, "cannot let go of a link; it will be found astray");
        }
    }

    /// Counts as a death, so that a link over which this happens each time rests longer and is set aside in the end.
    async fn give_up_after_fault(&self, link: Uuid, fence: i64) {
        tracing::error!(%link, "gave up a link because of a fault in linkbroker");
        let retry = &self.settings.retry;
        let release = async {
            let mut tx = begin(&self.pool, Rows::OfAll).await?;
            links::let_go_after_fault(&mut tx, link, fence, retry.base, retry.max).await?;
            Ok::<_, StoreError>(tx.commit().await?)
        };
        tell(release.await, "let go of a link after a fault");
    }

    /// Tells the links in hand what their callers want by now, and which of them are not ours any more.
    async fn heed_callers(
        &self,
        db: &mut PgConnection,
        presence: &Presence,
    ) -> Result<(), StoreError> {
        let in_hand: Vec<(Uuid, Arc<Lease>)> = {
            let held = self.held.lock().await;
            held.iter()
                .map(|(id, lease)| (*id, lease.clone()))
                .collect()
        };
        if in_hand.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = in_hand.iter().map(|(id, _)| *id).collect();
        let wanted = links::wanted_of(db, presence.worker(), &ids).await?;
        let wanted: HashMap<_, _> = wanted
            .into_iter()
            .map(|(id, fence, wish)| ((id, fence), wish))
            .collect();
        for (id, lease) in in_hand {
            match wanted.get(&(id, lease.fence())) {
                Some(wish) => lease.heed(*wish),
                None => lease.revoke(),
            }
        }
        Ok(())
    }

    async fn let_go_of_strays(&self, presence: &Presence) -> Result<(), StoreError> {
        let in_hand: Vec<Uuid> = self.held.lock().await.keys().copied().collect();
        let mut tx = begin(&self.pool, Rows::OfAll).await?;
        let (worker, after) = (presence.worker(), self.settings.settle);
        links::let_go_of_strays(&mut tx, worker, &in_hand, after).await?;
        Ok(tx.commit().await?)
    }

    async fn move_net(&self, presence: &Presence) -> Result<(), StoreError> {
        let mut tx = begin(&self.pool, Rows::OfAll).await?;
        links::move_net(&mut tx, presence.worker()).await?;
        Ok(tx.commit().await?)
    }
}

/// What failed is tried again later by itself.
fn tell(done: Result<(), StoreError>, what: &str) {
    if let Err(error) = done {
        tracing::warn!(%error, "cannot {what}");
    }
}
