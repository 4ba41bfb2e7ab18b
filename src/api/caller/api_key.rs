//! API keys, for callers without an issuer: `lbk_<id>_<secret>`.
//!
//! The id is looked up, the secret's hash is compared in constant time. Nothing is cached, so a
//! revoked key is refused from the next request on, by every replica.

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest, rand};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::{SecretString, zeroize::Zeroizing};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Caller, Tenant, token::Refused};
use crate::store::{Rows, StoreError, api_keys, begin};

/// What every API key begins with, so that it is told apart from a JWT and found by secret scanners.
pub const PREFIX: &str = "lbk_";
/// Bytes of the secret part.
const SECRET_LEN: usize = 32;

/// A key that was just made. This is the only moment at which it is known.
pub struct NewApiKey {
    /// Its public part.
    pub id: Uuid,
    /// The whole key.
    pub token: SecretString,
    /// What is stored of its secret part.
    pub secret_hash: Vec<u8>,
}

impl NewApiKey {
    /// A random key.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn random() -> anyhow::Result<Self> {
        let mut secret = Zeroizing::new([0; SECRET_LEN]);
        rand::fill(secret.as_mut_slice())?;
        let id = Uuid::new_v4();
        let encoded = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(secret.as_slice()));
        Ok(Self {
            id,
            token: format!("{PREFIX}{}_{}", id.simple(), *encoded).into(),
            secret_hash: hash(encoded.as_bytes()),
        })
    }
}

fn hash(secret: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, secret).as_ref().to_vec()
}

/// Knows the callers with API keys.
#[derive(Debug)]
pub(super) struct ApiKeys(pub(super) PgPool);

impl ApiKeys {
    /// Who presents this key.
    pub(super) async fn caller(&self, token: &str) -> Result<Caller, Refused> {
        let (id, secret) = parse(token).ok_or(Refused::ApiKey)?;
        let mut tx = begin(&self.0, Rows::OfAll).await?;
        let row = api_keys::find(&mut tx, id).await?.ok_or(Refused::ApiKey)?;
        verify_slices_are_equal(&hash(secret.as_bytes()), &row.secret_hash)
            .map_err(|_| Refused::ApiKey)?;
        if api_keys::note_use(&mut tx, id).await? {
            tx.commit().await.map_err(StoreError::from)?;
        }
        let invalid = || Refused::Claim("tenant".to_owned());
        Ok(Caller {
            tenant: row.tenant.parse::<Tenant>().map_err(|_| invalid())?,
            subject: format!("api-key:{}", row.name),
            // What this version does not know allows nothing.
            scopes: row
                .scopes
                .iter()
                .filter_map(|scope| scope.parse().ok())
                .collect(),
        })
    }
}

/// The id and the secret of a key.
fn parse(token: &str) -> Option<(Uuid, &str)> {
    let (id, secret) = token.strip_prefix(PREFIX)?.split_once('_')?;
    let id = Uuid::try_parse(id).ok().filter(|_| id.len() == 32)?;
    Some((id, secret))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_new_key_is_found_by_its_id_and_known_by_its_hash() {
        let (key, other) = (NewApiKey::random().unwrap(), NewApiKey::random().unwrap());
        let (id, secret) = parse(key.token.expose_secret()).unwrap();
        assert_eq!(id, key.id);
        assert_eq!(hash(secret.as_bytes()), key.secret_hash);
        assert_eq!(secret.len(), 43, "256 bits");
        assert_ne!(key.secret_hash, other.secret_hash);
    }

    #[test]
    fn what_is_no_key_is_not_looked_up() {
        let id = Uuid::nil();
        for bad in [
            String::new(),
            "lbk_".to_owned(),
            format!("lbk_{}", id.simple()),
            format!("lbk_{id}_secret"),
            format!("LBK_{}_secret", id.simple()),
            format!("lbk_{}x_secret", id.simple()),
        ] {
            assert!(parse(&bad).is_none(), "{bad}");
        }
    }
}
