//! Sites, and the repository attached to them.

mod repo;

use serde::Deserialize;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use url::Url;

pub use repo::{Attach, CloneKey, attach, put_back, repository_path};

use super::{present, was_there};
use crate::{
    link::{
        facts::{self, AttachedRepository, Attachment, SiteBefore},
        failure::FailureCode,
        request,
    },
    upstream::{Access, Call, UpstreamError},
};

/// A site to be made: bare, so that Netlify builds nothing yet.
#[derive(Debug, Clone)]
pub struct NewSite<'a> {
    /// Unique across Netlify; always sent, because Netlify invents one otherwise.
    pub name: &'a str,
    /// Slug of the team that will own it; absent means the one that Netlify takes for the user.
    pub team: Option<&'a str>,
}

/// A site as Netlify describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Site {
    /// Netlify's id.
    pub id: String,
    /// Name, unique across Netlify.
    pub name: String,
    /// Slug of the team that owns it.
    pub account_slug: Option<String>,
    admin_url: Option<String>,
    url: Option<String>,
    ssl_url: Option<String>,
    /// RFC 3339, by Netlify's clock: compare with [`Access::upstream_now`].
    pub created_at: Option<String>,
    /// Set while Netlify keeps the site from building and serving.
    pub disabled: Option<bool>,
    deploy_hook: Option<String>,
    build_id: Option<String>,
    deploy_id: Option<String>,
    deploy_url: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    build_settings: BuildSettings,
}

/// What Netlify kept of the repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct BuildSettings {
    provider: Option<String>,
    repo_path: Option<String>,
    repo_branch: Option<String>,
    branch: Option<String>,
    deploy_key_id: Option<String>,
    installation_id: Option<Value>,
    stop_builds: Option<bool>,
    cmd: Option<String>,
    dir: Option<String>,
    base: Option<String>,
    functions_dir: Option<String>,
    package_path: Option<String>,
    #[serde(deserialize_with = "null_is_default")]
    allowed_branches: Vec<String>,
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Site {
    /// What a link remembers of it.
    pub fn fact(&self) -> facts::Site {
        let url = present(self.ssl_url.clone()).or(present(self.url.clone()));
        facts::Site {
            id: self.id.clone(),
            name: self.name.clone(),
            url: url.unwrap_or_else(|| format!("https://{}.netlify.app", self.name)),
            admin_url: self.admin_url.clone().unwrap_or_default(),
            team: self.account_slug.clone().unwrap_or_default(),
        }
    }

    /// How it stands before a link touches it. Builds and variables are not part of the answer.
    pub fn before(&self) -> SiteBefore {
        let settings = &self.build_settings;
        let attached = self.repository_path().map(|path| AttachedRepository {
            provider: settings.provider.clone().unwrap_or_default(),
            path: path.to_owned(),
            branch: self.branch().map(str::to_owned),
            deploy_key_id: self.deploy_key_id().map(str::to_owned),
            installation_id: self.installation_id(),
        });
        SiteBefore {
            repository: attached,
            build: request::BuildSettings {
                command: present(settings.cmd.clone()),
                publish: present(settings.dir.clone()),
                base: present(settings.base.clone()),
                functions: present(settings.functions_dir.clone()),
                package_path: present(settings.package_path.clone()),
            },
            allowed_branches: settings.allowed_branches.clone(),
            builds: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// What attaching led to, as far as this answer tells.
    pub fn attachment(&self) -> Attachment {
        Attachment {
            deploy_hook: present(self.deploy_hook.clone()),
            build_id: present(self.build_id.clone()),
            deploy_id: present(self.deploy_id.clone()).or_else(|| self.candidate_deploy_id()),
        }
    }

    /// What [`repository_path`] says of the attached repository; `None` for a bare site.
    pub fn repository_path(&self) -> Option<&str> {
        self.build_settings
            .repo_path
            .as_deref()
            .filter(|path| !path.is_empty())
    }

    /// The provider of the attached repository, in Netlify's words.
    pub fn provider(&self) -> Option<&str> {
        self.build_settings.provider.as_deref()
    }

    /// The production branch.
    pub fn branch(&self) -> Option<&str> {
        let settings = &self.build_settings;
        settings
            .repo_branch
            .as_deref()
            .or(settings.branch.as_deref())
    }

    /// Branches that are built; empty: every branch.
    pub fn allowed_branches(&self) -> &[String] {
        &self.build_settings.allowed_branches
    }

    /// The key pair that the site clones with.
    pub fn deploy_key_id(&self) -> Option<&str> {
        self.build_settings
            .deploy_key_id
            .as_deref()
            .filter(|id| !id.is_empty())
    }

    /// The installation of Netlify's GitHub App that the site clones by. Netlify writes a number, its guide a text.
    pub fn installation_id(&self) -> Option<u64> {
        let id = self.build_settings.installation_id.as_ref()?;
        id.as_u64().or_else(|| id.as_str()?.parse().ok())
    }

    /// Whether Netlify builds on no push.
    pub fn builds_are_stopped(&self) -> bool {
        self.build_settings.stop_builds == Some(true)
    }

    /// Whether the site knows neither a key nor an app installation: it cannot clone a private repository and does
    /// not hear pushes, however healthy it looks.
    pub fn is_deaf(&self) -> bool {
        let installed = self.build_settings.installation_id.as_ref();
        self.deploy_key_id().is_none() && installed.is_none_or(Value::is_null)
    }

    /// When it was made, by Netlify's clock.
    pub fn made_at(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(self.created_at.as_deref()?, &Rfc3339).ok()
    }

    /// Right after attaching, `deploy_id` is empty but `deploy_url` already begins with it (seen in the field,
    /// undocumented). Later a branch name stands there, hence the check of the form.
    fn candidate_deploy_id(&self) -> Option<String> {
        let url = Url::parse(self.deploy_url.as_deref()?).ok()?;
        let (id, _) = url.host_str()?.split_once("--")?;
        let is_id = id.len() == 24 && id.bytes().all(|b| b.is_ascii_hexdigit());
        is_id.then(|| id.to_owned())
    }
}

/// Makes a bare site.
///
/// # Errors
/// `site_name_taken` (which may be our own, made by a call whose answer was lost: see [`find_by_name`]);
/// `team_not_found`.
pub async fn create(access: &Access, new: &NewSite<'_>) -> Result<Site, UpstreamError> {
    let call = match new.team {
        Some(team) => Call::post([team, "sites"]),
        None => Call::post(["sites"]),
    };
    let call = call.json(&json!({ "name": new.name }));
    let answer = access.send(call).await.map_err(|error| {
        let team = new.team.unwrap_or("(default)");
        let detail = format!("Netlify knows no team `{team}` of this credential.");
        error.if_missing(FailureCode::TeamNotFound, detail)
    })?;
    answer.json()
}

/// The site of that name, if the credential may see it. A name held by strangers is `None` as well.
///
/// # Errors
/// As [`Access::send`].
pub async fn find_by_name(access: &Access, name: &str) -> Result<Option<Site>, UpstreamError> {
    let domain = format!("{name}.netlify.app");
    match access.send(Call::get(["sites", &domain])).await {
        Ok(answer) => answer.json().map(Some),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The site with that id.
///
/// # Errors
/// `site_gone`.
pub async fn get(access: &Access, id: &str) -> Result<Site, UpstreamError> {
    let answer = access.send(Call::get(["sites", id])).await;
    answer.map_err(|error| gone(error, id))?.json()
}

/// Detaches the repository. Netlify also deletes the site's deploy keys and build hooks; the provider's half stays.
/// Whether it was there.
///
/// # Errors
/// As [`Access::send`].
pub async fn unlink_repo(access: &Access, id: &str) -> Result<bool, UpstreamError> {
    was_there(access.send(Call::put(["sites", id, "unlink_repo"])).await)
}

/// Keeps a site from building, whatever is pushed. Unlike `repo`, `build_settings` starts no build when it is changed.
/// Whether the site was there.
///
/// # Errors
/// As [`Access::send`].
pub async fn stop_builds(access: &Access, id: &str) -> Result<bool, UpstreamError> {
    let settings = json!({ "build_settings": { "stop_builds": true } });
    let call = Call::patch(["sites", id]).json(&settings);
    was_there(access.send(call).await)
}

/// Deletes a site with everything on it; its name is free at once. Whether it was there.
///
/// # Errors
/// As [`Access::send`].
pub async fn delete(access: &Access, id: &str) -> Result<bool, UpstreamError> {
    was_there(access.send(Call::delete(["sites", id])).await)
}

fn gone(error: UpstreamError, id: &str) -> UpstreamError {
    error.if_missing(
        FailureCode::SiteGone,
        format!("Netlify has no site with the id {id} for this credential."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(more: Value) -> Site {
        let mut whole = json!({ "id": "s1", "name": "docs" });
        whole
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn the_deploy_is_known_from_its_address_before_its_id_is_filled_in() {
        let id = "62a1b2c3d4e5f60718293a4b";
        for (answer, deploy_id) in [
            (json!({ "deploy_id": id, "deploy_url": "" }), Some(id)),
            (
                json!({ "deploy_id": "", "deploy_url": format!("http://{id}--docs.netlify.app") }),
                Some(id),
            ),
            (
                json!({ "deploy_id": "", "deploy_url": "http://main--docs.netlify.app" }),
                None,
            ),
            (json!({ "deploy_id": null, "deploy_url": null }), None),
            (json!({}), None),
        ] {
            assert_eq!(site(answer).attachment().deploy_id.as_deref(), deploy_id);
        }
    }

    #[test]
    fn a_site_with_neither_key_nor_installation_is_deaf() {
        for (settings, deaf) in [
            (json!(null), true),
            (json!({ "repo_path": "acme/docs" }), true),
            (
                json!({ "deploy_key_id": null, "installation_id": null }),
                true,
            ),
            (
                json!({ "deploy_key_id": "", "installation_id": null }),
                true,
            ),
            (json!({ "deploy_key_id": "k" }), false),
            (json!({ "installation_id": 5 }), false),
        ] {
            assert_eq!(site(json!({ "build_settings": settings })).is_deaf(), deaf);
        }
    }
}
