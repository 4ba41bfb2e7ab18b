//! `/links/{id}/steps`, `diagnosis` and `resources`: parts of a link for those who want no more.
//!
//! Each carries the link's version as its ETag, so that a poller of a part gets 304 while nothing has changed.

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize};
use sqlx::{Postgres, Transaction};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::view::{
    Diagnosis, ResourceView, StepView, diagnosis, resource_view, runs, shown_runs, step_view,
    summary,
};
use crate::{
    api::{
        Api,
        caller::{Caller, Scope},
        extract::Path,
        ids::{self, Prefix},
        polling,
        problem::{CallerProblems, ObjectProblems, Problem, ProblemCode},
    },
    link::{
        plan::StepName,
        status::{LinkStatus, StepState, Verb},
        step_run::StepRun,
    },
    store::{
        Rows, begin,
        links::{self, LinkRow},
        resources,
    },
};

/// The steps of a link.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StepList {
    /// In the order of the plan.
    pub steps: Vec<StepView>,
}

/// Why a link stands still, and what may be asked of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkDiagnosis {
    /// Where the link stands.
    pub status: LinkStatus,
    /// The step that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepName>,
    /// What is wrong; absent when nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
    /// What may be asked of the link now: `POST /links/{id}/{verb}`, or `DELETE` for `unlink`.
    pub verbs: Vec<Verb>,
}

/// The external objects of a link.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ResourceList {
    /// Oldest first.
    pub resources: Vec<ResourceView>,
}

/// The routes of a link's parts.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(steps_of))
        .routes(routes!(diagnosis_of))
        .routes(routes!(resources_of))
}

/// Read a link's steps
///
/// In the order of the plan, under the link's version.
#[utoipa::path(get, path = "/links/{id}/steps", tag = "links", operation_id = "listSteps",
    params(("id" = String, Path, description = "Id of the link"),
           ("If-None-Match" = Option<String>, Header, description = "ETag of the version that is known")),
    responses((status = 200, description = "The steps, in the order of the plan", body = StepList,
        headers(("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it again, in seconds; absent when it is settled"))),
        (status = 304, description = "Nothing has changed since that version"),
        CallerProblems, ObjectProblems))]
async fn steps_of(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (mut tx, row) = look_up(&api, &caller, &id).await?;
    let runs = shown_runs(&mut tx, &row).await?;
    let steps = StepList {
        steps: runs.into_iter().map(step_view).collect(),
    };
    polling::answer_part(&summary(row), &steps, &headers)
}

/// Read why a link stands still
///
/// Also says what may be asked of the link now.
#[utoipa::path(get, path = "/links/{id}/diagnosis", tag = "links", operation_id = "getDiagnosis",
    params(("id" = String, Path, description = "Id of the link"),
           ("If-None-Match" = Option<String>, Header, description = "ETag of the version that is known")),
    responses((status = 200, description = "The diagnosis, when there is one", body = LinkDiagnosis,
        headers(("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it again, in seconds; absent when it is settled"))),
        (status = 304, description = "Nothing has changed since that version"),
        CallerProblems, ObjectProblems))]
async fn diagnosis_of(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (mut tx, row) = look_up(&api, &caller, &id).await?;
    let runs = runs(&mut tx, row.id).await?;
    let failed = |run: &&StepRun| matches!(run.state, StepState::Failed | StepState::UndoFailed);
    let step = runs.iter().find(failed).map(|run| run.step);
    let found = LinkDiagnosis {
        status: row.status,
        step: step.filter(|_| row.failure.is_some()),
        verbs: row.standing().verbs(),
        diagnosis: row.failure.clone().map(diagnosis),
    };
    polling::answer_part(&summary(row), &found, &headers)
}

/// Read a link's external objects
///
/// Everything that the link made or leans on, and after it let go, what became of each.
#[utoipa::path(get, path = "/links/{id}/resources", tag = "links", operation_id = "listResources",
    params(("id" = String, Path, description = "Id of the link"),
           ("If-None-Match" = Option<String>, Header, description = "ETag of the version that is known")),
    responses((status = 200, description = "The objects, oldest first", body = ResourceList,
        headers(("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it again, in seconds; absent when it is settled"))),
        (status = 304, description = "Nothing has changed since that version"),
        CallerProblems, ObjectProblems))]
async fn resources_of(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (mut tx, row) = look_up(&api, &caller, &id).await?;
    let rows = resources::of_link(&mut tx, caller.tenant.as_str(), row.id).await?;
    let standing = row.standing();
    let objects = ResourceList {
        resources: rows
            .into_iter()
            .map(|resource| resource_view(resource, standing))
            .collect(),
    };
    polling::answer_part(&summary(row), &objects, &headers)
}

pub(super) async fn look_up(
    api: &Api,
    caller: &Caller,
    id: &str,
) -> Result<(Transaction<'static, Postgres>, LinkRow), Problem> {
    caller.require(Scope::LinksRead)?;
    let id = ids::parse(Prefix::Link, id)?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.reads, Rows::Of(tenant)).await?;
    let row = links::get(&mut tx, tenant, id).await?;
    Ok((tx, row.ok_or_else(|| Problem::new(ProblemCode::NotFound))?))
}
