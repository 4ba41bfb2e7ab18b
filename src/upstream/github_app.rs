//! A GitHub App as a credential: signs the short-lived token by which the app speaks for itself.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use time::OffsetDateTime;

/// GitHub advises to date a token back, because clocks differ.
const BACKDATED_SECONDS: i64 = 60;
/// GitHub allows ten minutes from its own now on.
const LIFE_SECONDS: i64 = 540;

/// An app of the tenant's own, with the key that GitHub gave for it.
///
/// <https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app>
#[derive(Debug, Clone)]
pub struct GithubApp {
    /// The app's id, or its client id.
    pub app_id: String,
    /// RSA key, PEM.
    pub private_key: SecretString,
    /// The installation to use; absent: the one on the repository's owner.
    pub installation_id: Option<u64>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    iat: i64,
    exp: i64,
}

impl GithubApp {
    /// Whether this is a private key that an app can sign with.
    pub fn is_private_key(pem: &SecretString) -> bool {
        EncodingKey::from_rsa_pem(pem.expose_secret().as_bytes()).is_ok()
    }

    /// A token by which the app itself calls, good for nine minutes.
    pub(super) fn jwt(&self, now: OffsetDateTime) -> Result<String, jsonwebtoken::errors::Error> {
        let now = now.unix_timestamp();
        let claims = Claims {
            iss: &self.app_id,
            iat: now - BACKDATED_SECONDS,
            exp: now + LIFE_SECONDS,
        };
        let key = EncodingKey::from_rsa_pem(self.private_key.expose_secret().as_bytes())?;
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key)
    }

    /// What is sealed of it besides the key: one line.
    pub(super) fn name(&self) -> String {
        match self.installation_id {
            Some(id) => format!("{} {id}", self.app_id),
            None => self.app_id.clone(),
        }
    }

    /// The app behind a [`GithubApp::name`] and a key.
    pub(super) fn named(name: &str, private_key: &str) -> Option<Self> {
        let (app_id, installation_id) = match name.split_once(' ') {
            Some((app_id, id)) => (app_id, Some(id.parse().ok()?)),
            None => (name, None),
        };
        Some(Self {
            app_id: app_id.to_owned(),
            private_key: private_key.into(),
            installation_id,
        })
    }
}
