//! Service hook subscriptions: one per event, kept by the organisation, without any rule about doubles.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::shapes::list as listed;
use super::subscription::{Written, shape, write};
use super::target::Organization;
use super::{bad, refused};
use crate::forge::refusal::{Refusal, read};
use crate::forge::{Access, Hook, Repository, State};
use crate::world::World;

/// The query of the list.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Filter {
    publisher_id: Option<String>,
    event_type: Option<String>,
    consumer_id: Option<String>,
    consumer_action_id: Option<String>,
}

impl Filter {
    fn takes(&self, shown: &Value) -> bool {
        let fits = |wanted: &Option<String>, name: &str| {
            wanted.as_ref().is_none_or(|wanted| shown[name] == **wanted)
        };
        fits(&self.publisher_id, "publisherId")
            && fits(&self.event_type, "eventType")
            && fits(&self.consumer_id, "consumerId")
            && fits(&self.consumer_action_id, "consumerActionId")
    }
}

/// `GET /{organization}/_apis/hooks/subscriptions`.
pub async fn list(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
    Query(filter): Query<Filter>,
) -> Json<Value> {
    let mut state = world.forges.azure.lock();
    let shown = all(&organization, &mut state, &world);
    listed(shown.into_iter().filter(|s| filter.takes(s)).collect())
}

/// `POST …/subscriptionsquery`: by the values of inputs, too.
pub async fn query(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let mut asked: Value = read(&body).map_err(|why| bad(&why))?;
    let filter: Filter = serde_json::from_value(asked.clone()).map_err(|e| bad(&e.to_string()))?;
    let mut state = world.forges.azure.lock();
    let shown = all(&organization, &mut state, &world).into_iter();
    let conditions: Vec<(String, String)> = conditions(&asked);
    let fits = |s: &Value| {
        let same = |(name, value): &(String, String)| s["publisherInputs"][name] == **value;
        filter.takes(s) && conditions.iter().all(same)
    };
    asked["results"] = shown.filter(fits).collect();
    Ok(Json(asked))
}

/// `GET …/subscriptions/{id}`.
pub async fn show(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
) -> Result<Json<Value>, Refusal> {
    let mut state = world.forges.azure.lock();
    let (_, hook) = find(&organization, &state)?;
    Ok(Json(shape(&world, &mut state, &organization, &hook)))
}

/// `POST …/subscriptions`: 200, not 201.
pub async fn create(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let written: Written = read(&body).map_err(|why| bad(&why))?;
    let now = world.clock.now();
    let mut state = world.forges.azure.lock();
    let holder = holder(&organization, &mut state, &world, &written)?;
    let mut hook = Hook {
        id: state.next_id(),
        uuid: Uuid::new_v4(),
        url: String::new(),
        active: true,
        events: BTreeSet::new(),
        secret: None,
        settings: Map::new(),
        added_by: organization.visitor.login().unwrap_or_default().to_owned(),
        created_at: now,
        updated_at: now,
        failures: 0,
        suspended_until: None,
        deliveries: Vec::new(),
    };
    write(&mut hook, written)?;
    state.add_hook(holder, hook.clone());
    Ok(Json(shape(&world, &mut state, &organization, &hook)))
}

/// `PUT …/subscriptions/{id}`: replaces all; one that was switched off goes on.
pub async fn replace(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let written: Written = read(&body).map_err(|why| bad(&why))?;
    let now = world.clock.now();
    let mut state = world.forges.azure.lock();
    let (repository, mut hook) = find(&organization, &state)?;
    holder(&organization, &mut state, &world, &written)?;
    write(&mut hook, written)?;
    hook.updated_at = now;
    hook.failures = 0;
    if let Some(place) = state.hook_mut(repository, hook.id) {
        *place = hook.clone();
    }
    Ok(Json(shape(&world, &mut state, &organization, &hook)))
}

/// `DELETE …/subscriptions/{id}`.
pub async fn remove(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
) -> Result<StatusCode, Refusal> {
    let mut state = world.forges.azure.lock();
    let (repository, hook) = find(&organization, &state)?;
    if let Some(repository) = state.repositories.get_mut(&repository) {
        check_right(&organization, repository)?;
        repository.hooks.retain(|h| h.id != hook.id);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The subscription that a call names, with the repository that holds it.
///
/// # Errors
/// 404 for absent and foreign ones.
pub fn find(organization: &Organization, state: &State) -> Result<(u64, Hook), Refusal> {
    let id = organization.word("id");
    let found = by_id(organization, state, id);
    let missing = || {
        let message = format!("VS405079: The subscription with id {id} was not found.");
        refused(
            StatusCode::NOT_FOUND,
            "SubscriptionNotFoundException",
            &message,
        )
    };
    found.ok_or_else(missing)
}

/// The subscription with this id.
pub fn by_id(organization: &Organization, state: &State, id: &str) -> Option<(u64, Hook)> {
    let repositories = organization.repositories(state);
    let mut hooks = repositories
        .into_iter()
        .flat_map(|r| r.hooks.iter().map(move |h| (r.id, h)));
    let found = hooks.find(|(_, h)| h.uuid.to_string().eq_ignore_ascii_case(id));
    found.map(|(repository, hook)| (repository, hook.clone()))
}

fn all(organization: &Organization, state: &mut State, world: &World) -> Vec<Value> {
    let repositories = organization.repositories(state);
    let hooks = repositories.iter().flat_map(|r| r.hooks.clone());
    let hooks: Vec<Hook> = hooks.filter(|h| world.is_listed(h.created_at)).collect();
    let shown = hooks.iter().map(|h| shape(world, state, organization, h));
    shown.collect()
}

fn conditions(asked: &Value) -> Vec<(String, String)> {
    let filters = asked["publisherInputFilters"]
        .as_array()
        .into_iter()
        .flatten();
    let conditions = filters.flat_map(|f| f["conditions"].as_array().into_iter().flatten());
    let pair = |c: &Value| {
        Some((
            c["inputId"].as_str()?.to_owned(),
            c["inputValue"].as_str()?.to_owned(),
        ))
    };
    conditions.filter_map(pair).collect()
}

/// The repository that is to hold a subscription: the one it is about, or any of the project.
fn holder(
    organization: &Organization,
    state: &mut State,
    world: &World,
    written: &Written,
) -> Result<u64, Refusal> {
    let input = |name: &str| written.publisher_inputs.get(name).and_then(Value::as_str);
    let project = input("projectId").unwrap_or_default();
    let owner = organization.project(state, world, project)?;
    let wanted = input("repository").unwrap_or_default();
    let visible = organization.repositories(state);
    let here = visible.into_iter().filter(|r| r.owner() == owner);
    let fits =
        |r: &&Repository| wanted.is_empty() || r.uuid.to_string().eq_ignore_ascii_case(wanted);
    let Some(repository) = here.into_iter().find(fits) else {
        return Err(bad(
            "Subscription input 'repository' is not supported at scope 'project'.",
        ));
    };
    check_right(organization, repository)?;
    Ok(repository.id)
}

fn check_right(organization: &Organization, repository: &Repository) -> Result<(), Refusal> {
    if organization.visitor.membership(repository) >= Access::Admin {
        return Ok(());
    }
    let login = organization.visitor.login().unwrap_or_default();
    let message = format!(
        "TF400813: The user '{login}' does not have permissions to edit service hook subscriptions."
    );
    Err(refused(
        StatusCode::FORBIDDEN,
        "UnauthorizedRequestException",
        &message,
    ))
}
