//! Preflights of links that are not made: the reads of `steps::preflight`, as a job.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Worker,
    doors::{OpenError, Pair},
    jobs::{CLAIMS_MAX, Job},
};
use crate::{
    link::{
        failure::{Failure, FailureCode},
        preflight::{Finding, Topic},
    },
    steps::preflight::{Intended, preflight},
    store::{
        StoreError,
        preflights::{self, ClaimedPreflight},
    },
};

impl Job for ClaimedPreflight {
    type Outcome = Vec<Finding>;

    const KIND: &'static str = "preflight";

    async fn claim(
        db: &mut PgConnection,
        _: &Worker,
        owner: Uuid,
        lease: Duration,
        limit: i64,
    ) -> Result<Vec<Self>, StoreError> {
        preflights::claim(db, owner, lease, limit).await
    }

    fn tenant(&self) -> &str {
        &self.tenant
    }

    async fn look(&self, worker: &Worker) -> Result<Self::Outcome, StoreError> {
        match findings(self, worker).await {
            Ok(findings) => Ok(findings),
            Err(OpenError::Failure(failure)) => Ok(vec![Topic::Connections.unread(&failure)]),
            Err(OpenError::Store(error)) => Err(error),
        }
    }

    async fn finish(
        &self,
        db: &mut PgConnection,
        outcome: &Self::Outcome,
    ) -> Result<(), StoreError> {
        preflights::finish(db, self, outcome).await
    }

    async fn let_go(&self, db: &mut PgConnection) -> Result<(), StoreError> {
        preflights::let_go(db, self).await
    }

    fn tell(&self, worker: &Worker, _: &Self::Outcome) {
        worker.bell.changed(self.id);
    }
}

async fn findings(claimed: &ClaimedPreflight, worker: &Worker) -> Result<Vec<Finding>, OpenError> {
    if claimed.claims > CLAIMS_MAX {
        let detail = format!("{CLAIMS_MAX} workers in a row died over this preflight");
        return Err(Failure::new(FailureCode::WorkerDied, detail).into());
    }
    let spec = claimed
        .spec()
        .map_err(|error| Failure::new(FailureCode::Internal, error.to_string()))?;
    let pair = Pair {
        tenant: &claimed.tenant,
        netlify: claimed.netlify_connection,
        provider: claimed.provider_connection,
        path: &spec.path,
        link: None,
    };
    let opened = worker.doors.open(&worker.pool, &pair).await?;
    let link = Intended {
        spec: &spec,
        netlify: &opened.netlify,
        provider: opened.provider.as_ref(),
        provider_kind: opened.provider_kind,
        has_standing_key: opened.standing_key.is_some(),
    };
    Ok(preflight(&link).await)
}
