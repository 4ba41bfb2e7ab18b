//! Keeps credentials secret at rest: envelope encryption with a data key per tenant.
//!
//! A [`KeyRing`] of master keys comes from the operator and never touches the database. It wraps
//! one [`DataKey`] per tenant; the data key seals the tenant's secrets. What is sealed says (as
//! additional data of AES-256-GCM) whose it is, which row it belongs to and what it is for, so a
//! ciphertext that was moved does not open. No I/O but for key files, no database.

mod key_ring;
mod secret_file;
mod signing;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hmac, rand};
use secrecy::zeroize::Zeroizing;

pub use key_ring::{KeyRing, KeyRingError, new_master_key};
pub use secret_file::secret_file;
pub use signing::SignedPurpose;

/// Bytes of an AES-256 key.
const KEY_LEN: usize = 32;
/// Bytes of AES-GCM's nonce, drawn at random for each sealing.
const NONCE_LEN: usize = 12;
/// First byte of everything sealed, and part of the additional data.
const VERSION: u8 = 1;

type KeyBytes = Zeroizing<[u8; KEY_LEN]>;

/// Why something could not be sealed or opened. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The key ring does not have the master key that a data key was wrapped with.
    #[error(
        "the key ring has no master key `{0}`: put it back into the ring until everything is rewrapped"
    )]
    UnknownKey(String),
    /// Wrong key, changed bytes, or a ciphertext that belongs elsewhere.
    #[error("the sealed bytes do not open: they were changed, moved, or sealed with another key")]
    DoesNotOpen,
    /// A sealed value of a version that this program does not know, or too short to be one.
    #[error("these bytes are not in a known sealed format")]
    UnknownFormat,
    /// The cryptographic library failed; in practice: no random numbers.
    #[error("the cryptographic library failed")]
    Library,
}

/// What a sealed value is for; part of what is authenticated. The text forms are for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A connection's credential.
    Credential,
    /// The values of a link's environment variables.
    Environment,
    /// The secret that signs an upstream's notifications to us.
    NotificationSecret,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Environment => "environment",
            Self::NotificationSecret => "notification-secret",
        }
    }
}

/// A tenant's key, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedDataKey {
    /// The master key that opens it.
    pub key_id: String,
    /// The key, sealed.
    pub bytes: Vec<u8>,
}

/// A tenant's key, ready for use. Forgotten (zeroed) when dropped.
pub struct DataKey {
    tenant: String,
    key: KeyBytes,
}

/// How a connection's row is named in what is authenticated of its credential.
pub fn connection_row(id: uuid::Uuid) -> String {
    format!("connections/{id}")
}

/// How a link's row is named in what is authenticated of its environment.
pub fn link_row(id: uuid::Uuid) -> String {
    format!("links/{id}")
}

/// A sealed secret, as it is stored: version ‖ nonce ‖ ciphertext ‖ tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl DataKey {
    /// Seals a secret for one row and purpose.
    ///
    /// # Errors
    /// [`VaultError::Library`].
    pub fn seal(&self, plain: &[u8], row: &str, purpose: Purpose) -> Result<Sealed, VaultError> {
        let place = place(&[&self.tenant, row, purpose.as_str()]);
        seal(&self.key, plain, &place).map(Sealed)
    }

    /// Opens a secret that was sealed for this tenant, row and purpose.
    ///
    /// # Errors
    /// When it was sealed for anything else, or was changed.
    pub fn open(
        &self,
        sealed: &Sealed,
        row: &str,
        purpose: Purpose,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let place = place(&[&self.tenant, row, purpose.as_str()]);
        open(&self.key, &sealed.0, &place)
    }

    /// Equal for equal bytes; without the key it tells nothing about them, so it may be stored for
    /// bytes that hold a secret.
    pub fn fingerprint(&self, bytes: &[u8]) -> [u8; KEY_LEN] {
        // A key of its own: the data key itself only ever seals.
        let sealing = hmac::Key::new(hmac::HMAC_SHA256, self.key.as_slice());
        let own = hmac::sign(&sealing, &place(&[&self.tenant, "fingerprint"]));
        let own = hmac::Key::new(hmac::HMAC_SHA256, own.as_ref());
        let mut print = [0; KEY_LEN];
        print.copy_from_slice(hmac::sign(&own, bytes).as_ref());
        print
    }
}

/// Length-prefixed parts, so that no two lists of parts give the same bytes, then the version.
fn place(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes.push(VERSION);
    bytes
}

fn seal(key: &KeyBytes, plain: &[u8], place: &[u8]) -> Result<Vec<u8>, VaultError> {
    let mut body = Zeroizing::new(Vec::with_capacity(plain.len() + AES_256_GCM.tag_len()));
    body.extend(plain);
    let cipher = cipher(key)?;
    let nonce = cipher
        .seal_in_place_append_tag(Aad::from(place), &mut *body)
        .map_err(|_| VaultError::Library)?;
    let mut sealed = vec![VERSION];
    sealed.extend(nonce.as_ref());
    sealed.extend(body.iter());
    Ok(sealed)
}

fn open(key: &KeyBytes, sealed: &[u8], place: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let Some((&VERSION, rest)) = sealed.split_first() else {
        return Err(VaultError::UnknownFormat);
    };
    let (nonce, body) = rest
        .split_at_checked(NONCE_LEN)
        .ok_or(VaultError::UnknownFormat)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::UnknownFormat)?;
    let mut body = Zeroizing::new(body.to_vec());
    let plain_len = cipher(key)?
        .open_in_place(nonce, Aad::from(place), &mut body)
        .map_err(|_| VaultError::DoesNotOpen)?
        .len();
    body.truncate(plain_len);
    Ok(body)
}

fn cipher(key: &KeyBytes) -> Result<RandomizedNonceKey, VaultError> {
    RandomizedNonceKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| VaultError::Library)
}

fn random_key() -> Result<KeyBytes, VaultError> {
    let mut key = KeyBytes::default();
    rand::fill(key.as_mut_slice()).map_err(|_| VaultError::Library)?;
    Ok(key)
}

fn key_bytes(bytes: &[u8]) -> Option<KeyBytes> {
    Some(Zeroizing::new(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests;
