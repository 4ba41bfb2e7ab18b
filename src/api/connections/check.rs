//! `POST /connections/{id}/check`: whom does the credential belong to, what may it do, when does it stop working?
//!
//! The API calls no upstream: a check is a job of the workers, and its outcome is part of the connection.

use axum::{
    extract::State,
    http::{HeaderName, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Connection, audited, not_found, read};
use crate::{
    api::{
        Api,
        caller::{Caller, Scope},
        extract::{Json, Path},
        ids::{self, Prefix},
        links::view::{Diagnosis, diagnosis},
        problem::{CallerProblems, ObjectProblems, Problem},
    },
    link::installation::Installation,
    store::{
        Rows, begin,
        checks::{self, CheckRow},
        connections,
    },
};

/// A check takes a call or two.
const POLL_AFTER_MS: u32 = 500;

/// The last check of a connection. What an earlier one found stays until the next outcome is known.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// Where it stands.
    pub state: CheckState,
    /// When to read the connection again, in milliseconds; absent when the check is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_after_ms: Option<u32>,
    /// When the outcome was known.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub checked_at: Option<OffsetDateTime>,
    /// Whom the credential belongs to: a login, or a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Slugs of the Netlify teams that it belongs to: what `site.team` may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teams: Option<Vec<String>>,
    /// What the credential may do; absent when the upstream does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// When the credential stops working; absent when the upstream does not say.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_at: Option<OffsetDateTime>,
    /// Where the app is installed; of connections by a GitHub App.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installations: Option<Vec<Installation>>,
    /// Why it is not good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Diagnosis>,
}

/// Where a check stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// Waits for a worker.
    Queued,
    /// A worker asks the upstream.
    Running,
    /// The credential is good.
    Passed,
    /// It is not, or the upstream could not be asked: `failure` says which.
    Failed,
}

impl From<CheckRow> for Check {
    fn from(row: CheckRow) -> Self {
        let state = match row.state.as_str() {
            "running" => CheckState::Running,
            "passed" => CheckState::Passed,
            "failed" => CheckState::Failed,
            // The table's constraint knows no other word.
            _ => CheckState::Queued,
        };
        let is_over = matches!(state, CheckState::Passed | CheckState::Failed);
        Self {
            state,
            poll_after_ms: (!is_over).then_some(POLL_AFTER_MS),
            checked_at: row.checked_at,
            identity: row.identity,
            teams: row.teams,
            scopes: row.scopes,
            expires_at: row.expires_at,
            installations: row.installations.map(|json| json.0),
            failure: row.failure.map(|json| diagnosis(json.0)),
        }
    }
}

/// The route of checks.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(request))
}

/// Check a connection
///
/// Asks the upstream whom the credential belongs to, what it may do and when it stops working, as far as the
/// upstream tells. Poll the connection until `check.poll_after_ms` is absent. Asking again while a check is under
/// way is asking once.
#[utoipa::path(post, path = "/connections/{id}/check", tag = "connections", operation_id = "checkConnection",
    params(("id" = String, Path, description = "Id of the connection")),
    responses((status = 202, description = "Accepted: poll the connection", body = Connection,
        headers(("Location" = String, description = "Address of the connection"),
                ("Retry-After" = u32, description = "When to read it, in seconds"))),
        CallerProblems, ObjectProblems))]
async fn request(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    caller.require(Scope::ConnectionsWrite)?;
    let id = ids::parse(Prefix::Connection, &id)?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
    // Before the insert: a foreign connection is not found, rather than refused by a constraint.
    let connection = connections::get(&mut tx, tenant, id).await?;
    connection.ok_or_else(not_found)?;
    checks::request(&mut tx, tenant, id).await?;
    audited(&mut tx, &caller, "check", id).await?;
    let connection = read(&mut tx, tenant, id).await?;
    tx.commit().await?;
    api.bell.due();
    let location = [(header::LOCATION, format!("/connections/{}", connection.id))];
    let retry_after = retry_after(&connection);
    Ok((
        StatusCode::ACCEPTED,
        location,
        retry_after,
        Json(connection),
    )
        .into_response())
}

/// `Retry-After` while a check is under way.
pub fn retry_after(connection: &Connection) -> AppendHeaders<Option<(HeaderName, String)>> {
    let check = connection.check.as_ref();
    let pause = check.and_then(|check| check.poll_after_ms);
    AppendHeaders(pause.map(|pause| (header::RETRY_AFTER, pause.div_ceil(1000).to_string())))
}
