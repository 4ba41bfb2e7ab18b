//! Azure DevOps Services: dev.azure.com, and organisations that still have a visualstudio.com address.
//!
//! A repository's id is two GUIDs, project and repository: both stay when either is renamed. Subscriptions take the
//! place of webhooks, one for each event. SSH keys belong to people, not to repositories, and no documented call places
//! one: see [`ssh_keys`].
//!
//! <https://learn.microsoft.com/rest/api/azure/devops/>

mod answers;
mod refusals;
mod ssh_keys;
mod subscriptions;

use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;
use url::Url;

use super::{
    Capabilities, Delivery, DeliveryEvent, FoundWebhook, Identity, InstalledWebhook, Look, Place,
    Provider, Replay, RepositoryKey,
};
use crate::{
    link::{
        facts::{Repository, Webhook},
        failure::FailureCode,
    },
    upstream::{Access, Call, Class, Credential, Dialect, Http, Instance, UpstreamError},
};
use answers::{ConnectionData, Profile, Ref, Repo, open_page};

/// Version of the documented calls; Azure refuses writes without one.
const VERSION: &str = "7.1";

/// Without the second header a refused credential is answered with a page to sign in, not with 401.
static DIALECT: Dialect = Dialect {
    accept: "application/json",
    headers: &[("X-TFS-FedAuthRedirect", "Suppress")],
    classify: refusals::classify,
};

/// Azure DevOps with one credential.
pub(super) struct AzureDevops {
    /// Repositories and subscriptions.
    access: Access,
    /// People and their keys.
    people: Access,
    /// Profiles, which no organisation is needed for.
    profiles: Access,
    /// Organisation that the connection names as its user; Azure itself ignores the user's name.
    organisation: Option<String>,
}

impl AzureDevops {
    pub(super) fn new(
        http: &Http,
        instance: Arc<Instance>,
        credential: Credential,
    ) -> Result<Self, UpstreamError> {
        let organisation = match &credential {
            Credential::Basic { user, .. } => Some(user.clone()).filter(|user| !user.is_empty()),
            _ => None,
        };
        let at = |host| {
            let instance = beside(&instance, host);
            Access::new(http, instance, credential.clone(), &DIALECT)
        };
        Ok(Self {
            people: at("vssps.dev.azure.com")?,
            profiles: at("app.vssps.visualstudio.com")?,
            access: Access::new(http, instance, credential.clone(), &DIALECT)?,
            organisation,
        })
    }

    /// Refs are found by prefix, so that the exact name has to be among them.
    ///
    /// <https://learn.microsoft.com/rest/api/azure/devops/git/refs/list?view=azure-devops-rest-7.1>
    async fn check_branch(
        &self,
        repository: &Repository,
        branch: &str,
    ) -> Result<(), UpstreamError> {
        let place = Address::of(repository);
        let call = Call::get([
            place.organisation,
            place.project,
            "_apis",
            "git",
            "repositories",
            place.repository,
            "refs",
        ]);
        let call = call.query("filter", format!("heads/{branch}"));
        let call = call.query("api-version", VERSION);
        let refs: Vec<Ref> = self.access.pages_by(call, open_page).await?;
        let wanted = format!("refs/heads/{branch}");
        if refs.iter().any(|found| found.name == wanted) {
            return Ok(());
        }
        let detail = format!("`{}` has no branch `{branch}`.", repository.path);
        Err(self.access.unsent(FailureCode::BranchMissing, detail))
    }

    /// Whom the credential belongs to, as one organisation sees it.
    async fn connection_data(&self, organisation: &str) -> Result<ConnectionData, UpstreamError> {
        let call = Call::get([organisation, "_apis", "connectionData"]);
        let answer = self
            .access
            .send(call.query("api-version", "7.1-preview"))
            .await?;
        let data: ConnectionData = answer.json()?;
        match data.is_anonymous() {
            false => Ok(data),
            true => Err(refusals::signed_out(&answer)),
        }
    }

    /// <https://learn.microsoft.com/rest/api/azure/devops/profile/profiles/get?view=azure-devops-rest-7.1>
    async fn profile(&self) -> Result<Profile, UpstreamError> {
        let call = Call::get(["_apis", "profile", "profiles", "me"]);
        let call = call.query("api-version", VERSION);
        let answer = self.profiles.send(call).await;
        let read = answer.and_then(|answer| answer.json());
        read.map_err(|error| match error.code {
            FailureCode::CredentialRefused => UpstreamError {
                detail: format!(
                    "{} A token of one organisation may not read the profile: give the connection the organisation's name as its user.",
                    error.detail
                ),
                ..error
            },
            _ => error,
        })
    }
}

/// What can be done with a credential: the calls for keys are not described, so the operator has to allow them.
pub(super) fn capabilities(instance: &Instance) -> Capabilities {
    let keys = instance.account_keys.by_internal_api;
    Capabilities {
        installs_keys: keys,
        finds_keys: keys,
        installs_webhooks: true,
        site_has_own_webhook: false,
        refuses_double_webhooks: false,
        replays_pushes: true,
        reports_deliveries: true,
    }
}

#[async_trait]
impl Provider for AzureDevops {
    fn capabilities(&self) -> Capabilities {
        match self.access.is_anonymous() {
            true => Capabilities::BY_HAND,
            false => capabilities(self.access.instance()),
        }
    }

    fn now(&self) -> OffsetDateTime {
        self.access.upstream_now()
    }

    /// <https://learn.microsoft.com/rest/api/azure/devops/git/repositories/get-repository?view=azure-devops-rest-7.1>
    async fn resolve(&self, path: &str, branch: Option<&str>) -> Result<Repository, UpstreamError> {
        let (organisation, project, name) = split(path);
        let call = Call::get([organisation, project, "_apis", "git", "repositories", name]);
        let answer = self.access.send(call.query("api-version", VERSION)).await?;
        let repo: Repo = answer.json()?;
        let main = repo.check_state(&answer)?.to_owned();
        let wanted = branch.unwrap_or(&main);
        let repository = repo.fact(organisation, self.access.instance(), wanted);
        if wanted != main {
            self.check_branch(&repository, wanted).await?;
        }
        Ok(repository)
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
        let subscriptions = self.subscriptions(split(path).0);
        let (repository, known) = tokio::join!(self.resolve(path, branch), subscriptions);
        let repository = repository?;
        let is_there =
            known.map(|known| subscriptions::found(known, &repository, url, None).is_some());
        Ok((repository, Look::of(is_there)))
    }

    /// A rename leaves nothing behind that would lead from the old name; calls take GUIDs in place of names.
    fn lasting_path(&self, repository: &Repository) -> Option<String> {
        let organisation = Address::of(repository).organisation;
        Some(format!("{organisation}/{}", repository.id))
    }

    async fn find_key(
        &self,
        repository: &Repository,
        public_key: &str,
    ) -> Result<Option<RepositoryKey>, UpstreamError> {
        self.find_account_key(repository, public_key).await
    }

    /// The keys of other accounts stay hidden, and what nobody described may be refused: neither says anything.
    async fn glimpse_key(
        &self,
        repository: &Repository,
        public_key: &str,
    ) -> Result<Option<RepositoryKey>, UpstreamError> {
        match self.find_account_key(repository, public_key).await {
            Err(error) if matches!(error.class, Class::Refused | Class::NotFound) => Ok(None),
            found => found,
        }
    }

    async fn install_key(
        &self,
        repository: &Repository,
        title: &str,
        public_key: &str,
    ) -> Result<RepositoryKey, UpstreamError> {
        self.place_account_key(repository, title, public_key).await
    }

    fn place_of_keys(&self, repository: &Repository) -> Place {
        let organisation = Address::of(repository).organisation;
        let host = &self.access.instance().host;
        Place {
            page: Some(web_address(host, &[organisation, "_usersSettings", "keys"])),
            account: Some(ssh_keys::ACCOUNT.to_owned()),
        }
    }

    async fn remove_key(&self, repository: &Repository, id: &str) -> Result<bool, UpstreamError> {
        self.remove_account_key(repository, id).await
    }

    async fn webhook_address(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<Option<String>, UpstreamError> {
        self.address_of(repository, &webhook.id).await
    }

    async fn find_webhook(
        &self,
        repository: &Repository,
        url: &str,
        own: Option<&str>,
    ) -> Result<Option<FoundWebhook>, UpstreamError> {
        let organisation = Address::of(repository).organisation;
        let known = self.subscriptions(organisation).await?;
        Ok(subscriptions::found(known, repository, url, own))
    }

    async fn install_webhook(
        &self,
        repository: &Repository,
        url: &str,
    ) -> Result<InstalledWebhook, UpstreamError> {
        let webhook = self.subscribe_to_all(repository, url).await?;
        Ok(InstalledWebhook {
            webhook,
            made: true,
        })
    }

    async fn repair_webhook(
        &self,
        repository: &Repository,
        found: &FoundWebhook,
    ) -> Result<(), UpstreamError> {
        self.mend(repository, &found.webhook).await
    }

    async fn move_webhook(
        &self,
        repository: &Repository,
        webhook: &Webhook,
        url: &str,
    ) -> Result<(), UpstreamError> {
        for subscription in self.parts_of(repository, webhook).await? {
            self.rewrite(repository, &subscription, url).await?;
        }
        Ok(())
    }

    async fn remove_webhook(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<bool, UpstreamError> {
        let parts = self.parts_of(repository, webhook).await?;
        for part in &parts {
            self.unsubscribe(repository, &part.id).await?;
        }
        Ok(!parts.is_empty())
    }

    async fn replay_push(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<Replay, UpstreamError> {
        self.send_last_push(repository, webhook).await?;
        Ok(Replay::Sent)
    }

    async fn last_delivery(
        &self,
        repository: &Repository,
        webhook: &Webhook,
        event: DeliveryEvent,
    ) -> Result<Option<Delivery>, UpstreamError> {
        match event {
            // Azure does not greet.
            DeliveryEvent::Ping => Ok(None),
            DeliveryEvent::Push => self.last_notification(repository, webhook).await,
        }
    }

    async fn identity(&self) -> Result<Identity, UpstreamError> {
        if self.access.is_anonymous() {
            return Ok(Identity::anybody());
        }
        let login = match &self.organisation {
            Some(organisation) => self.connection_data(organisation).await?.login(),
            None => self.profile().await?.login(),
        };
        Ok(Identity {
            login,
            // A token cannot read its own scopes or expiry.
            scopes: None,
            expires_at: None,
            installations: None,
        })
    }
}

/// A web address with these segments, each encoded as a whole: names may hold blanks.
fn web_address(host: &str, segments: &[&str]) -> String {
    let base = format!("https://{host}/");
    let Ok(mut url) = Url::parse(&base) else {
        return base;
    };
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url.into()
}

/// The instance with another of the vendor's hosts; an instance elsewhere (a gateway, the sandbox) is all hosts in one.
fn beside(instance: &Arc<Instance>, host: &str) -> Arc<Instance> {
    let mut api = instance.api.clone();
    if api.host_str() != Some("dev.azure.com") || api.set_host(Some(host)).is_err() {
        return instance.clone();
    }
    Arc::new(Instance {
        api,
        ..(**instance).clone()
    })
}

/// Organisation, project and repository; a path with fewer parts cannot exist and becomes Azure's 404.
fn split(path: &str) -> (&str, &str, &str) {
    let mut parts = path.splitn(3, '/');
    let mut next = || parts.next().unwrap_or_default();
    (next(), next(), next())
}

/// How calls name a known repository: the organisation by name, the rest by GUID.
#[derive(Clone, Copy)]
struct Address<'a> {
    organisation: &'a str,
    project: &'a str,
    repository: &'a str,
}

impl<'a> Address<'a> {
    fn of(repository: &'a Repository) -> Self {
        let (project, id) = repository.id.split_once('/').unwrap_or_default();
        Self {
            organisation: split(&repository.path).0,
            project,
            repository: id,
        }
    }
}

#[cfg(test)]
mod tests;
