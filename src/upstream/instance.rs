//! Which installation of which vendor we talk to: an operator's choice, never a caller's.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use url::{Host, Url};
use utoipa::ToSchema;

/// The vendors that we call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamKind {
    /// Netlify itself.
    Netlify,
    /// github.com, GitHub Enterprise Server, GHE.com.
    Github,
    /// gitlab.com and self-managed GitLab.
    Gitlab,
    /// Bitbucket Cloud.
    Bitbucket,
    /// Azure DevOps Services.
    AzureDevops,
    /// Gitea and Forgejo, whose API is the same; Netlify knows them as `manual`.
    Gitea,
    /// Any git server without an API that we know: a person does the provider's half.
    Manual,
}

impl UpstreamKind {
    /// Every kind, Netlify first.
    pub const ALL: &[Self] = &[
        Self::Netlify,
        Self::Github,
        Self::Gitlab,
        Self::Bitbucket,
        Self::AzureDevops,
        Self::Gitea,
        Self::Manual,
    ];

    /// The stable text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Netlify => "netlify",
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Bitbucket => "bitbucket",
            Self::AzureDevops => "azure_devops",
            Self::Gitea => "gitea",
            Self::Manual => "manual",
        }
    }
}

impl FromStr for UpstreamKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.iter().copied().find(|kind| kind.as_str() == text);
        named.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("`{text}` is not one of {}", names.join(", "))
        })
    }
}

impl fmt::Display for UpstreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One installation of a vendor, as the operator configured it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Whose software it is.
    pub kind: UpstreamKind,
    /// Host that repository addresses name, e.g. `github.com`.
    pub host: String,
    /// Base address of the API, e.g. `https://api.github.com`.
    pub api: Url,
    /// Host that git over SSH uses.
    pub ssh_host: String,
    /// Whether the API may resolve to an address that is not reachable from the internet.
    pub private_network: bool,
    /// Extra root certificates (PEM) to trust for this instance.
    pub ca_file: Option<PathBuf>,
    /// How keys get to accounts; for Azure DevOps alone.
    pub account_keys: AccountKeys,
}

/// How Netlify's keys get to Azure DevOps, where SSH keys belong to people and not to repositories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountKeys {
    /// Whether they may be placed by calls that the vendor does not describe.
    pub by_internal_api: bool,
    /// Keys that stand on service accounts already.
    pub standing: Vec<StandingKey>,
}

/// A key pair of Netlify's whose public half stands on a service account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingKey {
    /// Organisation in which the account has the key.
    pub organisation: String,
    /// Netlify's id of the pair; it has to belong to the user of the links' Netlify connection.
    pub deploy_key_id: String,
    /// When the provider stops taking it.
    pub expires_at: Option<OffsetDateTime>,
    /// Whose links may use it. Netlify can then clone for them whatever the account can read.
    pub tenants: Vec<String>,
}

impl AccountKeys {
    /// The standing key that a tenant may use for a repository, by its path.
    pub fn standing_for(&self, tenant: &str, path: &str) -> Option<&StandingKey> {
        let organisation = path.split('/').next()?;
        self.standing.iter().find(|key| {
            key.organisation.eq_ignore_ascii_case(organisation)
                && key.tenants.iter().any(|granted| granted == tenant)
        })
    }
}

/// The instance of a connection: a configured one, or any host that is linked by hand.
pub fn instance_of(instances: &[Arc<Instance>], kind: &str, host: &str) -> Option<Arc<Instance>> {
    let is_meant = |known: &&Arc<Instance>| known.kind.as_str() == kind && known.host == host;
    match instances.iter().find(is_meant) {
        Some(known) => Some(known.clone()),
        None if kind == UpstreamKind::Manual.as_str() => Instance::by_hand(host).map(Arc::new),
        None => None,
    }
}

impl Instance {
    /// A git host that nobody configured and that we never call: a person does the provider's half. Nothing when this
    /// cannot be a host.
    pub fn by_hand(host: &str) -> Option<Self> {
        let host = host.to_ascii_lowercase();
        let api = Url::parse(&format!("https://{host}/")).ok()?;
        // Nothing but a host, in the form in which addresses name it.
        (api.as_str() == format!("https://{host}/")).then(|| Self {
            kind: UpstreamKind::Manual,
            ssh_host: host.clone(),
            host,
            api,
            private_network: false,
            ca_file: None,
            account_keys: AccountKeys::default(),
        })
    }

    /// Host of the API, with its port where one is written.
    pub fn api_authority(&self) -> String {
        let host = self.api.host_str().unwrap_or_default();
        match self.api.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Path below which the instance's web pages live: empty, or e.g. `gitlab` for `https://host/gitlab/api/v4`. An API
    /// at another host says nothing about the pages.
    pub fn web_base(&self) -> &str {
        let path = self.api.path().trim_matches('/');
        match path.rsplit_once("api/v") {
            Some((base, _)) if self.api_authority() == self.host => base.trim_end_matches('/'),
            _ => "",
        }
    }

    /// Whether private addresses are fine: the operator said so, or wrote an address or `localhost` and so means it.
    pub(super) fn allows_private_addresses(&self) -> bool {
        self.private_network
            || match self.api.host() {
                Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
                Some(Host::Ipv4(address)) => !super::guard::is_global(IpAddr::V4(address)),
                Some(Host::Ipv6(address)) => !super::guard::is_global(IpAddr::V6(address)),
                None => false,
            }
    }
}
