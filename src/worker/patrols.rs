//! Patrols: one look at all running builds of a team at Netlify serves every link in it.
//!
//! A patrol costs one call, and one read for each build that has ended since; so what watching costs follows the number of
//! teams and of finished builds, not the number of links. Sites are read one by one only as a net, within a budget: their
//! lists have the builds that began and ended between two patrols.

mod look;
mod pace;

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use tokio::time::timeout;
use uuid::Uuid;

use look::{Look, Trouble};

use super::{
    Worker,
    doors::{Door, OpenError},
    jobs::{CLAIMS_MAX, Job},
    refusals,
};
use crate::{
    link::{builds::SeenBuild, failure::FailureCode, status::LinkStatus},
    store::{
        Rows, StoreError, begin, builds,
        links::{self, Follower, News},
        patrols::{self, ClaimedPatrol},
        watches::{self, Watch},
    },
    upstream::{CallClass, Class, UpstreamError},
};

/// Longest time that a patrol's calls may take.
const PATIENCE: Duration = Duration::from_secs(45);
/// Pause after a patrol that could not begin.
const AFTER_TROUBLE: Duration = Duration::from_secs(30);

/// Pause after a patrol whose credential Netlify does not take.
const AFTER_REFUSAL: Duration = Duration::from_secs(3 * 60 * 60);

/// What a patrol has seen.
#[derive(Debug, Default)]
pub struct Patrolled {
    /// Builds that are new or stand otherwise than before.
    seen: Vec<(Uuid, SeenBuild)>,
    /// Links whose sites' own lists were read.
    listed: Vec<Watch>,
    /// Links whose running builds cannot be read, because Netlify refuses the credential.
    stopped: Vec<Uuid>,
    /// When to look again.
    next: Duration,
    /// Whether all running builds were looked at, and not only some of them.
    is_whole: bool,
}

impl Job for ClaimedPatrol {
    type Outcome = Patrolled;

    const KIND: &'static str = "patrol";

    async fn claim(
        db: &mut PgConnection,
        _: &Worker,
        owner: Uuid,
        lease: Duration,
        limit: i64,
    ) -> Result<Vec<Self>, StoreError> {
        patrols::claim(db, owner, lease, limit).await
    }

    fn tenant(&self) -> &str {
        &self.tenant
    }

    async fn look(&self, worker: &Worker) -> Result<Patrolled, StoreError> {
        if self.claims > CLAIMS_MAX {
            tracing::error!(connection = %self.connection, team = self.team, "a patrol was given up several times; it rests");
            return Ok(Patrolled::rest(worker.settings.patrol_idle));
        }
        match patrolled(self, worker).await {
            Ok(patrolled) => Ok(patrolled),
            Err(OpenError::Store(error)) => Err(error),
            Err(OpenError::Failure(failure)) => {
                tracing::warn!(connection = %self.connection, team = self.team, %failure, "cannot look at a team's builds");
                Ok(Patrolled::rest(
                    worker.settings.patrol_idle.max(AFTER_TROUBLE),
                ))
            }
        }
    }

    async fn finish(&self, db: &mut PgConnection, patrolled: &Patrolled) -> Result<(), StoreError> {
        let seen = patrolled.seen.iter().map(|(link, _)| *link);
        let ids: Vec<_> = seen.chain(patrolled.stopped.iter().copied()).collect();
        let followers = match ids.is_empty() {
            true => Vec::new(),
            false => {
                links::hold(db, &ids).await?;
                links::followers(db, &ids).await?
            }
        };
        for follower in &followers {
            let of_link = patrolled
                .seen
                .iter()
                .filter(|(link, _)| *link == follower.id);
            // It comes to rest at once, instead of when it would have looked itself.
            let is_stopped =
                patrolled.stopped.contains(&follower.id) && follower.status == LinkStatus::Building;
            let mut news = is_stopped.then_some(News::ToWorkers);
            for (_, seen) in of_link {
                if builds::record(db, follower.id, &self.tenant, seen).await? {
                    news = news.max(Some(whom_to_tell(follower, seen)));
                }
            }
            if let Some(news) = news {
                links::tell(db, follower.id, news).await?;
            }
        }
        if !patrolled.listed.is_empty() {
            watches::listed(db, &patrolled.listed).await?;
        }
        patrols::finish(db, self, patrolled.next, patrolled.is_whole).await
    }

    async fn let_go(&self, db: &mut PgConnection) -> Result<(), StoreError> {
        patrols::let_go(db, self).await
    }

    fn tell(&self, worker: &Worker, patrolled: &Patrolled) {
        let seen = patrolled.seen.iter().map(|(link, _)| link);
        for link in seen.chain(&patrolled.stopped) {
            worker.bell.changed(*link);
        }
        if !patrolled.seen.is_empty() || !patrolled.stopped.is_empty() {
            worker.bell.due();
        }
    }
}

impl Patrolled {
    fn rest(next: Duration) -> Self {
        Self {
            next,
            ..Self::default()
        }
    }
}

/// A worker looks at what may change where the link stands; the rest is for readers.
fn whom_to_tell(link: &Follower, seen: &SeenBuild) -> News {
    let outcome = seen.outcome;
    let changes = match link.status {
        _ if link.deploy_id.as_ref() == Some(&seen.build.deploy_id) => outcome.is_over(),
        _ if !seen.is_production() => false,
        // It may double the one that the link follows.
        LinkStatus::Building if !outcome.is_over() => true,
        // A worker that holds it may have found since that an earlier one has failed.
        LinkStatus::Live if outcome.is_good() && !link.is_held => {
            seen.is_of_push() && link.proof_level < 3
        }
        _ => outcome.is_good() || outcome.is_bad(),
    };
    match changes {
        true => News::ToWorkers,
        false => News::ToReaders,
    }
}

async fn patrolled(patrol: &ClaimedPatrol, worker: &Worker) -> Result<Patrolled, OpenError> {
    let (door, used) = worker
        .doors
        .open_one(&worker.pool, &patrol.tenant, patrol.connection)
        .await?;
    let Door::Netlify(netlify) = door else {
        // The plan of every link names a connection of kind `netlify`.
        return Ok(Patrolled::rest(worker.settings.patrol_idle));
    };
    let mut tx = begin(&worker.pool, Rows::Of(&patrol.tenant)).await?;
    let followed = builds::take_unfinished(&mut tx, patrol.connection, &patrol.team).await?;
    let links: Vec<_> = followed.iter().map(|followed| followed.link).collect();
    let usual = builds::usual_seconds(&mut tx, &links).await?;
    tx.commit().await.map_err(StoreError::from)?;
    let mut stopped = Vec::new();
    let mut look = Look::new(worker, patrol, &netlify, followed);
    let rest = match timeout(PATIENCE, CallClass::Watching.during(look.all())).await {
        Ok(Ok(())) => Duration::ZERO,
        Ok(Err(Trouble::Store(error))) => return Err(error.into()),
        Ok(Err(Trouble::Upstream(error))) => {
            let rest = rest_after(worker, patrol, &error);
            let noted = refusals::note_of(worker, &patrol.tenant, &used, &error.into()).await?;
            stopped.extend(noted.iter().flat_map(|_| &links));
            rest
        }
        Err(_) => worker.settings.watch_max,
    };
    let now = netlify.upstream_now();
    let next = match rest {
        Duration::ZERO => pace::next(&worker.settings, patrol, &look.running, &usual, now),
        // What runs was not seen to its end, so that it does not say when to look again.
        rest => rest,
    };
    Ok(Patrolled {
        next: next.max(pace::rest_after(look.calls, patrol.teams)),
        stopped,
        ..look.patrolled
    })
}

/// When Netlify wants to be asked again.
fn rest_after(worker: &Worker, patrol: &ClaimedPatrol, error: &UpstreamError) -> Duration {
    tracing::warn!(connection = %patrol.connection, team = patrol.team, %error, "a patrol ended early");
    match error.class {
        Class::RateLimited { until } => (until - OffsetDateTime::now_utc())
            .try_into()
            .unwrap_or_default(),
        // Only another credential helps.
        _ if error.code == FailureCode::CredentialRefused => AFTER_REFUSAL,
        // Links wait for its news.
        _ => worker.settings.watch_max,
    }
}
