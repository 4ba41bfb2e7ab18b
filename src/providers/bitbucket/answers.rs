//! What Bitbucket answers, as far as linking needs it, and what it says about scopes.

use serde::{Deserialize, de::DeserializeOwned};
use time::OffsetDateTime;

use super::EVENTS;
use crate::{
    link::{
        facts::{Repository, Webhook},
        failure::FailureCode,
    },
    providers::{RepositoryKey, WebhookFault, same_address},
    upstream::{Answer, Instance, Page, UpstreamError},
};

/// A page of a list, in Bitbucket's wrapping.
#[derive(Deserialize)]
struct Wrapped<T> {
    values: Vec<T>,
    next: Option<String>,
}

/// A page of a list, with the next one's address as Bitbucket gives it.
pub(super) fn open_page<T: DeserializeOwned>(answer: &Answer) -> Result<Page<T>, UpstreamError> {
    let page: Wrapped<T> = answer.json()?;
    let next = page.next.map(|next| answer.url.join(&next)).transpose();
    let next = next.map_err(|_| answer.contract_changed("names a next page that is no address"))?;
    let items = page.values;
    Ok(Page { items, next })
}

#[derive(Deserialize)]
pub(super) struct User {
    username: Option<String>,
    nickname: Option<String>,
    display_name: Option<String>,
    uuid: String,
}

impl User {
    /// Atlassian hides some of the names from some tokens.
    pub(super) fn name(self) -> String {
        let names = self.username.or(self.nickname).or(self.display_name);
        names.unwrap_or(self.uuid)
    }
}

#[derive(Deserialize)]
pub(super) struct Permission {
    permission: String,
}

impl Permission {
    pub(super) fn is_admin(&self) -> bool {
        self.permission == "admin"
    }
}

#[derive(Deserialize)]
pub(super) struct Repo {
    /// In braces.
    uuid: String,
    /// `workspace/slug`.
    pub(super) full_name: String,
    is_private: bool,
    /// Null while the repository is empty.
    mainbranch: Option<Named>,
    #[serde(default)]
    links: Links,
}

#[derive(Deserialize)]
struct Named {
    name: Option<String>,
}

#[derive(Default, Deserialize)]
struct Links {
    html: Option<Address>,
    #[serde(default)]
    clone: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    href: String,
    name: Option<String>,
}

impl Repo {
    pub(super) fn main_branch(&self) -> Option<&str> {
        self.mainbranch.as_ref()?.name.as_deref()
    }

    pub(super) fn check_scopes(&self, answer: &Answer) -> Result<(), UpstreamError> {
        match scopes(answer).and_then(|scopes| missing_scope(&scopes)) {
            None => Ok(()),
            Some(scope) => {
                let path = &self.full_name;
                let detail = format!("The token needs the scope `{scope}` for `{path}`.");
                Err(answer.refused(FailureCode::ScopeMissing, detail))
            }
        }
    }

    pub(super) fn fact(self, instance: &Instance, branch: String) -> Repository {
        let path = self.full_name;
        let mut clone = self.links.clone.into_iter();
        let ssh = clone.find(|address| address.name.as_deref() == Some("ssh"));
        Repository {
            host: instance.host.clone(),
            id: self.uuid,
            web_url: match self.links.html {
                Some(page) => page.href,
                None => format!("https://{}/{path}", instance.host),
            },
            ssh_url: match ssh {
                Some(address) => address.href,
                None => format!("git@{}:{path}.git", instance.ssh_host),
            },
            path,
            private: self.is_private,
            branch,
        }
    }
}

/// What linking needs: the word for OAuth and access tokens, and the word for API tokens, whose scopes do not imply
/// each other.
///
/// <https://developer.atlassian.com/cloud/bitbucket/rest/intro/#authentication>
const NEEDED: [(&str, &str); 4] = [
    ("repository:admin", "admin:repository:bitbucket"),
    ("webhook", "read:webhook:bitbucket"),
    ("webhook", "write:webhook:bitbucket"),
    ("webhook", "delete:webhook:bitbucket"),
];

fn missing_scope(scopes: &[String]) -> Option<&'static str> {
    let has = |wanted: &str| scopes.iter().any(|scope| scope == wanted);
    let is_api_token = scopes.iter().any(|scope| scope.ends_with(":bitbucket"));
    NEEDED.iter().find_map(|(classic, own)| {
        let wanted = if is_api_token { own } else { classic };
        (!has(wanted)).then_some(*wanted)
    })
}

/// Scopes of the credential; `None` when Bitbucket names none.
pub(super) fn scopes(answer: &Answer) -> Option<Vec<String>> {
    let list = answer.header("x-oauth-scopes")?;
    let named = list.split([',', ' ']).filter(|scope| !scope.is_empty());
    let named: Vec<_> = named.map(str::to_owned).collect();
    (!named.is_empty()).then_some(named)
}

#[derive(Deserialize)]
pub(super) struct Key {
    id: u64,
    /// Type and base64; the comment stands in a field of its own.
    pub(super) key: String,
    #[serde(default, with = "time::serde::rfc3339::option")]
    added_on: Option<OffsetDateTime>,
    last_used: Option<String>,
}

impl From<Key> for RepositoryKey {
    fn from(key: Key) -> Self {
        Self {
            id: key.id.to_string(),
            // Access keys cannot push by nature, and there is no switch for them.
            read_only: true,
            enabled: true,
            created_at: key.added_on,
            last_used: key.last_used,
            expires_at: None,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Hook {
    /// In braces.
    pub(super) uuid: String,
    #[serde(default)]
    pub(super) active: bool,
    url: Option<String>,
    description: Option<String>,
    #[serde(default)]
    events: Vec<String>,
    #[serde(default)]
    skip_cert_verification: bool,
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(super) created_at: Option<OffsetDateTime>,
}

impl Hook {
    pub(super) fn points_at(&self, url: &str) -> bool {
        let own = self.url.as_deref();
        own.is_some_and(|own| same_address(own, url))
    }

    pub(super) fn fact(self) -> Webhook {
        Webhook {
            id: self.uuid,
            url: self.url.unwrap_or_default(),
        }
    }

    pub(super) fn description(&self) -> &str {
        self.description.as_deref().unwrap_or("Netlify")
    }

    pub(super) fn faults(&self) -> Vec<WebhookFault> {
        let missing = self.missing_events();
        [
            (!self.active).then_some(WebhookFault::Inactive),
            (!missing.is_empty()).then_some(WebhookFault::MissingEvents(missing)),
            self.skip_cert_verification
                .then_some(WebhookFault::InsecureTls),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Those that it tells about and those that it should.
    pub(super) fn all_events(&self) -> Vec<String> {
        let missing = self.missing_events();
        self.events.iter().cloned().chain(missing).collect()
    }

    fn missing_events(&self) -> Vec<String> {
        let missing = EVENTS
            .iter()
            .filter(|event| !self.events.iter().any(|own| own == *event));
        missing.map(|event| (*event).to_owned()).collect()
    }
}
