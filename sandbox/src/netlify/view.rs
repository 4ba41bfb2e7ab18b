//! How sites, builds and deploys look in answers, and the summary for the admin door.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::records::{Deploy, DeployState, Notification, Site};
use super::runner::CANCELED;
use super::state::State;
use crate::admin::Count;
use crate::clock::milliseconds;
use crate::world::World;

/// False for what a lagging list does not show yet.
pub fn is_listed(world: &World, created_at: OffsetDateTime) -> bool {
    let lag = world.switches.read().netlify.list_lag_seconds;
    created_at + Duration::from_secs(lag) <= world.clock.now()
}

/// A site as `GET /sites/{id}` answers it.
pub fn site(world: &World, netlify: &State, site: &Site) -> Value {
    let account = netlify.accounts.iter().find(|a| a.id == site.account_id);
    let announced = site
        .announced
        .as_ref()
        .and_then(|id| netlify.deploys.get(id));
    let published = site
        .published
        .as_ref()
        .and_then(|id| netlify.deploys.get(id));
    let slug = account.map(|a| a.slug.as_str()).unwrap_or_default();
    let url = host_url(world, &site.name);
    let mut body = json!({
        "id": site.id, "site_id": site.id, "name": site.name, "state": "current", "plan": "nf_team_pro",
        "lifecycle_state": "active", "disabled": false, "url": url, "ssl_url": url,
        "default_domain": format!("{}.netlify.app", site.name), "id_domain": format!("{}.netlify.app", site.id),
        "admin_url": format!("https://app.netlify.com/projects/{}", site.name), "screenshot_url": null,
        "account_id": site.account_id, "account_slug": slug, "account_name": account.map(|a| &a.name),
        "account_type": "Pro", "user_id": site.user_id, "created_at": milliseconds(site.created_at),
        "updated_at": milliseconds(site.updated_at), "custom_domain": null, "domain_aliases": [],
        "branch_deploy_custom_domain": null, "deploy_preview_custom_domain": null, "notification_email": null,
        "force_ssl": null, "managed_dns": true, "sso_login": false, "sso_login_context": null, "labels": [],
        "capabilities": {"id": "nf_team_pro"}, "build_image": "noble", "build_timelimit": null,
        "deploy_retention_in_days": 90, "functions_region": null, "prevent_non_git_prod_deploys": false,
        "processing_settings": {"html": {"pretty_urls": true}},
    });
    for (field, value) in &site.settings {
        body[field] = value.clone();
    }
    body["name"] = json!(site.name);
    body["build_settings"] = site.repo.as_ref().map_or_else(|| json!({}), |r| r.view());
    body["deploy_hook"] = json!(deploy_hook(world, site));
    body["published_deploy"] = published.map_or(Value::Null, |d| deploy(world, netlify, d));
    // A running first build shows its build id and no deploy id yet; later it is the other way round.
    body["build_id"] = json!(announced.map_or("", |d| &d.build_id));
    let deploy_id = match announced {
        Some(announced) => visible_id(world, announced),
        None => site.published.as_deref().unwrap_or_default(),
    };
    body["deploy_id"] = json!(deploy_id);
    body["deploy_url"] = json!(match (announced, published) {
        (Some(announced), _) => deploy_host(world, site, &announced.id),
        (None, Some(published)) => deploy_host(world, site, &slug_of(&published.cause.branch)),
        (None, None) => host_url(world, &site.name),
    });
    body
}

/// A build; `deploy_id` is empty for a moment after an attach.
pub fn build(world: &World, deploy: &Deploy) -> Value {
    let deploy_id = visible_id(world, deploy);
    let deploy_state = match deploy_id {
        "" => json!(""),
        _ => json!(shown_state(world, deploy)),
    };
    json!({
        "id": deploy.build_id, "deploy_id": deploy_id, "deploy_state": deploy_state, "sha": deploy.commit.sha,
        "done": deploy.state.is_final(), "error": deploy.error_message,
        "created_at": milliseconds(deploy.created_at),
    })
}

/// A deploy.
pub fn deploy(world: &World, netlify: &State, deploy: &Deploy) -> Value {
    let site = netlify.sites.get(&deploy.site_id);
    let name = site.map(|s| s.name.as_str()).unwrap_or_default();
    let production = site
        .and_then(|s| s.repo.as_ref())
        .map(|r| r.branch.as_str());
    let is_production = production.is_none_or(|p| p == deploy.cause.branch);
    let context = match (deploy.cause.review, is_production) {
        (Some(_), _) => "deploy-preview",
        (None, true) => "production",
        (None, false) => "branch-deploy",
    };
    let url = host_url(world, name);
    let deploy_url = host_url(world, &format!("{}--{name}", deploy.id));
    let summary = if deploy.state == DeployState::Ready {
        "ready"
    } else {
        "unavailable"
    };
    let mut body = json!({
        "id": deploy.id, "site_id": deploy.site_id, "build_id": deploy.build_id, "state": shown_state(world, deploy), "name": name,
        "url": url, "ssl_url": url, "admin_url": format!("https://app.netlify.com/projects/{name}"),
        "deploy_url": deploy_url, "deploy_ssl_url": deploy_url, "created_at": milliseconds(deploy.created_at),
        "updated_at": milliseconds(deploy.updated_at), "user_id": deploy.user_id,
        "published_at": deploy.published_at.map(milliseconds), "error_message": deploy.error_message,
        "commit_ref": deploy.commit.sha, "commit_url": deploy.commit.url, "commit_message": deploy.commit.message,
        "committer": deploy.commit.committer, "branch": deploy.cause.branch, "title": deploy.cause.title,
        "context": context, "review_id": deploy.cause.review, "skipped": deploy.skipped,
        "locked": deploy.locked, "deploy_source": deploy.cause.source, "deploy_time": deploy.deploy_time,
        "summary": {"status": summary, "messages": []},
        "strict_contributor_verification_failure": deploy.blocked,
        "links": {"permalink": deploy_url, "alias": url, "branch": null},
    });
    for (field, value) in constant_fields() {
        body[field] = value;
    }
    body
}

fn shown_state(world: &World, deploy: &Deploy) -> DeployState {
    let canceled = deploy.error_message.as_deref() == Some(CANCELED);
    if canceled && world.switches.read().netlify.canceled_shown_as_prepared {
        DeployState::Prepared
    } else {
        deploy.state
    }
}

/// Fields of a deploy that say nothing in a sandbox; answers of the vendor always have them.
fn constant_fields() -> [(&'static str, Value); 12] {
    [
        ("required", json!([])),
        ("required_functions", json!([])),
        ("available_functions", json!([])),
        ("function_schedules", json!([])),
        ("review_url", Value::Null),
        ("skipped_log", Value::Null),
        ("manual_deploy", json!(false)),
        ("plugin_state", json!("none")),
        ("framework", json!("unknown")),
        ("entry_path", Value::Null),
        ("screenshot_url", Value::Null),
        ("views_count", Value::Null),
    ]
}

/// An outgoing hook.
pub fn notification(hook: &Notification) -> Value {
    json!({
        "id": hook.id, "site_id": hook.site_id, "user_id": hook.user_id, "type": hook.kind, "event": hook.event,
        "data": hook.data, "form_id": null, "form_name": null, "actor": null, "success": hook.failures == 0,
        "disabled": hook.disabled, "restricted": false, "created_at": milliseconds(hook.created_at),
        "updated_at": milliseconds(hook.updated_at),
    })
}

/// The webhook address for the site's provider; a site's own one for `manual`.
fn deploy_hook(world: &World, site: &Site) -> String {
    let provider = site.repo.as_ref().map(|r| r.provider.as_str());
    let path = match provider {
        Some(known @ ("github" | "gitlab" | "bitbucket" | "azure_devops")) => known,
        _ => &site.own_hook,
    };
    format!("{}/netlify/hooks/{path}", world.origin())
}

fn deploy_host(world: &World, site: &Site, prefix: &str) -> String {
    host_url(world, &format!("{prefix}--{}", site.name))
}

/// A branch name as a part of a host name.
fn slug_of(branch: &str) -> String {
    branch.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// Where the vendor says `https://NAME.netlify.app`, the sandbox gives an address that can be opened.
fn host_url(world: &World, host: &str) -> String {
    format!("http://{host}.localhost:{}", world.addr.port())
}

fn visible_id<'a>(world: &World, deploy: &'a Deploy) -> &'a str {
    if deploy.visible_at <= world.clock.now() {
        &deploy.id
    } else {
        ""
    }
}

/// Created ever and alive now, by kind.
pub fn counts(netlify: &State) -> BTreeMap<&'static str, Count> {
    let alive = [
        ("deploy_keys", netlify.keys.len()),
        ("sites", netlify.sites.len()),
        ("builds", netlify.deploys.len()),
        ("deploys", netlify.deploys.len()),
        ("notifications", netlify.notifications.len()),
        ("env_variables", netlify.variables.len()),
    ];
    let created = |kind| netlify.created.get(kind).copied().unwrap_or_default();
    alive
        .into_iter()
        .map(|(kind, alive)| {
            let count = Count {
                created: created(kind),
                alive: alive as u64,
            };
            (kind, count)
        })
        .collect()
}

/// Everything readable, for the admin door; never a private key or a token.
pub fn world_view(world: &World) -> Value {
    let netlify = world.netlify.lock();
    let with_id = |site: &Site| {
        let mut body = self::site(world, &netlify, site);
        body["build_settings"]["repo_id"] =
            json!(site.repo.as_ref().and_then(|r| r.repo_id.clone()));
        body["metadata"] = site.metadata.clone();
        body
    };
    let key = |k: &super::records::DeployKey| json!({"id": k.id, "public_key": k.pair.public_line(), "created_at": milliseconds(k.created_at)});
    let hook = |n: &Notification| {
        let mut body = notification(n);
        body["data"]["signature_secret"] = json!("(hidden)");
        body["delivered"] = json!(n.delivered);
        body
    };
    let deploys = netlify.deploys.values();
    json!({
        "accounts": netlify.accounts,
        "sites": netlify.sites.values().map(with_id).collect::<Vec<_>>(),
        "deploy_keys": netlify.keys.values().map(key).collect::<Vec<_>>(),
        "builds": deploys.clone().map(|d| build(world, d)).collect::<Vec<_>>(),
        "env_variables": super::environment::world_view(&netlify),
        "deploys": deploys.map(|d| deploy(world, &netlify, d)).collect::<Vec<_>>(),
        "notifications": netlify.notifications.values().map(hook).collect::<Vec<_>>(),
    })
}
