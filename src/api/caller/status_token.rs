//! Status tokens: what a frontend shows to follow one link for a quarter of an hour.
//!
//! `lbs_<claims>.<signature>`, both base64url; signed with a key that is derived from the key ring,
//! so nothing is stored and every server accepts them. They open reading one link, and nothing else.

use std::time::Duration;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Caller, Scope, Tenant, bearer, invalid_token};
use crate::api::{
    Api,
    events::wants_stream,
    ids::{self, Prefix},
    problem::{Problem, ProblemCode},
};
use crate::vault::{KeyRing, SignedPurpose, VaultError};

/// What every status token begins with.
const PREFIX: &str = "lbs_";
/// How long a token is good.
const LIFE: Duration = Duration::from_secs(15 * 60);
/// Longer texts are refused unread: a tenant's name has at most 64 bytes, a key's id 32.
const LENGTH_LIMIT: usize = 512;

/// A token that was just signed.
pub struct StatusToken {
    /// The token.
    pub token: SecretString,
    /// Until when it is good.
    pub expires_at: OffsetDateTime,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    /// The master key behind the signature.
    key: String,
    tenant: Tenant,
    link: Uuid,
    /// Unix seconds.
    exp: i64,
}

impl StatusToken {
    /// A token that opens reading this link from now on.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn sign(ring: &KeyRing, tenant: &Tenant, link: Uuid) -> anyhow::Result<Self> {
        let expires_at = OffsetDateTime::now_utc() + LIFE;
        let claims = Claims {
            key: ring.active().to_owned(),
            tenant: tenant.clone(),
            link,
            exp: expires_at.unix_timestamp(),
        };
        let claims = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims)?);
        let signature = ring.sign(SignedPurpose::StatusToken, claims.as_bytes())?;
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        Ok(Self {
            token: format!("{PREFIX}{claims}.{signature}").into(),
            expires_at: OffsetDateTime::from_unix_timestamp(expires_at.unix_timestamp())?,
        })
    }
}

/// The claims of a token that is ours and still good.
fn verify(ring: &KeyRing, token: &str, now: OffsetDateTime) -> Option<Claims> {
    let text = token.strip_prefix(PREFIX)?;
    let (claims, signature) = text
        .split_once('.')
        .filter(|_| text.len() <= LENGTH_LIMIT)?;
    let read: Claims = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
    // Which key it claims to be signed by is itself signed.
    let verified: Result<(), VaultError> = ring.verify(
        &read.key,
        SignedPurpose::StatusToken,
        claims.as_bytes(),
        &signature,
    );
    verified.ok()?;
    (now.unix_timestamp() < read.exp).then_some(read)
}

/// Somebody who may read the link that the path names: a caller with `links:read`, or the bearer of
/// a status token of this link.
#[derive(Debug)]
pub struct LinkReader {
    /// Whose link it is.
    pub tenant: Tenant,
    /// The link.
    pub link: Uuid,
    /// When a status token ends; a stream ends with it.
    pub until: Option<Instant>,
}

impl FromRequestParts<Api> for LinkReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let Some(token) = status_token(parts)? else {
            let caller = Caller::from_request_parts(parts, api).await?;
            caller.require(Scope::LinksRead)?;
            return Ok(Self {
                tenant: caller.tenant,
                link: link_id(parts, api).await?,
                until: None,
            });
        };
        let now = OffsetDateTime::now_utc();
        let claims = verify(&api.key_ring, token.expose_secret(), now).ok_or_else(invalid_token)?;
        let link = link_id(parts, api).await;
        match link.is_ok_and(|link| link == claims.link) {
            true => {
                if let Some(left) = api.quotas.request(&claims.tenant)? {
                    left.note(&parts.extensions);
                }
                Ok(Self {
                    tenant: claims.tenant,
                    link: claims.link,
                    until: Some(Instant::now() + left(claims.exp, now)),
                })
            }
            false => Err(invalid_token()),
        }
    }
}

fn left(exp: i64, now: OffsetDateTime) -> Duration {
    Duration::from_secs(exp.saturating_sub(now.unix_timestamp()).unsigned_abs())
}

/// The status token of the header or, for streams alone, of the query. Never both.
fn status_token(parts: &Parts) -> Result<Option<SecretString>, Problem> {
    let of_query = query_token(parts);
    if parts
        .headers
        .contains_key(axum::http::header::AUTHORIZATION)
    {
        let token = bearer(&parts.headers)?;
        return match of_query {
            Some(_) => Err(invalid_token()),
            None => Ok(token.starts_with(PREFIX).then(|| token.to_owned().into())),
        };
    }
    match of_query {
        Some(token) if wants_stream(&parts.headers) => Ok(Some(token)),
        Some(_) => Err(invalid_token()),
        None => Ok(None),
    }
}

fn query_token(parts: &Parts) -> Option<SecretString> {
    let query = parts.uri.query().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let (_, token) = pairs.find(|(name, _)| name == "token")?;
    Some(token.into_owned().into())
}

async fn link_id(parts: &mut Parts, api: &Api) -> Result<Uuid, Problem> {
    let path = Path::<String>::from_request_parts(parts, api).await;
    let Path(id) = path.map_err(|_| Problem::new(ProblemCode::NotFound))?;
    ids::parse(Prefix::Link, &id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::new_master_key;

    fn ring(id: &str) -> KeyRing {
        KeyRing::parse(&new_master_key(id).unwrap()).unwrap()
    }

    fn signed(ring: &KeyRing, claims: &str) -> String {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(claims);
        let signature = ring
            .sign(SignedPurpose::StatusToken, claims.as_bytes())
            .unwrap();
        format!(
            "{PREFIX}{claims}.{}",
            BASE64_URL_SAFE_NO_PAD.encode(signature)
        )
    }

    #[test]
    fn a_token_is_good_for_a_quarter_of_an_hour_and_no_second_longer() {
        let (ring, link) = (ring("k1"), Uuid::now_v7());
        let made = StatusToken::sign(&ring, &"acme".parse().unwrap(), link).unwrap();
        let token = made.token.expose_secret();
        let second = time::Duration::SECOND;
        let claims = verify(&ring, token, made.expires_at - second).unwrap();
        assert_eq!((claims.tenant.as_str(), claims.link), ("acme", link));
        assert_eq!(verify(&ring, token, made.expires_at), None);
        let life = made.expires_at - OffsetDateTime::now_utc();
        assert!(
            life <= LIFE && life > LIFE - Duration::from_secs(5),
            "{life}"
        );
        let rotated = ring.with_new_key("k2").unwrap().with_active("k2").unwrap();
        assert!(verify(&rotated, token, made.expires_at - second).is_some());
    }

    #[test]
    fn every_changed_character_and_every_cut_is_noticed() {
        let (mine, now) = (ring("k1"), OffsetDateTime::now_utc());
        let made = StatusToken::sign(&mine, &"acme".parse().unwrap(), Uuid::now_v7()).unwrap();
        let token = made.token.expose_secret();
        for index in 0..token.len() {
            let mut changed = token.to_owned().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(verify(&mine, &changed, now), None, "{index}");
            assert_eq!(verify(&mine, &token[..index], now), None, "{index}");
        }
        assert_eq!(verify(&ring("k1"), token, now), None);
        assert_eq!(
            verify(&mine, &format!("{token}{}", "A".repeat(600)), now),
            None
        );
    }

    #[test]
    fn a_signature_does_not_make_up_for_claims() {
        let (ring, now) = (ring("k1"), OffsetDateTime::now_utc());
        let link = Uuid::now_v7();
        let good = format!(r#"{{"key":"k1","tenant":"acme","link":"{link}","exp":9999999999}}"#);
        assert!(verify(&ring, &signed(&ring, &good), now).is_some());
        for bad in [
            good.replace("acme", "*"),
            good.replace("k1", "k2"),
            good.replace("9999999999", "1"),
            good.replace("9999999999", "\"9999999999\""),
            good.replace(",\"exp\":9999999999", ""),
            good.replace("{\"key\"", "{\"scope\":\"all\",\"key\""),
        ] {
            assert_eq!(verify(&ring, &signed(&ring, &bad), now), None, "{bad}");
        }
    }
}
