//! Which configured provider an address belongs to, and what the provider takes it for.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::{
    Api,
    problem::{Problem, ProblemCode},
};
use crate::{
    link::repository_ref::{Address, RefError, RepositoryPath, RepositoryRef},
    upstream::{Instance, UpstreamKind},
};

/// A repository at one of the configured providers.
pub(super) struct Located {
    /// Whose software the host runs.
    pub(super) provider: UpstreamKind,
    /// The repository, under the instance's main host.
    pub(super) repository: RepositoryRef,
    /// The address to clone it from, where no API tells.
    pub(super) ssh_url: Option<String>,
}

impl Api {
    /// The repository that an address means.
    ///
    /// # Errors
    /// Says which part of the address is not understood, or that its host is not configured.
    pub(super) fn locate(&self, text: &str) -> Result<Located, RefError> {
        let address = Address::parse(text)?;
        let instance = find(&self.instances, &address)?;
        let RepositoryPath { path, .. } = read(&address, &instance)?;
        let (provider, host) = (instance.kind, instance.host.clone());
        Ok(Located {
            provider,
            repository: RepositoryRef { host, path },
            ssh_url: address
                .ssh
                .filter(|_| provider == UpstreamKind::Manual)
                .map(|ssh| ssh.url),
        })
    }
}

/// The instance that an address leads to. SSH addresses of any other host are linked by hand: only Netlify and people
/// ever talk to it.
fn find(instances: &[Arc<Instance>], address: &Address) -> Result<Arc<Instance>, RefError> {
    match instances.iter().find(|known| is_at(known, address)) {
        Some(known) => Ok(known.clone()),
        None if address.is_ssh() => {
            let by_hand = Instance::by_hand(&address.host).ok_or(RefError::NotAnAddress)?;
            Ok(Arc::new(by_hand))
        }
        None => Err(unknown(instances)),
    }
}

fn unknown(instances: &[Arc<Instance>]) -> RefError {
    let providers = instances
        .iter()
        .filter(|known| known.kind != UpstreamKind::Netlify);
    let hosts: Vec<_> = providers.map(|known| known.host.as_str()).collect();
    RefError::UnknownHost(hosts.join(", "))
}

fn read(address: &Address, instance: &Instance) -> Result<RepositoryPath, RefError> {
    match instance.kind {
        UpstreamKind::Github => address.github(),
        UpstreamKind::Gitlab => address.gitlab(instance.web_base()),
        UpstreamKind::Bitbucket => address.bitbucket(),
        UpstreamKind::AzureDevops => address.azure_devops(),
        UpstreamKind::Gitea => address.gitea(instance.web_base()),
        UpstreamKind::Manual => address.manual(),
        UpstreamKind::Netlify => Err(RefError::NotLinkable(instance.host.clone())),
    }
}

/// Whether the address' host is the instance's, or one of those beside it: `www.`, the API's, SSH's, those for
/// networks that let only port 443 through, and `ORGANISATION.visualstudio.com` for Azure DevOps.
fn is_at(instance: &Instance, address: &Address) -> bool {
    let (own, written) = (&instance.host, address.host.as_str());
    if address.is_ssh() {
        let own = without_port(own);
        return written == own
            || written == without_port(&instance.ssh_host)
            || ["ssh.", "altssh."]
                .iter()
                .any(|front| written.strip_prefix(front) == Some(own))
            || is_old_azure(instance, written);
    }
    let written = written.strip_prefix("www.").unwrap_or(written);
    written == own || written == instance.api_authority() || is_old_azure(instance, written)
}

fn is_old_azure(instance: &Instance, host: &str) -> bool {
    instance.kind == UpstreamKind::AzureDevops && host.ends_with(".visualstudio.com")
}

fn without_port(host: &str) -> &str {
    host.split(':').next().unwrap_or(host)
}

impl From<RefError> for Problem {
    fn from(error: RefError) -> Self {
        Self::new(ProblemCode::InvalidRequest).error("/repository", error.to_string())
    }
}
