//! Rate limits, told to the other processes and heard from them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{
    store::{Rows, begin, budgets},
    upstream::{Budgets, Grant, Http, NoBudget, WritePace},
    vault::{KeyRing, SignedPurpose, VaultError},
};

/// Pause between two looks at what others have learnt: so much longer they may call a credential that has to rest.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The budgets in the database.
pub struct StoredBudgets {
    pool: PgPool,
    key_ring: KeyRing,
}

impl StoredBudgets {
    /// Budgets under names that nobody without the key ring can tell credentials by.
    pub fn new(pool: PgPool, key_ring: KeyRing) -> Arc<Self> {
        Arc::new(Self { pool, key_ring })
    }

    fn name(&self, of: &[u8; 32]) -> Result<Vec<u8>, VaultError> {
        self.key_ring.sign(SignedPurpose::BudgetName, of)
    }

    /// Tells and hears until told to stop. While nothing changes nothing is written.
    pub async fn exchange(self: Arc<Self>, http: Http, stop: CancellationToken) {
        let mut heard_until = None;
        loop {
            if let Err(error) = self.tell(&http).await {
                tracing::warn!(%error, "cannot tell other processes which credentials rest");
            }
            match self.hear(&http, heard_until).await {
                Ok(now) => heard_until = Some(now),
                Err(error) => tracing::warn!(%error, "cannot hear which credentials rest"),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = http.rests_changed() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn tell(&self, http: &Http) -> anyhow::Result<()> {
        let rests = http.new_rests();
        if rests.is_empty() {
            return Ok(());
        }
        let named = rests.iter().map(|(of, rest)| Ok((self.name(of)?, *rest)));
        let named = named.collect::<Result<Vec<_>, VaultError>>()?;
        let told = async {
            let mut db = self.pool.acquire().await?;
            budgets::rest(&mut db, &named).await
        };
        if let Err(error) = told.await {
            http.keep_new_rests(&rests);
            return Err(error.into());
        }
        Ok(())
    }

    async fn hear(
        &self,
        http: &Http,
        since: Option<time::OffsetDateTime>,
    ) -> anyhow::Result<time::OffsetDateTime> {
        let mut db = self.pool.acquire().await?;
        let since = since.map(|since| since - 2 * LOOK_EVERY);
        let (now, rests) = budgets::resting(&mut db, since).await?;
        drop(db);
        for (of, state) in http.rate_states() {
            let name = self.name(&of)?;
            if let Some((_, rest)) = rests.iter().find(|(known, _)| *known == name) {
                state.rest_as_others(*rest);
            }
        }
        Ok(now)
    }

    async fn take_stored(&self, of: &[u8; 32], pace: WritePace) -> anyhow::Result<Grant> {
        let name = self.name(of)?;
        let mut tx = begin(&self.pool, Rows::OfAll).await?;
        let grant = pace.decide(&budgets::spent(&mut tx, &name).await?);
        if let Grant::Now(count) = grant {
            budgets::spend(&mut tx, &name, count).await?;
        }
        tx.commit().await?;
        Ok(grant)
    }
}

#[async_trait]
impl Budgets for StoredBudgets {
    async fn rest(&self, name: &[u8; 32]) -> Result<Option<Duration>, NoBudget> {
        let rest = async {
            let mut db = self.pool.acquire().await?;
            Ok::<_, anyhow::Error>(budgets::rest_of(&mut db, &self.name(name)?).await?)
        };
        rest.await.map_err(|error| NoBudget(error.to_string()))
    }

    async fn take(&self, name: &[u8; 32], pace: WritePace) -> Result<Grant, NoBudget> {
        let taken = self.take_stored(name, pace).await;
        taken.map_err(|error| NoBudget(error.to_string()))
    }
}
