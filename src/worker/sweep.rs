//! The sweep: finds what we made at upstreams and nobody needs, and removes it. By the workers now and then, and by a command.
//!
//! Three things become orphans: deploy keys that lie in stock for too long; objects that two links let go of at the same moment,
//! each because of the other; deploy keys of calls whose answer was lost and that were not found in time (limits.md C2).

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Worker,
    doors::{Door, Doors, OpenError},
};
use crate::{
    link::{
        facts::Webhook,
        failure::{Failure, FailureCode},
        resource::ResourceKind,
    },
    netlify::{deploy_keys, sites},
    store::{
        Rows, StoreError,
        audit::{self, NewEntry},
        begin,
        orphans::{self, Ages, Orphan, Uncertain},
        resources,
    },
    upstream::{Access, CallClass, Journal},
};

/// Orphans that one sweep removes at most; the next one goes on.
const MOST: i64 = 500;
/// Clocks of vendors and database differ by less.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);
/// Mean pause between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// How long nobody has to have needed something.
const UNUSED: Duration = Duration::from_secs(300);
/// How long ago a call for a deploy key has to have been interrupted.
const SUSPECT: Duration = Duration::from_secs(86_400);
/// What the audit calls it.
const PURPOSE: &str = "sweep";

/// What a sweep does about what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Removes it.
    Remove,
    /// Tells of it.
    Tell,
}

/// Something that a sweep found.
#[derive(Debug, Serialize)]
pub struct Swept {
    /// Whose it is.
    pub tenant: String,
    /// What it is.
    pub kind: ResourceKind,
    /// The upstream's id.
    pub id: String,
    /// Where it lives.
    pub host: String,
    /// What became of it: `found`, `removed`, `already_gone`, `needed` or `failed`.
    pub outcome: &'static str,
    /// Why it could not be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A sweep over everything that tenants made.
pub struct Sweep<'a> {
    /// Where the ledger is.
    pub pool: &'a PgPool,
    /// The upstreams.
    pub doors: &'a Doors,
    /// How old things have to be.
    pub ages: Ages,
    /// What to do about them.
    pub then: Then,
}

impl Sweep<'_> {
    /// Finds what nobody needs, and removes it.
    ///
    /// # Errors
    /// When the database is away. An upstream that does not answer is told of in what is returned.
    pub async fn run(&self) -> Result<Vec<Swept>, StoreError> {
        let mut tx = begin(self.pool, Rows::OfAll).await?;
        let found = orphans::find(&mut tx, self.ages, MOST).await?;
        let uncertain = orphans::uncertain_keys(&mut tx, self.ages, MOST).await?;
        drop(tx);
        let mut swept = Vec::new();
        for orphan in &found {
            swept.push(self.sweep(orphan).await?);
        }
        for uncertain in &uncertain {
            swept.extend(self.sweep_suspects(uncertain).await?);
        }
        Ok(swept)
    }

    async fn sweep(&self, orphan: &Orphan) -> Result<Swept, StoreError> {
        let told = |outcome, why| Swept {
            tenant: orphan.tenant.clone(),
            kind: orphan.kind,
            id: orphan.external_id.clone(),
            host: orphan.host.clone(),
            outcome,
            why,
        };
        if self.then == Then::Tell {
            return Ok(told("found", None));
        }
        let mut tx = begin(self.pool, Rows::OfAll).await?;
        let is_ours = orphans::claim(&mut tx, orphan.id).await?;
        tx.commit().await?;
        if !is_ours {
            return Ok(told("needed", None));
        }
        let removed = self.audited(&orphan.tenant, self.remove(orphan)).await?;
        if let Err(failure) = removed {
            tracing::warn!(kind = %orphan.kind, id = orphan.external_id, %failure, "cannot sweep");
            return Ok(told("failed", Some(failure.to_string())));
        }
        let mut tx = begin(self.pool, Rows::OfAll).await?;
        orphans::removed(&mut tx, orphan.id).await?;
        tx.commit().await?;
        tracing::info!(kind = %orphan.kind, id = orphan.external_id, tenant = orphan.tenant, "swept");
        Ok(told(outcome(removed), None))
    }

    /// Removes an object; whether it was there.
    async fn remove(&self, orphan: &Orphan) -> Result<bool, OpenError> {
        let id = &orphan.external_id;
        let door = self.open(&orphan.tenant, orphan.connection).await?;
        let removed = match (&door, orphan.kind, &orphan.repository) {
            (Door::Netlify(access), ResourceKind::DeployKey, _) => {
                deploy_keys::delete(access, id).await
            }
            (Door::Netlify(access), ResourceKind::Site, _) => sites::delete(access, id).await,
            (Door::Provider(provider), ResourceKind::Webhook, Some(repository)) => {
                let webhook = Webhook {
                    id: id.clone(),
                    url: orphan.url.clone().unwrap_or_default(),
                };
                provider.remove_webhook(repository, &webhook).await
            }
            (Door::Provider(provider), ResourceKind::InstalledKey, Some(repository)) => {
                provider.remove_key(repository, id).await
            }
            _ => {
                let detail = "nobody remembers where it is";
                return Err(Failure::new(FailureCode::Internal, detail).into());
            }
        };
        Ok(removed.map_err(Failure::from)?)
    }

    /// Keys at Netlify from the time of an interrupted call that nobody knows and no site uses.
    async fn sweep_suspects(&self, uncertain: &Uncertain) -> Result<Vec<Swept>, StoreError> {
        let found = match self.suspects(uncertain).await {
            Ok(found) => found,
            Err(OpenError::Store(error)) => return Err(error),
            Err(OpenError::Failure(failure)) => {
                tracing::warn!(connection = %uncertain.connection, %failure, "cannot look for deploy keys that nobody knows");
                return Ok(Vec::new());
            }
        };
        let (access, suspects) = found;
        let mut swept = Vec::new();
        for id in suspects {
            let mut told = Swept {
                tenant: uncertain.tenant.clone(),
                kind: ResourceKind::DeployKey,
                host: access.instance().host.clone(),
                outcome: "found",
                why: None,
                id,
            };
            if self.then == Then::Remove {
                let delete = async {
                    Ok(deploy_keys::delete(&access, &told.id)
                        .await
                        .map_err(Failure::from)?)
                };
                match self.audited(&uncertain.tenant, delete).await? {
                    Ok(was_there) => told.outcome = outcome(Ok(was_there)),
                    Err(failure) => {
                        (told.outcome, told.why) = ("failed", Some(failure.to_string()))
                    }
                }
            }
            swept.push(told);
        }
        let is_done = swept.iter().all(|swept| swept.outcome != "failed");
        if self.then == Then::Remove && is_done {
            let mut tx = begin(self.pool, Rows::OfAll).await?;
            orphans::settle_uncertain_key(&mut tx, uncertain).await?;
            tx.commit().await?;
        }
        Ok(swept)
    }

    async fn suspects(&self, uncertain: &Uncertain) -> Result<(Access, Vec<String>), OpenError> {
        let door = self.open(&uncertain.tenant, uncertain.connection).await?;
        let Door::Netlify(access) = door else {
            let detail = "a deploy key belongs to a connection that is none to Netlify";
            return Err(Failure::new(FailureCode::Internal, detail).into());
        };
        let look = async { tokio::try_join!(deploy_keys::list(&access), sites::list(&access)) };
        let (keys, sites) = CallClass::Sweeping
            .during(look)
            .await
            .map_err(Failure::from)?;
        // Read after the list: whoever has got a key by now has noted it.
        let mut tx = begin(self.pool, Rows::OfAll).await?;
        let known = resources::deploy_keys_since(&mut tx, uncertain.began_at).await?;
        drop(tx);
        let window = uncertain.began_at - CLOCKS_DIFFER..uncertain.ended_at + CLOCKS_DIFFER;
        let is_from_then = |at: Option<OffsetDateTime>| at.is_some_and(|at| window.contains(&at));
        let suspects = keys
            .into_iter()
            .filter(|key| is_from_then(key.made_at()) && !known.contains(&key.id))
            .filter(|key| {
                sites
                    .iter()
                    .all(|site| site.deploy_key_id() != Some(&key.id))
            })
            .map(|key| key.id);
        let suspects = suspects.collect();
        Ok((access, suspects))
    }

    async fn open(&self, tenant: &str, connection: Uuid) -> Result<Door, OpenError> {
        let (door, _) = self.doors.open_one(self.pool, tenant, connection).await?;
        Ok(door)
    }

    /// Runs what writes to an upstream, and records that.
    async fn audited(
        &self,
        tenant: &str,
        write: impl Future<Output = Result<bool, OpenError>>,
    ) -> Result<Result<bool, Failure>, StoreError> {
        let journal = Journal::default();
        let done = journal
            .during(PURPOSE, CallClass::Sweeping.during(write))
            .await;
        let writes = journal.writes();
        let entries: Vec<_> = writes
            .iter()
            .map(|write| NewEntry {
                id: write.id,
                caller: None,
                link: None,
                step: Some(write.purpose),
                verb: write.method.to_string(),
                object: write.path.clone(),
                upstream: Some(write.trace.clone()),
            })
            .collect();
        let mut tx = begin(self.pool, Rows::Of(tenant)).await?;
        audit::append(&mut tx, tenant, &entries).await?;
        tx.commit().await?;
        match done {
            Ok(was_there) => Ok(Ok(was_there)),
            Err(OpenError::Failure(failure)) => Ok(Err(failure)),
            Err(OpenError::Store(error)) => Err(error),
        }
    }
}

impl Worker {
    /// Sweeps every hour or so until the process drains. Every process does it: they take different orphans, and the pauses are
    /// drawn, so that they do not march in step.
    pub(super) async fn sweep_now_and_then(self: Arc<Self>) {
        let Some(stock) = self.settings.stock else {
            return;
        };
        let ages = Ages {
            stock,
            unused: UNUSED,
            suspect: SUSPECT,
        };
        loop {
            let pause = SWEEP_EVERY.mul_f64(0.5 + fastrand::f64());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.drain.cancelled() => return,
            }
            let sweep = Sweep {
                pool: &self.pool,
                doors: &self.doors,
                ages,
                then: Then::Remove,
            };
            if let Err(error) = sweep.run().await {
                tracing::warn!(%error, "cannot sweep");
            }
        }
    }
}

fn outcome(removed: Result<bool, Failure>) -> &'static str {
    match removed {
        Ok(true) => "removed",
        Ok(false) => "already_gone",
        Err(_) => "failed",
    }
}
