//! Which service the commands for people talk to, and the access token that they show it.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::client::{Client, ClientError};
use super::exit::UsageError;
use super::token::{DEV_SUBJECT, DEV_TENANT};
use crate::api::caller::Scope;
use crate::config::{ClientArgs, DataArgs, SERVICE_URL, data_dir, is_loopback, is_trustworthy};
use crate::issuer::DevIssuer;

/// How long a token that is made on the spot is good for: longer than any wait for a build.
const DEV_TOKEN_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the service is and how it is reached.
///
/// The access token comes from LINKBROKER_TOKEN or from a file, never from the command line. When
/// neither is set, the address is this machine and the data folder is that of a `serve --dev`, one
/// is made on the spot.
#[derive(Debug, Args)]
pub struct AccessArgs {
    #[command(flatten)]
    client: ClientArgs,

    #[command(flatten)]
    data: DataArgs,
}

impl AccessArgs {
    /// A client with an access token.
    ///
    /// # Errors
    /// When the address is none, or when there is no token.
    pub fn client(&self) -> anyhow::Result<Client> {
        let url = address(&self.client.url)?;
        if !is_trustworthy(&url) {
            eprintln!("warning: {url} is not encrypted, so others on the way can read the token");
        }
        let token = self.token(&url)?;
        Client::new(url, &token)
    }

    fn token(&self, url: &Url) -> anyhow::Result<SecretString> {
        let file = self.client.access_token_file.as_deref();
        if let Some(file) = file.filter(|file| !file.as_os_str().is_empty()) {
            return token_file(file);
        }
        let set = self
            .client
            .token
            .as_ref()
            .map(|token| token.expose_secret());
        if let Some(token) = set.map(str::trim).filter(|token| !token.is_empty()) {
            return Ok(token.into());
        }
        let dev = match is_loopback(url) {
            true => DevIssuer::find(&data_dir(&self.data))?,
            false => None,
        };
        let Some(issuer) = dev else {
            return Err(ClientError::NoToken { url: url.clone() }.into());
        };
        issuer.mint(
            &DEV_TENANT.parse()?,
            DEV_SUBJECT,
            Scope::ALL,
            DEV_TOKEN_LIFE,
        )
    }
}

/// The address of a service; an empty one is the default.
fn address(text: &str) -> anyhow::Result<Url> {
    let text = if text.is_empty() { SERVICE_URL } else { text };
    let url = Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.filter(|url| url.query().is_none() && url.fragment().is_none());
    let has_login = |url: &Url| !url.username().is_empty() || url.password().is_some();
    match url {
        Some(url) if has_login(&url) => {
            let what = "the address of the service (--url, LINKBROKER_URL) holds a login, and linkbroker knows none";
            Err(UsageError(what.to_owned()).into())
        }
        Some(url) => Ok(url),
        None => {
            let what = format!(
                "`{text}` is not the address of a service: write --url (LINKBROKER_URL) as http://127.0.0.1:8080 or https://links.example.com"
            );
            Err(UsageError(what).into())
        }
    }
}

/// The token in a file, without blanks around it.
///
/// # Errors
/// When it cannot be read, or when it is empty.
pub fn token_file(file: &Path) -> anyhow::Result<SecretString> {
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("{} cannot be read", file.display()))?;
    trimmed(text.into(), file.display())
}

/// A token without blanks around it.
///
/// # Errors
/// When nothing is left; `source` says of what.
pub fn trimmed(text: SecretString, source: impl Display) -> anyhow::Result<SecretString> {
    match text.expose_secret().trim() {
        "" => Err(UsageError(format!("{source} holds no token")).into()),
        token => Ok(token.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_services() {
        for good in [
            "",
            "http://127.0.0.1:8080",
            "https://links.example.com/",
            "https://intra.example.com/linkbroker",
        ] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in [
            "localhost:8080",
            "mailto:me",
            "ftp://x/",
            "https://x/?a=b",
            "https://me:secret@x/",
        ] {
            let error = address(bad).unwrap_err();
            assert!(error.is::<UsageError>(), "{bad}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
