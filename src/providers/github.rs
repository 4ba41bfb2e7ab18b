//! GitHub: github.com, GitHub Enterprise Server and GHE.com.
//!
//! <https://docs.github.com/en/rest?apiVersion=2022-11-28>

mod answers;
mod door;
mod refusals;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    Capabilities, Delivery, DeliveryEvent, FoundWebhook, Identity, InstalledWebhook, Place,
    Provider, Replay, RepositoryKey, Webhooks, is_gone, is_own, removed, same_key, same_repository,
};
use crate::{
    link::{
        facts::{Repository, Webhook},
        failure::FailureCode,
        installation::Installation,
    },
    upstream::{Access, Answer, Call, Class, Credential, Dialect, Http, Instance, UpstreamError},
};
use answers::{
    App, AppInstallation, AppInstallations, GitRef, Hook, Key, Repo, SentDelivery, User, scopes,
    token_expiry,
};
use door::Door;

/// By each of these a classic token reads an organisation's settings, if its person is an owner.
const OWNERS_SCOPES: [&str; 3] = ["admin:org", "write:org", "read:org"];

/// What Netlify's own tools subscribe to.
const EVENTS: [&str; 3] = ["push", "pull_request", "delete"];
/// GitHub refuses more webhooks of a repository for the same event: `The "push" event cannot have more than 20 hooks`.
const HOOKS_PER_EVENT: usize = 20;

/// What can be done with a credential.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    installs_keys: true,
    finds_keys: true,
    installs_webhooks: true,
    site_has_own_webhook: false,
    refuses_double_webhooks: true,
    replays_pushes: true,
    reports_deliveries: true,
};

static DIALECT: Dialect = Dialect {
    accept: "application/vnd.github+json",
    headers: &[("X-GitHub-Api-Version", "2022-11-28")],
    classify: refusals::classify,
};

/// GitHub with one credential.
pub(super) struct Github {
    door: Door,
    /// What the token may do, as far as GitHub said so when the repository was read.
    scopes: OnceLock<Vec<String>>,
}

impl Github {
    pub(super) fn new(
        http: &Http,
        instance: Arc<Instance>,
        credential: Credential,
    ) -> Result<Self, UpstreamError> {
        let door = Door::new(http, instance, credential)?;
        let scopes = OnceLock::new();
        Ok(Self { door, scopes })
    }

    /// Whether the branch has a commit. The ref is asked for, not the branch: it answers for the exact name only,
    /// where `/branches/` follows renames, and it tells an empty repository apart.
    ///
    /// <https://docs.github.com/en/rest/git/refs#get-a-reference>
    async fn check_branch(&self, path: &str, branch: &str) -> Result<(), UpstreamError> {
        let (owner, name) = split(path);
        let reference = format!("heads/{branch}");
        let call = Call::get(["repos", owner, name, "git", "ref", &reference]);
        let answer = self.door.send(path, call).await.map_err(|error| {
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

    async fn keys(&self, repository: &Repository) -> Result<Vec<Key>, UpstreamError> {
        let (owner, name) = split(&repository.path);
        let call = Call::get(["repos", owner, name, "keys"]).query("per_page", "100");
        self.door.pages(&repository.path, call).await
    }

    async fn hooks(&self, repository: &Repository) -> Result<Vec<Hook>, UpstreamError> {
        let (owner, name) = split(&repository.path);
        let call = Call::get(["repos", owner, name, "hooks"]).query("per_page", "100");
        self.door.pages(&repository.path, call).await
    }

    /// A known repository as it is now; GitHub leads to it from its former name until another one takes that.
    async fn read(&self, repository: &Repository) -> Result<(Repo, Answer), UpstreamError> {
        let (owner, name) = split(&repository.path);
        let call = Call::get(["repos", owner, name]);
        let answer = self.door.send(&repository.path, call).await?;
        let repo: Repo = answer.json()?;
        same_repository(repository, repo.id, &answer)?;
        Ok((repo, answer))
    }

    /// After a 404 on a removal: absent, or no longer ours to see? One read tells. A repository that is not visible
    /// at all counts as gone, with everything in it, also when another one has its name: then its id tells, by the address that GitHub's
    /// redirects lead to.
    async fn settle_absence(&self, repository: &Repository) -> Result<(), UpstreamError> {
        match self.read(repository).await {
            Ok((repo, answer)) => self.door.check_rights(&repo, &answer).await,
            Err(error) if error.is_missing() => Ok(()),
            Err(error) if error.code == FailureCode::RepositoryReplaced => {
                let by_id = Call::get(["repositories", &repository.id]);
                is_gone(self.door.send(&repository.path, by_id).await, error)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether asking what only an owner of an organisation may know is worth a call: not with a token that GitHub has said to
    /// lack the scope, and not as an app.
    fn may_be_owners(&self) -> bool {
        let of_owners = |scope: &String| OWNERS_SCOPES.contains(&scope.as_str());
        let told = self.scopes.get().filter(|scopes| !scopes.is_empty());
        matches!(self.door, Door::Own(_)) && told.is_none_or(|scopes| scopes.iter().any(of_owners))
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
            self.door.send(&repository.path, call).await,
            self.settle_absence(repository),
        )
        .await
    }
}

#[async_trait]
impl Provider for Github {
    fn capabilities(&self) -> Capabilities {
        match self.door.own().is_anonymous() {
            true => Capabilities::BY_HAND,
            false => CAPABILITIES,
        }
    }

    fn now(&self) -> OffsetDateTime {
        self.door.own().upstream_now()
    }

    /// <https://docs.github.com/en/rest/repos/repos#get-a-repository>
    async fn resolve(&self, path: &str, branch: Option<&str>) -> Result<Repository, UpstreamError> {
        let (owner, name) = split(path);
        let answer = self
            .door
            .send(path, Call::get(["repos", owner, name]))
            .await?;
        let repo: Repo = answer.json()?;
        self.scopes
            .get_or_init(|| scopes(&answer).unwrap_or_default());
        repo.check_state(&answer)?;
        self.door.check_rights(&repo, &answer).await?;
        let wanted = branch.unwrap_or(&repo.default_branch);
        // A size of 0 is an empty repository, or one so new that GitHub has not measured it yet.
        if wanted != repo.default_branch || repo.size == Some(0) {
            self.check_branch(&repo.full_name, wanted).await?;
        }
        Ok(Repository {
            host: self.door.own().instance().host.clone(),
            branch: wanted.to_owned(),
            id: repo.id.to_string(),
            path: repo.full_name,
            web_url: repo.html_url,
            ssh_url: repo.ssh_url,
            private: repo.private,
        })
    }

    /// <https://docs.github.com/en/rest/repos/repos#get-a-repository>
    async fn check_name(&self, repository: &Repository) -> Result<(), UpstreamError> {
        self.read(repository).await.map(drop)
    }

    /// <https://docs.github.com/en/rest/deploy-keys/deploy-keys#list-deploy-keys>
    async fn find_key(
        &self,
        repository: &Repository,
        public_key: &str,
    ) -> Result<Option<RepositoryKey>, UpstreamError> {
        let keys = self.keys(repository).await?;
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
        let key: Key = self.door.send(&repository.path, call).await?.json()?;
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
        own: Option<&str>,
    ) -> Result<Option<FoundWebhook>, UpstreamError> {
        Ok(find(self.hooks(repository).await?, url, own))
    }

    async fn webhook_address(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<Option<String>, UpstreamError> {
        let hooks = self.hooks(repository).await?;
        let mut hooks = hooks.into_iter().map(Hook::fact);
        let own = hooks.find(|hook| hook.id == webhook.id);
        Ok(own.map(|hook| hook.url))
    }

    async fn webhooks(
        &self,
        repository: &Repository,
        url: &str,
    ) -> Result<Webhooks, UpstreamError> {
        let hooks = self.hooks(repository).await?;
        let hear_pushes = hooks.iter().filter(|hook| hook.hears("push")).count();
        Ok(Webhooks {
            found: find(hooks, url, None),
            room: Some(HOOKS_PER_EVENT.saturating_sub(hear_pushes)),
        })
    }

    /// An organisation that has switched deploy keys off shows it at the keys that were there before; without any,
    /// nothing shows it.
    async fn takes_keys(&self, repository: &Repository) -> Result<Option<bool>, UpstreamError> {
        let keys = self.keys(repository).await?;
        Ok(keys.iter().filter_map(|key| key.enabled).min())
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
        let refusal = match self.door.send(&repository.path, call).await {
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
        let found = self
            .find_webhook(repository, url, None)
            .await?
            .ok_or(refusal)?;
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
        self.door.send(&repository.path, call).await.map(drop)
    }

    /// <https://docs.github.com/en/rest/repos/webhooks#update-a-repository-webhook>
    async fn move_webhook(
        &self,
        repository: &Repository,
        webhook: &Webhook,
        url: &str,
    ) -> Result<(), UpstreamError> {
        let (owner, name) = split(&repository.path);
        let change = json!({ "config": config(url) });
        let call = Call::patch(["repos", owner, name, "hooks", &webhook.id]).json(&change);
        self.door.send(&repository.path, call).await.map(drop)
    }

    /// <https://docs.github.com/en/rest/repos/webhooks#delete-a-repository-webhook>
    async fn remove_webhook(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<bool, UpstreamError> {
        self.remove(repository, "hooks", &webhook.id).await
    }

    /// <https://docs.github.com/en/rest/repos/webhooks#test-the-push-repository-webhook>
    async fn replay_push(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<Replay, UpstreamError> {
        let (owner, name) = split(&repository.path);
        let call = Call::post(["repos", owner, name, "hooks", &webhook.id, "tests"]);
        self.door
            .send(&repository.path, call)
            .await
            .map(|_| Replay::Sent)
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
            .door
            .send(&repository.path, call.query("per_page", "100"))
            .await?
            .json()?;
        let word = match event {
            DeliveryEvent::Ping => "ping",
            DeliveryEvent::Push => "push",
        };
        let newest = sent.into_iter().find(|delivery| delivery.event == word);
        Ok(newest.map(Into::into))
    }

    fn place_of_keys(&self, repository: &Repository) -> Place {
        settings_page(repository, "keys/new")
    }

    fn place_of_webhooks(&self, repository: &Repository) -> Place {
        settings_page(repository, "hooks/new")
    }

    fn webhook_events(&self) -> &'static [&'static str] {
        &EVENTS
    }

    /// Only an owner of an organisation may ask; of a person's account nobody can.
    ///
    /// <https://docs.github.com/en/rest/orgs/orgs#list-app-installations-for-an-organization>
    async fn installations(
        &self,
        repository: &Repository,
        app: &str,
    ) -> Result<Option<Vec<Installation>>, UpstreamError> {
        if !self.may_be_owners() {
            return Ok(None);
        }
        let (owner, _) = split(&repository.path);
        let call = Call::get(["orgs", owner, "installations"]).query("per_page", "100");
        let answer = match self.door.send(&repository.path, call).await {
            Ok(answer) => answer,
            Err(error) if matches!(error.class, Class::NotFound | Class::Refused) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let all: AppInstallations = answer.json()?;
        // One that is on a later page would be taken for absent.
        Ok(answer.next_page().is_none().then(|| all.of_app(app)))
    }

    /// <https://docs.github.com/en/rest/git/refs#get-a-reference>
    async fn branch_head(&self, repository: &Repository) -> Result<Option<String>, UpstreamError> {
        let (owner, name) = split(&repository.path);
        let reference = format!("heads/{}", repository.branch);
        let call = Call::get(["repos", owner, name, "git", "ref", &reference]);
        match self.door.send(&repository.path, call).await {
            Ok(answer) => Ok(Some(answer.json::<GitRef>()?.object.sha)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn identity(&self) -> Result<Identity, UpstreamError> {
        match &self.door {
            Door::Own(access) if access.is_anonymous() => Ok(Identity::anybody()),
            Door::Own(access) => person(access).await,
            Door::App(_) => app(&self.door).await,
        }
    }
}

/// <https://docs.github.com/en/rest/users/users#get-the-authenticated-user>
async fn person(access: &Access) -> Result<Identity, UpstreamError> {
    let answer = access.send(Call::get(["user"])).await?;
    let user: User = answer.json()?;
    Ok(Identity {
        login: user.login,
        scopes: scopes(&answer),
        expires_at: answer
            .header("github-authentication-token-expiration")
            .and_then(token_expiry),
        installations: None,
    })
}

/// <https://docs.github.com/en/rest/apps/apps#get-the-authenticated-app>
async fn app(door: &Door) -> Result<Identity, UpstreamError> {
    let access = door.own();
    let installations = Call::get(["app", "installations"]).query("per_page", "100");
    let (answer, installations) = tokio::try_join!(
        access.send(Call::get(["app"])),
        access.pages::<AppInstallation>(installations)
    )?;
    if let Some(id) = door.installation()
        && installations.iter().all(|known| known.id != id)
    {
        let detail = format!("The GitHub App has no installation {id}.");
        return Err(answer.refused(FailureCode::AppNotInstalled, detail));
    }
    let app: App = answer.json()?;
    let permission = |(name, level): (String, String)| format!("{name}:{level}");
    Ok(Identity {
        login: app.name,
        scopes: Some(app.permissions.into_iter().map(permission).collect()),
        expires_at: None,
        installations: Some(installations.into_iter().map(Into::into).collect()),
    })
}

/// The webhook with this address among all of a repository's.
fn find(mut hooks: Vec<Hook>, url: &str, own: Option<&str>) -> Option<FoundWebhook> {
    hooks.retain(|hook| hook.points_at(url));
    // The oldest active one is the one that others rely on.
    hooks.sort_by_key(|hook| (!is_own(own, &hook.id), !hook.active, hook.id));
    let mut hooks = hooks.into_iter();
    hooks.next().map(|hook| FoundWebhook {
        doubles: hooks.map(|double| double.id.to_string()).collect(),
        created_at: hook.created_at,
        faults: hook.faults(),
        webhook: hook.fact(),
    })
}

fn settings_page(repository: &Repository, page: &str) -> Place {
    Place {
        page: Some(format!("{}/settings/{page}", repository.web_url)),
        account: None,
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

#[cfg(test)]
mod tests;
