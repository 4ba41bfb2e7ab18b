//! Sites: create, look up, list, change, link to a repository, unlink, delete.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use rand::Rng;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::access::Caller;
use super::answer::{Answer, ApiError, Page, created, no_content, ok};
use super::linking;
use super::records::{Site, object_id};
use super::served;
use super::state;
use super::view;
use crate::world::World;

/// What else may be written and is given back as it came. Not given back: `env`, `default_hooks_data` (both hold secrets).
const SETTINGS: [&str; 11] = [
    "custom_domain",
    "domain_aliases",
    "branch_deploy_custom_domain",
    "deploy_preview_custom_domain",
    "notification_email",
    "force_ssl",
    "processing_settings",
    "build_image",
    "functions_region",
    "prevent_non_git_prod_deploys",
    "plugins",
];

#[derive(Deserialize)]
pub struct ListQuery {
    name: Option<String>,
    filter: Option<String>,
    sort_by: Option<String>,
}

#[derive(Deserialize)]
pub struct CreateQuery {
    account_slug: Option<String>,
}

/// POST `/sites`: the team comes from the body or the query, else it is the user's first.
pub async fn create(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<CreateQuery>,
    body: Bytes,
) -> Answer {
    let body = object(&body)?;
    let slug = text(&body, "account_slug").or(query.account_slug);
    create_site(&world, &caller, slug.as_deref(), body)
}

/// POST `/{account_slug}/sites`
pub async fn create_in_account(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    body: Bytes,
) -> Answer {
    create_site(&world, &caller, Some(&account), object(&body)?)
}

/// GET `/sites`
pub async fn list(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<ListQuery>,
    page: Page,
) -> Answer {
    let netlify = world.netlify.lock();
    let accounts: Vec<&str> = netlify
        .accounts_of(&caller.user_id)
        .map(|a| a.id.as_str())
        .collect();
    page.of(listed(&world, &netlify, &accounts, &query), &world.origin())
}

/// GET `/{account_slug}/sites`
pub async fn list_in_account(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(account): Path<String>,
    Query(query): Query<ListQuery>,
    page: Page,
) -> Answer {
    let netlify = world.netlify.lock();
    let account = netlify.account_of(&caller.user_id, &account);
    let accounts = [account.ok_or(ApiError::NOT_FOUND)?.id.as_str()];
    page.of(listed(&world, &netlify, &accounts, &query), &world.origin())
}

/// GET `/sites/{site_id}`; the id may be the site's default domain.
pub async fn get(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(site_id): Path<String>,
) -> Answer {
    let netlify = world.netlify.lock();
    let site = netlify.site_of(&caller.user_id, &site_id);
    ok(view::site(
        &world,
        &netlify,
        site.ok_or(ApiError::NOT_FOUND)?,
    ))
}

/// PATCH (and, undocumented, PUT) `/sites/{site_id}`
pub async fn update(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(site_id): Path<String>,
    body: Bytes,
) -> Answer {
    let mut body = object(&body)?;
    let mut netlify = world.netlify.lock();
    let site_id = own_site_id(&netlify, &caller, &site_id)?;
    if let Some(name) = text(&body, "name") {
        let holder = netlify.site_named(&name).map(|s| s.id.clone());
        check_name(&name, holder.is_some_and(|h| h != site_id))?;
    }
    let link = body.remove("repo");
    let settings = body.remove("build_settings");
    let old = netlify.sites[&site_id].repo.as_ref();
    linking::check(link.as_ref(), old, world.clock.now())?;
    apply(&world, &mut netlify, &site_id, body);
    if let Some(settings) = settings {
        linking::change_build_settings(&world, &mut netlify, &site_id, settings)?;
    }
    if let Some(link) = link {
        linking::attach(&world, &mut netlify, &site_id, link)?;
    }
    ok(view::site(&world, &netlify, &netlify.sites[&site_id]))
}

/// DELETE `/sites/{site_id}`: the name is free at once; deploy keys stay.
pub async fn delete(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(site_id): Path<String>,
) -> Answer {
    let mut netlify = world.netlify.lock();
    let site_id = own_site_id(&netlify, &caller, &site_id)?;
    netlify.sites.remove(&site_id);
    netlify.notifications.retain(|_, n| n.site_id != site_id);
    netlify.variables.retain(|(owner, _), _| *owner != site_id);
    netlify.deploys.retain(|_, deploy| {
        let stays = deploy.site_id != site_id;
        if !stays {
            deploy.cancel.cancel();
            served::forget(&world.data_dir, &deploy.id);
        }
        stays
    });
    no_content()
}

/// PUT `/sites/{id}/unlink_repo`: also deletes the site's deploy key (whoever else uses it) and its notifications; the
/// provider is not touched.
pub async fn unlink_repo(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(site_id): Path<String>,
) -> Answer {
    let mut netlify = world.netlify.lock();
    let site_id = own_site_id(&netlify, &caller, &site_id)?;
    let now = world.clock.now();
    let site = netlify.sites.get_mut(&site_id).ok_or(ApiError::NOT_FOUND)?;
    let key_id = site.repo.take().and_then(|r| r.deploy_key_id);
    site.updated_at = now;
    if let Some(key_id) = key_id {
        netlify.keys.remove(&key_id);
    }
    netlify.notifications.retain(|_, n| n.site_id != site_id);
    ok(view::site(&world, &netlify, &netlify.sites[&site_id]))
}

/// GET `/sites/{site_id}/metadata`
pub async fn metadata(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(site_id): Path<String>,
) -> Answer {
    let netlify = world.netlify.lock();
    let site = netlify.site_of(&caller.user_id, &site_id);
    ok(site.ok_or(ApiError::NOT_FOUND)?.metadata.clone())
}

/// PUT `/sites/{site_id}/metadata`: replaces the free JSON object.
pub async fn set_metadata(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(site_id): Path<String>,
    body: Bytes,
) -> Answer {
    let metadata = Value::Object(object(&body)?);
    let mut netlify = world.netlify.lock();
    let site_id = own_site_id(&netlify, &caller, &site_id)?;
    let site = netlify.sites.get_mut(&site_id).ok_or(ApiError::NOT_FOUND)?;
    site.metadata = metadata;
    no_content()
}

/// The full id of a site that the caller may see.
pub fn own_site_id(
    netlify: &state::State,
    caller: &Caller,
    site_id: &str,
) -> Result<String, ApiError> {
    let site = netlify.site_of(&caller.user_id, site_id);
    site.map(|s| s.id.clone()).ok_or(ApiError::NOT_FOUND)
}

/// A JSON object; an empty body is an empty object, as at the vendor.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    let bad = |_| ApiError::Plain(StatusCode::BAD_REQUEST, "Invalid JSON");
    serde_json::from_slice(body).map_err(bad)
}

fn create_site(
    world: &Arc<World>,
    caller: &Caller,
    account: Option<&str>,
    mut body: Map<String, Value>,
) -> Answer {
    let mut netlify = world.netlify.lock();
    let account = match account {
        Some(wanted) => netlify.account_of(&caller.user_id, wanted),
        None => netlify.accounts_of(&caller.user_id).next(),
    };
    let account_id = account.ok_or(ApiError::NOT_FOUND)?.id.clone();
    let name = text(&body, "name").unwrap_or_else(random_name);
    check_name(&name, netlify.site_named(&name).is_some())?;
    let link = body.remove("repo");
    let settings = body.remove("build_settings");
    linking::check(link.as_ref(), None, world.clock.now())?;
    let site = new_site(world, name, account_id, caller.user_id.clone());
    let site_id = site.id.clone();
    netlify.sites.insert(site_id.clone(), site);
    netlify.count_created("sites");
    apply(world, &mut netlify, &site_id, body);
    if let Some(link) = link {
        linking::attach(world, &mut netlify, &site_id, link)?;
    } else if let Some(settings) = settings {
        linking::change_build_settings(world, &mut netlify, &site_id, settings)?;
    }
    created(view::site(world, &netlify, &netlify.sites[&site_id]))
}

fn new_site(world: &World, name: String, account_id: String, user_id: String) -> Site {
    let now = world.clock.now();
    Site {
        id: Uuid::new_v4().to_string(),
        name,
        account_id,
        user_id,
        created_at: now,
        updated_at: now,
        repo: None,
        own_hook: object_id(now),
        announced: None,
        published: None,
        metadata: json!({}),
        settings: Map::new(),
    }
}

fn apply(world: &World, netlify: &mut state::State, site_id: &str, fields: Map<String, Value>) {
    if let Some(site) = netlify.sites.get_mut(site_id) {
        if let Some(name) = text(&fields, "name") {
            site.name = name;
        }
        let known = fields
            .into_iter()
            .filter(|(name, _)| SETTINGS.contains(&name.as_str()));
        site.settings.extend(known);
        site.updated_at = world.clock.now();
    }
}

fn listed(
    world: &World,
    netlify: &state::State,
    accounts: &[&str],
    query: &ListQuery,
) -> Vec<Value> {
    if query.filter.as_deref() == Some("guest") {
        return Vec::new();
    }
    let wanted = query.name.as_deref().unwrap_or_default();
    let mut sites: Vec<&Site> = netlify
        .sites
        .values()
        .filter(|s| accounts.contains(&s.account_id.as_str()) && s.name.contains(wanted))
        .filter(|s| view::is_listed(world, s.created_at))
        .collect();
    match query.sort_by.as_deref() {
        Some("alphabetical") => sites.sort_by(|a, b| a.name.cmp(&b.name)),
        Some("created_at") => sites.sort_by_key(|s| std::cmp::Reverse(s.created_at)),
        _ => sites.sort_by_key(|s| std::cmp::Reverse(s.updated_at)),
    }
    sites
        .iter()
        .map(|s| view::site(world, netlify, s))
        .collect()
}

/// Names are unique over all teams, at most 63 characters of letters, digits and hyphens.
fn check_name(name: &str, taken: bool) -> Result<(), ApiError> {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let problem = if taken {
        "must be unique"
    } else if name.is_empty() || name.len() > 63 || !name.chars().all(valid) {
        "can only include alphanumeric characters and hyphens, 63 at most"
    } else {
        return Ok(());
    };
    Err(ApiError::Fields("subdomain", problem.to_owned()))
}

fn random_name() -> String {
    const MOODS: [&str; 8] = [
        "calm", "bright", "eager", "gentle", "lucid", "mellow", "vivid", "witty",
    ];
    const THINGS: [&str; 8] = [
        "anchor", "beacon", "comet", "delta", "ember", "fjord", "grove", "harbor",
    ];
    let chance = rand::rng().next_u32();
    let pick =
        |words: [&'static str; 8], shift: u32| words[(chance >> shift) as usize % words.len()];
    format!("{}-{}-{chance:08x}", pick(MOODS, 3), pick(THINGS, 11))
}

fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    let value = fields.get(name)?.as_str()?;
    (!value.is_empty()).then(|| value.to_owned())
}
