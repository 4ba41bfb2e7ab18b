//! The developer mode's own token issuer: one key in the data folder, tokens on request.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use serde::Serialize;
use time::OffsetDateTime;

use crate::api::caller::{Scope, Tenant};
use crate::config::{Issuer, KeySource};
use crate::vault::secret_file;

/// The `iss` of its tokens.
const ISSUER: &str = "linkbroker-dev";
/// The `aud` of its tokens.
const AUDIENCE: &str = "linkbroker";
/// The file of its private key, in the data folder.
const KEY_FILE: &str = "dev-issuer.pem";

/// Issues tokens that a server in developer mode with the same data folder accepts.
pub struct DevIssuer {
    key: EncodingKey,
    public: Jwk,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    tenant: &'a str,
    scope: String,
    iat: i64,
    exp: i64,
}

impl DevIssuer {
    /// The issuer of a data folder; its key is made on first use.
    ///
    /// # Errors
    /// When the key can be neither read nor made.
    pub fn open(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join(KEY_FILE);
        let pem = secret_file(&path, new_key)?;
        let unusable = || format!("{} is not an Ed25519 key: remove it", path.display());
        let key = EncodingKey::from_ed_pem(pem.as_bytes()).with_context(unusable)?;
        let mut public = Jwk::from_encoding_key(&key, Algorithm::EdDSA).with_context(unusable)?;
        public.common.key_id = Some(public.thumbprint(ThumbprintHash::SHA256)?);
        Ok(Self { key, public })
    }

    /// The issuer of a data folder, if a server in developer mode ever used the folder.
    ///
    /// # Errors
    /// When the key is there and cannot be used.
    pub fn find(data_dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = data_dir.join(KEY_FILE);
        let is_there = path
            .try_exists()
            .with_context(|| format!("{} cannot be read", path.display()))?;
        is_there.then(|| Self::open(data_dir)).transpose()
    }

    /// What a server has to trust to accept its tokens.
    pub fn trusted(&self) -> Issuer {
        let keys = vec![self.public.clone()];
        Issuer {
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            keys: KeySource::Known(JwkSet { keys }),
            algorithms: vec![Algorithm::EdDSA],
            tenant_claim: "tenant".to_owned(),
            scope_claim: "scope".to_owned(),
        }
    }

    /// A token for a tenant.
    ///
    /// # Errors
    /// When signing fails.
    pub fn mint(
        &self,
        tenant: &Tenant,
        subject: &str,
        scopes: &[Scope],
        life: Duration,
    ) -> anyhow::Result<SecretString> {
        let now = OffsetDateTime::now_utc();
        let scopes: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
        let claims = Claims {
            iss: ISSUER,
            aud: AUDIENCE,
            sub: subject,
            tenant: tenant.as_str(),
            scope: scopes.join(" "),
            iat: now.unix_timestamp(),
            exp: (now + life).unix_timestamp(),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = self.public.common.key_id.clone();
        let token = jsonwebtoken::encode(&header, &claims, &self.key)?;
        Ok(token.into())
    }

    /// The public keys that its tokens are checked with.
    pub fn jwks(&self) -> JwkSet {
        let keys = vec![self.public.clone()];
        JwkSet { keys }
    }
}

/// A new key as PEM (PKCS #8).
fn new_key() -> anyhow::Result<Zeroizing<String>> {
    let der = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())?;
    let body = Zeroizing::new(STANDARD.encode(der.as_ref()));
    Ok(Zeroizing::new(format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
        *body
    )))
}
