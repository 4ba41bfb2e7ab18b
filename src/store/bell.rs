//! Wake-ups between processes: a link that became due is noticed at once instead of at the next look.
//!
//! A NOTIFY inside a durable transaction would serialise the commits of everybody (limits.md,
//! finding 1), so notices are sent by one connection of their own, at most two hundred a second.
//! They are hints: a lost one costs a second, because the workers look anyway.

use std::{sync::Arc, time::Duration};

use sqlx::{PgPool, postgres::PgListener};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const CHANNEL: &str = "linkbroker_due";
/// Notices within this time become one.
const COALESCE: Duration = Duration::from_millis(5);
/// Pause before a lost connection is made again.
const RECONNECT: Duration = Duration::from_secs(1);

/// Rings in this process and, a moment later, in all others.
#[derive(Debug, Clone, Default)]
pub struct Bell {
    here: Arc<Notify>,
    elsewhere: Arc<Notify>,
}

impl Bell {
    /// A link may have become due.
    pub fn ring(&self) {
        self.here.notify_one();
        self.elsewhere.notify_one();
    }

    /// What this process's worker waits for.
    pub fn here(&self) -> Arc<Notify> {
        self.here.clone()
    }

    /// Carries this process's rings to the others until told to stop.
    pub async fn send(self, pool: PgPool, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.elsewhere.notified() => {}
                () = stop.cancelled() => return,
            }
            tokio::time::sleep(COALESCE).await;
            let sent = sqlx::query(
                "select set_config('synchronous_commit', 'off', true), pg_notify($1, '')",
            )
            .bind(CHANNEL)
            .execute(&pool)
            .await;
            if let Err(error) = sent {
                tracing::warn!(%error, "cannot wake other processes; they will look within a second");
            }
        }
    }

    /// Carries the others' rings into this process until told to stop.
    pub async fn receive(self, pool: PgPool, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let listening = async {
                let mut listener = PgListener::connect_with(&pool).await?;
                listener.listen(CHANNEL).await?;
                loop {
                    // What was sent while the connection was away is lost: ring after each gap.
                    self.here.notify_one();
                    listener.recv().await?;
                }
            };
            let ended: Result<(), sqlx::Error> = tokio::select! {
                ended = listening => ended,
                () = stop.cancelled() => return,
            };
            if let Err(error) = ended {
                tracing::warn!(%error, "lost the connection for wake-ups");
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }
}
