//! What Azure DevOps answers about repositories and people, as far as linking needs it.

use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

use super::web_address;
use crate::{
    link::{facts::Repository, failure::FailureCode},
    upstream::{Answer, Class, Instance, Page, UpstreamError},
};

/// A list, in Azure's wrapping.
#[derive(Deserialize)]
struct Listed<T> {
    value: Vec<T>,
}

/// The items of a list, or of a part of it: then a header has the token that asks for the next.
pub(super) fn open_page<T: DeserializeOwned>(answer: &Answer) -> Result<Page<T>, UpstreamError> {
    let items = answer.json::<Listed<T>>()?.value;
    let token = answer.header("x-ms-continuationtoken");
    let next = token.map(|token| next_page(&answer.url, token));
    Ok(Page { items, next })
}

fn next_page(url: &Url, token: &str) -> Url {
    const NAME: &str = "continuationToken";
    let asked = url.query_pairs().filter(|(name, _)| name != NAME);
    let asked: Vec<_> = asked
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let mut next = url.clone();
    next.query_pairs_mut()
        .clear()
        .extend_pairs(asked)
        .append_pair(NAME, token);
    next
}

#[derive(Deserialize)]
pub(super) struct Ref {
    /// `refs/heads/main`.
    pub(super) name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Repo {
    id: String,
    name: String,
    project: Project,
    /// `refs/heads/main`; absent while the repository is empty.
    default_branch: Option<String>,
    is_disabled: Option<bool>,
    is_in_maintenance: Option<bool>,
}

#[derive(Deserialize)]
struct Project {
    id: String,
    name: String,
    /// `private` or `public`; new words may appear, and what is not public is private.
    visibility: Option<String>,
}

impl Repo {
    /// The default branch of a repository that can be linked.
    pub(super) fn check_state(&self, answer: &Answer) -> Result<&str, UpstreamError> {
        let path = format!("{}/{}", self.project.name, self.name);
        if self.is_disabled == Some(true) {
            let detail = format!("`{path}` is disabled in the project's settings.");
            return Err(answer.refused(FailureCode::RepositoryArchived, detail));
        }
        if self.is_in_maintenance == Some(true) {
            let detail = format!("`{path}` is in maintenance.");
            let code = FailureCode::UpstreamUnavailable;
            return Err(answer.error(code, Class::Transient, detail));
        }
        let main = self.default_branch.as_deref().ok_or_else(|| {
            let detail = format!("`{path}` has no commits yet.");
            answer.refused(FailureCode::RepositoryEmpty, detail)
        })?;
        Ok(main.strip_prefix("refs/heads/").unwrap_or(main))
    }

    /// Addresses are made from the names: what Azure answers depends on which of its hosts the organisation uses, and
    /// the old one is not for new keys.
    pub(super) fn fact(self, organisation: &str, instance: &Instance, branch: &str) -> Repository {
        let (project, name) = (&self.project.name, &self.name);
        let ssh = web_address("v3", &[organisation, project, name]);
        let ssh = ssh.trim_start_matches("https://");
        Repository {
            host: instance.host.clone(),
            id: format!("{}/{}", self.project.id, self.id),
            path: format!("{organisation}/{project}/{name}"),
            web_url: web_address(&instance.host, &[organisation, project, "_git", name]),
            ssh_url: format!("git@{}:{ssh}", instance.ssh_host),
            private: self.project.visibility.as_deref() != Some("public"),
            branch: branch.to_owned(),
        }
    }
}

/// Whom a credential belongs to, as an organisation sees it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConnectionData {
    authenticated_user: Person,
    /// GUID of the organisation.
    pub(super) instance_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Person {
    id: String,
    provider_display_name: Option<String>,
    #[serde(default)]
    properties: Properties,
}

#[derive(Default, Deserialize)]
struct Properties {
    #[serde(rename = "Account")]
    account: Option<Property>,
}

#[derive(Deserialize)]
struct Property {
    #[serde(rename = "$value")]
    value: Option<String>,
}

impl ConnectionData {
    /// Azure's name for nobody.
    pub(super) fn is_anonymous(&self) -> bool {
        self.authenticated_user.id == "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"
    }

    /// The account's e-mail address where Azure gives it, else the person's name.
    pub(super) fn login(self) -> String {
        let person = self.authenticated_user;
        let account = person.properties.account.and_then(|account| account.value);
        account
            .or(person.provider_display_name)
            .unwrap_or(person.id)
    }
}

/// Whom a credential belongs to, without an organisation.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Profile {
    id: String,
    email_address: Option<String>,
    display_name: Option<String>,
}

impl Profile {
    pub(super) fn login(self) -> String {
        self.email_address.or(self.display_name).unwrap_or(self.id)
    }
}
