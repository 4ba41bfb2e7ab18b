//! Who am I, which teams, and how full the build queue of a team is.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use serde_json::{Map, Value, json};

use super::access::Caller;
use super::answer::{Answer, ApiError, ok};
use super::records::{Account, Deploy, DeployState, User};
use super::state;
use super::switches::Switches;
use super::view;
use crate::clock::milliseconds;
use crate::world::World;

/// GET `/user`
pub async fn current_user(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    let netlify = world.netlify.lock();
    let user = netlify.users.iter().find(|u| u.id == caller.user_id);
    let switches = &world.switches.read().netlify;
    ok(user_view(
        &netlify,
        user.ok_or(ApiError::NOT_FOUND)?,
        switches,
    ))
}

/// GET `/accounts`
pub async fn list(State(world): State<Arc<World>>, Extension(caller): Extension<Caller>) -> Answer {
    let netlify = world.netlify.lock();
    let accounts = netlify.accounts_of(&caller.user_id);
    let switches = &world.switches.read().netlify;
    ok(accounts
        .map(|a| account_view(&netlify, a, switches))
        .collect())
}

/// GET `/accounts/{account_id}`
pub async fn get(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(account_id): Path<String>,
) -> Answer {
    let netlify = world.netlify.lock();
    let account = netlify.account_of(&caller.user_id, &account_id);
    let account = account.ok_or(ApiError::NOT_FOUND)?;
    let switches = &world.switches.read().netlify;
    ok(account_view(&netlify, account, switches))
}

/// GET `/accounts/{account_id}/builds/status`: the richer description's shape, one entry per unfinished build.
pub async fn running_builds(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(account_id): Path<String>,
) -> Answer {
    let netlify = world.netlify.lock();
    let account = netlify.account_of(&caller.user_id, &account_id);
    let account = account.ok_or(ApiError::NOT_FOUND)?;
    let unfinished = unfinished(&netlify, account);
    ok(unfinished
        .map(|d| build_view(&world, &netlify, d))
        .collect())
}

/// GET `/{account_id}/builds/status`: the older description's shape, numbers only.
pub async fn build_status(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(account_id): Path<String>,
) -> Answer {
    let netlify = world.netlify.lock();
    let account = netlify.account_of(&caller.user_id, &account_id);
    let account = account.ok_or(ApiError::NOT_FOUND)?;
    let waiting = |d: &&Deploy| matches!(d.state, DeployState::New | DeployState::Enqueued);
    let enqueued = unfinished(&netlify, account).filter(waiting).count();
    let active = unfinished(&netlify, account).count() - enqueued;
    let minutes = json!({
        "current": world.switches.read().netlify.shown.minutes, "current_average_sec": 0, "previous": 0, "period_start_date": null, "period_end_date": null,
        "last_updated_at": milliseconds(world.clock.now()), "included_minutes": 300,
        "included_minutes_with_packs": 300,
    });
    ok(json!([{
        "active": active, "pending_concurrency": 0, "enqueued": enqueued, "build_count": active + enqueued,
        "minutes": minutes,
    }]))
}

fn unfinished<'a>(
    netlify: &'a state::State,
    account: &'a Account,
) -> impl Iterator<Item = &'a Deploy> {
    let in_account = |d: &&Deploy| {
        let site = netlify.sites.get(&d.site_id);
        site.is_some_and(|s| s.account_id == account.id)
    };
    let running = |d: &&Deploy| !d.state.is_final();
    netlify.deploys.values().filter(running).filter(in_account)
}

fn user_view(netlify: &state::State, user: &User, switches: &Switches) -> Value {
    let sites = netlify.sites.values();
    let site_count = sites
        .filter(|s| user.account_ids.contains(&s.account_id))
        .count();
    let created_at = milliseconds(user.created_at);
    let connected = switches.shown.connected.iter();
    let connected: Map<_, _> = connected
        .map(|provider| (provider.clone(), json!(user.full_name)))
        .collect();
    json!({
        "id": user.id, "uid": user.id, "full_name": user.full_name, "email": user.email, "slug": user.full_name,
        "avatar_url": null, "site_count": site_count, "created_at": created_at, "last_login": created_at,
        "account_id": user.account_ids.first(), "preferred_account_id": user.account_ids.first(),
        "connected_accounts": connected, "login_providers": ["email"], "favorite_sites": [],
        "mfa_enabled": false, "saml_account_id": null, "saml_slug": null, "tracking_id": user.id,
        "command_bar_user_id": null, "access_token": null, "refresh_token": null,
    })
}

fn account_view(netlify: &state::State, account: &Account, switches: &Switches) -> Value {
    let owners = netlify
        .users
        .iter()
        .filter(|u| u.account_ids.contains(&account.id));
    let since = owners.clone().map(|u| u.created_at).min().map(milliseconds);
    let owner_ids: Vec<&String> = owners.map(|u| &u.id).collect();
    let shown = &switches.shown;
    let slug = shown.plan.to_ascii_lowercase();
    let capabilities =
        json!({"private_corp_repos": {"in_compliance": shown.private_organisations}});
    let exceeded = match switches.credits_exhausted {
        true => json!([{"usage_type": "credits", "exceeded_at": since, "expires_at": since}]),
        false => json!([]),
    };
    json!({
        "id": account.id, "slug": account.slug, "name": account.name, "type_id": format!("sandbox-{slug}"),
        "type_name": shown.plan, "type_slug": slug, "capabilities": capabilities,
        "role": shown.role, "roles_allowed": ["Owner", "Developer"], "owner_ids": owner_ids, "member_roles": [],
        "created_at": since, "updated_at": since, "support_administration_enabled": false,
        "deploy_diagnostics_setting": "on", "ai_usage_enabled_setting": "off", "ai_usage_limit_enforced": false,
        "block_site_transfers": false, "configurable_limits_exceeded": exceeded, "credit_alert_percentage": 80,
        "in_operational_mode": true,
    })
}

fn build_view(world: &World, netlify: &state::State, deploy: &Deploy) -> Value {
    let site = netlify.sites.get(&deploy.site_id);
    let whole = view::deploy(world, netlify, deploy);
    let mut build = json!({
        "id": deploy.build_id, "sha": deploy.commit.sha, "started_at": deploy.started_at.map(milliseconds),
        "state": deploy.state, "error": deploy.error_message, "done": false, "priority": null,
        "subdomain": site.map(|s| &s.name), "custom_domain": null, "deploy_id": deploy.id, "deploy_time": null,
        "deploy_state": deploy.state, "deploy_pending_review_reason": null,
    });
    for field in [
        "created_at",
        "error_message",
        "site_id",
        "context",
        "branch",
        "commit_ref",
        "commit_url",
        "committer",
        "title",
        "review_url",
        "deploy_ssl_url",
    ] {
        build[field] = whole[field].clone();
    }
    // A text here, a number in a deploy.
    build["review_id"] = whole["review_id"].as_i64().map(|id| id.to_string()).into();
    build
}
