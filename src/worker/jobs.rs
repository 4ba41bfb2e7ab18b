//! Small jobs beside the links: a handful of reads, one try, and an outcome. The caller asks again when it likes.
//!
//! A job's lease is longer than its reads can take, so that it needs no heartbeat. One whose worker died is due as soon as the
//! worker is missed, as links are, or rests as they do when others have died over it before.

use std::{sync::Arc, time::Duration};

use sqlx::PgConnection;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::{DEATHS_MAX, Worker, presence::Presence};
use crate::store::{Rows, StoreError, begin};

/// Jobs of a kind at work at the same time in one process.
pub const AT_ONCE: usize = 8;
/// Longer than a job's reads and the saving of its outcome.
const LEASE: Duration = Duration::from_secs(60);
/// Pause before a job that could not be done is done again.
const PAUSE: Duration = Duration::from_secs(1);
/// Claims of one job before it counts as the reason why workers die: as many as the deaths of a link.
pub const CLAIMS_MAX: i16 = DEATHS_MAX;

/// A job in the hands of a worker, with its row in the store.
pub trait Job: Sized + Send + Sync + 'static {
    /// What came out.
    type Outcome: Send + Sync;

    /// What it is, for the log.
    const KIND: &'static str;

    /// Leases up to `limit` due ones to a worker.
    fn claim(
        db: &mut PgConnection,
        worker: &Worker,
        owner: Uuid,
        lease: Duration,
        limit: i64,
    ) -> impl Future<Output = Result<Vec<Self>, StoreError>> + Send;

    /// Whose it is.
    fn tenant(&self) -> &str;

    /// Asks the upstreams.
    fn look(
        &self,
        worker: &Worker,
    ) -> impl Future<Output = Result<Self::Outcome, StoreError>> + Send;

    /// Writes the outcome.
    fn finish(
        &self,
        db: &mut PgConnection,
        outcome: &Self::Outcome,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Gives it back undone: it is due at once.
    fn let_go(&self, db: &mut PgConnection) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Tells readers in wait that the outcome is there.
    fn tell(&self, _: &Worker, _: &Self::Outcome) {}
}

impl Worker {
    /// Claims jobs if some are due, as many as there is room for. They are ours once this is committed.
    pub(super) async fn claim_jobs<J: Job>(
        &self,
        db: &mut PgConnection,
        presence: &Presence,
        are_due: bool,
        slots: &Semaphore,
    ) -> Result<Vec<J>, StoreError> {
        match slots.available_permits() {
            free if are_due && free > 0 => {
                let limit = i64::try_from(free).unwrap_or(i64::MAX);
                J::claim(db, self, presence.worker(), LEASE, limit).await
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Starts the jobs that were claimed.
    pub(super) fn start_jobs<J: Job>(self: &Arc<Self>, claimed: Vec<J>, slots: &Arc<Semaphore>) {
        for job in claimed {
            let permit = slots.clone().try_acquire_owned().ok();
            let worker = self.clone();
            self.tasks.spawn(async move {
                if let Err(error) = worker.work(&job).await {
                    tracing::warn!(kind = J::KIND, tenant = job.tenant(), %error, "cannot do a job; it will be done again");
                    worker.give_back(&job).await;
                }
                drop(permit);
                // There is room for one that waits.
                worker.bell.when_due().notify_one();
            });
        }
    }

    /// Makes a job due again that could not be done, once the database takes that. Should it not, its lease lapses.
    async fn give_back<J: Job>(&self, job: &J) {
        let given_back = async {
            loop {
                sleep(PAUSE).await;
                match self.let_go(job).await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::debug!(kind = J::KIND, %error, "cannot give a job back");
                    }
                }
            }
        };
        // The next claim finds it lapsed by then.
        timeout(LEASE, given_back).await.ok();
    }

    async fn let_go<J: Job>(&self, job: &J) -> Result<(), StoreError> {
        let mut tx = begin(&self.pool, Rows::Of(job.tenant())).await?;
        job.let_go(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    async fn work<J: Job>(&self, job: &J) -> Result<(), StoreError> {
        let outcome = tokio::select! {
            looked = job.look(self) => Some(looked?),
            () = self.drain.cancelled() => None,
        };
        let Some(outcome) = outcome else {
            return self.let_go(job).await;
        };
        let mut tx = begin(&self.pool, Rows::Of(job.tenant())).await?;
        job.finish(&mut tx, &outcome).await?;
        tx.commit().await?;
        job.tell(self, &outcome);
        Ok(())
    }
}
