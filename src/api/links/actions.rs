//! `POST /links/{id}/{verb}`: what may be asked of a link that is there.
//!
//! All verbs go the same way: lock the link, see whether the verb fits, change steps and facts to what the
//! engine shall do next, make the link due. The workers do the rest.

use std::collections::BTreeMap;

use axum::{extract::State, response::Response};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{PgConnection, Postgres, Transaction};
use time::OffsetDateTime;
use utoipa::{
    IntoParams, IntoResponses,
    openapi::{self, RefOr},
};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    accepted, audited, not_found,
    view::{Link, read, runs},
};
use crate::{
    api::{
        Api,
        caller::{Caller, Scope},
        extract::{Path, Query},
        ids::{self, Prefix},
        problem::{CallerProblems, ObjectProblems, Problem, ProblemCode, documented},
    },
    link::{
        facts::AskedBuild,
        request::Verify,
        status::{LinkStatus, Standing, Verb, Wanted},
        step_run::{prepare_rebuild, prepare_retry, prepare_rotation, prepare_verify},
    },
    providers,
    store::{
        Rows, begin,
        events::{self, NewEvent},
        links::{self, LinkRow},
    },
    upstream::instance_of,
};

/// How to build once more.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RebuildQuery {
    /// Begin from nothing, without what earlier builds left in Netlify's cache. Default: false.
    #[serde(default)]
    clear_cache: bool,
}

/// A verb with what belongs to it.
enum Wish {
    Retry,
    Cancel,
    Rebuild { clear_cache: bool },
    Verify,
    RotateKey,
}

/// The verb does not fit the link's status.
pub(super) struct DoesNotFit;

impl IntoResponses for DoesNotFit {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        documented(&[ProblemCode::IllegalTransition])
    }
}

/// The routes of the verbs.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(retry))
        .routes(routes!(cancel))
        .routes(routes!(rebuild))
        .routes(routes!(verify))
        .routes(routes!(rotate_key))
}

/// Try again
///
/// For a link that stands still in `failed`, `action_required`, `build_failed` or `degraded`: goes
/// on from the step that failed. After a failed build the key, the webhook and the site's settings
/// are looked at and mended first, then a new build is started.
#[utoipa::path(post, path = "/links/{id}/retry", tag = "links", operation_id = "retryLink",
    params(("id" = String, Path, description = "Id of the link")),
    responses((status = 202, description = "Accepted: poll the link", body = Link,
        headers(("Location" = String, description = "Address of the link"),
                ("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it, in seconds"))),
        DoesNotFit, CallerProblems, ObjectProblems))]
async fn retry(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    act(&api, &caller, &id, Wish::Retry).await
}

/// Cancel
///
/// For a link that was never live and is `queued`, `linking`, `building` or in `action_required`: takes
/// back everything that was made so far, the site too. A link that was live is unlinked instead, with
/// `DELETE /links/{id}`.
#[utoipa::path(post, path = "/links/{id}/cancel", tag = "links", operation_id = "cancelLink",
    params(("id" = String, Path, description = "Id of the link")),
    responses((status = 202, description = "Accepted: poll the link until it is `canceled`", body = Link,
        headers(("Location" = String, description = "Address of the link"),
                ("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it, in seconds"))),
        DoesNotFit, CallerProblems, ObjectProblems))]
async fn cancel(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    act(&api, &caller, &id, Wish::Cancel).await
}

/// Build once more
///
/// For a link that is `live`, `degraded` or `build_failed`: starts one build of the production branch and
/// follows it. The link is `building` until the build ends; its proof stays, unless it had failed.
#[utoipa::path(post, path = "/links/{id}/rebuild", tag = "links", operation_id = "rebuildLink",
    params(("id" = String, Path, description = "Id of the link"), RebuildQuery),
    responses((status = 202, description = "Accepted: poll the link", body = Link,
        headers(("Location" = String, description = "Address of the link"),
                ("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it, in seconds"))),
        DoesNotFit, CallerProblems, ObjectProblems))]
async fn rebuild(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<RebuildQuery>,
) -> Result<Response, Problem> {
    let clear_cache = query.clear_cache;
    act(&api, &caller, &id, Wish::Rebuild { clear_cache }).await
}

/// Prove once more that a push builds
///
/// For a link that is `live` or `degraded`: the provider sends its last push again, and a build has to
/// start from it. Not for links that were made with `verify: build`.
#[utoipa::path(post, path = "/links/{id}/verify", tag = "links", operation_id = "verifyLink",
    params(("id" = String, Path, description = "Id of the link")),
    responses((status = 202, description = "Accepted: poll the link", body = Link,
        headers(("Location" = String, description = "Address of the link"),
                ("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it, in seconds"))),
        DoesNotFit, CallerProblems, ObjectProblems))]
async fn verify(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    act(&api, &caller, &id, Wish::Verify).await
}

/// Exchange the deploy key
///
/// For a link that is `live`, `degraded` or `build_failed`: a new key is placed beside the old one, the site is told of it, and a
/// build is started, which has to clone with it. Then the old key is removed; no build fails meanwhile. When the new key fails,
/// the old one stays, and `key_rotation` says why. Not for keys that people or operators place.
#[utoipa::path(post, path = "/links/{id}/rotate-key", tag = "links", operation_id = "rotateKey",
    params(("id" = String, Path, description = "Id of the link")),
    responses((status = 202, description = "Accepted: poll the link", body = Link,
        headers(("Location" = String, description = "Address of the link"),
                ("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it, in seconds"))),
        DoesNotFit, CallerProblems, ObjectProblems))]
async fn rotate_key(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    act(&api, &caller, &id, Wish::RotateKey).await
}

/// Whether linkbroker can place another key for the link by itself.
fn check_rotation(api: &Api, row: &LinkRow) -> Result<(), Problem> {
    let refused = |detail: &str| Problem::new(ProblemCode::IllegalTransition).detail(detail);
    let gone = || Problem::internal(anyhow::anyhow!("{} is not configured", row.spec.host));
    let instance = instance_of(&api.instances, &row.provider, &row.spec.host).ok_or_else(gone)?;
    let can = providers::capabilities(&instance, &row.provider_credential);
    let facts = &row.facts;
    match &facts.deploy_key {
        None => Err(refused("The link has no deploy key.")),
        Some(key) if key.standing => Err(refused("The link uses the operator's standing key.")),
        Some(_) if !can.installs_keys => Err(refused("People place this link's key.")),
        Some(_) if facts.rotation.is_some() => Err(refused("The key is being exchanged already.")),
        Some(_) => Ok(()),
    }
}

async fn act(api: &Api, caller: &Caller, id: &str, wish: Wish) -> Result<Response, Problem> {
    let (mut tx, row) = fitting(api, caller, id, wish.verb()).await?;
    let id = row.id;
    if let Wish::RotateKey = wish {
        check_rotation(api, &row)?;
    }
    heed(&mut tx, caller.tenant.as_str(), row, &wish).await?;
    let asked = NewEvent {
        kind: wish.event(),
        detail: wish.detail(&caller.subject),
    };
    heeded(api, caller, tx, id, wish.verb(), asked).await
}

/// Locks a link of which a verb may be asked now.
pub(super) async fn fitting(
    api: &Api,
    caller: &Caller,
    id: &str,
    verb: Verb,
) -> Result<(Transaction<'static, Postgres>, LinkRow), Problem> {
    caller.require(Scope::LinksWrite)?;
    let id = ids::parse(Prefix::Link, id)?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
    let standing = links::lock(&mut tx, tenant, id).await?;
    let standing = standing.ok_or_else(not_found)?;
    if !standing.allows(verb) {
        return Err(does_not_fit(standing));
    }
    let row = links::get(&mut tx, tenant, id).await?;
    Ok((tx, row.ok_or_else(not_found)?))
}

/// Records what was asked of a link, and wakes the workers.
pub(super) async fn heeded(
    api: &Api,
    caller: &Caller,
    mut tx: Transaction<'static, Postgres>,
    id: Uuid,
    verb: Verb,
    asked: NewEvent,
) -> Result<Response, Problem> {
    let tenant = caller.tenant.as_str();
    events::append(&mut tx, id, tenant, &[asked]).await?;
    audited(&mut tx, caller, verb.as_str(), id).await?;
    let view = read(&mut tx, tenant, id).await?;
    tx.commit().await?;
    api.bell.due();
    api.bell.changed(id);
    Ok(accepted(&view))
}

/// Leaves the link as the engine has to find it to do what is wished.
async fn heed(
    db: &mut PgConnection,
    tenant: &str,
    row: LinkRow,
    wish: &Wish,
) -> Result<(), Problem> {
    let mut steps = runs(db, row.id).await?;
    let (id, standing) = (row.id, row.standing());
    let title = format!("linkbroker {} version {}", id.simple(), row.version);
    let mut facts = row.facts;
    let status = match wish {
        Wish::Cancel => {
            let (status, wanted) = (LinkStatus::Canceling, Wanted::Unlinked);
            return Ok(links::request_undo(db, id, status, wanted).await?);
        }
        Wish::Verify if row.spec.verify == Verify::Build => {
            let detail = "The link was made with `verify: build`: it has no proof by a push.";
            return Err(Problem::new(ProblemCode::IllegalTransition).detail(detail));
        }
        Wish::Verify => {
            prepare_verify(&mut steps, &mut facts, OffsetDateTime::now_utc());
            LinkStatus::Building
        }
        Wish::Rebuild { clear_cache } => {
            let asked = AskedBuild {
                // The version makes it a title that no other build of the link has.
                title,
                clear_cache: *clear_cache,
                id: None,
            };
            prepare_rebuild(&mut steps, &mut facts, asked);
            LinkStatus::Building
        }
        Wish::RotateKey => {
            let proof = AskedBuild {
                title,
                clear_cache: false,
                id: None,
            };
            prepare_rotation(&mut steps, &mut facts, proof, OffsetDateTime::now_utc());
            LinkStatus::Linking
        }
        Wish::Retry => {
            prepare_retry(&mut steps, &mut facts, standing.status);
            match standing.wanted {
                Wanted::Linked => LinkStatus::Linking,
                Wanted::Unlinked | Wanted::UnlinkedKeepSite => LinkStatus::Unlinking,
            }
        }
    };
    Ok(links::request_work(db, id, tenant, status, &facts, &steps).await?)
}

/// What may be asked of the link instead.
pub(super) fn does_not_fit(standing: Standing) -> Problem {
    let verbs: Vec<_> = standing.verbs().iter().map(|verb| verb.as_str()).collect();
    let possible = match verbs.is_empty() {
        true => "nothing can be asked of it any more".to_owned(),
        false => format!("what can be asked of it now: {}", verbs.join(", ")),
    };
    let detail = format!("The link is `{}`; {possible}.", standing.status);
    Problem::new(ProblemCode::IllegalTransition).detail(detail)
}

impl Wish {
    const fn verb(&self) -> Verb {
        match self {
            Self::Retry => Verb::Retry,
            Self::Cancel => Verb::Cancel,
            Self::Rebuild { .. } => Verb::Rebuild,
            Self::Verify => Verb::Verify,
            Self::RotateKey => Verb::RotateKey,
        }
    }

    const fn event(&self) -> &'static str {
        match self {
            Self::Retry => "link.retry_requested",
            Self::Cancel => "link.cancel_requested",
            Self::Rebuild { .. } => "link.rebuild_requested",
            Self::Verify => "link.verify_requested",
            Self::RotateKey => "link.key_rotation_requested",
        }
    }

    fn detail(&self, by: &str) -> Value {
        match self {
            Self::Rebuild { clear_cache } => json!({ "by": by, "clear_cache": clear_cache }),
            Self::Retry | Self::Cancel | Self::Verify | Self::RotateKey => json!({ "by": by }),
        }
    }
}
