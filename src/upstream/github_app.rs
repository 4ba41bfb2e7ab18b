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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_survives_being_stored() {
        for installation_id in [None, Some(99)] {
            let app = GithubApp {
                app_id: "Iv23li.x".into(),
                private_key: "-----BEGIN\nline\n".into(),
                installation_id,
            };
            let stored = crate::upstream::Credential::GithubApp(app).to_stored();
            let read = crate::upstream::Credential::from_stored("github_app", &stored);
            let Ok(crate::upstream::Credential::GithubApp(read)) = read else {
                panic!("another credential than was stored");
            };
            assert_eq!(read.app_id, "Iv23li.x");
            assert_eq!(read.installation_id, installation_id);
            assert_eq!(read.private_key.expose_secret(), "-----BEGIN\nline\n");
        }
    }

    #[test]
    fn what_is_no_key_signs_nothing() {
        let text = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        assert!(!GithubApp::is_private_key(&text.into()));
        let app = GithubApp {
            app_id: "1".into(),
            private_key: text.into(),
            installation_id: None,
        };
        assert!(app.jwt(OffsetDateTime::UNIX_EPOCH).is_err());
    }
}
