//! What is kept for a while and then deleted: answers to requests with a key and preflights for a day, events and
//! links that are over for as long as the operator wants.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Retention,
    store::{Rows, StoreError, begin, events, idempotency, links, preflights},
};

/// Mean pause between two looks for what is outdated.
const PAUSE: Duration = Duration::from_secs(300);
/// Rows of a kind deleted at once: a short transaction that holds up nobody.
const AT_ONCE: i64 = 500;
/// Links deleted at once: each takes its steps, events and uses along.
const LINKS_AT_ONCE: i64 = 50;

/// Deletes what is outdated now and then until told to stop. Every process does it; the pauses are
/// drawn, so that they do not march in step.
pub async fn forget(pool: PgPool, retention: Retention, stop: CancellationToken) {
    loop {
        if let Err(error) = forget_all(&pool, retention).await {
            tracing::warn!(%error, "cannot delete what is outdated");
        }
        let pause = PAUSE.mul_f64(0.5 + fastrand::f64());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn forget_all(pool: &PgPool, retention: Retention) -> Result<(), StoreError> {
    loop {
        let mut tx = begin(pool, Rows::OfAll).await?;
        let answers = idempotency::forget_outdated(&mut tx, AT_ONCE).await?;
        let preflights = preflights::forget_outdated(&mut tx, AT_ONCE).await?;
        let events = match retention.events {
            Some(age) => events::forget_outdated(&mut tx, age, AT_ONCE).await?,
            None => 0,
        };
        let links = match retention.links {
            Some(age) => links::forget_over(&mut tx, age, LINKS_AT_ONCE).await?,
            None => 0,
        };
        tx.commit().await?;
        if answers + preflights + events + links == 0 {
            return Ok(());
        }
    }
}
