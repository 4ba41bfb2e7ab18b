//! `/links/{id}/status-tokens`: lets a frontend follow one link without the caller's own token.

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    caller::{Caller, Scope, StatusToken},
    extract::{Json, Path},
    ids::{self, Prefix},
    problem::{CallerProblems, ObjectProblems, Problem, ProblemCode},
};
use crate::store::{
    Rows,
    audit::{self, NewEntry},
    begin, links,
};

/// A token that was made, and how to use it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IssuedStatusToken {
    /// The token: a bearer token for this link, or the query's `token` for streams.
    #[schema(example = "lbs_eyJrZXkiOi….…")]
    pub token: String,
    /// Until when it is good.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// Where a browser's `EventSource` follows the link with this token.
    #[schema(
        example = "/links/lnk_019302f0c1b47cc2a1f5d3e8b7a69c01/events?token=lbs_eyJrZXkiOi….…"
    )]
    pub url: String,
}

/// The routes of `/links/{id}/status-tokens`.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(create))
}

/// Let somebody follow a link
///
/// The token opens `GET /links/{id}` and `GET /links/{id}/events` of this one link for 15 minutes, and nothing else: give it to a
/// browser. It cannot be revoked.
#[utoipa::path(post, path = "/links/{id}/status-tokens", tag = "links", operation_id = "createStatusToken",
    params(("id" = String, Path, description = "Id of the link")),
    responses((status = 201, description = "Made", body = IssuedStatusToken), CallerProblems, ObjectProblems))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    caller.require(Scope::LinksRead)?;
    let link = ids::parse(Prefix::Link, &id)?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
    if links::get(&mut tx, tenant, link).await?.is_none() {
        return Err(Problem::new(ProblemCode::NotFound));
    }
    let entry = NewEntry::by(&caller.subject, "create_status_token", id.clone()).of_link(link);
    audit::append(&mut tx, tenant, &[entry]).await?;
    tx.commit().await?;
    let made = StatusToken::sign(&api.key_ring, &caller.tenant, link).map_err(Problem::internal)?;
    let token = made.token.expose_secret();
    let issued = IssuedStatusToken {
        url: format!("/links/{id}/events?token={token}"),
        token: token.to_owned(),
        expires_at: made.expires_at,
    };
    let secret = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, secret, Json(issued)).into_response())
}
