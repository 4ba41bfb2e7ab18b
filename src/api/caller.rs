//! Who calls: the tenant, the subject and the scopes, from a verified access token or API key and nothing else.

mod api_key;
mod keys;
mod status_token;
mod token;

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Problem, ProblemCode};

pub use api_key::NewApiKey;
pub use keys::KeysError;
pub use status_token::{LinkReader, StatusToken};
pub use token::Authenticator;

/// The longest tenant name, in bytes.
const TENANT_LIMIT: usize = 64;

/// Whose links these are. Exists only with a valid name: 1 to 64 letters, digits, `.`, `_` or `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, example = "acme")]
pub struct Tenant(String);

impl Tenant {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Tenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Tenant {
    type Error = InvalidTenant;

    fn try_from(name: String) -> Result<Self, InvalidTenant> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let valid = (1..=TENANT_LIMIT).contains(&name.len()) && name.chars().all(is_allowed);
        valid.then_some(Self(name)).ok_or(InvalidTenant)
    }
}

impl FromStr for Tenant {
    type Err = InvalidTenant;

    fn from_str(name: &str) -> Result<Self, InvalidTenant> {
        name.to_owned().try_into()
    }
}

/// A name that no tenant can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tenant's name is 1 to 64 letters, digits, `.`, `_` or `-`")]
pub struct InvalidTenant;

/// What a token allows its bearer to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Read links and everything that belongs to them.
    LinksRead,
    /// Make, change and remove links.
    LinksWrite,
    /// Read connections (never their credentials).
    ConnectionsRead,
    /// Make and remove connections.
    ConnectionsWrite,
    /// Read who changed what.
    AuditRead,
}

impl Scope {
    /// Every scope.
    pub const ALL: &[Self] = &[
        Self::LinksRead,
        Self::LinksWrite,
        Self::ConnectionsRead,
        Self::ConnectionsWrite,
        Self::AuditRead,
    ];

    /// The text form, as in a token.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LinksRead => "links:read",
            Self::LinksWrite => "links:write",
            Self::ConnectionsRead => "connections:read",
            Self::ConnectionsWrite => "connections:write",
            Self::AuditRead => "audit:read",
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|scope| scope.as_str() == text);
        found.copied().ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|scope| scope.as_str()).collect();
            format!("`{text}` is not one of {}", names.join(", "))
        })
    }
}

/// Who sent a request. As an extractor it answers 401 to everybody without a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose things the caller may see.
    pub tenant: Tenant,
    /// Who it is, as its issuer says.
    pub subject: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
}

impl Caller {
    /// Refuses callers whose token does not have the scope.
    ///
    /// # Errors
    /// `forbidden`, with the scope that is needed.
    pub fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes.contains(&scope) {
            return Ok(());
        }
        let challenge = format!(r#"{CHALLENGE}, error="insufficient_scope", scope="{scope}""#);
        Err(refusal(ProblemCode::Forbidden, &challenge))
    }
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let token = bearer(&parts.headers)?;
        let authenticator = Arc::<Authenticator>::from_ref(state);
        authenticator.admit(token, &parts.extensions).await
    }
}

/// RFC 6750, section 3.
const CHALLENGE: &str = r#"Bearer realm="linkbroker""#;

/// The token of the request's only `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(refusal(ProblemCode::Unauthorized, CHALLENGE));
    };
    let parts = value.to_str().ok().and_then(|text| text.split_once(' '));
    match (parts, values.next()) {
        (Some((scheme, token)), None) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(invalid_token()),
    }
}

fn invalid_token() -> Problem {
    let challenge = format!(r#"{CHALLENGE}, error="invalid_token""#);
    refusal(ProblemCode::Unauthorized, &challenge)
}

/// The body is the same for all refusals of a kind: why a token is refused is nobody's business.
fn refusal(code: ProblemCode, challenge: &str) -> Problem {
    let challenge = HeaderValue::try_from(challenge);
    let challenge = challenge.unwrap_or(HeaderValue::from_static(CHALLENGE));
    Problem::new(code).header(WWW_AUTHENTICATE, challenge)
}

#[cfg(test)]
mod tests;
