//! Checks of connections: whom a credential belongs to, what it may do, when it stops working.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Worker,
    doors::{Door, OpenError},
    jobs::{CLAIMS_MAX, Job},
};
use crate::{
    link::failure::{Failure, FailureCode},
    netlify::accounts,
    store::{
        StoreError,
        checks::{self, ClaimedCheck, Found},
        links,
    },
    upstream::UpstreamError,
};

/// Longest time that a check may take.
const PATIENCE: Duration = Duration::from_secs(45);

impl Job for ClaimedCheck {
    type Outcome = Result<Found, Failure>;

    const KIND: &'static str = "connection check";

    async fn claim(
        db: &mut PgConnection,
        _: &Worker,
        owner: Uuid,
        lease: Duration,
        limit: i64,
    ) -> Result<Vec<Self>, StoreError> {
        checks::claim(db, owner, lease, limit).await
    }

    fn tenant(&self) -> &str {
        &self.tenant
    }

    async fn look(&self, worker: &Worker) -> Result<Self::Outcome, StoreError> {
        match found(self, worker).await {
            Ok(found) => Ok(Ok(found)),
            Err(OpenError::Failure(failure)) => Ok(Err(failure)),
            Err(OpenError::Store(error)) => Err(error),
        }
    }

    async fn finish(
        &self,
        db: &mut PgConnection,
        outcome: &Self::Outcome,
    ) -> Result<(), StoreError> {
        let counts = checks::finish(db, self, outcome.as_ref()).await?;
        if counts && outcome.is_ok() {
            links::go_on_with(db, &self.tenant, self.connection_id).await?;
        }
        Ok(())
    }

    fn tell(&self, worker: &Worker, _: &Self::Outcome) {
        worker.bell.due();
    }

    async fn let_go(&self, db: &mut PgConnection) -> Result<(), StoreError> {
        checks::let_go(db, self).await
    }
}

async fn found(check: &ClaimedCheck, worker: &Worker) -> Result<Found, OpenError> {
    if check.claims > CLAIMS_MAX {
        let detail = format!("{CLAIMS_MAX} workers in a row died over this check");
        return Err(Failure::new(FailureCode::WorkerDied, detail).into());
    }
    let (door, _) = worker
        .doors
        .open_one(&worker.pool, &check.tenant, check.connection_id)
        .await?;
    match timeout(PATIENCE, ask(&door)).await {
        Ok(found) => Ok(found.map_err(Failure::from)?),
        Err(_) => {
            let detail = format!("no answer within {} s", PATIENCE.as_secs());
            Err(Failure::new(FailureCode::UpstreamUnavailable, detail).into())
        }
    }
}

async fn ask(door: &Door) -> Result<Found, UpstreamError> {
    match door {
        Door::Netlify(access) => {
            let (user, teams) =
                tokio::try_join!(accounts::current_user(access), accounts::list(access))?;
            Ok(Found {
                identity: user
                    .full_name
                    .filter(|name| !name.is_empty())
                    .unwrap_or(user.id),
                teams: Some(teams.into_iter().map(|team| team.slug).collect()),
                ..Found::default()
            })
        }
        Door::Provider(provider) => {
            let identity = provider.identity().await?;
            Ok(Found {
                identity: identity.login,
                teams: None,
                scopes: identity.scopes,
                expires_at: identity.expires_at,
                installations: identity.installations,
            })
        }
    }
}
