//! Who may call and who may push: tokens and people's SSH keys, as a person would add them in the browser.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Access, Forge, Permissions, PersonKey, Provider, Token, TokenKind};
use crate::world::World;

/// A token to make.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewToken {
    pub token: String,
    pub login: String,
    pub kind: TokenKind,
    /// In the provider's words; when absent, all that a link needs.
    pub scopes: Option<Vec<String>>,
    /// Path of a repository to access.
    pub permissions: BTreeMap<String, Access>,
    /// Access to every repository that `permissions` does not name.
    pub everywhere: Option<Access>,
    /// Unix seconds.
    pub expires_at: Option<i64>,
}

/// A person's SSH key to add.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewPersonKey {
    pub provider: Provider,
    pub login: String,
    pub title: String,
    /// `ssh-ed25519 AAAA… comment`
    pub key: String,
    pub permissions: Permissions,
    /// Unix seconds; not at GitHub, whose keys do not expire.
    pub expires_at: Option<i64>,
}

/// Adds a token, or replaces it.
///
/// # Errors
/// When token or login is missing, or the expiry is no time.
pub fn add_token(world: &World, forge: &Forge, new: NewToken) -> anyhow::Result<()> {
    anyhow::ensure!(
        !new.token.is_empty() && !new.login.is_empty(),
        "a token needs `token` and `login`"
    );
    let expires_at = expiry(new.expires_at)?;
    let now = world.clock.now();
    let mut state = forge.lock();
    state.person(&new.login, now);
    let token = Token {
        id: state.next_id(),
        login: new.login,
        kind: new.kind,
        scopes: new.scopes.unwrap_or_else(|| default_scopes(forge.provider)),
        permissions: Permissions {
            everywhere: new.everywhere,
            repositories: new.permissions,
        },
        created_at: now,
        expires_at,
    };
    state.tokens.insert(new.token, token);
    Ok(())
}

/// Deletes a token; what was made with it stays.
///
/// # Errors
/// When there is no such token.
pub fn revoke_token(forge: &Forge, token: &str) -> anyhow::Result<()> {
    let gone = forge.lock().tokens.remove(token);
    gone.map(drop).context("no such token")
}

/// Removes a person, as when somebody leaves a company: tokens and SSH keys go, keys and webhooks on repositories stay.
///
/// # Errors
/// When there is no such person.
pub fn remove_person(forge: &Forge, login: &str) -> anyhow::Result<()> {
    let gone = forge.lock().remove_person(login);
    gone.map(drop).context("no such person")
}

/// Adds a person's own SSH key, for plain git over the SSH front.
///
/// # Errors
/// When the text is no key, the key is in use, or the expiry is no time.
pub fn add_person_key(world: &World, forge: &Forge, new: NewPersonKey) -> anyhow::Result<()> {
    let key = new.key.parse()?;
    let expires_at = expiry(new.expires_at)?;
    let now = world.clock.now();
    let mut state = forge.lock();
    anyhow::ensure!(!new.login.is_empty(), "a key needs `login`");
    anyhow::ensure!(
        !state.is_personal(&key) && state.installed(&key).next().is_none(),
        "key is already in use"
    );
    state.person(&new.login, now);
    let key = PersonKey {
        id: state.next_id(),
        uuid: Uuid::new_v4(),
        login: new.login,
        title: new.title,
        key,
        permissions: new.permissions,
        within: None,
        by_api: false,
        created_at: now,
        expires_at,
    };
    state.person_keys.push(key);
    Ok(())
}

fn expiry(unix_seconds: Option<i64>) -> anyhow::Result<Option<OffsetDateTime>> {
    Ok(unix_seconds
        .map(OffsetDateTime::from_unix_timestamp)
        .transpose()?)
}

/// The scopes that a link needs, in each provider's words (facts: `providers.md`, sections 3 to 6).
fn default_scopes(provider: Provider) -> Vec<String> {
    let scopes: &[&str] = match provider {
        Provider::Github | Provider::Plain => &[],
        Provider::Gitlab => &["api"],
        Provider::Gitea => &["write:repository", "read:user"],
        Provider::Bitbucket => &[
            "read:user:bitbucket",
            "read:repository:bitbucket",
            "admin:repository:bitbucket",
            "read:webhook:bitbucket",
            "write:webhook:bitbucket",
            "delete:webhook:bitbucket",
        ],
        Provider::AzureDevops => &["app_token"],
    };
    scopes.iter().map(|s| (*s).to_owned()).collect()
}
