//! The secret that opens an upstream: goes into one header and nowhere else.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::header::{HeaderValue, InvalidHeaderValue};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{GithubApp, UpstreamKind};

/// What a connection holds. `Debug` shows that there is a secret, not which.
#[derive(Debug, Clone)]
pub enum Credential {
    /// None: what anybody may read can be read, and nothing be written.
    Anonymous,
    /// Sent as `Authorization: Bearer …`.
    Token(SecretString),
    /// Sent as `Authorization: Basic …` (Bitbucket API tokens, Azure DevOps tokens with an empty user).
    Basic {
        /// User name or e-mail address; may be empty.
        user: String,
        /// Password or token.
        secret: SecretString,
    },
    /// Signs what is sent as `Authorization: Bearer …`, anew for every call.
    GithubApp(GithubApp),
}

/// Why a credential cannot be sent; a sentence without any of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsendable {
    /// Not for a header.
    #[error("The credential holds characters that cannot be sent.")]
    Characters(#[from] InvalidHeaderValue),
    /// Nothing can be signed with it.
    #[error("Nothing can be signed with the app's private key.")]
    Key(#[from] jsonwebtoken::errors::Error),
}

/// Bytes that are no stored credential of that type. Says nothing of the bytes.
#[derive(Debug, thiserror::Error)]
#[error("the stored credential is not a {0}")]
pub struct NotStored(String);

impl Credential {
    /// Its type, as rows and the API name it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Token(_) => "token",
            Self::Basic { .. } => "basic",
            Self::GithubApp(_) => "github_app",
        }
    }

    /// Why this vendor would not take it, as far as its form tells: the field that is wrong, and what would be right.
    ///
    /// Bitbucket refuses app passwords since June 2026; they all begin with `ATBB`. Azure DevOps ignores the user name.
    pub fn misfit(&self, kind: UpstreamKind) -> Option<(&'static str, &'static str)> {
        match (kind, self) {
            (UpstreamKind::Github, Self::GithubApp(_)) => None,
            (_, Self::GithubApp(_)) => Some((
                "type",
                "a GitHub App opens connections of kind `github` alone",
            )),
            (UpstreamKind::Manual, Self::Token(_) | Self::Basic { .. }) => Some((
                "type",
                "use `anonymous`: nothing is called at hosts that are linked by hand",
            )),
            (UpstreamKind::Bitbucket, _) if self.secret().starts_with("ATBB") => {
                let field = if self.kind() == "basic" {
                    "secret"
                } else {
                    "token"
                };
                let rule = "this is an app password, which Bitbucket no longer takes: make an API token (basic, with your e-mail address) or an access token";
                Some((field, rule))
            }
            (UpstreamKind::Bitbucket, Self::Basic { user, .. }) if !user.contains('@') => {
                let rule =
                    "use the e-mail address of the Atlassian account that the API token belongs to";
                Some(("user", rule))
            }
            (UpstreamKind::Bitbucket | UpstreamKind::AzureDevops, Self::Basic { .. }) => None,
            (_, Self::Basic { .. }) | (UpstreamKind::Netlify, Self::Anonymous) => {
                Some(("type", "use a `token` for this kind of connection"))
            }
            _ => None,
        }
    }

    /// What is sealed and stored of it, beside its type.
    pub fn to_stored(&self) -> Zeroizing<Vec<u8>> {
        let user = match self {
            Self::Anonymous | Self::Token(_) => String::new(),
            Self::Basic { user, .. } => user.clone(),
            Self::GithubApp(app) => app.name(),
        };
        // A name cannot hold a line break: it is one line of a header, or of ours.
        Zeroizing::new(format!("{user}\n{}", self.secret()).into_bytes())
    }

    /// Reads what [`Credential::to_stored`] wrote.
    ///
    /// # Errors
    /// When the bytes are nothing of that kind.
    pub fn from_stored(kind: &str, stored: &[u8]) -> Result<Self, NotStored> {
        let pair = std::str::from_utf8(stored)
            .ok()
            .and_then(|text| text.split_once('\n'));
        match (kind, pair) {
            ("anonymous", Some(("", ""))) => Ok(Self::Anonymous),
            ("token", Some((_, token))) => Ok(Self::Token(token.into())),
            ("basic", Some((user, secret))) => Ok(Self::Basic {
                user: user.to_owned(),
                secret: secret.into(),
            }),
            ("github_app", Some((name, key))) => GithubApp::named(name, key)
                .map(Self::GithubApp)
                .ok_or_else(|| NotStored(kind.to_owned())),
            _ => Err(NotStored(kind.to_owned())),
        }
    }

    /// Value of the `Authorization` header, if there is one to send, marked so that HTTP libraries do not log it.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, Unsendable> {
        let text = match self {
            Self::Anonymous => return Ok(None),
            Self::Token(token) => format!("Bearer {}", token.expose_secret()),
            Self::Basic { user, secret } => {
                let pair = format!("{user}:{}", secret.expose_secret());
                format!("Basic {}", BASE64_STANDARD.encode(pair))
            }
            Self::GithubApp(app) => format!("Bearer {}", app.jwt(OffsetDateTime::now_utc())?),
        };
        let mut value = HeaderValue::try_from(text)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// A name for the credential that does not reveal it.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut print = [0; 32];
        print.copy_from_slice(digest(&SHA256, self.secret().as_bytes()).as_ref());
        print
    }

    /// `text` without the secret, should an upstream repeat it to us.
    pub(super) fn hide(&self, text: &str) -> String {
        match self.secret() {
            "" => text.to_owned(),
            // What an app sends is signed with its key and does not hold it.
            _ if matches!(self, Self::GithubApp(_)) => crate::redact::line(text),
            secret => text.replace(secret, crate::redact::MASK),
        }
    }

    fn secret(&self) -> &str {
        match self {
            Self::Anonymous => "",
            Self::Token(secret) | Self::Basic { secret, .. } => secret.expose_secret(),
            Self::GithubApp(app) => app.private_key.expose_secret(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_debug_nor_hidden_text_shows_the_secret() {
        let credential = Credential::Token("canary".into());
        assert!(!format!("{credential:?}").contains("canary"));
        assert_eq!(
            credential.hide("bad token canary!"),
            "bad token [redacted]!"
        );
        assert_eq!(Credential::Token("".into()).hide("text"), "text");
    }

    #[test]
    fn each_vendor_takes_the_types_that_it_knows() {
        use UpstreamKind::{AzureDevops, Bitbucket, Github, Gitlab, Netlify};
        let basic = |user: &str, secret: &str| Credential::Basic {
            user: user.to_owned(),
            secret: secret.into(),
        };
        let token = |text: &str| Credential::Token(text.into());
        for (kind, credential, field) in [
            (Netlify, token("nfp_x"), None),
            (Netlify, Credential::Anonymous, Some("type")),
            (Github, Credential::Anonymous, None),
            (Github, token("ghp_x"), None),
            (Github, basic("ann", "x"), Some("type")),
            (Gitlab, basic("", "x"), Some("type")),
            (Bitbucket, token("ATCTT3x"), None),
            (Bitbucket, basic("ann@acme.example", "ATATT3x"), None),
            (Bitbucket, basic("ann", "ATATT3x"), Some("user")),
            (
                Bitbucket,
                basic("ann@acme.example", "ATBBx"),
                Some("secret"),
            ),
            (Bitbucket, token("ATBBx"), Some("token")),
            (AzureDevops, basic("", "pat"), None),
            (AzureDevops, basic("acme", "pat"), None),
            (AzureDevops, token("eyJ"), None),
        ] {
            let found = credential.misfit(kind).map(|(field, _)| field);
            assert_eq!(found, field, "{kind} {credential:?}");
        }
    }

    #[test]
    fn headers_are_sensitive_and_in_the_vendors_form() {
        let basic = Credential::Basic {
            user: String::new(),
            secret: "pat".into(),
        };
        let header = basic.authorization().unwrap().unwrap();
        assert!(header.is_sensitive());
        assert_eq!(header.to_str().unwrap(), "Basic OnBhdA==");
        assert!(Credential::Anonymous.authorization().unwrap().is_none());
        let broken = Credential::Token("line\nbreak".into());
        assert!(broken.authorization().is_err());
    }
}
