//! Grants: what the operator lets a tenant do with a credential that is not the tenant's own.
//!
//! An `installation_id` of Netlify's GitHub App is such a credential. Netlify takes it from any of its accounts, so whoever names
//! one makes Netlify read repositories with somebody else's consent (the tenancy risk of Netlify's own support guide). Without a
//! grant nobody may name one.

use std::sync::{Arc, PoisonError, RwLock};

use serde::Deserialize;

/// One tenant may link these repositories by this installation, to sites of this team.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Who may.
    pub tenant: String,
    /// Netlify's GitHub App on the repositories' owner.
    pub installation_id: u64,
    /// Host and path as in `github.com/acme/docs`; a last part of `*` is every repository of the owner.
    pub repositories: Vec<String>,
    /// Slug of the Netlify team.
    pub team: String,
}

/// A use that wants a grant.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Who asks.
    pub tenant: &'a str,
    /// The installation that is named.
    pub installation_id: u64,
    /// Host of the repository.
    pub host: &'a str,
    /// Owner and name.
    pub path: &'a str,
    /// Slug of the Netlify team.
    pub team: &'a str,
}

/// All that the operator has granted; empty at first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(pub Vec<Grant>);

/// The grants as they are now: the operator changes them while the service runs. Cheap to clone; all clones change at once.
#[derive(Debug, Clone, Default)]
pub struct GrantBook(Arc<RwLock<Arc<Grants>>>);

impl GrantBook {
    /// A book that begins with these.
    pub fn new(grants: Grants) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(grants))))
    }

    /// What is granted now.
    pub fn current(&self) -> Arc<Grants> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other grants in their place.
    pub fn replace(&self, grants: Grants) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(grants);
    }
}

impl Grants {
    /// Whether a grant covers this.
    pub fn allow(&self, wish: &Wish<'_>) -> bool {
        self.0.iter().any(|grant| grant.covers(wish))
    }
}

impl Grant {
    fn covers(&self, wish: &Wish<'_>) -> bool {
        self.tenant == wish.tenant
            && self.installation_id == wish.installation_id
            && self.team == wish.team
            && self.names(wish.host, wish.path)
    }

    fn names(&self, host: &str, path: &str) -> bool {
        let repository = format!("{host}/{path}");
        self.repositories
            .iter()
            .any(|pattern| matches(pattern, &repository))
    }
}

/// Whether a text can be a pattern: host, owner, and a name or `*`, nothing else with a star.
pub fn is_pattern(text: &str) -> bool {
    let parts: Vec<_> = text.split('/').collect();
    let (last, owners) = match parts.as_slice() {
        [host, owners @ .., last] if host.contains('.') && !owners.is_empty() => {
            (last, &parts[..parts.len() - 1])
        }
        _ => return false,
    };
    let is_plain = |part: &&str| !part.is_empty() && !part.contains('*');
    owners.iter().all(is_plain) && (*last == "*" || is_plain(last))
}

/// Providers do not tell cases apart in names; the star stands for one whole part.
fn matches(pattern: &str, repository: &str) -> bool {
    match pattern.strip_suffix("/*") {
        Some(owner) => repository
            .rsplit_once('/')
            .is_some_and(|(of, _)| of.eq_ignore_ascii_case(owner)),
        None => repository.eq_ignore_ascii_case(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_covers_what_it_names_and_nothing_beside_it() {
        let grants = Grants(vec![Grant {
            tenant: "acme".into(),
            installation_id: 7,
            repositories: vec![
                "github.com/acme/docs".into(),
                "github.com/acme-labs/*".into(),
            ],
            team: "acme".into(),
        }]);
        let granted = Wish {
            tenant: "acme",
            installation_id: 7,
            host: "github.com",
            path: "acme/docs",
            team: "acme",
        };
        for path in ["acme/docs", "ACME/Docs", "acme-labs/x"] {
            assert!(grants.allow(&Wish { path, ..granted }), "{path}");
        }
        for path in [
            "acme/docs2",
            "acme/x",
            "acme-labs/a/b",
            "acme-labs-2/x",
            "evil/docs",
        ] {
            assert!(!grants.allow(&Wish { path, ..granted }), "{path}");
        }
        for other in [
            Wish {
                tenant: "umbrella",
                ..granted
            },
            Wish {
                installation_id: 8,
                ..granted
            },
            Wish {
                host: "git.example.com",
                ..granted
            },
            Wish {
                team: "other",
                ..granted
            },
        ] {
            assert!(!grants.allow(&other), "{other:?}");
        }
    }

    #[test]
    fn a_pattern_names_an_owner_at_least() {
        for good in [
            "github.com/acme/docs",
            "github.com/acme/*",
            "gitlab.com/a/b/*",
        ] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in [
            "*",
            "acme/docs",
            "github.com/*",
            "github.com/*/docs",
            "github.com/acme/d*",
            "github.com/acme/",
            "github.com//x",
            "",
        ] {
            assert!(!is_pattern(bad), "{bad}");
        }
    }
}
