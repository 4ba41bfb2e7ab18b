//! Verifies access tokens (JWT, RFC 7519) by the rules of RFC 8725.
//!
//! One list of signature algorithms per issuer, none of them symmetric; keys come from the issuer's
//! configured source alone, never from the token (`jku`, `jwk`, `x5u` are ignored); `exp`, `iss`,
//! `aud` and `sub` have to be there.

use std::sync::Arc;

use axum::http::Extensions;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};
use sqlx::PgPool;

use super::api_key::{self, ApiKeys};
use super::keys::{Keys, KeysError};
use super::{Caller, Scope, Tenant, invalid_token};
use crate::api::problem::{Problem, ProblemCode};
use crate::api::quotas::Quotas;
use crate::config::Issuer;
use crate::store::StoreError;

/// Longer tokens are refused unread.
const TOKEN_LIMIT: usize = 8 * 1024;
/// How far an issuer's clock may be off, in seconds.
const LEEWAY_SECONDS: u64 = 30;
/// The longest subject that is accepted, in bytes.
const SUBJECT_LIMIT: usize = 256;

/// Knows whose tokens to accept.
#[derive(Debug)]
pub struct Authenticator {
    trusted: Vec<Trusted>,
    api_keys: Option<ApiKeys>,
    quotas: Option<Arc<Quotas>>,
}

#[derive(Debug)]
struct Trusted {
    issuer: Issuer,
    keys: Keys,
}

/// Why a caller was not let in.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("the token is longer than {TOKEN_LIMIT} bytes")]
    TooLong,
    #[error("the token cannot be read or verified: {0}")]
    Jwt(#[from] jsonwebtoken::errors::Error),
    #[error("the token has critical extensions that are not understood")]
    Critical,
    #[error("the token is of no configured issuer")]
    Issuer,
    #[error("the issuer may not sign with {0:?}")]
    Algorithm(Algorithm),
    #[error("the issuer has no such key")]
    Key,
    #[error("the claim `{0}` is absent or not valid")]
    Claim(String),
    #[error("there is no such API key, or API keys are not accepted")]
    ApiKey,
    #[error("{0}")]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refused {
    /// The reason goes to the log alone.
    pub fn into_problem(self) -> Problem {
        match self {
            Self::Keys(why) => {
                tracing::warn!(%why, "tokens cannot be verified");
                Problem::new(ProblemCode::Unavailable).retry_after(5)
            }
            Self::Store(error) => error.into(),
            why => {
                tracing::debug!(%why, "token refused");
                invalid_token()
            }
        }
    }
}

impl Authenticator {
    /// Accepts the tokens of these issuers. Keys are fetched when the first token needs them.
    ///
    /// # Errors
    /// When no HTTP client can be made, because the system's certificates cannot be read.
    pub fn new(issuers: Vec<Issuer>) -> Result<Self, KeysError> {
        let http = super::keys::http_client()?;
        let trusted = issuers.into_iter().map(|issuer| Trusted {
            keys: Keys::new(issuer.keys.clone(), &issuer.issuer, http.clone()),
            issuer,
        });
        Ok(Self {
            trusted: trusted.collect(),
            api_keys: None,
            quotas: None,
        })
    }

    /// Accepts API keys too; they are looked up in this database.
    #[must_use]
    pub fn with_api_keys(mut self, pool: PgPool) -> Self {
        self.api_keys = Some(ApiKeys(pool));
        self
    }

    /// Counts the requests of each tenant, and turns away what is too much.
    #[must_use]
    pub fn with_quotas(mut self, quotas: Arc<Quotas>) -> Self {
        self.quotas = Some(quotas);
        self
    }

    /// Who presents this token, if there is somebody and their tenant may send a request now.
    pub(super) async fn admit(
        &self,
        token: &str,
        extensions: &Extensions,
    ) -> Result<Caller, Problem> {
        let caller = self.authenticate(token).await;
        let caller = caller.map_err(Refused::into_problem)?;
        if let Some(quotas) = &self.quotas
            && let Some(left) = quotas.request(&caller.tenant)?
        {
            left.note(extensions);
        }
        Ok(caller)
    }

    async fn authenticate(&self, token: &str) -> Result<Caller, Refused> {
        if token.len() > TOKEN_LIMIT {
            return Err(Refused::TooLong);
        }
        if token.starts_with(api_key::PREFIX) {
            let keys = self.api_keys.as_ref().ok_or(Refused::ApiKey)?;
            return keys.caller(token).await;
        }
        let header = jsonwebtoken::decode_header(token)?;
        // RFC 7515, section 4.1.11: extensions that we do not know must not be ignored.
        if header.crit.is_some() {
            return Err(Refused::Critical);
        }
        let trusted = self.trusted(token)?;
        if !trusted.issuer.algorithms.contains(&header.alg) {
            return Err(Refused::Algorithm(header.alg));
        }
        trusted.verify(token, &header).await
    }

    /// The issuer that the token claims to be from.
    fn trusted(&self, token: &str) -> Result<&Trusted, Refused> {
        let claims: Claims = jsonwebtoken::dangerous::insecure_decode_claims(token)?;
        let issuer = claims.text("iss")?;
        let found = self
            .trusted
            .iter()
            .find(|trusted| trusted.issuer.issuer == issuer);
        found.ok_or(Refused::Issuer)
    }
}

impl Trusted {
    async fn verify(&self, token: &str, header: &Header) -> Result<Caller, Refused> {
        let key = self.keys.find(header.kid.as_deref(), header.alg).await?;
        let key = key.ok_or(Refused::Key)?;
        let validation = self.validation(header.alg);
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)?.claims;
        self.caller(&claims)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.issuer.issuer]);
        validation.set_audience(&[&self.issuer.audience]);
        // Without this, a token that has no `aud` at all would pass for any audience.
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation
    }

    fn caller(&self, claims: &Claims) -> Result<Caller, Refused> {
        let invalid = |claim: &str| Refused::Claim(claim.to_owned());
        let subject = claims.text("sub")?;
        if subject.is_empty() || subject.len() > SUBJECT_LIMIT {
            return Err(invalid("sub"));
        }
        let tenant = claims.text(&self.issuer.tenant_claim)?;
        Ok(Caller {
            tenant: tenant
                .parse::<Tenant>()
                .map_err(|_| invalid(&self.issuer.tenant_claim))?,
            subject: subject.to_owned(),
            scopes: claims.scopes(&self.issuer.scope_claim),
        })
    }
}

/// The claims of a token. Claims that are there twice are refused: two readers could see two tokens.
#[derive(Debug)]
struct Claims(Map<String, Value>);

impl Claims {
    fn text(&self, name: &str) -> Result<&str, Refused> {
        let text = self.0.get(name).and_then(Value::as_str);
        text.ok_or_else(|| Refused::Claim(name.to_owned()))
    }

    /// Words in a string (RFC 8693, section 4.2) or a list of strings; what we do not know allows nothing.
    fn scopes(&self, name: &str) -> Vec<Scope> {
        let words: Vec<&str> = match self.0.get(name) {
            Some(Value::String(words)) => words.split_ascii_whitespace().collect(),
            Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        words
            .into_iter()
            .filter_map(|word| word.parse().ok())
            .collect()
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
        let mut claims = Map::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if claims.insert(name, value).is_some() {
                return Err(A::Error::custom("a claim is there twice"));
            }
        }
        Ok(Claims(claims))
    }
}
