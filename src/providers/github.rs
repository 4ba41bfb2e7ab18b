//! GitHub: github.com, GitHub Enterprise Server and GHE.com.
//!
//! <https://docs.github.com/en/rest?apiVersion=2022-11-28>

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::well_known::Rfc3339,
    macros::format_description,
};

use super::{
    Capabilities, Delivery, DeliveryEvent, FoundWebhook, Identity, InstalledWebhook, Provider,
    RepositoryKey, WebhookFault, same_address, same_key,
};
use crate::{
    link::{
        facts::{Repository, Webhook},
        failure::FailureCode,
    },
    redact,
    upstream::{Access, Answer, Call, Class, Credential, Dialect, Http, Instance, UpstreamError},
};

/// What Netlify's own tools subscribe to.
const EVENTS: [&str; 3] = ["push", "pull_request", "delete"];

static DIALECT: Dialect = Dialect {
    accept: "application/vnd.github+json",
    headers: &[("X-GitHub-Api-Version", "2022-11-28")],
    classify,
};

/// GitHub with one credential.
pub(super) struct Github {
    access: Access,
}

impl Github {
    pub(super) fn new(
        http: &Http,
        instance: Arc<Instance>,
        credential: Credential,
    ) -> Result<Self, UpstreamError> {
        let access = Access::new(http, instance, credential, &DIALECT)?;
        Ok(Self { access })
    }

    /// Whether the branch has a commit. The ref is asked for, not the branch: it answers for the exact name only,
    /// where `/branches/` follows renames, and it tells an empty repository apart.
    ///
    /// <https://docs.github.com/en/rest/git/refs#get-a-reference>
    async fn check_branch(&self, path: &str, branch: &str) -> Result<(), UpstreamError> {
        let (owner, name) = split(path);
        let reference = format!("heads/{branch}");
        let call = Call::get(["repos", owner, name, "git", "ref", &reference]);
        let answer = self.access.send(call).await.map_err(|error| {
            let detail = format!("`{path}` has no branch `{branch}`.");
            error.if_missing(FailureCode::BranchMissing, detail)
        })?;
        // Old servers answer a prefix with a list of what begins with it.
        match answer.json::<Value>()?.get("ref") {
            Some(_) => Ok(()),
            None => {
                let detail = format!("`{path}` has no branch `{branch}`.");
                Err(answer.error(FailureCode::BranchMissing, Class::NotFound, detail))
            }
        }
    }

    /// After a 404 on a removal: absent, or no longer ours to see? One read tells. A repository that is not visible
    /// at all counts as gone, with everything in it.
    async fn settle_absence(&self, repository: &Repository) -> Result<(), UpstreamError> {
        let (owner, name) = split(&repository.path);
        match self.access.send(Call::get(["repos", owner, name])).await {
            Ok(answer) => answer.json::<Repo>()?.check_rights(&answer),
            Err(error) if error.is_missing() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn remove(
        &self,
        repository: &Repository,
        collection: &str,
        id: &str,
    ) -> Result<bool, UpstreamError> {
        let (owner, name) = split(&repository.path);
        let call = Call::delete(["repos", owner, name, collection, id]);
        match self.access.send(call).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing() => {
                self.settle_absence(repository).await.map(|()| false)
            }
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Provider for Github {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            installs_keys: true,
            installs_webhooks: true,
            refuses_double_webhooks: true,
            replays_pushes: true,
            reports_deliveries: true,
        }
    }

    /// <https://docs.github.com/en/rest/repos/repos#get-a-repository>
    async fn resolve(&self, path: &str, branch: Option<&str>) -> Result<Repository, UpstreamError> {
        let (owner, name) = split(path);
        let answer = self.access.send(Call::get(["repos", owner, name])).await?;
        let repo: Repo = answer.json()?;
        repo.check_state(&answer)?;
        repo.check_rights(&answer)?;
        let wanted = branch.unwrap_or(&repo.default_branch);
        // A size of 0 is an empty repository, or one so new that GitHub has not measured it yet.
        if wanted != repo.default_branch || repo.size == Some(0) {
            self.check_branch(&repo.full_name, wanted).await?;
        }
        Ok(Repository {
            host: self.access.instance().host.clone(),
            branch: wanted.to_owned(),
            id: repo.id.to_string(),
            path: repo.full_name,
            web_url: repo.html_url,
            ssh_url: repo.ssh_url,
            private: repo.private,
        })
    }

    /// <https://docs.github.com/en/rest/deploy-keys/deploy-keys#list-deploy-keys>
    async fn find_key(
        &self,
        repository: &Repository,
        public_key: &str,
    ) -> Result<Option<RepositoryKey>, UpstreamError> {
        let (owner, name) = split(&repository.path);
        let call = Call::get(["repos", owner, name, "keys"]).query("per_page", "100");
        let keys: Vec<Key> = self.access.pages(call).await?;
        let found = keys.into_iter().find(|key| same_key(&key.key, public_key));
        Ok(found.map(Into::into))
    }

    /// <https://docs.github.com/en/rest/deploy-keys/deploy-keys#create-a-deploy-key>
    async fn install_key(
        &self,
        repository: &Repository,
        title: &str,
        public_key: &str,
    ) -> Result<RepositoryKey, UpstreamError> {
        let (owner, name) = split(&repository.path);
        let key = json!({ "title": title, "key": public_key, "read_only": true });
        let call = Call::post(["repos", owner, name, "keys"]).json(&key);
        let key: Key = self.access.send(call).await?.json()?;
        Ok(key.into())
    }

    /// <https://docs.github.com/en/rest/deploy-keys/deploy-keys#delete-a-deploy-key>
    async fn remove_key(&self, repository: &Repository, id: &str) -> Result<bool, UpstreamError> {
        self.remove(repository, "keys", id).await
    }

    /// <https://docs.github.com/en/rest/repos/webhooks#list-repository-webhooks>
    async fn find_webhook(
        &self,
        repository: &Repository,
        url: &str,
    ) -> Result<Option<FoundWebhook>, UpstreamError> {
        let (owner, name) = split(&repository.path);
        let call = Call::get(["repos", owner, name, "hooks"]).query("per_page", "100");
        let mut hooks: Vec<Hook> = self.access.pages(call).await?;
        hooks.retain(|hook| hook.points_at(url));
        // The oldest active one is the one that others rely on.
        hooks.sort_by_key(|hook| (!hook.active, hook.id));
        let mut hooks = hooks.into_iter();
        Ok(hooks.next().map(|hook| FoundWebhook {
            doubles: hooks.map(|double| double.id.to_string()).collect(),
            created_at: hook.created_at,
            faults: hook.faults(),
            webhook: hook.fact(),
        }))
    }

    /// <https://docs.github.com/en/rest/repos/webhooks#create-a-repository-webhook>
    async fn install_webhook(
        &self,
        repository: &Repository,
        url: &str,
    ) -> Result<InstalledWebhook, UpstreamError> {
        let (owner, name) = split(&repository.path);
        let hook =
            json!({ "name": "web", "active": true, "events": EVENTS, "config": config(url) });
        let call = Call::post(["repos", owner, name, "hooks"]).json(&hook);
        let refusal = match self.access.send(call).await {
            Ok(answer) => {
                let webhook = answer.json::<Hook>()?.fact();
                return Ok(InstalledWebhook {
                    webhook,
                    made: true,
                });
            }
            Err(error) => error,
        };
        if refusal.code != FailureCode::WebhookRefused {
            return Err(refusal);
        }
        // GitHub's words for "already there" have changed before; the list decides.
        let found = self.find_webhook(repository, url).await?.ok_or(refusal)?;
        if !found.faults.is_empty() {
            self.repair_webhook(repository, &found).await?;
        }
        Ok(InstalledWebhook {
            webhook: found.webhook,
            made: false,
        })
    }

    /// <https://docs.github.com/en/rest/repos/webhooks#update-a-repository-webhook>
    async fn repair_webhook(
        &self,
        repository: &Repository,
        found: &FoundWebhook,
    ) -> Result<(), UpstreamError> {
        let (owner, name) = split(&repository.path);
        let change = json!({
            "active": true,
            "add_events": EVENTS,
            "config": config(&found.webhook.url),
        });
        let call = Call::patch(["repos", owner, name, "hooks", &found.webhook.id]).json(&change);
        self.access.send(call).await.map(drop)
    }

    /// <https://docs.github.com/en/rest/repos/webhooks#update-a-repository-webhook>
    async fn move_webhook(
        &self,
        repository: &Repository,
        id: &str,
        url: &str,
    ) -> Result<(), UpstreamError> {
        let (owner, name) = split(&repository.path);
        let change = json!({ "config": config(url) });
        let call = Call::patch(["repos", owner, name, "hooks", id]).json(&change);
        self.access.send(call).await.map(drop)
    }

    /// <https://docs.github.com/en/rest/repos/webhooks#delete-a-repository-webhook>
    async fn remove_webhook(
        &self,
        repository: &Repository,
        id: &str,
    ) -> Result<bool, UpstreamError> {
        self.remove(repository, "hooks", id).await
    }

    /// <https://docs.github.com/en/rest/repos/webhooks#test-the-push-repository-webhook>
    async fn replay_push(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<(), UpstreamError> {
        let (owner, name) = split(&repository.path);
        let call = Call::post(["repos", owner, name, "hooks", &webhook.id, "tests"]);
        self.access.send(call).await.map(drop)
    }

    /// <https://docs.github.com/en/rest/repos/webhooks#list-deliveries-for-a-repository-webhook>
    async fn last_delivery(
        &self,
        repository: &Repository,
        webhook: &Webhook,
        event: DeliveryEvent,
    ) -> Result<Option<Delivery>, UpstreamError> {
        let (owner, name) = split(&repository.path);
        let call = Call::get(["repos", owner, name, "hooks", &webhook.id, "deliveries"]);
        let sent: Vec<SentDelivery> = self
            .access
            .send(call.query("per_page", "100"))
            .await?
            .json()?;
        let word = match event {
            DeliveryEvent::Ping => "ping",
            DeliveryEvent::Push => "push",
        };
        let newest = sent.into_iter().find(|delivery| delivery.event == word);
        Ok(newest.map(Into::into))
    }

    /// <https://docs.github.com/en/rest/users/users#get-the-authenticated-user>
    async fn identity(&self) -> Result<Identity, UpstreamError> {
        let answer = self.access.send(Call::get(["user"])).await?;
        let user: User = answer.json()?;
        Ok(Identity {
            login: user.login,
            scopes: scopes(&answer),
            expires_at: answer
                .header("github-authentication-token-expiration")
                .and_then(token_expiry),
        })
    }
}

/// Owner and name; a path without a slash cannot exist and becomes GitHub's 404.
fn split(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

/// The whole configuration: a PATCH replaces all of it, and GitHub's default content type is a form, which Netlify
/// ignores.
fn config(url: &str) -> Value {
    json!({ "url": url, "content_type": "json", "insecure_ssl": "0" })
}

#[derive(Deserialize)]
struct User {
    login: String,
}

#[derive(Deserialize)]
struct Repo {
    id: u64,
    full_name: String,
    private: bool,
    html_url: String,
    ssh_url: String,
    default_branch: String,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    disabled: bool,
    /// Kilobytes, measured by GitHub now and then.
    size: Option<u64>,
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    admin: bool,
}

impl Repo {
    fn check_state(&self, answer: &Answer) -> Result<(), UpstreamError> {
        let path = &self.full_name;
        if self.archived {
            let detail = format!("`{path}` is archived.");
            return Err(answer.refused(FailureCode::RepositoryArchived, detail));
        }
        if self.disabled {
            let detail = format!("GitHub has disabled `{path}`.");
            return Err(answer.refused(FailureCode::ProviderRefused, detail));
        }
        Ok(())
    }

    /// Rights of the person, then scopes of a classic token. What GitHub does not say (fine-grained tokens have no
    /// scopes) is unknown, not refused.
    fn check_rights(&self, answer: &Answer) -> Result<(), UpstreamError> {
        let path = &self.full_name;
        if self.permissions.as_ref().is_some_and(|may| !may.admin) {
            let detail = format!("The credential has no admin rights on `{path}`.");
            return Err(answer.refused(FailureCode::AdminRequired, detail));
        }
        match scopes(answer).and_then(|scopes| missing_scope(&scopes, self.private)) {
            None => Ok(()),
            Some(scope) => {
                let detail = format!("The token needs the scope `{scope}` for `{path}`.");
                Err(answer.refused(FailureCode::ScopeMissing, detail))
            }
        }
    }
}

/// The scope that a classic token lacks for managing deploy keys and webhooks.
///
/// <https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps>
fn missing_scope(scopes: &[String], private: bool) -> Option<&'static str> {
    let has = |wanted: &[&str]| scopes.iter().any(|scope| wanted.contains(&scope.as_str()));
    if has(&["repo"]) {
        None
    } else if private || !has(&["public_repo"]) {
        Some("repo")
    } else if has(&["write:repo_hook", "admin:repo_hook"]) {
        None
    } else {
        Some("write:repo_hook")
    }
}

/// Scopes of a classic token; `None` for tokens that have none by nature.
fn scopes(answer: &Answer) -> Option<Vec<String>> {
    let list = answer.header("x-oauth-scopes")?;
    let scopes = list
        .split(',')
        .map(str::trim)
        .filter(|scope| !scope.is_empty());
    Some(scopes.map(str::to_owned).collect())
}

/// `2026-11-30 10:00:00 UTC`, or with an offset such as `+0200` instead.
fn token_expiry(text: &str) -> Option<OffsetDateTime> {
    let utc = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let offset = format_description!(
        "[year]-[month]-[day] [hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]"
    );
    PrimitiveDateTime::parse(text, utc)
        .map(PrimitiveDateTime::assume_utc)
        .or_else(|_| OffsetDateTime::parse(text, offset))
        .ok()
}

#[derive(Deserialize)]
struct Key {
    id: u64,
    key: String,
    #[serde(default)]
    read_only: bool,
    /// Absent on older servers.
    enabled: Option<bool>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    created_at: Option<OffsetDateTime>,
    last_used: Option<String>,
}

impl From<Key> for RepositoryKey {
    fn from(key: Key) -> Self {
        Self {
            id: key.id.to_string(),
            read_only: key.read_only,
            enabled: key.enabled.unwrap_or(true),
            created_at: key.created_at,
            last_used: key.last_used,
        }
    }
}

#[derive(Deserialize)]
struct Hook {
    id: u64,
    #[serde(default, with = "time::serde::rfc3339::option")]
    created_at: Option<OffsetDateTime>,
    active: bool,
    events: Vec<String>,
    config: HookConfig,
}

#[derive(Deserialize)]
struct HookConfig {
    url: Option<String>,
    content_type: Option<String>,
    /// `"0"`, `"1"`, or the number.
    insecure_ssl: Option<Value>,
}

impl Hook {
    fn points_at(&self, url: &str) -> bool {
        self.config
            .url
            .as_deref()
            .is_some_and(|own| same_address(own, url))
    }

    fn fact(self) -> Webhook {
        Webhook {
            id: self.id.to_string(),
            url: self.config.url.unwrap_or_default(),
        }
    }

    fn faults(&self) -> Vec<WebhookFault> {
        let missing = self.missing_events();
        let insecure =
            matches!(&self.config.insecure_ssl, Some(value) if value == "1" || value == 1);
        [
            (!self.active).then_some(WebhookFault::Inactive),
            (!missing.is_empty()).then_some(WebhookFault::MissingEvents(missing)),
            (self.config.content_type.as_deref() != Some("json")).then_some(WebhookFault::NotJson),
            insecure.then_some(WebhookFault::InsecureTls),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn missing_events(&self) -> Vec<String> {
        let hears = |event: &str| self.events.iter().any(|own| own == event || own == "*");
        let missing = EVENTS.iter().filter(|event| !hears(event));
        missing.map(|event| (*event).to_owned()).collect()
    }
}

#[derive(Deserialize)]
struct SentDelivery {
    id: u64,
    event: String,
    /// 0 when nobody answered.
    status_code: Option<u16>,
    delivered_at: Option<String>,
}

impl From<SentDelivery> for Delivery {
    fn from(sent: SentDelivery) -> Self {
        Self {
            id: sent.id.to_string(),
            status: sent.status_code.filter(|code| *code != 0),
            at: sent
                .delivered_at
                .and_then(|at| OffsetDateTime::parse(&at, &Rfc3339).ok()),
        }
    }
}

/// GitHub's error body.
#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<Value>,
}

impl Body {
    fn read(answer: &Answer) -> Self {
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// All that GitHub says, in one line: the general message, then each error's own or its field and code.
    fn reason(&self) -> String {
        let mut parts = vec![self.message.clone()];
        parts.extend(self.errors.iter().map(|error| {
            let text = |key: &str| error.get(key).and_then(Value::as_str);
            match text("message").or(error.as_str()) {
                Some(message) => message.to_owned(),
                None => [text("field"), text("code")]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(" "),
            }
        }));
        parts.retain(|part| !part.is_empty());
        match parts.is_empty() {
            true => "it gives no reason".to_owned(),
            false => redact::excerpt(parts.join(": ").trim_end_matches('.')),
        }
    }
}

/// The only place that knows what GitHub's status codes mean.
fn classify(answer: &Answer) -> UpstreamError {
    let reason = Body::read(answer).reason();
    match answer.status {
        StatusCode::UNAUTHORIZED => {
            let detail = format!("GitHub refuses the credential: {reason}.");
            answer.refused(FailureCode::CredentialRefused, detail)
        }
        StatusCode::FORBIDDEN => forbidden(answer, &reason),
        StatusCode::NOT_FOUND => not_found(answer),
        StatusCode::CONFLICT if reason.contains("Repository is empty") => {
            let detail = "The repository has no commits yet.";
            answer.refused(FailureCode::RepositoryEmpty, detail)
        }
        StatusCode::UNPROCESSABLE_ENTITY => unprocessable(answer, &reason),
        StatusCode::TOO_MANY_REQUESTS => answer.rate_limited(),
        StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => {
            let detail = format!("GitHub has blocked the repository: {reason}.");
            answer.refused(FailureCode::ProviderRefused, detail)
        }
        StatusCode::REQUEST_TIMEOUT => answer.unavailable(),
        status if status.is_server_error() => answer.unavailable(),
        status if status.is_client_error() => {
            let detail = format!(
                "GitHub refuses the request ({}): {reason}.",
                status.as_u16()
            );
            answer.refused(FailureCode::RequestRefused, detail)
        }
        _ => answer.contract_changed("has an unexpected status"),
    }
}

/// 403 means six things; the order matters, because a limited call may carry the words of another cause.
fn forbidden(answer: &Answer, reason: &str) -> UpstreamError {
    let says = |text: &str| reason.to_ascii_lowercase().contains(text);
    let limited = answer.retry_at.is_some()
        || answer.header("gh-limited-by").is_some()
        || says("secondary rate limit")
        || says("abuse detection");
    if limited {
        return answer.rate_limited();
    }
    let (code, detail) = if let Some(sso) = answer.header("x-github-sso") {
        let place = sso.split_once("url=").map_or(sso, |(_, url)| url);
        let detail = format!(
            "Single sign-on is required; authorise it at {}.",
            redact::excerpt(place)
        );
        (FailureCode::SsoRequired, detail)
    } else if says("archived") {
        (
            FailureCode::RepositoryArchived,
            format!("GitHub refuses to write: {reason}."),
        )
    } else if says("access blocked") {
        (
            FailureCode::ProviderRefused,
            format!("GitHub has blocked the repository: {reason}."),
        )
    } else if says("not accessible by") {
        (
            FailureCode::ScopeMissing,
            missing_permission(answer, reason),
        )
    } else if says("upgrade to github") {
        (
            FailureCode::ProviderRefused,
            format!("The GitHub plan does not include it: {reason}."),
        )
    } else {
        (
            FailureCode::AdminRequired,
            format!("GitHub does not permit it: {reason}."),
        )
    };
    answer.refused(code, detail)
}

/// Fine-grained tokens and apps have permissions instead of scopes; GitHub names the one that was wanted.
fn missing_permission(answer: &Answer, reason: &str) -> String {
    match answer.header("x-accepted-github-permissions") {
        Some(wanted) => format!(
            "The token needs the permission {}.",
            redact::excerpt(wanted)
        ),
        None => format!("The token lacks a permission: {reason}."),
    }
}

/// 404 is "absent" and "not yours" alike. Keys and webhooks are shown to admins only.
fn not_found(answer: &Answer) -> UpstreamError {
    let path = answer.url.path();
    let (code, detail) = if path.contains("/keys") || path.contains("/hooks") {
        let detail = "GitHub does not show the repository's deploy keys or webhooks to this credential, or the object is gone.";
        (FailureCode::AdminRequired, detail)
    } else {
        let sees_public_only = scopes(answer).is_some_and(|s| missing_scope(&s, true).is_some());
        let detail = match sees_public_only {
            true => {
                "GitHub knows no such repository, or hides it: private ones need the token scope `repo`."
            }
            false => "GitHub knows no such repository, or does not show it to this credential.",
        };
        (FailureCode::RepositoryNotFoundOrNoAccess, detail)
    };
    answer.error(code, Class::NotFound, detail)
}

/// 422: the words decide, and never that "it is there already": only the list tells that.
fn unprocessable(answer: &Answer, reason: &str) -> UpstreamError {
    let says = |text: &str| reason.contains(text);
    let path = answer.url.path();
    let code = if says("key is already in use") {
        FailureCode::KeyInUseElsewhere
    } else if says("Deploy keys are disabled") {
        FailureCode::DeployKeysDisabled
    } else if says("cannot have more than") {
        FailureCode::WebhookLimitReached
    } else if path.contains("/keys") {
        FailureCode::KeyRefused
    } else if path.contains("/hooks") {
        FailureCode::WebhookRefused
    } else {
        FailureCode::RequestRefused
    };
    answer.refused(code, format!("GitHub refuses: {reason}."))
}

#[cfg(test)]
mod tests;
