//! The upstreams that linkbroker may talk to: the built-in ones, and those of the operator's file.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::{Host, Url};

use super::problems::{Complaint, Problems};
use super::standing_keys::{self, StandingKeyEntry};
use crate::upstream::{AccountKeys, Instance, UpstreamKind};

/// Where the API of a self-hosted instance lives by the vendor's convention; `None` where
/// there is no self-hosted edition that we speak to.
fn conventional_api(kind: UpstreamKind, host: &str) -> Option<String> {
    match kind {
        // GitHub Enterprise Cloud with data residency: `https://api.SUB.ghe.com`.
        UpstreamKind::Github if host.ends_with(".ghe.com") => Some(format!("https://api.{host}")),
        UpstreamKind::Github => Some(format!("https://{host}/api/v3")),
        UpstreamKind::Gitlab => Some(format!("https://{host}/api/v4")),
        UpstreamKind::Gitea => Some(format!("https://{host}/api/v1")),
        UpstreamKind::Manual => Some(format!("https://{host}")),
        UpstreamKind::Netlify | UpstreamKind::Bitbucket | UpstreamKind::AzureDevops => None,
    }
}

/// A built-in upstream and the setting that overrides its API address.
pub(super) struct BuiltIn {
    pub kind: UpstreamKind,
    pub host: &'static str,
    pub ssh_host: &'static str,
    pub setting: &'static str,
    pub api: &'static str,
}

/// Addresses from the vendors' documentation, as of 2026-11.
pub(super) const BUILT_IN: [BuiltIn; 5] = [
    BuiltIn {
        kind: UpstreamKind::Netlify,
        host: "netlify.com",
        ssh_host: "netlify.com",
        setting: "LINKBROKER_NETLIFY_URL",
        api: "https://api.netlify.com/api/v1",
    },
    BuiltIn {
        kind: UpstreamKind::Github,
        host: "github.com",
        ssh_host: "github.com",
        setting: "LINKBROKER_GITHUB_URL",
        api: "https://api.github.com",
    },
    BuiltIn {
        kind: UpstreamKind::Gitlab,
        host: "gitlab.com",
        ssh_host: "gitlab.com",
        setting: "LINKBROKER_GITLAB_URL",
        api: "https://gitlab.com/api/v4",
    },
    BuiltIn {
        kind: UpstreamKind::Bitbucket,
        host: "bitbucket.org",
        ssh_host: "bitbucket.org",
        setting: "LINKBROKER_BITBUCKET_URL",
        api: "https://api.bitbucket.org/2.0",
    },
    BuiltIn {
        kind: UpstreamKind::AzureDevops,
        host: "dev.azure.com",
        ssh_host: "ssh.dev.azure.com",
        setting: "LINKBROKER_AZURE_DEVOPS_URL",
        api: "https://dev.azure.com",
    },
];

impl BuiltIn {
    /// The instance, its API at `address`.
    pub fn at(&self, address: &str) -> Result<Instance, Complaint> {
        let mut api = api_address(address)?;
        // Netlify's own tools do the same with NETLIFY_API_URL.
        if self.kind == UpstreamKind::Netlify && api.path() == "/" {
            api.set_path("/api/v1");
        }
        Ok(Instance {
            kind: self.kind,
            host: self.host.to_owned(),
            ssh_host: self.ssh_host.to_owned(),
            private_network: is_loopback(&api),
            ca_file: None,
            account_keys: AccountKeys::default(),
            api,
        })
    }
}

/// An address that credentials may be sent to: https, or http to this machine alone.
pub(super) fn api_address(text: &str) -> Result<Url, Complaint> {
    let mut url = Url::parse(text.trim()).map_err(|why| {
        Complaint::new(
            format!("`{text}` is not an address: {why}"),
            "Write it as https://host/path.",
        )
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(Complaint::new(
            format!("`{text}` is not an https address"),
            "Write it as https://host/path.",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Complaint::new(
            "the address holds a user name or password",
            "Remove it: credentials belong to connections.",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Complaint::new(
            format!("`{text}` has a query or a fragment"),
            "Leave out everything from `?` or `#` on.",
        ));
    }
    if !is_trustworthy(&url) {
        return Err(Complaint::new(
            format!("`{text}` would send credentials unencrypted"),
            "Use https; http is for loopback addresses only.",
        ));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// Whether what is sent to and read from the address is safe from others: https, or this machine.
pub fn is_trustworthy(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}

/// Whether the address can only be this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProvidersFile {
    #[serde(default)]
    provider: Vec<ProviderEntry>,
    #[serde(default)]
    standing_key: Vec<StandingKeyEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderEntry {
    kind: UpstreamKind,
    host: String,
    api: Option<String>,
    ssh_host: Option<String>,
    #[serde(default)]
    private_network: bool,
    ca_file: Option<PathBuf>,
}

/// The setting that allows undescribed calls for placing keys at Azure DevOps.
pub(super) const PLACE_KEYS: &str = "LINKBROKER_AZURE_DEVOPS_PLACE_KEYS";
/// The setting that names the operator's file of providers.
pub(super) const PROVIDERS: &str = "LINKBROKER_PROVIDERS";

/// Adds the operator's providers to the built-in `instances`, and the standing keys to Azure DevOps.
pub(super) fn read_providers(path: &Path, instances: &mut Vec<Instance>, problems: &mut Problems) {
    let Some(file) = problems.toml_file::<ProvidersFile>(PROVIDERS, path) else {
        return;
    };
    for (index, entry) in file.provider.into_iter().enumerate() {
        let place = format!("{PROVIDERS}: provider {} (`{}`)", index + 1, entry.host);
        match entry.into_instance(path) {
            Ok(instance) if instances.iter().any(|known| known.host == instance.host) => {
                let remedy = duplicate_remedy(&instance.host);
                problems.add(place, "this host is already configured", remedy);
            }
            Ok(instance) => instances.push(instance),
            Err(complaint) => problems.add(place, complaint.problem, complaint.remedy),
        }
    }
    standing_keys::grant(file.standing_key, instances, problems);
}

fn duplicate_remedy(host: &str) -> String {
    match BUILT_IN.iter().find(|built_in| built_in.host == host) {
        Some(built_in) => format!(
            "Remove the entry: {host} is built in, and {} changes its API address.",
            built_in.setting
        ),
        None => "Keep one entry for each host.".to_owned(),
    }
}

impl ProviderEntry {
    fn into_instance(self, file: &Path) -> Result<Instance, Complaint> {
        if self.kind == UpstreamKind::Netlify {
            return Err(Complaint::new(
                "Netlify is not a git provider",
                "Set LINKBROKER_NETLIFY_URL instead.",
            ));
        }
        let host = host_name("host", &self.host)?;
        let conventional = || conventional_api(self.kind, &host);
        let address = self.api.clone().or_else(conventional).ok_or_else(|| {
            Complaint::new(
                format!("a provider of kind {} needs its `api`", self.kind),
                "Add `api = \"https://…\"`.",
            )
        })?;
        let api = api_address(&address)?;
        Ok(Instance {
            kind: self.kind,
            ssh_host: match &self.ssh_host {
                Some(name) => host_name("ssh_host", name)?,
                None => host.clone(),
            },
            host,
            private_network: self.private_network || is_loopback(&api),
            ca_file: self.ca_file.map(|ca| readable(file, &ca)).transpose()?,
            account_keys: AccountKeys::default(),
            api,
        })
    }
}

/// A bare host name, in lower case, with a port where one is given.
fn host_name(field: &str, text: &str) -> Result<String, Complaint> {
    let lower = text.to_ascii_lowercase();
    let is_bare = |url: &Url| url.as_str() == format!("ssh://{lower}");
    match Url::parse(&format!("ssh://{lower}")) {
        Ok(url) if !lower.is_empty() && !lower.contains('@') && is_bare(&url) => Ok(lower),
        _ => Err(Complaint::new(
            format!("`{field} = \"{text}\"` is not a host name"),
            "Write the name alone, e.g. git.example.com.",
        )),
    }
}

/// `path` as seen from the configuration file that names it, when it can be read.
pub(super) fn readable(file: &Path, path: &Path) -> Result<PathBuf, Complaint> {
    let full = file.parent().unwrap_or(Path::new(".")).join(path);
    match std::fs::File::open(&full) {
        Ok(_) => Ok(full),
        Err(why) => Err(Complaint::new(
            format!("{} cannot be read: {why}", full.display()),
            "Correct the path (relative ones start at the file that holds them) or its rights.",
        )),
    }
}
