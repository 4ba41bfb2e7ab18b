//! Who may issue tokens for callers: the operator's file of issuers.

use std::path::{Path, PathBuf};

use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::JwkSet;
use serde::Deserialize;
use url::Url;

use super::instance::{api_address, readable};
use super::problems::{Complaint, Problems};

/// The setting that names the operator's file of issuers.
pub(super) const ISSUERS: &str = "LINKBROKER_ISSUERS";

/// One issuer whose tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The token's `iss`, compared byte for byte.
    pub issuer: String,
    /// Must be in the token's `aud`.
    pub audience: String,
    /// Where its public keys come from.
    pub keys: KeySource,
    /// The signatures that are accepted; never empty.
    pub algorithms: Vec<Algorithm>,
    /// The claim that names the tenant.
    pub tenant_claim: String,
    /// The claim that holds the scopes: words in a string, or a list of strings.
    pub scope_claim: String,
}

/// Where an issuer's public keys (a JWKS) come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file on this machine.
    File(PathBuf),
    /// An address that serves the JWKS.
    Url(Url),
    /// An OpenID Connect discovery document, which names the address of the JWKS.
    Discovery(Url),
    /// Keys that are at hand: the developer mode's.
    Known(JwkSet),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuersFile {
    #[serde(default)]
    issuer: Vec<IssuerEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerEntry {
    issuer: String,
    audience: String,
    jwks_url: Option<String>,
    jwks_file: Option<PathBuf>,
    algorithms: Option<Vec<String>>,
    #[serde(default = "default_tenant_claim")]
    tenant_claim: String,
    #[serde(default = "default_scope_claim")]
    scope_claim: String,
}

fn default_tenant_claim() -> String {
    "tenant".to_owned()
}

fn default_scope_claim() -> String {
    "scope".to_owned()
}

/// The signature algorithms that issuers may use. HMAC is not among them: a shared secret would let
/// every verifier issue tokens.
const ALGORITHMS: [(&str, Algorithm); 3] = [
    ("RS256", Algorithm::RS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
];

/// The operator's issuers; what is wrong with them is noted.
pub(super) fn read_issuers(path: &Path, problems: &mut Problems) -> Vec<Issuer> {
    let Some(file) = problems.toml_file::<IssuersFile>(ISSUERS, path) else {
        return Vec::new();
    };
    if file.issuer.is_empty() {
        let problem = format!("{} names no issuer", path.display());
        problems.add(ISSUERS, problem, "Add an [[issuer]] section.");
    }
    let mut issuers: Vec<Issuer> = Vec::new();
    for (index, entry) in file.issuer.into_iter().enumerate() {
        let place = format!("{ISSUERS}: issuer {} (`{}`)", index + 1, entry.issuer);
        match problems.keep(&place, entry.into_issuer(path)) {
            Some(issuer) if issuers.iter().any(|known| known.issuer == issuer.issuer) => {
                problems.add(place, "this issuer is there twice", "Keep one of them.");
            }
            Some(issuer) => issuers.push(issuer),
            None => {}
        }
    }
    issuers
}

impl IssuerEntry {
    fn into_issuer(self, file: &Path) -> Result<Issuer, Complaint> {
        for (field, value) in [
            ("issuer", &self.issuer),
            ("audience", &self.audience),
            ("tenant_claim", &self.tenant_claim),
            ("scope_claim", &self.scope_claim),
        ] {
            if value.trim().is_empty() {
                let problem = format!("`{field}` is empty");
                return Err(Complaint::new(problem, "Fill it in or leave it out."));
            }
        }
        Ok(Issuer {
            keys: self.key_source(file)?,
            algorithms: algorithms(self.algorithms.as_deref())?,
            issuer: self.issuer,
            audience: self.audience,
            tenant_claim: self.tenant_claim,
            scope_claim: self.scope_claim,
        })
    }

    fn key_source(&self, file: &Path) -> Result<KeySource, Complaint> {
        match (&self.jwks_file, &self.jwks_url) {
            (Some(_), Some(_)) => Err(Complaint::new(
                "both `jwks_file` and `jwks_url` are set",
                "Keep one of them.",
            )),
            (Some(path), None) => Ok(KeySource::File(readable(file, path)?)),
            (None, Some(url)) => Ok(KeySource::Url(jwks_address(url)?)),
            (None, None) => Ok(KeySource::Discovery(discovery_address(&self.issuer)?)),
        }
    }
}

/// Unlike a base address, a JWKS address may carry a query.
fn jwks_address(text: &str) -> Result<Url, Complaint> {
    let (base, query) = match text.split_once('?') {
        Some((base, query)) => (base, Some(query)),
        None => (text, None),
    };
    let mut url = api_address(base)?;
    url.set_query(query);
    Ok(url)
}

/// OpenID Connect Discovery 1.0, section 4: the issuer followed by `/.well-known/openid-configuration`.
fn discovery_address(issuer: &str) -> Result<Url, Complaint> {
    let mut url = api_address(issuer).map_err(|complaint| {
        Complaint::new(
            format!(
                "without `jwks_url` or `jwks_file` the keys are looked up at the issuer, but {}",
                complaint.problem
            ),
            "Set `jwks_url` or `jwks_file`, or correct the issuer.",
        )
    })?;
    let path = format!(
        "{}/.well-known/openid-configuration",
        url.path().trim_end_matches('/')
    );
    url.set_path(&path);
    Ok(url)
}

fn algorithms(names: Option<&[String]>) -> Result<Vec<Algorithm>, Complaint> {
    let Some(names) = names else {
        return Ok(ALGORITHMS.iter().map(|(_, algorithm)| *algorithm).collect());
    };
    if names.is_empty() {
        return Err(Complaint::new(
            "`algorithms` is empty",
            "Leave it out, or name some of RS256, ES256, EdDSA.",
        ));
    }
    names.iter().map(|name| algorithm(name)).collect()
}

fn algorithm(name: &str) -> Result<Algorithm, Complaint> {
    let found = ALGORITHMS.iter().find(|(known, _)| *known == name);
    found.map(|(_, algorithm)| *algorithm).ok_or_else(|| {
        Complaint::new(
            format!("the algorithm `{name}` is not accepted"),
            "Use some of RS256, ES256, EdDSA.",
        )
    })
}
