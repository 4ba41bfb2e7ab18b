//! Who may call and who may push: tokens and people's SSH keys, as a person would add them in the browser.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::state::{Access, Permissions, PersonKey, Token, TokenKind};
pub use crate::forge::NewPersonKey;
use crate::world::World;

/// A token to make.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewToken {
    pub token: String,
    pub login: String,
    pub kind: TokenKind,
    /// Of a classic token; `repo` and `admin:repo_hook` when absent.
    pub scopes: Option<Vec<String>>,
    /// Of the other kinds: `administration`, `repository_hooks`, `contents` to `read` or `write`.
    pub grants: BTreeMap<String, String>,
    /// `owner/name` to access.
    pub permissions: BTreeMap<String, Access>,
    /// Access to every repository that `permissions` does not name.
    pub everywhere: Option<Access>,
    /// Where the token must be let into organisations first (single sign-on); until then they refuse it.
    pub sso_url: Option<String>,
    /// Unix seconds.
    pub expires_at: Option<i64>,
}

/// Adds a token, or replaces it.
///
/// # Errors
/// When token or login is missing, or the expiry is no time.
pub fn add_token(world: &World, new: NewToken) -> anyhow::Result<()> {
    anyhow::ensure!(
        !new.token.is_empty() && !new.login.is_empty(),
        "a token needs `token` and `login`"
    );
    let expires_at = new
        .expires_at
        .map(OffsetDateTime::from_unix_timestamp)
        .transpose()?;
    let default_scopes = || ["repo", "admin:repo_hook"].map(str::to_owned).to_vec();
    let token = Token {
        login: new.login.clone(),
        kind: new.kind,
        scopes: new.scopes.unwrap_or_else(default_scopes),
        grants: new.grants,
        permissions: Permissions {
            everywhere: new.everywhere,
            repositories: new.permissions,
        },
        sso_url: new.sso_url,
        expires_at,
        installation: None,
    };
    let now = world.clock.now();
    let mut state = world.github.lock();
    state.account(&new.login, false, now);
    state.tokens.insert(new.token, token);
    Ok(())
}

/// Deletes a token, and with a personal one every deploy key that was made with it (GitHub's page on deploy keys).
///
/// # Errors
/// When there is no such token.
pub fn revoke_token(world: &World, token: &str) -> anyhow::Result<()> {
    let mut state = world.github.lock();
    let gone = state.tokens.remove(token).context("no such token")?;
    if gone.kind != TokenKind::Installation {
        for repository in state.repositories.values_mut() {
            repository.keys.retain(|key| key.added_with != token);
        }
    }
    Ok(())
}

/// Adds a person's own SSH key, for plain git over the SSH front.
///
/// # Errors
/// When the text is no key, or the key is in use.
pub fn add_person_key(world: &World, new: NewPersonKey) -> anyhow::Result<()> {
    anyhow::ensure!(!new.login.is_empty(), "a key needs `login`");
    let key = new.key.parse()?;
    let now = world.clock.now();
    let mut state = world.github.lock();
    anyhow::ensure!(!state.key_in_use(&key), "key is already in use");
    state.account(&new.login, false, now);
    state.person_keys.push(PersonKey {
        login: new.login,
        key,
        permissions: new.permissions,
    });
    Ok(())
}
