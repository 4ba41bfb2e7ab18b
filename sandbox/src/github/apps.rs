//! GitHub Apps and where they are installed, as a person would make and install them in the browser.

use std::collections::BTreeMap;

use anyhow::Context;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::state::{Access, Permissions, Repository, State};
use crate::world::World;

/// Netlify's own app, known to everybody.
pub const NETLIFY_APP: &str = "netlify";

/// A GitHub App.
#[derive(Clone, Debug)]
pub struct App {
    pub id: u64,
    pub slug: String,
    pub name: String,
    pub client_id: String,
    pub owner: String,
    /// Of the key that its JWTs are signed with, as DER; empty for apps whose key nobody here has.
    pub public_key: Vec<u8>,
    /// `administration`, `repository_hooks`, `contents`, … to `read` or `write`.
    pub permissions: BTreeMap<String, String>,
    pub events: Vec<String>,
    pub created_at: OffsetDateTime,
}

/// An app on one account.
#[derive(Clone, Debug)]
pub struct Installation {
    pub id: u64,
    pub app: String,
    pub account: String,
    /// Names of the repositories that it may see; `None`: all of the account.
    pub repositories: Option<Vec<String>>,
    pub suspended: bool,
    pub created_at: OffsetDateTime,
}

impl Installation {
    /// Whether the app may see the repository by this installation.
    pub fn covers(&self, repository: &Repository) -> bool {
        let selected = |names: &Vec<String>| {
            names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(&repository.name))
        };
        !self.suspended
            && self.account.eq_ignore_ascii_case(&repository.owner)
            && self.repositories.as_ref().is_none_or(selected)
    }
}

/// An app to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewApp {
    pub slug: String,
    pub owner: String,
    pub permissions: BTreeMap<String, String>,
}

impl Default for NewApp {
    fn default() -> Self {
        let permissions = [
            ("administration", "write"),
            ("contents", "read"),
            ("metadata", "read"),
            ("repository_hooks", "write"),
        ];
        let text = |(name, level): (&str, &str)| (name.to_owned(), level.to_owned());
        Self {
            slug: String::new(),
            owner: "acme".to_owned(),
            permissions: permissions.map(text).into(),
        }
    }
}

/// An app to install.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewInstallation {
    /// The app's slug; `netlify` is always there.
    pub app: String,
    pub account: String,
    /// Names of repositories; all when absent.
    pub repositories: Option<Vec<String>>,
    pub suspended: bool,
    /// Of the installation to change, or to make.
    pub id: Option<u64>,
}

/// Makes an app; its ids, and the private key that GitHub shows once.
///
/// # Errors
/// When it has no slug or the slug is taken.
pub fn create_app(world: &World, new: NewApp) -> anyhow::Result<Value> {
    // C and assembler: finding primes in pure Rust is too slow in a debug build.
    let pair = KeyPair::generate(KeySize::Rsa2048)?;
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair)?;
    let now = world.clock.now();
    let mut state = world.github.lock();
    anyhow::ensure!(
        !new.slug.is_empty() && !state.apps.contains_key(&new.slug),
        "an app needs a `slug` of its own"
    );
    state.account(&new.owner, true, now);
    let public_key = pair.public_key().as_ref().to_vec();
    let app = add_app(&mut state, new, public_key, now);
    Ok(
        json!({"id": app.id, "client_id": app.client_id, "slug": app.slug, "private_key": pem(pkcs1(der.as_ref())?)}),
    )
}

/// Makes Netlify's app, whose key nobody here has.
pub fn add_netlifys(state: &mut State, now: OffsetDateTime) {
    let netlify = NewApp {
        slug: NETLIFY_APP.to_owned(),
        owner: NETLIFY_APP.to_owned(),
        ..NewApp::default()
    };
    state.account(NETLIFY_APP, true, now);
    add_app(state, netlify, Vec::new(), now);
}

fn add_app(state: &mut State, new: NewApp, public_key: Vec<u8>, now: OffsetDateTime) -> App {
    let id = state.next_id();
    let app = App {
        id,
        client_id: format!("Iv23li{id:014}"),
        name: new.slug.clone(),
        slug: new.slug,
        owner: new.owner,
        public_key,
        permissions: new.permissions,
        events: vec!["push".to_owned(), "pull_request".to_owned()],
        created_at: now,
    };
    state.apps.insert(app.slug.clone(), app.clone());
    app
}

/// Installs an app on an account, or changes where it is installed; the installation's id.
///
/// # Errors
/// When there is no such app or account.
pub fn install(world: &World, new: NewInstallation) -> anyhow::Result<u64> {
    let now = world.clock.now();
    let mut state = world.github.lock();
    anyhow::ensure!(state.apps.contains_key(&new.app), "no app {:?}", new.app);
    let known = state
        .accounts
        .contains_key(&new.account.to_ascii_lowercase());
    anyhow::ensure!(known, "no account {:?}", new.account);
    let id = new.id.unwrap_or_else(|| state.next_id());
    let installation = Installation {
        id,
        app: new.app,
        account: new.account,
        repositories: new.repositories,
        suspended: new.suspended,
        created_at: now,
    };
    state.installations.insert(id, installation);
    Ok(id)
}

/// What a token of this installation may see and do now.
pub fn permissions_of(state: &State, installation: &Installation) -> Permissions {
    let covered = state
        .repositories
        .values()
        .filter(|r| installation.covers(r));
    Permissions {
        everywhere: None,
        repositories: covered.map(|r| (r.full_name(), Access::Admin)).collect(),
    }
}

/// The repository with this id or name, when Netlify's app may see it by this installation.
pub fn seen_by_netlify<'s>(
    state: &'s State,
    installation: u64,
    id: Option<u64>,
    full_name: &str,
) -> Option<&'s Repository> {
    let installation = state.installations.get(&installation)?;
    let repository = match id {
        Some(id) => state.repositories.get(&id)?,
        None => state.named(full_name)?,
    };
    let seen = installation.app == NETLIFY_APP && installation.covers(repository);
    seen.then_some(repository)
}

/// The key inside a PKCS#8 envelope: GitHub gives it bare. The envelope of a 2048-bit RSA key has always the same length.
fn pkcs1(pkcs8: &[u8]) -> anyhow::Result<&[u8]> {
    const ENVELOPE: usize = 26;
    let key = pkcs8
        .get(ENVELOPE..)
        .filter(|key| key.first() == Some(&0x30));
    key.context("the key is not where it should be")
}

fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line))
        .collect();
    format!(
        "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n",
        lines.join("\n")
    )
}
