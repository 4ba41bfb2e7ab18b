//! How GitHub is called: with a credential as it is, or with the tokens that a GitHub App gets for its installations.

use std::{collections::BTreeMap, sync::Arc};

use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};
use time::OffsetDateTime;

use super::{DIALECT, answers::Repo, split};
use crate::{
    link::failure::FailureCode,
    upstream::{Access, Answer, Call, Credential, Http, Instance, Minted, Slot, UpstreamError},
};

/// What linking needs of an app.
const NEEDED: [(&str, &str); 2] = [("administration", "write"), ("repository_hooks", "write")];

/// GitHub with one credential.
pub(super) enum Door {
    /// The credential goes with every call.
    Own(Access),
    /// The app's token goes with calls about the app, an installation's with all others.
    App(AppDoor),
}

/// GitHub as an app sees it.
pub(super) struct AppDoor {
    http: Http,
    instance: Arc<Instance>,
    credential: Credential,
    /// Calls by the app's own token.
    app: Access,
    /// The installation to use; absent: the one on the repository's owner.
    installation: Option<u64>,
}

#[derive(Deserialize)]
struct Installation {
    id: u64,
    suspended_at: Option<String>,
}

#[derive(Deserialize)]
struct AccessToken {
    token: SecretString,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    #[serde(default)]
    permissions: BTreeMap<String, String>,
}

impl Door {
    pub(super) fn new(
        http: &Http,
        instance: Arc<Instance>,
        credential: Credential,
    ) -> Result<Self, UpstreamError> {
        let access = Access::new(http, instance.clone(), credential.clone(), &DIALECT)?;
        Ok(match &credential {
            Credential::GithubApp(app) => Self::App(AppDoor {
                installation: app.installation_id,
                http: http.clone(),
                instance,
                credential,
                app: access,
            }),
            Credential::Anonymous | Credential::Token(_) | Credential::Basic { .. } => {
                Self::Own(access)
            }
        })
    }

    /// For calls about the credential itself.
    pub(super) fn own(&self) -> &Access {
        match self {
            Self::Own(access) => access,
            Self::App(door) => &door.app,
        }
    }

    /// The installation that the credential names.
    pub(super) fn installation(&self) -> Option<u64> {
        match self {
            Self::Own(_) => None,
            Self::App(door) => door.installation,
        }
    }

    /// A call about the repository `owner/name`.
    pub(super) async fn send(&self, path: &str, call: Call) -> Result<Answer, UpstreamError> {
        match self {
            Self::Own(access) => access.send(call).await,
            Self::App(door) => {
                let (slot, access) = door.opened(path).await?;
                heeded(&slot, access.send(call).await).await
            }
        }
    }

    /// A list about the repository `owner/name`, to its end.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        first: Call,
    ) -> Result<Vec<T>, UpstreamError> {
        match self {
            Self::Own(access) => access.pages(first).await,
            Self::App(door) => {
                let (slot, access) = door.opened(path).await?;
                heeded(&slot, access.pages(first).await).await
            }
        }
    }

    /// Whether keys and webhooks of the repository may be managed. A person's rights stand with the repository; what an
    /// installation sees there says nothing (docs/assumptions.md), its permissions do. Nobody asks it of those who come
    /// without a credential.
    pub(super) async fn check_rights(
        &self,
        repo: &Repo,
        answer: &Answer,
    ) -> Result<(), UpstreamError> {
        let door = match self {
            Self::Own(access) if access.is_anonymous() => return Ok(()),
            Self::Own(_) => return repo.check_rights(answer),
            Self::App(door) => door,
        };
        let minted = door.minted(&repo.full_name).await?.1;
        let lacks = |(name, level): &&(&str, &str)| {
            minted.permissions.get(*name).map(String::as_str) != Some(*level)
        };
        match NEEDED.iter().find(lacks) {
            None => Ok(()),
            Some((name, level)) => {
                let holder = &minted.holder;
                let detail = format!("The app's {holder} needs the permission `{name}: {level}`.");
                Err(answer.refused(FailureCode::ScopeMissing, detail))
            }
        }
    }
}

impl AppDoor {
    async fn opened(&self, path: &str) -> Result<(Arc<Slot>, Access), UpstreamError> {
        let (slot, minted) = self.minted(path).await?;
        let token = Credential::Token(minted.token);
        let access = Access::new(&self.http, self.instance.clone(), token, &DIALECT)?;
        Ok((slot, access))
    }

    /// The token for a repository. An installation belongs to an account, so all repositories of one owner share it.
    async fn minted(&self, path: &str) -> Result<(Arc<Slot>, Minted), UpstreamError> {
        let (owner, _) = split(path);
        let purpose = match self.installation {
            Some(id) => format!("installation {id}"),
            None => format!("owner {}", owner.to_ascii_lowercase()),
        };
        let slot = self
            .http
            .minted_slot(&self.instance, &self.credential, &purpose);
        let minted = slot.get(self.app.upstream_now(), self.mint(path)).await?;
        Ok((slot, minted))
    }

    /// <https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app>
    async fn mint(&self, path: &str) -> Result<Minted, UpstreamError> {
        let id = match self.installation {
            Some(id) => id,
            None => self.find_installation(path).await?,
        };
        let call = Call::post(["app", "installations", &id.to_string(), "access_tokens"]);
        let answer = self.app.send(call).await.map_err(|error| {
            let detail = format!("The GitHub App has no installation {id}.");
            error.if_missing(FailureCode::AppNotInstalled, detail)
        })?;
        let made: AccessToken = answer.json()?;
        Ok(Minted {
            token: made.token,
            expires_at: made.expires_at,
            permissions: made.permissions,
            holder: format!("installation {id}"),
        })
    }

    /// <https://docs.github.com/en/rest/apps/apps#get-a-repository-installation-for-the-authenticated-app>
    async fn find_installation(&self, path: &str) -> Result<u64, UpstreamError> {
        let (owner, name) = split(path);
        let call = Call::get(["repos", owner, name, "installation"]);
        match self.app.send(call).await {
            Ok(answer) => Ok(answer.json::<Installation>()?.id),
            Err(error) if error.is_missing() => Err(self.why_missing(path, error).await?),
            Err(error) => Err(error),
        }
    }

    /// What to tell about a repository that none of the app's installations covers: one that is suspended covers none.
    ///
    /// <https://docs.github.com/en/rest/apps/apps#get-a-user-installation-for-the-authenticated-app>
    async fn why_missing(
        &self,
        path: &str,
        error: UpstreamError,
    ) -> Result<UpstreamError, UpstreamError> {
        let (owner, _) = split(path);
        let call = Call::get(["users", owner, "installation"]);
        let on_owner = match self.app.send(call).await {
            Ok(answer) => Some(answer.json::<Installation>()?),
            Err(error) if error.is_missing() => None,
            Err(error) => return Err(error),
        };
        let (code, detail) = match on_owner {
            Some(it) if it.suspended_at.is_some() => (
                FailureCode::AppSuspended,
                format!("Installation {} of the GitHub App is suspended.", it.id),
            ),
            Some(it) => (
                FailureCode::AppNotInstalled,
                format!(
                    "Installation {} of the GitHub App does not cover `{path}`, or there is no such repository.",
                    it.id
                ),
            ),
            None => (
                FailureCode::AppNotInstalled,
                format!("The GitHub App is not installed on `{owner}`, or there is no such owner."),
            ),
        };
        Ok(error.if_missing(code, detail))
    }
}

/// A token that GitHub refuses (its installation was suspended or removed) is not tried again.
async fn heeded<T>(slot: &Slot, result: Result<T, UpstreamError>) -> Result<T, UpstreamError> {
    if let Err(error) = &result
        && matches!(
            error.code,
            FailureCode::CredentialRefused | FailureCode::AppSuspended
        )
    {
        slot.clear().await;
    }
    result
}
