//! Wake-ups between tasks and processes: a link became due, a link has changed.
//!
//! A NOTIFY inside a durable transaction would serialise the commits of everybody (limits.md,
//! finding 1), so notices are sent by a connection of their own, at most two hundred times a second.
//! They are hints: workers look for due links anyway, readers' links are compared now and then, and
//! after a lost connection everything counts as changed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sqlx::{PgPool, postgres::PgListener};
use tokio::sync::{
    Mutex, Notify, broadcast,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const CHANNEL: &str = "linkbroker";
/// Notices within this time become one.
const COALESCE: Duration = Duration::from_millis(5);
/// Pause before a lost connection is made again.
const RECONNECT: Duration = Duration::from_secs(1);
/// Ids in one notice: Postgres allows 8000 bytes.
const IDS_PER_NOTICE: usize = 200;
/// Changes that a slow reader may fall behind before everything counts as changed for it.
const CHANGES_KEPT: usize = 1024;

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// This link, or preflight.
    Link(Uuid),
    /// Possibly every link: notices were lost.
    Everything,
}

/// Rings in this process and, a moment later, in all others.
#[derive(Debug, Clone)]
pub struct Bell {
    /// Names this process in notices, so that it does not hear its own.
    process: Uuid,
    due: Arc<Notify>,
    changes: broadcast::Sender<Change>,
    outbox: UnboundedSender<Notice>,
    unsent: Arc<Mutex<UnboundedReceiver<Notice>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Notice {
    Due,
    Changed(Uuid),
}

impl Default for Bell {
    fn default() -> Self {
        let (outbox, unsent) = unbounded_channel();
        Self {
            process: Uuid::new_v4(),
            due: Arc::default(),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            outbox,
            unsent: Arc::new(Mutex::new(unsent)),
        }
    }
}

impl Bell {
    /// A link may have become due.
    pub fn due(&self) {
        self.due.notify_one();
        self.post(Notice::Due);
    }

    /// A link has changed, and that is committed.
    pub fn changed(&self, link: Uuid) {
        self.announce(Change::Link(link));
        self.post(Notice::Changed(link));
    }

    /// Rings when a link may have become due.
    pub fn when_due(&self) -> Arc<Notify> {
        self.due.clone()
    }

    /// What changes from now on, here and elsewhere.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn announce(&self, change: Change) {
        // Nobody listening is fine: this process may have no readers.
        self.changes.send(change).ok();
    }

    fn post(&self, notice: Notice) {
        // The receiving half lives in `self`.
        self.outbox.send(notice).ok();
    }

    /// Carries rings between the processes until told to stop; what was rung until then still goes out.
    pub async fn connect(self, pool: PgPool, stop: CancellationToken) {
        tokio::select! {
            () = self.send(&pool, &stop) => {}
            () = self.receive(&pool) => {}
        }
    }

    async fn send(&self, pool: &PgPool, stop: &CancellationToken) {
        let mut unsent = self.unsent.lock().await;
        let mut notices = BTreeSet::new();
        loop {
            tokio::select! {
                first = unsent.recv() => notices.extend(first),
                // What could not be told then.
                () = tokio::time::sleep(RECONNECT), if !notices.is_empty() => {}
                () = stop.cancelled() => {}
            }
            let is_last = stop.is_cancelled();
            if !is_last {
                tokio::time::sleep(COALESCE).await;
            }
            while let Ok(next) = unsent.try_recv() {
                notices.insert(next);
            }
            if !notices.is_empty() {
                match self.notify(pool, &notices).await {
                    Ok(()) => notices.clear(),
                    Err(error) => {
                        tracing::warn!(%error, "cannot wake other processes; they look now and then");
                    }
                }
            }
            if is_last {
                return;
            }
        }
    }

    async fn notify(&self, pool: &PgPool, notices: &BTreeSet<Notice>) -> Result<(), sqlx::Error> {
        let sent = sqlx::query(
            "select set_config('synchronous_commit', 'off', true), pg_notify($1, payload) from unnest($2::text[]) as payload",
        );
        let payloads = payloads(self.process, notices);
        sent.bind(CHANNEL).bind(payloads).execute(pool).await?;
        Ok(())
    }

    async fn receive(&self, pool: &PgPool) {
        loop {
            let Err(error) = self.listen(pool).await;
            tracing::warn!(%error, "lost the connection for wake-ups");
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn listen(&self, pool: &PgPool) -> Result<std::convert::Infallible, sqlx::Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        self.catch_up();
        loop {
            match listener.try_recv().await? {
                Some(notification) => self.hear(notification.payload()),
                // The listener has connected again; what was sent in between is lost.
                None => self.catch_up(),
            }
        }
    }

    fn catch_up(&self) {
        self.due.notify_one();
        self.announce(Change::Everything);
    }

    fn hear(&self, payload: &str) {
        let Some((process, words)) = payload.split_once(':') else {
            return;
        };
        if process == self.process.simple().to_string() {
            return;
        }
        for word in words.split(',') {
            match Uuid::try_parse(word) {
                Ok(link) => self.announce(Change::Link(link)),
                Err(_) => self.due.notify_one(),
            }
        }
    }
}

/// `process:due,id,id…`, cut to what one notice may hold.
fn payloads(process: Uuid, notices: &BTreeSet<Notice>) -> Vec<String> {
    let words: Vec<String> = notices
        .iter()
        .map(|notice| match notice {
            Notice::Due => "due".to_owned(),
            Notice::Changed(link) => link.simple().to_string(),
        })
        .collect();
    let of_chunk = |chunk: &[String]| format!("{}:{}", process.simple(), chunk.join(","));
    words.chunks(IDS_PER_NOTICE).map(of_chunk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_fit_into_postgres_and_are_heard_by_others_only() {
        let (here, there) = (Bell::default(), Bell::default());
        let links: Vec<Uuid> = (0..500).map(|_| Uuid::now_v7()).collect();
        let notices: BTreeSet<Notice> = links
            .iter()
            .map(|id| Notice::Changed(*id))
            .chain([Notice::Due])
            .collect();
        let mut changes = (here.changes(), there.changes());
        for payload in payloads(here.process, &notices) {
            assert!(payload.len() < 8000);
            here.hear(&payload);
            there.hear(&payload);
        }
        assert!(changes.0.try_recv().is_err());
        let heard: BTreeSet<Uuid> = std::iter::from_fn(|| match changes.1.try_recv() {
            Ok(Change::Link(id)) => Some(id),
            _ => None,
        })
        .collect();
        assert_eq!(heard, links.into_iter().collect());
    }
}
