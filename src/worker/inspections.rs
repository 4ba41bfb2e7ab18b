//! Inspections: links at rest are looked at again by their own steps. What differs is told, and what linkbroker placed itself
//! is handed to the engine to be put back.
//!
//! The look only reads and holds no lease of the link: what it found is written if nobody has taken up the link meanwhile.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Worker,
    doors::{OpenError, Opened},
    jobs::{CLAIMS_MAX, Job},
    refusals, subscription,
};
use crate::{
    link::{
        drift::{self, Drift, DriftKind, Healable},
        failure::{Failure, FailureCode},
        grant::Grants,
        plan::StepName,
        status::{LinkStatus, StepState},
        step_run::{StepRun, prepare_heal},
    },
    steps::{self, Halt, Pace, StepContext, Subscription},
    store::{
        Rows, StoreError, begin, checks,
        events::{self, NewEvent},
        inspections::{self, ClaimedInspection, Remembered, WhyNot},
        links::{self, LeasedLink},
    },
    upstream::{CallClass, Looked, Memory},
};

/// Calls at one connection to Netlify in a minute for looks at idle links: with the patrols' less than fifty (limits.md P11).
const IDLE_PER_MINUTE: i64 = 24;
/// Longest time that a look's reads may take: shorter than its lease, so that it counts.
const PATIENCE: Duration = Duration::from_secs(45);
/// When a link that the engine or a caller has in hand is looked for again.
const BUSY_PAUSE: Duration = Duration::from_secs(30);
/// When an upstream that did not answer is asked again.
const UNREAD_PAUSE: Duration = Duration::from_secs(300);
/// When a link is looked at again whose credential was replaced while a look was refused with it.
const OUTDATED_PAUSE: Duration = Duration::from_secs(1);
/// How long after a link came to rest its drift, or a heal, is confirmed.
const CONFIRM: Duration = Duration::from_secs(10);

/// What came of a look.
pub enum Outcome {
    /// Everything could be read.
    Seen {
        /// The link as it was then.
        link: Box<LeasedLink>,
        /// What differs.
        drift: Vec<Drift>,
        /// When to look again.
        next: Duration,
        /// What the next look need not be told again.
        remembered: Option<Remembered>,
    },
    /// Something could not be read, in passing.
    Unread {
        /// Why.
        failure: Failure,
        /// When to look again.
        after: Duration,
    },
    /// The link is in somebody's hands.
    Busy,
    /// The link is not to be looked at any more.
    Over,
}

impl Job for ClaimedInspection {
    type Outcome = Outcome;

    const KIND: &'static str = "inspection";

    async fn claim(
        db: &mut PgConnection,
        worker: &Worker,
        owner: Uuid,
        lease: Duration,
        limit: i64,
    ) -> Result<Vec<Self>, StoreError> {
        // The site's notifications are one more read.
        let calls = match worker.settings.setup().is_notified {
            true => 2,
            false => 1,
        };
        inspections::claim(db, owner, lease, limit, IDLE_PER_MINUTE / calls).await
    }

    fn tenant(&self) -> &str {
        &self.tenant
    }

    async fn look(&self, worker: &Worker) -> Result<Outcome, StoreError> {
        let mut tx = begin(&worker.pool, Rows::Of(&self.tenant)).await?;
        let subject = inspections::subject(&mut tx, &self.tenant, self.link_id).await?;
        let Some(link) = subject else {
            return Ok(match inspections::why_not(&mut tx, self.link_id).await? {
                WhyNot::Over => Outcome::Over,
                WhyNot::Busy => Outcome::Busy,
                WhyNot::Stands => Outcome::Unread {
                    failure: Failure::new(
                        FailureCode::RequestRefused,
                        "the link stands still until somebody acts",
                    ),
                    after: worker.settings.inspections.every,
                },
            });
        };
        let ends_at = checks::ends_at(&mut tx, &self.tenant, link.provider_connection).await?;
        tx.commit().await?;
        let look = look_at(self, worker, link, ends_at);
        timeout(PATIENCE, look).await.unwrap_or_else(|_| {
            let detail = format!("no answer within {} s", PATIENCE.as_secs());
            Ok(Outcome::Unread {
                failure: Failure::new(FailureCode::UpstreamUnavailable, detail),
                after: UNREAD_PAUSE.min(worker.settings.inspections.every),
            })
        })
    }

    async fn finish(&self, db: &mut PgConnection, outcome: &Outcome) -> Result<(), StoreError> {
        if let Outcome::Seen { link, drift, .. } = outcome {
            for refused in drift.iter().filter(|it| it.kind.is_refusal()) {
                let is_netlifys = refused.kind == DriftKind::NetlifyCredentialRefused;
                if refusals::is_outdated(db, link, is_netlifys).await? {
                    inspections::put_off(db, self, OUTDATED_PAUSE, true).await?;
                    return Ok(());
                }
            }
        }
        links::hold(db, &[self.link_id]).await?;
        match outcome {
            Outcome::Seen {
                link,
                drift,
                next,
                remembered,
            } => match inspections::done(db, self, *next, remembered.as_ref()).await? {
                true => seen(self, db, link, drift).await,
                // Another look has taken its place.
                false => Ok(()),
            },
            Outcome::Unread { failure, after } => unread(self, db, failure, *after).await,
            Outcome::Busy => {
                inspections::put_off(db, self, BUSY_PAUSE.min(pause(self)), true).await?;
                Ok(())
            }
            Outcome::Over => inspections::forget(db, self.link_id).await,
        }
    }

    async fn let_go(&self, db: &mut PgConnection) -> Result<(), StoreError> {
        inspections::let_go(db, self).await
    }

    fn tell(&self, worker: &Worker, outcome: &Outcome) {
        match outcome {
            Outcome::Seen { link, drift, .. } => {
                if self.is_asked || *drift != link.facts.drift {
                    worker.bell.changed(self.link_id);
                }
                // The policy may have become another one since it was told.
                if !drift.is_empty() {
                    worker.bell.due();
                }
            }
            Outcome::Unread { .. } if self.is_asked => worker.bell.changed(self.link_id),
            Outcome::Unread { .. } | Outcome::Busy | Outcome::Over => {}
        }
    }
}

/// A caller that waits is not kept waiting for the full pause.
fn pause(claimed: &ClaimedInspection) -> Duration {
    match claimed.is_asked {
        true => Duration::from_secs(1),
        false => BUSY_PAUSE,
    }
}

async fn look_at(
    claimed: &ClaimedInspection,
    worker: &Worker,
    link: LeasedLink,
    ends_at: Option<OffsetDateTime>,
) -> Result<Outcome, StoreError> {
    if claimed.claims > CLAIMS_MAX {
        let detail = format!("{CLAIMS_MAX} workers in a row died over this inspection");
        let failure = Failure::new(FailureCode::WorkerDied, detail);
        let after = worker.settings.inspections.every;
        return Ok(Outcome::Unread { failure, after });
    }
    let every = worker.settings.inspections.every;
    // The links of a moment do not stay together.
    let next = every.mul_f64(0.9 + 0.2 * fastrand::f64());
    let opened = match worker.doors.open(&worker.pool, &(&link).into()).await {
        Ok(opened) => opened,
        Err(OpenError::Store(error)) => return Err(error),
        Err(OpenError::Failure(failure)) if refusals::is_refusal(&failure) => {
            return Ok(unseen(link, failure, next));
        }
        Err(OpenError::Failure(failure)) => {
            let after = every;
            return Ok(Outcome::Unread { failure, after });
        }
    };
    // Of a link that has changed since, what was seen then says nothing.
    let known = claimed.remembered();
    let known = known.filter(|known| known.fence == link.fence);
    let memory = Memory::of(known.map(|known| known.tags).unwrap_or_default());
    // Nobody waits for the look at an idle link.
    let class = match claimed.is_asked {
        true => CallClass::Making,
        false => CallClass::Sweeping,
    };
    let subscription = subscribed(worker, &link, &opened).await?;
    let look = read(worker, &link, &opened, &memory, subscription.as_ref());
    let read = class.during(look).await;
    let read = noted(worker, &link, &opened, read).await?;
    let is_clean = read.as_ref().is_ok_and(Vec::is_empty);
    let remembered = is_clean.then(|| Remembered {
        fence: link.fence,
        tags: memory.seen(),
    });
    Ok(
        match read.map(|found| with_ends(worker, &link, &opened, ends_at, found)) {
            Ok(found) => Outcome::Seen {
                remembered,
                drift: drift::since_when(found, &link.facts.drift),
                link: Box::new(link),
                next,
            },
            Err(Halt::Wait { after, note, .. }) => Outcome::Unread {
                failure: Failure::new(FailureCode::RateLimited, note),
                after: after.max(Duration::from_secs(1)),
            },
            Err(
                Halt::Retry { failure, .. }
                | Halt::Stop { failure, .. }
                | Halt::Ask { failure, .. },
            ) => {
                let after = UNREAD_PAUSE.min(every);
                Outcome::Unread { failure, after }
            }
            // A look follows no interrupted try.
            Err(Halt::Unsettled { after }) => Outcome::Unread {
                failure: Failure::new(FailureCode::Internal, "a look met an interrupted try"),
                after: after.max(Duration::from_secs(1)),
            },
            Err(Halt::Reopen { why, .. }) => Outcome::Unread {
                failure: Failure::new(why, "a look asked for an earlier step"),
                after: every,
            },
        },
    )
}

/// With a refused credential nobody looks: what differed before is all that is known.
fn unseen(link: LeasedLink, refusal: Failure, next: Duration) -> Outcome {
    let known = link.facts.drift.iter().cloned();
    let mut drift: Vec<_> = known.filter(|it| !it.kind.is_refusal()).collect();
    drift.push(refused(refusal));
    Outcome::Seen {
        drift: drift::since_when(tidy(drift), &link.facts.drift),
        link: Box::new(link),
        next,
        remembered: None,
    }
}

async fn subscribed(
    worker: &Worker,
    link: &LeasedLink,
    opened: &Opened,
) -> Result<Option<Subscription>, StoreError> {
    let mut tx = begin(&worker.pool, Rows::Of(&link.tenant)).await?;
    subscription::of_link(worker, &mut tx, opened, link, false).await
}

/// Whether one answer tells all that the step looks at. A branch that the caller has named is another read.
fn may_be_unchanged(link: &LeasedLink, step: StepName) -> bool {
    step != StepName::ResolveRepository || link.spec.branch.is_none()
}

/// What a look has read.
struct Read {
    drift: Vec<Drift>,
    /// What upstreams said who refuse a credential.
    refusals: Vec<Failure>,
    /// Why something could not be read.
    unread: Option<Halt>,
}

/// Every step that made something which lasts looks at it, all at the same time.
async fn read(
    worker: &Worker,
    link: &LeasedLink,
    opened: &Opened,
    memory: &Memory,
    subscription: Option<&Subscription>,
) -> Read {
    let grants = worker.grants.current();
    let cx = StepContext {
        subscription,
        ..context(worker, link, opened, &grants)
    };
    // Netlify tells also of links that are older than the address at which it does.
    let lasts = |run: &&StepRun| match run.state {
        StepState::Done => true,
        StepState::Skipped => run.step == StepName::SubscribeNotifications,
        _ => false,
    };
    let looks = link.steps.iter().filter(lasts).map(|run| async {
        let look = steps::drift(run.step, &cx);
        match may_be_unchanged(link, run.step) {
            true => memory.during(look).await,
            false => Looked {
                result: look.await,
                unchanged: false,
            },
        }
    });
    let mut read = Read {
        drift: Vec::new(),
        refusals: Vec::new(),
        unread: None,
    };
    for look in join_all(looks).await {
        match look.result {
            Ok(found) => read.drift.extend(found),
            // What was seen then was as the link had left it: else nothing would be remembered.
            Err(_) if look.unchanged => {}
            Err(Halt::Stop { failure, .. }) if refusals::is_refusal(&failure) => {
                read.refusals.push(failure);
            }
            Err(halt) => read.unread = Some(halt),
        }
    }
    read
}

/// What was read, once what an upstream has refused is noted for all links of the connection.
async fn noted(
    worker: &Worker,
    link: &LeasedLink,
    opened: &Opened,
    mut read: Read,
) -> Result<Result<Vec<Drift>, Halt>, StoreError> {
    for failure in read.refusals {
        let refusal = refusals::note(worker, &link.tenant, opened, &failure).await?;
        read.drift.push(refused(refusal.unwrap_or(failure)));
    }
    let hides_more = read.drift.iter().any(|drift| drift.kind.hides_more());
    Ok(match read.unread {
        Some(halt) if !hides_more => Err(halt),
        _ => Ok(tidy(read.drift)),
    })
}

/// What was read, and what stops working soon: the provider's credential as it was last checked, a key of a person's account.
fn with_ends(
    worker: &Worker,
    link: &LeasedLink,
    opened: &Opened,
    credential: Option<OffsetDateTime>,
    mut drift: Vec<Drift>,
) -> Vec<Drift> {
    let facts = &link.facts;
    let installed = facts.installed_key.as_ref().and_then(|key| key.expires_at);
    let stands = facts.deploy_key.as_ref().is_some_and(|key| key.standing);
    let standing = opened.standing_key.as_ref().filter(|_| stands);
    let key = standing.map_or(installed, |standing| standing.expires_at);
    let days = &worker.settings.inspections.warn_days;
    let ends = [
        (DriftKind::KeyExpiring, key),
        (DriftKind::ProviderCredentialExpiring, credential),
    ];
    let now = OffsetDateTime::now_utc();
    drift.extend(
        ends.into_iter()
            .filter_map(|(kind, end)| drift::expiring(kind, end?, days, now)),
    );
    drift
}

fn refused(failure: Failure) -> Drift {
    let kind = match refusals::is_by_netlify(&failure) {
        true => DriftKind::NetlifyCredentialRefused,
        false => DriftKind::ProviderCredentialRefused,
    };
    Drift::new(kind, None, Some(failure.detail))
}

/// Each kind once. Where the repository is another or takes no changes, what else differs there cannot be put back.
fn tidy(mut drift: Vec<Drift>) -> Vec<Drift> {
    drift.sort_by_key(|drift| drift.kind);
    drift.dedup_by_key(|drift| drift.kind);
    if drift.iter().any(|drift| drift.kind.hides_more()) {
        for drift in &mut drift {
            drift.healable = Healable::No;
        }
    }
    drift
}

fn context<'a>(
    worker: &Worker,
    link: &'a LeasedLink,
    opened: &'a Opened,
    grants: &'a Grants,
) -> StepContext<'a> {
    StepContext {
        link: link.id,
        tenant: &link.tenant,
        grants,
        spec: &link.spec,
        facts: &link.facts,
        builds: &[],
        patrolled: false,
        environment: &opened.environment,
        netlify: &opened.netlify,
        provider: opened.provider.as_ref(),
        provider_kind: opened.provider_kind,
        intent_at: None,
        settles_in: None,
        now: (link.claimed_at, Instant::now()),
        elapsed: Duration::ZERO,
        standing_key: opened.standing_key.as_ref(),
        key_at_hand: None,
        rested_at: None,
        known_deploy_keys: &[],
        sites_of_others: &[],
        key_was_sent: true,
        rights: Vec::new(),
        subscription: None,
        setup: worker.settings.setup(),
        keep_site: false,
        pace: Pace::of(&worker.settings),
    }
}

/// Nothing new: only the next look is noted. Else the link says so, and what the policy heals is handed to the engine.
async fn seen(
    claimed: &ClaimedInspection,
    db: &mut PgConnection,
    link: &LeasedLink,
    drift: &[Drift],
) -> Result<(), StoreError> {
    let now = OffsetDateTime::now_utc();
    let kinds = drift::to_heal(drift, link.spec.drift, &link.facts.heals, now);
    let is_news = drift != link.facts.drift || !kinds.is_empty();
    if !is_news && !claimed.is_asked {
        return Ok(());
    }
    let events = news(claimed, link, drift, &kinds);
    let status = status(link, drift);
    if !inspections::write_drift(db, link, status, drift, &events).await? {
        return inspections::put_back(db, claimed).await;
    }
    if kinds.is_empty() {
        return Ok(());
    }
    let (mut facts, mut steps) = (link.facts.clone(), link.steps.clone());
    facts.drift = drift.to_vec();
    prepare_heal(&mut steps, &mut facts, &kinds, now);
    inspections::heal(db, link, &facts, &steps).await
}

async fn unread(
    claimed: &ClaimedInspection,
    db: &mut PgConnection,
    failure: &Failure,
    after: Duration,
) -> Result<(), StoreError> {
    tracing::info!(link = %claimed.link_id, %failure, "a link at rest could not be looked at");
    let counts = inspections::put_off(db, claimed, after, false).await?;
    if !(counts && claimed.is_asked) {
        return Ok(());
    }
    let told = NewEvent {
        kind: "link.check_failed",
        detail: json!({ "code": failure.code, "detail": failure.detail }),
    };
    inspections::tell_asked(db, claimed.link_id).await?;
    events::append(db, claimed.link_id, &claimed.tenant, &[told]).await
}

/// Drift alone makes a live link degraded, and no drift makes it live again.
fn status(link: &LeasedLink, drift: &[Drift]) -> LinkStatus {
    let is_degraded = drift.iter().any(|drift| drift.kind.degrades());
    let has_failed = link.steps.iter().any(|run| run.state == StepState::Failed);
    match link.status {
        LinkStatus::Live if is_degraded => LinkStatus::Degraded,
        LinkStatus::Degraded if !is_degraded && !has_failed => LinkStatus::Live,
        status => status,
    }
}

fn news(
    claimed: &ClaimedInspection,
    link: &LeasedLink,
    drift: &[Drift],
    heals: &[DriftKind],
) -> Vec<NewEvent> {
    let before = &link.facts.drift;
    let is_fresh = |it: &&Drift| before.iter().all(|was| !it.is_same(was));
    let fresh: Vec<_> = drift.iter().filter(is_fresh).collect();
    let is_gone = |was: &&Drift| drift.iter().all(|it| it.kind != was.kind);
    let gone: Vec<_> = before.iter().filter(is_gone).map(|it| it.kind).collect();
    let to = status(link, drift);
    let mut events = Vec::new();
    let mut tell = |is_so: bool, kind, detail| {
        if is_so {
            events.push(NewEvent { kind, detail });
        }
    };
    let told: Vec<_> = fresh.iter().map(|drift| drift.told()).collect();
    tell(!fresh.is_empty(), "link.drifted", json!({ "drift": told }));
    tell(
        !gone.is_empty(),
        "link.drift_gone",
        json!({ "kinds": gone }),
    );
    tell(
        claimed.is_asked,
        "link.checked",
        json!({ "drift": drift.len() }),
    );
    tell(
        to != link.status,
        "link.status_changed",
        json!({ "from": link.status, "to": to }),
    );
    tell(!heals.is_empty(), "link.healing", json!({ "kinds": heals }));
    tell(
        !heals.is_empty(),
        "link.status_changed",
        json!({ "from": to, "to": LinkStatus::Linking }),
    );
    events
}

/// When a link that comes to rest is looked at: soon, when there is something to confirm, else at some time within the interval.
pub fn first_look(link: &LeasedLink, every: Duration) -> Option<Duration> {
    let is_at_rest = matches!(
        link.status,
        LinkStatus::Live | LinkStatus::Degraded | LinkStatus::BuildFailed
    );
    let healed = link.facts.heals.last().map(|heal| heal.at);
    let has_healed = healed.is_some_and(|at| link.claimed_at - at < time::Duration::HOUR);
    // What failed may be drift, of which the policy takes care.
    let may_be_drift = link.status == LinkStatus::Degraded || !link.facts.drift.is_empty();
    let is_to_be_confirmed = has_healed || may_be_drift;
    is_at_rest.then(|| match is_to_be_confirmed {
        true => CONFIRM.min(every),
        false => every.mul_f64(fastrand::f64().midpoint(1.0)),
    })
}
