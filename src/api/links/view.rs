//! Links as callers see them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    api::{
        ids::{self, Prefix},
        problem::{Problem, ProblemCode},
    },
    link::{
        access::AccessMode,
        action::Action,
        builds::waiting_for,
        conditions::{Condition, conditions},
        drift::{Drift, DriftKind, DriftPolicy, Healable},
        environment::EnvSettings,
        facts::{Build, Deploy, Origin, Repository, Site},
        failure::{Certainty, Evidence, Failure, FailureCode, Fault, UpstreamTrace},
        plan::{PLAN, PlannedStep, StepName},
        request::{BuildSettings, ConnectionNames, LinkSpec, Verify},
        resource::{Receipt, ResourceKind},
        status::{LinkStatus, Standing, StepState, Wanted},
        step_run::StepRun,
    },
    store::{
        links::{self, LinkRow},
        resources::{self, ResourceRow},
        step_runs,
    },
};

/// A link as lists show it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkSummary {
    /// Its id.
    #[schema(example = "lnk_019302f0c1b47cc2a1f5d3e8b7a69c01")]
    pub id: String,
    /// The caller's own name for it.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The caller's own labels.
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: serde_json::Value,
    /// Where it stands.
    pub status: LinkStatus,
    /// One more with every change; also the ETag.
    pub version: i64,
    /// When to read it again, in milliseconds; absent when nothing will change by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll_after_ms: Option<u32>,
    /// What was asked for, with every default that is known.
    pub request: RequestView,
    /// The repository, once it was looked up.
    pub repository: Option<Repository>,
    /// The site, once it was made.
    pub site: Option<Site>,
    /// The build that the link follows: the first one, later the one that was asked for last. Netlify's own ids.
    pub build: Option<Build>,
    /// The deploy that it makes, in Netlify's own words.
    pub deploy: Option<Deploy>,
    /// Why it stands still, when it does.
    pub diagnosis: Option<Diagnosis>,
    /// How far it is proven that a push builds the site.
    pub verification: Verification,
    /// What the last look found to be other than the link left it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftView>,
    /// How the deploy key was last exchanged; absent when it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_rotation: Option<KeyRotation>,
    /// When it was accepted.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it changed last.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// When it first was live; absent when it never was.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub live_at: Option<OffsetDateTime>,
}

impl LinkSummary {
    /// Whether nothing will change until somebody acts.
    pub fn is_settled(&self) -> bool {
        self.poll_after_ms.is_none()
    }
}

/// A link with everything that is known of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// What lists show too.
    #[serde(flatten)]
    pub summary: LinkSummary,
    /// Its steps, in the order of the plan.
    pub steps: Vec<StepView>,
    /// What is true of it now.
    pub conditions: Vec<Condition>,
    /// The external objects that it leans on or has let go of.
    pub resources: Vec<ResourceView>,
}

/// What was asked for, with every default that is known.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RequestView {
    /// Host and path of the repository.
    #[schema(example = "github.com/acme/docs")]
    pub repository: String,
    /// Branch that the caller named.
    pub branch: Option<String>,
    /// Name of the site that is made, fixed when the link was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_name: Option<String>,
    /// Netlify's id of the site that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_id: Option<String>,
    /// Team that the caller named.
    pub team: Option<String>,
    /// How Netlify builds.
    pub build: BuildSettings,
    /// Environment variables of the site by name; values are never shown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, EnvSettings>,
    /// How Netlify gets at the repository.
    pub access: AccessMode,
    /// What has to be seen before the link says `live`.
    pub verify: Verify,
    /// Branches that Netlify deploys; absent means the production branch alone.
    pub allowed_branches: Option<Vec<String>>,
    /// What becomes of drift.
    pub drift: DriftPolicy,
    /// Connections that are used.
    pub connections: ConnectionNames,
}

/// Why a link stands still.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Diagnosis {
    /// Entry of the failure catalogue.
    pub code: FailureCode,
    /// What is wrong, for people.
    pub title: String,
    /// What happened in this case.
    pub detail: String,
    /// How sure that is.
    pub certainty: Certainty,
    /// Who has to act.
    pub fault: Fault,
    /// Whether `retry` can help once the cause is mended.
    pub retryable: bool,
    /// Whether linkbroker can mend it by itself.
    pub healable: bool,
    /// What to do about it.
    pub remedy: String,
    /// The page that explains the code.
    #[schema(example = "/errors/key_missing")]
    pub docs: String,
    /// What the verdict rests on.
    pub evidence: Vec<Evidence>,
    /// The upstream call that showed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamTrace>,
    /// What a person is asked to do, with everything that is needed for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
}

/// One thing that is other than the link left it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DriftView {
    /// What it is; new words may appear.
    pub kind: DriftKind,
    /// What of the link it is about.
    #[schema(example = "build.command")]
    pub field: String,
    /// How the link left it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// How it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// When it was first found like this.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Whether linkbroker can put it back.
    pub healable: Healable,
}

/// How an exchange of the deploy key ended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyRotation {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Why the link kept the key that it had; absent when it has a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Diagnosis>,
}

/// How far it is proven that a push to the repository builds the site.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// 0 installed, 1 delivered, 2 built from a push, 3 deployed from a push.
    pub level: u8,
    /// Build that the proving push started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
}

/// One step of a link.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// Which.
    pub name: StepName,
    /// Where it stands.
    pub state: StepState,
    /// Tries that ended in an error since the last retry.
    pub attempts: i16,
    /// When it is tried or looked at again.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub next_attempt_at: Option<OffsetDateTime>,
    /// What it waits for, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When it was begun.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub finished_at: Option<OffsetDateTime>,
}

/// An external object of a link.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ResourceView {
    /// What it is.
    pub kind: ResourceKind,
    /// The upstream's id.
    pub id: String,
    /// Where it lives.
    pub host: String,
    /// Who made it.
    pub origin: Origin,
    /// When it stops working by itself: SSH keys at Azure DevOps live a year at most.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_at: Option<OffsetDateTime>,
    /// What became of it; absent while the link leans on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// A page of links, newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkPage {
    /// The links.
    pub links: Vec<LinkSummary>,
    /// Cursor of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Reads a tenant's link with everything that is known of it.
///
/// # Errors
/// [`ProblemCode::NotFound`] for absent and foreign links alike.
pub async fn read(db: &mut sqlx::PgConnection, tenant: &str, id: Uuid) -> Result<Link, Problem> {
    let row = links::get(db, tenant, id)
        .await?
        .ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
    let runs = shown_runs(db, &row).await?;
    let resources = resources::of_link(db, tenant, id).await?;
    Ok(Link {
        conditions: conditions(&runs, &row.facts.drift, row.inspection.checked_at),
        steps: runs.into_iter().map(step_view).collect(),
        resources: resources
            .into_iter()
            .map(|resource| resource_view(resource, row.standing()))
            .collect(),
        summary: summary(row),
    })
}

/// A link's steps in the order of the plan; those that were never begun have no row.
///
/// # Errors
/// When the database is away.
pub async fn runs(db: &mut sqlx::PgConnection, id: Uuid) -> Result<Vec<StepRun>, Problem> {
    let begun = step_runs::of_link(db, id).await?;
    let run = |planned: &PlannedStep| {
        let run = begun.iter().find(|run| run.step == planned.name);
        run.cloned()
            .unwrap_or_else(|| StepRun::pending(planned.name))
    };
    Ok(PLAN.iter().map(run).collect())
}

/// A link's steps as callers see them: while a build is followed, with what was seen of it since the link was worked on last.
///
/// # Errors
/// When the database is away.
pub async fn shown_runs(
    db: &mut sqlx::PgConnection,
    row: &LinkRow,
) -> Result<Vec<StepRun>, Problem> {
    let mut runs = runs(db, row.id).await?;
    let watching = runs
        .iter_mut()
        .find(|run| run.step == StepName::WatchDeploy && run.state == StepState::Waiting);
    if let Some(run) = watching {
        let state = row
            .facts
            .deploy
            .as_ref()
            .map(|deploy| deploy.state.as_str());
        let ahead = row.ahead.and_then(|ahead| ahead.try_into().ok());
        run.note = Some(waiting_for(state, ahead));
    }
    Ok(runs)
}

/// A link as lists show it.
pub fn summary(row: LinkRow) -> LinkSummary {
    let proof = row.facts.proof.unwrap_or_default();
    LinkSummary {
        id: ids::show(Prefix::Link, row.id),
        reference: row.reference,
        labels: row.labels,
        status: row.status,
        version: row.version,
        poll_after_ms: match row.inspection.is_asked {
            true => Some(CHECK_POLL_MS),
            false => poll_after_ms(row.status),
        },
        request: request_view(row.spec, row.netlify_connection, row.provider_connection),
        repository: row.facts.repository,
        site: row.facts.site,
        build: row.facts.build,
        deploy: row.facts.deploy,
        diagnosis: row.failure.map(diagnosis),
        verification: Verification {
            level: proof.level,
            build: proof.build,
        },
        drift: row.facts.drift.into_iter().map(drift_view).collect(),
        key_rotation: row.facts.rotated.map(|rotated| KeyRotation {
            at: rotated.at,
            failure: rotated.failure.map(diagnosis),
        }),
        created_at: row.created_at,
        updated_at: row.updated_at,
        live_at: row.live_at,
    }
}

/// Drift as callers see it.
pub fn drift_view(drift: Drift) -> DriftView {
    DriftView {
        kind: drift.kind,
        field: drift.kind.field().to_owned(),
        expected: drift.expected,
        found: drift.found,
        since: drift.since,
        healable: drift.healable,
    }
}

/// A look at a link at rest is a handful of reads.
const CHECK_POLL_MS: u32 = 500;

/// Steps take fractions of a second, builds take many.
const fn poll_after_ms(status: LinkStatus) -> Option<u32> {
    match status {
        LinkStatus::Queued
        | LinkStatus::Linking
        | LinkStatus::Canceling
        | LinkStatus::Unlinking => Some(500),
        LinkStatus::Building => Some(2000),
        _ => None,
    }
}

/// What was asked for, with the names of the connections.
pub fn request_view(spec: LinkSpec, netlify: String, provider: String) -> RequestView {
    RequestView {
        repository: format!("{}/{}", spec.host, spec.path),
        branch: spec.branch,
        site_name: spec.site.id.is_none().then_some(spec.site.name),
        site_id: spec.site.id,
        team: spec.site.team,
        build: spec.build,
        env: spec.env,
        access: spec.access,
        verify: spec.verify,
        allowed_branches: spec.allowed_branches,
        drift: spec.drift,
        connections: ConnectionNames {
            netlify: Some(netlify),
            provider: Some(provider),
        },
    }
}

/// A failure as callers see it.
pub fn diagnosis(failure: Failure) -> Diagnosis {
    let code = failure.code;
    Diagnosis {
        code,
        title: code.title().to_owned(),
        detail: failure.detail,
        certainty: failure.certainty,
        fault: code.fault(),
        retryable: code.is_retryable(),
        healable: code.is_healable(),
        remedy: code.remedy().to_owned(),
        docs: format!("/errors/{code}"),
        evidence: failure.evidence,
        upstream: failure.upstream.map(|upstream| *upstream),
        action: failure.action.map(|action| *action),
    }
}

/// A step as callers see it.
pub fn step_view(run: StepRun) -> StepView {
    StepView {
        name: run.step,
        state: run.state,
        attempts: run.attempts,
        next_attempt_at: run.next_attempt_at,
        reason: run.note,
        failure: run.failure,
        started_at: run.started_at,
        finished_at: run.finished_at,
    }
}

/// An external object as callers see it.
///
/// What a link that is to be taken back still leans on when it comes to rest could not be removed.
pub fn resource_view(row: ResourceRow, of: Standing) -> ResourceView {
    let is_stuck = of.wanted != Wanted::Linked && of.status == LinkStatus::ActionRequired;
    ResourceView {
        kind: row.kind,
        id: row.external_id,
        host: row.host,
        origin: row.origin,
        expires_at: row.expires_at,
        receipt: row.receipt.or(is_stuck.then_some(Receipt::Failed)),
    }
}
