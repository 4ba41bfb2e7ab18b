//! Table `links`: the unit of work. Accepting a link is one insert; a worker leases it, saves
//! every round of its steps behind a fence, and lets go of it.

mod due;
mod turns;

use std::time::Duration;

use sqlx::{PgConnection, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

pub use due::next_due_in;
pub use turns::Turns;

use super::{
    StoreError, builds, environments,
    events::{self, NewEvent, STATUS_CHANGED},
    inspections, patrols,
    resources::{self, Entry},
    step_runs, subscriptions,
    watches::{self, NewWatch},
};
use crate::link::{
    builds::SeenBuild,
    conditions::ConditionStatus,
    drift::DriftPolicy,
    facts::{Deploy, Facts},
    failure::Failure,
    plan::StepName,
    repository_ref::RepositoryRef,
    request::LinkSpec,
    resource::{Receipt, ResourceKind},
    status::{LinkStatus, Standing, StepState, Wanted},
    step_run::StepRun,
};

/// A link to be accepted.
#[derive(Debug)]
pub struct NewLink {
    /// Its id.
    pub id: Uuid,
    /// Who owns it.
    pub tenant: String,
    /// The caller's own name.
    pub reference: Option<String>,
    /// The checked request.
    pub spec: LinkSpec,
    /// The sealed values of its environment variables, when it has some.
    pub environment: Option<Vec<u8>>,
    /// The caller's labels.
    pub labels: serde_json::Value,
    /// Access to Netlify.
    pub netlify_connection: Uuid,
    /// Access to the provider.
    pub provider_connection: Uuid,
    /// Subject of the caller.
    pub created_by: String,
}

/// A link as readers see it.
#[derive(Debug, Clone)]
pub struct LinkRow {
    /// Its id.
    pub id: Uuid,
    /// The caller's own name.
    pub reference: Option<String>,
    /// The checked request.
    pub spec: LinkSpec,
    /// The caller's labels.
    pub labels: serde_json::Value,
    /// Where it stands.
    pub status: LinkStatus,
    /// What the caller wants it to be.
    pub wanted: Wanted,
    /// What the steps found and made.
    pub facts: Facts,
    /// Builds of the team that the followed one waits for.
    pub ahead: Option<i32>,
    /// Why it stands still.
    pub failure: Option<Failure>,
    /// One more with every change.
    pub version: i64,
    /// Name of the connection to Netlify.
    pub netlify_connection: String,
    /// Name of the connection to the provider.
    pub provider_connection: String,
    /// Which provider: `github`, …
    pub provider: String,
    /// Type of the credential that the connection to the provider holds.
    pub provider_credential: String,
    /// When it was accepted.
    pub created_at: OffsetDateTime,
    /// When it changed last.
    pub updated_at: OffsetDateTime,
    /// When it first was live.
    pub live_at: Option<OffsetDateTime>,
    /// When it was last looked at, and is looked at next.
    pub inspection: Inspection,
}

/// The looks at a link at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspection {
    /// When the last one was done.
    pub checked_at: Option<OffsetDateTime>,
    /// When the next one is due.
    pub next_at: Option<OffsetDateTime>,
    /// Whether a caller waits for it.
    pub is_asked: bool,
}

impl LinkRow {
    /// What decides which verbs fit it.
    pub fn standing(&self) -> Standing {
        Standing {
            status: self.status,
            wanted: self.wanted,
            was_live: self.live_at.is_some(),
        }
    }
}

/// A link in the hands of a worker.
#[derive(Debug, Clone)]
pub struct LeasedLink {
    /// Its id.
    pub id: Uuid,
    /// Who owns it.
    pub tenant: String,
    /// The checked request.
    pub spec: LinkSpec,
    /// Where it stands.
    pub status: LinkStatus,
    /// What the caller wanted when it was last read.
    pub wanted: Wanted,
    /// Whether it was ever live.
    pub was_live: bool,
    /// What the steps found and made.
    pub facts: Facts,
    /// Why it stands still.
    pub failure: Option<Failure>,
    /// Number of this lease.
    pub fence: i64,
    /// Workers in a row that died over it.
    pub deaths: i16,
    /// Access to Netlify.
    pub netlify_connection: Uuid,
    /// Access to the provider.
    pub provider_connection: Uuid,
    /// Its steps, in the order of the plan.
    pub steps: Vec<StepRun>,
    /// Database time when it was claimed.
    pub claimed_at: OffsetDateTime,
}

/// Stores a new link, due at once, with its first event.
pub async fn insert(db: &mut PgConnection, link: &NewLink) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into links (id, tenant, ref, spec, labels, netlify_connection, provider_connection, status, created_by)
         values ($1, $2, $3, $4, $5, $6, $7, 'queued', $8)",
        link.id,
        link.tenant,
        link.reference,
        Json(&link.spec) as _,
        link.labels,
        link.netlify_connection,
        link.provider_connection,
        link.created_by
    )
    .execute(&mut *db)
    .await?;
    if let Some(sealed) = &link.environment {
        environments::insert(db, link.id, &link.tenant, sealed).await?;
    }
    let accepted = NewEvent {
        kind: "link.accepted",
        detail: serde_json::json!({ "by": link.created_by }),
    };
    events::append(db, link.id, &link.tenant, &[accepted]).await
}

/// Reads links as callers see them, those that meet the condition.
macro_rules! links_where {
    ($condition:literal, $($argument:expr),+) => {
        sqlx::query_as!(
            Read,
            r#"select l.id, l.ref as reference, l.spec as "spec: Json<LinkSpec>", l.labels, l.status, l.wanted, l.live_at,
                      l.facts as "facts: Json<Facts>", l.failure as "failure: Json<Failure>", l.version,
                      n.name as netlify_connection, p.name as provider_connection, p.kind as provider,
                      p.credential_type as provider_credential, l.created_at, l.updated_at,
                      b.deploy as "deploy?: Json<Deploy>", b.ahead as "ahead?",
                      i.checked_at as "checked_at?", i.due_at as "inspect_at?", i.asked_at as "asked_at?"
               from links l
               left join builds b on b.link_id = l.id and b.deploy_id = l.facts -> 'build' ->> 'deploy_id'
               left join inspections i on i.link_id = l.id
               join connections n on n.id = l.netlify_connection
               join connections p on p.id = l.provider_connection
               where "#
                + $condition,
            $($argument),+
        )
    };
}

/// The tenant's link of this id.
pub async fn get(
    db: &mut PgConnection,
    tenant: &str,
    id: Uuid,
) -> Result<Option<LinkRow>, StoreError> {
    let row = links_where!("l.tenant = $1 and l.id = $2", tenant, id)
        .fetch_optional(db)
        .await?;
    row.map(LinkRow::try_from).transpose()
}

/// Which links to list.
#[derive(Debug, Default)]
pub struct Filter {
    /// Only older ones than this: the cursor.
    pub before: Option<Uuid>,
    /// Only in this status.
    pub status: Option<LinkStatus>,
    /// Only with this name of the caller's.
    pub reference: Option<String>,
    /// Only of the site with this name.
    pub site: Option<String>,
    /// Only with a connection to this kind of provider.
    pub provider: Option<&'static str>,
    /// Only of this repository: host and path, as it was asked for or as it is called now.
    pub repository: Option<RepositoryRef>,
    /// Only with all of these labels.
    pub labels: Option<serde_json::Value>,
    /// Only when this step is in one of these states.
    pub step: Option<(StepName, Vec<StepState>)>,
    /// Only when inspections tell this of them.
    pub in_sync: Option<ConditionStatus>,
    /// Only changed after this.
    pub updated_after: Option<OffsetDateTime>,
    /// Only ones that are not over.
    pub unfinished: bool,
}

/// The tenant's links that pass the filter, newest first.
///
/// The filters look at the tenant's links one by one, newest first, until the page is full:
/// an index for each would cost every save of every link (the status is in the partial indexes, so no
/// save of it is a heap-only update).
pub async fn list(
    db: &mut PgConnection,
    tenant: &str,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<LinkRow>, StoreError> {
    let (repository_host, repository_path) = filter
        .repository
        .as_ref()
        .map(|repository| (repository.host.as_str(), repository.path.as_str()))
        .unzip();
    let (step, states) = filter
        .step
        .as_ref()
        .map(|(step, states)| (*step, states))
        .unzip();
    let states: Vec<_> = states
        .into_iter()
        .flatten()
        .map(|state| state.as_str().to_owned())
        .collect();
    let rows = links_where!(
        "l.tenant = $1
             and ($2::uuid is null or l.id < $2)
             and ($3::text is null or l.status = $3)
             and ($4::text is null or l.ref = $4)
             and ($5::text is null or l.spec -> 'site' ->> 'name' = $5)
             and (not $6 or l.status not in ('unlinked', 'canceled'))
             and ($8::text is null or p.kind = $8)
             and ($9::text is null or l.spec ->> 'host' = $9 and lower($10) in
                  (lower(l.spec ->> 'path'), lower(l.facts -> 'repository' ->> 'path')))
             and ($11::jsonb is null or l.labels @> $11)
             and ($12::text is null or coalesce(
                  (select r.state from step_runs r where r.link_id = l.id and r.step = $12), 'pending') = any($13))
             and ($14::timestamptz is null or l.updated_at > $14)
             and ($15::text is null or $15 = case
                  when jsonb_array_length(coalesce(l.facts -> 'drift', '[]')) > 0 then 'false'
                  when i.checked_at is not null then 'true' else 'unknown' end)
         order by l.id desc limit $7",
        tenant,
        filter.before,
        filter.status.map(LinkStatus::as_str),
        filter.reference,
        filter.site,
        filter.unfinished,
        limit,
        filter.provider,
        repository_host,
        repository_path,
        filter.labels,
        step.map(StepName::as_str),
        &states,
        filter.updated_after,
        filter.in_sync.map(ConditionStatus::as_str)
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(LinkRow::try_from).collect()
}

/// A row as it is read.
struct Read {
    id: Uuid,
    reference: Option<String>,
    spec: Json<LinkSpec>,
    labels: serde_json::Value,
    status: String,
    wanted: String,
    live_at: Option<OffsetDateTime>,
    facts: Json<Facts>,
    failure: Option<Json<Failure>>,
    version: i64,
    netlify_connection: String,
    provider_connection: String,
    provider: String,
    provider_credential: String,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    deploy: Option<Json<Deploy>>,
    ahead: Option<i32>,
    checked_at: Option<OffsetDateTime>,
    inspect_at: Option<OffsetDateTime>,
    asked_at: Option<OffsetDateTime>,
}

impl TryFrom<Read> for LinkRow {
    type Error = StoreError;

    fn try_from(row: Read) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            reference: row.reference,
            spec: row.spec.0,
            labels: row.labels,
            status: row.status.parse()?,
            wanted: row.wanted.parse()?,
            // What was seen of the build since the link was worked on last.
            facts: Facts {
                deploy: row.deploy.map(|json| json.0).or(row.facts.0.deploy),
                ..row.facts.0
            },
            ahead: row.ahead,
            failure: row.failure.map(|json| json.0),
            version: row.version,
            netlify_connection: row.netlify_connection,
            provider_connection: row.provider_connection,
            provider: row.provider,
            provider_credential: row.provider_credential,
            created_at: row.created_at,
            updated_at: row.updated_at,
            live_at: row.live_at,
            inspection: Inspection {
                checked_at: row.checked_at,
                next_at: row.inspect_at,
                is_asked: row.asked_at.is_some(),
            },
        })
    }
}

/// Which of these links are at a later version than the one beside. Needs [`super::Rows::OfAll`].
pub async fn newer(
    db: &mut PgConnection,
    links: &[Uuid],
    versions: &[i64],
) -> Result<Vec<Uuid>, StoreError> {
    let newer = sqlx::query_scalar!(
        "select l.id from unnest($1::uuid[], $2::bigint[]) as known (id, version)
         join links l on l.id = known.id where l.version > known.version",
        links,
        versions
    )
    .fetch_all(db)
    .await?;
    Ok(newer)
}

/// How many links of a tenant are under way, counted up to `most`.
pub async fn in_flight(db: &mut PgConnection, tenant: &str, most: i64) -> Result<i64, StoreError> {
    let under_way: Vec<_> = LinkStatus::ALL
        .iter()
        .filter(|status| !status.is_settled())
        .map(|status| status.as_str().to_owned())
        .collect();
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from (
               select from links where tenant = $1 and next_run_at is not null and status = any($2) limit $3
           ) as under_way"#,
        tenant,
        &under_way,
        most
    )
    .fetch_one(db)
    .await?;
    Ok(count)
}

/// Gives the link what a caller may change later: labels, and what becomes of drift.
pub async fn change(
    db: &mut PgConnection,
    tenant: &str,
    id: Uuid,
    labels: &serde_json::Value,
    drift: DriftPolicy,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update links set labels = $3, spec = jsonb_set(spec, '{drift}', to_jsonb($4::text)),
             version = version + 1, updated_at = now() where tenant = $1 and id = $2",
        tenant,
        id,
        labels,
        drift.as_str()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Locks a link for a caller's change; what decides which verbs fit it.
pub async fn lock(
    db: &mut PgConnection,
    tenant: &str,
    id: Uuid,
) -> Result<Option<Standing>, StoreError> {
    let row = sqlx::query!(
        r#"select status, wanted, live_at is not null as "was_live!" from links where tenant = $1 and id = $2 for update"#,
        tenant,
        id
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        Ok(Standing {
            status: row.status.parse()?,
            wanted: row.wanted.parse()?,
            was_live: row.was_live,
        })
    })
    .transpose()
}

/// Asks for the link to be taken back. A worker that holds it sees this at its next save or
/// heartbeat; otherwise it is due at once. An undo that stands still begins again: a worker that looks at it just now loses it by
/// the higher fence, because it could not tell the wish from the one that it knows. An effect that it may have
/// under way is told by the next look: absent counts as done.
pub async fn request_undo(
    db: &mut PgConnection,
    id: Uuid,
    status: LinkStatus,
    wanted: Wanted,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update links set wanted = $3, status = $2, failure = null, version = version + 1, updated_at = now(),
             next_run_at = case when lease_owner is null or undo.stands_still then now() else next_run_at end,
             fence = case when undo.stands_still then fence + 1 else fence end,
             lease_owner = case when undo.stands_still then null else lease_owner end,
             lease_until = case when undo.stands_still then null else lease_until end
         from (select id, wanted <> 'linked' and status = 'action_required' as stands_still from links where id = $1) as undo
         where links.id = undo.id",
        id,
        status.as_str(),
        wanted.as_str()
    )
    .execute(&mut *db)
    .await?;
    step_runs::forget_tries(db, id).await
}

/// Makes the links due that wait because the credential of this connection was refused; how many they are. Those of which
/// a look has found it are looked at again, and so are running builds.
pub async fn go_on_with(
    db: &mut PgConnection,
    tenant: &str,
    connection: Uuid,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "with waiting as (
             select id from links
             where tenant = $1 and (netlify_connection = $2 or provider_connection = $2)
               and failure ->> 'code' = 'credential_refused' and lease_owner is null
             order by id for no key update
         )
         update links l set next_run_at = now() from waiting where l.id = waiting.id",
        tenant,
        connection
    )
    .execute(&mut *db)
    .await?;
    // Links by their ids, then these two, as all do who take several of them: else two may wait for one another for ever.
    patrols::look_again_with(db, connection).await?;
    inspections::look_again_with(db, tenant, connection).await?;
    Ok(done.rows_affected())
}

/// Makes a link that stands still due again, with its steps and facts as the caller's wish leaves them. A worker that
/// looks at it just now loses it by the higher fence.
pub async fn request_work(
    db: &mut PgConnection,
    id: Uuid,
    tenant: &str,
    status: LinkStatus,
    facts: &Facts,
    steps: &[StepRun],
) -> Result<(), StoreError> {
    sqlx::query!(
        "update links set status = $2, facts = $3, failure = null, version = version + 1, updated_at = now(), deaths = 0,
             next_run_at = now(), fence = fence + 1, lease_owner = null, lease_until = null
         where id = $1",
        id,
        status.as_str(),
        Json(facts) as _
    )
    .execute(&mut *db)
    .await?;
    step_runs::upsert(db, id, tenant, steps).await
}

/// Until when a leased link is left alone although nobody has heard of its owner: a net that is never needed while any
/// process of this version runs.
const NET: Duration = Duration::from_secs(3600);

/// Moves the net of a worker's links on. Needs [`super::Rows::OfAll`].
pub async fn move_net(db: &mut PgConnection, owner: Uuid) -> Result<(), StoreError> {
    sqlx::query!(
        "update links set next_run_at = now() + $2::interval where lease_owner = $1 and next_run_at < now() + $2::interval / 2",
        owner,
        interval(NET) as _
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Why leases end before their links were let go of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// The process died, perhaps because of the link: one that others have died over before rests, this long after the second
    /// death, twice as long after each further one, and for the longest time at most.
    OwnerDied { pause: Duration, longest: Duration },
    /// The process lost its place among the workers, and lives.
    OwnerLeft,
}

/// Ends all leases of a worker: nothing that it still writes counts, and its links are due at once, or after a rest. A death
/// is counted here, in the transaction that gives the worker up: whoever looks later cannot tell what has become of it. How many
/// it were.
/// Needs [`super::Rows::OfAll`].
pub async fn void_leases(
    db: &mut PgConnection,
    owner: Uuid,
    because: Because,
) -> Result<u64, StoreError> {
    let (died, pause, longest) = match because {
        Because::OwnerDied { pause, longest } => (true, pause, longest),
        Because::OwnerLeft => (false, Duration::ZERO, Duration::ZERO),
    };
    let done = sqlx::query!(
        "update links set fence = fence + 1, lease_owner = null, deaths = case when $2 then deaths + 1 else deaths end,
             next_run_at = now() + case deaths when 0 then interval '0' else least($4::interval, $3::interval * power(2, deaths - 1)) end
         where lease_owner = $1",
        owner,
        died,
        interval(pause) as _,
        interval(longest) as _
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Ends all leases whose owner is not among the workers: Postgres has crashed and forgotten them. Leases by older versions
/// end by themselves. Needs [`super::Rows::OfAll`].
pub async fn void_orphaned_leases(db: &mut PgConnection) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "update links set fence = fence + 1, next_run_at = now(), lease_owner = null
         where lease_owner is not null and lease_until is null
           and not exists (select from workers where id = lease_owner)"
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// What a caller wants of a link, as one of its versions says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// What it is to be.
    pub wanted: Wanted,
    /// A later version knows better.
    pub version: i64,
}

/// What is wanted of these links, as far as the worker holds them and this version knows it. Needs [`super::Rows::OfAll`].
pub async fn wanted_of(
    db: &mut PgConnection,
    owner: Uuid,
    links: &[Uuid],
) -> Result<Vec<(Uuid, i64, Wish)>, StoreError> {
    let rows = sqlx::query!(
        "select id, fence, wanted, version from links where id = any($2) and lease_owner = $1",
        owner,
        links
    )
    .fetch_all(db)
    .await?;
    let known = rows.into_iter().filter_map(|row| {
        let wanted = row.wanted.parse().inspect_err(
            |error| tracing::error!(link = %row.id, %error, "cannot read what is wanted of a link"),
        );
        let version = row.version;
        let wish = wanted.ok().map(|wanted| Wish { wanted, version });
        Some((row.id, row.fence, wish?))
    });
    Ok(known.collect())
}

/// Lets go of what a worker holds beside these links: it gave them up while the database was away. Needs
/// [`super::Rows::OfAll`].
pub async fn let_go_of_strays(
    db: &mut PgConnection,
    owner: Uuid,
    in_hand: &[Uuid],
    after: Duration,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "update links set fence = fence + 1, lease_owner = null, next_run_at = now() + $3
         where lease_owner = $1 and id <> all($2)",
        owner,
        in_hand,
        interval(after) as _
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// What a worker does with its lease after a save.
#[derive(Debug, Clone, Copy)]
pub enum Then {
    /// Goes on.
    Hold,
    /// Lets go; the link is due again after this long, or never.
    LetGo(Option<Duration>),
}

/// One round of a link, to be written in one transaction.
#[derive(Debug)]
pub struct Round<'a> {
    /// The link as it is now.
    pub link: &'a LeasedLink,
    /// Steps that changed.
    pub steps: Vec<StepRun>,
    /// Objects that were found or made.
    pub entries: Vec<Entry>,
    /// Objects that the link let go of.
    pub releases: Vec<(ResourceKind, String, Receipt)>,
    /// What happened.
    pub events: Vec<NewEvent>,
    /// Builds that were seen.
    pub builds: Vec<SeenBuild>,
    /// How soon to look at those that are not over.
    pub look_within: Duration,
    /// What becomes of the lease.
    pub then: Then,
}

/// Writes a round; what is wanted of the link now. When that is not what the round was about, where the link stands is
/// what the wish has made of it.
///
/// # Errors
/// [`StoreError::LeaseLost`] when another worker holds the link by now: nothing is written.
pub async fn save(db: &mut PgConnection, round: &Round<'_>) -> Result<Wish, StoreError> {
    let link = round.link;
    let (hold, after) = match round.then {
        Then::Hold => (true, Some(NET)),
        Then::LetGo(after) => (false, after),
    };
    let row = sqlx::query!(
        "update links set facts = $4::jsonb, deaths = $6, version = version + 1, updated_at = now(),
             status = case when wanted = $9 then $3 else status end,
             failure = case when wanted = $9 then $5::jsonb end,
             live_at = case when wanted = $9 and $3 = 'live' then coalesce(live_at, now()) else live_at end,
             next_run_at = case when not $7 and (wanted <> $9 or news_at > $10) then now() else now() + $8 end,
             lease_owner = case when $7 then lease_owner end,
             lease_until = null
         where id = $1 and fence = $2 returning wanted, version",
        link.id,
        link.fence,
        link.status.as_str(),
        Json(&link.facts) as _,
        link.failure.as_ref().map(Json) as _,
        link.deaths,
        hold,
        after.map(interval) as _,
        link.wanted.as_str(),
        link.claimed_at,
    )
    .fetch_optional(&mut *db)
    .await?
    .ok_or(StoreError::LeaseLost)?;
    let wish = Wish {
        wanted: row.wanted.parse()?,
        version: row.version,
    };
    step_runs::upsert(db, link.id, &link.tenant, &round.steps).await?;
    if wish.wanted != link.wanted {
        // The pauses are those of what was wanted before.
        step_runs::forget_tries(db, link.id).await?;
    }
    for entry in &round.entries {
        resources::record(db, link.id, &link.tenant, entry).await?;
    }
    for (kind, external_id, receipt) in &round.releases {
        resources::release(db, link.id, *kind, external_id, *receipt).await?;
    }
    let mut events = round.events.clone();
    events.retain(|event| wish.wanted == link.wanted || event.kind != STATUS_CHANGED);
    events::append(db, link.id, &link.tenant, &events).await?;
    for seen in &round.builds {
        builds::record(db, link.id, &link.tenant, seen).await?;
    }
    let is_running = |seen: &SeenBuild| !seen.outcome.is_over();
    let is_notified = |entry: &Entry| entry.kind == ResourceKind::Notification;
    if round.builds.iter().any(is_running) || round.entries.iter().any(is_notified) {
        follow_builds(db, link, round.look_within).await?;
    }
    if link.status.is_over() {
        environments::forget(db, link.id).await?;
        watches::end(db, link.id).await?;
        subscriptions::forget(db, link.id).await?;
    }
    Ok(wish)
}

/// Has a running build looked at with all others of its team.
async fn follow_builds(
    db: &mut PgConnection,
    link: &LeasedLink,
    within: Duration,
) -> Result<(), StoreError> {
    let Some(site) = &link.facts.site else {
        return Ok(());
    };
    let (tenant, connection) = (&link.tenant, link.netlify_connection);
    let new = NewWatch {
        link: link.id,
        tenant,
        connection,
        team: &site.team,
        site: &site.id,
        notified: !link.facts.notifications.is_empty(),
    };
    watches::begin(db, &new).await?;
    patrols::request(db, tenant, connection, &site.team, within).await
}

/// Holds these links until the transaction ends. Whoever writes what belongs to a link, and the link, takes the link first, as
/// [`save`] does: else two of them may wait for one another for ever. Rows that only refer to the link are not kept waiting.
pub async fn hold(db: &mut PgConnection, links: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"select count(*) as "count!" from (
               select from links where id = any($1) order by id for no key update
           ) as held"#,
        links
    )
    .fetch_one(db)
    .await?;
    Ok(())
}

/// Whom something that was seen of a link's builds is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// For those who read the link.
    ToReaders,
    /// For a worker too: it may change where the link stands.
    ToWorkers,
}

/// Tells that something was seen of a link's builds. A worker that holds the link looks again once it has let go.
pub async fn tell(db: &mut PgConnection, id: Uuid, news: News) -> Result<(), StoreError> {
    sqlx::query!(
        "update links set version = version + 1, updated_at = now(),
             news_at = case when $2 then clock_timestamp() else news_at end,
             next_run_at = case when $2 and lease_owner is null then now() else next_run_at end
         where id = $1",
        id,
        news == News::ToWorkers
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Where a link stands towards its builds.
#[derive(Debug)]
pub struct Follower {
    /// The link.
    pub id: Uuid,
    /// Where it stands.
    pub status: LinkStatus,
    /// The deploy that it follows.
    pub deploy_id: Option<String>,
    /// How far it is proven that a push builds.
    pub proof_level: i32,
    /// Whether a worker has it in hand.
    pub is_held: bool,
    /// When it was accepted.
    pub created_at: OffsetDateTime,
    /// What was asked for.
    pub spec: LinkSpec,
}

/// How these links stand towards their builds.
pub async fn followers(db: &mut PgConnection, links: &[Uuid]) -> Result<Vec<Follower>, StoreError> {
    let rows = sqlx::query!(
        r#"select id, status, facts -> 'build' ->> 'deploy_id' as deploy_id, created_at, spec as "spec: Json<LinkSpec>",
                  coalesce((facts -> 'proof' ->> 'level')::int, 0) as "proof_level!", lease_owner is not null as "is_held!"
           from links where id = any($1)"#,
        links
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Follower {
                id: row.id,
                status: row.status.parse()?,
                deploy_id: row.deploy_id,
                proof_level: row.proof_level,
                is_held: row.is_held,
                created_at: row.created_at,
                spec: row.spec.0,
            })
        })
        .collect()
}

/// Lets go of a link of which callers need not be told anything: its steps look again at these times.
///
/// # Errors
/// [`StoreError::LeaseLost`] when the link is no longer this worker's: nothing is written.
pub async fn rest_again(
    db: &mut PgConnection,
    link: &LeasedLink,
    steps: &[StepRun],
    after: Option<Duration>,
) -> Result<(), StoreError> {
    let wanted = sqlx::query_scalar!(
        "update links set lease_owner = null, lease_until = null, deaths = 0,
             next_run_at = case when wanted <> $3 or news_at > $5 then now() else now() + $4 end
         where id = $1 and fence = $2 returning wanted",
        link.id,
        link.fence,
        link.wanted.as_str(),
        after.map(interval) as _,
        link.claimed_at
    )
    .fetch_optional(&mut *db)
    .await?
    .ok_or(StoreError::LeaseLost)?;
    step_runs::upsert(db, link.id, &link.tenant, steps).await?;
    if wanted != link.wanted.as_str() {
        // As in `save`.
        step_runs::forget_tries(db, link.id).await?;
    }
    Ok(())
}

/// Lets go of a link without writing what became of it: it is due again after `after`.
pub async fn let_go(
    db: &mut PgConnection,
    id: Uuid,
    fence: i64,
    after: Duration,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update links set lease_owner = null, lease_until = null, next_run_at = now() + $3 where id = $1 and fence = $2",
        id,
        fence,
        interval(after) as _
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Lets go of a link over which a worker has failed by a fault of its own: that counts as a death, with the rest after it
/// ([`Because::OwnerDied`]).
pub async fn let_go_after_fault(
    db: &mut PgConnection,
    id: Uuid,
    fence: i64,
    pause: Duration,
    longest: Duration,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update links set fence = fence + 1, lease_owner = null, lease_until = null, deaths = deaths + 1,
             next_run_at = now() + case deaths when 0 then interval '0' else least($4::interval, $3::interval * power(2, deaths - 1)) end
         where id = $1 and fence = $2",
        id,
        fence,
        interval(pause) as _,
        interval(longest) as _
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes up to `limit` links that have been over for longer than `age`, with their steps, events and uses; how many it
/// were. What a link left behind stays in the ledger. Needs [`super::Rows::OfAll`].
pub async fn forget_over(
    db: &mut PgConnection,
    age: Duration,
    limit: i64,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "delete from links where id in (
             select id from links
             where status in ('unlinked', 'canceled') and updated_at <= now() - $1::interval and next_run_at is null
             limit $2 for update skip locked
         )",
        interval(age) as _,
        limit
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// A duration as Postgres takes it.
pub(super) fn interval(duration: Duration) -> sqlx::postgres::types::PgInterval {
    sqlx::postgres::types::PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    }
}
