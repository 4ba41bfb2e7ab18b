//! Drives one leased link: rounds of steps, one save between two rounds, until it rests.

use std::time::{Duration, Instant};

use super::{
    Worker,
    audited::Audit,
    doors::{OpenError, Opened},
    inspections::first_look,
    lease::Lease,
    ledger, left_behind,
    progress::{Next, Progress, Task},
    refusals,
    slots::Slot,
    subscription,
};
use crate::{
    link::{
        builds::SeenBuild,
        facts::{DeployKey, Fact},
        failure::Failure,
        plan::StepName,
        resource::{ResourceKind, Right},
        status::Wanted,
    },
    steps::{self, Halt, Pace, StepContext, Subscription, Undone},
    store::{
        Rows, StoreError, begin, builds, inspections,
        links::{self, LeasedLink, Round, Then},
        orphans, patrols,
        resources::{self, Entry},
        webhook_locks::{self, WebhookLock},
    },
    upstream::CallClass,
};
use futures_util::future::join_all;
use sqlx::{PgConnection, Postgres, Transaction};
use time::OffsetDateTime;

/// Longest pause that a link sleeps through in memory, without giving its lease back: a look at
/// a running build then costs no commit when it finds nothing new.
const NAP: Duration = Duration::from_secs(30);

/// What the database adds to a round's steps.
#[derive(Default)]
struct Supplies {
    key_at_hand: Option<DeployKey>,
    known_deploy_keys: Vec<String>,
    sites_of_others: Vec<String>,
    subscription: Option<Subscription>,
    rights: Vec<(ResourceKind, String, Right)>,
}

/// The steps that are about to run.
struct Begun<'a> {
    due: &'a [StepName],
    /// Of each step: since when it is uncertain, if it is.
    intents: &'a [Option<OffsetDateTime>],
    /// The transaction that holds what they need, when it was opened before.
    tx: Option<Tx>,
}

type Tx = Transaction<'static, Postgres>;

/// How a task of a step ended.
enum Ended {
    Ensured(Result<(Fact, Vec<Entry>), Halt>),
    /// What an earlier try may have made could not be looked for.
    Unseen(Halt),
    Settled(Result<Option<(Fact, Vec<Entry>)>, Halt>),
    Looked(Result<Option<(Fact, Vec<Entry>)>, Halt>),
    Undone(Result<Undone, Halt>),
}

impl Ended {
    fn failure(&self) -> Option<&Failure> {
        let halt = match self {
            Self::Ensured(result) => result.as_ref().err(),
            Self::Unseen(halt) => Some(halt),
            Self::Settled(result) | Self::Looked(result) => result.as_ref().err(),
            Self::Undone(result) => result.as_ref().err(),
        };
        match halt? {
            Halt::Stop { failure, .. } => Some(failure),
            _ => None,
        }
    }

    fn fact(&self) -> Option<&Fact> {
        match self {
            Self::Ensured(Ok((fact, _)))
            | Self::Settled(Ok(Some((fact, _))))
            | Self::Looked(Ok(Some((fact, _)))) => Some(fact),
            _ => None,
        }
    }
}

/// Works on a link until it rests, is due much later, is taken over, or the process drains.
///
/// # Errors
/// When the database refuses a save: what is unsaved is lost, and the row is the truth.
pub async fn drive(
    worker: &Worker,
    link: LeasedLink,
    lease: &Lease,
    slot: Option<Slot>,
) -> Result<(), StoreError> {
    let audit = Audit::of(&link, lease.presence());
    let driven = go_on(worker, link, lease, slot, &audit).await;
    if driven.is_err() {
        audit.keep(&worker.pool).await;
    }
    driven
}

async fn go_on(
    worker: &Worker,
    link: LeasedLink,
    lease: &Lease,
    mut slot: Option<Slot>,
    audit: &Audit,
) -> Result<(), StoreError> {
    let mut progress = Progress::new(link, worker.settings.setup());
    let seen = Seen::of(worker, &progress.link).await?;
    let opened = match worker
        .doors
        .open(&worker.pool, &(&progress.link).into())
        .await
    {
        Ok(opened) => opened,
        Err(OpenError::Store(error)) => return Err(error),
        Err(OpenError::Failure(failure)) => {
            let wanted = progress.link.wanted;
            progress.heed(lease.wish());
            if progress.link.wanted != wanted {
                // What stops the one may not stop the other.
                return let_go(worker, &mut progress, audit, Some(Duration::ZERO)).await;
            }
            progress.stop_all(failure);
            return let_go(worker, &mut progress, audit, None).await;
        }
    };
    progress.resume_after_refusal();
    loop {
        // Each knows what the other has not read: the last save, and the looks in between.
        lease.heed(progress.wish());
        progress.heed(lease.wish());
        if worker.drain.is_cancelled() {
            return let_go(worker, &mut progress, audit, Some(Duration::ZERO)).await;
        }
        match progress.what_next(opened.provider.capabilities()) {
            Next::Steps(due) => {
                if slot.is_none() {
                    slot = worker.slots.take(&progress.link.tenant).await;
                }
                let round = round(worker, &mut progress, &opened, &seen, due, audit);
                tokio::select! {
                    done = round => done?,
                    () = lease.lapsed() => return Err(StoreError::LeaseLost),
                }
            }
            Next::Pause(pause) if pause <= NAP => {
                if progress.is_dirty() || !audit.is_empty() {
                    save(worker, &mut progress, audit, Then::Hold).await?;
                    continue;
                }
                slot = None;
                nap(worker, &progress, lease, pause).await?;
            }
            Next::Pause(pause) => return let_go(worker, &mut progress, audit, Some(pause)).await,
            Next::Rest if progress.keeps_old_key() => {}
            // Nobody is told of a rest that is over before it has begun.
            Next::Rest if progress.heed_builds(&seen.builds) => {}
            Next::Rest => {
                progress.settle();
                progress.name_left_behind(|link| left_behind::evidence(link, &opened));
                let after = progress.looks_again_in();
                if progress.is_dirty() || !audit.is_empty() {
                    return let_go(worker, &mut progress, audit, after).await;
                }
                return rest_again(worker, &mut progress, after).await;
            }
        }
    }
}

/// What patrols have seen of the link's site.
#[derive(Default)]
struct Seen {
    /// Its newest builds.
    builds: Vec<SeenBuild>,
    /// Whether somebody has looked lately.
    lately: bool,
}

impl Seen {
    async fn of(worker: &Worker, link: &LeasedLink) -> Result<Self, StoreError> {
        let (Some(site), Some(_)) = (&link.facts.site, &link.facts.attachment) else {
            return Ok(Self::default());
        };
        let mut tx = begin(&worker.pool, Rows::Of(&link.tenant)).await?;
        Ok(Self {
            builds: builds::recent(&mut tx, &link.tenant, link.id).await?,
            lately: patrols::is_recent(&mut tx, link.netlify_connection, &site.team).await?,
        })
    }
}

async fn nap(
    worker: &Worker,
    progress: &Progress,
    lease: &Lease,
    pause: Duration,
) -> Result<(), StoreError> {
    tokio::select! {
        () = tokio::time::sleep(pause) => Ok(()),
        () = worker.drain.cancelled() => Ok(()),
        () = lease.wants_other_than(progress.link.wanted) => Ok(()),
        () = lease.lapsed() => Err(StoreError::LeaseLost),
    }
}

async fn let_go(
    worker: &Worker,
    progress: &mut Progress,
    audit: &Audit,
    after: Option<Duration>,
) -> Result<(), StoreError> {
    save(worker, progress, audit, Then::LetGo(after)).await
}

/// Lets go of a link of which there is nothing to tell: a look found that a person has not yet done what was asked.
async fn rest_again(
    worker: &Worker,
    progress: &mut Progress,
    after: Option<Duration>,
) -> Result<(), StoreError> {
    let mut tx = begin(&worker.pool, Rows::Of(&progress.link.tenant)).await?;
    let steps = progress.take_unsaved().steps;
    links::rest_again(&mut tx, &progress.link, &steps, after).await?;
    tx.commit().await?;
    Ok(())
}

/// One round: intents committed, effects at the same time, outcomes taken over.
async fn round(
    worker: &Worker,
    progress: &mut Progress,
    opened: &Opened,
    seen: &Seen,
    mut due: Vec<StepName>,
    audit: &Audit,
) -> Result<(), StoreError> {
    let (lock, tx) = lock_webhooks(worker, progress, opened, &mut due).await?;
    if due.is_empty() {
        return Ok(());
    }
    let before: Vec<_> = due.iter().map(|step| progress.run(*step).clone()).collect();
    let intents: Vec<_> = before.iter().map(|run| run.intent_at).collect();
    let tasks: Vec<_> = due.iter().map(|step| progress.begin(*step)).collect();
    let supplies = match progress.is_dirty() || progress.is_undoing() {
        true => {
            let begun = Begun {
                due: &due,
                intents: &intents,
                tx,
            };
            save_intents(worker, progress, opened, begun, audit).await?
        }
        false => Supplies::default(),
    };
    if let Some(lock) = lock {
        progress.take_webhook_lock(lock);
    }
    let grants = worker.grants.current();
    let pace = Pace::of(&worker.settings);
    let running = due
        .iter()
        .zip(&tasks)
        .zip(&intents)
        .map(|((step, task), intent_at)| {
            let cx = StepContext {
                link: progress.link.id,
                tenant: &progress.link.tenant,
                grants: &grants,
                spec: &progress.link.spec,
                facts: &progress.link.facts,
                builds: &seen.builds,
                patrolled: seen.lately,
                environment: &opened.environment,
                netlify: &opened.netlify,
                provider: opened.provider.as_ref(),
                provider_kind: opened.provider_kind,
                intent_at: *intent_at,
                rested_at: progress.run(*step).rested_at(),
                settles_in: intent_at
                    .and_then(|_| progress.settles_in(*step, worker.settings.settle)),
                now: (progress.now(), Instant::now()),
                elapsed: progress.elapsed(*step),
                standing_key: opened.standing_key.as_ref(),
                key_at_hand: supplies.key_at_hand.clone(),
                known_deploy_keys: &supplies.known_deploy_keys,
                sites_of_others: &supplies.sites_of_others,
                key_was_sent: progress.key_was_sent(),
                rights: supplies.rights.clone(),
                subscription: supplies.subscription.as_ref(),
                setup: worker.settings.setup(),
                keep_site: progress.link.wanted == Wanted::UnlinkedKeepSite,
                pace,
            };
            let work = perform(*step, *task, cx, &progress.link, opened);
            audit.during(*step, urgency(*step, *task).during(work))
        });
    let ended = join_all(running).await;
    for failure in ended.iter().filter_map(Ended::failure) {
        refusals::note(worker, &progress.link.tenant, opened, failure).await?;
    }
    for ((step, ended), before) in due.into_iter().zip(ended).zip(before) {
        let intent_at = before.intent_at;
        if let (Some(intent_at), Some(fact)) = (intent_at, ended.fact()) {
            audit.found(step, intent_at, fact, supplies.key_at_hand.as_ref());
        }
        let settings = &worker.settings;
        match ended {
            Ended::Ensured(result) => {
                progress.ensured(step, result, settings);
                progress.keep_uncertain(step, &before);
            }
            Ended::Unseen(halt) => {
                progress.ensured(step, Err(halt), settings);
                progress.stays_uncertain(step, &before);
            }
            Ended::Settled(result) => {
                let is_known = result.is_ok();
                progress.settled(step, result, settings);
                if !is_known {
                    progress.stays_uncertain(step, &before);
                }
            }
            Ended::Looked(result) => progress.looked(step, result, settings),
            Ended::Undone(result) => progress.undone(step, result, settings),
        }
    }
    Ok(())
}

/// How urgent a task's calls are while a rate limit is nearly used up.
fn urgency(step: StepName, task: Task) -> CallClass {
    match (task, step) {
        (Task::Look, _) => CallClass::Sweeping,
        (_, StepName::WatchDeploy | StepName::ProvePush) => CallClass::Watching,
        _ => CallClass::Making,
    }
}

async fn perform(
    step: StepName,
    task: Task,
    cx: StepContext<'_>,
    link: &LeasedLink,
    opened: &Opened,
) -> Ended {
    let with_entries = |fact: Fact| {
        let entries = ledger::entries(link, opened, &fact);
        (fact, entries)
    };
    let entered = |found: Result<Option<Fact>, Halt>| found.map(|found| found.map(with_entries));
    match task {
        Task::Ensure { look_first } => match steps::look_first(step, &cx, look_first).await {
            Ok(Some(fact)) => Ended::Ensured(Ok(with_entries(fact))),
            Ok(None) => Ended::Ensured(steps::ensure(step, &cx).await.map(with_entries)),
            Err(halt) => Ended::Unseen(halt),
        },
        Task::Settle => Ended::Settled(entered(steps::settle(step, &cx).await)),
        Task::Look => Ended::Looked(entered(steps::observe(step, &cx).await)),
        Task::Undo => Ended::Undone(steps::undo(step, &cx).await),
    }
}

/// Takes the lock that a step needs which makes or removes a webhook: what the intents are then saved with. Without it
/// the step is not due yet.
async fn lock_webhooks(
    worker: &Worker,
    progress: &mut Progress,
    opened: &Opened,
    due: &mut Vec<StepName>,
) -> Result<(Option<WebhookLock>, Option<Tx>), StoreError> {
    let provider = opened.provider.capabilities();
    let Some(repository) = progress.webhooks_to_change(due, provider) else {
        return Ok((None, None));
    };
    let mut tx = begin(&worker.pool, Rows::OfAll).await?;
    let lock = webhook_locks::take(&mut tx, &progress.link, &repository).await?;
    if lock.is_none() {
        due.retain(|step| *step != StepName::InstallWebhook);
        progress.wait_for_webhook_lock(worker.settings.watch_min);
    }
    Ok((lock, Some(tx)))
}

/// Commits what the last round brought together with the intents of the next, and brings what
/// the next round's steps need from the database.
async fn save_intents(
    worker: &Worker,
    progress: &mut Progress,
    opened: &Opened,
    begun: Begun<'_>,
    audit: &Audit,
) -> Result<Supplies, StoreError> {
    let Begun { due, intents, tx } = begun;
    let uncertain: Vec<_> = due
        .iter()
        .zip(intents)
        .filter_map(|(step, intent_at)| intent_at.map(|_| *step))
        .collect();
    let undoing = progress.is_undoing();
    let tenant = progress.link.tenant.clone();
    // Also while undoing: what an interrupted try made is looked for then.
    let attaches_first =
        due.contains(&StepName::AttachRepository) && progress.link.facts.attachment.is_none();
    let takes_site = due.contains(&StepName::CreateSite)
        || (attaches_first && progress.link.spec.site.id.is_some());
    let removes = undoing || due.contains(&StepName::RetireKey);
    let looks_for_key = uncertain.contains(&StepName::ReserveDeployKey);
    // What may be removed and taken is asked across tenants: they may share a repository, and a team or a user at Netlify.
    let rows = match removes || takes_site || looks_for_key || progress.has_met_deploy_key() {
        true => Rows::OfAll,
        false => Rows::Of(&tenant),
    };
    let mut tx = match tx {
        Some(tx) => tx,
        None => begin(&worker.pool, rows).await?,
    };
    let mut supplies = Supplies::default();
    let unrecorded = audit.unrecorded();
    if progress.is_dirty() {
        write(&mut tx, worker, progress, Then::Hold).await?;
    }
    audit.record(&mut tx, &unrecorded).await?;
    let (id, connection) = (progress.link.id, progress.link.netlify_connection);
    if due.contains(&StepName::SubscribeNotifications) {
        let link = &progress.link;
        supplies.subscription =
            subscription::of_link(worker, &mut tx, opened, link, !undoing).await?;
    }
    if removes {
        supplies.rights = resources::rights(&mut tx, id).await?;
    }
    if takes_site {
        let host = &opened.netlify.instance().host;
        let wanted = &progress.link.spec.site.name;
        supplies.sites_of_others = resources::sites_of_others(&mut tx, id, host, wanted).await?;
    }
    if due.contains(&StepName::ReserveDeployKey) {
        let facts = &progress.link.facts;
        let former = facts.rotation.iter().flat_map(|rotation| &rotation.key);
        let mut refused = facts.refused_keys.clone();
        refused.extend(former.map(|key| key.id.clone()));
        supplies.key_at_hand = match resources::held_key(&mut tx, id, &refused).await? {
            None if !undoing => resources::take_stock(&mut tx, id, &tenant, connection).await?,
            held => held,
        };
        let intent_at = progress.run(StepName::ReserveDeployKey).intent_at;
        if let Some(began_at) = intent_at.filter(|_| looks_for_key) {
            supplies.known_deploy_keys = resources::deploy_keys_since(&mut tx, began_at).await?;
            let settle = worker.settings.settle;
            orphans::note_uncertain_key(&mut tx, &tenant, connection, began_at, settle).await?;
        }
    }
    tx.commit().await?;
    audit.forget(&unrecorded);
    worker.bell.changed(id);
    Ok(supplies)
}

async fn save(
    worker: &Worker,
    progress: &mut Progress,
    audit: &Audit,
    then: Then,
) -> Result<(), StoreError> {
    let tenant = progress.link.tenant.clone();
    let rows = match progress.has_met_deploy_key() {
        true => Rows::OfAll,
        false => Rows::Of(&tenant),
    };
    let mut tx = begin(&worker.pool, rows).await?;
    let unrecorded = audit.unrecorded();
    let then = match then {
        Then::LetGo(_) if is_outdated(&mut tx, &progress.link).await? => {
            progress.resume_after_refusal();
            Then::LetGo(Some(Duration::ZERO))
        }
        then => then,
    };
    write(&mut tx, worker, progress, then).await?;
    audit.record(&mut tx, &unrecorded).await?;
    if let Then::LetGo(None) = then
        && let Some(after) = first_look(&progress.link, worker.settings.inspections.every)
    {
        inspections::enlist(&mut tx, &progress.link, after).await?;
    }
    tx.commit().await?;
    audit.forget(&unrecorded);
    worker.bell.changed(progress.link.id);
    Ok(())
}

/// Whether what the link would come to rest with has been seen to.
async fn is_outdated(db: &mut PgConnection, link: &LeasedLink) -> Result<bool, StoreError> {
    match &link.failure {
        Some(failure) if refusals::is_refusal(failure) => {
            refusals::is_outdated(db, link, refusals::is_by_netlify(failure)).await
        }
        _ => Ok(false),
    }
}

async fn write(
    db: &mut PgConnection,
    worker: &Worker,
    progress: &mut Progress,
    then: Then,
) -> Result<(), StoreError> {
    let unsaved = progress.take_unsaved();
    let round = Round {
        link: &progress.link,
        steps: unsaved.steps,
        entries: unsaved.entries,
        releases: unsaved.releases,
        events: unsaved.events,
        builds: unsaved.builds,
        look_within: worker.settings.watch_min,
        then,
    };
    let wish = links::save(db, &round).await?;
    if progress.is_done_with_webhook_lock() {
        webhook_locks::end(db, progress.link.id).await?;
    }
    progress.saved(wish);
    Ok(())
}
