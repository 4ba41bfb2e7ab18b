//! `/connections`: a tenant's named access to its upstreams. Secrets go in and never come out.

mod check;
mod credential;

use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{self, RefOr},
};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    Api,
    caller::{Caller, Scope},
    extract::{Json, Path, Query},
    idempotency::{KeyHeader, Repeatable, Turn},
    ids::{self, Prefix},
    page::{Cursor, PageQuery},
    problem::{
        BodyProblems, CallerProblems, ObjectProblems, Problem, ProblemCode, RepeatableProblems,
        documented,
    },
};
use crate::{
    json_object,
    link::request::{CONNECTION_NAME_RULE, is_connection_name},
    store::{
        Rows, StoreError,
        audit::{self, NewEntry},
        begin,
        checks::{self, CheckRow},
        connections::{self, ConnectionRow},
        data_keys::{self, DataKeyRow},
        links,
    },
    upstream::{Credential, Instance, UpstreamKind},
    vault::{DataKey, Purpose, WrappedDataKey, connection_row},
};

pub use check::{Check, CheckState};
pub use credential::NewCredential;

/// A connection to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "acme-github", "kind": "github", "credential": {"type": "token", "token": "github_pat_11ABCDEFG0example"}}))]
pub struct NewConnection {
    /// The tenant's own name for it: letters, digits, '.', '_' and '-'.
    #[schema(pattern = "^[A-Za-z0-9._-]{1,100}$")]
    name: String,
    /// Which vendor's API it speaks.
    kind: UpstreamKind,
    /// Host of one of the configured instances; any for kind `manual`. Default: the vendor's public one.
    host: Option<String>,
    /// The secret.
    #[serde(deserialize_with = "json_object::only")]
    credential: NewCredential,
}

/// A connection; its secret stays inside.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Connection {
    /// Its id.
    #[schema(example = "con_019302f0c1b47cc2a1f5d3e8b7a69c01")]
    pub id: String,
    /// The tenant's own name for it.
    pub name: String,
    /// Which vendor's API it speaks.
    #[schema(value_type = UpstreamKind)]
    pub kind: String,
    /// Host of the instance.
    pub host: String,
    /// What kind of secret it holds.
    pub credential_type: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Its last check; absent when it was never checked since it got its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
}

/// A page of connections, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ConnectionPage {
    /// The connections.
    pub connections: Vec<Connection>,
    /// Cursor of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Which page to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// How many at most, 1 to 100. Default: 50.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u8>,
    /// Where the last page ended.
    cursor: Option<String>,
}

/// The routes of `/connections`.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, delete))
        .routes(routes!(replace_credential))
        .merge(check::router())
}

/// Why a connection is not made.
struct NotMade;

impl IntoResponses for NotMade {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        documented(&[
            ProblemCode::ConnectionExists,
            ProblemCode::IdempotencyInProgress,
        ])
    }
}

/// Connect an upstream
///
/// Links use it to call Netlify or a git provider. Its secret is sealed and never shown again.
/// Nothing is called yet: `POST /connections/{id}/check` finds
/// out whether the credential is good.
#[utoipa::path(post, path = "/connections", tag = "connections", operation_id = "createConnection",
    params(KeyHeader),
    request_body = NewConnection,
    responses((status = 201, description = "Made", body = Connection,
        headers(("Location" = String, description = "Address of the connection"),
                ("Idempotency-Replayed" = String, description = "`true` when this is the answer to an earlier request with the same key"))),
        NotMade, CallerProblems, BodyProblems, RepeatableProblems))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Repeatable { body: new, request }: Repeatable<NewConnection>,
) -> Result<Response, Problem> {
    caller.require(Scope::ConnectionsWrite)?;
    let host = host_of(&api, &new)?;
    let credential = new.credential.checked(new.kind, "/credential")?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
    let keep = match request.begin(&api, &mut tx, tenant).await? {
        Turn::Earlier(answer) => return Ok(answer),
        Turn::First(keep) => keep,
    };
    let id = Uuid::now_v7();
    let row = ConnectionRow {
        id,
        tenant: tenant.to_owned(),
        name: new.name,
        kind: new.kind.as_str().to_owned(),
        host,
        credential_type: credential.kind().to_owned(),
        sealed: seal(&api, &mut tx, tenant, id, &credential).await?,
        created_at: OffsetDateTime::now_utc(),
    };
    match connections::insert(&mut tx, &row, &caller.subject).await {
        Err(error) if error.constraint() == Some("connections_name") => {
            return Err(Problem::new(ProblemCode::ConnectionExists));
        }
        done => done?,
    }
    audited(&mut tx, &caller, "create", id).await?;
    let view = view(row, None);
    let location = [(header::LOCATION, format!("/connections/{}", view.id))];
    let made = (StatusCode::CREATED, location, Json(view)).into_response();
    let made = keep.keep(&mut tx, tenant, made).await?;
    tx.commit().await?;
    Ok(made)
}

/// List connections
///
/// By name, in pages: `next_cursor` of one page is the `cursor` of the next.
#[utoipa::path(get, path = "/connections", tag = "connections", operation_id = "listConnections", params(ListQuery),
    responses((status = 200, description = "A page of connections, by name", body = ConnectionPage), CallerProblems))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<ConnectionPage>, Problem> {
    caller.require(Scope::ConnectionsRead)?;
    let page = PageQuery::new(query.limit, query.cursor.as_deref())?;
    let after = page.cursor::<String>()?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.reads, Rows::Of(tenant)).await?;
    let rows = connections::list(&mut tx, tenant, after.as_deref(), page.limit_and_one()).await?;
    let (rows, next_cursor) = page.cut(rows, |row| Cursor::of(&row.name));
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let mut checks = checks::of_connections(&mut tx, tenant, &ids).await?;
    let mut with_check = |row: ConnectionRow| {
        let check = checks
            .iter()
            .position(|check| check.connection_id == row.id);
        view(row, check.map(|at| checks.swap_remove(at)))
    };
    Ok(Json(ConnectionPage {
        connections: rows.into_iter().map(&mut with_check).collect(),
        next_cursor,
    }))
}

/// Read a connection
///
/// With the outcome of its last check. While one is under way `check.poll_after_ms` says when to read again.
#[utoipa::path(get, path = "/connections/{id}", tag = "connections", operation_id = "getConnection",
    params(("id" = String, Path, description = "Id of the connection")),
    responses((status = 200, description = "The connection", body = Connection,
        headers(("Retry-After" = u32, description = "When to read it again, in seconds; only while a check is under way"))),
        CallerProblems, ObjectProblems))]
async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    caller.require(Scope::ConnectionsRead)?;
    let id = ids::parse(Prefix::Connection, &id)?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.reads, Rows::Of(tenant)).await?;
    let connection = read(&mut tx, tenant, id).await?;
    Ok((check::retry_after(&connection), Json(connection)).into_response())
}

async fn read(db: &mut PgConnection, tenant: &str, id: Uuid) -> Result<Connection, Problem> {
    let row = connections::get(db, tenant, id).await?;
    let check = checks::of_connections(db, tenant, &[id]).await?.pop();
    Ok(view(row.ok_or_else(not_found)?, check))
}

/// Replace the secret of a connection
///
/// Links that wait because the old one was refused go on by themselves. The outcome of the last check is forgotten
/// with the old secret.
#[utoipa::path(put, path = "/connections/{id}/credential", tag = "connections", operation_id = "replaceCredential",
    params(("id" = String, Path, description = "Id of the connection")), request_body = NewCredential,
    responses((status = 204, description = "Replaced"), CallerProblems, ObjectProblems, BodyProblems))]
async fn replace_credential(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    Json(new): Json<NewCredential>,
) -> Result<StatusCode, Problem> {
    caller.require(Scope::ConnectionsWrite)?;
    let id = ids::parse(Prefix::Connection, &id)?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
    let row = connections::get(&mut tx, tenant, id).await?;
    let kind = row.ok_or_else(not_found)?.kind;
    let kind = kind
        .parse()
        .map_err(|why: String| Problem::internal(anyhow::anyhow!(why)))?;
    let credential = new.checked(kind, "")?;
    let sealed = seal(&api, &mut tx, tenant, id, &credential).await?;
    if !connections::replace_credential(&mut tx, tenant, id, credential.kind(), &sealed).await? {
        return Err(not_found());
    }
    audited(&mut tx, &caller, "replace_credential", id).await?;
    checks::forget(&mut tx, tenant, id).await?;
    links::go_on_with(&mut tx, tenant, id).await?;
    tx.commit().await?;
    api.bell.due();
    Ok(StatusCode::NO_CONTENT)
}

/// Why a connection is not deleted.
struct InUse;

impl IntoResponses for InUse {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        documented(&[ProblemCode::ConnectionInUse])
    }
}

/// Delete a connection
///
/// Refused while a link that is not over uses it. Its secret is wiped.
#[utoipa::path(delete, path = "/connections/{id}", tag = "connections", operation_id = "deleteConnection",
    params(("id" = String, Path, description = "Id of the connection")),
    responses((status = 204, description = "Deleted"),
        InUse, CallerProblems, ObjectProblems))]
async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.require(Scope::ConnectionsWrite)?;
    let id = ids::parse(Prefix::Connection, &id)?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
    if !connections::lock(&mut tx, tenant, id).await? {
        return Err(not_found());
    }
    if connections::is_used(&mut tx, tenant, id).await? {
        return Err(Problem::new(ProblemCode::ConnectionInUse));
    }
    connections::delete(&mut tx, tenant, id).await?;
    audited(&mut tx, &caller, "delete", id).await?;
    checks::forget(&mut tx, tenant, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Records a caller's write, in the transaction that makes it.
async fn audited(
    db: &mut PgConnection,
    caller: &Caller,
    verb: &str,
    connection: Uuid,
) -> Result<(), StoreError> {
    let object = ids::show(Prefix::Connection, connection);
    let entry = NewEntry::by(&caller.subject, verb, object);
    audit::append(db, caller.tenant.as_str(), &[entry]).await
}

/// Checks the name; the host of the instance that is meant.
fn host_of(api: &Api, new: &NewConnection) -> Result<String, Problem> {
    if !is_connection_name(&new.name) {
        let problem = Problem::new(ProblemCode::InvalidRequest);
        return Err(problem.error("/name", CONNECTION_NAME_RULE));
    }
    if new.kind == UpstreamKind::Manual {
        return manual_host(new);
    }
    let mut of_kind = api.instances.iter().filter(|known| known.kind == new.kind);
    let found = of_kind.find(|known| {
        new.host
            .as_ref()
            .is_none_or(|host| known.host.eq_ignore_ascii_case(host))
    });
    found.map(|instance| instance.host.clone()).ok_or_else(|| {
        let detail = format!("no {} instance with this host is configured", new.kind);
        let pointer = if new.host.is_some() { "/host" } else { "/kind" };
        Problem::new(ProblemCode::InvalidRequest).error(pointer, detail)
    })
}

/// A host that we never call needs no operator's consent.
fn manual_host(new: &NewConnection) -> Result<String, Problem> {
    let instance = new.host.as_deref().and_then(Instance::by_hand);
    instance.map(|instance| instance.host).ok_or_else(|| {
        let detail = "name the git host as in the repository's SSH address, e.g. git.example.com";
        Problem::new(ProblemCode::InvalidRequest).error("/host", detail)
    })
}

async fn seal(
    api: &Api,
    db: &mut PgConnection,
    tenant: &str,
    connection: Uuid,
    credential: &Credential,
) -> Result<Vec<u8>, Problem> {
    let key = data_key(api, db, tenant).await?;
    let sealed = key.seal(
        &credential.to_stored(),
        &connection_row(connection),
        Purpose::Credential,
    );
    Ok(sealed.map_err(Problem::internal)?.0)
}

/// The tenant's data key, made when it is needed first.
pub(super) async fn data_key(
    api: &Api,
    db: &mut PgConnection,
    tenant: &str,
) -> Result<DataKey, Problem> {
    let row = match data_keys::get(db, tenant).await? {
        Some(row) => row,
        None => {
            let (_, new) = api
                .key_ring
                .new_data_key(tenant)
                .map_err(Problem::internal)?;
            let new = DataKeyRow {
                key_id: new.key_id,
                wrapped: new.bytes,
            };
            data_keys::get_or_insert(db, tenant, &new).await?
        }
    };
    let wrapped = WrappedDataKey {
        key_id: row.key_id,
        bytes: row.wrapped,
    };
    api.key_ring
        .unwrap(tenant, &wrapped)
        .map_err(Problem::internal)
}

fn view(row: ConnectionRow, check: Option<CheckRow>) -> Connection {
    Connection {
        id: ids::show(Prefix::Connection, row.id),
        name: row.name,
        kind: row.kind,
        host: row.host,
        credential_type: row.credential_type,
        created_at: row.created_at,
        check: check.map(Into::into),
    }
}

fn not_found() -> Problem {
    Problem::new(ProblemCode::NotFound)
}
