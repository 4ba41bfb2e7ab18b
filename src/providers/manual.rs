//! Git hosts without an API that we use: nothing is called, a person places key and webhook.
//!
//! Netlify clones over SSH from the address that the caller wrote, and listens at an address of the site's own.

use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{
    Capabilities, Delivery, DeliveryEvent, FoundWebhook, Identity, InstalledWebhook, Provider,
    Replay, RepositoryKey,
};
use crate::{
    link::{
        facts::{Repository, Webhook},
        failure::{FailureCode, UpstreamTrace},
    },
    upstream::{Class, Instance, UpstreamError},
};

/// What can be done: nothing.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    site_has_own_webhook: true,
    ..Capabilities::BY_HAND
};

/// A git host that only Netlify and people talk to.
pub(super) struct Manual {
    instance: Arc<Instance>,
}

impl Manual {
    pub(super) fn new(instance: Arc<Instance>) -> Self {
        Self { instance }
    }

    /// The plan asks a person instead.
    fn no_api(&self) -> UpstreamError {
        UpstreamError {
            code: FailureCode::Internal,
            class: Class::Refused,
            detail: format!("{} has no API that linkbroker uses.", self.instance.host),
            trace: UpstreamTrace {
                upstream: self.instance.kind.as_str().to_owned(),
                status: None,
                request_id: None,
            },
        }
    }
}

#[async_trait]
impl Provider for Manual {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    /// Nobody is asked, so nobody says another time.
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    /// Takes the caller's word: the clone of the first build is the proof.
    async fn resolve(&self, path: &str, branch: Option<&str>) -> Result<Repository, UpstreamError> {
        let url = format!("ssh://git@{}/{path}.git", self.instance.ssh_host);
        Ok(Repository {
            host: self.instance.host.clone(),
            id: path.to_owned(),
            path: path.to_owned(),
            web_url: url.clone(),
            ssh_url: url,
            private: true,
            branch: branch.unwrap_or("main").to_owned(),
        })
    }

    async fn find_key(
        &self,
        _: &Repository,
        _: &str,
    ) -> Result<Option<RepositoryKey>, UpstreamError> {
        Ok(None)
    }

    async fn install_key(
        &self,
        _: &Repository,
        _: &str,
        _: &str,
    ) -> Result<RepositoryKey, UpstreamError> {
        Err(self.no_api())
    }

    async fn remove_key(&self, _: &Repository, _: &str) -> Result<bool, UpstreamError> {
        Err(self.no_api())
    }

    async fn find_webhook(
        &self,
        _: &Repository,
        _: &str,
        _: Option<&str>,
    ) -> Result<Option<FoundWebhook>, UpstreamError> {
        Ok(None)
    }

    async fn install_webhook(
        &self,
        _: &Repository,
        _: &str,
    ) -> Result<InstalledWebhook, UpstreamError> {
        Err(self.no_api())
    }

    async fn repair_webhook(&self, _: &Repository, _: &FoundWebhook) -> Result<(), UpstreamError> {
        Err(self.no_api())
    }

    async fn move_webhook(
        &self,
        _: &Repository,
        _: &Webhook,
        _: &str,
    ) -> Result<(), UpstreamError> {
        Err(self.no_api())
    }

    async fn remove_webhook(&self, _: &Repository, _: &Webhook) -> Result<bool, UpstreamError> {
        Err(self.no_api())
    }

    async fn replay_push(&self, _: &Repository, _: &Webhook) -> Result<Replay, UpstreamError> {
        Err(self.no_api())
    }

    async fn last_delivery(
        &self,
        _: &Repository,
        _: &Webhook,
        _: DeliveryEvent,
    ) -> Result<Option<Delivery>, UpstreamError> {
        Ok(None)
    }

    async fn identity(&self) -> Result<Identity, UpstreamError> {
        Ok(Identity::anybody())
    }
}
