//! The `repo` object of a site: reads every spelling that clients send, shows the one that Netlify shows.

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::clock::milliseconds;
use crate::forge::Provider;
use crate::forge::gate::ssh_url;
use crate::world::World;

/// How a site is linked and built.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Repo {
    pub provider: String,
    pub repo_path: String,
    /// The provider's id: a number for GitHub and GitLab, a string elsewhere. Written, never shown.
    pub repo_id: Option<Value>,
    pub repo_url: Option<String>,
    pub branch: String,
    pub deploy_key_id: Option<String>,
    pub installation_id: Option<i64>,
    /// Empty: every branch deploys.
    pub allowed_branches: Vec<String>,
    pub cmd: Option<String>,
    pub dir: Option<String>,
    pub base: Option<String>,
    pub package_path: Option<String>,
    pub functions_dir: Option<String>,
    pub public_repo: bool,
    pub private_logs: bool,
    pub stop_builds: bool,
    pub skip_prs: Option<bool>,
    pub skip_automatic_builds: Option<bool>,
    pub created_at: Option<OffsetDateTime>,
    pub updated_at: Option<OffsetDateTime>,
}

/// What a client may write; the aliases are all real.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RepoPatch {
    provider: Option<String>,
    repo: Option<String>,
    repo_path: Option<String>,
    id: Option<Value>,
    repo_id: Option<Value>,
    repo_url: Option<String>,
    branch: Option<String>,
    repo_branch: Option<String>,
    deploy_key_id: Option<String>,
    installation_id: Option<i64>,
    allowed_branches: Option<Vec<String>>,
    cmd: Option<String>,
    dir: Option<String>,
    base: Option<String>,
    package_path: Option<String>,
    functions_dir: Option<String>,
    private: Option<bool>,
    public_repo: Option<bool>,
    private_logs: Option<bool>,
    stop_builds: Option<bool>,
    skip_prs: Option<bool>,
    skip_automatic_builds: Option<bool>,
}

impl RepoPatch {
    /// Pairs of spellings that contradict each other; which one Netlify would take is unknown, so a client must not do it.
    pub fn contradictions(&self) -> Vec<&'static str> {
        let differ =
            |a: &Option<String>, b: &Option<String>| matches!((a, b), (Some(a), Some(b)) if a != b);
        let checks = [
            ("repo_path/repo", differ(&self.repo_path, &self.repo)),
            (
                "repo_branch/branch",
                differ(&self.repo_branch, &self.branch),
            ),
            (
                "id/repo_id",
                matches!((&self.id, &self.repo_id), (Some(a), Some(b)) if a != b),
            ),
            (
                "private/public_repo",
                self.private.is_some() && self.private == self.public_repo,
            ),
            (
                "deploy_key_id/installation_id",
                self.deploy_key_id.is_some() && self.installation_id.is_some(),
            ),
        ];
        checks.into_iter().filter(|c| c.1).map(|c| c.0).collect()
    }

    /// Lays the patch over what is there. `None` when this would link nothing: no provider or no path.
    pub fn onto(self, old: Option<&Repo>, now: OffsetDateTime) -> Option<Repo> {
        let mut repo = old.cloned().unwrap_or_default();
        set(&mut repo.provider, self.provider);
        set(&mut repo.repo_path, self.repo_path.or(self.repo));
        set(&mut repo.branch, self.repo_branch.or(self.branch));
        set(&mut repo.allowed_branches, self.allowed_branches);
        set(&mut repo.private_logs, self.private_logs);
        set(&mut repo.stop_builds, self.stop_builds);
        set(
            &mut repo.public_repo,
            self.public_repo.or(self.private.map(|p| !p)),
        );
        set_some(&mut repo.repo_id, self.id.or(self.repo_id));
        set_some(&mut repo.repo_url, self.repo_url);
        set_some(&mut repo.deploy_key_id, self.deploy_key_id);
        set_some(&mut repo.installation_id, self.installation_id);
        set_some(&mut repo.cmd, self.cmd);
        set_some(&mut repo.dir, self.dir);
        set_some(&mut repo.base, self.base);
        set_some(&mut repo.package_path, self.package_path);
        set_some(&mut repo.functions_dir, self.functions_dir);
        set_some(&mut repo.skip_prs, self.skip_prs);
        set_some(&mut repo.skip_automatic_builds, self.skip_automatic_builds);
        repo.created_at.get_or_insert(now);
        repo.updated_at = Some(now);
        if repo.branch.is_empty() {
            "main".clone_into(&mut repo.branch);
        }
        (!repo.provider.is_empty() && !repo.repo_path.is_empty()).then_some(repo)
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn set_some<T>(field: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *field = value;
    }
}

impl Repo {
    /// Whether a push to this branch is to be built.
    pub fn builds(&self, branch: &str) -> bool {
        branch == self.branch || self.lists(branch)
    }

    /// Whether the branch is among the allowed ones; without a list every one is.
    pub fn lists(&self, branch: &str) -> bool {
        self.allowed_branches.is_empty() || self.allowed_branches.iter().any(|b| b == branch)
    }

    /// Whether this repository is the one with the id and path in a provider's event.
    pub fn is(&self, id: &Value, full_name: &str, by_path: bool) -> bool {
        match &self.repo_id {
            Some(own) => plain(own) == plain(id),
            None => by_path && self.repo_path == full_name,
        }
    }

    /// `build_settings` in answers.
    pub fn view(&self) -> Value {
        json!({
            "provider": self.provider, "repo_type": "git", "repo_path": self.repo_path,
            "repo_url": self.repo_url.clone().unwrap_or_else(|| self.derived_url()),
            "repo_branch": self.branch, "branch": self.branch, "allowed_branches": self.allowed_branches,
            "deploy_key_id": self.deploy_key_id, "installation_id": self.installation_id,
            "cmd": self.cmd, "dir": self.dir, "base": self.base, "package_path": self.package_path,
            "functions_dir": self.functions_dir, "public_repo": self.public_repo,
            "private_logs": self.private_logs, "stop_builds": self.stop_builds, "skip_prs": self.skip_prs,
            "skip_automatic_builds": self.skip_automatic_builds, "untrusted_flow": "review", "env": {},
            "created_at": self.created_at.map(milliseconds), "updated_at": self.updated_at.map(milliseconds),
        })
    }

    /// The address that builds clone: of the provider by its path, or the SSH address that a client wrote for `manual`.
    pub fn clone_url(&self, world: &World) -> Option<String> {
        let path = self.repo_path.as_str();
        let provider = match self.provider.as_str() {
            "github" => Provider::Github,
            "gitlab" => Provider::Gitlab,
            "bitbucket" => Provider::Bitbucket,
            "azure_devops" => Provider::AzureDevops,
            _ => return is_ssh(path).then(|| path.to_owned()),
        };
        // Azure's web form `org/project/_git/repo` is also a path.
        let path = percent_decode_str(path).decode_utf8_lossy();
        Some(ssh_url(world, provider, &path.replace("/_git/", "/")))
    }

    fn derived_url(&self) -> String {
        let host = match self.provider.as_str() {
            "gitlab" => "https://gitlab.com/",
            "bitbucket" => "https://bitbucket.org/",
            "azure_devops" => "https://dev.azure.com/",
            "manual" => "",
            _ => "https://github.com/",
        };
        format!("{host}{}", self.repo_path)
    }
}

/// `ssh://…` or `user@host:path`.
fn is_ssh(address: &str) -> bool {
    let scp = |(host, path): (&str, &str)| host.contains('@') && !path.starts_with("//");
    address.starts_with("ssh://") || address.split_once(':').is_some_and(scp)
}

/// Ids are compared as text, so that `17` and `"17"` are one.
fn plain(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
