//! The undocumented calls for a person's SSH keys, as public tools make them: `SessionTokens` and `HierarchyQuery`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::shapes::list as listed;
use super::target::Organization;
use super::{bad, refused};
use crate::clock::milliseconds;
use crate::forge::refusal::{Refusal, read};
use crate::forge::{PersonKey, State, Token, TokenKind};
use crate::git::PublicKey;
use crate::world::World;

/// The provider of data that makes tokens and keys.
const MAKER: &str = "ms.vss-token-web.personal-access-token-issue-session-token-provider";
/// How long a key lives at most; a day over, for clocks that differ.
const LONGEST: Duration = Duration::days(366);

/// `GET /{organization}/_apis/Token/SessionTokens`: the caller's keys in this organisation.
pub async fn list(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
) -> Result<Json<Value>, Refusal> {
    check_scope(&organization)?;
    let now = world.clock.now();
    let mut state = world.forges.azure.lock();
    let account = organization.identity(&mut state, &world).uuid;
    let own = own_keys(&organization, &state);
    Ok(listed(own.map(|k| shape(k, account, now)).collect()))
}

/// `DELETE …/SessionTokens/{id}`.
pub async fn remove(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
) -> Result<StatusCode, Refusal> {
    check_scope(&organization)?;
    let mut state = world.forges.azure.lock();
    let wanted = organization.word("id").parse().ok();
    let found = own_keys(&organization, &state).find(|k| Some(k.uuid) == wanted);
    let missing = || {
        let message = "VS403368: The authorization was not found.";
        refused(
            StatusCode::NOT_FOUND,
            "SessionTokenNotFoundException",
            message,
        )
    };
    let uuid = found.ok_or_else(missing)?.uuid;
    state.person_keys.retain(|k| k.uuid != uuid);
    Ok(StatusCode::NO_CONTENT)
}

/// What a page asks of its providers of data.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    contribution_ids: Vec<String>,
    data_provider_context: Context,
}

#[derive(Deserialize)]
struct Context {
    properties: Wanted,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    display_name: String,
    public_data: String,
    #[serde(with = "time::serde::rfc3339")]
    valid_to: OffsetDateTime,
    is_public: bool,
    target_accounts: Vec<Uuid>,
}

/// `POST /{organization}/_apis/Contribution/HierarchyQuery`: 200 whatever happens; what went wrong stands inside.
pub async fn create(
    Shared(world): Shared<Arc<World>>,
    organization: Organization,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let asked: Asked = read(&body).map_err(|why| bad(&why))?;
    if asked.contribution_ids != [MAKER] {
        return Err(bad("There is no other provider of data here."));
    }
    let (mut providers, mut exceptions) = (Map::new(), Map::new());
    match make(
        &world,
        &organization,
        asked.data_provider_context.properties,
    ) {
        Ok(key) => providers.insert(MAKER.to_owned(), key),
        Err(message) => exceptions.insert(
            MAKER.to_owned(),
            json!({"exceptionType": "SessionTokenCreateException", "message": message}),
        ),
    };
    let mut shown = json!({"dataProviders": providers, "dataProviderSharedData": {}});
    if !exceptions.is_empty() {
        shown["dataProviderExceptions"] = exceptions.into();
    }
    Ok(Json(shown))
}

fn make(world: &World, organization: &Organization, wanted: Wanted) -> Result<Value, String> {
    let now = world.clock.now();
    let switches = world.switches.read().azure_devops.clone();
    let token = organization
        .visitor
        .token
        .as_ref()
        .ok_or("Not signed in.")?;
    check_maker(token, &switches)?;
    let mut state = world.forges.azure.lock();
    let account = organization.identity(&mut state, world).uuid;
    if !wanted.is_public || wanted.target_accounts != [account] {
        return Err("The account that the key is for is not this organization.".to_owned());
    }
    if wanted.valid_to <= now || wanted.valid_to > now + LONGEST {
        return Err("The expiration date must be within a year.".to_owned());
    }
    let key = checked(&wanted.public_data)?;
    let within = Some(organization.name.clone());
    let taken = |k: &PersonKey| k.key == key && (k.within.is_none() || k.within == within);
    if state.person_keys.iter().any(taken) {
        return Err("The SSH public key already exists in this organization.".to_owned());
    }
    let key = PersonKey {
        id: state.next_id(),
        uuid: Uuid::new_v4(),
        login: token.login.clone(),
        title: wanted.display_name,
        key,
        permissions: token.permissions.clone(),
        within,
        by_api: true,
        created_at: now,
        expires_at: Some(wanted.valid_to),
    };
    let shown = shape(&key, account, now);
    state.person_keys.push(key);
    state.created.installed_keys += 1;
    Ok(shown)
}

fn check_maker(token: &Token, switches: &super::Switches) -> Result<(), String> {
    let full = token.has_any(&["app_token"]);
    let may = match token.kind {
        TokenKind::Personal => switches.tokens_make_ssh_keys && full,
        _ => true,
    };
    if switches.ssh_key_calls_work && may {
        return Ok(());
    }
    Err("Access denied: this operation needs full access.".to_owned())
}

/// RSA only, and blanks or a line's end make a key invalid.
fn checked(text: &str) -> Result<PublicKey, String> {
    let key: PublicKey = text
        .parse()
        .map_err(|_| "The SSH public key is invalid.".to_owned())?;
    if key.rsa_bits().is_none() || text.trim() != text {
        return Err(
            "The SSH public key is invalid: only RSA keys without blanks are taken.".to_owned(),
        );
    }
    Ok(key)
}

fn own_keys<'s>(
    organization: &Organization,
    state: &'s State,
) -> impl Iterator<Item = &'s PersonKey> + use<'s> {
    let login = organization.visitor.login().unwrap_or_default().to_owned();
    let name = organization.name.clone();
    let here = move |k: &&PersonKey| k.within.as_ref().is_none_or(|w| *w == name);
    state
        .person_keys
        .iter()
        .filter(move |k| k.login == login)
        .filter(here)
}

fn check_scope(organization: &Organization) -> Result<(), Refusal> {
    let token = organization.visitor.token.as_ref();
    let fine = token
        .is_some_and(|t| t.kind == TokenKind::Oauth || t.has_any(&["app_token", "vso.tokens"]));
    let message = "TF400813: The user is not authorized to access this resource.";
    fine.then_some(()).ok_or_else(|| {
        refused(
            StatusCode::FORBIDDEN,
            "UnauthorizedRequestException",
            message,
        )
    })
}

fn shape(key: &PersonKey, account: Uuid, now: OffsetDateTime) -> Value {
    json!({
        "authorizationId": key.uuid, "displayName": key.title, "validFrom": milliseconds(key.created_at),
        "validTo": key.expires_at.map(milliseconds), "scope": "app_token", "targetAccounts": [account],
        "isValid": key.expires_at.is_none_or(|end| end > now), "isPublic": true, "publicData": key.key, "token": null,
    })
}
