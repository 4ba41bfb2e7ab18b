//! What is kept for a day and then deleted: answers to requests with a key, and preflights.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::store::{Rows, StoreError, begin, idempotency, preflights};

/// Mean pause between two looks for what is outdated.
const PAUSE: Duration = Duration::from_secs(300);
/// Rows of a kind deleted at once: a short transaction that holds up nobody.
const AT_ONCE: i64 = 500;

/// Deletes what is outdated now and then until told to stop. Every process does it; the pauses are
/// drawn, so that they do not march in step.
pub async fn forget(pool: PgPool, stop: CancellationToken) {
    loop {
        if let Err(error) = forget_all(&pool).await {
            tracing::warn!(%error, "cannot delete outdated answers and preflights");
        }
        let pause = PAUSE.mul_f64(0.5 + fastrand::f64());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn forget_all(pool: &PgPool) -> Result<(), StoreError> {
    loop {
        let mut tx = begin(pool, Rows::OfAll).await?;
        let answers = idempotency::forget_outdated(&mut tx, AT_ONCE).await?;
        let preflights = preflights::forget_outdated(&mut tx, AT_ONCE).await?;
        tx.commit().await?;
        if answers + preflights == 0 {
            return Ok(());
        }
    }
}
