//! Gitea and Forgejo, whose API is the same as far as linking needs it. Netlify knows neither: to it they are `manual`,
//! with a webhook address for each site.
//!
//! <https://docs.gitea.com/api/>, <https://forgejo.org/docs/latest/user/api-usage/>

mod answers;
mod refusals;

use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    Capabilities, Delivery, DeliveryEvent, FoundWebhook, Identity, InstalledWebhook, Place,
    Provider, Replay, RepositoryKey, is_gone, is_own, removed, same_key, same_repository,
};
use crate::{
    link::{
        facts::{Repository, Webhook},
        failure::FailureCode,
    },
    upstream::{Access, Answer, Call, Credential, Dialect, Http, Instance, UpstreamError},
};
use answers::{Hook, Key, Repo, User};

/// What Netlify needs to know of: pushes, and what previews are made and removed for.
const EVENTS: [&str; 3] = ["push", "pull_request", "delete"];
/// Items of a page; servers give fewer when they are set so.
const PAGE: &str = "50";
/// Most pages of one list.
const PAGES: usize = 100;

/// What can be done with a credential.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    installs_keys: true,
    finds_keys: true,
    installs_webhooks: true,
    site_has_own_webhook: true,
    refuses_double_webhooks: false,
    replays_pushes: true,
    reports_deliveries: false,
};

static DIALECT: Dialect = Dialect {
    accept: "application/json",
    headers: &[],
    classify: refusals::classify,
};

/// Gitea or Forgejo with one credential.
pub(super) struct Gitea {
    access: Access,
}

impl Gitea {
    pub(super) fn new(
        http: &Http,
        instance: Arc<Instance>,
        credential: Credential,
    ) -> Result<Self, UpstreamError> {
        let access = Access::new(http, instance, credential, &DIALECT)?;
        Ok(Self { access })
    }

    /// <https://docs.gitea.com/api/#tag/repository/operation/repoGetBranch>
    async fn check_branch(&self, path: &str, branch: &str) -> Result<(), UpstreamError> {
        let (owner, name) = split(path);
        let call = Call::get(["repos", owner, name, "branches", branch]);
        let answer = self.access.send(call).await.map_err(|error| {
            let detail = format!("`{path}` has no branch `{branch}`.");
            error.if_missing(FailureCode::BranchMissing, detail)
        });
        answer.map(drop)
    }

    /// A whole list. Its pages name no next one: there are more until one is empty or the count is reached.
    async fn list<T: DeserializeOwned>(
        &self,
        repository: &Repository,
        collection: &str,
    ) -> Result<Vec<T>, UpstreamError> {
        let mut items = Vec::new();
        let mut page = 0;
        loop {
            page += 1;
            let answer = self.page(repository, collection, page).await?;
            let mut more: Vec<T> = answer.json()?;
            let is_last = more.is_empty();
            items.append(&mut more);
            if is_last || count(&answer).is_some_and(|count| items.len() >= count) {
                return Ok(items);
            }
            if page == PAGES {
                return Err(answer.contract_changed("is a list without an end"));
            }
        }
    }

    async fn page(
        &self,
        repository: &Repository,
        collection: &str,
        page: usize,
    ) -> Result<Answer, UpstreamError> {
        let (owner, name) = split(&repository.path);
        let call = Call::get(["repos", owner, name, collection]);
        let call = call.query("page", page.to_string()).query("limit", PAGE);
        self.access.send(call).await
    }

    async fn hook(&self, repository: &Repository, id: &str) -> Result<Hook, UpstreamError> {
        let (owner, name) = split(&repository.path);
        let call = Call::get(["repos", owner, name, "hooks", id]);
        self.access.send(call).await?.json()
    }

    /// Changes a webhook. One that names no events would be left with pushes alone, so it is read first.
    async fn change(
        &self,
        repository: &Repository,
        id: &str,
        url: &str,
        branches: impl FnOnce(&Hook) -> String,
    ) -> Result<(), UpstreamError> {
        let hook = self.hook(repository, id).await?;
        let (owner, name) = split(&repository.path);
        let change = json!({
            "active": true,
            "branch_filter": branches(&hook),
            "events": hook.events_with(&EVENTS),
            "config": config(url),
        });
        let call = Call::patch(["repos", owner, name, "hooks", id]).json(&change);
        self.access.send(call).await.map(drop)
    }

    async fn remove(
        &self,
        repository: &Repository,
        collection: &str,
        id: &str,
    ) -> Result<bool, UpstreamError> {
        let (owner, name) = split(&repository.path);
        let call = Call::delete(["repos", owner, name, collection, id]);
        removed(
            self.access.send(call).await,
            self.is_ours_to_see(repository),
        )
        .await
    }

    /// A known repository as it is now; Gitea leads to it from its former name until another one takes that.
    async fn read(&self, repository: &Repository) -> Result<(Repo, Answer), UpstreamError> {
        let (owner, name) = split(&repository.path);
        let answer = self.access.send(Call::get(["repos", owner, name])).await?;
        let repo: Repo = answer.json()?;
        same_repository(repository, repo.id, &answer)?;
        Ok((repo, answer))
    }

    /// A repository that is not visible at all counts as gone, with everything in it, also when another one has its name: then its id
    /// tells (<https://docs.gitea.com/api/#tag/repository/operation/repoGetByID>).
    async fn is_ours_to_see(&self, repository: &Repository) -> Result<(), UpstreamError> {
        match self.read(repository).await {
            Ok((repo, answer)) => repo.check_rights(&answer),
            Err(error) if error.is_missing() => Ok(()),
            Err(error) if error.code == FailureCode::RepositoryReplaced => {
                let by_id = Call::get(["repositories", &repository.id]);
                is_gone(self.access.send(by_id).await, error)
            }
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Provider for Gitea {
    fn capabilities(&self) -> Capabilities {
        match self.access.is_anonymous() {
            true => Capabilities::BY_HAND,
            false => CAPABILITIES,
        }
    }

    fn now(&self) -> OffsetDateTime {
        self.access.upstream_now()
    }

    /// <https://docs.gitea.com/api/#tag/repository/operation/repoGet>
    async fn resolve(&self, path: &str, branch: Option<&str>) -> Result<Repository, UpstreamError> {
        let (owner, name) = split(path);
        let answer = self.access.send(Call::get(["repos", owner, name])).await?;
        let repo: Repo = answer.json()?;
        repo.check_state(&answer)?;
        if !self.access.is_anonymous() {
            repo.check_rights(&answer)?;
        }
        if let Some(branch) = branch.filter(|branch| *branch != repo.default_branch) {
            self.check_branch(&repo.full_name, branch).await?;
        }
        let branch = branch.unwrap_or(&repo.default_branch).to_owned();
        Ok(repo.into_repository(&self.access.instance().host, branch))
    }

    /// <https://docs.gitea.com/api/#tag/repository/operation/repoGet>
    async fn check_name(&self, repository: &Repository) -> Result<(), UpstreamError> {
        self.read(repository).await.map(drop)
    }

    /// <https://docs.gitea.com/api/#tag/repository/operation/repoListKeys>
    async fn find_key(
        &self,
        repository: &Repository,
        public_key: &str,
    ) -> Result<Option<RepositoryKey>, UpstreamError> {
        let keys: Vec<Key> = self.list(repository, "keys").await?;
        let found = keys.into_iter().find(|key| same_key(&key.key, public_key));
        Ok(found.map(Into::into))
    }

    /// Titles have to be different in a repository, also from that of a key that was exchanged for this one.
    ///
    /// <https://docs.gitea.com/api/#tag/repository/operation/repoCreateKey>
    async fn install_key(
        &self,
        repository: &Repository,
        title: &str,
        public_key: &str,
    ) -> Result<RepositoryKey, UpstreamError> {
        let (owner, name) = split(&repository.path);
        let title = format!("{title} {}", mark(public_key));
        let key = json!({ "title": title, "key": public_key, "read_only": true });
        let call = Call::post(["repos", owner, name, "keys"]).json(&key);
        let key: Key = self.access.send(call).await?.json()?;
        Ok(key.into())
    }

    /// <https://docs.gitea.com/api/#tag/repository/operation/repoDeleteKey>
    async fn remove_key(&self, repository: &Repository, id: &str) -> Result<bool, UpstreamError> {
        self.remove(repository, "keys", id).await
    }

    /// <https://docs.gitea.com/api/#tag/repository/operation/repoListHooks>
    async fn webhook_address(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<Option<String>, UpstreamError> {
        let hooks: Vec<Hook> = self.list(repository, "hooks").await?;
        let mut hooks = hooks.into_iter().map(Hook::fact);
        let own = hooks.find(|hook| hook.id == webhook.id);
        Ok(own.map(|hook| hook.url))
    }

    async fn find_webhook(
        &self,
        repository: &Repository,
        url: &str,
        own: Option<&str>,
    ) -> Result<Option<FoundWebhook>, UpstreamError> {
        let mut hooks: Vec<Hook> = self.list(repository, "hooks").await?;
        hooks.retain(|hook| hook.points_at(url));
        // The oldest active one is the one that others rely on.
        hooks.sort_by_key(|hook| (!is_own(own, &hook.id), !hook.active, hook.id));
        let mut hooks = hooks.into_iter();
        Ok(hooks.next().map(|hook| FoundWebhook {
            doubles: hooks.map(|double| double.id.to_string()).collect(),
            created_at: hook.created_at,
            faults: hook.faults(&repository.branch),
            webhook: hook.fact(),
        }))
    }

    /// Of type `gitea`, which Forgejo knows too.
    ///
    /// <https://docs.gitea.com/api/#tag/repository/operation/repoCreateHook>
    async fn install_webhook(
        &self,
        repository: &Repository,
        url: &str,
    ) -> Result<InstalledWebhook, UpstreamError> {
        let (owner, name) = split(&repository.path);
        let hook = json!({
            "type": "gitea", "active": true, "events": EVENTS, "config": config(url),
        });
        let call = Call::post(["repos", owner, name, "hooks"]).json(&hook);
        let made: Hook = self.access.send(call).await?.json()?;
        Ok(InstalledWebhook {
            webhook: made.fact(),
            made: true,
        })
    }

    /// <https://docs.gitea.com/api/#tag/repository/operation/repoEditHook>
    async fn repair_webhook(
        &self,
        repository: &Repository,
        found: &FoundWebhook,
    ) -> Result<(), UpstreamError> {
        let Webhook { id, url } = &found.webhook;
        self.change(repository, id, url, |_| String::new()).await
    }

    /// <https://docs.gitea.com/api/#tag/repository/operation/repoEditHook>
    async fn move_webhook(
        &self,
        repository: &Repository,
        webhook: &Webhook,
        url: &str,
    ) -> Result<(), UpstreamError> {
        self.change(repository, &webhook.id, url, Hook::branches)
            .await
    }

    /// <https://docs.gitea.com/api/#tag/repository/operation/repoDeleteHook>
    async fn remove_webhook(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<bool, UpstreamError> {
        self.remove(repository, "hooks", &webhook.id).await
    }

    /// A test tells of the newest commit of the branch that is named.
    ///
    /// <https://docs.gitea.com/api/#tag/repository/operation/repoTestHook>
    async fn replay_push(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<Replay, UpstreamError> {
        let (owner, name) = split(&repository.path);
        let call = Call::post(["repos", owner, name, "hooks", &webhook.id, "tests"]);
        let call = call.query("ref", format!("refs/heads/{}", repository.branch));
        self.access.send(call).await.map(|_| Replay::Sent)
    }

    fn place_of_keys(&self, repository: &Repository) -> Place {
        settings_page(repository, "keys")
    }

    fn place_of_webhooks(&self, repository: &Repository) -> Place {
        settings_page(repository, "hooks")
    }

    fn webhook_events(&self) -> &'static [&'static str] {
        &EVENTS
    }

    /// The API tells nothing of deliveries.
    async fn last_delivery(
        &self,
        _: &Repository,
        _: &Webhook,
        _: DeliveryEvent,
    ) -> Result<Option<Delivery>, UpstreamError> {
        Ok(None)
    }

    /// <https://docs.gitea.com/api/#tag/user/operation/userGetCurrent>
    async fn identity(&self) -> Result<Identity, UpstreamError> {
        if self.access.is_anonymous() {
            return Ok(Identity::anybody());
        }
        let user: User = self.access.send(Call::get(["user"])).await?.json()?;
        Ok(Identity {
            login: user.login,
            scopes: None,
            expires_at: None,
            installations: None,
        })
    }
}

/// Owner and name; a path without a slash cannot exist and becomes a 404.
fn split(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

/// How many items a list has, where the server says so.
fn count(answer: &Answer) -> Option<usize> {
    answer.header("x-total-count")?.parse().ok()
}

/// What tells a key from others at a glance: the end of its modulus.
fn mark(public_key: &str) -> &str {
    let body = public_key
        .split_ascii_whitespace()
        .nth(1)
        .unwrap_or_default();
    let body = body.trim_end_matches('=');
    body.get(body.len().saturating_sub(8)..).unwrap_or(body)
}

fn config(url: &str) -> Value {
    json!({ "url": url, "content_type": "json" })
}

fn settings_page(repository: &Repository, page: &str) -> Place {
    Place {
        page: Some(format!("{}/settings/{page}", repository.web_url)),
        account: None,
    }
}

#[cfg(test)]
mod tests;
