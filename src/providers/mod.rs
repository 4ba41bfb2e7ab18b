//! Git providers: the other half of a link, behind one trait.
//!
//! A provider is one file that implements [`Provider`], and one line in [`for_instance`]. What providers cannot do
//! they declare in [`Capabilities`], so that the plan leaves the step out; they never pretend.

mod azure_devops;
mod bitbucket;
mod gitea;
mod github;
mod gitlab;
mod manual;
mod public_key;

use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;
use url::Url;

pub use crate::link::capabilities::Capabilities;
pub use public_key::{bare, same_key};

use crate::{
    link::{
        facts::{Repository, Webhook},
        failure::FailureCode,
        installation::Installation,
    },
    upstream::{Answer, Credential, Http, Instance, UpstreamError, UpstreamKind},
};

/// The adapter for an instance; `None` for what is no provider, and for those not built yet.
///
/// # Errors
/// `internal` when the instance's certificates cannot be loaded.
pub fn for_instance(
    http: &Http,
    instance: Arc<Instance>,
    credential: Credential,
) -> Result<Option<Box<dyn Provider>>, UpstreamError> {
    Ok(match instance.kind {
        UpstreamKind::Github => Some(Box::new(github::Github::new(http, instance, credential)?)),
        UpstreamKind::Manual => Some(Box::new(manual::Manual::new(instance))),
        UpstreamKind::Gitlab => Some(Box::new(gitlab::Gitlab::new(http, instance, credential)?)),
        UpstreamKind::Gitea => Some(Box::new(gitea::Gitea::new(http, instance, credential)?)),
        UpstreamKind::Bitbucket => Some(Box::new(bitbucket::Bitbucket::new(
            http, instance, credential,
        )?)),
        UpstreamKind::AzureDevops => Some(Box::new(azure_devops::AzureDevops::new(
            http, instance, credential,
        )?)),
        _ => None,
    })
}

/// Slug of Netlify's GitHub App.
pub const NETLIFY_APP: &str = "netlify";

/// What can be done at a provider with a credential of this type; the plan is built from it.
pub fn capabilities(instance: &Instance, credential_type: &str) -> Capabilities {
    match instance.kind {
        UpstreamKind::Manual => manual::CAPABILITIES,
        _ if credential_type == Credential::Anonymous.kind() => Capabilities::BY_HAND,
        UpstreamKind::Github => github::CAPABILITIES,
        UpstreamKind::Gitlab => gitlab::CAPABILITIES,
        UpstreamKind::Gitea => gitea::CAPABILITIES,
        UpstreamKind::Bitbucket => bitbucket::CAPABILITIES,
        UpstreamKind::AzureDevops => azure_devops::capabilities(instance),
        _ => Capabilities::BY_HAND,
    }
}

/// A key at the provider that is ours by its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryKey {
    /// The provider's id.
    pub id: String,
    /// Whether it cannot push. We never install one that can.
    pub read_only: bool,
    /// Whether it works; an organisation's policy can switch keys off.
    pub enabled: bool,
    /// When it was made, by the provider's clock.
    pub created_at: Option<OffsetDateTime>,
    /// When it last served a clone, in the provider's words; `None`: never, or the provider does not say.
    pub last_used: Option<String>,
    /// When it stops working; `None`: never, or the provider does not say.
    pub expires_at: Option<OffsetDateTime>,
}

/// A webhook at the provider that points where we want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundWebhook {
    /// The webhook.
    pub webhook: Webhook,
    /// When it was made, by the provider's clock.
    pub created_at: Option<OffsetDateTime>,
    /// What keeps it from doing its work; empty: nothing.
    pub faults: Vec<WebhookFault>,
    /// Ids of further webhooks with the same address: each makes one more build for every push.
    pub doubles: Vec<String>,
}

/// What can be wrong with a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookFault {
    /// It is switched off.
    Inactive,
    /// It does not tell about all that Netlify wants to know.
    MissingEvents(Vec<String>),
    /// It sends forms, which Netlify accepts and ignores.
    NotJson,
    /// It does not check Netlify's certificate.
    InsecureTls,
    /// It tells about some branches only, and the link's may not be among them.
    HidesBranches,
}

impl WebhookFault {
    /// What it does or does not, in words.
    pub fn told(&self) -> String {
        match self {
            Self::Inactive => "is switched off".to_owned(),
            Self::MissingEvents(events) => format!("does not hear of {}", events.join(", ")),
            Self::NotJson => "sends forms, which Netlify ignores".to_owned(),
            Self::InsecureTls => "does not check Netlify's certificate".to_owned(),
            Self::HidesBranches => "tells of some branches only".to_owned(),
        }
    }
}

/// A webhook that is in place now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledWebhook {
    /// The webhook.
    pub webhook: Webhook,
    /// Whether this call made it; an adopted one is not ours to remove.
    pub made: bool,
}

/// What a repository's webhooks leave to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Webhooks {
    /// The one with the address that was asked for.
    pub found: Option<FoundWebhook>,
    /// How many more the repository takes; `None`: the provider does not say.
    pub room: Option<usize>,
}

/// What a look at a repository's webhooks saw on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// None with this address.
    Missing,
    /// One is there, or nobody looked.
    Unknown,
}

impl Look {
    /// What a look has seen that may have failed.
    fn of(is_there: Result<bool, UpstreamError>) -> Self {
        match is_there {
            Ok(false) => Self::Missing,
            Ok(true) | Err(_) => Self::Unknown,
        }
    }
}

/// What came of the wish to have a push replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// It is on its way.
    Sent,
    /// Nothing was sent: the provider replays pushes to another branch only.
    OtherBranch,
}

/// Where a person does what no API does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The provider's page for it.
    pub page: Option<String>,
    /// The account that it must be done with.
    pub account: Option<String>,
}

/// What a delivery was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryEvent {
    /// The greeting after a webhook was made.
    Ping,
    /// A push, also a replayed one.
    Push,
}

/// A message that the provider sent through a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The provider's id.
    pub id: String,
    /// Status that the receiver answered with; absent when it did not answer.
    pub status: Option<u16>,
    /// When, by the provider's clock.
    pub at: Option<OffsetDateTime>,
}

/// Whom a credential belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Login name.
    pub login: String,
    /// What it may do, where the provider says; `None`: unknown, not "nothing".
    pub scopes: Option<Vec<String>>,
    /// When it stops working. GitHub deletes the deploy keys that a token made together with the token.
    pub expires_at: Option<OffsetDateTime>,
    /// Of an app: where it is installed.
    pub installations: Option<Vec<Installation>>,
}

impl Identity {
    /// Nobody in particular, who may do nothing in particular.
    pub fn anybody() -> Self {
        Self {
            login: "anybody".to_owned(),
            scopes: None,
            expires_at: None,
            installations: None,
        }
    }
}

/// What linking needs of a git provider.
///
/// Rules for all methods: finding never changes anything. Installing what is there already adopts it. Removing what
/// is absent succeeds, but an object that the credential may no longer see, or whose repository has lost its name to
/// another one, is not taken for absent. Keys are compared by type and base64 only ([`same_key`]), webhooks by
/// normalised address ([`same_address`]). Repositories are named by
/// their [`Repository`] facts; when one was renamed since, calls follow it. Where one webhook is several subscriptions
/// (Azure: one per event), the one for pushes gives [`Webhook::id`], and the others are found beside it. Failures are [`UpstreamError`]s whose
/// code says what is wrong: `admin_required`, `scope_missing`, `sso_required`, `credential_refused`, `rate_limited`,
/// `provider_refused` and `upstream_unavailable` can come from every method.
#[async_trait]
pub trait Provider: Send + Sync {
    /// What this provider can do.
    fn capabilities(&self) -> Capabilities;

    /// The time now by the provider's clock, which its timestamps are by.
    fn now(&self) -> OffsetDateTime;

    /// Finds the repository and makes sure, by reading only, that linking it can work: the credential may manage keys
    /// and webhooks, the repository is not archived or empty, and the branch (default: the repository's own) exists.
    ///
    /// `path` is as the caller wrote it; the answer has the provider's spelling, and the new name after a rename.
    ///
    /// # Errors
    /// `repository_not_found_or_no_access`, `repository_archived`, `repository_empty`, `branch_missing`.
    async fn resolve(&self, path: &str, branch: Option<&str>) -> Result<Repository, UpstreamError>;

    /// [`Provider::resolve`], with a look at the webhooks beside it, where callers have to look before they install and
    /// the provider lets it be done by the path: that saves a round.
    ///
    /// # Errors
    /// As [`Provider::resolve`]; the look fails silently.
    async fn resolve_and_look(
        &self,
        path: &str,
        branch: Option<&str>,
        _url: &str,
    ) -> Result<(Repository, Look), UpstreamError> {
        let repository = self.resolve(path, branch).await?;
        Ok((repository, Look::Unknown))
    }

    /// A known repository by what outlives a rename, as a path for [`Provider::resolve`]; `None` where the provider leads
    /// from former paths to the present one.
    fn lasting_path(&self, _: &Repository) -> Option<String> {
        None
    }

    /// Makes sure that a known repository is still found where calls about it go. Nothing to ask where they go by what
    /// outlives a rename; a name may be another repository's by now.
    ///
    /// # Errors
    /// `repository_replaced`, `repository_not_found_or_no_access`.
    async fn check_name(&self, _: &Repository) -> Result<(), UpstreamError> {
        Ok(())
    }

    /// The key with this content, if the repository has it.
    async fn find_key(
        &self,
        repository: &Repository,
        public_key: &str,
    ) -> Result<Option<RepositoryKey>, UpstreamError>;

    /// Installs a key that can read and never write.
    ///
    /// # Errors
    /// `key_in_use_elsewhere` also when this repository has the key already: [`Provider::find_key`] tells which.
    /// `deploy_keys_disabled`, `key_refused`.
    async fn install_key(
        &self,
        repository: &Repository,
        title: &str,
        public_key: &str,
    ) -> Result<RepositoryKey, UpstreamError>;

    /// The key with this content, where [`Capabilities::finds_keys`] does not hold but the credential happens to see some:
    /// `None` says nothing.
    async fn glimpse_key(
        &self,
        _: &Repository,
        _public_key: &str,
    ) -> Result<Option<RepositoryKey>, UpstreamError> {
        Ok(None)
    }

    /// Whether the key with this content is in the profile of the credential's person; `None` where that cannot be read.
    async fn is_key_in_profile(&self, _public_key: &str) -> Result<Option<bool>, UpstreamError> {
        Ok(None)
    }

    /// Removes a key by the provider's id; whether it was there.
    async fn remove_key(&self, repository: &Repository, id: &str) -> Result<bool, UpstreamError>;

    /// The webhook with this address, if the repository has one: of several the one with the id `own`, else the oldest that works.
    async fn find_webhook(
        &self,
        repository: &Repository,
        url: &str,
        own: Option<&str>,
    ) -> Result<Option<FoundWebhook>, UpstreamError>;

    /// [`Provider::find_webhook`], and how many more the repository takes, where the provider has a known limit.
    async fn webhooks(
        &self,
        repository: &Repository,
        url: &str,
    ) -> Result<Webhooks, UpstreamError> {
        let found = self.find_webhook(repository, url, None).await?;
        Ok(Webhooks { found, room: None })
    }

    /// Where the webhook of this id points by now; `None` when it is gone, or cannot be read by its id.
    async fn webhook_address(
        &self,
        _: &Repository,
        _: &Webhook,
    ) -> Result<Option<String>, UpstreamError> {
        Ok(None)
    }

    /// Whether the repository takes deploy keys; `None`: it shows when one is installed.
    async fn takes_keys(&self, _: &Repository) -> Result<Option<bool>, UpstreamError> {
        Ok(None)
    }

    /// Installs a webhook for pushes, pull requests and deleted branches. Where the provider refuses doubles, an
    /// existing one is adopted and repaired; elsewhere callers look first.
    ///
    /// # Errors
    /// `webhook_limit_reached`, `webhook_refused`.
    async fn install_webhook(
        &self,
        repository: &Repository,
        url: &str,
    ) -> Result<InstalledWebhook, UpstreamError>;

    /// Mends the faults of a webhook without taking away what others want from it.
    async fn repair_webhook(
        &self,
        repository: &Repository,
        found: &FoundWebhook,
    ) -> Result<(), UpstreamError>;

    /// Points a webhook at another address.
    async fn move_webhook(
        &self,
        repository: &Repository,
        webhook: &Webhook,
        url: &str,
    ) -> Result<(), UpstreamError>;

    /// Removes a webhook by the provider's id; whether it was there. Its address is that which it is known to have had.
    async fn remove_webhook(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<bool, UpstreamError>;

    /// Has the provider deliver the latest push again. Silent when there is none: only the delivery proves it.
    async fn replay_push(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<Replay, UpstreamError>;

    /// Where a person puts a deploy key, when no API does it.
    fn place_of_keys(&self, _: &Repository) -> Place {
        Place::default()
    }

    /// Where a person makes a webhook, when no API does it.
    fn place_of_webhooks(&self, _: &Repository) -> Place {
        Place::default()
    }

    /// What a webhook that a person makes has to deliver, in the provider's words.
    fn webhook_events(&self) -> &'static [&'static str] {
        &[]
    }

    /// The newest delivery of an event.
    async fn last_delivery(
        &self,
        repository: &Repository,
        webhook: &Webhook,
        event: DeliveryEvent,
    ) -> Result<Option<Delivery>, UpstreamError>;

    /// Where an app is installed on the repository's owner; `None` where the credential is not allowed to know, or the
    /// provider has no apps.
    async fn installations(
        &self,
        _: &Repository,
        _app: &str,
    ) -> Result<Option<Vec<Installation>>, UpstreamError> {
        Ok(None)
    }

    /// The commit of the repository's branch; `None` where the provider is not asked.
    async fn branch_head(&self, _: &Repository) -> Result<Option<String>, UpstreamError> {
        Ok(None)
    }

    /// Whom the credential belongs to; the cheapest check of a credential.
    async fn identity(&self) -> Result<Identity, UpstreamError>;
}

/// Whether a removal removed anything. 404 is "absent" and "not yours to see" alike, so `look` settles which.
async fn removed(
    removal: Result<Answer, UpstreamError>,
    look: impl Future<Output = Result<(), UpstreamError>>,
) -> Result<bool, UpstreamError> {
    match removal {
        Ok(_) => Ok(true),
        Err(error) if error.is_missing() => look.await.map(|()| false),
        Err(error) => Err(error),
    }
}

/// Fails when the repository that has the name by now, with the id `found`, is not the known one.
fn same_repository(known: &Repository, found: u64, answer: &Answer) -> Result<(), UpstreamError> {
    if known.id == found.to_string() {
        return Ok(());
    }
    let Repository { id, path, .. } = known;
    let detail = format!("the link is for repository {id}; {path} is {found} now");
    Err(answer.refused(FailureCode::RepositoryReplaced, detail))
}

/// Whether a repository whose name is another one's by now is gone, by the answer to its id; else it was `replaced`.
fn is_gone(
    by_id: Result<Answer, UpstreamError>,
    replaced: UpstreamError,
) -> Result<(), UpstreamError> {
    match by_id {
        Ok(_) => Err(replaced),
        Err(error) if error.is_missing() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a webhook is the link's own one; of several with the same address that one counts, also when it is switched off.
fn is_own(own: Option<&str>, id: &impl ToString) -> bool {
    own.is_some_and(|own| own == id.to_string())
}

/// Whether two webhook addresses are the same: case of scheme and host, a default port and a final slash are not part
/// of it, the query is.
pub fn same_address(one: &str, other: &str) -> bool {
    match (normal(one), normal(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

fn normal(address: &str) -> Option<Url> {
    let mut url = Url::parse(address.trim()).ok()?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_without_their_accidents() {
        let hook = "https://api.netlify.com/hooks/github";
        for (other, same) in [
            (hook, true),
            ("HTTPS://API.Netlify.com/hooks/github/", true),
            ("https://api.netlify.com:443/hooks/github", true),
            (" https://api.netlify.com/hooks/github ", true),
            ("https://api.netlify.com/hooks/gitlab", false),
            ("https://api.netlify.com/hooks/github?site=1", false),
            ("https://api.netlify.com/hooks/GitHub", false),
            ("http://api.netlify.com/hooks/github", false),
            (
                "https://evil.example/?https://api.netlify.com/hooks/github",
                false,
            ),
            ("not an address", false),
        ] {
            assert_eq!(same_address(hook, other), same, "{other}");
        }
    }
}
