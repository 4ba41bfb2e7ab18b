//! Tokens that are got for a longer-lived credential and die soon: kept in memory, never stored, renewed by whoever needs one first.
//!
//! Every process has its own: several replicas get one token each, which no vendor minds.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use secrecy::SecretString;
use time::{Duration, OffsetDateTime};

use super::{Credential, Instance, UpstreamError};

/// A token is renewed so long before its end: longer than the longest call.
const MARGIN: Duration = Duration::minutes(5);
/// Slots remembered before idle ones are forgotten.
const MOST_SLOTS: usize = 4096;

/// A token that was got for a credential.
#[derive(Debug, Clone)]
pub struct Minted {
    /// The token.
    pub token: SecretString,
    /// When it dies, by the upstream's clock.
    pub expires_at: OffsetDateTime,
    /// What it may do: `administration` → `write`.
    pub permissions: BTreeMap<String, String>,
    /// What it was got for, in the upstream's words.
    pub holder: String,
}

/// The place of one token; whoever finds it empty or too old fills it while the others wait.
#[derive(Debug, Default)]
pub struct Slot(tokio::sync::Mutex<Option<Minted>>);

impl Slot {
    /// The token, got by `mint` when there is none that is good for a while.
    ///
    /// # Errors
    /// As `mint`; the next one who asks tries again.
    pub async fn get(
        &self,
        now: OffsetDateTime,
        mint: impl Future<Output = Result<Minted, UpstreamError>>,
    ) -> Result<Minted, UpstreamError> {
        let mut slot = self.0.lock().await;
        match &*slot {
            Some(minted) if minted.expires_at > now + MARGIN => Ok(minted.clone()),
            _ => Ok(slot.insert(mint.await?).clone()),
        }
    }

    /// Forgets the token: the upstream refused it.
    pub async fn clear(&self) {
        *self.0.lock().await = None;
    }
}

/// API address, fingerprint of the credential, and whose token it is.
type Key = (String, [u8; 32], String);

/// The slots of all credentials in use.
#[derive(Debug, Default)]
pub(super) struct MintedBook(Mutex<HashMap<Key, Arc<Slot>>>);

impl MintedBook {
    /// The one slot that everybody with this credential at this instance shares for this purpose.
    pub(super) fn slot(
        &self,
        instance: &Instance,
        credential: &Credential,
        purpose: &str,
    ) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MOST_SLOTS {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        let api = instance.api.to_string();
        let key = (api, credential.fingerprint(), purpose.to_owned());
        Arc::clone(slots.entry(key).or_default())
    }
}
