//! Links that readers wait for: read once after a change, then answered to everybody from memory.
//!
//! A reader who waits costs a subscription, not a query. The first reader of a link loads it; after
//! that one task per process hears of changes through the [`Bell`], loads each changed link that
//! somebody waits for once, and every reader answers from that snapshot.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
    time::Duration,
};

use axum::body::Bytes;
use sqlx::PgPool;
use tokio::{
    sync::{Mutex, broadcast::error::RecvError, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    events::Event,
    links::view::{Link, read},
    problem::{Problem, ProblemCode},
    quotas::{Quotas, Seat},
};
use crate::store::{
    Rows, StoreError, begin,
    bell::{Bell, Change},
    events, links,
};

/// Events of a link that are kept with its snapshot; a link has a few dozen.
const EVENTS_KEPT: i64 = 500;
/// Pause between two rounds in which links are read again that could not be read.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// Pause between two comparisons with the database: who tells of a change may die before he does.
const COMPARE: Duration = Duration::from_secs(10);

/// A link at one version, ready to be answered.
#[derive(Debug)]
pub struct Snapshot {
    /// The link.
    pub link: Link,
    /// The same as JSON.
    pub json: Bytes,
    /// Its newest events with their cursors, oldest first.
    pub events: Vec<(i64, Event)>,
}

/// The links that readers of this process wait for.
pub struct Feed {
    pool: PgPool,
    drain: CancellationToken,
    quotas: Arc<Quotas>,
    topics: Mutex<HashMap<Uuid, Weak<Topic>>>,
    /// Those whose last change could not be read: no other one may ever come.
    unread: Mutex<HashSet<Uuid>>,
}

struct Topic {
    tenant: String,
    snapshot: watch::Sender<Arc<Snapshot>>,
}

/// A reader's hold on a link; while one exists, the link is kept up to date.
pub struct Subscription {
    /// Keeps the topic, and with it the sender, alive.
    _topic: Arc<Topic>,
    /// Counts among the tenant's waiting readers.
    _seat: Seat,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    drain: CancellationToken,
}

impl Feed {
    /// A feed that nobody reads yet. [`Feed::follow`] keeps it up to date.
    pub fn new(pool: PgPool, drain: CancellationToken, quotas: Arc<Quotas>) -> Arc<Self> {
        Arc::new(Self {
            pool,
            drain,
            quotas,
            topics: Mutex::default(),
            unread: Mutex::default(),
        })
    }

    /// Follows a tenant's link.
    ///
    /// # Errors
    /// [`ProblemCode::NotFound`] for absent and foreign links alike; [`ProblemCode::RateLimited`] when too many of
    /// the tenant wait already.
    pub async fn subscribe(&self, tenant: &str, id: Uuid) -> Result<Subscription, Problem> {
        let seat = self.quotas.seat(tenant)?;
        let known = self.topics.lock().await.get(&id).and_then(Weak::upgrade);
        let topic = match known {
            Some(topic) if topic.tenant == tenant => topic,
            Some(_) => return Err(Problem::new(ProblemCode::NotFound)),
            None => self.open(tenant, id).await?,
        };
        Ok(Subscription {
            snapshots: topic.snapshot.subscribe(),
            _topic: topic,
            _seat: seat,
            drain: self.drain.clone(),
        })
    }

    /// Loaded first and then once more after it is listed: a change in between is not missed.
    async fn open(&self, tenant: &str, id: Uuid) -> Result<Arc<Topic>, Problem> {
        let first = self.load(tenant, id).await?;
        let topic = {
            let mut topics = self.topics.lock().await;
            topics.retain(|_, topic| topic.strong_count() > 0);
            // Another reader may have opened it in the meantime.
            if let Some(topic) = topics.get(&id).and_then(Weak::upgrade) {
                return Ok(topic);
            }
            let topic = Arc::new(Topic {
                tenant: tenant.to_owned(),
                snapshot: watch::Sender::new(Arc::new(first)),
            });
            topics.insert(id, Arc::downgrade(&topic));
            topic
        };
        // Others may join before this is read, and whoever asked may hang up.
        self.unread.lock().await.insert(id);
        self.refresh(&topic, id).await?;
        self.unread.lock().await.remove(&id);
        Ok(topic)
    }

    async fn load(&self, tenant: &str, id: Uuid) -> Result<Snapshot, Problem> {
        let mut tx = begin(&self.pool, Rows::Of(tenant)).await?;
        let link = read(&mut tx, tenant, id).await?;
        let rows = events::newest(&mut tx, tenant, id, EVENTS_KEPT).await?;
        let json = serde_json::to_vec(&link).map_err(Problem::internal)?.into();
        Ok(Snapshot {
            link,
            json,
            events: rows.into_iter().map(|row| (row.id, row.into())).collect(),
        })
    }

    async fn refresh(&self, topic: &Topic, id: Uuid) -> Result<(), Problem> {
        let fresh = self.load(&topic.tenant, id).await?;
        topic.snapshot.send_if_modified(|known| {
            let is_news = fresh.link.summary.version > known.link.summary.version;
            if is_news {
                *known = Arc::new(fresh);
            }
            is_news
        });
        Ok(())
    }

    /// Keeps the links that somebody waits for up to date, until told to stop.
    pub async fn follow(self: Arc<Self>, bell: Bell) {
        let mut changes = bell.changes();
        let mut again = interval(READ_AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut compare = interval(COMPARE);
        compare.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let changed = tokio::select! {
                change = changes.recv() => match change {
                    Ok(Change::Link(id)) => self.waited_for(|waiting| *waiting == id).await,
                    Ok(Change::Everything) | Err(RecvError::Lagged(_)) => {
                        self.waited_for(|_| true).await
                    }
                    Err(RecvError::Closed) => return,
                },
                _ = again.tick() => {
                    let unread = std::mem::take(&mut *self.unread.lock().await);
                    match unread.is_empty() {
                        true => continue,
                        false => self.waited_for(|waiting| unread.contains(waiting)).await,
                    }
                }
                _ = compare.tick() => self.outdated().await,
                () = self.drain.cancelled() => return,
            };
            self.refresh_all(changed).await;
        }
    }

    /// Those of which a newer version is there that nobody has told of; nothing while the database is away.
    async fn outdated(&self) -> Vec<(Uuid, Arc<Topic>)> {
        let topics = self.waited_for(|_| true).await;
        if topics.is_empty() {
            return topics;
        }
        let known = topics
            .iter()
            .map(|(id, topic)| (*id, topic.snapshot.borrow().link.summary.version));
        let (ids, versions): (Vec<_>, Vec<_>) = known.unzip();
        let newer: Result<_, StoreError> = async {
            let mut tx = begin(&self.pool, Rows::OfAll).await?;
            links::newer(&mut tx, &ids, &versions).await
        }
        .await;
        match newer {
            Ok(newer) => {
                let newer = HashSet::<_>::from_iter(newer);
                let outdated = topics.into_iter().filter(|(id, _)| newer.contains(id));
                outdated.collect()
            }
            Err(error) => {
                tracing::warn!(%error, "cannot compare the links that somebody waits for");
                Vec::new()
            }
        }
    }

    async fn refresh_all(&self, changed: Vec<(Uuid, Arc<Topic>)>) {
        let mut is_away = false;
        for (id, topic) in changed {
            if is_away {
                // It would wait for the database as long, and newer changes behind it.
                self.unread.lock().await.insert(id);
            } else if let Err(problem) = self.refresh(&topic, id).await {
                tracing::warn!(link = %id, ?problem, "cannot read a link that somebody waits for");
                if problem.code() == ProblemCode::Unavailable {
                    self.unread.lock().await.insert(id);
                    is_away = true;
                }
            }
        }
    }

    async fn waited_for(&self, which: impl Fn(&Uuid) -> bool) -> Vec<(Uuid, Arc<Topic>)> {
        let topics = self.topics.lock().await;
        let wanted = topics.iter().filter(|(id, _)| which(id));
        wanted
            .filter_map(|(id, topic)| Some((*id, topic.upgrade()?)))
            .collect()
    }
}

impl Subscription {
    /// The link as it is now.
    pub fn now(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }

    /// The first snapshot that passes, or the newest one when the time is over or the process drains.
    pub async fn wait_for(
        &mut self,
        patience: Duration,
        passes: impl Fn(&Snapshot) -> bool,
    ) -> Arc<Snapshot> {
        let passing = self.snapshots.wait_for(|snapshot| passes(snapshot));
        tokio::select! {
            // The sender lives in `_topic`, so waiting ends with a snapshot or with the time.
            _ = timeout(patience, passing) => {}
            () = self.drain.cancelled() => {}
        }
        self.now()
    }

    /// The next snapshot after the one that was seen last; nothing once the process drains.
    pub async fn next(&mut self) -> Option<Arc<Snapshot>> {
        tokio::select! {
            changed = self.snapshots.changed() => changed.ok().map(|()| self.snapshots.borrow_and_update().clone()),
            () = self.drain.cancelled() => None,
        }
    }
}
