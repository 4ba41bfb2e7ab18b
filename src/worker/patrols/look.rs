//! The calls of one patrol, and what they show.

use futures_util::{StreamExt, stream};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Patrolled, pace};
use crate::{
    diagnosis::{self, LiveState},
    link::{
        builds::{BuildOutcome, SeenBuild},
        facts::Deploy,
        failure::Failure,
    },
    netlify::{builds, deploys},
    redact,
    store::{
        Rows, StoreError, begin,
        builds::{Followed, over},
        links::{self, Follower},
        patrols::ClaimedPatrol,
        watches,
    },
    upstream::{Access, Class, UpstreamError},
    worker::Worker,
};

/// Reads of builds that have ended in one patrol; more wait for the next.
const READS_MAX: usize = 40;
/// Reads at the same time.
const AT_ONCE: usize = 8;
/// Lines of a log's end that are kept.
const LOG_LINES: usize = 40;
/// Age of builds that are taken from a site's list.
const LISTED_DAYS: i64 = 7;
/// Clocks of Netlify and of the database differ by less.
const CLOCKS_DIFFER: time::Duration = time::Duration::minutes(1);

/// A build that is not over.
#[derive(Debug)]
pub struct Running {
    /// Whose it is.
    pub link: Uuid,
    /// How it stands.
    pub seen: SeenBuild,
    /// Whether Netlify tells us of its end.
    pub notified: bool,
}

/// One patrol under way.
pub struct Look<'a> {
    worker: &'a Worker,
    patrol: &'a ClaimedPatrol,
    netlify: &'a Access,
    followed: Vec<Followed>,
    /// What is not over.
    pub running: Vec<Running>,
    /// Calls so far.
    pub calls: u32,
    /// What is new.
    pub patrolled: Patrolled,
}

/// Why a patrol ends early.
pub enum Trouble {
    /// The database.
    Store(StoreError),
    /// Netlify; what was seen until then stays true.
    Upstream(UpstreamError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<UpstreamError> for Trouble {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

impl<'a> Look<'a> {
    /// A patrol that has not called yet.
    pub fn new(
        worker: &'a Worker,
        patrol: &'a ClaimedPatrol,
        netlify: &'a Access,
        followed: Vec<Followed>,
    ) -> Self {
        Self {
            worker,
            patrol,
            netlify,
            followed,
            running: Vec::new(),
            calls: 0,
            patrolled: Patrolled::default(),
        }
    }

    /// Looks at everything that is due.
    pub async fn all(&mut self) -> Result<(), Trouble> {
        let to_read = match self.patrol.is_planned {
            true => self.look_at_running().await?,
            false => self.hinted(),
        };
        let are_all = self.patrol.is_planned && to_read.len() <= READS_MAX;
        self.read(to_read).await?;
        self.patrolled.is_whole = are_all;
        if self.patrol.is_planned {
            self.list_sites().await?;
        }
        Ok(())
    }

    fn hinted(&self) -> Vec<Followed> {
        let hinted = self.followed.iter().filter(|it| it.hinted);
        hinted.cloned().collect()
    }

    /// One call for all of the team's running builds; those of ours that have to be read.
    async fn look_at_running(&mut self) -> Result<Vec<Followed>, Trouble> {
        self.calls += 1;
        match builds::running(self.netlify, &self.patrol.team).await {
            Ok(builds::Running::Listed(listed)) => self.compare(listed).await,
            Ok(builds::Running::Counted) => Ok(self.followed.clone()),
            // Not for this credential or plan: the builds are read one by one.
            Err(error) if error.is_missing() || is_forbidden(&error) => Ok(self.followed.clone()),
            Err(error) => Err(error.into()),
        }
    }

    async fn compare(&mut self, listed: Vec<(String, Deploy)>) -> Result<Vec<Followed>, Trouble> {
        let sites: Vec<_> = listed.iter().map(|(site, _)| site.clone()).collect();
        let mut tx = begin(&self.worker.pool, Rows::Of(&self.patrol.tenant)).await?;
        let watches = watches::of_sites(&mut tx, self.patrol.connection, &sites).await?;
        drop(tx);
        let all: Vec<_> = listed.iter().map(|(_, deploy)| deploy.clone()).collect();
        let mut seen = Vec::new();
        for (site, deploy) in listed {
            let Some(watch) = watches.iter().find(|watch| watch.site == site) else {
                continue;
            };
            let ahead = ahead_of(&deploy, &all);
            if let Some(build) = deploys::seen(deploy) {
                let ahead = ahead.filter(|_| build.is_waiting());
                seen.push((watch, SeenBuild { ahead, ..build }));
            }
        }
        let is_listed = |it: &Followed| seen.iter().any(|(_, build)| build.build == it.seen.build);
        let gone = self
            .followed
            .iter()
            .filter(|it| !is_listed(it) || it.hinted);
        let gone: Vec<_> = gone.cloned().collect();
        for (watch, build) in seen {
            self.note(watch.link, build, watch.notified);
        }
        Ok(gone)
    }

    /// Keeps what stands otherwise than before.
    fn note(&mut self, link: Uuid, seen: SeenBuild, notified: bool) {
        let known = self.followed.iter().find(|it| it.seen.build == seen.build);
        let is_news = known.is_none_or(|it| {
            let state = |of: &SeenBuild| of.deploy.as_ref().map(|deploy| deploy.state.clone());
            state(&it.seen) != state(&seen) || it.seen.ahead != seen.ahead || seen.outcome.is_over()
        });
        if !seen.outcome.is_over() {
            self.running.push(Running {
                link,
                seen: seen.clone(),
                notified,
            });
        }
        if is_news {
            self.patrolled.seen.push((link, seen));
        }
    }

    /// Reads builds that are no longer among the running ones: one read tells how each has ended.
    async fn read(&mut self, builds: Vec<Followed>) -> Result<(), Trouble> {
        let (now, later) = builds.split_at(builds.len().min(READS_MAX));
        for it in later {
            self.running.push(Running {
                link: it.link,
                seen: it.seen.clone(),
                notified: false,
            });
        }
        let netlify = self.netlify;
        let reads = stream::iter(now.to_vec()).map(async |it| {
            let deploy = deploys::get(netlify, &it.seen.build.deploy_id).await;
            (it, deploy)
        });
        let read: Vec<_> = reads.buffer_unordered(AT_ONCE).collect().await;
        self.calls += u32::try_from(read.len()).unwrap_or(u32::MAX);
        let mut trouble = None;
        for (it, deploy) in read {
            let seen = match deploy {
                Ok(deploy) => Some(of_known(&it.seen, deploy)),
                // Somebody has deleted the deploy.
                Err(error) if error.is_missing() => Some(SeenBuild {
                    outcome: BuildOutcome::Canceled,
                    ..it.seen.clone()
                }),
                Err(error) => {
                    trouble = Some(error);
                    None
                }
            };
            if let Some(seen) = seen {
                self.note(it.link, seen, it.notified);
            }
        }
        self.explain().await?;
        trouble.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Reads the lists of the sites that were not read for longest, within the budget.
    async fn list_sites(&mut self) -> Result<(), Trouble> {
        let limit = pace::lists(self.patrol);
        if limit == 0 {
            return Ok(());
        }
        let mut tx = begin(&self.worker.pool, Rows::Of(&self.patrol.tenant)).await?;
        let unread = self.worker.settings.patrol_idle;
        let (connection, team) = (self.patrol.connection, &self.patrol.team);
        let unread = (unread, pace::UNREAD_WHEN_NOTIFIED);
        let sites = watches::longest_unlisted(&mut tx, connection, team, unread, limit).await?;
        let ids: Vec<_> = sites.iter().map(|watch| watch.link).collect();
        let followers = links::followers(&mut tx, &ids).await?;
        drop(tx);
        for follower in followers {
            let watch = sites.iter().find(|watch| watch.link == follower.id);
            let Some(watch) = watch else { continue };
            self.calls += 1;
            match deploys::list_for_site(self.netlify, &watch.site).await {
                Ok(deploys) => self.take_listed(&follower, deploys, watch.notified).await?,
                // Whoever looks at the link itself says that its site is gone.
                Err(error) if error.class == Class::NotFound => {}
                Err(error) => return Err(error.into()),
            }
            self.patrolled.listed.push(watch.clone());
        }
        self.explain().await
    }

    async fn take_listed(
        &mut self,
        link: &Follower,
        deploys: Vec<Deploy>,
        notified: bool,
    ) -> Result<(), Trouble> {
        let oldest = OffsetDateTime::now_utc() - time::Duration::days(LISTED_DAYS);
        let since = oldest.max(link.created_at - CLOCKS_DIFFER);
        let seen = deploys.into_iter().filter_map(deploys::seen);
        let seen: Vec<_> = seen.filter(|it| it.created_at >= Some(since)).collect();
        let ids: Vec<_> = seen.iter().map(|it| it.build.deploy_id.clone()).collect();
        let mut tx = begin(&self.worker.pool, Rows::Of(&self.patrol.tenant)).await?;
        let over = over(&mut tx, link.id, &ids).await?;
        drop(tx);
        let is_noted = |look: &Self, it: &SeenBuild| {
            let noted = look.patrolled.seen.iter();
            let running = look.running.iter().map(|running| &running.seen);
            running
                .chain(noted.map(|(_, seen)| seen))
                .any(|seen| seen.build == it.build)
        };
        for seen in seen {
            if !over.contains(&seen.build.deploy_id) && !is_noted(self, &seen) {
                self.note(link.id, seen, notified);
            }
        }
        Ok(())
    }

    /// Reads why builds have failed that no step follows: their logs, and what they say.
    async fn explain(&mut self) -> Result<(), Trouble> {
        let unexplained = |(_, seen): &&mut (Uuid, SeenBuild)| {
            seen.outcome.is_bad() && seen.failure.is_none() && seen.deploy.is_some()
        };
        let links: Vec<_> = self.patrolled.seen.iter().map(|(link, _)| *link).collect();
        if !self.patrolled.seen.iter_mut().any(|it| unexplained(&it)) {
            return Ok(());
        }
        let mut tx = begin(&self.worker.pool, Rows::Of(&self.patrol.tenant)).await?;
        let followers = links::followers(&mut tx, &links).await?;
        drop(tx);
        let by_step = |link: Uuid, seen: &SeenBuild| {
            let follower = followers.iter().find(|it| it.id == link);
            follower.and_then(|it| it.deploy_id.as_ref()) == Some(&seen.build.deploy_id)
        };
        for (link, seen) in self.patrolled.seen.iter_mut().filter(|it| unexplained(it)) {
            let Some(deploy) = seen.deploy.as_ref().filter(|_| !by_step(*link, seen)) else {
                continue;
            };
            self.calls += 1;
            let log = deploys::log_tail(self.netlify, &deploy.id, LOG_LINES).await?;
            let follower = followers.iter().find(|it| it.id == *link);
            let log = clean(self.worker, &self.patrol.tenant, follower, log).await?;
            let failure = diagnosis::suspect(deploy, &log).settle(&LiveState::default());
            seen.failure = Some(Failure {
                evidence: Vec::new(),
                ..failure
            });
            seen.log_tail = log;
        }
        Ok(())
    }
}

/// Builds print what they please: without what looks like a secret, and without the values of the link's own variables.
async fn clean(
    worker: &Worker,
    tenant: &str,
    link: Option<&Follower>,
    log: Vec<String>,
) -> Result<Vec<String>, StoreError> {
    let environment = match link {
        Some(link) => {
            worker
                .doors
                .environment(&worker.pool, tenant, link.id, &link.spec)
                .await?
        }
        None => None,
    };
    // Without the values nothing can be taken out, so nothing is kept.
    let Some(environment) = environment else {
        return Ok(Vec::new());
    };
    let lines = log
        .iter()
        .map(|line| redact::excerpt(&redact::without_values(line, &environment)));
    Ok(lines.filter(|line| !line.is_empty()).collect())
}

fn is_forbidden(error: &UpstreamError) -> bool {
    error.code == crate::link::failure::FailureCode::NetlifyForbidden
}

/// Builds of the team that were started before this one and are not over.
fn ahead_of(deploy: &Deploy, all: &[Deploy]) -> Option<u32> {
    let started = deploy.made_at()?;
    let before = |other: &&Deploy| {
        other.id != deploy.id
            && other
                .made_at()
                .is_some_and(|at| (at, &other.id) < (started, &deploy.id))
    };
    u32::try_from(all.iter().filter(before).count()).ok()
}

/// The ids under which it is known stay.
fn of_known(known: &SeenBuild, deploy: Deploy) -> SeenBuild {
    let deploy = Deploy {
        build_id: Some(known.build.id.clone()),
        ..deploy
    };
    deploys::seen(deploy).unwrap_or_else(|| known.clone())
}
