//! `POST /links` and `PUT /links/by-ref/{ref}`: takes requests for links in, or says what they would lead to.

use std::collections::BTreeMap;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use sqlx::{PgConnection, Postgres, Transaction};
use utoipa::{
    IntoParams, IntoResponses,
    openapi::{self, RefOr},
};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    accepted, audited, invalid, json_of, location,
    plan::{LinkPlan, plan},
    view::{Link, read},
};
use crate::{
    api::{
        Api,
        caller::{Caller, Scope},
        connections::data_key,
        extract::{Json, Path, Query},
        idempotency::{KeyHeader, Repeatable, Turn},
        ids::{self, Prefix},
        polling::{self, Known, Wait},
        problem::{
            BodyProblems, CallerProblems, Problem, ProblemCode, RepeatableProblems, documented,
        },
    },
    link::{
        difference::differences,
        environment,
        grant::Wish,
        request::{ConnectionNames, LinkRequest, LinkSpec},
        status::Wanted,
    },
    store::{
        Rows, StoreError, begin,
        connections::{self, ConnectionRow},
        environments,
        events::{self, NewEvent},
        links::{self, Filter, LinkRow, NewLink},
    },
    upstream::UpstreamKind,
    vault::{Purpose, Sealed, link_row},
};

type Tx = Transaction<'static, Postgres>;

/// Whether to link, or only to say what linking would do.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CreateQuery {
    /// Check the request and answer the plan; store and call nothing. Default: false.
    #[serde(default)]
    validate_only: bool,
}

/// Why a link is not accepted.
struct NotAccepted;

impl IntoResponses for NotAccepted {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        documented(&[ProblemCode::LinkExists, ProblemCode::IdempotencyInProgress])
    }
}

/// Why the caller may not; goes after [`CallerProblems`], whose answer it completes.
struct NotGranted;

impl IntoResponses for NotGranted {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        documented(&[ProblemCode::Forbidden, ProblemCode::InstallationNotGranted])
    }
}

/// Why a link is not made to be as asked.
struct NotPut;

impl IntoResponses for NotPut {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        documented(&[ProblemCode::LinkExists, ProblemCode::IllegalTransition])
    }
}

/// The routes that make links.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(put_by_ref))
}

/// Link a repository to a site
///
/// Answers at once; the setup goes on in the background. Poll the `Location` until `poll_after_ms`
/// is absent. With an `Idempotency-Key` the request may be sent again without harm.
///
/// With `validate_only=true` everything is checked as if the link were made, also whether its names are
/// free, and the answer is the plan: steps in rounds, the calls of each, the objects to be made. What only the
/// upstreams know (does the repository exist, is the credential good) is not asked.
#[utoipa::path(post, path = "/links", tag = "links", operation_id = "createLink", request_body = LinkRequest,
    params(CreateQuery, KeyHeader,
           ("Prefer" = Option<String>, Header, description = "`wait=N`: answer when the link is settled, at the latest after N seconds (cut to 30)")),
    responses((status = 200, description = "With `validate_only=true`: what linking would do", body = LinkPlan),
        (status = 201, description = "Accepted, and settled within the time of `Prefer: wait=N`", body = Link,
        headers(("Location" = String, description = "Address of the link"),
                ("ETag" = String, description = "Version of the link"),
                ("Preference-Applied" = String, description = "The wait that was heeded"))),
        (status = 202, description = "Accepted: poll the link", body = Link,
        headers(("Location" = String, description = "Address of the link"),
                ("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it, in seconds"),
                ("Idempotency-Replayed" = String, description = "`true` when this is the answer to an earlier request with the same key"))),
        NotAccepted, CallerProblems, NotGranted, BodyProblems, RepeatableProblems))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<CreateQuery>,
    headers: HeaderMap,
    Repeatable {
        body: request,
        request: once,
    }: Repeatable<LinkRequest>,
) -> Result<Response, Problem> {
    caller.require(Scope::LinksWrite)?;
    let wait = Wait::asked(None, &headers)?;
    let checked = Checked::of(&api, &caller, &request)?;
    let tenant = caller.tenant.as_str();
    let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
    if query.validate_only {
        let link = checked.choose(&api, &mut tx, &caller).await?;
        let mut tx = insert(&api, tx, &link).await?;
        // Read inside the transaction, which ends without a commit.
        let plan = plan(&api.instances, api.setup, &mut tx, tenant, link.id).await?;
        return Ok(Json(plan).into_response());
    }
    let keep = match once.begin(&api, &mut tx, tenant).await? {
        Turn::Earlier(answer) => return Ok(answer),
        Turn::First(keep) => keep,
    };
    api.quotas.link(&caller.tenant)?;
    api.quotas.in_flight(&mut tx, tenant).await?;
    let link = checked.choose(&api, &mut tx, &caller).await?;
    let mut tx = insert(&api, tx, &link).await?;
    audited(&mut tx, &caller, "create", link.id).await?;
    let answer = accepted(&read(&mut tx, tenant, link.id).await?);
    let answer = keep.keep(&mut tx, tenant, answer).await?;
    tx.commit().await?;
    made(&api, tenant, link.id, wait, answer).await
}

/// Make a link be there, under the caller's own name for it
///
/// Makes it when there is none that is not over. When there is one and it is as asked, it is answered as it
/// stands; its labels and its `drift` policy may be others, and are changed. Any other difference is refused, and `errors` names
/// the fields.
///
/// What the request leaves to us (the site's name, the connections) fits whatever was chosen.
#[utoipa::path(put, path = "/links/by-ref/{ref}", tag = "links", operation_id = "putLinkByRef", request_body = LinkRequest,
    params(("ref" = String, Path, description = "The caller's own name for the link; a slash is written `%2F`", example = "team-a%2Fdocs"),
           ("Prefer" = Option<String>, Header, description = "`wait=N`: answer a new link when it is settled, at the latest after N seconds (cut to 30)")),
    responses((status = 200, description = "It is there, as asked", body = Link,
        headers(("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it again, in seconds; absent when it is settled"))),
        (status = 201, description = "Accepted, and settled within the time of `Prefer: wait=N`", body = Link,
        headers(("Location" = String, description = "Address of the link"),
                ("ETag" = String, description = "Version of the link"),
                ("Preference-Applied" = String, description = "The wait that was heeded"))),
        (status = 202, description = "Accepted: poll the link", body = Link,
        headers(("Location" = String, description = "Address of the link"),
                ("ETag" = String, description = "Version of the link"),
                ("Retry-After" = u32, description = "When to read it, in seconds"))),
        NotPut, CallerProblems, NotGranted, BodyProblems))]
async fn put_by_ref(
    State(api): State<Api>,
    caller: Caller,
    Path(reference): Path<String>,
    headers: HeaderMap,
    Json(request): Json<LinkRequest>,
) -> Result<Response, Problem> {
    caller.require(Scope::LinksWrite)?;
    let wait = Wait::asked(None, &headers)?;
    let request = named(request, reference)?;
    let checked = Checked::of(&api, &caller, &request)?;
    let tenant = caller.tenant.as_str();
    if let Some(answer) = checked.found(&api, &caller).await? {
        return Ok(answer);
    }
    api.quotas.link(&caller.tenant)?;
    let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
    api.quotas.in_flight(&mut tx, tenant).await?;
    let link = checked.choose(&api, &mut tx, &caller).await?;
    if let Err(error) = links::insert(&mut tx, &link).await {
        drop(tx);
        // An equal request may have been faster.
        let found = match error.constraint() {
            Some("links_ref" | "links_site") => checked.found(&api, &caller).await?,
            _ => None,
        };
        return match found {
            Some(answer) => Ok(answer),
            None => Err(taken(&api, &link, error).await),
        };
    }
    audited(&mut tx, &caller, "create", link.id).await?;
    let answer = accepted(&read(&mut tx, tenant, link.id).await?);
    tx.commit().await?;
    made(&api, tenant, link.id, wait, answer).await
}

/// The ref stands in the path; in the body it may stand once more.
fn named(request: LinkRequest, reference: String) -> Result<LinkRequest, Problem> {
    match &request.reference {
        Some(other) if *other != reference => Err(Problem::new(ProblemCode::InvalidRequest)
            .error("/ref", "leave it out, or name the ref of the path")),
        _ => Ok(LinkRequest {
            reference: Some(reference),
            ..request
        }),
    }
}

/// A request that can be fulfilled, as far as the request alone tells.
pub struct Checked<'a> {
    request: &'a LinkRequest,
    spec: LinkSpec,
    provider: UpstreamKind,
}

impl<'a> Checked<'a> {
    /// Checks a request.
    ///
    /// # Errors
    /// [`ProblemCode::InvalidRequest`] with everything that is wrong; [`ProblemCode::InstallationNotGranted`].
    pub fn of(api: &Api, caller: &Caller, request: &'a LinkRequest) -> Result<Self, Problem> {
        let located = api.locate(&request.repository);
        let repository = located.as_ref().map(|found| &found.repository);
        let mut spec = request.check(repository).map_err(invalid)?;
        let located = located?;
        if located.provider == UpstreamKind::Manual && spec.branch.is_none() {
            let detail =
                "name the branch: nobody can be asked for the default one of this git host";
            return Err(Problem::new(ProblemCode::InvalidRequest).error("/branch", detail));
        }
        check_installation(api, caller, located.provider, &spec)?;
        spec.ssh_url = located.ssh_url;
        Ok(Self {
            request,
            spec,
            provider: located.provider,
        })
    }

    /// The link to be made, with the tenant's connections that it will use.
    ///
    /// # Errors
    /// [`ProblemCode::InvalidRequest`] when a connection is missing, or it is not clear which one is meant.
    pub async fn choose(
        &self,
        api: &Api,
        db: &mut PgConnection,
        caller: &Caller,
    ) -> Result<NewLink, Problem> {
        let names = &self.request.connections;
        let netlify = api.netlify()?;
        let provider = ConnectionWish {
            kind: self.provider,
            host: &self.spec.host,
            name: names.provider.as_deref(),
            pointer: "/connections/provider",
        };
        let netlify = ConnectionWish {
            kind: netlify.kind,
            host: &netlify.host,
            name: names.netlify.as_deref(),
            pointer: "/connections/netlify",
        };
        let tenant = caller.tenant.as_str();
        let provider_connection = provider.connection(db, tenant).await?.id;
        let id = Uuid::now_v7();
        Ok(NewLink {
            id,
            environment: self.sealed_environment(api, db, tenant, id).await?,
            tenant: tenant.to_owned(),
            reference: self.request.reference.clone(),
            spec: self.spec.clone(),
            labels: json!(self.request.labels),
            netlify_connection: netlify.connection(db, tenant).await?.id,
            provider_connection,
            created_by: caller.subject.clone(),
        })
    }

    async fn sealed_environment(
        &self,
        api: &Api,
        db: &mut PgConnection,
        tenant: &str,
        link: Uuid,
    ) -> Result<Option<Vec<u8>>, Problem> {
        if self.request.env.is_empty() {
            return Ok(None);
        }
        let values = environment::to_stored(&self.request.env).map_err(Problem::internal)?;
        let key = data_key(api, db, tenant).await?;
        let sealed = key.seal(&values, &link_row(link), Purpose::Environment);
        Ok(Some(sealed.map_err(Problem::internal)?.0))
    }

    /// Whether the values of the environment variables are those of the link.
    async fn has_values_of(
        &self,
        api: &Api,
        db: &mut PgConnection,
        tenant: &str,
        link: Uuid,
    ) -> Result<bool, Problem> {
        let Some(sealed) = environments::get(db, tenant, link).await? else {
            return Ok(self.request.env.is_empty());
        };
        let asked = environment::to_stored(&self.request.env).map_err(Problem::internal)?;
        let key = data_key(api, db, tenant).await?;
        let known = key.open(&Sealed(sealed), &link_row(link), Purpose::Environment);
        let known = known.map_err(Problem::internal)?;
        Ok(verify_slices_are_equal(&asked, &known).is_ok())
    }

    /// The link with this ref, made to have the labels of the request; nothing when there is none.
    async fn found(&self, api: &Api, caller: &Caller) -> Result<Option<Response>, Problem> {
        let tenant = caller.tenant.as_str();
        let filter = Filter {
            reference: self.request.reference.clone(),
            unfinished: true,
            ..Filter::default()
        };
        let mut tx = begin(&api.pool, Rows::Of(tenant)).await?;
        let Some(row) = links::list(&mut tx, tenant, &filter, 1).await?.pop() else {
            return Ok(None);
        };
        let has_same_values = self.has_values_of(api, &mut tx, tenant, row.id).await?;
        self.compare(&row, has_same_values)?;
        let labels = json!(self.request.labels);
        let has_other_labels = row.labels != labels;
        let has_other_policy = row.spec.drift != self.spec.drift;
        let has_changed = has_other_labels || has_other_policy;
        if has_changed {
            // Whoever holds it gives numbers to its events: readers look for what comes after the last one.
            links::hold(&mut tx, &[row.id]).await?;
        }
        let mut change = async |kind, verb| -> Result<(), Problem> {
            let by = json!({ "by": caller.subject });
            let changed = NewEvent { kind, detail: by };
            events::append(&mut tx, row.id, tenant, &[changed]).await?;
            Ok(audited(&mut tx, caller, verb, row.id).await?)
        };
        if has_other_labels {
            change("link.labels_changed", "set_labels").await?;
        }
        if has_other_policy {
            change("link.drift_policy_changed", "set_drift_policy").await?;
        }
        if has_changed {
            links::change(&mut tx, tenant, row.id, &labels, self.spec.drift).await?;
        }
        let link = read(&mut tx, tenant, row.id).await?;
        tx.commit().await?;
        if has_changed {
            api.bell.changed(row.id);
        }
        Ok(Some(polling::answer(
            &link.summary,
            json_of(&link)?,
            &Known::default(),
        )))
    }

    fn compare(&self, row: &LinkRow, has_same_values: bool) -> Result<(), Problem> {
        let with_location = |problem: Problem| match located(row.id) {
            Some(location) => problem.header(header::LOCATION, location),
            None => problem,
        };
        if row.wanted != Wanted::Linked {
            let detail = format!(
                "The link with this ref is being taken back (`{}`); ask again when that is over.",
                row.status
            );
            let problem = Problem::new(ProblemCode::IllegalTransition).detail(detail);
            return Err(with_location(problem));
        }
        let connections = ConnectionNames {
            netlify: Some(row.netlify_connection.clone()),
            provider: Some(row.provider_connection.clone()),
        };
        let differing = differences(
            self.request,
            &self.spec,
            &row.spec,
            &connections,
            has_same_values,
        );
        if differing.is_empty() {
            return Ok(());
        }
        let problem = Problem::new(ProblemCode::LinkExists)
            .detail("The link with this ref is another one than the request asks for.");
        let problem = differing
            .into_iter()
            .fold(problem, |problem, it| problem.error(it.pointer, it.detail));
        Err(with_location(problem))
    }
}

/// An installation of Netlify's GitHub App is nobody's own: it wants a grant, before anything is asked of anybody.
fn check_installation(
    api: &Api,
    caller: &Caller,
    provider: UpstreamKind,
    spec: &LinkSpec,
) -> Result<(), Problem> {
    let Some(installation_id) = spec.access.installation_id() else {
        return Ok(());
    };
    if provider != UpstreamKind::Github {
        let detail = "only repositories at GitHub can be linked by an installation";
        let problem = Problem::new(ProblemCode::InvalidRequest);
        return Err(problem.error("/access/installation_id", detail));
    }
    let wish = Wish {
        tenant: caller.tenant.as_str(),
        installation_id,
        host: &spec.host,
        path: &spec.path,
        team: spec.site.team.as_deref().unwrap_or_default(),
    };
    match api.grants.current().allow(&wish) {
        true => Ok(()),
        false => Err(Problem::new(ProblemCode::InstallationNotGranted)),
    }
}

/// Tells the workers of a new link; waits for it when the caller prefers that.
async fn made(
    api: &Api,
    tenant: &str,
    id: Uuid,
    wait: Option<Wait>,
    answer: Response,
) -> Result<Response, Problem> {
    api.bell.due();
    match wait {
        Some(wait) => settled_in_time(api, tenant, id, wait, answer).await,
        None => Ok(answer),
    }
}

/// 201 for a link that came to rest in time, else 202 with what is known by then.
async fn settled_in_time(
    api: &Api,
    tenant: &str,
    id: Uuid,
    wait: Wait,
    accepted: Response,
) -> Result<Response, Problem> {
    let mut link = match api.feed.subscribe(tenant, id).await {
        Ok(link) => link,
        // The link is accepted; only waiting for it is too much.
        Err(problem) if problem.code() == ProblemCode::RateLimited => return Ok(accepted),
        Err(problem) => return Err(problem),
    };
    let found = link
        .wait_for(wait.patience(), |now| now.link.summary.is_settled())
        .await;
    let status = match found.link.summary.is_settled() {
        true => StatusCode::CREATED,
        false => StatusCode::ACCEPTED,
    };
    let location = [(header::LOCATION, location(&found.link.summary.id))];
    let answer = polling::answer(&found.link.summary, found.json.clone(), &Known::default());
    Ok((status, location, wait.applied(), answer).into_response())
}

/// Which connection a request means.
struct ConnectionWish<'a> {
    kind: UpstreamKind,
    host: &'a str,
    name: Option<&'a str>,
    pointer: &'static str,
}

impl ConnectionWish<'_> {
    /// The named connection, else the tenant's only one of that kind.
    async fn connection(
        &self,
        db: &mut PgConnection,
        tenant: &str,
    ) -> Result<ConnectionRow, Problem> {
        let Self {
            kind, host, name, ..
        } = self;
        let mut found = connections::candidates(db, tenant, kind.as_str(), host, *name).await?;
        let detail = match (found.len(), name) {
            (1, _) => return Ok(found.remove(0)),
            (0, _) if *kind == UpstreamKind::Manual => format!(
                "no provider is configured for {host}; to link its repositories by hand, make a connection of kind `manual` with this host"
            ),
            (0, None) => format!(
                "there is no connection to {kind} at {host} yet; make one with POST /connections"
            ),
            (0, Some(name)) => format!("there is no connection `{name}` to {kind} at {host}"),
            (_, _) => format!("there are several connections to {kind} at {host}; name one"),
        };
        Err(Problem::new(ProblemCode::InvalidRequest).error(self.pointer, detail))
    }
}

/// Inserts a link. A refusal ends the transaction before another connection is asked for the reason.
async fn insert(api: &Api, mut tx: Tx, link: &NewLink) -> Result<Tx, Problem> {
    match links::insert(&mut tx, link).await {
        Ok(()) => Ok(tx),
        Err(error) => {
            drop(tx);
            Err(taken(api, link, error).await)
        }
    }
}

/// What a refused insert means: another link has the ref or the site.
async fn taken(api: &Api, link: &NewLink, error: StoreError) -> Problem {
    let (filter, what) = match error.constraint() {
        Some("links_ref") => (
            Filter {
                reference: link.reference.clone(),
                unfinished: true,
                ..Filter::default()
            },
            "ref",
        ),
        Some("links_site") => (
            Filter {
                site: Some(link.spec.site.name.clone()),
                unfinished: true,
                ..Filter::default()
            },
            "site",
        ),
        _ => return error.into(),
    };
    let existing = async {
        let mut tx = begin(&api.pool, Rows::Of(&link.tenant)).await?;
        links::list(&mut tx, &link.tenant, &filter, 1).await
    };
    let problem =
        Problem::new(ProblemCode::LinkExists).detail(format!("Another link has this {what}."));
    match existing.await {
        Ok(rows) => match rows.first().and_then(|row| located(row.id)) {
            Some(location) => problem.header(header::LOCATION, location),
            None => problem,
        },
        Err(error) => error.into(),
    }
}

fn located(link: Uuid) -> Option<HeaderValue> {
    HeaderValue::try_from(location(&ids::show(Prefix::Link, link))).ok()
}
