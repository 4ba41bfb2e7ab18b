//! The public keys of an issuer: fetched when needed, kept for a while, rotated without a restart.
//!
//! A key set is used for as long as its server allows (within limits). A token with an unknown key
//! id triggers a fetch, but not more than one in [`RETRY_PAUSE`]; many at once wait for the same one.
//! When a fetch fails, the keys that are there stay in use.

use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::header::{CACHE_CONTROL, HeaderMap};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};
use url::Url;

use crate::config::{KeySource, is_trustworthy};

const SHORTEST_LIFE: Duration = Duration::from_secs(5 * 60);
const DEFAULT_LIFE: Duration = Duration::from_secs(15 * 60);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Pause between two fetches while there are keys.
const RETRY_PAUSE: Duration = Duration::from_secs(30);
/// Pause between two fetches while there are none, so nobody can call.
const FIRST_RETRY_PAUSE: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of a key set or discovery document.
const DOCUMENT_LIMIT: usize = 256 * 1024;

/// Why an issuer's keys cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the keys of issuer `{issuer}` cannot be fetched: {reason}")]
pub struct KeysError {
    issuer: String,
    reason: String,
}

/// An issuer's keys.
#[derive(Debug)]
pub(super) struct Keys {
    source: KeySource,
    issuer: String,
    http: reqwest::Client,
    cached: RwLock<Option<Cached>>,
    /// When the last fetch began; held while one runs.
    fetching: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone)]
struct Cached {
    keys: Arc<[Key]>,
    stale_at: Instant,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: Option<KeyAlgorithm>,
    decoding: DecodingKey,
}

/// What a source gave, and how long it may be used.
struct Fetched {
    document: Vec<u8>,
    life: Duration,
}

#[cfg(not(test))]
fn now() -> Instant {
    Instant::now()
}
#[cfg(test)]
use super::tests::now;

/// A client for key sets: no redirects, no proxies from the environment, little patience.
pub(super) fn http_client() -> Result<reqwest::Client, KeysError> {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(FETCH_TIMEOUT)
        .user_agent(concat!("linkbroker/", env!("CARGO_PKG_VERSION")))
        .build();
    client.map_err(|why| KeysError {
        issuer: "any".to_owned(),
        reason: why.to_string(),
    })
}

impl Keys {
    pub fn new(source: KeySource, issuer: &str, http: reqwest::Client) -> Self {
        Self {
            source,
            issuer: issuer.to_owned(),
            http,
            cached: RwLock::new(None),
            fetching: Mutex::new(None),
        }
    }

    /// The key that a token names; without a name, the only one that fits the algorithm.
    ///
    /// # Errors
    /// When there are no keys at all to look among.
    pub async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Option<DecodingKey>, KeysError> {
        let cached = self.cached();
        let found = cached
            .as_ref()
            .and_then(|cached| cached.find(id, algorithm));
        let fresh = cached.is_some_and(|cached| now() < cached.stale_at);
        match (found, fresh) {
            (Some(key), true) => Ok(Some(key)),
            // Somebody else is at it already: no reason to wait.
            (Some(key), false) => match self.fetching.try_lock() {
                Ok(turn) => self.refresh(turn, id, algorithm).await,
                Err(_) => Ok(Some(key)),
            },
            (None, _) => {
                let turn = self.fetching.lock().await;
                self.refresh(turn, id, algorithm).await
            }
        }
    }

    /// Fetches, unless that was done a moment ago, and looks again.
    async fn refresh(
        &self,
        mut last: MutexGuard<'_, Option<Instant>>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Option<DecodingKey>, KeysError> {
        let pause = match self.cached() {
            Some(_) => RETRY_PAUSE,
            None => FIRST_RETRY_PAUSE,
        };
        if last.is_none_or(|last| now() - last >= pause) {
            *last = Some(now());
            match self.fetch().await {
                Ok(cached) => self.keep(cached),
                Err(why) if self.cached().is_some() => {
                    tracing::warn!(%why, "known keys stay in use");
                }
                Err(why) => return Err(why),
            }
        }
        match self.cached() {
            Some(cached) => Ok(cached.find(id, algorithm)),
            None => Err(self.error("the last try failed a moment ago")),
        }
    }

    fn cached(&self) -> Option<Cached> {
        // A panic while the lock was held cannot have left half a value.
        self.cached
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    fn keep(&self, cached: Cached) {
        *self
            .cached
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(cached);
    }

    async fn fetch(&self) -> Result<Cached, KeysError> {
        let fetched = match &self.source {
            KeySource::Known(keys) => Ok(Fetched {
                document: serde_json::to_vec(keys).map_err(|why| self.error(why))?,
                life: LONGEST_LIFE,
            }),
            KeySource::File(path) => self.read(path).await,
            KeySource::Url(url) => self.get(url).await,
            KeySource::Discovery(url) => self.get(&self.discover(url).await?).await,
        }?;
        Ok(Cached {
            keys: parse(&fetched.document).map_err(|why| self.error(why))?,
            stale_at: now() + fetched.life,
        })
    }

    async fn read(&self, path: &Path) -> Result<Fetched, KeysError> {
        let read = tokio::fs::read(path).await;
        let document = read.map_err(|why| self.error(format!("{}: {why}", path.display())))?;
        Ok(Fetched {
            document,
            life: SHORTEST_LIFE,
        })
    }

    async fn get(&self, url: &Url) -> Result<Fetched, KeysError> {
        let failed = |why: reqwest::Error| self.error(format!("{url}: {}", chain(&why)));
        let mut response = self.http.get(url.clone()).send().await.map_err(failed)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(self.error(format!("{url} answered {}", response.status())));
        }
        let life = life(response.headers());
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            document.extend(&chunk);
            if document.len() > DOCUMENT_LIMIT {
                return Err(self.error(format!("{url} answered more than {DOCUMENT_LIMIT} bytes")));
            }
        }
        Ok(Fetched { document, life })
    }

    /// OpenID Connect Discovery 1.0, section 4.3: the document must be the configured issuer's own.
    async fn discover(&self, url: &Url) -> Result<Url, KeysError> {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
            jwks_uri: Url,
        }
        let document = self.get(url).await?.document;
        let document: Document =
            serde_json::from_slice(&document).map_err(|why| self.error(format!("{url}: {why}")))?;
        if document.issuer != self.issuer {
            return Err(self.error(format!("{url} is about another issuer")));
        }
        if !is_trustworthy(&document.jwks_uri) {
            return Err(self.error(format!(
                "{} is neither https nor this machine",
                document.jwks_uri
            )));
        }
        Ok(document.jwks_uri)
    }

    fn error(&self, reason: impl std::fmt::Display) -> KeysError {
        KeysError {
            issuer: self.issuer.clone(),
            reason: reason.to_string(),
        }
    }
}

/// An error with its causes: reqwest's own text ends before the interesting part.
fn chain(why: &reqwest::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(why), |cause| cause.source());
    causes.fold("the request failed".to_owned(), |text, cause| {
        format!("{text}: {cause}")
    })
}

impl Cached {
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
        let fits = |key: &&Key| key.fits(algorithm) && (id.is_none() || key.id.as_deref() == id);
        let mut fitting = self.keys.iter().filter(fits);
        let first = fitting.next()?;
        fitting.next().is_none().then(|| first.decoding.clone())
    }
}

impl Key {
    /// `None` for keys that are not for signatures, or of a kind that we do not know.
    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        if matches!(&jwk.common.public_key_use, Some(usage) if *usage != PublicKeyUse::Signature) {
            return None;
        }
        Some(Self {
            id: jwk.common.key_id.clone(),
            algorithm: jwk.common.key_algorithm,
            decoding: DecodingKey::from_jwk(jwk).ok()?,
        })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let declared = self
            .algorithm
            .is_none_or(|declared| declared == KeyAlgorithm::from(algorithm));
        declared && self.decoding.family() == algorithm.family()
    }
}

/// Keys one by one: a kind that we do not know must not make the others unusable.
fn parse(document: &[u8]) -> Result<Arc<[Key]>, String> {
    #[derive(Deserialize)]
    struct KeySet {
        keys: Vec<Value>,
    }
    let set: KeySet =
        serde_json::from_slice(document).map_err(|why| format!("not a key set: {why}"))?;
    let jwks = set
        .keys
        .into_iter()
        .filter_map(|key| serde_json::from_value(key).ok());
    let keys: Arc<[Key]> = jwks.filter_map(|jwk| Key::from_jwk(&jwk)).collect();
    match keys.is_empty() {
        true => Err("the key set holds no usable key".to_owned()),
        false => Ok(keys),
    }
}

/// How long an answer may be used, by its `Cache-Control`.
fn life(headers: &HeaderMap) -> Duration {
    let value = headers
        .get(CACHE_CONTROL)
        .and_then(|value| value.to_str().ok());
    let directives = value.unwrap_or_default().split(',').map(str::trim);
    let mut life = DEFAULT_LIFE;
    for directive in directives {
        let directive = directive.to_ascii_lowercase();
        if directive == "no-store" || directive == "no-cache" {
            return SHORTEST_LIFE;
        }
        if let Some(seconds) = directive
            .strip_prefix("max-age=")
            .and_then(|text| text.parse().ok())
        {
            life = Duration::from_secs(seconds);
        }
    }
    life.clamp(SHORTEST_LIFE, LONGEST_LIFE)
}
