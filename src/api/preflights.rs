//! `/preflights`: would this link work? Everything that reading tells, without a link and without a write.
//!
//! The API calls no upstream: a preflight is a job of the workers.

use std::time::Duration;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::timeout,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    Api,
    caller::{Caller, Scope},
    extract::{Json, Path},
    ids::{self, Prefix},
    links::{
        create::Checked,
        view::{RequestView, request_view},
    },
    polling::Wait,
    problem::{BodyProblems, CallerProblems, ObjectProblems, Problem, ProblemCode},
};
use crate::{
    link::{
        preflight::{self, Finding, FindingStatus},
        request::LinkRequest,
    },
    store::{
        Rows,
        audit::{self, NewEntry},
        begin,
        bell::Change,
        preflights::{self, PreflightRow},
    },
};

/// The reads take a few round trips, and never more than three seconds.
const POLL_AFTER_MS: u32 = 500;
/// Longest pause before a waited-for preflight is read again unasked: who has done it may die before he tells of it.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// What reading tells of a link that was not made. Kept for a day.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Preflight {
    /// Its id.
    #[schema(example = "pfl_019302f0c1b47cc2a1f5d3e8b7a69c01")]
    pub id: String,
    /// Where it stands.
    pub state: PreflightState,
    /// When to read it again, in milliseconds; absent when it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_after_ms: Option<u32>,
    /// What the link would be, with every default that is known.
    pub request: RequestView,
    /// What all findings together say; absent until it is done. `unknown`: something that every link needs could not be
    /// read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<FindingStatus>,
    /// One for each topic; empty until it is done.
    pub findings: Vec<FindingView>,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    pub requested_at: OffsetDateTime,
    /// When the reads were done.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub checked_at: Option<OffsetDateTime>,
}

/// Where a preflight stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PreflightState {
    /// Waits for a worker.
    Queued,
    /// A worker asks the upstreams.
    Running,
    /// The findings are there.
    Done,
}

/// A finding, and what to do about it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FindingView {
    /// What reading says of one topic.
    #[serde(flatten)]
    pub finding: Finding,
    /// What to do about the failure that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl From<Finding> for FindingView {
    fn from(finding: Finding) -> Self {
        Self {
            remedy: finding.code.map(|code| code.remedy().to_owned()),
            finding,
        }
    }
}

impl From<PreflightRow> for Preflight {
    fn from(row: PreflightRow) -> Self {
        let state = match row.state.as_str() {
            "running" => PreflightState::Running,
            "done" => PreflightState::Done,
            // The table's constraint knows no other word.
            _ => PreflightState::Queued,
        };
        let findings = row.findings.map(|json| json.0);
        Self {
            id: ids::show(Prefix::Preflight, row.id),
            state,
            poll_after_ms: findings.is_none().then_some(POLL_AFTER_MS),
            request: request_view(row.spec.0, row.netlify_connection, row.provider_connection),
            outcome: findings.as_deref().map(preflight::outcome),
            findings: findings.into_iter().flatten().map(Into::into).collect(),
            requested_at: row.requested_at,
            checked_at: row.checked_at,
        }
    }
}

/// The routes of `/preflights`.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(get))
}

/// Ask whether a link would work
///
/// Takes the body of `POST /links` and reads at the git provider and at Netlify whatever tells how that link would
/// end: nothing is written anywhere, and no link is made. Poll the `Location` until `poll_after_ms` is absent.
///
/// Each finding is `pass`, `warn`, `fail` (the link would fail with this `code`) or `unknown` (it could not be read; that
/// blocks nothing). Counts as a new link among the tenant's quotas.
#[utoipa::path(post, path = "/preflights", tag = "links", operation_id = "createPreflight", request_body = LinkRequest,
    params(("Prefer" = Option<String>, Header, description = "`wait=N`: answer when the reads are done, at the latest after N seconds (cut to 30)")),
    responses((status = 201, description = "Done within the time of `Prefer: wait=N`", body = Preflight,
        headers(("Location" = String, description = "Address of the preflight"),
                ("Preference-Applied" = String, description = "The wait that was heeded"))),
        (status = 202, description = "Accepted: poll the preflight", body = Preflight,
        headers(("Location" = String, description = "Address of the preflight"),
                ("Retry-After" = u32, description = "When to read it, in seconds"))),
        CallerProblems, BodyProblems))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    Json(request): Json<LinkRequest>,
) -> Result<Response, Problem> {
    caller.require(Scope::LinksWrite)?;
    let wait = Wait::asked(None, &headers)?;
    let checked = Checked::of(&api, &caller, &request)?;
    let tenant = caller.tenant.as_str();
    api.quotas.link(&caller.tenant)?;
    let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
    let link = checked.choose(&api, &mut tx, &caller).await?;
    preflights::insert(&mut tx, &link).await?;
    let object = ids::show(Prefix::Preflight, link.id);
    let entry = NewEntry::by(&caller.subject, "preflight", object);
    audit::append(&mut tx, tenant, &[entry]).await?;
    let accepted = row(&mut tx, tenant, link.id).await?;
    // Before anybody can work on it: its end is not missed.
    let changes = api.bell.changes();
    tx.commit().await?;
    api.bell.due();
    let preflight = match wait {
        Some(wait) => done_in_time(&api, tenant, link.id, wait, changes).await?,
        None => accepted,
    };
    let status = match preflight.state {
        PreflightState::Done => StatusCode::CREATED,
        PreflightState::Queued | PreflightState::Running => StatusCode::ACCEPTED,
    };
    let location = [(header::LOCATION, format!("/preflights/{}", preflight.id))];
    let applied = AppendHeaders(wait.map(Wait::applied).and_then(|applied| applied.0));
    Ok((status, location, applied, answer(preflight)).into_response())
}

/// Read a preflight
///
/// Its findings are there once `poll_after_ms` is absent, after three seconds of reading at the latest.
#[utoipa::path(get, path = "/preflights/{id}", tag = "links", operation_id = "getPreflight",
    params(("id" = String, Path, description = "Id of the preflight")),
    responses((status = 200, description = "The preflight", body = Preflight,
        headers(("Retry-After" = u32, description = "When to read it again, in seconds; absent when it is done"))),
        CallerProblems, ObjectProblems))]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    caller.require(Scope::LinksRead)?;
    let id = ids::parse(Prefix::Preflight, &id)?;
    let preflight = read(&api, caller.tenant.as_str(), id).await?;
    Ok(answer(preflight).into_response())
}

async fn read(api: &Api, tenant: &str, id: Uuid) -> Result<Preflight, Problem> {
    let mut tx = begin(&api.reads, Rows::Of(tenant)).await?;
    row(&mut tx, tenant, id).await
}

async fn row(db: &mut PgConnection, tenant: &str, id: Uuid) -> Result<Preflight, Problem> {
    let row = preflights::get(db, tenant, id).await?;
    row.map(Into::into)
        .ok_or_else(|| Problem::new(ProblemCode::NotFound))
}

/// The preflight once it is done, or as it stands when the time is over, the process drains, or too many wait already.
async fn done_in_time(
    api: &Api,
    tenant: &str,
    id: Uuid,
    wait: Wait,
    mut changes: Receiver<Change>,
) -> Result<Preflight, Problem> {
    let Ok(_seat) = api.quotas.seat(tenant) else {
        return read(api, tenant, id).await;
    };
    let done = async {
        loop {
            let preflight = read(api, tenant, id).await?;
            if preflight.state == PreflightState::Done {
                return Ok::<_, Problem>(());
            }
            timeout(READ_AGAIN, changed(&mut changes, id)).await.ok();
        }
    };
    tokio::select! {
        done = timeout(wait.patience(), done) => done.unwrap_or(Ok(()))?,
        () = api.drain.cancelled() => {}
    }
    read(api, tenant, id).await
}

/// Waits until this may have changed.
async fn changed(changes: &mut Receiver<Change>, id: Uuid) {
    loop {
        match changes.recv().await {
            Ok(Change::Link(other)) if other != id => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn answer(preflight: Preflight) -> (AppendHeaders<Option<(HeaderName, String)>>, Json<Preflight>) {
    let pause = preflight.poll_after_ms;
    let retry_after = pause.map(|pause| (header::RETRY_AFTER, pause.div_ceil(1000).to_string()));
    (AppendHeaders(retry_after), Json(preflight))
}
