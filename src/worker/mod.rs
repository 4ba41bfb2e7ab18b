//! Leases due links, runs their steps round by round, writes the outcomes, and undoes.
//!
//! One row per link is the unit of work. A worker claims due rows, keeps their leases alive with
//! one statement for all of them, and drives each link in its own task until it rests. Several
//! processes share the rows without a leader: a lease that ends is simply due again.

mod audited;
mod checks;
mod doors;
mod drive;
mod inspections;
mod jobs;
mod lease;
mod ledger;
mod preflights;
mod progress;
mod slots;

use std::{collections::HashMap, sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::{
    sync::{Mutex, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

pub use doors::Doors;
use lease::Lease;
use slots::Slots;

use crate::{
    config::Workers,
    link::grant::Grants,
    store::{
        Rows, StoreError, begin,
        bell::Bell,
        checks::ClaimedCheck,
        inspections::{self as looks, ClaimedInspection},
        links::{self, LeasedLink, Turns},
        preflights::ClaimedPreflight,
    },
};

/// Longest pause between looks for due links: what a lost wake-up costs at most.
const IDLE_PAUSE: Duration = Duration::from_secs(1);

/// What every task of a worker shares.
pub struct Worker {
    /// Names this process in leases; new at every start.
    id: Uuid,
    pool: PgPool,
    doors: Doors,
    grants: Grants,
    settings: Workers,
    bell: Bell,
    slots: Slots,
    check_slots: Arc<Semaphore>,
    preflight_slots: Arc<Semaphore>,
    inspection_slots: Arc<Semaphore>,
    held: Mutex<HashMap<Uuid, Arc<Lease>>>,
    drain: CancellationToken,
    tasks: TaskTracker,
}

impl Worker {
    /// A worker that has not begun.
    pub fn new(
        pool: PgPool,
        doors: Doors,
        grants: Grants,
        settings: Workers,
        bell: Bell,
        drain: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: Uuid::now_v7(),
            pool,
            doors,
            grants,
            slots: Slots::new(settings.in_flight, bell.when_due()),
            check_slots: Arc::new(Semaphore::new(jobs::AT_ONCE)),
            preflight_slots: Arc::new(Semaphore::new(jobs::AT_ONCE)),
            inspection_slots: Arc::new(Semaphore::new(jobs::AT_ONCE)),
            settings,
            bell,
            held: Mutex::default(),
            drain,
            tasks: TaskTracker::new(),
        })
    }

    /// Works until told to drain, then until every link in hand has been let go of.
    pub async fn run(self: Arc<Self>) {
        let heartbeat = tokio::spawn(self.clone().keep_leases());
        let due = self.bell.when_due();
        let mut turns = Turns::default();
        if let Err(error) = self.enlist_all().await {
            tracing::error!(%error, "cannot enlist links for inspections; the next start will");
        }
        while !self.drain.is_cancelled() {
            // Subscribed before the look, so that a wake-up during it is not lost.
            let woken = due.notified();
            let pause = match self.take_due(&mut turns).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(%error, "cannot claim links");
                    IDLE_PAUSE
                }
            };
            if let Err(error) = self.take_all_jobs().await {
                tracing::error!(%error, "cannot claim checks, preflights and inspections");
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = woken => self.heed_callers().await,
                () = self.drain.cancelled() => {}
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
        heartbeat.abort();
    }

    /// Claims as many due links as there are free slots, tenants taking turns; how long to pause before the next look.
    async fn take_due(self: &Arc<Self>, turns: &mut Turns) -> Result<Duration, StoreError> {
        let free = self.slots.free();
        if free == 0 {
            return Ok(IDLE_PAUSE);
        }
        let mut tx = begin(&self.pool, Rows::OfAll).await?;
        let room = |tenant: &str| self.slots.room(tenant);
        let claimed = turns
            .claim(&mut tx, self.id, self.settings.lease, free, room)
            .await?;
        if claimed.is_empty() {
            let next = links::next_due_in(&mut tx).await?;
            return Ok(next
                .map_or(IDLE_PAUSE, |next| next.min(IDLE_PAUSE))
                .max(Duration::from_millis(5)));
        }
        tx.commit().await?;
        for link in claimed {
            self.start(link).await;
        }
        Ok(Duration::ZERO)
    }

    async fn take_all_jobs(self: &Arc<Self>) -> Result<(), StoreError> {
        self.take_jobs::<ClaimedCheck>(&self.check_slots).await?;
        let slots = &self.preflight_slots;
        self.take_jobs::<ClaimedPreflight>(slots).await?;
        let slots = &self.inspection_slots;
        self.take_jobs::<ClaimedInspection>(slots).await
    }

    /// Links that came to rest under an earlier version are looked at too.
    async fn enlist_all(&self) -> Result<(), StoreError> {
        let mut tx = begin(&self.pool, Rows::OfAll).await?;
        looks::enlist_all(&mut tx, self.settings.inspections.every).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn start(self: &Arc<Self>, link: LeasedLink) {
        let lease = Arc::new(Lease::new(
            link.fence,
            link.wanted,
            Instant::now() + self.settings.lease,
        ));
        self.held.lock().await.insert(link.id, lease.clone());
        // A sleeping link that woke up may have taken the slot in between: then this one waits in line.
        let slot = self.slots.try_take(&link.tenant);
        let worker = self.clone();
        self.tasks.spawn(async move {
            let id = link.id;
            if let Err(error) = drive::drive(&worker, link, &lease, slot).await {
                tracing::warn!(link = %id, %error, "gave up a link for now");
                worker.give_up(id, lease.fence()).await;
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

    /// The database refused or was away: what is unsaved is lost, so the link starts from its row.
    async fn give_up(&self, link: Uuid, fence: i64) {
        let release = async {
            let mut tx = begin(&self.pool, Rows::OfAll).await?;
            links::let_go(&mut tx, link, fence, IDLE_PAUSE).await?;
            tx.commit().await?;
            Ok::<_, StoreError>(())
        };
        if let Err(error) = release.await {
            tracing::warn!(%link, %error, "cannot let go of a link; its lease will lapse");
        }
    }

    /// Prolongs the leases in hand with one statement for all of them.
    async fn keep_leases(self: Arc<Self>) {
        let mut tick = tokio::time::interval(self.settings.lease / 3);
        loop {
            tick.tick().await;
            if self.held.lock().await.is_empty() {
                continue;
            }
            if let Err(error) = self.renew().await {
                tracing::error!(%error, "cannot prolong leases");
            }
        }
    }

    /// Only what is in hand: a link that was given up while the database was away has to lapse.
    async fn renew(&self) -> Result<(), StoreError> {
        let in_hand: Vec<Uuid> = self.held.lock().await.keys().copied().collect();
        let deadline = Instant::now() + self.settings.lease;
        let mut tx = begin(&self.pool, Rows::OfAll).await?;
        let renewed = links::renew(&mut tx, self.id, self.settings.lease, &in_hand).await?;
        tx.commit().await?;
        let held = self.held.lock().await;
        for (id, fence, wanted) in renewed {
            if let Some(lease) = held.get(&id).filter(|lease| lease.fence() == fence) {
                lease.prolong(deadline, wanted);
            }
        }
        Ok(())
    }

    /// Tells the links in hand what their callers want by now.
    async fn heed_callers(&self) {
        if self.held.lock().await.is_empty() {
            return;
        }
        if let Err(error) = self.read_wanted().await {
            tracing::warn!(%error, "cannot read what callers want; the next heartbeat will");
        }
    }

    async fn read_wanted(&self) -> Result<(), StoreError> {
        let mut tx = begin(&self.pool, Rows::OfAll).await?;
        let wanted = links::wanted_of(&mut tx, self.id).await?;
        drop(tx);
        let held = self.held.lock().await;
        for (id, wanted) in wanted {
            if let Some(lease) = held.get(&id) {
                lease.heed(wanted);
            }
        }
        Ok(())
    }
}
