//! Checks of connections: whom a credential belongs to, what it may do, when it stops working.
//!
//! A check is a job like a link, but a small one: two reads at most, one try, and the caller asks again when it
//! likes. Its lease is longer than the calls can take, so that it needs no heartbeat.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    Worker,
    doors::{Door, OpenError},
};
use crate::{
    link::failure::{Failure, FailureCode},
    netlify::accounts,
    store::{
        Rows, StoreError, begin,
        checks::{self, ClaimedCheck, Found},
    },
    upstream::UpstreamError,
};

/// Checks at work at the same time in one process.
pub const AT_ONCE: usize = 8;
/// Longest time that a check may take.
const PATIENCE: Duration = Duration::from_secs(45);
/// Longer than [`PATIENCE`] and the saving of the outcome.
const LEASE: Duration = Duration::from_secs(60);
/// Claims of one check before it counts as the reason why workers die.
const CLAIMS_MAX: i16 = 3;

impl Worker {
    /// Claims due checks, as many as there is room for, and starts them.
    pub(super) async fn take_checks(self: &Arc<Self>) -> Result<(), StoreError> {
        let free = self.check_slots.available_permits();
        if free == 0 {
            return Ok(());
        }
        let mut tx = begin(&self.pool, Rows::OfAll).await?;
        let limit = i64::try_from(free).unwrap_or(i64::MAX);
        let claimed = checks::claim(&mut tx, LEASE, limit).await?;
        if claimed.is_empty() {
            return Ok(());
        }
        tx.commit().await?;
        for check in claimed {
            let permit = self.check_slots.clone().try_acquire_owned().ok();
            let worker = self.clone();
            self.tasks.spawn(async move {
                if let Err(error) = worker.check(&check).await {
                    tracing::warn!(connection = %check.connection_id, %error, "cannot save a check; its lease will lapse");
                }
                drop(permit);
            });
        }
        Ok(())
    }

    async fn check(&self, check: &ClaimedCheck) -> Result<(), StoreError> {
        let looked = tokio::select! {
            looked = self.look(check) => Some(looked),
            () = self.drain.cancelled() => None,
        };
        let outcome = match looked {
            Some(Ok(found)) => Some(Ok(found)),
            Some(Err(OpenError::Failure(failure))) => Some(Err(failure)),
            Some(Err(OpenError::Store(error))) => return Err(error),
            None => None,
        };
        let mut tx = begin(&self.pool, Rows::Of(&check.tenant)).await?;
        match &outcome {
            Some(outcome) => checks::finish(&mut tx, check, outcome.as_ref()).await?,
            None => checks::let_go(&mut tx, check).await?,
        }
        tx.commit().await?;
        Ok(())
    }

    async fn look(&self, check: &ClaimedCheck) -> Result<Found, OpenError> {
        if check.claims > CLAIMS_MAX {
            let detail = format!("{CLAIMS_MAX} workers in a row died over this check");
            return Err(Failure::new(FailureCode::WorkerDied, detail).into());
        }
        let door = self
            .doors
            .open_one(&self.pool, &check.tenant, check.connection_id)
            .await?;
        match timeout(PATIENCE, ask(&door)).await {
            Ok(found) => Ok(found.map_err(Failure::from)?),
            Err(_) => {
                let detail = format!("no answer within {} s", PATIENCE.as_secs());
                Err(Failure::new(FailureCode::UpstreamUnavailable, detail).into())
            }
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
