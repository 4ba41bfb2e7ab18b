//! The repository object, by which Netlify learns what to build: where every failure is silent.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Site, gone};
use crate::{
    link::{
        facts::{Repository, SiteBefore},
        failure::FailureCode,
        request::BuildSettings,
    },
    upstream::{Access, Call, UpstreamError, UpstreamKind},
};

/// A repository to be attached to a site.
#[derive(Debug, Clone)]
pub struct Attach<'a> {
    /// Whose repository it is.
    pub provider: UpstreamKind,
    /// The repository; its `branch` becomes the production branch.
    pub repository: &'a Repository,
    /// How Netlify gets at it.
    pub key: CloneKey<'a>,
    /// How Netlify builds; where nothing is said, `netlify.toml` or detection decides.
    pub build: BuildSettings,
    /// Branches that Netlify builds; empty means *every* branch. Without the production branch Netlify ignores
    /// pushes to it.
    pub allowed_branches: &'a [String],
    /// Keep Netlify from building until told otherwise.
    pub stop_builds: bool,
}

/// How Netlify gets at a repository: by one of the two, never both (netlify.md, finding 5).
#[derive(Debug, Clone, Copy)]
pub enum CloneKey<'a> {
    /// Netlify's id of a key pair whose public half is on the repository.
    DeployKey(&'a str),
    /// An installation of Netlify's GitHub App.
    Installation(u64),
}

impl<'a> CloneKey<'a> {
    const fn ids(self) -> (Option<&'a str>, Option<u64>) {
        match self {
            Self::DeployKey(id) => (Some(id), None),
            Self::Installation(id) => (None, Some(id)),
        }
    }

    /// Whether the site clones by it.
    pub fn is_kept(self, site: &Site) -> bool {
        match self {
            Self::DeployKey(id) => site.deploy_key_id() == Some(id),
            Self::Installation(id) => site.installation_id() == Some(id),
        }
    }
}

impl std::fmt::Display for CloneKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DeployKey(id) => f.write_str(id),
            Self::Installation(id) => id.fmt(f),
        }
    }
}

/// Both spellings of every field that Netlify knows by two names: which one it reads has changed over the years, and
/// a link whose id or branch was not understood builds once and never again.
#[derive(Serialize)]
struct Repo<'a> {
    provider: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repo_id: Option<Value>,
    repo: &'a str,
    repo_path: &'a str,
    repo_url: &'a str,
    repo_type: &'static str,
    branch: &'a str,
    repo_branch: &'a str,
    private: bool,
    public_repo: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    deploy_key_id: Option<&'a str>,
    /// A number, though the guide writes a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    installation_id: Option<u64>,
    allowed_branches: &'a [String],
    #[serde(flatten)]
    settings: Settings<'a>,
    stop_builds: bool,
}

/// How to build, in Netlify's words.
#[derive(Serialize)]
struct Settings<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cmd: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dir: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    functions_dir: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_path: Option<&'a str>,
}

impl<'a> Settings<'a> {
    fn of(build: &'a BuildSettings) -> Self {
        Self {
            cmd: build.command.as_deref(),
            dir: build.publish.as_deref(),
            base: build.base.as_deref(),
            functions_dir: build.functions.as_deref(),
            package_path: build.package_path.as_deref(),
        }
    }
}

impl<'a> Repo<'a> {
    fn new(attach: &'a Attach<'a>) -> Self {
        let repository = attach.repository;
        let id = repository_id(attach.provider, repository);
        let path = repository_path(attach.provider, repository);
        let (deploy_key_id, installation_id) = attach.key.ids();
        Self {
            provider: word(attach.provider),
            id: id.clone(),
            repo_id: id,
            repo: path,
            repo_path: path,
            repo_url: &repository.web_url,
            repo_type: "git",
            branch: &repository.branch,
            repo_branch: &repository.branch,
            private: repository.private,
            public_repo: !repository.private,
            deploy_key_id,
            installation_id,
            allowed_branches: attach.allowed_branches,
            settings: Settings::of(&attach.build),
            stop_builds: attach.stop_builds,
        }
    }
}

/// Netlify's own word for a provider: ours, but for those that it does not know.
fn word(provider: UpstreamKind) -> &'static str {
    match provider {
        UpstreamKind::Gitea => UpstreamKind::Manual.as_str(),
        known => known.as_str(),
    }
}

/// The name by which Netlify finds the repository, and under which it shows it again.
pub fn repository_path(provider: UpstreamKind, repository: &Repository) -> &str {
    match provider {
        // Without user and host Netlify cannot clone it, and a later PATCH does not mend it.
        UpstreamKind::Manual | UpstreamKind::Gitea => &repository.ssh_url,
        // `organisation/project/_git/name`, encoded: blanks would end an address.
        UpstreamKind::AzureDevops => below_host(&repository.web_url),
        _ => &repository.path,
    }
}

fn below_host(url: &str) -> &str {
    url.splitn(4, '/').nth(3).unwrap_or(url)
}

/// The id by which Netlify recognises the repository in a push: GitHub's and GitLab's are numbers, Bitbucket's is its
/// `workspace/slug`, Azure DevOps' a GUID, and a manual repository has none.
fn repository_id(provider: UpstreamKind, repository: &Repository) -> Option<Value> {
    let id = &repository.id;
    match provider {
        UpstreamKind::Manual | UpstreamKind::Gitea => None,
        UpstreamKind::Github | UpstreamKind::Gitlab => Some(
            id.parse::<u64>()
                .map_or_else(|_| id.as_str().into(), Into::into),
        ),
        UpstreamKind::Bitbucket => Some(repository.path.as_str().into()),
        UpstreamKind::AzureDevops => id.rsplit('/').next().map(Into::into),
        UpstreamKind::Netlify => Some(id.as_str().into()),
    }
}

/// Attaches a repository to a site. Unless `stop_builds`, Netlify then starts a build by itself; attaching again
/// would start another.
///
/// # Errors
/// `site_gone`; `link_deaf` when Netlify did not keep the key.
pub async fn attach(access: &Access, id: &str, attach: &Attach<'_>) -> Result<Site, UpstreamError> {
    let call = Call::patch(["sites", id]).json(&json!({ "repo": Repo::new(attach) }));
    let answer = access.send(call).await.map_err(|error| gone(error, id))?;
    let site: Site = answer.json()?;
    match deafness(&site, attach) {
        None => Ok(site),
        Some(what) => Err(answer.refused(FailureCode::LinkDeaf, what)),
    }
}

/// What is to change about a site that its repository is attached to.
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// How Netlify gets at the repository.
    pub key: CloneKey<'a>,
    /// Production branch.
    pub branch: &'a str,
    /// How Netlify builds.
    pub build: &'a BuildSettings,
    /// Branches that Netlify builds; empty means *every* branch.
    pub allowed_branches: &'a [String],
    /// Whether Netlify is to build again, should it have been told not to.
    pub resumes_builds: bool,
}

/// The part of `build_settings` that changes, in both spellings.
#[derive(Serialize)]
struct Changed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    deploy_key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    installation_id: Option<u64>,
    branch: &'a str,
    repo_branch: &'a str,
    allowed_branches: &'a [String],
    #[serde(flatten)]
    settings: Settings<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_builds: Option<bool>,
}

/// Changes how an attached site is cloned and built. Unlike attaching, this starts no build.
///
/// # Errors
/// `site_gone`.
pub async fn change(access: &Access, id: &str, to: &Change<'_>) -> Result<Site, UpstreamError> {
    let (deploy_key_id, installation_id) = to.key.ids();
    let changed = Changed {
        deploy_key_id,
        installation_id,
        branch: to.branch,
        repo_branch: to.branch,
        allowed_branches: to.allowed_branches,
        settings: Settings::of(to.build),
        stop_builds: to.resumes_builds.then_some(false),
    };
    let call = Call::patch(["sites", id]).json(&json!({ "build_settings": changed }));
    let answer = access.send(call).await;
    answer.map_err(|error| gone(error, id))?.json()
}

/// Attaches the repository that was attached before, as it was. Netlify starts a build, as for every attaching.
///
/// # Errors
/// `site_gone`.
pub async fn put_back(access: &Access, id: &str, before: &SiteBefore) -> Result<(), UpstreamError> {
    let Some(repository) = &before.repository else {
        return Ok(());
    };
    let repo = Before {
        provider: &repository.provider,
        repo: &repository.path,
        repo_path: &repository.path,
        branch: repository.branch.as_deref(),
        repo_branch: repository.branch.as_deref(),
        deploy_key_id: repository.deploy_key_id.as_deref(),
        installation_id: repository.installation_id,
        allowed_branches: &before.allowed_branches,
        settings: Settings::of(&before.build),
    };
    let call = Call::patch(["sites", id]).json(&json!({ "repo": repo }));
    let answer = access.send(call).await;
    answer.map(drop).map_err(|error| gone(error, id))
}

/// A repository as it was attached before. Its id is not among what Netlify shows, so that it keeps the one that it has.
#[derive(Serialize)]
struct Before<'a> {
    provider: &'a str,
    repo: &'a str,
    repo_path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repo_branch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deploy_key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    installation_id: Option<u64>,
    allowed_branches: &'a [String],
    #[serde(flatten)]
    settings: Settings<'a>,
}

/// What of the repository Netlify did not keep.
fn deafness(site: &Site, attach: &Attach<'_>) -> Option<String> {
    let branch = &attach.repository.branch;
    if site.is_deaf() {
        Some("Netlify kept neither the deploy key nor an app installation.".to_owned())
    } else if !attach.key.is_kept(site) {
        Some("Netlify kept another key or installation than the one that it was given.".to_owned())
    } else if site.branch().is_some_and(|kept| kept != branch) {
        Some(format!("Netlify kept another branch than `{branch}`."))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(id: &str) -> Repository {
        Repository {
            host: "github.com".into(),
            id: id.into(),
            path: "acme/docs".into(),
            web_url: "https://github.com/acme/docs".into(),
            ssh_url: "git@github.com:acme/docs.git".into(),
            private: true,
            branch: "main".into(),
        }
    }

    fn repo(provider: UpstreamKind, id: &str, command: &str) -> Value {
        let command = (!command.is_empty()).then(|| command.to_owned());
        let attach = Attach {
            provider,
            repository: &repository(id),
            key: CloneKey::DeployKey("0123456789abcdef01234567"),
            build: BuildSettings {
                command,
                publish: Some("dist".into()),
                ..BuildSettings::default()
            },
            allowed_branches: &["main".into(), "next".into()],
            stop_builds: false,
        };
        serde_json::to_value(Repo::new(&attach)).unwrap()
    }

    #[test]
    fn the_repository_is_sent_in_both_spellings() {
        assert_eq!(
            repo(UpstreamKind::Github, "42", "make"),
            json!({
                "provider": "github", "id": 42, "repo_id": 42,
                "repo": "acme/docs", "repo_path": "acme/docs",
                "repo_url": "https://github.com/acme/docs", "repo_type": "git",
                "branch": "main", "repo_branch": "main",
                "private": true, "public_repo": false,
                "deploy_key_id": "0123456789abcdef01234567",
                "allowed_branches": ["main", "next"],
                "cmd": "make", "dir": "dist", "stop_builds": false,
            })
        );
    }

    #[test]
    fn ids_have_the_form_that_netlify_expects() {
        assert_eq!(repo(UpstreamKind::Gitlab, "7", "")["id"], json!(7));
        assert_eq!(
            repo(UpstreamKind::Bitbucket, "{0b1c}", "")["repo_id"],
            json!("acme/docs")
        );
        let gitea = repo(UpstreamKind::Gitea, "7", "");
        assert_eq!(gitea["provider"], json!("manual"));
        assert_eq!(gitea.get("id"), None);
        assert_eq!(gitea["repo"], json!("git@github.com:acme/docs.git"));
        let azure = repo(
            UpstreamKind::AzureDevops,
            "project-guid/repository-guid",
            "",
        );
        assert_eq!(azure["id"], json!("repository-guid"));
        let manual = repo(UpstreamKind::Manual, "", "");
        assert_eq!(manual.get("id"), None);
        assert_eq!(manual.get("cmd"), None);
        assert_eq!(manual["repo_path"], json!("git@github.com:acme/docs.git"));
    }
}
