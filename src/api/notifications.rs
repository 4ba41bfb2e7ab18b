//! `/notifications/netlify/{id}`: where Netlify tells us that a deploy has begun or ended.
//!
//! What arrives is a hint: its signature shows that it is Netlify's and of this very body, but not that it is new. So a
//! build that it names is noted, one that it says is over is read again by a worker, and one that is known to be over stays
//! as it is: a delivery that comes again changes nothing and costs nothing.

mod signature;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    Api,
    extract::{Path, read_body},
    problem::{Problem, ProblemCode, documented},
};
use crate::{
    link::facts::Build,
    store::{
        Rows, begin, builds,
        links::{self, News},
        patrols,
        subscriptions::{self, Called},
    },
    vault::{Purpose, Sealed, WrappedDataKey, link_row},
};

/// Carries the signature.
const SIGNATURE: &str = "x-webhook-signature";
/// The event of a deploy that is not over.
const BUILDING: &str = "deploy_building";
/// Longest id that a deploy of Netlify's may have.
const ID_LENGTH: usize = 64;

/// What is read of a deploy that is told of.
#[derive(Debug, Deserialize)]
struct Told {
    id: String,
    build_id: Option<String>,
    site_id: Option<String>,
}

/// The routes of notifications.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(receive))
}

/// Why a notification is not taken.
struct NotTaken;

impl utoipa::IntoResponses for NotTaken {
    fn responses()
    -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
        documented(&[
            ProblemCode::Unauthorized,
            ProblemCode::NotFound,
            ProblemCode::RateLimited,
            ProblemCode::InvalidBody,
            ProblemCode::Unavailable,
        ])
    }
}

/// Take a notification of Netlify's
///
/// Not for callers: Netlify sends the deploy here, signed with the link's own secret. It is a hint; linkbroker reads the deploy
/// itself.
#[utoipa::path(post, path = "/notifications/netlify/{id}", tag = "operations", operation_id = "takeNotification", security(()),
    params(("id" = String, Path, description = "The end of the address that Netlify was given"),
           ("X-Webhook-Signature" = String, Header, description = "JWS (HS256) with the claims `iss` and `sha256`")),
    responses((status = 204, description = "Taken"), NotTaken))]
async fn receive(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Result<StatusCode, Problem> {
    let signature = headers.get(SIGNATURE).and_then(|value| value.to_str().ok());
    let signature = signature.ok_or_else(|| Problem::new(ProblemCode::Unauthorized))?;
    let body = read_body(request.into_body()).await?;
    let id = Uuid::parse_str(&id).map_err(|_| Problem::new(ProblemCode::NotFound))?;
    let mut tx = begin(&api.pool, Rows::OfAll).await?;
    let called = subscriptions::called(&mut tx, id).await?;
    drop(tx);
    let called = called.ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
    let tenant = called.tenant.parse().map_err(Problem::internal)?;
    api.quotas.notification(&tenant)?;
    check(&api, &called, signature, &body)?;
    let told: Told = serde_json::from_slice(&body)
        .map_err(|_| Problem::new(ProblemCode::InvalidBody).detail("it is no deploy"))?;
    if let Some(build) = told.build_of(&called) {
        heed(&api, &called, build).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

fn check(api: &Api, called: &Called, signature: &str, body: &[u8]) -> Result<(), Problem> {
    let wrapped = WrappedDataKey {
        key_id: called.data_key.key_id.clone(),
        bytes: called.data_key.wrapped.clone(),
    };
    let key = api.key_ring.unwrap(&called.tenant, &wrapped);
    let sealed = Sealed(called.secret.clone());
    let row = link_row(called.link);
    let secret = key.and_then(|key| key.open(&sealed, &row, Purpose::NotificationSecret));
    let secret = secret.map_err(Problem::internal)?;
    match signature::is_valid(&secret, signature, body) {
        true => Ok(()),
        false => Err(Problem::new(ProblemCode::Unauthorized)),
    }
}

impl Told {
    /// The build, when it is one of the link's site; deploys of files have none.
    fn build_of(self, called: &Called) -> Option<Build> {
        let is_id = |id: &str| {
            !id.is_empty()
                && id.len() <= ID_LENGTH
                && id.bytes().all(|it| it.is_ascii_alphanumeric())
        };
        let id = self.build_id.filter(|id| is_id(id))?;
        let of_site = self.site_id.as_ref() == Some(&called.site);
        (of_site && is_id(&self.id)).then_some(Build {
            id,
            deploy_id: self.id,
        })
    }
}

async fn heed(api: &Api, called: &Called, build: Build) -> Result<(), Problem> {
    let mut tx = begin(&api.pool, Rows::Of(&called.tenant)).await?;
    if called.event == BUILDING {
        links::hold(&mut tx, &[called.link]).await?;
        if !builds::begun(&mut tx, called.link, &called.tenant, &build).await? {
            return Ok(());
        }
        links::tell(&mut tx, called.link, News::ToReaders).await?;
        tx.commit().await?;
        api.bell.changed(called.link);
        return Ok(());
    }
    if builds::hint(&mut tx, called.link, &called.tenant, &build).await? {
        patrols::hint(&mut tx, called.connection, &called.team).await?;
        tx.commit().await?;
        api.bell.due();
    }
    Ok(())
}
