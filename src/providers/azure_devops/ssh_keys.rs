//! SSH keys, which at Azure DevOps belong to a person in an organisation, can do what that person can, and expire within
//! a year.
//!
//! No documented call places one. Three ways are left: a key that stands on a service account already (the operator's
//! [`StandingKey`](crate::upstream::StandingKey)); the calls of the settings page, which Microsoft does not describe and may change, and which the
//! operator has to allow; and a person who is asked to. The calls are known from tools that use them, e.g.
//! ADOKit's `SshKeyUtils.cs`.

use serde::Deserialize;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Address, AzureDevops, answers::open_page};
use crate::{
    link::{facts::Repository, failure::FailureCode},
    providers::{RepositoryKey, bare, same_key},
    redact,
    upstream::{Answer, Call, UpstreamError},
};

/// What makes a token or key, in the words of the settings page.
const MAKER: &str = "ms.vss-token-web.personal-access-token-issue-session-token-provider";
/// Azure allows a year.
const LIFE: Duration = Duration::days(364);

/// A public key as the settings page lists it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccountKey {
    authorization_id: String,
    public_data: Option<String>,
    is_valid: Option<bool>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    valid_from: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    valid_to: Option<OffsetDateTime>,
}

impl From<AccountKey> for RepositoryKey {
    fn from(key: AccountKey) -> Self {
        Self {
            id: key.authorization_id,
            // It may do what its person may.
            read_only: false,
            enabled: key.is_valid.unwrap_or(true),
            created_at: key.valid_from,
            last_used: None,
            expires_at: key.valid_to,
        }
    }
}

/// As whom a person places a key.
pub(super) const ACCOUNT: &str = "a service account that can read this project and nothing else: the key can do what the account can; it expires within a year at the latest, and the link with it";

impl AzureDevops {
    /// The key with this content on the account that the credential belongs to.
    pub(super) async fn find_account_key(
        &self,
        repository: &Repository,
        public_key: &str,
    ) -> Result<Option<RepositoryKey>, UpstreamError> {
        let organisation = Address::of(repository).organisation;
        let call = Call::get([organisation, "_apis", "Token", "SessionTokens"])
            .query("isPublic", "true")
            .query("includePublicData", "true")
            .query("api-version", "7.0-preview.1");
        let keys: Vec<AccountKey> = self.people.pages_by(call, open_page).await?;
        let is_it = |key: &AccountKey| {
            let content = key.public_data.as_deref();
            content.is_some_and(|content| same_key(content, public_key))
        };
        Ok(keys.into_iter().find(is_it).map(Into::into))
    }

    /// Places the key on the account that the credential belongs to. The list decides whether that worked: the call answers
    /// 200 to everything.
    pub(super) async fn place_account_key(
        &self,
        repository: &Repository,
        title: &str,
        public_key: &str,
    ) -> Result<RepositoryKey, UpstreamError> {
        let organisation = Address::of(repository).organisation;
        let account = self.connection_data(organisation).await?.instance_id;
        let expires_at = (self.people.upstream_now() + LIFE).format(&Rfc3339);
        let request = json!({
            "contributionIds": [MAKER],
            "dataProviderContext": { "properties": {
                "displayName": title,
                "publicData": bare(public_key),
                "validTo": expires_at.expect("the year has four digits"),
                "scope": "app_token",
                "isPublic": true,
                "targetAccounts": [account],
            }},
        });
        let call = Call::post([organisation, "_apis", "Contribution", "HierarchyQuery"])
            .query("api-version", "5.0-preview.1");
        let answer = self.people.send(call.json(&request)).await?;
        check_made(&answer)?;
        let made = self.find_account_key(repository, public_key).await?;
        made.ok_or_else(|| answer.contract_changed("did not place the key that it accepted"))
    }

    /// Whether it was there.
    pub(super) async fn remove_account_key(
        &self,
        repository: &Repository,
        id: &str,
    ) -> Result<bool, UpstreamError> {
        let organisation = Address::of(repository).organisation;
        let call = Call::delete([organisation, "_apis", "Token", "SessionTokens", id])
            .query("isPublic", "true")
            .query("api-version", "5.0-preview.1");
        match self.people.send(call).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Refusals stand inside of an answer with status 200.
fn check_made(answer: &Answer) -> Result<(), UpstreamError> {
    let body: Value = answer.json()?;
    let refusal = &body["dataProviderExceptions"][MAKER];
    if refusal.is_null() {
        return Ok(());
    }
    let reason = refusal["message"].as_str().unwrap_or("it gives no reason");
    let says = |text: &str| reason.to_ascii_lowercase().contains(text);
    let code = match says("already") || says("duplicate") || says("in use") {
        true => FailureCode::KeyInUseElsewhere,
        false => FailureCode::KeyRefused,
    };
    let reason = redact::excerpt(reason.trim_end_matches('.'));
    Err(answer.refused(code, format!("Azure DevOps refuses the key: {reason}.")))
}
