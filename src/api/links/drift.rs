//! `/links/{id}/drift`, `check` and `heal`: where the world is other than the link left it, what becomes of it, looking for it,
//! putting it back.

use axum::{extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    actions::{DoesNotFit, does_not_fit, fitting, heeded},
    audited, not_found,
    parts::look_up,
    view::{DriftView, drift_view, runs, summary},
};
use crate::{
    api::{
        Api,
        caller::{Caller, Scope},
        extract::{Json, Path},
        ids::{self, Prefix},
        polling,
        problem::{BodyProblems, CallerProblems, ObjectProblems, Problem, ProblemCode},
    },
    link::{
        drift::{Drift, DriftKind, DriftPolicy, Healable},
        status::{LinkStatus, Verb, Wanted},
        step_run::prepare_heal,
    },
    store::{
        Rows, begin,
        events::{self, NewEvent},
        inspections,
        links::{self, LinkRow},
    },
};

/// What is other than the link left it, and when it was and will be looked for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DriftList {
    /// What becomes of drift.
    pub policy: DriftPolicy,
    /// When it was last looked for; absent when it never was. Looks that find nothing new leave the link's version alone.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub checked_at: Option<OffsetDateTime>,
    /// When it is looked for next.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub next_check_at: Option<OffsetDateTime>,
    /// What differs.
    pub drift: Vec<DriftView>,
}

/// What becomes of drift from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"policy": "report"}))]
pub struct DriftChange {
    /// The policy.
    policy: DriftPolicy,
}

/// What to put back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"drift": ["branch_changed", "build_command_changed"]}))]
pub struct HealRequest {
    /// `all` that can be put back, or a list of kinds.
    drift: ToHeal,
}

/// Everything, or what is named.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum ToHeal {
    /// Everything that can be put back.
    All(All),
    /// These kinds.
    These(Vec<DriftKind>),
}

/// The word for everything.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum All {
    /// Everything.
    All,
}

/// The routes of drift.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(drift_of, set_policy))
        .routes(routes!(check))
        .routes(routes!(heal))
}

/// Read what differs from how the link left it
///
/// As the last look found it. Looks are made by themselves every few hours, and with `POST /links/{id}/check`.
#[utoipa::path(get, path = "/links/{id}/drift", tag = "links", operation_id = "getDrift",
    params(("id" = String, Path, description = "Id of the link"),
           ("If-None-Match" = Option<String>, Header, description = "ETag of the version that is known")),
    responses((status = 200, description = "What differs", body = DriftList,
        headers(("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it again, in seconds; absent when it is settled"))),
        (status = 304, description = "Nothing has changed since that version"),
        CallerProblems, ObjectProblems))]
async fn drift_of(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (_, row) = look_up(&api, &caller, &id).await?;
    answer(row, &headers)
}

fn answer(row: LinkRow, known: &HeaderMap) -> Result<Response, Problem> {
    let list = DriftList {
        policy: row.spec.drift,
        checked_at: row.inspection.checked_at,
        next_check_at: row.inspection.next_at,
        drift: row.facts.drift.iter().cloned().map(drift_view).collect(),
    };
    polling::answer_part(&summary(row), &list, known)
}

/// Change what becomes of drift
///
/// From the next look on; `POST /links/{id}/check` looks at once. For a link that is not being taken back.
#[utoipa::path(patch, path = "/links/{id}/drift", tag = "links", operation_id = "setDriftPolicy", request_body = DriftChange,
    params(("id" = String, Path, description = "Id of the link")),
    responses((status = 200, description = "Changed, or as it was", body = DriftList,
        headers(("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it again, in seconds; absent when it is settled"))),
        DoesNotFit, CallerProblems, ObjectProblems, BodyProblems))]
async fn set_policy(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    Json(change): Json<DriftChange>,
) -> Result<Response, Problem> {
    caller.require(Scope::LinksWrite)?;
    let id = ids::parse(Prefix::Link, &id)?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
    let standing = links::lock(&mut tx, tenant, id).await?;
    let standing = standing.ok_or_else(not_found)?;
    if standing.wanted != Wanted::Linked {
        return Err(does_not_fit(standing));
    }
    let row = links::get(&mut tx, tenant, id).await?;
    let row = row.ok_or_else(not_found)?;
    if row.spec.drift != change.policy {
        let changed = NewEvent {
            kind: "link.drift_policy_changed",
            detail: json!({ "by": caller.subject }),
        };
        events::append(&mut tx, id, tenant, &[changed]).await?;
        audited(&mut tx, &caller, "set_drift_policy", id).await?;
        links::change(&mut tx, tenant, id, &row.labels, change.policy).await?;
    }
    let row = links::get(&mut tx, tenant, id).await?;
    tx.commit().await?;
    api.bell.changed(id);
    answer(row.ok_or_else(not_found)?, &HeaderMap::new())
}

/// Look whether everything is as the link left it
///
/// For a link that is `live`, `degraded` or `build_failed`: its key, webhook, site and repository are read once more, now.
/// Nothing is changed, unless the link's policy is to heal. The link has a `poll_after_ms` until the look is done.
#[utoipa::path(post, path = "/links/{id}/check", tag = "links", operation_id = "checkLink",
    params(("id" = String, Path, description = "Id of the link")),
    responses((status = 202, description = "Accepted: poll the link", body = super::view::Link,
        headers(("Location" = String, description = "Address of the link"),
                ("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it, in seconds"))),
        DoesNotFit, CallerProblems, ObjectProblems))]
async fn check(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (mut tx, row) = fitting(&api, &caller, &id, Verb::Check).await?;
    inspections::ask(&mut tx, caller.tenant.as_str(), row.id).await?;
    let asked = NewEvent {
        kind: "link.check_requested",
        detail: json!({ "by": caller.subject }),
    };
    heeded(&api, &caller, tx, row.id, Verb::Check, asked).await
}

/// Put back what differs
///
/// For a link that is `live`, `degraded` or `build_failed` and has `drift` that can be put back, also what the link's policy
/// leaves alone because people may have changed it on purpose. Name the kinds, or say `all`.
#[utoipa::path(post, path = "/links/{id}/heal", tag = "links", operation_id = "healLink", request_body = HealRequest,
    params(("id" = String, Path, description = "Id of the link")),
    responses((status = 202, description = "Accepted: poll the link", body = super::view::Link,
        headers(("Location" = String, description = "Address of the link"),
                ("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it, in seconds"))),
        DoesNotFit, CallerProblems, ObjectProblems, BodyProblems))]
async fn heal(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    Json(request): Json<HealRequest>,
) -> Result<Response, Problem> {
    let (mut tx, row) = fitting(&api, &caller, &id, Verb::Heal).await?;
    let kinds = kinds(&request.drift, &row.facts.drift)?;
    let (id, mut facts) = (row.id, row.facts);
    let mut steps = runs(&mut tx, id).await?;
    prepare_heal(&mut steps, &mut facts, &kinds, OffsetDateTime::now_utc());
    let tenant = caller.tenant.as_str();
    links::request_work(&mut tx, id, tenant, LinkStatus::Linking, &facts, &steps).await?;
    let asked = NewEvent {
        kind: "link.heal_requested",
        detail: json!({ "by": caller.subject, "kinds": kinds }),
    };
    heeded(&api, &caller, tx, id, Verb::Heal, asked).await
}

/// What is meant of what differs.
fn kinds(asked: &ToHeal, drift: &[Drift]) -> Result<Vec<DriftKind>, Problem> {
    let healable = drift.iter().filter(|it| it.healable != Healable::No);
    let healable: Vec<_> = healable.map(|drift| drift.kind).collect();
    let these = match asked {
        ToHeal::All(All::All) => &healable,
        ToHeal::These(kinds) => kinds,
    };
    if healable.is_empty() {
        let detail = "The link has no drift that can be put back.";
        return Err(Problem::new(ProblemCode::IllegalTransition).detail(detail));
    }
    let strange = these
        .iter()
        .enumerate()
        .filter(|(_, kind)| !healable.contains(kind));
    let mut problem = None;
    for (at, kind) in strange {
        let detail = format!("the link has no `{kind}` that can be put back");
        let so_far = problem.unwrap_or_else(|| Problem::new(ProblemCode::InvalidRequest));
        problem = Some(so_far.error(format!("/drift/{at}"), detail));
    }
    match problem {
        Some(problem) => Err(problem),
        None if these.is_empty() => {
            let problem = Problem::new(ProblemCode::InvalidRequest);
            Err(problem.error("/drift", "name at least one kind, or say `all`"))
        }
        None => Ok(these.clone()),
    }
}
