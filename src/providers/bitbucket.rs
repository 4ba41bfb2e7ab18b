//! Bitbucket Cloud: bitbucket.org. (Bitbucket Data Center is another product and is linked as `manual`.)
//!
//! Calls name a repository by its workspace and its `{uuid}`, which outlives a rename of the repository; Netlify knows
//! it as `workspace/slug`. Bitbucket sends no push again and shows no deliveries by API: only the next real push
//! proves a link.
//!
//! <https://developer.atlassian.com/cloud/bitbucket/rest/>

mod answers;
mod refusals;

use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    Capabilities, Delivery, DeliveryEvent, FoundWebhook, Identity, InstalledWebhook, Look,
    Provider, Replay, RepositoryKey, is_own, same_key,
};
use crate::{
    link::{
        facts::{Repository, Webhook},
        failure::FailureCode,
    },
    upstream::{Access, Call, Class, Credential, Dialect, Http, Instance, UpstreamError},
};
use answers::{Hook, Key, Permission, Repo, User, open_page, scopes};

/// What can be done with a credential: there is no test and no log of deliveries.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    installs_keys: true,
    finds_keys: true,
    installs_webhooks: true,
    site_has_own_webhook: false,
    refuses_double_webhooks: false,
    replays_pushes: false,
    reports_deliveries: false,
};

/// What Netlify needs to hear, by analogy with GitHub; `repo:push` tells about deleted branches too.
const EVENTS: [&str; 5] = [
    "repo:push",
    "pullrequest:created",
    "pullrequest:updated",
    "pullrequest:fulfilled",
    "pullrequest:rejected",
];

/// Largest page that Bitbucket gives.
const PAGE: &str = "100";

static DIALECT: Dialect = Dialect {
    accept: "application/json",
    headers: &[],
    classify: refusals::classify,
};

/// Bitbucket Cloud with one credential.
pub(super) struct Bitbucket {
    access: Access,
    /// An API token acts for a person; an access token belongs to a repository, project or workspace, and what asks
    /// for the person behind it is refused.
    is_person: bool,
}

impl Bitbucket {
    pub(super) fn new(
        http: &Http,
        instance: Arc<Instance>,
        credential: Credential,
    ) -> Result<Self, UpstreamError> {
        Ok(Self {
            is_person: matches!(credential, Credential::Basic { .. }),
            access: Access::new(http, instance, credential, &DIALECT)?,
        })
    }

    async fn read(&self, path: &str) -> Result<Repo, UpstreamError> {
        let (workspace, slug) = split(path);
        let call = Call::get(["repositories", workspace, slug]);
        let answer = self.access.send(call).await?;
        let repo: Repo = answer.json()?;
        repo.check_scopes(&answer)?;
        Ok(repo)
    }

    /// Whether the person administers the repository; `None`: Bitbucket does not say.
    ///
    /// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-repositories/#api-user-permissions-repositories-get>
    async fn is_admin(&self, path: &str) -> Result<Option<bool>, UpstreamError> {
        if !self.is_person {
            return Ok(None);
        }
        let call = Call::get(["user", "permissions", "repositories"])
            .query("q", format!("repository.full_name=\"{path}\""));
        match self.list::<Permission>(call).await {
            Ok(found) => Ok(Some(found.iter().any(Permission::is_admin))),
            // Atlassian is about to replace this call, and not every token may make it.
            Err(error) if matches!(error.class, Class::Refused | Class::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Nothing but the branch's exact name answers.
    ///
    /// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-refs/#api-repositories-workspace-repo-slug-refs-branches-name-get>
    async fn check_branch(&self, path: &str, branch: &str) -> Result<(), UpstreamError> {
        let (workspace, slug) = split(path);
        let call = Call::get(["repositories", workspace, slug, "refs", "branches", branch]);
        let detail = format!("`{path}` has no branch `{branch}`.");
        let answer = self.access.send(call).await;
        answer
            .map(drop)
            .map_err(|error| error.if_missing(FailureCode::BranchMissing, detail))
    }

    /// The repository as a fact, if this credential can link it.
    async fn linkable(
        &self,
        repo: Repo,
        is_admin: Option<bool>,
        branch: Option<&str>,
    ) -> Result<Repository, UpstreamError> {
        if is_admin == Some(false) {
            let detail = format!(
                "The credential has no admin rights on `{}`.",
                repo.full_name
            );
            return Err(self.access.unsent(FailureCode::AdminRequired, detail));
        }
        let Some(main) = repo.main_branch() else {
            let detail = format!("`{}` has no commits yet.", repo.full_name);
            return Err(self.access.unsent(FailureCode::RepositoryEmpty, detail));
        };
        let wanted = branch.unwrap_or(main);
        if wanted != main {
            self.check_branch(&repo.full_name, wanted).await?;
        }
        let branch = wanted.to_owned();
        Ok(repo.fact(self.access.instance(), branch))
    }

    async fn hooks(&self, workspace: &str, slug: &str) -> Result<Vec<Hook>, UpstreamError> {
        let call = Call::get(["repositories", workspace, slug, "hooks"]);
        self.list(call).await
    }

    async fn list<T: DeserializeOwned>(&self, call: Call) -> Result<Vec<T>, UpstreamError> {
        self.access
            .pages_by(call.query("pagelen", PAGE), open_page)
            .await
    }

    /// Absent counts as removed: who may not remove is told so by 403.
    async fn remove(
        &self,
        repository: &Repository,
        collection: &str,
        id: &str,
    ) -> Result<bool, UpstreamError> {
        let (workspace, uuid) = address(repository);
        let call = Call::delete(["repositories", workspace, uuid, collection, id]);
        match self.access.send(call).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A PUT replaces all of a webhook (its secret, when left out, stays): what others want from it is read first.
    ///
    /// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-repositories/#api-repositories-workspace-repo-slug-hooks-uid-put>
    async fn rewrite_webhook(
        &self,
        repository: &Repository,
        id: &str,
        url: &str,
    ) -> Result<(), UpstreamError> {
        let (workspace, uuid) = address(repository);
        let place = ["repositories", workspace, uuid, "hooks", id];
        let hook: Hook = self.access.send(Call::get(place)).await?.json()?;
        let body = webhook(url, hook.description(), &hook.all_events());
        self.access
            .send(Call::put(place).json(&body))
            .await
            .map(drop)
    }

    fn cannot(&self, what: &str) -> UpstreamError {
        let detail = format!("Bitbucket {what} by API; the next push proves the link.");
        self.access.unsent(FailureCode::PushUnverified, detail)
    }
}

#[async_trait]
impl Provider for Bitbucket {
    fn capabilities(&self) -> Capabilities {
        match self.access.is_anonymous() {
            true => Capabilities::BY_HAND,
            false => CAPABILITIES,
        }
    }

    fn now(&self) -> OffsetDateTime {
        self.access.upstream_now()
    }

    /// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-repositories/#api-repositories-workspace-repo-slug-get>
    async fn resolve(&self, path: &str, branch: Option<&str>) -> Result<Repository, UpstreamError> {
        let (repo, is_admin) = tokio::join!(self.read(path), self.is_admin(path));
        let repo = repo?;
        let is_admin = match repo.full_name.eq_ignore_ascii_case(path) {
            true => is_admin?,
            // Renamed, or named by its `{uuid}`: rights are found by the present name alone.
            false => self.is_admin(&repo.full_name).await?,
        };
        self.linkable(repo, is_admin, branch).await
    }

    /// Bitbucket shows webhooks to administrators alone, so that a look at them tells the rights, too.
    async fn resolve_and_look(
        &self,
        path: &str,
        branch: Option<&str>,
        url: &str,
    ) -> Result<(Repository, Look), UpstreamError> {
        if self.access.is_anonymous() {
            return Ok((self.resolve(path, branch).await?, Look::Unknown));
        }
        let (workspace, slug) = split(path);
        let (repo, hooks) = tokio::join!(self.read(path), self.hooks(workspace, slug));
        let repo = repo?;
        let is_admin = match hooks {
            Ok(_) => Some(true),
            Err(_) => self.is_admin(&repo.full_name).await?,
        };
        let is_there = hooks.map(|hooks| hooks.iter().any(|hook| hook.points_at(url)));
        let repository = self.linkable(repo, is_admin, branch).await?;
        Ok((repository, Look::of(is_there)))
    }

    /// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-deployments/#api-repositories-workspace-repo-slug-deploy-keys-get>
    async fn find_key(
        &self,
        repository: &Repository,
        public_key: &str,
    ) -> Result<Option<RepositoryKey>, UpstreamError> {
        let (workspace, uuid) = address(repository);
        let call = Call::get(["repositories", workspace, uuid, "deploy-keys"]);
        let keys: Vec<Key> = self.list(call).await?;
        let found = keys.into_iter().find(|key| same_key(&key.key, public_key));
        Ok(found.map(Into::into))
    }

    /// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-deployments/#api-repositories-workspace-repo-slug-deploy-keys-post>
    async fn install_key(
        &self,
        repository: &Repository,
        title: &str,
        public_key: &str,
    ) -> Result<RepositoryKey, UpstreamError> {
        let (workspace, uuid) = address(repository);
        let call = Call::post(["repositories", workspace, uuid, "deploy-keys"]);
        let call = call.json(&json!({ "key": public_key, "label": title }));
        let key: Key = self.access.send(call).await?.json()?;
        Ok(key.into())
    }

    /// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-deployments/#api-repositories-workspace-repo-slug-deploy-keys-key-id-delete>
    async fn remove_key(&self, repository: &Repository, id: &str) -> Result<bool, UpstreamError> {
        self.remove(repository, "deploy-keys", id).await
    }

    /// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-repositories/#api-repositories-workspace-repo-slug-hooks-get>
    async fn webhook_address(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<Option<String>, UpstreamError> {
        let (workspace, uuid) = address(repository);
        let hooks = self.hooks(workspace, uuid).await?;
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
        let (workspace, uuid) = address(repository);
        let mut hooks = self.hooks(workspace, uuid).await?;
        hooks.retain(|hook| hook.points_at(url));
        // The oldest active one is the one that others rely on.
        hooks.sort_by_key(|hook| (!is_own(own, &hook.uuid), !hook.active, hook.created_at));
        let mut hooks = hooks.into_iter();
        Ok(hooks.next().map(|hook| FoundWebhook {
            doubles: hooks.map(|double| double.uuid).collect(),
            created_at: hook.created_at,
            faults: hook.faults(),
            webhook: hook.fact(),
        }))
    }

    /// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-repositories/#api-repositories-workspace-repo-slug-hooks-post>
    async fn install_webhook(
        &self,
        repository: &Repository,
        url: &str,
    ) -> Result<InstalledWebhook, UpstreamError> {
        let (workspace, uuid) = address(repository);
        let call = Call::post(["repositories", workspace, uuid, "hooks"]);
        let call = call.json(&webhook(url, "Netlify", &EVENTS));
        let hook: Hook = self.access.send(call).await?.json()?;
        Ok(InstalledWebhook {
            webhook: hook.fact(),
            made: true,
        })
    }

    async fn repair_webhook(
        &self,
        repository: &Repository,
        found: &FoundWebhook,
    ) -> Result<(), UpstreamError> {
        self.rewrite_webhook(repository, &found.webhook.id, &found.webhook.url)
            .await
    }

    async fn move_webhook(
        &self,
        repository: &Repository,
        webhook: &Webhook,
        url: &str,
    ) -> Result<(), UpstreamError> {
        self.rewrite_webhook(repository, &webhook.id, url).await
    }

    /// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-repositories/#api-repositories-workspace-repo-slug-hooks-uid-delete>
    async fn remove_webhook(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<bool, UpstreamError> {
        self.remove(repository, "hooks", &webhook.id).await
    }

    async fn replay_push(&self, _: &Repository, _: &Webhook) -> Result<Replay, UpstreamError> {
        Err(self.cannot("sends no push again"))
    }

    async fn last_delivery(
        &self,
        _: &Repository,
        _: &Webhook,
        _: DeliveryEvent,
    ) -> Result<Option<Delivery>, UpstreamError> {
        Err(self.cannot("shows no deliveries"))
    }

    /// <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-users/#api-user-get>
    async fn identity(&self) -> Result<Identity, UpstreamError> {
        if self.access.is_anonymous() {
            return Ok(Identity::anybody());
        }
        match self.access.send(Call::get(["user"])).await {
            Ok(answer) => Ok(Identity {
                login: answer.json::<User>()?.name(),
                scopes: scopes(&answer),
                expires_at: None,
                installations: None,
            }),
            // Known to Bitbucket, or this would be 401, and nobody's.
            Err(error) if error.code == FailureCode::ScopeMissing && !self.is_person => {
                Ok(Identity {
                    login: "access token of a repository, project or workspace".to_owned(),
                    scopes: None,
                    expires_at: None,
                    installations: None,
                })
            }
            Err(error) => Err(error),
        }
    }
}

/// Workspace and slug; a path without a slash cannot exist and becomes Bitbucket's 404.
fn split(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

/// Workspace and `{uuid}`: what calls name a known repository by.
fn address(repository: &Repository) -> (&str, &str) {
    (split(&repository.path).0, &repository.id)
}

/// All of a webhook as Bitbucket is to have it; bodies are always JSON.
fn webhook(url: &str, description: &str, events: &[impl AsRef<str>]) -> Value {
    let events: Vec<_> = events.iter().map(AsRef::as_ref).collect();
    json!({
        "description": description,
        "url": url,
        "active": true,
        "skip_cert_verification": false,
        "events": events,
    })
}

#[cfg(test)]
mod tests;
