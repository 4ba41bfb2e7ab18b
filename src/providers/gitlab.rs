//! GitLab: gitlab.com and self-managed, also below a path.
//!
//! A project is found by its path once and named by its number ever after: writes to an old path are refused with 405,
//! the number outlives renames and moves.
//!
//! <https://docs.gitlab.com/api/rest/>

mod answers;
mod refusals;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    Capabilities, Delivery, DeliveryEvent, FoundWebhook, Identity, InstalledWebhook, Look, Place,
    Provider, Replay, RepositoryKey, WebhookFault, is_own, removed, same_key,
};
use crate::{
    link::{
        facts::{Repository, Webhook},
        failure::FailureCode,
    },
    upstream::{Access, Call, Class, Credential, Dialect, Http, Instance, UpstreamError},
};
use answers::{Hook, Key, ProfileKey, Project, SentEvent, Token, User};

/// Most bytes of the list of deliveries: each of the twenty holds a whole payload.
const EVENTS_BYTES: usize = 16 * 1024 * 1024;

/// What can be done with a credential.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    installs_keys: true,
    finds_keys: true,
    installs_webhooks: true,
    site_has_own_webhook: false,
    refuses_double_webhooks: false,
    replays_pushes: true,
    reports_deliveries: true,
};

static DIALECT: Dialect = Dialect {
    accept: "application/json",
    headers: &[],
    classify: refusals::classify,
};

/// GitLab with one credential.
pub(super) struct Gitlab {
    access: Access,
}

impl Gitlab {
    pub(super) fn new(
        http: &Http,
        instance: Arc<Instance>,
        credential: Credential,
    ) -> Result<Self, UpstreamError> {
        let access = Access::new(http, instance, credential, &DIALECT)?;
        Ok(Self { access })
    }

    /// Whether the credential may manage keys and webhooks. The project names direct roles only: what comes by a
    /// shared group or by being an administrator shows in the list of keys, which only Maintainers may read.
    async fn check_rights(&self, project: &Project) -> Result<(), UpstreamError> {
        if project.is_maintained() {
            return Ok(());
        }
        let id = project.id.to_string();
        let call = Call::get(["projects", &id, "deploy_keys"]).query("per_page", "1");
        match self.access.send(call).await {
            Ok(_) => Ok(()),
            Err(mut error) => {
                if error.code == FailureCode::AdminRequired {
                    error.detail = project.lacking_role();
                    error.class = Class::Refused;
                }
                Err(error)
            }
        }
    }

    /// <https://docs.gitlab.com/api/branches/#get-single-repository-branch>
    async fn check_branch(&self, project: &Project, branch: &str) -> Result<(), UpstreamError> {
        let id = project.id.to_string();
        let call = Call::get(["projects", &id, "repository", "branches", branch]);
        let answer = self.access.send(call).await.map_err(|error| {
            let path = &project.path_with_namespace;
            let detail = format!("`{path}` has no branch `{branch}`.");
            error.if_missing(FailureCode::BranchMissing, detail)
        });
        answer.map(drop)
    }

    /// Whether the key sits in the profile of the person whose token this is: where people put it by mistake, and
    /// where it keeps the project from getting it.
    ///
    /// <https://docs.gitlab.com/api/user_keys/#list-all-your-ssh-keys>
    async fn is_in_profile(&self, public_key: &str) -> Result<bool, UpstreamError> {
        let call = Call::get(["user", "keys"]).query("per_page", "100");
        let keys: Vec<ProfileKey> = self.access.pages(call).await?;
        Ok(keys.iter().any(|own| same_key(&own.key, public_key)))
    }

    /// Why a key is refused as taken: GitLab's words are the same for another project and for somebody's profile.
    async fn why_taken(&self, refusal: UpstreamError, public_key: &str) -> UpstreamError {
        match self.is_in_profile(public_key).await {
            Ok(true) => UpstreamError {
                code: FailureCode::KeyInProfileNotProject,
                detail: "The deploy key is in the profile of the credential's user; there it keeps the project from having it.".into(),
                ..refusal
            },
            // Other people's profiles cannot be read; what GitLab said first is what is known.
            Ok(false) | Err(_) => refusal,
        }
    }

    async fn read_only(&self, repository: &Repository, key: Key) -> Result<Key, UpstreamError> {
        if key.is_read_only() {
            return Ok(key);
        }
        let id = key.id.to_string();
        let call = Call::put(["projects", &repository.id, "deploy_keys", &id]);
        let call = call.json(&json!({ "can_push": false }));
        self.access.send(call).await?;
        Ok(key.without_push())
    }

    async fn remove(
        &self,
        repository: &Repository,
        collection: &str,
        id: &str,
    ) -> Result<bool, UpstreamError> {
        let call = Call::delete(["projects", &repository.id, collection, id]);
        removed(
            self.access.send(call).await,
            self.is_ours_to_see(repository),
        )
        .await
    }

    /// A project that is not visible at all counts as gone, with everything in it.
    async fn is_ours_to_see(&self, repository: &Repository) -> Result<(), UpstreamError> {
        match self
            .access
            .send(Call::get(["projects", &repository.id]))
            .await
        {
            Ok(answer) => self.check_rights(&answer.json()?).await,
            Err(error) if error.is_missing() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// All webhooks of a project, by its path or number.
    ///
    /// <https://docs.gitlab.com/api/project_webhooks/#list-webhooks-for-a-project>
    async fn hooks(&self, project: &str) -> Result<Vec<Hook>, UpstreamError> {
        let call = Call::get(["projects", project, "hooks"]).query("per_page", "100");
        self.access.pages(call).await
    }

    async fn put_hook(
        &self,
        repository: &Repository,
        id: &str,
        change: &Value,
    ) -> Result<(), UpstreamError> {
        let call = Call::put(["projects", &repository.id, "hooks", id]).json(change);
        self.access.send(call).await.map(drop)
    }

    /// Has GitLab send a push through the webhook; answered when the delivery has ended.
    ///
    /// <https://docs.gitlab.com/api/project_webhooks/#trigger-a-test-project-webhook>
    async fn test(&self, repository: &Repository, webhook: &Webhook) -> Result<(), UpstreamError> {
        let (project, hook) = (&repository.id, &webhook.id);
        let call = Call::post(["projects", project, "hooks", hook, "test", "push_events"]);
        self.access.send(call).await.map(drop)
    }

    /// What a token says of itself. OAuth tokens are none of those that can be asked so: unknown, not refused.
    ///
    /// <https://docs.gitlab.com/api/personal_access_tokens/#self-inform>
    async fn token(&self) -> Result<Option<Token>, UpstreamError> {
        let call = Call::get(["personal_access_tokens", "self"]);
        match self.access.send(call).await {
            Ok(answer) => answer.json().map(Some),
            Err(error) if matches!(error.class, Class::NotFound | Class::Refused) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Provider for Gitlab {
    fn capabilities(&self) -> Capabilities {
        match self.access.is_anonymous() {
            true => Capabilities::BY_HAND,
            false => CAPABILITIES,
        }
    }

    fn now(&self) -> OffsetDateTime {
        self.access.upstream_now()
    }

    /// <https://docs.gitlab.com/api/projects/#retrieve-a-project>
    async fn resolve(&self, path: &str, branch: Option<&str>) -> Result<Repository, UpstreamError> {
        let answer = self.access.send(Call::get(["projects", path])).await?;
        let project: Project = answer.json()?;
        project.check_state(&answer)?;
        if !self.access.is_anonymous() {
            self.check_rights(&project).await?;
        }
        let default = project.default_branch(&answer)?;
        if let Some(branch) = branch.filter(|branch| *branch != default) {
            self.check_branch(&project, branch).await?;
        }
        let branch = branch.unwrap_or(default).to_owned();
        project.into_repository(&self.access.instance().host, branch, &answer)
    }

    async fn resolve_and_look(
        &self,
        path: &str,
        branch: Option<&str>,
        url: &str,
    ) -> Result<(Repository, Look), UpstreamError> {
        if self.access.is_anonymous() {
            return Ok((self.resolve(path, branch).await?, Look::Unknown));
        }
        let (repository, hooks) = tokio::join!(self.resolve(path, branch), self.hooks(path));
        let is_there = hooks.map(|hooks| hooks.iter().any(|hook| hook.points_at(url)));
        Ok((repository?, Look::of(is_there)))
    }

    /// <https://docs.gitlab.com/api/deploy_keys/#list-deploy-keys-for-project>
    async fn find_key(
        &self,
        repository: &Repository,
        public_key: &str,
    ) -> Result<Option<RepositoryKey>, UpstreamError> {
        let call = Call::get(["projects", &repository.id, "deploy_keys"]).query("per_page", "100");
        let keys: Vec<Key> = self.access.pages(call).await?;
        let found = keys.into_iter().find(|key| same_key(&key.key, public_key));
        let now = self.access.upstream_now();
        Ok(found.map(|key| key.into_repository_key(now)))
    }

    /// A key that the project has already is answered with 201 like a new one, with its old title and rights.
    ///
    /// <https://docs.gitlab.com/api/deploy_keys/#add-deploy-key>
    async fn install_key(
        &self,
        repository: &Repository,
        title: &str,
        public_key: &str,
    ) -> Result<RepositoryKey, UpstreamError> {
        let key = json!({ "title": title, "key": public_key, "can_push": false });
        let call = Call::post(["projects", &repository.id, "deploy_keys"]).json(&key);
        let answer = match self.access.send(call).await {
            Err(error) if error.code == FailureCode::KeyInUseElsewhere => {
                return Err(self.why_taken(error, public_key).await);
            }
            other => other?,
        };
        let key = self.read_only(repository, answer.json()?).await?;
        Ok(key.into_repository_key(self.access.upstream_now()))
    }

    /// <https://docs.gitlab.com/api/deploy_keys/#delete-deploy-key>
    async fn remove_key(&self, repository: &Repository, id: &str) -> Result<bool, UpstreamError> {
        self.remove(repository, "deploy_keys", id).await
    }

    async fn is_key_in_profile(&self, public_key: &str) -> Result<Option<bool>, UpstreamError> {
        self.is_in_profile(public_key).await.map(Some)
    }

    async fn webhook_address(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<Option<String>, UpstreamError> {
        let hooks = self.hooks(&repository.id).await?;
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
        let mut hooks = self.hooks(&repository.id).await?;
        hooks.retain(|hook| hook.points_at(url));
        // The oldest that works is the one that others rely on.
        hooks.sort_by_key(|hook| (!is_own(own, &hook.id), !hook.is_active(), hook.id));
        let mut hooks = hooks.into_iter();
        Ok(hooks.next().map(|hook| FoundWebhook {
            doubles: hooks.map(|double| double.id.to_string()).collect(),
            created_at: hook.created_at,
            faults: hook.faults(&repository.branch),
            webhook: hook.fact(),
        }))
    }

    /// Without a `token`: Netlify expects none.
    ///
    /// <https://docs.gitlab.com/api/project_webhooks/#add-a-webhook-to-a-project>
    async fn install_webhook(
        &self,
        repository: &Repository,
        url: &str,
    ) -> Result<InstalledWebhook, UpstreamError> {
        let mut hook = needed(url);
        hook["name"] = json!("Netlify");
        hook["tag_push_events"] = json!(false);
        hook["issues_events"] = json!(false);
        let call = Call::post(["projects", &repository.id, "hooks"]).json(&hook);
        let made: Hook = self.access.send(call).await?.json()?;
        Ok(InstalledWebhook {
            webhook: made.fact(),
            made: true,
        })
    }

    /// A webhook that GitLab has switched off after failures comes back by a delivery that succeeds, and by nothing
    /// else; so it gets one.
    ///
    /// <https://docs.gitlab.com/user/project/integrations/webhooks/#re-enable-disabled-webhooks>
    async fn repair_webhook(
        &self,
        repository: &Repository,
        found: &FoundWebhook,
    ) -> Result<(), UpstreamError> {
        let is_off = |fault: &WebhookFault| *fault == WebhookFault::Inactive;
        if !found.faults.iter().all(is_off) {
            let change = needed(&found.webhook.url);
            self.put_hook(repository, &found.webhook.id, &change)
                .await?;
        }
        match found.faults.iter().any(is_off) {
            true => self.test(repository, &found.webhook).await,
            false => Ok(()),
        }
    }

    /// <https://docs.gitlab.com/api/project_webhooks/#edit-a-project-webhook>
    async fn move_webhook(
        &self,
        repository: &Repository,
        webhook: &Webhook,
        url: &str,
    ) -> Result<(), UpstreamError> {
        self.put_hook(repository, &webhook.id, &json!({ "url": url }))
            .await
    }

    /// <https://docs.gitlab.com/api/project_webhooks/#delete-a-project-webhook>
    async fn remove_webhook(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<bool, UpstreamError> {
        self.remove(repository, "hooks", &webhook.id).await
    }

    /// GitLab's test tells of the newest commit of the default branch, whatever branch was pushed last.
    async fn replay_push(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<Replay, UpstreamError> {
        let answer = self
            .access
            .send(Call::get(["projects", &repository.id]))
            .await?;
        let project: Project = answer.json()?;
        if project.default_branch(&answer)? != repository.branch {
            return Ok(Replay::OtherBranch);
        }
        self.test(repository, webhook).await?;
        Ok(Replay::Sent)
    }

    fn place_of_keys(&self, repository: &Repository) -> Place {
        page(repository, "settings/repository#js-deploy-keys-settings")
    }

    fn place_of_webhooks(&self, repository: &Repository) -> Place {
        page(repository, "hooks")
    }

    fn webhook_events(&self) -> &'static [&'static str] {
        &["push_events", "merge_requests_events"]
    }

    /// Kept for a week, since GitLab 17.3; older servers have no such list. There is no greeting.
    ///
    /// <https://docs.gitlab.com/api/project_webhooks/#list-events-for-a-project-webhook>
    async fn last_delivery(
        &self,
        repository: &Repository,
        webhook: &Webhook,
        event: DeliveryEvent,
    ) -> Result<Option<Delivery>, UpstreamError> {
        if event == DeliveryEvent::Ping {
            return Ok(None);
        }
        let call = Call::get(["projects", &repository.id, "hooks", &webhook.id, "events"]);
        let call = call.query("per_page", "20").answer_bytes(EVENTS_BYTES);
        let sent: Vec<SentEvent> = match self.access.send(call).await {
            Err(error) if error.is_missing() => return Ok(None),
            answer => answer?.json()?,
        };
        let mut pushes = sent.into_iter().filter(SentEvent::is_push);
        Ok(pushes.next().map(Into::into))
    }

    /// <https://docs.gitlab.com/api/users/#retrieve-the-current-user>
    async fn identity(&self) -> Result<Identity, UpstreamError> {
        if self.access.is_anonymous() {
            return Ok(Identity::anybody());
        }
        let user: User = self.access.send(Call::get(["user"])).await?.json()?;
        let token = self.token().await?;
        let (scopes, expires_at) = token.map_or((None, None), Token::into_facts);
        Ok(Identity {
            login: user.username,
            scopes,
            expires_at,
            installations: None,
        })
    }
}

fn page(repository: &Repository, page: &str) -> Place {
    Place {
        page: Some(format!("{}/-/{page}", repository.web_url)),
        account: None,
    }
}

/// What a webhook must be to serve Netlify; every change has to name the address again. Branch deletions come as
/// pushes, and all branches have to: which of them are built is Netlify's business.
fn needed(url: &str) -> Value {
    json!({
        "url": url,
        "push_events": true,
        "merge_requests_events": true,
        "enable_ssl_verification": true,
        "branch_filter_strategy": "all_branches",
    })
}

#[cfg(test)]
mod tests;
