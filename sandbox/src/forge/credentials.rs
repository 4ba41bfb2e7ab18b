//! How callers present tokens, and whom they turn out to be.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::{Access, Repository, Token};

/// What stands in `Authorization`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    Bearer(String),
    /// `token …`, as Gitea has it.
    Token(String),
    Basic {
        user: String,
        password: String,
    },
}

impl Credentials {
    /// Reads the header; `None` when it is absent, `Some(None)` when nobody can read it.
    pub fn of(headers: &HeaderMap) -> Option<Option<Self>> {
        let value = headers.get(header::AUTHORIZATION)?;
        Some(value.to_str().ok().and_then(Self::parse))
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(' ')?;
        let rest = rest.trim();
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => Some(Self::Bearer(rest.to_owned())),
            "token" => Some(Self::Token(rest.to_owned())),
            "basic" => {
                let pair = String::from_utf8(BASE64_STANDARD.decode(rest).ok()?).ok()?;
                let (user, password) = pair.split_once(':')?;
                Some(Self::Basic {
                    user: user.to_owned(),
                    password: password.to_owned(),
                })
            }
            _ => None,
        }
    }

    /// The token itself.
    pub fn secret(&self) -> &str {
        match self {
            Self::Bearer(secret) | Self::Token(secret) => secret,
            Self::Basic { password, .. } => password,
        }
    }
}

/// Who calls; in the extensions of every request that reaches a handler.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// `None` for anybody.
    pub token: Option<Token>,
}

impl Visitor {
    /// Login of the token's owner.
    pub fn login(&self) -> Option<&str> {
        self.token.as_ref().map(|t| t.login.as_str())
    }

    /// What the visitor may do with a repository as somebody who belongs to it; nothing for the general public.
    pub fn membership(&self, repository: &Repository) -> Access {
        let token = self.token.as_ref();
        token
            .and_then(|t| t.permissions.on(&repository.path, &t.login))
            .unwrap_or_default()
    }

    /// What the visitor may do with a repository.
    pub fn access(&self, repository: &Repository) -> Access {
        self.membership(repository).max(repository.for_anybody())
    }
}
